using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Complements of what is said of properties by pattern: an object fails "all such properties are…" by holding one that is not.</summary>
public sealed class ObjectComplementTests
{
    public static TheoryData<string, string, string[], string[]> Complements => new()
    {
        { "additionalProperties", """{"type":"object","properties":{"a":{}},"not":{"properties":{"a":{}},"additionalProperties":{"type":"integer"}}}""", ["{\"b\":\"x\"}", "{\"a\":1,\"b\":2,\"c\":null}"], ["{}", "{\"a\":\"x\"}", "{\"b\":1}", "{\"a\":null,\"b\":1,\"c\":2}"] },
        { "additionalProperties false", """{"type":"object","not":{"properties":{"a":{},"b":{}},"additionalProperties":false}}""", ["{\"c\":1}", "{\"a\":1,\"c\":1}", "{\"ab\":1}"], ["{}", "{\"a\":1}", "{\"a\":1,\"b\":1}"] },
        { "patternProperties", """{"type":"object","not":{"patternProperties":{"^x":{"type":"string"}}}}""", ["{\"x\":1}", "{\"a\":1,\"xy\":null}", "{\"x\":\"s\",\"xx\":2}"], ["{}", "{\"a\":1}", "{\"x\":\"s\"}", "{\"x\":\"s\",\"ax\":1}"] },
        { "propertyNames", """{"type":"object","not":{"propertyNames":{"maxLength":2}}}""", ["{\"abc\":1}", "{\"a\":1,\"abc\":2}"], ["{}", "{\"ab\":1}"] },
        { "within a closed object", """{"properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"additionalProperties":false,"type":"object","not":{"patternProperties":{"":{"minimum":5}}}}""", ["{\"a\":1}", "{\"a\":9,\"b\":2}", "{\"b\":4}"], ["{}", "{\"a\":5}", "{\"a\":7,\"b\":7}", "{\"c\":1}"] },
        { "the only name that can be it", """{"properties":{"a":{},"b":{}},"additionalProperties":false,"type":"object","not":{"properties":{"a":{}},"additionalProperties":false}}""", ["{\"b\":1}", "{\"a\":1,\"b\":1}"], ["{}", "{\"a\":1}"] },
        { "one property for two", """{"type":"object","maxProperties":1,"allOf":[{"not":{"additionalProperties":{"minimum":5}}},{"not":{"additionalProperties":{"multipleOf":2}}}]}""", ["{\"x\":3}"], ["{}", "{\"x\":4}", "{\"x\":7}", "{\"x\":3,\"y\":1}"] },
        { "two properties for two", """{"type":"object","maxProperties":2,"not":{"anyOf":[{"additionalProperties":{"type":"integer"}},{"additionalProperties":{"type":"string"}}]}}""", ["{\"x\":1,\"y\":\"s\"}", "{\"x\":\"s\",\"y\":1}", "{\"x\":null}"], ["{}", "{\"x\":1}", "{\"x\":1,\"y\":2}", "{\"x\":1,\"y\":\"s\",\"z\":1}"] },
        { "a name and a length", """{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"maxProperties":2,"not":{"patternProperties":{"^b":{}},"additionalProperties":false}}""", ["{\"a\":1}", "{\"a\":1,\"b\":2}"], ["{}", "{\"b\":1}", "{\"a\":1,\"b\":1,\"c\":1}"] },
        { "must be the one left", """{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"maxProperties":2,"not":{"patternProperties":{"^b":{"type":"integer"}}}}""", ["{\"a\":1,\"b\":null}", "{\"a\":1,\"bx\":\"\"}"], ["{\"a\":1}", "{\"a\":1,\"b\":1}", "{\"a\":1,\"c\":null}"] },
        { "oneOf of open objects", """{"oneOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":{"type":"integer"}},{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":{"type":"string"}}]}""", ["{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":\"s\"}"], ["{\"a\":1}", "{\"a\":1,\"b\":2,\"c\":\"s\"}", "{\"b\":1}"] },
        { "oneOf of closed objects", """{"oneOf":[{"type":"object","properties":{"a":{},"b":{}},"additionalProperties":false},{"type":"object","properties":{"a":{},"c":{}},"additionalProperties":false}]}""", ["{\"b\":1}", "{\"a\":1,\"c\":1}"], ["{}", "{\"a\":1}", "{\"b\":1,\"c\":1}"] },
        { "if and else", """{"type":"object","if":{"patternProperties":{"^n":{"type":"integer"}}},"then":{"maxProperties":1},"else":{"required":["why"]}}""", ["{\"n\":1}", "{\"why\":1,\"n\":null}", "{\"x\":1}"], ["{\"n\":1,\"x\":2}", "{\"n\":null}", "{\"n\":null,\"x\":1}"] },
        { "not not", """{"type":"object","not":{"not":{"properties":{"a":{"type":"integer"}},"additionalProperties":false}}}""", ["{}", "{\"a\":1}"], ["{\"a\":null}", "{\"b\":1}"] },
        { "with needs of others", """{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"},"c":{"type":"integer"}},"additionalProperties":false,"dependentRequired":{"c":["b"]},"maxProperties":2,"not":{"patternProperties":{"[ac]":{"minimum":5}}}}""", ["{\"a\":1}", "{\"b\":9,\"c\":1}", "{\"a\":1,\"b\":7}"], ["{\"c\":1}", "{\"a\":5}", "{\"a\":1,\"b\":1,\"c\":1}", "{\"b\":1}"] },
        { "few names by pattern", """{"type":"object","patternProperties":{"^[ab]$":{"type":"integer"},"^x+$":false},"additionalProperties":false}""", ["{\"a\":1,\"b\":2}", "{}"], ["{\"x\":1}", "{\"a\":1,\"a\":2}", "{\"c\":1}"] },
        { "a given name that a pattern matches too", """{"type":"object","properties":{"a":{"type":"integer"}},"patternProperties":{"^a$":{"minimum":3},"^b+$":{}},"additionalProperties":false}""", ["{\"a\":3,\"b\":1,\"bb\":2}", "{\"bbb\":1}"], ["{\"a\":1}", "{\"a\":3,\"a\":4}", "{\"ab\":1}"] },
    };

