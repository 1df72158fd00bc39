using System.Diagnostics;
using System.Text;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Schemas and grammars made to hang or to exhaust memory end in bounded time, compiled or refused with a documented exception.</summary>
public sealed class HostileGrammarTests
{
    public static TheoryData<string> Names => [.. Schemas().Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void EndsInBoundedTime(string name)
    {
        Stopwatch clock = Stopwatch.StartNew();
        try
        {
            Gemma.Extensions.AI.Grammar.Grammar grammar = GrammarTestbed.Schema(Schemas()[name]);
            ITokenConstraint constraint = grammar.CreateConstraint([GrammarTestbed.End]);
            GrammarTestbed.RandomText(constraint, new Random(1), 60, checkMasks: false);
        }
        catch (Exception e) when (e is NotSupportedException or ArgumentException)
        {
            Assert.NotEmpty(e.Message);
        }

        // 10 s on an idle machine; tests run beside others, on busy ones.
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(60), $"{name} took {clock.Elapsed}.");
    }

    private static Dictionary<string, string> Schemas()
    {
        StringBuilder doubling = new("""{"$defs":{"r0":{"type":"string"}""");
        for (int i = 1; i <= 60; i++)
        {
            doubling.Append($$""","r{{i}}":{"anyOf":[{"$ref":"#/$defs/r{{i - 1}}"},{"type":"array","items":{"$ref":"#/$defs/r{{i - 1}}"},"minItems":1},{"$ref":"#/$defs/r{{i - 1}}"}]}""");
        }

        StringBuilder chain = new("""{"$defs":{"r0":{"type":"string"}""");
        for (int i = 1; i <= 5000; i++)
        {
            chain.Append($$""","r{{i}}":{"$ref":"#/$defs/r{{i - 1}}"}""");
        }

        string either = string.Join(',', Enumerable.Range(0, 40).Select(i => $$"""{"anyOf":[{"required":["a{{i}}"]},{"required":["b{{i}}"]}]}"""));
        string one = string.Join(',', Enumerable.Range(0, 60).Select(i => $$$"""{"properties":{"a{{{i}}}":{"type":"integer"},"b":{"minimum":{{{i}}} } } }"""));
        string patterns = string.Join(',', Enumerable.Range(0, 50).Select(i => $$$"""
            ".*x{{{i}}}.*y.*":{"minimum":{{{i}}} }
            """));
        return new()
        {
            ["deep nesting"] = string.Concat(Enumerable.Repeat("""{"items":""", 900)) + "true" + new string('}', 900),
            ["deep allOf"] = string.Concat(Enumerable.Repeat("""{"allOf":[""", 450)) + "true" + string.Concat(Enumerable.Repeat("]}", 450)),
            ["deep not"] = string.Concat(Enumerable.Repeat("""{"not":""", 900)) + "true" + new string('}', 900),
            ["long repetition"] = """{"type":"string","pattern":"^a{1,100000}$"}""",
            ["nested repetition"] = """{"type":"string","pattern":"^((a{1,1000}b?){1,1000}c?){1,1000}$"}""",
            ["exponential states"] = """{"type":"string","pattern":"(a|b)*a(a|b){40}$","not":{"pattern":"a(a|b){30}c"}}""",
            ["exponential intersection"] = """{"type":"string","allOf":[{"pattern":"(.*a){20}$"},{"pattern":"(.*b){20}$"},{"pattern":"(.*c){20}$"},{"not":{"pattern":"a.*b.*c"}}]}""",
            ["many optionals"] = $$"""{"type":"string","pattern":"^{{string.Concat(Enumerable.Repeat("a?", 3000))}}$"}""",
            ["deep groups"] = $$"""{"type":"string","pattern":"{{new string('(', 5000)}}a{{new string(')', 5000)}}"}""",
            ["long string"] = """{"type":"string","minLength":50000000}""",
            ["many items"] = """{"type":"array","items":{"type":"integer"},"minItems":1000000000}""",
            ["counted contains"] = """{"type":"array","contains":{"const":1},"minContains":100000}""",
            ["doubling references"] = doubling + "},\"$ref\":\"#/$defs/r60\"}",
            ["chain of references"] = chain + "},\"$ref\":\"#/$defs/r5000\"}",
            ["self reference"] = """{"$ref":"#"}""",
            ["self reference in anyOf"] = """{"anyOf":[{"$ref":"#"},{"type":"string"}]}""",
            ["2^40 alternatives"] = $$"""{"type":"object","allOf":[{{either}}]}""",
            ["overlapping oneOf"] = $$"""{"type":"object","oneOf":[{{one}}]}""",
            ["many patterns"] = "{\"type\":\"object\",\"patternProperties\":{" + patterns + "},\"minProperties\":3}",
            ["huge enum"] = $$"""{"enum":[{{string.Join(',', Enumerable.Range(0, 60_000).Select(i => $"\"value-{i * 7919}\""))}}]}""",
            ["1 MB of properties"] = "{\"type\":\"object\",\"properties\":{" + string.Join(',', Enumerable.Range(0, 25_000).Select(i => $"\"property{i}\":{{\"type\":\"integer\"}}")) + "}}",
            ["huge multiple"] = """{"type":"integer","multipleOf":999999999989,"minimum":1,"maximum":999999999990000}""",
            ["huge numbers"] = $$"""{"type":"number","minimum":1e399,"maximum":{{new string('9', 900)}}}""",
            ["all names"] = """{"type":"object","propertyNames":{"pattern":"^.{1,3}$"},"minProperties":100}""",
        };
    }

