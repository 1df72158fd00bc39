using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Benchmarks.Types;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Random tool sets, random schemas and random choices: whatever a model would rather say, no call is ever invalid.</summary>
public class ToolCallPropertyTests
{
    private const int ToolSets = 2000;
    private const int MaxTokens = 500;

    [Fact]
    public void RandomToolSetsGiveValidCallsOnly()
    {
        GemmaTokenizer tokenizer = TinyModel.Model.Tokenizer;
        int replies = 0, calls = 0, several = 0, texts = 0;
        for (int seed = 0; seed < ToolSets; seed++)
        {
            Random random = new(seed);
            AIFunctionDeclaration[] tools = [.. Enumerable.Range(0, random.Next(1, 6)).Select(i => Tool(random, i))];
            ChatOptions options = new()
            {
                Tools = [.. tools],
                ToolMode = random.Next(4) switch { 0 => ChatToolMode.Auto, 1 => ChatToolMode.RequireSpecific(tools[^1].Name), _ => ChatToolMode.RequireAny },
                AllowMultipleToolCalls = random.Next(3) > 0,
            };
            (string text, bool ended) = Generate(tokenizer, options, random);
            List<AIContent> contents = [];
            ToolCallParser parser = new();
            parser.Append(text, contents);
            parser.Flush(contents);
            FunctionCallContent[] found = [.. contents.OfType<FunctionCallContent>()];
            foreach (FunctionCallContent call in found)
            {
                AIFunctionDeclaration tool = Assert.Single(tools, tool => tool.Name == call.Name);
                string arguments = JsonSerializer.Serialize(call.Arguments);
                Assert.True(IsValid(JsonElement.Parse(arguments), tool.JsonSchema), $"seed {seed}: {arguments} under {tool.JsonSchema}");
                if (options.ToolMode is RequiredChatToolMode { RequiredFunctionName: { } required })
                {
                    Assert.Equal(required, call.Name);
                }
            }

            Assert.True(options.AllowMultipleToolCalls is true || found.Length <= 1);
            string said = string.Concat(contents.OfType<TextContent>().Select(content => content.Text));
            Assert.DoesNotContain(ToolMarkup.Own.CallStart, said, StringComparison.Ordinal);
            if (ended)
            {
                replies++;
                Assert.True(options.ToolMode is not RequiredChatToolMode || (found.Length > 0 && said.Length == 0), $"seed {seed}: '{text}'");
            }

            calls += found.Length;
            several += found.Length > 1 ? 1 : 0;
            texts += said.Length > 0 ? 1 : 0;
        }

        Assert.True(replies > ToolSets / 2, $"only {replies} of {ToolSets} replies came to an end");
        Assert.True(calls > ToolSets / 2 && several > 50 && texts > 50, $"{calls} calls, {several} replies with several, {texts} with text");
    }

    /// <summary>Draws tokens at random under the constraint; the end and what closes a value are preferred, so that replies come to an end.</summary>
    internal static (string Text, bool Ended) Generate(GemmaTokenizer tokenizer, ChatOptions options, Random random)
    {
        int end = tokenizer.EndOfTurnId;
        ITokenConstraint constraint = Constraints.Create(tokenizer, options, [end])!;
        ulong[] mask = new ulong[(tokenizer.VocabularySize + 63) / 64];
        TokenStream stream = new(tokenizer);
        StringBuilder text = new();
        List<int> allowed = [], closing = [];
        for (int i = 0; i < MaxTokens; i++)
        {
            if (!constraint.TryFillMask(mask))
            {
                mask.AsSpan().Fill(ulong.MaxValue);
            }

            allowed.Clear();
            closing.Clear();
            for (int id = 0; id < tokenizer.VocabularySize; id++)
            {
                if ((mask[id >> 6] >> id & 1) != 0)
                {
                    allowed.Add(id);
                    if (id == end || tokenizer.GetBytes(id).IndexOfAny("\"}]<"u8) >= 0)
                    {
                        closing.Add(id);
                    }
                }
            }

            List<int> from = closing.Count > 0 && random.Next(2) == 0 ? closing : allowed;
            int token = from[random.Next(from.Count)];
            constraint.Accept(token);
            if (token == end)
            {
                stream.Flush(text);
                return (text.ToString(), true);
            }

            stream.Append(token, text);
        }

        return (text.ToString(), false);
    }

