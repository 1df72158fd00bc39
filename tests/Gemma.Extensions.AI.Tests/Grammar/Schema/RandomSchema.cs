using System.Text.Json.Nodes;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Draws schemas of all keywords, most of them satisfiable.</summary>
internal sealed class RandomSchema(Random random)
{
    private static readonly string[] s_names = ["a", "b", "c", "name", "id", "x\"y"];

    public string Next()
    {
        JsonObject root = Schema(3);
        root["$defs"] = new JsonObject { ["d"] = Schema(1), ["e"] = new JsonObject { ["type"] = "array", ["items"] = new JsonObject { ["$ref"] = "#/$defs/e" } } };
        return root.ToJsonString();
    }

    private JsonObject Schema(int depth)
    {
        JsonObject s = [];
        switch (random.Next(depth > 0 ? 14 : 6))
        {
            case 0:
                s["type"] = "string";
                Maybe(() => s["minLength"] = random.Next(3));
                Maybe(() => s["maxLength"] = 3 + random.Next(5));
                Maybe(() => s["pattern"] = Pattern(random, 2));
                break;
            case 1:
                s["type"] = random.Next(2) == 0 ? "integer" : "number";
                Maybe(() => s["minimum"] = random.Next(-20, 10));
                Maybe(() => s["exclusiveMaximum"] = 10.5 + random.Next(200));
                Maybe(() => s["multipleOf"] = (double[])[2, 3, 0.5, 0.25] is var m ? m[random.Next(4)] : 1);
                break;
            case 2:
                s["enum"] = new JsonArray("a", "ab", 1, 2.5, null, true, new JsonObject { ["a"] = 1 }, new JsonArray(1, "b"));
                break;
            case 3:
                s["type"] = new JsonArray("null", "boolean", "integer");
                break;
            case 4:
                s["const"] = (JsonNode?[])["k", 7, new JsonObject { ["x"] = new JsonArray(1) }] is var c ? c[random.Next(3)] : null;
                break;
            case 5:
                s["$ref"] = random.Next(2) == 0 ? "#/$defs/e" : "#/$defs/d";
                if (depth < 2)
                {
                    s = new JsonObject { ["type"] = "null" }; // d must not reach itself.
                }

                break;
            case 6 or 7 or 8:
                Object(s, depth);
                break;
            case 9 or 10:
                s["type"] = "array";
                Maybe(() => s["items"] = Schema(depth - 1));
                Maybe(() => s["prefixItems"] = new JsonArray(Schema(depth - 1)));
                Maybe(() => s["minItems"] = random.Next(3));
                Maybe(() => s["maxItems"] = 2 + random.Next(3));
                if (random.Next(4) == 0)
                {
                    s["contains"] = new JsonObject { ["type"] = "integer" };
                    Maybe(() => s["maxContains"] = 2);
                }

                if (random.Next(6) == 0)
                {
                    s = new JsonObject { ["type"] = "array", ["items"] = new JsonObject { ["enum"] = new JsonArray(1, 12, "a", null) }, ["uniqueItems"] = true };
                }

                break;
            case 11:
                s[random.Next(2) == 0 ? "anyOf" : "oneOf"] = new JsonArray(Schema(depth - 1), Schema(depth - 1), Schema(0));
                break;
            case 12:
                s["allOf"] = new JsonArray(Schema(depth - 1), new JsonObject { ["not"] = Schema(0) });
                break;
            default:
                Object(s, depth);
                s["if"] = new JsonObject { ["required"] = new JsonArray("a") };
                s["then"] = new JsonObject { ["required"] = new JsonArray("b") };
                Maybe(() => s["else"] = new JsonObject { ["maxProperties"] = 2 });
                break;
        }

        return s;
    }

    private void Object(JsonObject s, int depth)
    {
        s["type"] = "object";
        JsonObject properties = [];
        foreach (string name in s_names)
        {
            Maybe(() => properties[name] = Schema(depth - 1));
        }

        s["properties"] = properties;
        Maybe(() => s["required"] = new JsonArray([.. properties.Select(p => (JsonNode)p.Key).Where(_ => random.Next(2) == 0)]));
        Maybe(() => s["additionalProperties"] = random.Next(2) == 0 ? JsonValue.Create(false) : Schema(0));
        if (random.Next(4) == 0)
        {
            s["patternProperties"] = new JsonObject { ["^n"] = Schema(0), ["[0-9]$"] = new JsonObject { ["type"] = new JsonArray("integer", "string") } };
        }

        if (random.Next(4) == 0)
        {
            s["minProperties"] = random.Next(3);
            Maybe(() => s["maxProperties"] = 3);
        }

        if (random.Next(5) == 0)
        {
            s["dependentRequired"] = new JsonObject { ["a"] = new JsonArray("b"), ["b"] = new JsonArray("c") };
        }

        if (random.Next(5) == 0)
        {
            s["propertyNames"] = new JsonObject { ["pattern"] = "^[a-z0-9]" };
        }
    }

    private void Maybe(Action set)
    {
        if (random.Next(2) == 0)
        {
            set();
        }
    }

    /// <summary>An expression over few characters.</summary>
    public static string Pattern(Random random, int depth) => depth == 0 || random.Next(4) == 0
        ? (string[])["a", "b", "c", "[ab]", "[^a]", "\\d", ".", "1-", "\\w"] is var atoms ? atoms[random.Next(atoms.Length)] : ""
        : random.Next(7) switch
        {
            0 => Pattern(random, depth - 1) + "|" + Pattern(random, depth - 1),
            1 => "(" + Pattern(random, depth - 1) + ")*",
            2 => "(?:" + Pattern(random, depth - 1) + "){1,2}",
            3 => "(" + Pattern(random, depth - 1) + ")?" + Pattern(random, depth - 1),
            4 => "^" + Pattern(random, depth - 1),
            5 => Pattern(random, depth - 1) + "$",
            _ => Pattern(random, depth - 1) + Pattern(random, depth - 1),
        };
}
