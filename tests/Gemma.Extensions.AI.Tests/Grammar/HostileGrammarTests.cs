using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Gbnf;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Schemas and grammars made to hang or to exhaust memory end in bounded time, compiled or refused with a documented exception.</summary>
public sealed class HostileGrammarTests
{
    /// <summary>Processor time. The slowest takes a fifth of it on the machine of the results.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(10);

    /// <summary>All that is allocated on the way, of which the collector takes most back: a bound on what is held at any time.</summary>
    private const long MaxAllocated = 1L << 30;

    private static readonly string[] s_extremes =
        ["-1", "0", "1e308", "-1e400", "1e-400", "0.1", "2147483648", "99999999999999999999", "\"\"", "\"#\"", "\"#/$defs/x\"", "\"#/properties/a\"", "[]", "{}", "null", "true", "false", "\"^(a|b)*$\"", "\"\\u0000\"", "[null,[],{}]", "{\"not\":{}}", "{\"$ref\":\"#\"}"];

    private static readonly string[] s_grammars =
    [
        "root ::= expr \"\\n\"\nexpr ::= term ((\"+\" | \"-\") term)*\nterm ::= [1-9] [0-9]{0,3} | \"(\" expr \")\"",
        "# comment\nroot ::= (\"a\" | [^\\x41-\\u00e9\\U0001F600])+ item? # more\nitem ::= \"\\\"\" . \"\\t\" root",
        "root ::= \"x\"{3,} | ws root\nws ::= [ \\t\\n]*",
    ];

