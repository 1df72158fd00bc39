using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Benchmarks.Schemas;
using Gemma.Extensions.AI.Grammar.Regex;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

public sealed class StringFormatTests
{
    /// <summary>
    /// Where ajv-formats in full mode says otherwise than the RFCs, of all these texts. RFC 3339 5.6: an offset is hours, a colon and minutes, and T parts date and time; its appendix A: no years
    /// without months before days, no hours without minutes before seconds. RFC 1123 2.1 and RFC 952: no dot ends a name; RFC 5891 4.2.3.1: no hyphens in the third and fourth place but in encoded
    /// labels, of which these are none. RFC 5321 4.1.2, 4.1.3 and 4.5.3.1: quoted names, addresses of hosts and names of hosts alone are mailboxes; 64 bytes of a name, 63 of a label (RFC 1035
    /// 2.3.4), 254 of all. RFC 9562 4: the URN is a way to write a UUID, and not the UUID. RFC 3986 3: a port is digits, @ and quotes don't stand for themselves, a path may be empty, and no first segment
    /// of a relative path has a colon. RFC 6570 2.3: names may hold dots.
    /// </summary>
    private static readonly Dictionary<string, string> s_ajvDiffers = new()
    {
        ["time"] = "12:00:00+0530 12:00:00+05 12:00:00+00",
        ["date-time"] = "2023-01-01·00:00:00Z 2024-01-01T00:00:00+0000 2024-01-01T00:00:00+00",
        ["duration"] = "P1Y1D PT1H1S",
        ["hostname"] = "a. ab--cd 1a--b.c com.",
        ["email"] = """a@localhost "a·b"@example.com a@[127.0.0.1] a@[IPv6:::1] "@"@x.y "a\"b"@c.d""",
        ["uuid"] = "urn:uuid:11111111-1111-1111-1111-111111111111",
        ["uri"] = "http://a:b/ http://a:8a/ http://a@b@c/ http://a:b:c/ http://a:-1/ a: a:?q a:#f",
        ["uri-reference"] = """http://a/"b" http://a:b/ http://a:8a/ http://a@b@c/ :a 1:b "a" "a a" //a:b //a:b/ :b 1:2""",
        ["uri-template"] = "{,a} {=a} {!a} {@a} {|a} {a.b}",
        ["url"] = """http://a.com/% http://a.com/<x> http://a.com/{x} http://a.com/"x" http://a.com/^""",
    };

    public static TheoryData<string> Formats => [.. StringFormats.Names];

    [Theory]
    [MemberData(nameof(Formats))]
    public void TextsWrittenFromTheStandardAreJudgedAlike(string format)
    {
        (string written, string leftOut, string invalid) = FormatTexts.All[format is "iso-time" or "iso-date-time" ? format[4..] : format];
        Assert.True(Split(written).Concat(Split(leftOut)).Distinct().Count() >= 50 && Split(invalid).Distinct().Count() >= 50, $"{format} has fewer than 50 valid or 50 invalid texts.");
        RegexArena arena = new();
        RegexTerm rx = StringFormats.TryGet(arena, format, rfc3339Times: true)!;
        Assert.All(Split(written), text => Assert.True(FormatChecker.IsValid(format, text) && arena.Matches(rx, text), $"{format}: '{text}' is valid and written ({FormatChecker.IsValid(format, text)})."));
        Assert.All(Split(leftOut), text => Assert.True(FormatChecker.IsValid(format, text) && !arena.Matches(rx, text), $"{format}: '{text}' is valid and left out ({FormatChecker.IsValid(format, text)})."));
        Assert.All(Split(invalid), text => Assert.False(FormatChecker.IsValid(format, text) || arena.Matches(rx, text), $"{format}: '{text}' is not valid ({FormatChecker.IsValid(format, text)})."));
    }

    /// <summary>Every text that can be written is valid: random walks over the expression, short ones and such that go on as long as they can.</summary>
    [Theory]
    [MemberData(nameof(Formats))]
    public void WhatIsWrittenIsValid(string format)
    {
        RegexArena arena = new();
        RegexTerm rx = StringFormats.TryGet(arena, format, rfc3339Times: true)!;
        for (int seed = 0; seed < 60; seed++)
        {
            Random random = new(seed);
            string text = RandomText(arena, rx, random, seed % 12 == 0 ? 280 : 2 + random.Next(20));
            Assert.True(FormatChecker.IsValid(format, text), $"{format}: '{text}' was written (seed {seed}).");
        }
    }

