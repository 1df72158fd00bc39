using System.Globalization;
using System.Text;
using Gemma.Extensions.AI.Rag.Words;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

public sealed class SearchWordsTests
{
    /// <summary>Two writings of one word, by the Unicode standard's tables, and what they are searched as.</summary>
    [Theory]
    [InlineData("The \uFB01nance o\uFB03ce", "the finance office")]
    [InlineData("\uFF2D\uFF4F\uFF44\uFF45\uFF4C \uFF21\uFF22\uFF23\uFF11\uFF12\uFF13", "model abc123")]
    [InlineData("Donau\u00ADdampf\u00AD\n  schiff\u00AD\r\nfahrt", "donaudampfschifffahrt")]
    [InlineData("soft\u00AD hyphen", "soft hyphen")]
    [InlineData("zero\u200Bwidth no\u2060break \uFEFFmark left\u200Eright", "zerowidth nobreak mark leftright")]
    [InlineData("Straße STRASSE Straẞe", "strasse strasse strasse")]
    [InlineData("ΟΔΟΣ οδός Ὀδὸς", "οδοσ οδοσ οδοσ")]
    [InlineData("İSTANBUL ıstanbul Istanbul istanbul", "istanbul istanbul istanbul istanbul")]
    [InlineData("Café Cafe\u0301 CAFÉ", "cafe cafe cafe")]
    [InlineData("Việt Nam Vie\u0323\u0302t đường", "viet nam viet duong")]
    [InlineData("m² H₂O 10⁵ ① ½ ℃ Foo™", "m2 h2o 105 1 1 2 c foo ")]
    [InlineData("\u0661\u0662\u0663 \u0967\u0968 \uFF15 \u0E53", "123 12 5 3")]
    [InlineData("ｶﾞｰﾄﾞ ガード カ\u3099ート\u3099", "カ\u3099ート\u3099 カ\u3099ート\u3099 カ\u3099ート\u3099")]
    [InlineData("한글 \u1112\u1161\u11AB\u1100\u1173\u11AF", "한글 한글")]
    [InlineData("가각 \u1100\u1161\u1100\u1161\u11A8", "가각 가각")]
    [InlineData("المضخـــة المُضَخَّة ﻢﺿ", "المضخه المضخه مض")]
    [InlineData("أحمد إحمد آحمد ٱحمد", "احمد احمد احمد احمد")]
    [InlineData("לַחַץ לחץ \uFB2A", "לחץ לחץ ש")]
    [InlineData("पानी की मरम्मत", "पानी की मरम्मत")]
    [InlineData("\u0915\u093C \u0958", "\u0915\u093C \u0915\u093C")]
    [InlineData("น้ำ น้\u0E4D\u0E32 น\u0E4D\u0E49\u0E32", "น\u0E49\u0E4D\u0E32 น\u0E49\u0E4D\u0E32 น\u0E49\u0E4D\u0E32")]
    [InlineData("ກຸ້ ກ\u0EC9\u0EB8", "ກຸ້ ກຸ້")]
    [InlineData("ｏﬀ 𝐀𝟙 Ⅷ ㎏ ㍿", "off a1 viii kg 株式会社")]
    [InlineData("Œuvre Ærø Łódź Þór", "oeuvre aero lodz thor")]
    [InlineData("ёлка ЁЛКА Йод", "елка елка иод")]
    [InlineData("⼀ 豈 葛\U000E0100", "一 豈 葛")]
    [InlineData("don't e-mail a_b", "don t e mail a b")]
    [InlineData("\uD800x \uDC00", " x ")]
    [InlineData("", "")]
    public void Folding(string text, string expected) => Assert.Equal(expected.Trim(), CharacterFolding.Fold(text).Trim());

