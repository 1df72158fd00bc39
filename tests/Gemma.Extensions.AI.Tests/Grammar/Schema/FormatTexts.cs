namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>
/// Texts of each format, written from its RFC: what is valid and generated, what is valid and left out (leap seconds, quoted names…), and what is not valid. They are
/// separated by spaces; a middle dot stands for a space.
/// </summary>
internal static class FormatTexts
{
    public static readonly Dictionary<string, (string Written, string LeftOut, string Invalid)> All = new()
    {
        ["date"] = (
            """"
            2024-02-29 2000-02-29 1999-12-31 0001-01-01 9999-12-31 2023-01-31 2023-03-31 2023-04-30 2023-05-31 2023-06-30 2023-07-31 2023-08-31 2023-09-30
            2023-10-31 2023-11-30 2023-12-01 1600-02-29 2400-02-29 0004-02-29 1970-01-01 2038-01-19 1985-04-12 1937-01-01 2100-02-28 1900-02-28 0100-10-10
            2001-01-01 2002-02-02 2003-03-03 2004-04-04 2005-05-05 2006-06-06 2007-07-07 2008-08-08 2009-09-09 2010-10-10 2011-11-11 2012-12-12 2020-02-29
            1996-02-29 0400-02-29 1200-02-29 9996-02-29 1582-10-15 1752-09-14 1900-12-31 2099-12-31 0999-01-31 1000-01-01 8000-02-29 2024-02-28 0008-02-29
            1904-02-29
            """",
            """"
            0000-01-01 0000-02-29
            """",
            """"
            2023-02-29 1900-02-29 2100-02-29 2023-04-31 2023-06-31 2023-09-31 2023-11-31 2023-02-30 2023-13-01 2023-00-10 2023-01-00 2023-01-32 23-01-01
            02023-01-01 2023-1-01 2023-01-1 2023/01/01 20230101 2023-01 2023-W01-1 2023-001 2023-01-01Z 2023-01-01T00:00:00Z ·2023-01-01 2023-01-01· -2023-01-01
            +2023-01-01 ２023-01-01 2023-01-0१
            2001-02-29 2022-02-29 0001-02-29 1800-02-29 2200-02-29 9999-02-29 2024-02-30 2024-06-31 2024-09-31 2024-11-31 2024-12-32 2024-13-13 2024-20-01
            2024-99-01 2024-01-99 20240-01-01 202-01-01 2024--01-01 2024-01--1 2024-0a-01 2024-01-0x a024-01-01 2024_01_01 2024.01.01 01-01-2024 01/02/2024
            2024-1-1 2024-01-01T 2024-01-01·00:00 Jan-01-2024
            """"),
        ["time"] = (
            """"
            12:00:00Z 00:00:00Z 23:59:59Z 23:59:59.999Z 12:00:00.5Z 12:00:00.123456789Z 12:00:00+00:00 12:00:00-00:00 12:00:00+05:30 12:00:00-08:00 12:00:00+13:59
            12:00:00+14:00 12:00:00-14:00 01:02:03Z 09:59:00Z 19:19:19Z 20:20:20Z 22:00:59.0Z 10:10:10.10+10:10 05:45:00-05:45 08:30:06.283185Z 10:05:08+01:00
            16:39:57-08:00 12:00:27.87+00:20 15:59:59-08:00
            00:00:00.0Z 00:00:00+00:01 00:00:00-14:00 23:59:59-00:01 23:59:59+14:00 04:05:06Z 07:08:09.1Z 10:11:12.13Z 13:14:15.161Z 16:17:18.1920Z
            19:20:21.22232Z 22:23:24.252627Z 01:01:01.1234567Z 02:02:02.12345678Z 03:03:03.123456789+01:23 04:04:04+12:34 05:05:05-11:11 06:06:06+09:30
            12:34:56.000Z 12:34:56.999999+00:00 14:00:00+13:00 15:30:45-03:30 17:17:17+08:45 18:00:00.5-09:30 20:59:59Z 21:00:00.01Z 08:00:00+10:59
            """",
            """"
            23:59:60Z 15:59:60-08:00 12:00:00z 12:00:00+23:59 12:00:00-15:00 23:59:60.5Z 01:29:60+01:30
            """",
            """"
            24:00:00Z 12:60:00Z 12:00:60Z 12:00:61Z 22:59:60Z 12:00Z 12Z 12:00:00 12:00:00.Z 12:00:00,5Z 1:00:00Z 12:0:00Z 12:00:0Z 12:00:00+5:30 12:00:00+0530
            12:00:00+05 12:00:00+24:00 12:00:00+05:60 12:00:00ZZ 12:00:00+05:30Z T12:00:00Z 12:00:00·Z ·12:00:00Z 12:00:00Z· -12:00:00Z 12-00-00Z 120000Z
            12:00:00UTC １2:00:00Z
            25:00:00Z 30:00:00Z 99:99:99Z 12:61:00Z 12:99:00Z 12:00:70Z 12:00:99Z 12:00:00+14:60 12:00:00+99:00 12:00:00+0 12:00:00+00 12:00:00+00:0 12:00:00+0:00
            12:00:00+000:00 12:00:00+00:000 12:00:00±00:00 12:00:00−08:00 12:00:00.+01:00 12:00:00.Z1 12::00Z :12:00:00Z 12:00:00:00Z 12:00:00GMT 12:00:00z·
            a2:00:00Z 12:b0:00Z 12:00:c0Z 12.00.00Z 12:00:00·+01:00 012:00:00Z 12:00:00.5.5Z Z 24:00:00+01:00
            """"),
        ["date-time"] = (
            """"
            2024-02-29T12:00:00Z 2024-02-29T00:00:00Z 2024-02-29T23:59:59Z 2024-02-29T23:59:59.999Z 2024-02-29T12:00:00.5Z 2024-02-29T12:00:00.123456789Z
            2024-02-29T12:00:00+00:00 2024-02-29T12:00:00-00:00 2024-02-29T12:00:00+05:30 2024-02-29T12:00:00-08:00 2024-02-29T12:00:00+13:59
            2024-02-29T12:00:00+14:00 2024-02-29T12:00:00-14:00 2024-02-29T01:02:03Z 1985-04-12T23:20:50.52Z 1996-12-19T16:39:57-08:00 1990-12-31T23:59:59Z
            1937-01-01T12:00:27.87+00:20 0001-01-01T00:00:00Z 9999-12-31T23:59:59Z 2000-02-29T00:00:00Z 2023-04-30T01:01:01Z 2023-12-31T23:59:59.9+14:00
            2020-02-02T02:02:02Z 2019-10-12T07:20:50.52Z
            2001-01-01T01:01:01Z 2002-02-02T02:02:02.2Z 2003-03-03T03:03:03.33+03:30 2004-04-04T04:04:04-04:00 2005-05-05T05:05:05.555Z 2006-06-06T06:06:06+06:00
            2007-07-07T07:07:07-07:00 2008-08-08T08:08:08+08:45 2009-09-09T09:09:09.99Z 2010-10-10T10:10:10+10:30 2011-11-11T11:11:11-11:00
            2012-12-12T12:12:12+12:45 1996-02-29T00:00:00Z 0400-02-29T23:59:59Z 1600-02-29T12:00:00+01:00 0002-01-01T00:00:00+14:00 9998-12-31T23:59:59-14:00
            1969-12-31T23:59:59.999999Z 2038-01-19T03:14:08Z 2000-01-01T00:00:00.000000000Z 2024-06-30T23:59:59+00:00 2024-11-30T00:00:00-00:00
            2016-12-31T23:59:59Z 1900-01-01T00:00:00Z 2100-02-28T00:00:00Z 9999-12-30T12:00:00Z
            """",
            """"
            1990-12-31T23:59:60Z 1990-12-31T15:59:60-08:00 2023-01-01t00:00:00Z 2023-01-01T00:00:00z 0000-01-01T00:00:00Z 2023-01-01T00:00:00+23:00
            """",
            """"
            2024-02-29T24:00:00Z 2024-02-29T12:60:00Z 2024-02-29T12:00:60Z 2024-02-29T12:00:61Z 2024-02-29T22:59:60Z 2024-02-29T12:00Z 2024-02-29T12Z
            2024-02-29T12:00:00 2024-02-29T12:00:00.Z 2024-02-29T12:00:00,5Z 2024-02-29T1:00:00Z 2024-02-29T12:0:00Z 2024-02-29T12:00:0Z 2024-02-29T12:00:00+5:30
            2023-02-29T00:00:00Z 2023-01-01·00:00:00Z 2023-01-01 2023-01-01T 2023-01-01T00:00:00 20230101T000000Z 2023-01-01TT00:00:00Z 2023-01-01T00:00:00Z·
            2023-13-01T00:00:00Z 2023-1-1T00:00:00Z 1990-12-31T22:59:60Z 2023-01-01_00:00:00Z 2023-01-01T00:00:00.Z 23-01-01T00:00:00Z
            2024-04-31T00:00:00Z 2024-02-30T00:00:00Z 1900-02-29T00:00:00Z 2024-00-01T00:00:00Z 2024-01-00T00:00:00Z 2024-01-01T25:00:00Z 2024-01-01T00:61:00Z
            2024-01-01T00:00:61Z 2024-01-01T00:00:00+25:00 2024-01-01T00:00:00+00:60 2024-01-01T00:00:00+0000 2024-01-01T00:00:00+00 2024-01-01T00:00Z
            2024-01-01T00Z 2024-01-01T000000Z 2024-01-01T00:00:00ZZ 2024-01-01T00:00:00Z+00:00 ·2024-01-01T00:00:00Z 2024-01-01T·00:00:00Z 2024/01/01T00:00:00Z
            2024-01-01x00:00:00Z 2024-01T00:00:00Z T00:00:00Z 2024-W01-1T00:00:00Z 2024-001T00:00:00Z +2024-01-01T00:00:00Z 2024-01-01T00:00:00,0Z
            2024-01-01T0:00:00Z 2024-01-01T00:00:00·UTC 20２4-01-01T00:00:00Z
            """"),
        ["duration"] = (
            """"
            P1Y P1M P1D PT1H PT1M PT1S P1W P1Y2M3DT4H5M6S P1Y2M P1Y2M3D P2M3D P4DT12H30M5S PT4H5M PT4H5M6S PT5M6S P0D PT0S P10W P400D PT36H P1DT12H P23DT23H P4Y
            P3M P1YT1H P1MT1M P1Y2MT3S PT20M
            P2Y P4D PT5H PT6M PT7S P8W P1Y1M P1Y1M1D P1M1D P1YT1M P1YT1S P1MT1H P1DT1M P1DT1S PT1H1M PT1H1M1S PT1M1S P0Y P0M P0W PT0H PT0M P00D P007D P1Y2M3DT4H
            P1Y2M3DT4H5M P999999999D PT999999999S P12M31D P52W PT24H
            """",
            """"
            P12345678901Y
            """",
            """"
            P PT P1 1D P1DT PT1 P1S P1H PT1D PT1Y P1D2H P2D1Y P1M1Y PT1S1H PT1M1H P1Y1D PT1H1S P1W1D P1Y2W P1WT1H -P1D P-1D P1.5D PT0.5S p1d P1d P1DT1H1 P·1D P1D·
            PT1H·1M P1Y2M3W ＰT1H P１D
            Y 1Y PY PM PD PW PTH PTM PTS P1Y1 PT1H1 P1YT P1Y2M3DT P1HT1H PT1W P1W1M P1D1W P1Y1Y P1D1D PT1M1M PT1H1H P1DT1S1M P1Y-1M P+1D PT+1S P1Y,1M P1,5D PT1.5S
            P1YT1H1S1M P1y P1YT1h pT1H P·1Y ·P1Y P1Y· P1Y1M1W T1H
            """"),
        ["hostname"] = (
            """"
            example.com a a.b localhost www.example.com a-b.c 1.2.3.4 123 a1 1a A.B.C x-1.y-2.z-3 sub.domain.example.co.uk
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
            3com.com 0-0.0 EXAMPLE a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p server-01.eu-west-1.internal m.x ns1 example.museum a0 z9-z.zz
            b c1 d-2 e3.f4 g.h.i j-k.l-m example.net example.org www.w3.org ietf.org rfc-editor.org a.example sub-1.sub-2.example.com x.y.z.w
            MixedCase.Example.COM 0x7f.1 123.456.789.0 999 a1b2c3.d4e5f6 mail.example.co.jp xn ns-1.example.org localhost.localdomain my-host a-1 q.w-e-r.ty
            """",
            """"
            xn--4gbwdl.xn--wgbh1c XN--4gbwdl.com xn--nxasmq6b
            """",
            """"
            -a a- a.-b a.b- .a a. a..b . - _ a_b a·b a.b· ·a a/b a:80 a@b aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
            ab--cd 1a--b.c é.com example。com a,b a+b a*b *.example.com exam!ple [::1] a.b-.c a.-.b http://a
            a@ .com com. a..com -.com a.-com a.com- a_.com _.com *.com a.*.com a+b.com a=b.com a?b.com a#b.com a%20b.com a\b.com a|b a~b a`b {a} [a] (a) <a> "a"
            'a' a;b a&b $a a!b ä.de 例.jp a–b a．b
            """"),
        ["idn-hostname"] = (
            """"
            example.com münchen.de 日本.jp 例.例 ñandú.es straße.de россия.ru 中国 한국.kr ひらがな カタカナ.jp a-b.c a1 1a 実例.com テスト.example.org abc.def.ghi.jkl x é à.b ü-ö.de
            漢字-1.cn 서울.한국 你好 αβγ.gr привет.мир 東京.jp 台灣.tw なに.jp øl.dk
            b c1 d-2.e3 bücher.example faß.de niño.com crème.fr garçon.fr smørrebrød.dk àéîõü.com россия москва.рф дом-1.рф 大阪.jp 名古屋.日本 さくら.jp カメラ.com 부산.kr 대한민국
            1日.jp 日1.jp ab.漢字.cd ω.gr
            """",
            """"
            xn--4gbwdl.xn--wgbh1c ελλάς.gr عربي.com हिन्दी.भारत שלום.co a.b.c.d.e.f a-b-c-d-e-f-g-h-i-j-k-l.m
            """",
            """"
            -a a- .a a. a..b é- -é 日本.-jp a_b a·b é·é 日本! 日本/東京 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
            日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日 ab--cd Ａ.com Ünder.de ☃.net a@b ♥.com é:80 。a “a”.com a,é ①.com ½.com a*é [é] é.é-
            - -- é-.com -é.com é..com .é é. é_é é!é é@é é#é é$é é%é é^é é&é é(é) é+é é=é é[é] é|é é\é é;é é"é é<é> é,é é?é é~é é`é ✓.com ①② ㍿.jp ﬁ.com
            """"),
        ["email"] = (
            """"
            a@b.c a.b@example.com user+tag@example.org x_y@a-b.co 1@2.3 o'neil@example.ie !#$%&'*+-/=?^_`{|}~@example.com a.b.c.d@e.f.g.h A@B.C
            very.common@example.com customer/department=shipping@example.com aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com
            a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com a--b@c.d -@a.b _@x.y a@1.2 test@sub.sub.example.museum first.last@iana.org
            x@example.s user%example.com@example.org mailhost!username@example.org 0@0.0 joe.blow@example.co.uk a+b+c@d.e z@z.zz
            b@c.de first.last@example.com first-last@example.co.uk first_last@example.info 1234567890@example.com a1@b2.c3 UPPER@EXAMPLE.COM MiXeD@Example.Com
            $a@b.cd &a@b.cd 'a'@b.cd *a@b.cd +a@b.cd /a@b.cd =a@b.cd ?a@b.cd ^a@b.cd `a@b.cd {a}@b.cd |a@b.cd ~a@b.cd !a@b.cd #a@b.cd %a@b.cd a-@b.cd a_@b.cd
            a@b-c-d.ef a@1-2.3-4 long.local.part.with.many.dots@example.org a@b.c.d.e.f
            """",
            """"
            a@localhost "a·b"@example.com a@[127.0.0.1] a@[IPv6:::1] "@"@x.y "a\"b"@c.d me@xn--fsq.com
            """",
            """"
            a @ a@ @b.c a.b.c a@b@c.d .a@b.c a.@b.c a..b@c.d a·b@c.d a@b·c.d a@-b.c a@b-.c a@b..c a@.b a@b.
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com
            a@b_c.d a,b@c.d a;b@c.d a:b@c.d <a@b.c> "a@b.c "a"b@c.d a@[1.2.3] a@[256.1.1.1] a[b@c.d é@b.c a@é.com a@b.c· ·a@b.c a(b)@c.d
            a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
            a\@b.c
            @@ a@@b.c a@b.c@ .@b.c ..@b.c a.b.@c.d a@.b.c a@b.c. a@b..c.d a@-b.cd a@b.c- a@b-.cd a@b.-cd a@_b.cd a@b!c.de a@b#c.de a@b$c.de a@b%c.de a@b+c.de
            a@b/c.de a@b=c.de a@b~c.de a@[b].cd (a)@b.cd a@(b).cd a<b@c.de a>b@c.de a]b@c.de a·@b.cd "a@b.cd a"@b.cd a@"b".cd
            """"),
        ["idn-email"] = (
            """"
            a@b.c 用户@例子.中国 ñandú@example.es user@münchen.de 실례@실례.테스트 a.b@example.com ю@пример.рф é.è@x.fr 日本@日本.jp user+tag@example.org a_b@c.d straße@straße.de
            x@y.z ひら@かな.jp δοκιμη@παραδειγμα.gr ab@cd.ef 1@2.3 ö@ö.de a-b@c-d.e テスト@例.jp o'neil@example.ie Ürün@ornek.tr 你好.世界@例.cn q@w.e.r à@b.c
            b@c.de 李@例.cn 山田@日本.jp 花子.山田@日本.jp 김@한국.kr 이름@예.한국 иван@пример.рф иван.петров@почта.рф müller@example.de jörg.müller@übung.de señor@correo.es
            françois@exemple.fr åse@eksempel.no øyvind@øl.no łukasz@firma.pl αβγ@ελλαδα.gr さくら@花.jp カナ@カナ.jp a1@ü2.de x+é@y.fr é+x@y.fr _é@y.fr é_@y.fr
            ЮРИЙ@пример.рф q!é@z.de
            """",
            """"
            a@localhost "a·b"@example.com a@[127.0.0.1] δοκιμή@παράδειγμα.gr علي@example.com averyveryverylongname@example.com
            """",
            """"
            a @ a@ @b.c é 日本 a@b@c.d .é@b.c é.@b.c é..é@c.d é·é@c.d a@é·é.d a@-é.c a@é-.c a@b..c a@.é a@é. <é@b.c> é,é@b.c é;é@c.d a@b_c.d a@☃.net a@b.c· ·é@b.c
            é(é)@c.d é[é@c.d a@Ｂ.c 日\本@c.d é"é@b.c a@b/c.d
            é@ @é é@@é.c é@é@é.c é..é@é.c .é.é@é.c é.é.@é.c é@.é.c é@é..c é@é.c. é@-é.c é@é-.c é@é_é.c é@é!é.c é@é·é.c ·é@é.c é@é.c· é·é@é.c é,@é.c é:@é.c é;@é.c
            é<@é.c é>@é.c é(@é.c é)@é.c é[@é.c é]@é.c é\@é.c
            """"),
        ["ipv4"] = (
            """"
            0.0.0.0 1.2.3.4 127.0.0.1 192.168.0.1 255.255.255.255 10.0.0.1 172.16.254.1 8.8.8.8 100.100.100.100 249.250.251.252 199.200.209.210 99.9.90.19
            1.10.100.200 255.0.255.0 0.0.0.255 203.0.113.7 198.51.100.42 192.0.2.235 224.0.0.251 169.254.1.1 25.26.27.28 1.1.1.1 240.1.2.3 12.34.56.78 9.8.7.6
            2.3.4.5 6.7.8.9 10.11.12.13 20.21.22.23 30.40.50.60 70.80.90.100 110.120.130.140 150.160.170.180 190.200.210.220 230.240.250.255 0.1.0.1 1.0.0.0
            0.0.1.0 99.99.99.99 199.199.199.199 209.219.229.239 250.251.252.253 254.255.254.255 10.10.10.10 127.255.255.255 128.0.0.0 191.255.0.0 223.255.255.0
            100.64.0.1 198.18.0.1
            """",
            "",
            """"
            256.0.0.1 1.2.3 1.2.3.4.5 01.2.3.4 1.02.3.4 1.2.3.004 1.2.3.256 1.2.3.300 1.2.3.999 1.2.3.1000 .1.2.3 1.2.3. 1..2.3 1.2.3.a 0x7f.0.0.1 127.1 2130706433
            1.2.3.4/24 1.2.3.4:80 ·1.2.3.4 1.2.3.4· 1.2.3.-4 +1.2.3.4 1,2,3,4 1.2.3.４ ::1 1.2.3.٤ 1.2.3.4a 00.0.0.0
            1 1.2 1.2.3.4. .1.2.3.4 1...4 1.2..4 1.2.3.4.5.6 260.1.1.1 1.260.1.1 1.1.260.1 1.1.1.260 999.1.1.1 1.999.1.1 1000.1.1.1 001.1.1.1 1.001.1.1 1.1.00.1
            1.1.1.00 0x1.0x2.0x3.0x4 a.b.c.d 1.2.3.b 1.2.3.4- 1.2.3.+4 1·.2.3.4 1.2.3.4/32 [1.2.3.4] ::1.2.3.4 १.2.3.4
            """"),
        ["ipv6"] = (
            """"
            :: ::1 1:: 2001:db8::1 1:2:3:4:5:6:7:8 ::ffff:192.0.2.1 1:2:3:4:5:6:1.2.3.4 fe80::1 ABCD:EF01:2345:6789:ABCD:EF01:2345:6789
            2001:DB8:0:0:8:800:200C:417A FF01::101 ::13.1.68.3 1::8 1:2::7:8 1:2:3::6:7:8 1:2:3:4::5:6:7 1::5:6:7:8 ::2:3:4:5:6:7:8 1:2:3:4:5:6:7:: 0:0:0:0:0:0:0:0
            ::1.2.3.4 1::1.2.3.4 64:ff9b::192.0.2.33 2001:db8::8a2e:370:7334 a:b:c:d:e:f:0:1 0001:0002:0003:0004:0005:0006:0007:0008
            2:: 3::4 5:6::7 8:9:a::b c:d:e:f::1 1:2:3:4:5::6 1:2:3:4:5:6::7 ::2 ::3:4 ::5:6:7 ::8:9:a:b ::c:d:e:f:1 ::1:2:3:4:5:6 1::2:3:4:5:6:7 1:2::3:4:5:6:7
            f:e:d:c:b:a:9:8 FFFF:: ::FFFF:255.255.255.255 ff02::1 ff02::2 2001:0db8:85a3:0000:0000:8a2e:0370:7334 2001:db8:: 0:: ::0 1:2:3::1.2.3.4
            1:2:3:4::1.2.3.4 1:2:3:4:5::1.2.3.4
            """",
            "",
            """"
            1 1:2 1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 ::: 1::2::3 :1 1: 12345:: ::12345 g:: 1:2:3:4::5:6:7:8 1.2.3.4 1:2:3:4:5:6:7:1.2.3.4 ::1.2.3 ::1.2.3.256
            ::01.2.3.4 1.2.3.4:: fe80::1%eth0 [::1] ::1/128 ·::1 ::1· 1:2:3:4:5:6:7: :2:3:4:5:6:7:8 1::2:: ::-1 ::１ 1:2:3:4:5:6:1.2.3.4:5
            : 1::: :::1 1:::2 ::1:: 1::2::3::4 1:2:3:4:5:6:7:8: :1:2:3:4:5:6:7:8 1:2:3:4:5:6:7::8:9 ::1:2:3:4:5:6:7:8 1:2:3:4:5:6:7:8:: 00001:: ::00001 fffff::
            ::g 1:2:3:4:5:6:7:h ::1.2.3.4.5 ::1.2.3.4:5 1.2.3.4::1 ::256.1.1.1 ::1.2.3.04 ::1.2 1:2:3:4:5:6:7:1.2.3 1;2::3 1::2/64 1::2%1
            """"),
        ["uuid"] = (
            """"
            123e4567-e89b-12d3-a456-426614174000 00000000-0000-0000-0000-000000000000 ffffffff-ffff-ffff-ffff-ffffffffffff FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF
            f81d4fae-7dec-11d0-a765-00a0c91e6bf6 6ba7b810-9dad-11d1-80b4-00c04fd430c8 2ed6657d-e927-568b-95e1-2665a8aea6a2 2ED6657D-e927-568B-95e1-2665a8aea6a2
            98d80576-482e-427f-8434-7f86890ab222 99c17cbb-656f-564a-940f-1a4568f03487 99c17cbb-656f-664a-940f-1a4568f03487 017f22e2-79b0-7cc3-98c4-dc0c0c07398f
            1ec9414c-232a-6b00-b3c8-9e6bdeced846 919108f7-52d1-4320-9bac-f847db4148a8 5c146b14-3c52-8afd-938a-375d0df1fbf6 320c3d4d-cc00-875b-8ec9-32d5f69181c0
            c232ab00-9414-11ec-b3c8-9f6bdeced846 5df41881-3aed-3515-88a7-2f4a814cf09e 0a0b0c0d-0e0f-1011-1213-141516171819 deadbeef-dead-beef-dead-beefdeadbeef
            abcdefab-cdef-abcd-efab-cdefabcdefab 01234567-89ab-cdef-0123-456789abcdef 76543210-fedc-ba98-7654-3210fedcba98 10000000-0000-4000-8000-000000000001
            12345678-1234-1234-1234-123456789012 87654321-4321-4321-4321-210987654321 99999999-9999-9999-9999-999999999999
            aAaAaAaA-bBbB-cCcC-dDdD-eEeEeEeEeEeE
            11111111-1111-1111-1111-111111111111 22222222-2222-2222-2222-222222222222 aaaabbbb-cccc-dddd-eeee-ffff00001111 AAAABBBB-CCCC-DDDD-EEEE-FFFF00001111
            fedcba98-7654-3210-fedc-ba9876543210 c0ffee00-0000-4000-8000-00000000beef 00000000-0000-1000-8000-000000000000 ffffffff-ffff-5fff-bfff-ffffffffffff
            9b2c1d4e-5f60-4718-9a2b-3c4d5e6f7081 A1b2C3d4-E5f6-4789-aB0c-D1e2F3a4B5c6 7d444840-9dc0-11d1-b245-5ffdce74fad2 e902893a-9d22-3c7e-a7b8-d6e313b71d9f
            74738ff5-5367-5958-9aee-98fffdcd1876 1b4e28ba-2fa1-11d2-883f-0016d3cca427 6fa459ea-ee8a-3ca4-894e-db77e160355e 886313e1-3b8a-5372-9b90-0c9aee199e5d
            21f7f8de-8051-5b89-8680-0195ef798b6a d9428888-122b-11e1-b85c-61cd3cbb3210 a3bb189e-8bf9-4c7b-b6a5-000000000001 00112233-4455-6677-8899-aabbccddeeff
            ffeeddcc-bbaa-9988-7766-554433221100 1234abcd-5678-efab-9012-cdef34567890 deadc0de-feed-face-cafe-babedeadbeef
            """",
            "",
            """"
            123e4567e89b12d3a456426614174000 123e4567-e89b-12d3-a456-42661417400 123e4567-e89b-12d3-a456-4266141740000 123e4567-e89b-12d3-a456_426614174000
            g23e4567-e89b-12d3-a456-426614174000 {123e4567-e89b-12d3-a456-426614174000} 123e4567-e89b12d3-a456-426614174000 123e45678-e89b-12d3-a456-26614174000
            123e4567-e89-12d3-a4567-426614174000 ·123e4567-e89b-12d3-a456-426614174000 123e4567-e89b-12d3-a456-426614174000· -123e4567-e89b-12d3-a456-42661417400
            123e4567–e89b–12d3–a456–426614174000 123e4567-e89b-12d3-a456 123e4567 - ---- 0x3e4567-e89b-12d3-a456-426614174000 １23e4567-e89b-12d3-a456-426614174000
            123e4567-e89b-12d3-a456-42661417400O (123e4567-e89b-12d3-a456-426614174000) 123e4567-e89b-12d3--456-426614174000 123E4567-E89B-12D3-A456-42661417400Z
            123e4567-e89b-12d3-a456-4266-4174000 123e4567-e89b-12d3-a4-56426614174000 123e456-7e89b-12d3-a456-426614174000 +23e4567-e89b-12d3-a456-426614174000 a b
            12
            11111111-1111-1111-1111-11111111111 1111111-1111-1111-1111-111111111111 11111111-111-1111-1111-111111111111 11111111-1111-111-1111-111111111111
            11111111-1111-1111-111-111111111111 111111111-1111-1111-1111-111111111111 11111111-11111-1111-1111-111111111111 11111111-1111-11111-1111-111111111111
            11111111-1111-1111-11111-111111111111 11111111-1111-1111-1111-1111111111111 1111111g-1111-1111-1111-111111111111 11111111-111z-1111-1111-111111111111
            11111111-1111-11x1-1111-111111111111 11111111-1111-1111-1y11-111111111111 11111111-1111-1111-1111-11111111111l 11111111_1111_1111_1111_111111111111
            11111111.1111.1111.1111.111111111111 11111111:1111:1111:1111:111111111111 11111111/1111/1111/1111/111111111111 11111111·1111·1111·1111·111111111111
            urn:uuid:11111111-1111-1111-1111-111111111111 11111111-1111-1111-1111 -11111111-1111-1111-1111-111111111111 11111111-1111-1111-1111-111111111111-
            [11111111-1111-1111-1111-111111111111] uuid 0 ffffffffffffffffffffffffffffffff
            """"),
        ["uri"] = (
            """"
            http://example.com https://example.com:8080/a/b?c=d&e=f#g ftp://ftp.is.co.za/rfc/rfc1808.txt http://www.ietf.org/rfc/rfc2396.txt
            ldap://[2001:db8::7]/c=GB?objectClass?one mailto:John.Doe@example.com news:comp.infosystems.www.servers.unix tel:+1-816-555-1212
            telnet://192.0.2.16:80/ urn:oasis:names:specification:docbook:dtd:xml:4.1.2 foo://example.com:8042/over/there?name=ferret#nose
            urn:example:animal:ferret:nose file:///etc/hosts http://user:pass@host/ a:b http://a/%20 http://[::1]:3000/ http://a?b http://a#b http://a/?b?c/d#e/f?g
            data:text/plain,hi x+y-z.1:p h://a:/ http://a//b//c urn:a%C3%A9 http://a/;p=1,2!$&'()*+~_ svn+ssh://h/p http://1.2.3.4/ s:/p s:/p/q
            http://a https://b/ http://a.b/c http://a.b/c/d/ http://a.b/c?d http://a.b/c#d http://a.b?c=d&e=f http://a:1/ http://a:65535/ http://a@b/
            http://a:b@c/ http://a:@b/ http://[1:2:3:4:5:6:7:8]/ http://[::ffff:1.2.3.4]/ http://a/%41%42 http://a/b%2Fc http://a/b;c http://a/b,c http://a/b=c
            http://a/b@c http://a/b:c http://a/'b' http://a/(b) http://a/*b http://a/!b http://a/$b http://a/&b http://a/+b http://a/~b http://a/.b ws://a/b
            wss://a:443/b irc://a/b urn:isbn:0451450523 sip:a@b.c xmpp:a@b.c A:b Z9+-.:x about:blank
            """",
            """"
            a: a:?q a:#f http://a:1234567/
            """",
            """"
            http://a·b http://a/b·c http://a/% http://a/%2 http://a/%zz http://a/{b} http://a/[b] http://[::1 http://[g::]/ http://a/"b" http://a/<b> http://a/b\c
            http://a/^ http://a/` http://a/| http://a:b/ http://a:8a/ http://a#b#c http://é/ http://a/é ·http://a http://a· http://[1.2.3.4]/ http://a@b@c/ 1:b
            /relative //h/p ?q #f a/b : :a -a:b é:b a·b:c
            a http /a/b //a //a/b ?a #a . .. ./a ../a 1a:b +a:b .a:b -:b http://a/<b http://a/b> http://a/"b http://a/b" http://a/{b http://a/b} http://a/b|c
            http://a/b^c http://a/b`c http://a/b[c http://a/b]c http://a?b[c] http://a?b#c#d http://a#b[c] http://[a http://a] http://[] http://[1] http://[::1]a/
            http://a:b:c/ http://a:-1/ http://%/ http://a/%g0 http://a/%0g
            """"),
        ["uri-reference"] = (
            """"
            http://example.com https://example.com:8080/a/b?c=d&e=f#g ftp://ftp.is.co.za/rfc/rfc1808.txt http://www.ietf.org/rfc/rfc2396.txt
            ldap://[2001:db8::7]/c=GB?objectClass?one mailto:John.Doe@example.com news:comp.infosystems.www.servers.unix tel:+1-816-555-1212
            telnet://192.0.2.16:80/ urn:oasis:names:specification:docbook:dtd:xml:4.1.2 foo://example.com:8042/over/there?name=ferret#nose
            urn:example:animal:ferret:nose file:///etc/hosts http://user:pass@host/ a:b http://a/%20 http://[::1]:3000/ http://a?b http://a#b http://a/?b?c/d#e/f?g
            data:text/plain,hi h://a:/ http://a//b//c urn:a%C3%A9 http://a/;p=1,2!$&'()*+~_ svn+ssh://h/p http://1.2.3.4/ s:/p s:/p/q / /a a a/b ./a:b ../a ? ?q #
            #f //h //h/p a?b#c %20
            b b/c /b/c //b //b/c ?b=c #b/c ./b ../b ../../b b?c b#c b?c#d ?b#c . .. ./ ../ a@b;c
            """",
            """"
            a: a:?q
            """",
            """"
            http://a·b http://a/b·c http://a/% http://a/%2 http://a/%zz http://a/{b} http://a/[b] http://[::1 http://[g::]/ http://a/"b" http://a/<b> http://a/b\c
            http://a/^ http://a/` http://a/| http://a:b/ http://a:8a/ http://a#b#c http://é/ http://a/é ·http://a http://a· http://[1.2.3.4]/ http://a@b@c/ :a 1:b
            [] a[b] {x} a^ %% %2 \a "a" <a> |
            a·b <a a> "a a" {a a} a|b a^b a`b a\b [a a] //[a //a:b //a:b/ ?[a] #[a] ?a#b#c a#b#c %g %0g :b 1:2 http://[]/ é //é ?é #é
            """"),
        ["iri"] = (
            """"
            http://é.example/ http://example.com/日本語?ключ=значение#é https://例え.jp/引き http://ƒøø.ßår/?∂éœ=πîx#πîüx http://a/b urn:é mailto:é@b s://é:1/ http://é@a/
            http://a/%C3%A9 http://[::1]/é http://a/한국어 https://en.wiktionary.org/wiki/Ῥόδος http://résumé.example.org a:é http://a?é http://a#é http://a/é/ü/ö
            ftp://ñ/ x:日 http://a/– http://a/“x” http://a/… h://é:/ http://a/À
            http://a https://ö/ http://ä.ö/ü http://a/é?ü#ö http://日本/ http://a:1/é http://é:65535/ http://a@é/ http://é:ü@ö/ http://[1::2]/é http://a/%41é
            http://a/é;ü http://a/é,ü http://a/é=ü http://a/é@ü http://a/é:ü http://a/(é) http://a/*é http://a/!é http://a/$é http://a/~é ws://é/ü urn:日本:東京 tag:é
            A:é Z9+-.:ü http://а/б http://a/ελ http://서울/ http://a/中文?q=中 http://a/é/
            """",
            """"
            a: a:?é http://a/😀
            """",
            """"
            http://a·b http://a/b·c http://a/% http://a/%2 http://a/%zz http://a/{b} http://a/[b] http://[::1 http://[g::]/ http://a/"b" http://a/<b> http://a/b\c
            http://a/^ http://a/` http://a/| http://a:b/ http://a:8a/ http://a#b#c ·http://a http://a· http://[1.2.3.4]/ http://a@b@c/ 1:b /é é //é ?é #é é:b -é:b
            : http://a/ http://a/é·é http://é/% http://é/<
            é/ü /é/ü //é/ü ?é=ü . ./é 1é:ü é:ü -:ü http://é/{ü http://é/ü} http://é/|ü http://é/\ü http://é/^ü http://é/`ü http://é/[ü http://é/ü] http://é#ü#ö
            http://[é]/ http://é:ü/ö http://%é/ http://é/%g0 http://é/"ü http://é/ü>
            """"),
        ["iri-reference"] = (
            """"
            http://é.example/ http://example.com/日本語?ключ=значение#é https://例え.jp/引き http://ƒøø.ßår/?∂éœ=πîx#πîüx http://a/b urn:é mailto:é@b s://é:1/ http://é@a/
            http://a/%C3%A9 http://[::1]/é http://a/한국어 https://en.wiktionary.org/wiki/Ῥόδος http://résumé.example.org a:é http://a?é http://a#é http://a/é/ü/ö
            ftp://ñ/ x:日 http://a/– http://a/“x” http://a/… h://é:/ http://a/À é /é //é/ü ?é #é ../é é/ü é?ü#ö 日本 a
            ö ö/ü /ö/ü //ö ?ö=ü #ö/ü ./ö ../../ö ö?ü?ö . .. 日本/東京 ?日 #日 д/е
            """",
            """"
            a: a:?é http://a/😀 😀
            """",
            """"
            http://a·b http://a/b·c http://a/% http://a/%2 http://a/%zz http://a/{b} http://a/[b] http://[::1 http://[g::]/ http://a/"b" http://a/<b> http://a/b\c
            http://a/^ http://a/` http://a/| http://a:b/ http://a:8a/ http://a#b#c ·http://a http://a· http://[1.2.3.4]/ http://a@b@c/ é·é é[ü] {é} é% é%z \é é:b
            "é" <é> |é :é  é^
            é·ü <é é> "é é" {é é} é|ü é^ü é`ü é\ü [é é] //[é //é:ü //é:ü/ ?[é] #[é] ?é#ü#ö é#ü#ö %é %0é 1:é http://[]/
            """"),
        ["uri-template"] = (
            """"
            http://example.com/{id} {var} {+path}/here {#frag} {.ext} {/a,b} {;x,y} {?q,r*} {&next} {a:3} {a:9999} {list*} a/{b}/c{?d} {a_b} {1} {a%20b} x%20y
            http://example.com/dictionary/{term:1}/{term} {var:30} {x,hello,y} {+x,hello,y} {/var:1,var} plain ~a-b._c {?fields*} {+path:6}/here {/list*,path:4}
            é/{id} {A,B,C} {#x,hello,y} []()!$&*+,;=:@#/?
            {b} {a}{b} a{b}c {+a} {#a} {.a} {/a} {;a} {?a} {&a} {a,b} {+a,b} {#a,b} {.a,b} {/a,b,c} {;a,b} {?a,b} {&a,b} {a*} {+a*} {?a*} {a:1} {a:10} {a:100}
            {a:1000} {?a:5,b*} /x/{y}/z{?q} http://a/{b}/{c}{?d,e}{#f} %41{a} {%41}
            """",
            """"
            {a.b}
            """",
            """"
            { } {} {a a} {a}} {{a}} {a·b} {a,} {,a} {a:} {a:0} {a:10000} {a:x} {a**} {a*:3} {-a} {=a} {!a} {@a} {|a} {a-b} {a/b} {+} {?} a·b a% a%2 a%zz a"b a<b
            a>b a\b a^b a`b a|b a'b {a%2} {a}{
            {{a} }a{ a{ {a,,b} {a, b} {a:00} {a:-1} {a:b} {a::1} {a***} {*a} {:1} {a+b} {a=b} {a;b} {a?b} {a#b} {a&b} {a!b} {$a} {(a)} {<a>} {"a"} {a|b} {++a}
            {?&a} {%g1} {%4}
            """"),
        ["url"] = (
            """"
            http://example.com https://example.com/ ftp://ftp.example.org/a.txt http://a.bc https://sub.example.co.uk:8080/p?q=1#f http://example.com/%20
            https://a-b.com/x/y/z http://1a.com/ https://example.museum http://example.com:80 https://example.com/?a=b&c=d http://x.y.zz/a;b=c,d
            https://foo.io/~u/!$&'()*+ ftp://a.b.cd:21/ http://example.com/a//b https://example.com/#f https://example.com/a#b/c?d http://a.b.cd/?
            https://test.org/index.html http://www.example.de/ https://example.info/a_b-c.d http://m.net https://n0.dev/x?y#z http://3com.com https://q.app:3000/
            http://b.cd https://b.cd/ ftp://b.cd/e http://b.cd/e/f http://b.cd/e?f http://b.cd/e#f http://b.cd:8080 https://b.cd:8443/e?f=g#h
            http://x-y.cd http://x1.y2.cd http://w.x.y.zz/ http://a.info https://a.travel/x http://a.b.c.com/%41 http://a.com/b;c http://a.com/b,c
            http://a.com/b@c http://a.com/b:c http://a.com/(b) http://a.com/*b http://a.com/~b http://a.com/b.c https://a.com/?b#c ftp://a.com:2121/b.txt
            http://0.cd
            """",
            """"
            http://EXAMPLE.com
            """",
            """"
            example.com //example.com http:// http://a·b.com http://-a.com http://a-.com http://a..com http://.com http://a.com:x/ http://a.com/·b http://a.com/%
            http://a.com/<x> http://a_b.com mailto:a@b.c urn:a:b file:///etc/x javascript:alert(1) http:/a.com http//a.com ://a.com h://a.com http://a.com/{x}
            http://a.com/"x" ·http://a.com http://a.com· http://[::1]/ http://a.com#a#b http://localhost ws://a.com http://a.com/^
            a a.b //a.b /a ?a #a http: http:/ http:/// http://a http://a/ http://.b http://b. http://a.b:x http://a_.bc http://a!.bc
            http://a.b/·c http://a.b/"c http://a.b/c|d http://a.b/c`d http://a.b/[c] htp://a.bc tel:1 data:,x ssh://a.bc
            """"),
        ["json-pointer"] = (
            """"
            / /a /a/b // /foo /foo/0 /a~1b /c%d /e^f /g|h /i\j /k"l /· /m~0n /~0 /~1 /~01 /~00 /~1~0 /0 /-1 /é/日本 /😀 /a//b /a/ /~0~1 /x=y /#/a /[0]
            /b /b/c /b/c/d /1 /10/20 /~0/~1 /~0~0 /~1~1 /a~0 /a~1 /~0a /~1a /%20 /%% /+ /? /& /: /; /, /. /.. /* /( /) /< /> /日本/東京
            """",
            "",
            """"
            a a/b ~ /~ /~2 /a~ /~/a /~~ /~a # #/a 0 -1 · é /a/~3 /~01~ ~0 ~1/a /~x/b ./a ../a {} [0] "/a" /~/ a~0 /a/b~ /0~9 /~é ?/a http://a/
            b b/ b/c 1 1/2 #/ #/b ~1/b /~3 /~4 /~9 /~A /~- /b~2 /b~3/c /~0~ /~1~ /~~1 /b/~/c /b/c~d ~~ %2F \b ·/b
            """"),
        ["json-pointer-uri-fragment"] = (
            """"
            # #/ #/a #/a/b #// #/foo/0 #/a~1b #/c%25d #/e%5Ef #/g%7Ch #/%20 #/m~0n #/~0 #/~1 #/%C3%A9 #/a.b #/_x #/-1 #/a:b #/a@b #/(x) #/$a #/!a #/a;b #/a=b #/a&b
            #/a+b
            #/b #/b/c #/b/c/d #/1 #/10/20 #/~0/~1 #/~0~0 #/~1~1 #/a~0 #/~1a #/%41 #/%7E0 #/%E6%97%A5 #/* #/, #/' #/) #/a(b) #/.. #/. #/x-y #/x_y #/A/B/C #/a%20b/c
            """",
            "",
            """"
            a / /a #a ##/a #/~ #/~2 #/% #/%2 #/%zz #/a·b #/"a" #/<a> #/{a} #/[0] #/é #/a|b #/a^b #/a\b · ~ #/~a #~0 #/a#b #/`a #/a/~ #/%~0
            b /b #b #~0/ #/~3 #/~A #/b~ #/b~2 #/%4 #/%g1 #/b[ #/b] #/b{ #/b} #/b|c #/b\c #/b^c #/b`c #/b"c #/b<c #/b>c #/b#c #/日本 #·/b ## ##/
            """"),
        ["relative-json-pointer"] = (
            """"
            0 1 0# 1# 10 0/a 1/a/b 2/ 12# 0/~0 0/~1 3/a~1b 0// 7/0 99/x 1/é 0/· 5/- 100/a/b/c 0/m~0n 4# 9 1/a// 13 14/b 0/~01 20/foo/0
            6 7# 8/b 9/b/c 11/1 22/1/2 33# 44/ 55/~0 66/~1 77/a~0b 88/日本 0/%20 1/+ 2/? 3/: 4/. 5/.. 6/* 7/( 8/> 9/~1~0 11// 0/0/0
            """",
            """"
            1234567 1234567#
            """",
            """"
            /a a # -1 +1 00 01 01/a 1a 1#/a 1## 0~ 0/~ 0/~2 1.5 · 1·/a ·1 1· -0 #0 0-1 1/~a /0 １ 1#a ~0 1//~ x/0 0\a {}
            b /b #/b -2 +0 02 002/a 1b 1b# 1/~ 1/~3 1/b~ 1/b~2 1~0 1.0 1e1 0x1 1·# #1 1#b 1##b ·1# 1,2 1:a 1?a
            """"),
        ["regex"] = (
            """"
            a abc a* a+ a? a{2} a{2,} a{2,13} [abc] [a-z] [^0-9] . ^a$ a|b (a) (?:a) (a|b)* (?=a) (?!a) \d \w+ \s* \. \\ [\d_] (a(b)c) \bfoo\b ^$ a*? [\]] \/ x·y
            a-b ([a-z]+) | (?:(?:a)b)
            b bc b* b+ b? b+? b?? b{1} b{1,} [b] [^b] [0-9]+ [A-Z][a-z]* ^b b$ ^[a-z]+$ (b|c) (?:b|c)+ b|c|d \d+ \D \S+ \W \t \n \r \$ \^ \( \) \[ \] \{ \} \| \?
            \+ \* (?!b)c (?=b)b
            """",
            """"
            ((a(b(c)))) (?<n>a) [.:] \u0041 [b-d] a{1,2}
            """",
            """"
            ( ) (a a) [ [a [z-a] * + ? *a (*a) a** a{2}{3} (?a) (?<n (?:a a|* (?=a \ a\ (|a [\ ((a) (?) +? |* (?:*) a(b(c) [^ ()) (?<>a) (?!a
            (b b) [b (b|c (b)) ((b) b(c b)c (?b) (?:b (?!b (?=b (?<b) (?<=b [b-a] [9-0] b** b++ b?** b{2}* b{2}+ b*{2} *b +b ?b |+b (*b) (+b) (??
            """"),
        ["byte"] = (
            """"
            AAAA TWFu TWE= TQ== abcd ABCD1234 +/+/ AQ== AA== AAA= QUJD SGVsbG8= SGVsbG8h Zm8= Zm9v Zm9vYg== Zm9vYmE= Zm9vYmFy //// ++++ 0000 AQID BAUG /w== //8=
            9999 zzzz
            BBBB QUFB QQ== QUE= QkI= QkJC AAEC AwQF BgcI CQoL DA0O Dw== EBES ExQV /+8= YWJj ZGVm Z2hp amts bW5v cHFy c3R1 dnd4 eXo= MTIz NDU2 Nzg5 MA== 8J+YgA==
            """",
            "",
            """"
            A AA AAA A=== AA=A =AAA ==== AAAA= AAAAA TQ= TWE TWFu= a·bc ab-d ab_d TQ==TQ== AB=C é=== A·A= .... AAA. A=A= ·AAAA AAAA· AAAA\ "AAA" {AAA AAA} AAA, Zg
            Zm8 Zg=
            B BB BBB B=== BB=B =BBB BBBB= BBBBB BB=== B==B BB==BB BBBB·BBBB BB-B BB_B BB.B BB,B BB*B BB+/= B/=B +=== "BBBB" 'BBBB' BBBB\n BBB! é日== ＢBBB
            """"),
    };
}
