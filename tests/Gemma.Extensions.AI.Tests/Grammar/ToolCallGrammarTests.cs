using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Text;
using Xunit;
using ToolSignature = Gemma.Extensions.AI.Grammar.ToolSignature;

namespace Gemma.Extensions.AI.Tests.Grammar;

public sealed class ToolCallGrammarTests
{
    private static readonly ToolSignature[] s_tools =
    [
        new("get_weather", JsonElement.Parse("""{"type":"object","properties":{"city":{"type":"string"},"unit":{"enum":["celsius","fahrenheit"]}},"required":["city"]}""")),
        new("get_time", JsonElement.Parse("""{"type":"object","properties":{}}""")),
        new("add", JsonElement.Parse("""{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"required":["a","b"],"additionalProperties":false}""")),
    ];

    private const string Weather = """<tool_call>{"name":"get_weather","arguments":{"city":"Paris"}}</tool_call>""";
    private const string Add = """<tool_call>{"name":"add","arguments":{"a":1,"b":-2}}</tool_call>""";

    [Fact]
    public void RequiredCallsAreTheEnvelopeAndNothingElse()
    {
        CompiledGrammar one = Required(several: false), several = Required(several: true);
        foreach (string valid in (string[])[Weather, Add, """<tool_call>{"name":"get_time","arguments":{}}</tool_call>"""])
        {
            Assert.True(GrammarTestbed.Accepts(one, valid), valid);
            Assert.True(GrammarTestbed.Accepts(several, valid), valid);
        }

        foreach (string invalid in (string[])
            ["", "text", "text" + Weather, Weather + " ", """<tool_call>{"name":"unknown","arguments":{}}</tool_call>""", """<tool_call>{"name":"add","arguments":{"a":1}}</tool_call>""", """<tool_call>{"name":"add","arguments":{"city":"x"}}</tool_call>""", """<tool_call>{ "name":"get_time","arguments":{}}</tool_call>""", """<tool_call>{"name":"get_time","arguments":{"made":"up"}}</tool_call>"""])
        {
            Assert.False(GrammarTestbed.Accepts(one, invalid), invalid);
            Assert.False(GrammarTestbed.Accepts(several, invalid), invalid);
        }

        Assert.False(GrammarTestbed.Accepts(one, Weather + "\n" + Add));
        Assert.True(GrammarTestbed.Accepts(several, Weather + "\n" + Add + "\n" + Weather));
    }

    [Theory]
    [InlineData("Hello, world <tool_ and <tool_callx> are text.", true)]
    [InlineData("", true)]
    [InlineData("I look it up. " + Weather, true)]
    [InlineData("<<tool_call>{\"name\":\"get_time\",\"arguments\":{}}</tool_call>", true)]
    [InlineData("a<tool_call> {", false)]
    [InlineData("<tool_call>{\"name\":\"nobody\"", false)]
    [InlineData(Weather + "\n" + Add, true)]
    [InlineData(Weather + "text", false)]
    [InlineData("<tool_call>", false)] // The text must not end inside a call.
    public void AutoIsTextUntilTheMarkerAndThenTheEnvelope(string text, bool accepted)
    {
        foreach (int maxLength in (int[])[1, 3, 100])
        {
            Assert.Equal(accepted, Read(Auto(several: true), text, maxLength));
        }
    }

    [Fact]
    public void MarkerSplitOrCompletedByATokenThatGoesOnIsCaught()
    {
        // "_call>" and ">" complete the marker, ">{" and "> " go on after it: only what begins a call may.
        ITokenConstraint constraint = Auto(several: false);
        foreach (string piece in (string[])["<tool", "_call"])
        {
            AcceptText(constraint, piece);
        }

        ulong[] mask = new ulong[GrammarTestbed.Vocabulary.MaskWords];
        Assert.True(constraint.TryFillMask(mask));
        for (int id = 2; id < GrammarTestbed.Vocabulary.Count; id++)
        {
            string token = Encoding.UTF8.GetString(GrammarTestbed.Vocabulary.Bytes(id));
            bool allowed = GrammarTestbed.IsIn(mask, id);
            Assert.Equal(allowed, constraint.IsAllowed(id));
            Assert.Equal(!token.StartsWith('>') || token is ">" or ">{" or ">{\"", allowed);
        }

        Assert.True(constraint.IsAllowed(GrammarTestbed.End));
        ITokenConstraint copy = constraint.Clone();
        AcceptText(copy, ">");
        Assert.False(copy.IsAllowed(GrammarTestbed.End));
        Assert.True(constraint.IsAllowed(GrammarTestbed.End));
    }

    [Fact]
    public void FreeTextNeedsNoMask()
    {
        ITokenConstraint constraint = Auto(several: true);
        AcceptText(constraint, "some text");
        Assert.False(constraint.TryFillMask(new ulong[GrammarTestbed.Vocabulary.MaskWords]));
    }

