using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>
/// Schemas and expressions whose answers did not validate, or that were refused though something satisfies them: what each allows now, as a user asks for it, with the right values written from the
/// standards, and answers drawn at random judged by JsonSchema.Net and ajv. Where the collection that they come from is there, every line of it must have its row.
/// </summary>
public sealed class FaultCaseTests
{
    private const string Decimal = "^(?!^[-+.]*$)[+-]?0*\\\\d*\\\\.?\\\\d*$";

    private static readonly Case[] s_cases =
    [
        new("F1a", """{"schema":{"$id":"https://x.y/root","$defs":{"T":{"type":"integer"},"B":{"$id":"b","$defs":{"T":{"type":"string"}},"type":"object","properties":{"v":{"$ref":"#/$defs/T"}},"required":["v"]}},"type":"object","properties":{"b":{"$ref":"b"}},"required":["b"]}}""",
            ["""{"b":{"v":""}}""", """{"b":{"v":"a"}}"""], ["""{"b":{"v":82}}""", """{"b":{}}""", "{}"]),
        new("F1b", """{"schema":{"$id":"https://x.y/root","$defs":{"B":{"$id":"https://other/z/item","type":"integer"},"C":{"$id":"https://x.y/item","type":"string"}},"type":"object","properties":{"b":{"$ref":"item"}},"required":["b"]}}""",
            ["""{"b":"6"}"""], ["""{"b":6}"""]),
        new("F1c", """{"schema":{"$defs":{"A":{"$id":"http://a/a","$anchor":"foo","type":"integer"},"B":{"$id":"http://a/b","$defs":{"X":{"$anchor":"foo","type":"string"}},"type":"object","properties":{"v":{"$ref":"#foo"}},"required":["v"]}},"type":"object","properties":{"b":{"$ref":"http://a/b"}},"required":["b"]}}""",
            ["""{"b":{"v":"82"}}"""], ["""{"b":{"v":82}}"""]),
        new("F1d", """{"schema":{"$id":"https://x.y/root","$defs":{"B":{"$id":"b","$defs":{"T":{"type":"string"}},"type":"object","properties":{"v":{"$ref":"#/$defs/T"}}}},"type":"object","properties":{"b":{"$ref":"b"}},"required":["b"]}}""",
            ["""{"b":{"v":"x"}}""", """{"b":{}}"""], ["""{"b":{"v":1}}"""]),
        new("F2a", """{"schema":{"type":"string","pattern":"(?!^)a?","maxLength":3}}""", ["\"b\"", "\"a\"", "\"ba\""], ["\"\"", "\"aaaa\""]),
        new("F2b", """{"regex":"(?!^a)[ab]{1,3}"}""", ["b", "ba", "baa", "bbb"], ["a", "aab", "ab", "", "bbbb"]),
        new("F2c", """{"regex":"(?!^$)[ab]{0,3}"}""", ["a", "b", "aab"], [""]),
        new("F2e", """{"regex":"(?=^a)[ab]{1,3}"}""", ["a", "ab", "abb"], ["b", "ba", ""]),
        new("F3a", """{"schema":{"$defs":{"A":{"type":"object","properties":{"a":{"type":"string"}}}},"$ref":"#/$defs/A","required":["b"]}}""", ["""{"b":1}""", """{"a":"","b":null}"""], ["{}", """{"a":"x"}""", """{"a":1,"b":1}"""]),
        new("F3b", """{"schema":{"type":"object","anyOf":[{"type":"object","properties":{"a":{"type":"string"}}},{"type":"object","properties":{"b":{"type":"string"}}}],"required":["c"]}}""", ["""{"c":1}""", """{"a":"","c":1}""", """{"b":"","c":1}"""], ["{}", """{"a":""}""", """{"a":1,"b":1,"c":1}"""]),
        new("F3c", """{"schema":{"$defs":{"A":{"type":"object","properties":{"a":{"type":"string"}}}},"$ref":"#/$defs/A","minProperties":2}}""", ["""{"a":"","x":1}"""], ["{}", """{"a":""}""", """{"a":1,"x":1}"""]),
        new("F3d", """{"schema":{"$defs":{"A":{"type":"object","properties":{"a":{"type":"string"}}}},"$ref":"#/$defs/A","additionalProperties":{"type":"integer"},"minProperties":2}}""", ["""{"x":1,"y":2}"""], ["{}", """{"x":1}""", """{"x":1,"y":""}""", """{"a":"","x":1}"""]),
        new("F3f-tool", """{"tool":{"$defs":{"A":{"type":"object","properties":{"a":{"type":"string"}}}},"$ref":"#/$defs/A","required":["b"]}}""",
            ["""<tool_call>{"name":"f","arguments":{"b":1}}</tool_call>""", """<tool_call>{"name":"f","arguments":{"a":"","b":1}}</tool_call>"""], ["""<tool_call>{"name":"f","arguments":{}}</tool_call>""", """<tool_call>{"name":"f","arguments":{"a":1,"b":1}}</tool_call>"""]),
        new("F4a", """{"schema":{"type":"object","properties":{"contains":{"type":"string"}}}}""", ["{}", """{"contains":"a"}"""], ["""{" friends":false}""", """{"contains":1}""", """{"x":""}"""]),
        new("F4b", """{"schema":{"type":"object","properties":{"not":{"type":"string"},"x":{"type":"integer"}}}}""", ["{}", """{"not":"a","x":1}""", """{"x":1}"""], ["""{"im":false}""", """{"not":1}"""]),
        new("F5a", """{"schema":{"type":"number","exclusiveMaximum":1,"minimum":0.9999999999999999}}""", ["0.9999999999999999"], ["0.9999999999999999951", "1", "1.0", "0.99999999999999989"]),
        new("F5b", """{"schema":{"type":"number","not":{"type":"integer"}}}""", ["0.5", "-1.25", "18750200.002"], ["18750200000000000080.002", "1", "1.0", "9007199254740993.5"]),
        new("F5c", """{"schema":{"oneOf":[{"type":"integer"},{"type":"number","minimum":0}]}}""", ["-1", "0.5", "-20"], ["18750200000000000080.002", "1", "0", "-0.5"]),
        new("F6a", """{"schema":{"type":"string","pattern":"^\\P{Alphabetic}{3}$"}}""", ["\"123\"", "\"?!.\""], ["\"?\u064d\u0345\"", "\"ab1\"", "\"12\u2160\"", "\"12\u24b6\"", "\"12\"", "\"1234\""]),
        new("F7", """{"schema":{"type":"string","format":"hostname","minLength":300}}""", [], [], "Nothing satisfies"),
        new("F8-pydantic-Decimal", $$$"""{"schema":{"type":"string","pattern":"{{{Decimal}}}"}}""", ["\"1\"", "\"-0.5\"", "\"+007\"", "\"3.\"", "\".5\""], ["\"\"", "\"-\"", "\"+\"", "\".\"", "\"-.\"", "\"a\"", "\"1e5\"", "\"1.2.3\""]),
        new("F9", """{"schema":{"type":"array","allOf":[{"contains":{"const":"a"},"minContains":100,"maxContains":120},{"contains":{"const":"b"},"minContains":100,"maxContains":120},{"contains":{"const":"c"},"minContains":100,"maxContains":120}],"items":{"enum":["a","b","c"]}}}""", [], [], "too complex"),
    ];

