using System.Globalization;
using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Regex;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Limits of numbers hold for who reads decimals and for who reads doubles.</summary>
public sealed class NumberReaderTests
{
    public static TheoryData<string, string[], string[]> Limits => new()
    {
        { """{"type":"number","exclusiveMaximum":1,"minimum":0.9999999999999999}""", ["0.9999999999999999"], ["1", "0.99999999999999999", "0.9999999999999999951", "0.99999999999999995", "0.999999999999999"] },
        { """{"type":"number","exclusiveMaximum":1}""", ["0.9", "0.999999999999999", "-5"], ["1", "1.0", "0.99999999999999999"] },
        { """{"type":"number","exclusiveMinimum":0.3}""", ["0.4", "0.300000000000001", "0.30000000000000004"], ["0.3", "0.30000000000000001", "0.2"] },
        { """{"type":"number","exclusiveMaximum":1.0000000000000000001}""", ["0.999"], ["1", "1.0"] },
        { """{"type":"integer","exclusiveMinimum":9007199254740992}""", ["9007199254740994", "9007199254740996"], ["9007199254740992", "9007199254740993"] },
        { """{"type":"integer","exclusiveMaximum":9007199254740993}""", ["9007199254740991"], ["9007199254740992", "9007199254740993"] },
        { """{"type":"integer","minimum":9007199254740993}""", ["9007199254740993", "9007199254740994"], ["9007199254740992"] },
        { """{"type":"number","not":{"type":"integer"}}""", ["0.5", "-1.25", "123456789.5"], ["1", "1.0", "18750200000000000080.002", "4503599627370497.5", "998280001.00000000000000000001"] },
        { """{"oneOf":[{"type":"integer"},{"type":"number","minimum":0}]}""", ["-3", "0.5"], ["3", "0", "3.0", "-0.5", "18750200000000000080.002"] },
        { """{"oneOf":[{"type":"integer","maximum":9007199254740992},{"type":"integer","minimum":9007199254740993}]}""", ["5", "9007199254740994"], ["9007199254740992", "9007199254740993"] },
        { """{"oneOf":[{"type":"number","minimum":4503599627370496,"multipleOf":0.009},{"type":"integer"}]}""", ["5", "4503599627370495"], ["6000112000002054", "6725896781821008"] },
        { """{"type":"number","not":{"const":0.1}}""", ["0.2", "0.11", "0"], ["0.1", "0.10", "0.10000000000000001", "0.1000000000000000055"] },
        { """{"type":"integer","not":{"enum":[9007199254740993]}}""", ["9007199254740990", "9007199254740996"], ["9007199254740992", "9007199254740993"] },
        { """{"type":"number","multipleOf":0.01}""", ["0.01", "0.25", "1234.5", "0", "12", "-3.75", "0.26", "19.98"], ["0.28", "0.29", "0.57", "0.58", "0.015", "0.009", "19.99"] },
        { """{"type":"number","multipleOf":0.1}""", ["0.1", "0.2", "0.5", "1.5"], ["0.3", "0.7", "0.25"] },
        { """{"type":"integer","multipleOf":3}""", ["3", "9007199254740990"], ["4", "9007199254740993", "9007199254740996"] },
        { """{"type":"integer","multipleOf":10000000000}""", ["0", "10000000000", "-20000000000"], ["1", "1000000000", "10000000001"] },
        { """{"type":"integer","minimum":1,"multipleOf":100000000000000000}""", ["100000000000000000"], ["1", "10"] },
        { """{"type":"number","not":{"multipleOf":0.1}}""", ["0.05", "0.25"], ["0.3", "0.1", "1", "0.30000000000000001"] },
        { """{"type":"integer"}""", ["9223372036854775807", "-9223372036854775808", "0", "-1"], ["9223372036854775808", "-9223372036854775809", "1.0", "1e3", "-0"] },
        { """{"type":"integer","minimum":0,"maximum":18446744073709551615}""", ["18446744073709551615"], ["18446744073709551616", "-1"] },
        { """{"type":"integer","minimum":9223372036854775808}""", ["9223372036854775808", "10000000000000000000"], ["9223372036854775807"] },
        { """{"type":"integer","enum":[1.0,2e2,3.5]}""", ["1", "200"], ["1.0", "2e2", "3.5"] },
        { """{"enum":[1.0,2e2]}""", ["1", "1.0", "200", "2e2"], ["2"] },
        { """{"type":"number","minimum":1e-20,"maximum":2e-20}""", ["0.00000000000000000001", "0.00000000000000000002"], ["0", "0.00000000000000000003"] },
        { """{"type":"number","minimum":0}""", ["0", "1e5", "0.5"], ["-0", "-1", "-0.0"] },
        { """{"type":"number","exclusiveMinimum":0}""", ["0.001", "1"], ["0", "0.0", "-0"] },
        { """{"type":"number","exclusiveMaximum":0}""", ["-0.001", "-1"], ["0", "-0", "-0.0"] },
        { """{"type":"number","maximum":0}""", ["0", "-1"], ["0.1", "-0"] },
        { """{"type":"number","minimum":0,"exclusiveMaximum":1}""", ["0", "0.5", "9.9e-1", "5e-7"], ["1", "9.99999999999999999e-1", "1e0"] },
        { """{"type":"integer","format":"int32"}""", ["2147483647", "-2147483648"], ["2147483648"] },
        { """{"type":"number","format":"int64"}""", ["5"], ["5.5"] },
        { """{"type":"integer","format":"uint8"}""", ["255", "0"], ["256", "-1"] },
        { """{"type":"array","items":{"enum":[9007199254740992,9007199254740993]},"uniqueItems":true}""", ["[9007199254740992]"], ["[9007199254740992,9007199254740993]"] },
    };