    [Theory]
    [InlineData("root ::= root \"a\" | \"b\"", "left-recursive")]
    [InlineData("root ::= x\nx ::= y? root \"a\" | \"c\"\ny ::= \"b\"", "left-recursive")]
    [InlineData("root ::= \"a\" root", "never ends")]
    [InlineData("root ::= missing", "missing")]
    [InlineData("root ::= \"a", "unfinished")]
    [InlineData("start ::= \"a\"", "root")]
    [InlineData("root ::= [b-a]", "out of order")]
    [InlineData("root ::= \"a\"{5,2}", "repetition")]
    public void BadGbnfIsNamed(string grammar, string expected)
    {
        Exception e = Assert.ThrowsAny<Exception>(() => GbnfParser.Parse(grammar));
        Assert.True(e is ArgumentException or NotSupportedException, e.ToString());
        Assert.Contains(expected, e.Message);
    }

    [Fact]
    public void RandomBytesAsSchemasAndGrammarsEndInDocumentedExceptions()
    {
        Random random = new(7);
        string[] parts = ["{", "}", "[", "]", ",", ":", "\"type\"", "\"string\"", "\"items\"", "\"not\"", "\"anyOf\"", "1", "true", "\"pattern\"", "\"(a\"", "\"$ref\"", "\"#\"", "\"enum\"", "\"properties\"", "null", "-1", "\"minimum\""];
        int compiled = 0;
        for (int i = 0; i < 3000; i++)
        {
            string pattern = string.Concat(Enumerable.Range(0, random.Next(1, 12)).Select(_ => "ab(|)[^]*+?{2,}\\d\\w.$-"[random.Next("ab(|)[^]*+?{2,}\\d\\w.$-".Length)]));
            string schema = string.Concat(Enumerable.Range(0, random.Next(1, 12)).Select(_ => parts[random.Next(parts.Length)]));
            string gbnf = "root ::= " + string.Concat(Enumerable.Range(0, random.Next(1, 12)).Select(_ => "ab \"|()[]*+?{2}.\\-root\n::="[random.Next("ab \"|()[]*+?{2}.\\-root\n::=".Length)]));
            foreach (Action compile in (Action[])[() => GrammarCompiler.RegexLexer(pattern), () => GrammarTestbed.Schema(schema), () => GbnfParser.Parse(gbnf)])
            {
                try
                {
                    compile();
                    compiled++;
                }
                catch (Exception e) when (e is NotSupportedException or ArgumentException or System.Text.Json.JsonException)
                {
                }
            }
        }

        Assert.True(compiled > 100);
    }
}