    [Theory]
    [MemberData(nameof(Complements))]
    public void AcceptsExactlyTheInstances(string what, string schema, string[] valid, string[] invalid)
    {
        using IndependentValidators judges = new();
        judges.Agree(schema, [.. valid.Select(static text => (text, true)), .. invalid.Where(static text => !text.Contains("\"a\":1,\"a\"", StringComparison.Ordinal) && !text.Contains("\"a\":3,\"a\"", StringComparison.Ordinal)).Select(static text => (text, false))]); // no validator sees a name twice
        foreach (bool anyOrder in (ReadOnlySpan<bool>)[false, true])
        {
            CompiledGrammar grammar = GrammarTestbed.Schema(schema, new JsonSchemaOptions { AnyPropertyOrder = anyOrder });
            Assert.All(valid, text => Assert.True(GrammarTestbed.Accepts(grammar, text), $"{what}: {text} is rejected."));
            Assert.All(invalid, text => Assert.False(GrammarTestbed.Accepts(grammar, text), $"{what}: {text} is accepted."));
        }
    }

    /// <summary>Random schemas, all objects of up to three properties: what is accepted is what is valid, and random texts end and are valid.</summary>
    [Fact]
    public void RandomComplementsAgreeWithTheSpecification()
    {
        string[] objects = [.. Objects(3)];
        using IndependentValidators judges = new();
        int compiled = 0, both = 0;
        for (int seed = 0; compiled < 150; seed++)
        {
            Random random = new(seed);
            string schema = Schema(random).ToJsonString();
            JsonElement element = JsonElement.Parse(schema);
            bool[] valid = [.. objects.Select(text => SchemaOracle.IsValid(element, JsonElement.Parse(text)))];
            CompiledGrammar grammar, ordered;
            try
            {
                grammar = GrammarTestbed.Schema(schema, new JsonSchemaOptions { AnyPropertyOrder = true });
                ordered = GrammarTestbed.Schema(schema);
            }
            catch (ArgumentException)
            {
                Assert.False(valid.Contains(true), $"Seed {seed}: {schema} is refused, but {objects.Where((_, i) => valid[i]).FirstOrDefault()} is valid.");
                continue;
            }
            catch (NotSupportedException)
            {
                continue; // Too many of them at once.
            }

            compiled++;
            both += valid.Distinct().Count() - 1;
            int first = random.Next(13);
            judges.Agree(schema, [.. Enumerable.Range(0, (objects.Length - first + 12) / 13).Select(i => (objects[first + (i * 13)], valid[first + (i * 13)]))]);
            for (int i = first; i < objects.Length; i += 13)
            {
                Assert.True(GrammarTestbed.Accepts(grammar, objects[i]) == valid[i], $"Seed {seed}: {objects[i]} should be {(valid[i] ? "valid" : "invalid")} by {schema}.");
                Assert.True(valid[i] || !GrammarTestbed.Accepts(ordered, objects[i]), $"Seed {seed}: {objects[i]} should be invalid by {schema}.");
            }

            foreach (CompiledGrammar one in (CompiledGrammar[])[grammar, ordered])
            {
                if (GrammarTestbed.RandomText(one.CreateConstraint([GrammarTestbed.End]), random, 100, checkMasks: seed % 10 == 0) is { } text && !text.Any(char.IsSurrogate)) // .NET counts halves of characters.
                {
                    Assert.True(SchemaOracle.IsValid(element, JsonElement.Parse(text)), $"Seed {seed}: {schema} gave {text}, which does not validate.");
                    judges.Agree(schema, (text, true));
                }
            }
        }

        Assert.True(both > 75, $"Only {both} of the schemas had valid and invalid objects.");
    }