    [Fact]
    public void TwoThousandRandomToolSetsGiveNoInvalidCall()
    {
        int calls = 0;
        for (int seed = 0; seed < 2000; seed++)
        {
            Random random = new(seed);
            Dictionary<string, JsonElement> tools = [];
            for (int i = random.Next(1, 5); i > 0; i--)
            {
                tools[$"tool_{random.Next(20)}"] = RandomParameters(random);
            }

            ToolSignature[] signatures = [.. tools.Select(t => new ToolSignature(t.Key, t.Value))];
            bool several = random.Next(2) == 0, auto = random.Next(2) == 0;
            ITokenConstraint constraint = auto
                ? new ToolCallConstraint(ToolMarkup.Own, new(GrammarTestbed.Vocabulary, ToolCallGrammar.AfterMarker(ToolMarkup.Own, signatures, several, new())), [GrammarTestbed.End])
                : new CompiledGrammar(GrammarTestbed.Vocabulary, new RuleSymbol(ToolCallGrammar.Calls(ToolMarkup.Own, signatures, several, new()))).CreateConstraint([GrammarTestbed.End]);
            string prefix = "";
            if (auto)
            {
                prefix = "text " + ToolMarkup.Own.CallStart;
                AcceptText(constraint, prefix);
            }

            if (GrammarTestbed.RandomText(constraint, random, 250, checkMasks: seed % 20 == 0) is not { } rest)
            {
                continue;
            }

            string text = prefix + rest;
            string[] lines = text[text.IndexOf(ToolMarkup.Own.CallStart, StringComparison.Ordinal)..].Split(ToolMarkup.Own.CallEnd + "\n");
            Assert.True(several || lines.Length == 1);
            lines[^1] = lines[^1][..^ToolMarkup.Own.CallEnd.Length];
            foreach (string line in lines)
            {
                using JsonDocument call = JsonDocument.Parse(line[ToolMarkup.Own.CallStart.Length..]);
                Assert.Equal(["name", "arguments"], call.RootElement.EnumerateObject().Select(p => p.Name));
                JsonElement schema = tools[call.RootElement.GetProperty("name").GetString()!];
                bool valid = SchemaOracle.IsValid(schema, call.RootElement.GetProperty("arguments"));
                Assert.True(valid, $"Seed {seed}: {line} does not satisfy {schema}.");
                calls++;
            }
        }

        Assert.True(calls > 1000, $"Only {calls} calls ended.");
    }

    private static JsonElement RandomParameters(Random random)
    {
        JsonObject properties = [];
        string[] types = ["""{"type":"string"}""", """{"type":"integer"}""", """{"type":"boolean"}""", """{"type":["number","null"],"minimum":0}""", """{"enum":["celsius","fahrenheit"]}""", """{"type":"array","items":{"type":"integer"},"maxItems":3}""", """{"type":"object","properties":{"x":{"type":"integer"},"y":{"type":"string","maxLength":4}},"required":["x"],"additionalProperties":false}""", """{"type":"string","format":"date"}"""];
        for (int i = random.Next(4); i > 0; i--)
        {
            properties["p" + i] = JsonNode.Parse(types[random.Next(types.Length)]);
        }

        JsonObject schema = new() { ["type"] = "object", ["properties"] = properties, ["required"] = new JsonArray([.. properties.Select(p => (JsonNode)p.Key).Where(_ => random.Next(2) == 0)]) };
        return JsonSerializer.SerializeToElement(schema);
    }

    private static CompiledGrammar Required(bool several) => new(GrammarTestbed.Vocabulary, new RuleSymbol(ToolCallGrammar.Calls(ToolMarkup.Own, s_tools, several, new JsonSchemaOptions())));

    private static ToolCallConstraint Auto(bool several) => new(ToolMarkup.Own, new(GrammarTestbed.Vocabulary, ToolCallGrammar.AfterMarker(ToolMarkup.Own, s_tools, several, new JsonSchemaOptions())), [GrammarTestbed.End]);

    private static void AcceptText(ITokenConstraint constraint, string text)
    {
        foreach (byte b in Encoding.UTF8.GetBytes(text))
        {
            Assert.True(constraint.IsAllowed(2 + b));
            constraint.Accept(2 + b);
        }
    }

    /// <summary>Reads the text in the longest tokens up to a length, asking mask and IsAllowed.</summary>
    private static bool Read(ITokenConstraint constraint, string text, int maxLength)
    {
        ReadOnlySpan<byte> rest = Encoding.UTF8.GetBytes(text);
        ulong[] mask = new ulong[GrammarTestbed.Vocabulary.MaskWords];
        while (rest.Length > 0)
        {
            int token = 2 + rest[0];
            for (int id = 258; id < GrammarTestbed.Vocabulary.Count; id++)
            {
                byte[] bytes = GrammarTestbed.Vocabulary.Bytes(id);
                token = bytes.Length <= maxLength && rest.StartsWith(bytes) && bytes.Length > GrammarTestbed.Vocabulary.Bytes(token).Length ? id : token;
            }

            bool allowed = !constraint.TryFillMask(mask) || GrammarTestbed.IsIn(mask, token);
            Assert.Equal(allowed, constraint.IsAllowed(token));
            if (!allowed)
            {
                return false;
            }

            constraint.Accept(token);
            rest = rest[GrammarTestbed.Vocabulary.Bytes(token).Length..];
        }

        return constraint.IsAllowed(GrammarTestbed.End);
    }
}
