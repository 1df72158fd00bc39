using System.Text.Json.Nodes;

namespace Gemma.Extensions.AI.Benchmarks.Schemas;

/// <summary>
/// Draws schemas of draft 2020-12 in which all keywords that say something about values stand beside and inside one another. The pools of names, values and
/// expressions are small, so that keywords meet: most schemas are satisfiable, and few say nothing.
/// </summary>
internal sealed class SchemaGenerator(Random random)
{
    private const int MaxDepth = 3;

    /// <summary>Formats that validators assert.</summary>
    private static readonly string[] s_formats =
    [
        "date", "time", "date-time", "duration", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6", "uuid", "uri", "uri-reference", "iri", "iri-reference", "uri-template",
        "json-pointer", "relative-json-pointer", "regex",
    ];

    private static readonly string[] s_patterns =
        ["^a", "b$", "^[ab]*$", "^.{1,3}$", "[0-9]", "^x[0-9]?$", "a|c", "^(?!a)", "^\\w+$", "^[^a]+$", "", "(?=.*b)^a", "^(a|bc)+$", "\\d{2,}", "^\\S*$", "^[a-z]{2}-[0-9]{2}$", "\\ba", "^$|^c"];

    private static readonly string[] s_keyPatterns = ["^a", "b$", "[0-9]", "^[ab]$", "^x", "^.?$", "^[a-c]{2}$", "", "^(?!a)", "^(a|x1)$"];

    private static readonly string[] s_names = ["a", "b", "c", "ab", "x1", "x2", "bb", "", "é", "q\"/~", "type", "not", "$ref"];

    private static readonly string[] s_values =
        ["\"a\"", "\"b\"", "\"ab\"", "\"\"", "\"x1\"", "\"12\"", "\"é\\n\"", "0", "1", "1.0", "2", "-3", "2.5", "10", "1e2", "0.1", "null", "true", "false", "[]", "{}", "{\"a\":1}", "{\"a\":1,\"b\":null}", "[1,\"a\"]", "[[]]", "[1,1]"];

    private readonly List<Target> _targets = [];
    private string _resource = "";
    private int _anchors;

    /// <summary>Draws a schema.</summary>
    public JsonObject Next()
    {
        _targets.Clear();
        _anchors = 0;
        bool identified = random.Next(3) == 0, dynamic = random.Next(6) == 0;
        _resource = "root";
        string rootUri = identified ? "https://example.com/schemas/root" : "";
        int definitions = random.Next(5);
        List<(string Name, string? Id, string? Anchor, int Inner)> plan = [];
        _targets.Add(new Target("root", "#", rootUri, -1));
        for (int i = 0; i < definitions; i++)
        {
            string name = random.Next(8) switch { 0 => "p/q", 1 => "p~q", 2 => "p%q", _ => "d" } + i;
            string? id = random.Next(4) == 0 ? "r" + i : null, anchor = random.Next(3) == 0 ? "A" + random.Next(2) : null;
            int inner = id is null ? 0 : random.Next(3);
            plan.Add((name, id, anchor, inner));
        }

        HashSet<(string, string)> anchors = [];
        for (int i = 0; i < plan.Count; i++)
        {
            (string name, string? id, string? anchor, int inner) = plan[i];
            string resource = id ?? "root", pointer = "#/$defs/" + Escape(name);
            string uri = id is null ? rootUri : id;
            _targets.Add(new Target(resource, id is null ? pointer : "#", uri, i));
            if (anchor is not null && anchors.Add((resource, anchor)))
            {
                _targets.Add(new Target(resource, "#" + anchor, uri, i));
            }
            else if (anchor is not null)
            {
                plan[i] = (name, id, null, inner);
            }

            for (int k = 0; k < inner; k++)
            {
                _targets.Add(new Target(resource, "#/$defs/i" + k, uri, i));
            }
        }

        JsonObject root = [];
        if (random.Next(3) == 0)
        {
            root["$schema"] = "https://json-schema.org/draft/2020-12/schema";
        }

        if (identified)
        {
            root["$id"] = rootUri;
        }

        if (dynamic)
        {
            root["$dynamicAnchor"] = "node";
        }

        Fill(root, MaxDepth, -1, dynamic);
        if (plan.Count > 0)
        {
            JsonObject defs = [];
            for (int i = 0; i < plan.Count; i++)
            {
                (string name, string? id, string? anchor, int inner) = plan[i];
                JsonObject definition = [];
                _resource = id ?? "root";
                if (id is not null)
                {
                    definition["$id"] = id;
                }

                if (anchor is not null)
                {
                    definition["$anchor"] = anchor;
                }

                bool ownDynamic = dynamic && id is not null && random.Next(2) == 0;
                if (ownDynamic)
                {
                    definition["$dynamicAnchor"] = "node";
                }

                Fill(definition, 2, i, ownDynamic || (dynamic && id is null));
                if (inner > 0)
                {
                    JsonObject more = [];
                    for (int k = 0; k < inner; k++)
                    {
                        JsonObject sub = [];
                        Fill(sub, 1, plan.Count, ownDynamic);
                        more["i" + k] = sub;
                    }

                    definition["$defs"] = more;
                }

                defs[name] = definition;
            }

            _resource = "root";
            root["$defs"] = defs;
        }

        return root;
    }

