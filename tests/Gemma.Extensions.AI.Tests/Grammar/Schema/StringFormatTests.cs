using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Regex;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

public sealed class StringFormatTests
{
    public static TheoryData<string> Formats => [.. StringFormats.Names];

    [Theory]
    [MemberData(nameof(Formats))]
    public void Texts_written_from_the_standard_are_judged_alike(string format)
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
    public void What_is_written_is_valid(string format)
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
    public void What_is_left_out_of_a_format_is_not_outside_of_it(string format)
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

    [Theory]
    [InlineData("hostname", 254)]
    [InlineData("hostname", 300)]
    [InlineData("email", 255)]
    [InlineData("date", 11)]
    [InlineData("uuid", 37)]
    [InlineData("ipv6", 46)]
    public void Longer_than_a_format_can_be_is_refused(string format, int length) =>
        Assert.Contains("Nothing satisfies", Assert.Throws<ArgumentException>(() => GrammarTestbed.Schema($$"""{"type":"string","format":"{{format}}","minLength":{{length}}}""")).Message);

    [Fact]
    public void Names_of_no_format_are_annotations() => Assert.Null(StringFormats.TryGet(new RegexArena(), "colour", rfc3339Times: true));

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