    [Theory]
    [MemberData(nameof(Limits))]
    public void LimitsHoldForEveryReader(string schema, string[] valid, string[] invalid)
    {
        CompiledGrammar grammar = GrammarTestbed.Schema(schema);
        Assert.All(valid, text => Assert.True(GrammarTestbed.Accepts(grammar, text), $"{schema}: {text} should be written."));
        Assert.All(invalid, text => Assert.False(GrammarTestbed.Accepts(grammar, text), $"{schema}: {text} should not be written."));
    }

    /// <summary>Random limits, random answers, and both readers: decimals of .NET, and doubles as validators in JavaScript take them.</summary>
    [Fact]
    public void RandomAnswersSatisfyRandomLimitsForBothReaders()
    {
        string[] bounds = ["0", "1", "-1", "0.1", "0.3", "0.9999999999999999", "0.30000000000000004", "9007199254740992", "9007199254740993", "-9007199254740993", "9223372036854775807", "123456789012345678", "-0.5", "2.5", "99.99", "4503599627370496.5"];
        string[] divisors = ["1", "2", "7", "10", "0.5", "0.1", "0.01", "0.05", "0.3", "1.1", "2.5", "0.0001", "1024", "86400"];
        Random random = new(23);
        int answers = 0, refused = 0;
        for (int i = 0; i < 160; i++)
        {
            List<string> parts = [$"\"type\":\"{(random.Next(2) == 0 ? "integer" : "number")}\""];
            (string Keyword, string[] Values)[] keywords = [("minimum", bounds), ("exclusiveMinimum", bounds), ("maximum", bounds), ("exclusiveMaximum", bounds), ("multipleOf", divisors)];
            foreach ((string keyword, string[] values) in keywords.Where(_ => random.Next(4) == 0))
            {
                parts.Add($"\"{keyword}\":{values[random.Next(values.Length)]}");
            }

            string schema = "{" + string.Join(',', parts) + (random.Next(4) == 0 ? ",\"not\":{\"type\":\"integer\"}" : "") + "}";
            CompiledGrammar grammar;
            try
            {
                grammar = GrammarTestbed.Schema(schema);
            }
            catch (ArgumentException e) when (e.Message.Contains("Nothing satisfies", StringComparison.Ordinal))
            {
                continue;
            }
            catch (NotSupportedException)
            {
                refused++;
                continue;
            }

            for (int k = 0; k < 8; k++)
            {
                string? text = null;
                if (Record.Exception(() => text = Random(grammar)) is { } failed)
                {
                    Assert.Fail($"{schema}: {failed}");
                }

                if (text is not null)
                {
                    answers++;
                    Assert.True(SatisfiesAsDouble(JsonElement.Parse(schema), double.Parse(text, CultureInfo.InvariantCulture)), $"{schema} gave {text}, which a reader of doubles does not accept.");
                    Assert.True(text.Contains('e') || text.Contains('E') || SchemaOracle.IsValid(JsonElement.Parse(schema), JsonElement.Parse(text)), $"{schema} gave {text}, which a reader of decimals does not accept.");
                }
            }
        }

        Assert.True(answers > 300, $"only {answers} answers");
        Assert.InRange(refused, 0, 5);

        string? Random(CompiledGrammar grammar) => GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), random, 30, endBias: 0.2, checkMasks: false);
    }

    [Theory]
    [InlineData("0.01", 100, 0.75)]
    [InlineData("0.05", 20, 0.7)]
    [InlineData("0.1", 10, 0.7)]
    [InlineData("1.1", 10, 0.6)]
    [InlineData("0.001", 1000, 0.7)]
    [InlineData("0.005", 200, 0.7)]
    [InlineData("0.003", 1000, 0.7)]
    [InlineData("1.234", 1000, 0.7)]
    [InlineData("0.0001", 10_000, 0.7)]
    [InlineData("0.0012", 1000, 0.7)]
    [InlineData("0.00001", 100_000, 0.7)]
    [InlineData("0.000001", 1_000_000, 0.7)]
    [InlineData("0.00099991", 1_000, 0.7)]
    [InlineData("9.9991", 10, 0.7)]
    public void MostMultiplesAreWrittenAndAllThatAreHaveIntegerQuotients(string divisor, int perUnit, double least)
    {
        RegexArena arena = new();
        RegexTerm rx = NumberSpelling.Of(arena, NumberConstraint.None with { Multiples = [ExactDecimal.Parse(divisor)] });
        decimal step = decimal.Parse(divisor, CultureInfo.InvariantCulture);
        Random random = new(5);
        int written = 0, whole = 0;
        for (int i = 0; i < 4_000; i++)
        {
            decimal value = step * random.NextInt64(0, (long)Math.Pow(10, random.Next(2, 9)) * perUnit / 10);
            string text = value.ToString(CultureInfo.InvariantCulture);
            double quotient = double.Parse(text, CultureInfo.InvariantCulture) / double.Parse(divisor, CultureInfo.InvariantCulture);
            bool accepted = arena.Matches(rx, text);
            Assert.True(!accepted || double.IsInteger(quotient), $"{text} / {divisor} is {quotient:R}.");
            (written, whole) = (written + (accepted ? 1 : 0), whole + (double.IsInteger(quotient) ? 1 : 0));
        }

        Assert.InRange(written, whole * least, whole);
    }

    private static bool SatisfiesAsDouble(JsonElement schema, double v)
    {
        foreach (JsonProperty keyword in schema.EnumerateObject())
        {
            double k = keyword.Value.ValueKind == JsonValueKind.Number ? keyword.Value.GetDouble() : 0;
            bool satisfied = keyword.Name switch
            {
                "type" => keyword.Value.GetString() != "integer" || double.IsInteger(v),
                "minimum" => v >= k,
                "exclusiveMinimum" => v > k,
                "maximum" => v <= k,
                "exclusiveMaximum" => v < k,
                "multipleOf" => double.IsInteger(v / k),
                _ => !double.IsInteger(v),
            };
            if (!satisfied)
            {
                return false;
            }
        }

        return true;
    }
}
