using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>However much a model likes to open brackets, what it writes nests no deeper than System.Text.Json reads, and can always be finished.</summary>
public sealed class NestingTests
{
    private const int Limit = 64;

    public static TheoryData<string> Recursive =>
    [
        "true",
        """{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["next"]}""",
        """{"type":"array","items":{"$ref":"#"}}""",
        """{"type":"array","items":{"anyOf":[{"$ref":"#"},{"type":"integer"}]},"minItems":2,"maxItems":2}""",
        """{"type":"object","properties":{"a":{"$ref":"#"},"b":{"type":"array","items":{"$ref":"#"}}},"minProperties":0}""",
        """{"type":"object","properties":{"deep":{"$ref":"#"},"flat":{"type":"array","items":{"type":"array","items":{"type":"integer"},"minItems":1},"minItems":1}},"minProperties":1}""",
        """{"type":"object","additionalProperties":{"anyOf":[{"$ref":"#"},{"type":"string"}]},"minProperties":1}""",
        """{"type":"object","patternProperties":{"^a":{"$ref":"#"},"^b":{"type":"boolean"}},"additionalProperties":false}""",
        """{"type":"array","prefixItems":[{"type":"integer"},{"$ref":"#"}],"items":false}""",
        """{"type":"array","items":{"anyOf":[{"$ref":"#"},{"const":1}]},"contains":{"const":1}}""",
        """{"type":"object","properties":{"a":{"$ref":"#"},"b":{"type":"null"}},"dependentRequired":{"a":["b"]}}""",
    ];

    [Theory]
    [MemberData(nameof(Recursive))]
    public void WhatNestsDeepestEndsAndCanBeRead(string schema)
    {
        string text = Deepest(GrammarTestbed.Schema(schema));
        using JsonDocument document = JsonDocument.Parse(text); // 64 levels, as by default
        Assert.InRange(Depth(text), Limit - 3, Limit);
    }

    [Theory]
    [InlineData("[", "]")]
    [InlineData("{\"a\":", "}")]
    public void TheLimitIsExact(string open, string close)
    {
        CompiledGrammar grammar = GrammarTestbed.Schema("true");
        string Nested(int depth) => string.Concat(Enumerable.Repeat(open, depth)) + (open == "[" ? "" : "1") + string.Concat(Enumerable.Repeat(close, depth));
        Assert.True(GrammarTestbed.Accepts(grammar, Nested(Limit)));
        Assert.False(GrammarTestbed.Accepts(grammar, Nested(Limit + 1)));
    }

    /// <summary>A schema may demand more, and its reader be told to read it.</summary>
    [Fact]
    public void SchemasThatDemandMoreGetIt()
    {
        StringBuilder schema = new("""{"$ref":"#/$defs/t0","$defs":{""");
        for (int i = 0; i < 80; i++)
        {
            schema.Append($$"""
                "t{{i}}":{"type":"array","items":{"$ref":"#/$defs/t{{i + 1}}"},"minItems":1},
                """);
        }

        schema.Append("""
            "t80":{"type":"integer"}}}
            """);
        Assert.True(GrammarTestbed.Accepts(GrammarTestbed.Schema(schema.ToString()), new string('[', 80) + "1" + new string(']', 80)));
    }

    /// <summary>A call travels in a message, so its arguments nest a little less; and whatever is allowed is read as a call.</summary>
    [Fact]
    public void ArgumentsOfCallsLeaveRoomForTheirMessage()
    {
        JsonSchemaOptions options = new();
        Gemma.Extensions.AI.Grammar.ToolSignature tool = new("f", JsonElement.Parse("""{"type":"object","properties":{"x":{}},"required":["x"]}"""));
        string text = Deepest(new CompiledGrammar(GrammarTestbed.Vocabulary, new RuleSymbol(ToolCallGrammar.Calls(ToolMarkup.Own, [tool], false, options))));
        List<AIContent> contents = [];
        new ToolCallParser(false).Append(text, contents);
        FunctionCallContent call = Assert.IsType<FunctionCallContent>(Assert.Single(contents));
        Assert.InRange(Depth(((JsonElement)call.Arguments!["x"]!).GetRawText()), Limit - 12, Limit - 9);
        ChatResponse response = new(new ChatMessage(ChatRole.Assistant, [call]));
        ChatResponse again = JsonSerializer.Deserialize<ChatResponse>(JsonSerializer.Serialize(response, AIJsonUtilities.DefaultOptions), AIJsonUtilities.DefaultOptions)!;
        Assert.Equal("f", Assert.IsType<FunctionCallContent>(Assert.Single(again.Messages[0].Contents)).Name);
    }

    /// <summary>The text of who opens whatever can be opened, byte by byte, and closes whatever can be closed once nothing deeper can be opened.</summary>
    private static string Deepest(CompiledGrammar grammar)
    {
        ITokenConstraint constraint = grammar.CreateConstraint([GrammarTestbed.End]);
        StringBuilder text = new();
        bool isDeepest = false, isInString = false;
        while (text.Length < 5_000)
        {
            if (constraint.IsAllowed(GrammarTestbed.End))
            {
                return text.ToString();
            }

            bool isBeforeValue = !isInString && text.Length > 0 && (text[^1] is ':' or ',' || (text[^1] == '[' && !Allows('1') && !Allows('"')));
            isDeepest |= isBeforeValue && Depth(text.ToString()) >= Limit - 12 && !Allows('[') && !Allows('{');
            string order = isInString ? "\"ab" : isDeepest ? "]},:1n\"[{" : "[{\":,1]}n";
            char next = order.Concat(Enumerable.Range(33, 94).Select(static c => (char)c)).First(Allows);
            constraint.Accept(2 + next);
            text.Append(next);
            isInString ^= next == '"';
        }

        throw new InvalidOperationException("no end: " + text);

        bool Allows(char c) => constraint.IsAllowed(2 + c);
    }

    private static int Depth(string text)
    {
        int depth = 0, deepest = 0;
        foreach (char c in text)
        {
            depth += c is '[' or '{' ? 1 : c is ']' or '}' ? -1 : 0;
            deepest = Math.Max(deepest, depth);
        }

        return deepest;
    }
}