    /// <summary>Every character: what it is searched as holds word characters and single spaces, and is searched as itself.</summary>
    [Fact]
    public void FoldingTwiceIsFoldingOnce()
    {
        for (int c = 0; c < 0x110000; c++)
        {
            if (c is >= 0xD800 and < 0xE000)
            {
                continue;
            }

            string folded = CharacterFolding.Fold($"a{char.ConvertFromUtf32(c)}b");
            Assert.True(folded == CharacterFolding.Fold(folded), $"U+{c:X4}: {folded}");
            foreach (Rune rune in folded.EnumerateRunes())
            {
                Assert.True(rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is <= UnicodeCategory.OtherNumber or UnicodeCategory.OtherNotAssigned, $"U+{c:X4}: U+{rune.Value:X4}");
                Assert.False(Rune.GetUnicodeCategory(rune) == UnicodeCategory.UppercaseLetter && Rune.ToLowerInvariant(rune) != rune, $"U+{c:X4}: U+{rune.Value:X4}");
            }

            Assert.DoesNotContain("  ", folded, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("GPU加速", "gpu 加速 速")]
    [InlineData("水", "水")]
    [InlineData("保証期間は", "保証 証期 期間 間は は")]
    [InlineData("中文,日本", "中文 文 日本 本")]
    [InlineData("펌프는 3월에", "펌프 프는 는 3 월에 에")]
    [InlineData("ปลา มีนาคม", "ปลา ลา มีนา นาค คม ม")]
    [InlineData("เมื่อไหร่", "เมื่อ อไห ไหร่ ร่")]
    [InlineData("ខ្ញុំ", "ខ្ញុំ")]
    [InlineData("カ\u3099ス", "カ\u3099ス ス")]
    [InlineData("\U00020BB7野家", "\U00020BB7野 野家 家")]
    [InlineData("plain words", "plain words")]
    public void WordsOfScriptsWithAndWithoutSpaces(string text, string expected) => Assert.Equal(expected, string.Join(' ', SearchWords.Of(text).Select(w => w.Text)));

    /// <summary>Each word is asked for by itself later: it must be the same word again, whatever was around it. The scripts are mixed at random.</summary>
    [Fact]
    public void AWordAloneIsTheSameWord()
    {
        Random random = new(8);
        (int First, int Last)[] blocks =
        [
            (0x20, 0x7E), (0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xEFF), (0xF00, 0xFFF), (0x1000, 0x11FF), (0x1780, 0x17FF), (0x1A20, 0x1AAF),
            (0x2000, 0x206F), (0x2E80, 0x30FF), (0x4E00, 0x4E20), (0xA980, 0xA9FF), (0xAC00, 0xAC40), (0xFB00, 0xFB50), (0xFF00, 0xFFEF), (0x20000, 0x20010), (0x17000, 0x17010),
        ];
        for (int round = 0; round < 20_000; round++)
        {
            StringBuilder text = new();
            for (int i = random.Next(1, 12); i > 0; i--)
            {
                (int first, int last) = blocks[random.Next(round % 2 == 0 ? blocks.Length : 7)];
                text.Append(char.ConvertFromUtf32(random.Next(first, last + 1)));
            }

            foreach (SearchWord word in SearchWords.Of(text.ToString()))
            {
                SearchWord[] again = [.. SearchWords.Asked(word.Text)];
                Assert.True(again is [var same] && same == word, $"'{word}' of '{string.Join(' ', text.ToString().Select(c => $"{(int)c:X4}"))}' is asked for as '{string.Join(", ", again)}'.");
            }
        }
    }

    [Theory]
    [InlineData("水", "\"水\"*")]
    [InlineData("保養", "\"保養\"")]
    [InlineData("GPU加速 支持", "\"gpu 加速 速 支持\"")]
    [InlineData("a \"quoted\" * NEAR(x)", "\"a quoted near x\"")]
    [InlineData("?!", null)]
    [InlineData("\0", null)]
    public void ExpressionsOfWordsAndPhrases(string keyword, string? expected) => Assert.Equal(expected, SearchWords.Expression(keyword, "porter ascii"));

    /// <summary>Work by the length, not by its square: marks without a letter, letters without a space.</summary>
    [Theory]
    [InlineData("\u0E38\u0E48")]
    [InlineData("\u0301")]
    [InlineData("\u17D2\u1780")]
    [InlineData("เ")]
    [InlineData("漢")]
    [InlineData("x")]
    public void ARowOfAnythingIsReadOnce(string of)
    {
        long Allocated(int times)
        {
            string text = string.Concat(Enumerable.Repeat(of, times));
            long before = GC.GetAllocatedBytesForCurrentThread();
            Assert.True(SearchWords.Of(text).Sum(w => w.Text.Length) >= 0);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Allocated(10);
        Assert.True(Allocated(80_000) < 12 * Allocated(10_000) + 100_000);
    }
}