    public static TheoryData<string> Ids => [.. s_cases.Select(static c => c.Id)];

    [Theory]
    [MemberData(nameof(Ids))]
    public async Task AnswersAreWhatTheStandardSays(string id)
    {
        Case fault = s_cases.Single(c => c.Id == id);
        GemmaTokenizer tokenizer = Text.Tokenizers.Tiny;
        JsonElement asked = JsonElement.Parse(fault.Asked);
        ChatOptions options = new();
        if (asked.TryGetProperty("schema", out JsonElement schema))
        {
            options.ResponseFormat = ChatResponseFormat.ForJsonSchema(schema);
        }
        else if (asked.TryGetProperty("tool", out schema))
        {
            (options.Tools, options.ToolMode, options.AllowMultipleToolCalls) = ([AIFunctionFactory.CreateDeclaration("f", "d", schema)], ChatToolMode.RequireAny, false);
        }

        string? regex = asked.TryGetProperty("regex", out JsonElement expression) ? expression.GetString() : null;
        int[] end = [tokenizer.EndOfTurnId];
        if (fault.Refusal is { } refusal)
        {
            Assert.Contains(refusal, (await Assert.ThrowsAnyAsync<Exception>(async () => await ResponseConstraintFactory.CreateAsync(tokenizer, options, end, regex))).Message);
            return;
        }

        ITokenConstraint constraint = (await ResponseConstraintFactory.CreateAsync(tokenizer, options, end, regex))!;
        Assert.All(fault.Valid, text => Assert.True(Reads(constraint.Clone(), tokenizer, text), $"{text} is valid."));
        Assert.All(fault.Invalid, text => Assert.False(Reads(constraint.Clone(), tokenizer, text), $"{text} is not valid."));

        Benchmarks.Types.GrammarWalk walk = new(tokenizer);
        Random random = new(15);
        string[] drawn = [.. Enumerable.Range(0, 30).Select(_ => walk.Draw(constraint.Clone(), random)).OfType<string>().Distinct()];
        Assert.NotEmpty(drawn);
        if (regex is not null)
        {
            Assert.All(drawn, text => Assert.Matches($@"\A(?:{regex})\z", text));
            return;
        }

        using IndependentValidators judges = new();
        judges.Agree(schema.GetRawText(), [.. drawn.Select(text => (options.Tools is null ? text : Arguments(text), true))]);
        judges.Agree(schema.GetRawText(), [.. fault.Valid.Select(text => (options.Tools is null ? text : Arguments(text), true))]);
    }

    [Fact]
    public void EveryLineOfTheCollectionHasItsRow()
    {
        string collection = Path.Combine(TestData.Repository, "..", "shared", "cases", "guarantees", "faults.jsonl");
        Assert.SkipUnless(File.Exists(collection), "The collection is not there.");
        foreach (string line in File.ReadLines(collection).Where(static line => line.Length > 0))
        {
            JsonElement row = JsonElement.Parse(line), asked = JsonElement.Parse(Assert.Single(s_cases, c => c.Id == row.GetProperty("id").GetString()).Asked);
            foreach (string kind in (string[])["schema", "regex", "tool"])
            {
                bool has = row.TryGetProperty(kind, out JsonElement theirs);
                Assert.Equal(has, asked.TryGetProperty(kind, out JsonElement ours));
                Assert.True(!has || JsonElement.DeepEquals(theirs, ours), $"{row.GetProperty("id")}: {ours}");
            }
        }
    }

    private static string Arguments(string call) => JsonElement.Parse(call["<tool_call>".Length..^"</tool_call>".Length]).GetProperty("arguments").GetRawText();

    private static bool Reads(ITokenConstraint constraint, GemmaTokenizer tokenizer, string text)
    {
        foreach (int token in tokenizer.Encode(text, matchSpecial: false))
        {
            if (!constraint.IsAllowed(token))
            {
                return false;
            }

            constraint.Accept(token);
        }

        return constraint.IsAllowed(tokenizer.EndOfTurnId);
    }

    private sealed record Case(string Id, string Asked, string[] Valid, string[] Invalid, string? Refusal = null);
}