    /// <summary>The name of a definition as a URI fragment has it.</summary>
    private static string Escape(string name) => name.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal).Replace("%", "%25", StringComparison.Ordinal);

    private JsonNode Schema(int depth, int order, bool dynamic)
    {
        switch (random.Next(24))
        {
            case 0:
                return JsonValue.Create(true);
            case 1 when depth < MaxDepth - 1 && random.Next(3) == 0:
                return JsonValue.Create(false);
        }

        JsonObject schema = [];
        Fill(schema, depth, order, dynamic);
        return schema;
    }

    /// <summary>Adds keywords to a schema. References in place go to definitions after <paramref name="order"/>; those from inside of values to any.</summary>
    private void Fill(JsonObject s, int depth, int order, bool dynamic)
    {
        int kind = random.Next(depth > 0 ? 16 : 10);
        switch (kind)
        {
            case 0 or 1:
                Type(s, "string");
                Texts(s);
                break;
            case 2:
                Type(s, "number", "integer");
                Numbers(s);
                break;
            case 3:
                s["type"] = "integer";
                Numbers(s);
                break;
            case 4:
                s["enum"] = new JsonArray([.. Enumerable.Range(0, 1 + random.Next(6)).Select(_ => Value()).DistinctBy(static v => v?.ToJsonString())]);
                break;
            case 5:
                s["const"] = Value();
                break;
            case 6:
                s["type"] = new JsonArray([.. new[] { "null", "boolean", "string", "number", "integer", "array", "object" }.Where(_ => random.Next(3) == 0).DefaultIfEmpty("null").Select(static t => (JsonNode)t)]);
                Some(s, depth, order, dynamic);
                break;
            case 7:
                Some(s, depth, order, dynamic); // no type: each keyword speaks of values of its own type
                break;
            case 8:
                Reference(s, order, dynamic, inPlace: true);
                break;
            case 9:
                s["type"] = random.Next(2) == 0 ? "boolean" : "null";
                break;
            case 10 or 11 or 12:
                Type(s, "object");
                Objects(s, depth, order, dynamic);
                break;
            default:
                Type(s, "array");
                Arrays(s, depth, order, dynamic);
                break;
        }

        if (depth > 0 && random.Next(3) == 0)
        {
            Applicator(s, depth, order, dynamic);
        }

        if (depth > 1 && random.Next(6) == 0)
        {
            Applicator(s, depth, order, dynamic);
        }

        if (random.Next(30) == 0)
        {
            s["description"] = "said, not enforced";
            s["default"] = Value();
        }

        if (random.Next(60) == 0)
        {
            s["$anchor"] ??= "X" + _anchors++;
        }
    }

    private void Type(JsonObject s, params ReadOnlySpan<string> types)
    {
        if (random.Next(8) > 0)
        {
            s["type"] = types[random.Next(types.Length)];
        }
    }

    /// <summary>Keywords of some types.</summary>
    private void Some(JsonObject s, int depth, int order, bool dynamic)
    {
        if (random.Next(2) == 0)
        {
            Texts(s);
        }

        if (random.Next(2) == 0)
        {
            Numbers(s);
        }

        if (depth > 0 && random.Next(2) == 0)
        {
            Objects(s, depth, order, dynamic);
        }

        if (depth > 0 && random.Next(2) == 0)
        {
            Arrays(s, depth, order, dynamic);
        }
    }

    private void Texts(JsonObject s)
    {
        Maybe(3, () => s["minLength"] = random.Next(4));
        Maybe(3, () => s["maxLength"] = 1 + random.Next(6));
        Maybe(3, () => s["pattern"] = Any(s_patterns));
        if (!s.ContainsKey("pattern") && !s.ContainsKey("maxLength"))
        {
            Maybe(3, () => s["format"] = Any(s_formats));
        }
        else
        {
            Maybe(12, () => s["format"] = Any(s_formats));
        }
    }

    private void Numbers(JsonObject s)
    {
        Maybe(4, () => s["minimum"] = Number());
        Maybe(4, () => s["maximum"] = Number(10));
        Maybe(6, () => s["exclusiveMinimum"] = Number());
        Maybe(6, () => s["exclusiveMaximum"] = Number(10));
        Maybe(4, () => s["multipleOf"] = JsonNode.Parse(Any(["1", "2", "3", "5", "7", "10", "0.5", "0.25", "0.1", "0.01", "1.5", "2.5", "0.001", "12", "1e2", "1e-2", "0.3"])));
    }

    private JsonNode Number(int offset = 0) => random.Next(4) switch
    {
        0 => JsonNode.Parse((offset + random.Next(-20, 20)).ToString(System.Globalization.CultureInfo.InvariantCulture) + Any([".5", ".25", ".1", ".0"]))!,
        1 when random.Next(8) == 0 => JsonNode.Parse(offset == 0 ? "-1e9" : "1e15")!,
        _ => JsonValue.Create(offset + random.Next(-12, 12)),
    };

    private void Objects(JsonObject s, int depth, int order, bool dynamic)
    {
        Maybe(1, 4, () =>
        {
            JsonObject properties = [];
            for (int i = random.Next(4); i >= 0; i--)
            {
                properties[Name()] = Child(depth, order, dynamic);
            }

            s["properties"] = properties;
        });
        Maybe(3, () => s["required"] = Names(3));
        Maybe(4, () => s["additionalProperties"] = random.Next(2) == 0 ? JsonValue.Create(false) : Child(depth, order, dynamic));
        Maybe(5, () =>
        {
            JsonObject patterns = [];
            for (int i = random.Next(2); i >= 0; i--)
            {
                patterns[Any(s_keyPatterns)] = Child(depth, order, dynamic);
            }

            s["patternProperties"] = patterns;
        });
        Maybe(7, () => s["propertyNames"] = random.Next(3) == 0 ? new JsonObject { ["enum"] = Names(5) } : new JsonObject { ["pattern"] = Any(s_keyPatterns) });
        Maybe(7, () => s["minProperties"] = random.Next(4));
        Maybe(7, () => s["maxProperties"] = random.Next(5));
        Maybe(7, () =>
        {
            JsonObject needs = [];
            for (int i = random.Next(2); i >= 0; i--)
            {
                needs[Name()] = Names(2);
            }

            s["dependentRequired"] = needs;
        });
        Maybe(9, () => s["dependentSchemas"] = new JsonObject { [Name()] = Schema(depth - 1, order, dynamic) });
        Maybe(9, () => s["unevaluatedProperties"] = random.Next(3) > 0 ? JsonValue.Create(false) : Child(depth, order, dynamic));
    }

    private void Arrays(JsonObject s, int depth, int order, bool dynamic)
    {
        Maybe(1, 2, () => s["items"] = Child(depth, order, dynamic));
        Maybe(4, () => s["prefixItems"] = new JsonArray([.. Enumerable.Range(0, 1 + random.Next(3)).Select(_ => Child(depth, order, dynamic))]));
        Maybe(3, () => s["minItems"] = random.Next(4));
        Maybe(3, () => s["maxItems"] = random.Next(6));
        if (random.Next(5) == 0)
        {
            s["contains"] = Child(depth, order, dynamic);
            Maybe(3, () => s["minContains"] = random.Next(3));
            Maybe(3, () => s["maxContains"] = random.Next(4));
        }

        if (random.Next(5) == 0)
        {
            s["uniqueItems"] = random.Next(5) > 0;
            if (random.Next(2) == 0)
            {
                s["items"] = random.Next(3) == 0 ? new JsonObject { ["type"] = "boolean" } : new JsonObject { ["enum"] = new JsonArray([.. s_values.OrderBy(_ => random.Next()).Take(4).Select(static v => JsonNode.Parse(v))]) };
            }
        }

        Maybe(10, () => s["unevaluatedItems"] = random.Next(3) > 0 ? JsonValue.Create(false) : Child(depth, order, dynamic));
    }

    /// <summary>A schema for a part of a value: here, references may come back to where they started.</summary>
    private JsonNode Child(int depth, int order, bool dynamic)
    {
        if (random.Next(7) == 0)
        {
            JsonObject s = [];
            Reference(s, order, dynamic, inPlace: false);
            return s;
        }

        return Schema(depth - 1, order, dynamic);
    }

    private void Applicator(JsonObject s, int depth, int order, bool dynamic)
    {
        switch (random.Next(9))
        {
            case 0:
                s["allOf"] = Several();
                break;
            case 1 or 2:
                s["anyOf"] = Several();
                break;
            case 3 or 4:
                s["oneOf"] = Several();
                break;
            case 5:
                s["not"] = Schema(depth - 2 < 0 ? 0 : depth - 2, order, dynamic);
                break;
            case 6:
                s["if"] = Schema(depth - 1, order, dynamic);
                Maybe(4, 5, () => s["then"] = Schema(depth - 1, order, dynamic));
                Maybe(3, 5, () => s["else"] = Schema(depth - 1, order, dynamic));
                break;
            default:
                Reference(s, order, dynamic, inPlace: true);
                break;
        }

        JsonArray Several() => new([.. Enumerable.Range(0, 1 + random.Next(3)).Select(_ => Schema(depth - 1, order, dynamic))]);
    }

    private void Reference(JsonObject s, int order, bool dynamic, bool inPlace)
    {
        if (dynamic && !inPlace && random.Next(2) == 0)
        {
            s["$dynamicRef"] = "#node";
            return;
        }

        Target[] possible = [.. _targets.Where(t => (!inPlace || t.Order > order) && (t.Resource == _resource || t.Uri.Length > 0))];
        if (possible.Length == 0)
        {
            s["type"] ??= "boolean";
            return;
        }

        Target target = possible[random.Next(possible.Length)];
        bool local = target.Resource == _resource && (target.Uri.Length == 0 || random.Next(3) > 0);
        s["$ref"] = local ? target.Local : target.Local == "#" && random.Next(2) == 0 ? target.Uri : target.Uri + target.Local;
    }

    private string Name() => s_names[random.Next(4) == 0 ? random.Next(s_names.Length) : random.Next(5)];

    private JsonArray Names(int most) => new([.. Enumerable.Range(0, random.Next(most + 1)).Select(_ => Name()).Distinct().Select(static n => (JsonNode)n)]);

    private JsonNode? Value() => JsonNode.Parse(Any(s_values));

    private string Any(string[] pool) => pool[random.Next(pool.Length)];

    private void Maybe(int oneIn, Action set) => Maybe(1, oneIn, set);

    private void Maybe(int times, int outOf, Action set)
    {
        if (random.Next(outOf) < times)
        {
            set();
        }
    }

    /// <summary>A schema to which references may point, once it is known how it is called from each resource.</summary>
    /// <param name="Resource">The resource that it belongs to: a pointer or anchor alone reaches it only from there.</param>
    /// <param name="Local">The fragment, '#' included.</param>
    /// <param name="Uri">The resource as it is called from elsewhere; empty where the root has no identifier.</param>
    /// <param name="Order">References in place only go to higher ones, so that none comes back to itself.</param>
    private sealed record Target(string Resource, string Local, string Uri, int Order);
}