    private static IEnumerable<string> Objects(int properties)
    {
        string[] names = ["a", "b", "ab", "c"], values = ["1", "6", "\"s\"", "null"];
        List<string[]> all = [[]];
        for (int done = 0, n = 0; n < properties; n++)
        {
            int end = all.Count;
            for (; done < end; done++)
            {
                string[] members = all[done];
                foreach (string name in names.Where(name => !members.Any(m => m.StartsWith($"\"{name}\"", StringComparison.Ordinal))))
                {
                    all.AddRange(values.Select(value => (string[])[.. members, $"\"{name}\":{value}"]));
                }
            }
        }

        return all.Select(members => "{" + string.Join(',', members) + "}");
    }

    private static JsonObject Schema(Random random)
    {
        JsonObject schema = Part(random);
        schema["type"] = "object";
        for (int i = random.Next(1, 4); i > 0; i--)
        {
            switch (random.Next(4))
            {
                case 0:
                    schema["not"] = Part(random);
                    break;
                case 1:
                    schema["oneOf"] = new JsonArray(Part(random), Part(random));
                    break;
                case 2:
                    schema["if"] = Part(random);
                    schema["then"] = Part(random);
                    schema["else"] = Part(random);
                    break;
                default:
                    schema["allOf"] = new JsonArray(new JsonObject { ["not"] = Part(random) }, Part(random));
                    break;
            }
        }

        return schema;
    }

    private static JsonObject Part(Random random)
    {
        JsonObject part = [];
        for (int i = random.Next(1, 3); i > 0; i--)
        {
            switch (random.Next(9))
            {
                case 0 or 1:
                    part["patternProperties"] = new JsonObject { [(string[])["^a", "b$", "^[ab]$", ""] is var p ? p[random.Next(4)] : ""] = Value(random) };
                    break;
                case 2 or 3:
                    part["additionalProperties"] = Value(random);
                    break;
                case 4:
                    part["properties"] = new JsonObject { [(string[])["a", "b"] is var n ? n[random.Next(2)] : ""] = Value(random), ["c"] = Value(random) };
                    break;
                case 5:
                    part["propertyNames"] = new JsonObject { ["pattern"] = (string[])["^a", "^.$", "b"] is var e ? e[random.Next(3)] : "" };
                    break;
                case 6:
                    part["required"] = new JsonArray((string[])["a", "c"] is var r ? r[random.Next(2)] : "");
                    break;
                case 7:
                    part[random.Next(2) == 0 ? "maxProperties" : "minProperties"] = random.Next(1, 3);
                    break;
                default:
                    part["dependentRequired"] = new JsonObject { ["a"] = new JsonArray("b") };
                    break;
            }
        }

        return part;
    }

    private static JsonNode Value(Random random) => random.Next(6) switch
    {
        0 => JsonValue.Create(false),
        1 => new JsonObject { ["type"] = "string" },
        2 => new JsonObject { ["minimum"] = 5 },
        3 => new JsonObject { ["const"] = 1 },
        4 => new JsonObject { ["not"] = new JsonObject { ["type"] = "null" } },
        _ => new JsonObject { ["type"] = "integer" },
    };
}