    public static TheoryData<string> Names => [.. Schemas().Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void EndsInBoundedTimeAndMemory(string name)
    {
        string schema = Schemas()[name];
        long allocated = GC.GetAllocatedBytesForCurrentThread();
        TimeSpan start = ThreadTime();
        string outcome = "compiled";
        try
        {
            ITokenConstraint constraint = GrammarTestbed.Schema(schema).CreateConstraint([GrammarTestbed.End]);
            GrammarTestbed.RandomText(constraint, new Random(1), 60, checkMasks: false);
        }
        catch (Exception e) when (e is NotSupportedException or ArgumentException)
        {
            Assert.NotEmpty(e.Message);
            outcome = e.Message;
        }

        TimeSpan time = ThreadTime() - start;
        allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
        TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {time.TotalSeconds:0.00} s, {allocated >> 20} MB allocated, {outcome[..Math.Min(outcome.Length, 200)]}");
        Assert.True(time < s_limit, $"{name} took {time}.");
        Assert.True(allocated < MaxAllocated, $"{name} allocated {allocated:N0} bytes.");
    }

    /// <summary>Time that this thread has computed, where the system tells; tests run beside others, on busy machines.</summary>
    private static TimeSpan ThreadTime() => File.Exists("/proc/thread-self/schedstat")
        ? TimeSpan.FromMicroseconds(long.Parse(File.ReadAllText("/proc/thread-self/schedstat").Split(' ')[0]) / 1000.0)
        : TimeSpan.FromMilliseconds(Environment.TickCount64);

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
        string wide = string.Join(',', Enumerable.Range(0, 180).Select(k => $$"""
            "k{{k}}":{"type":"integer"}
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
            ["1 MB of text"] = $$"""{"type":"string","const":"{{new string('x', 1_000_000)}}"}""",
            ["nested anyOf of wide objects"] = string.Concat(Enumerable.Range(0, 180).Select(i => $$"""{"anyOf":[{"type":"object","properties":{ {{wide}} },"required":["k{{i}}"]},""")) + "true" + string.Concat(Enumerable.Repeat("]}", 180)),
            ["1 MB of escapes"] = $$"""{"type":"string","pattern":"^({{string.Join('|', Enumerable.Range(0, 60_000).Select(i => $"\\\\u{i + 0x100 & 0xd7ff:x4}x"))}})$"}""",
            ["exponential references"] = """{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"},{"$ref":"#/$defs/b"}]},"b":{"allOf":[{"$ref":"#/$defs/c"},{"not":{"not":{"$ref":"#/$defs/c"}}}]},"c":{"oneOf":[{"$ref":"#/$defs/d"},{"type":"null"}]},"d":{"type":"array","items":{"$ref":"#/$defs/a"},"contains":{"$ref":"#/$defs/a"},"maxContains":50}},"$ref":"#/$defs/a"}""",
            ["unique items of many"] = """{"type":"array","items":{"type":"integer","minimum":0,"maximum":100000},"uniqueItems":true,"minItems":50000}""",
            ["many contains"] = """{"type":"array","allOf":[{"contains":{"multipleOf":2},"minContains":90,"maxContains":99},{"contains":{"multipleOf":3},"minContains":90,"maxContains":99},{"contains":{"multipleOf":5},"minContains":90,"maxContains":99}]}""",
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
        Exception e = Assert.ThrowsAny<Exception>(() => GbnfCompiler.Compile(grammar));
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
            foreach (Action compile in (Action[])[() => GrammarCompiler.RegexLexer(pattern), () => GrammarTestbed.Schema(schema), () => GbnfCompiler.Compile(gbnf)])
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

    /// <summary>Schemas whose parts were exchanged, doubled, cut and set to extremes; expressions and grammars whose characters were.</summary>
    [Fact]
    public void MutatedInputEndsInDocumentedExceptionsSoon()
    {
        Random random = new(19);
        JsonNode?[] schemas = [.. JsonSchemaKeywordTests.Keywords.Select(row => JsonNode.Parse(row.Data.Item2))];
        JsonNode?[] pool = [.. schemas.SelectMany(Parts), .. s_extremes.Select(text => JsonNode.Parse(text))];
        string[] patterns = [.. pool.OfType<JsonObject>().Select(o => o["pattern"]).OfType<JsonValue>().Select(v => v.ToString()), "(?<n>a)\\k<n>|[^\\d-z]{2,}?", "\\p{Lu}+(?=x)\\u{1F600}"];
        int compiled = 0, refused = 0;
        for (int i = 0; i < 1200; i++)
        {
            string schema = Mutated(schemas[random.Next(schemas.Length)], pool, random)?.ToJsonString() ?? "null", pattern = Mutated(patterns[random.Next(patterns.Length)], random);
            string gbnf = Mutated(s_grammars[random.Next(s_grammars.Length)], random);
            foreach ((string text, Func<CompiledGrammar> compile) in (IEnumerable<(string, Func<CompiledGrammar>)>)
                [(schema, () => GrammarTestbed.Schema(schema)), (pattern, () => new(GrammarTestbed.Vocabulary, new LexerSymbol(GrammarCompiler.RegexLexer(pattern)))), (gbnf, () => new(GrammarTestbed.Vocabulary, GbnfCompiler.Compile(gbnf)))])
            {
                TimeSpan start = ThreadTime();
                try
                {
                    GrammarTestbed.RandomText(compile().CreateConstraint([GrammarTestbed.End]), random, 8, checkMasks: false);
                    compiled++;
                }
                catch (Exception e) when (e is NotSupportedException or ArgumentException)
                {
                    refused++;
                }
                catch (Exception e)
                {
                    Assert.Fail($"{text} ends in {e}");
                }

                Assert.True(ThreadTime() - start < s_limit, $"{text} took {ThreadTime() - start}.");
            }
        }

        Assert.True(compiled > 500 && refused > 500, $"{compiled} compiled, {refused} refused");
    }

    private static IEnumerable<JsonNode?> Parts(JsonNode? node) =>
        ((IEnumerable<JsonNode?>)[node]).Concat(node switch
        {
            JsonObject o => o.SelectMany(p => Parts(p.Value)),
            JsonArray a => a.SelectMany(Parts),
            _ => [],
        });

    private static JsonNode? Mutated(JsonNode? schema, JsonNode?[] pool, Random random)
    {
        JsonNode? copy = schema?.DeepClone();
        for (int i = random.Next(1, 4); i > 0; i--)
        {
            JsonNode?[] parts = [.. Parts(copy)];
            JsonNode? other = pool[random.Next(pool.Length)]?.DeepClone();
            switch (parts[random.Next(parts.Length)])
            {
                case JsonObject { Count: > 0 } o:
                    string name = o.ElementAt(random.Next(o.Count)).Key;
                    string added = random.Next(2) == 0 ? name : pool.OfType<JsonObject>().Where(x => x.Count > 0).ElementAt(random.Next(20)).First().Key;
                    if (random.Next(4) == 0)
                    {
                        o.Remove(name);
                    }

                    o[added] = other;
                    break;
                case JsonArray { Count: > 0 } a:
                    a[random.Next(a.Count)] = other;
                    break;
            }
        }

        return copy;
    }

    private static string Mutated(string text, Random random)
    {
        StringBuilder changed = new(text);
        for (int i = random.Next(1, 4); i > 0; i--)
        {
            int at = random.Next(changed.Length + 1), length = random.Next(changed.Length - at + 1);
            switch (random.Next(4))
            {
                case 0:
                    changed.Insert(at, changed.ToString(at, Math.Min(length, 20)));
                    break;
                case 1:
                    changed.Remove(at, Math.Min(length, 3));
                    break;
                case 2:
                    changed.Insert(at, (string[])["(", ")*", "{0,99}", "{999999999}", "[^", "]", "|", "\\", "$", "\0", "\ud83d", "::=", "\"", "root", "(?:", "\n"] is var inserted ? inserted[random.Next(inserted.Length)] : "");
                    break;
                default:
                    string tail = changed.ToString(at, length);
                    changed.Remove(at, length).Insert(0, tail);
                    break;
            }
        }

        return changed.ToString();
    }
}
