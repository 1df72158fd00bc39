using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Benchmarks.Types;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Tests.Grammar;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Schemas of tools come from servers that nobody here wrote: whatever they hold, they are used or refused, by exceptions of the documented types.</summary>
public sealed class ToolSchemaFuzzTests
{
    private const int Mutations = 4000;

    private static readonly string[] s_values =
    [
        "null", "true", "false", "0", "-1", "1.5", "1e400", "\"\"", "\"string\"", "\"object\"", "\"#\"", "\"#/properties/a\"", "\"#/$defs/A\"", "\"(\"", "\"HALF\"", "[]", "[null]", "[[]]", "[1,\"a\"]", "[\"a\"]",
        "[\"object\",\"null\"]", "{}", "{\"a\":{}}", "{\"a\":null}", "{\"type\":\"string\"}", "{\"type\":7}", "{\"$ref\":\"#\"}",
    ];

    private static readonly string[] s_keywords =
    [
        "type", "properties", "required", "items", "prefixItems", "enum", "const", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "$ref", "$defs", "additionalProperties", "patternProperties", "propertyNames",
        "minProperties", "maxProperties", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "multipleOf", "dependentRequired",
        "dependentSchemas", "HALF", "description", "default", "title", "nullable", "$schema", "$id", "unevaluatedProperties",
    ];

    private const string Valid = """
        {"type":"object","description":"d","properties":{"a":{"type":"string","description":"A.","default":"x"},"b":{"type":"array","items":{"type":"integer","minimum":1}},
        "c":{"anyOf":[{"type":"null"},{"type":"object","properties":{"d":{"enum":["p",1]}},"required":["d"]}]},"e":{"$ref":"#/$defs/A"}},"required":["a"],"$defs":{"A":{"type":"boolean"}}}
        """;

    [Fact]
    public void DamagedSchemasAreUsedOrRefused()
    {
        GemmaTokenizer tokenizer = TinyModel.Model.Tokenizer;
        int used = 0, refused = 0;
        for (int seed = 0; seed < Mutations; seed++)
        {
            Random random = new(seed);
            JsonElement schema = Mutated(random);
            bool asFormat = random.Next(3) == 0;
            ChatOptions options = asFormat
                ? new() { ResponseFormat = ChatResponseFormat.ForJsonSchema(schema) }
                : new() { Tools = [AIFunctionFactory.CreateDeclaration("f", "F.", schema)], ToolMode = random.Next(2) == 0 ? ChatToolMode.Auto : ChatToolMode.RequireAny };
            try
            {
                ChatTemplate.Render(tokenizer, [new(ChatRole.User, "Hi")], options);
                Constraints.Create(tokenizer, options, [tokenizer.EndOfTurnId], schemaOptions: new JsonSchemaOptions { Lenient = random.Next(2) == 0 });
                used++;
            }
            catch (Exception e) when (e is ArgumentException or NotSupportedException)
            {
                refused++;
                Assert.True(e.Message.Length > 20, e.Message);
            }
            catch (Exception e)
            {
                Assert.Fail($"Seed {seed}: {e.GetType()} {e.Message} for {schema.GetRawText()}\n{e.StackTrace}");
            }
        }

        Assert.True(used > Mutations / 10 && refused > Mutations / 10, $"{used} used, {refused} refused");
    }

    private static JsonElement Mutated(Random random)
    {
        JsonNode root = JsonNode.Parse(Valid)!;
        for (int i = random.Next(1, 4); i > 0; i--)
        {
            List<JsonNode> nodes = [];
            Collect(root, nodes);
            JsonNode node = nodes[random.Next(nodes.Count)];
            JsonNode? value = JsonNode.Parse(s_values[random.Next(s_values.Length)]);
            if (node is JsonObject entries)
            {
                string key = entries.Count > 0 && random.Next(2) == 0 ? entries.ElementAt(random.Next(entries.Count)).Key : s_keywords[random.Next(s_keywords.Length)];
                entries[key] = value;
            }
            else if (node is JsonArray list)
            {
                list.Add(value);
            }
        }

        // Half a surrogate pair, as an escape, is valid JSON but no text.
        string text = random.Next(50) == 0 ? s_values[random.Next(s_values.Length)] : root.ToJsonString();
        return JsonElement.Parse(text.Replace("HALF", "a\\ud800b", StringComparison.Ordinal));
    }

    private static void Collect(JsonNode? node, List<JsonNode> nodes)
    {
        switch (node)
        {
            case JsonObject entries:
                nodes.Add(entries);
                foreach ((_, JsonNode? value) in entries)
                {
                    Collect(value, nodes);
                }

                break;
            case JsonArray list:
                nodes.Add(list);
                foreach (JsonNode? value in list)
                {
                    Collect(value, nodes);
                }

                break;
        }
    }
}