    private static AIFunctionDeclaration Tool(Random random, int index)
    {
        JsonObject properties = [];
        JsonArray required = [];
        for (int i = random.Next(0, 5); i > 0; i--)
        {
            string name = random.Next(6) == 0 ? $"größe {i}" : $"p{i}";
            properties[name] = Value(random, 2);
            if (random.Next(2) == 0)
            {
                required.Add(name);
            }
        }

        JsonObject schema = new() { ["type"] = "object", ["properties"] = properties, ["required"] = required };
        return AIFunctionFactory.CreateDeclaration($"tool_{index}{(random.Next(4) == 0 ? "\"ü\\" : "")}", "Does things.", JsonElement.Parse(schema.ToJsonString()));
    }

    private static JsonNode Value(Random random, int depth) => random.Next(depth > 0 ? 9 : 6) switch
    {
        0 => new JsonObject { ["type"] = "string", ["maxLength"] = random.Next(0, 8) },
        1 => new JsonObject { ["type"] = "integer", ["minimum"] = random.Next(-50, 0), ["maximum"] = random.Next(1, 500) },
        2 => new JsonObject { ["type"] = "boolean" },
        3 => new JsonObject { ["enum"] = new JsonArray("a", 1, true, "ß\n") },
        4 => new JsonObject { ["type"] = "string", ["pattern"] = "^[a-c]{1,3}-\\d$" },
        5 => new JsonObject { ["type"] = "number" },
        6 => new JsonObject { ["type"] = "array", ["items"] = Value(random, depth - 1), ["maxItems"] = 3 },
        7 => new JsonObject { ["type"] = "object", ["properties"] = new JsonObject { ["x"] = Value(random, depth - 1) }, ["additionalProperties"] = false },
        _ => new JsonObject { ["anyOf"] = new JsonArray(Value(random, depth - 1), new JsonObject { ["type"] = "null" }) },
    };

    /// <summary>A validator of its own for the keywords that <see cref="Value"/> uses, so that the schema compiler does not check itself.</summary>
    private static bool IsValid(JsonElement value, JsonElement schema)
    {
        foreach (JsonProperty keyword in schema.EnumerateObject())
        {
            JsonElement wanted = keyword.Value;
            bool fine = keyword.Name switch
            {
                "type" => HasType(value, wanted.GetString()!),
                "maxLength" => value.GetString()!.EnumerateRunes().Count() <= wanted.GetInt32(),
                "minimum" => value.GetDecimal() >= wanted.GetDecimal(),
                "maximum" => value.GetDecimal() <= wanted.GetDecimal(),
                "enum" => wanted.EnumerateArray().Any(one => JsonElement.DeepEquals(one, value)),
                "pattern" => Regex.IsMatch(value.GetString()!, wanted.GetString()!.Replace("$", "\\z", StringComparison.Ordinal)),
                "items" => value.EnumerateArray().All(item => IsValid(item, wanted)),
                "maxItems" => value.GetArrayLength() <= wanted.GetInt32(),
                "properties" => value.EnumerateObject().All(property => !wanted.TryGetProperty(property.Name, out JsonElement inner) || IsValid(property.Value, inner)),
                "required" => wanted.EnumerateArray().All(name => value.TryGetProperty(name.GetString()!, out _)),
                "additionalProperties" => value.EnumerateObject().All(property => schema.GetProperty("properties").TryGetProperty(property.Name, out _)),
                "anyOf" => wanted.EnumerateArray().Any(one => IsValid(value, one)),
                _ => throw new NotSupportedException(keyword.Name),
            };
            if (!fine)
            {
                return false;
            }
        }

        return true;
    }

    private static bool HasType(JsonElement value, string type) => type switch
    {
        "string" => value.ValueKind == JsonValueKind.String,
        "integer" => value.ValueKind == JsonValueKind.Number && value.GetDecimal() % 1 == 0,
        "number" => value.ValueKind == JsonValueKind.Number,
        "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False,
        "array" => value.ValueKind == JsonValueKind.Array,
        "object" => value.ValueKind == JsonValueKind.Object,
        _ => value.ValueKind == JsonValueKind.Null,
    };
}