    /// <summary>What is not written of a format may be one of its texts all the same: "not" leaves out all that anybody takes for one, and twice "not" is the format.</summary>
    [Theory]
    [MemberData(nameof(Formats))]
    public void WhatIsLeftOutOfAFormatIsNotOutsideOfIt(string format)
    {
        (string written, string leftOut, _) = FormatTexts.All[format is "iso-time" or "iso-date-time" ? format[4..] : format];
        string[] texts = [.. Split(written), .. Split(leftOut)];
        foreach (bool rfc3339 in (bool[])[true, false])
        {
            JsonSchemaOptions options = new() { Rfc3339Times = rfc3339 };
            CompiledGrammar not = GrammarTestbed.Schema("""{"type":["string","null"],"not":{"format":"FORMAT","type":"string"}}""".Replace("FORMAT", format, StringComparison.Ordinal), options);
            CompiledGrammar one = GrammarTestbed.Schema("""{"oneOf":[{"type":["string","null"]},{"type":"string","format":"FORMAT"}]}""".Replace("FORMAT", format, StringComparison.Ordinal), options);
            CompiledGrammar condition = GrammarTestbed.Schema("""{"type":["string","null"],"if":{"type":"string","format":"FORMAT"},"then":{"maxLength":0,"minLength":1}}""".Replace("FORMAT", format, StringComparison.Ordinal), options);
            CompiledGrammar inside = GrammarTestbed.Schema("""{"type":"object","properties":{"a":{"type":["string","null"]}},"required":["a"],"additionalProperties":false,"not":{"properties":{"a":{"type":"string","format":"FORMAT"}},"required":["a"]}}""".Replace("FORMAT", format, StringComparison.Ordinal), options);
            Assert.All(texts, text =>
            {
                string json = JsonSerializer.Serialize(text, new JsonSerializerOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
                Assert.False(GrammarTestbed.Accepts(not, json) || GrammarTestbed.Accepts(one, json) || GrammarTestbed.Accepts(condition, json) || GrammarTestbed.Accepts(inside, "{\"a\":" + json + "}"), $"'{text}' is a text of the format {format}.");
            });
            Assert.True(GrammarTestbed.Accepts(not, "null") && GrammarTestbed.Accepts(one, "null") && GrammarTestbed.Accepts(condition, "null") && GrammarTestbed.Accepts(inside, "{\"a\":null}"));
        }

        CompiledGrammar twice = GrammarTestbed.Schema("""{"type":"string","not":{"not":{"format":"FORMAT"}}}""".Replace("FORMAT", format, StringComparison.Ordinal), new JsonSchemaOptions { Rfc3339Times = true });
        Assert.All(Split(written), text => Assert.True(GrammarTestbed.Accepts(twice, JsonSerializer.Serialize(text, new JsonSerializerOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping })), text));
    }

    [Fact]
    public void OtherJudgesDifferWhereItIsKnown()
    {
        using AjvValidator? ajv = AjvValidator.TryStart(out string reason);
        Assert.SkipWhen(ajv is null, reason);
        int texts = 0;
        foreach ((string format, (string written, string leftOut, string invalid)) in FormatTexts.All)
        {
            if (format is "idn-hostname" or "idn-email" or "iri" or "iri-reference")
            {
                continue; // ajv-formats has none of them.
            }

            string schema = $$"""{"type":"string","format":"{{format}}"}""";
            (string Text, bool IsValid)[] all = [.. Split(written).Concat(Split(leftOut)).Select(static t => (t, true)), .. Split(invalid).Select(static t => (t, false))];
            bool?[] verdicts = ajv.Validate(schema, [.. all.Select(static t => JsonSerializer.Serialize(t.Text))], out _)!;
            string[] differs = [.. all.Where((t, i) => verdicts[i] != t.IsValid && t.Text.Length < 60).Select(static t => t.Text).Distinct().Order(StringComparer.Ordinal)];
            Assert.Equal(s_ajvDiffers.TryGetValue(format, out string? known) ? [.. Split(known).Order(StringComparer.Ordinal)] : [], differs);
            Assert.All(all.Where((t, i) => verdicts[i] != t.IsValid && t.Text.Length >= 60), t => Assert.True(format == "email" && !t.IsValid, t.Text)); // too long a mailbox
            texts += all.Length;

            // What is written is a text of the format to all of them.
            Assert.All(Split(written), text => Assert.DoesNotContain(text, differs));
        }

        Assert.True(texts > 2000);
    }

    [Theory]
    [InlineData("hostname", 254)]
    [InlineData("hostname", 300)]
    [InlineData("email", 255)]
    [InlineData("date", 11)]
    [InlineData("uuid", 37)]
    [InlineData("ipv6", 46)]
    public void LongerThanAFormatCanBeIsRefused(string format, int length) =>
        Assert.Contains("Nothing satisfies", Assert.Throws<ArgumentException>(() => GrammarTestbed.Schema($$"""{"type":"string","format":"{{format}}","minLength":{{length}}}""")).Message);

    [Fact]
    public void NamesOfNoFormatAreAnnotations() => Assert.Null(StringFormats.TryGet(new RegexArena(), "colour", rfc3339Times: true));

    private static string[] Split(string texts) => [.. texts.Split((char[])[' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries).Select(static t => t.Replace('·', ' '))];

    private static string RandomText(RegexArena arena, RegexTerm term, Random random, int length)
    {
        StringBuilder text = new();
        for (int i = 0; ; i++)
        {
            CharPartition partition = arena.Partition(term);
            int[] next = [.. Enumerable.Range(0, partition.Count).Where(k => partition.Representative(k) is < 0xD800 or > 0xDFFF && arena.IsLive(arena.Derive(term, partition.Representative(k))))];
            if (next.Length == 0 || (i >= length && term.Nullable) || i > length + 400)
            {
                Assert.True(term.Nullable || i > length + 400, $"no way on after '{text}'");
                return term.Nullable ? text.ToString() : RandomText(arena, term, random, 0);
            }

            // Any character of the class, the first ones most often.
            int kind = next[random.Next(next.Length)], c = partition.Representative(kind);
            for (int tries = 0; tries < 10; tries++)
            {
                int other = random.Next(3) == 0 ? random.Next(0x3000) : c + random.Next(60);
                if (other is < 0xD800 or (> 0xDFFF and <= CharSet.MaxChar) && partition.ClassOf(other) == kind)
                {
                    c = other;
                    break;
                }
            }

            term = arena.Derive(term, c);
            text.Append(char.ConvertFromUtf32(c));
        }
    }
}
