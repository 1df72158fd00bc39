using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Benchmarks.Schemas;

/// <summary>
/// Draws documents from a schema without our grammar: it takes one way through the applicators, collects what the schemas there say and guesses. Many guesses do not
/// validate; a validator has to tell. Those that do show what a grammar leaves out.
/// </summary>
internal sealed class InstanceGenerator
{
    private static readonly JsonSerializerOptions s_compact = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, MaxDepth = 200 };

    private static readonly string[] s_texts =
        ["a", "b", "c", "ab", "bc", "x1", "x2", "bb", "", "é", "12", "7", "aab", "b2", "a b", "abc", "cab", "xy-12", "aaaa", "bcbcbc", "0", "x", "q\"/~", "日本", "a1", "A-", "type", "not", "$ref", "aaaaaaa"];

    private static readonly Dictionary<string, string[]> s_formats = new()
    {
        ["date"] = ["2024-02-29", "1999-12-31"],
        ["time"] = ["12:00:00Z", "23:59:59.5+02:00"],
        ["date-time"] = ["2024-02-29T12:00:00Z", "1985-04-12T23:20:50.52-08:00"],
        ["duration"] = ["P1D", "PT1H30M", "P3W"],
        ["email"] = ["a@b.cd", "joe.bloggs@example.com"],
        ["idn-email"] = ["a@b.cd", "ü@straße.de"],
        ["hostname"] = ["a", "www.example.com", "x1.b2"],
        ["idn-hostname"] = ["a", "straße.de"],
        ["ipv4"] = ["1.2.3.4", "255.0.255.0"],
        ["ipv6"] = ["::", "2001:db8::1", "::ffff:1.2.3.4"],
        ["uuid"] = ["2eb8aa08-aa98-11ea-b4aa-73b441d16380"],
        ["uri"] = ["http://a/b?c#d", "urn:isbn:1", "mailto:a@b.c"],
        ["uri-reference"] = ["", "/a/b", "#x", "http://a", "../b"],
        ["iri"] = ["http://é/ü", "urn:a:b"],
        ["iri-reference"] = ["", "/é", "#x"],
        ["uri-template"] = ["/a/{b}", "", "http://x/{?y}"],
        ["json-pointer"] = ["", "/a/b", "/~0~1"],
        ["relative-json-pointer"] = ["0", "1/a", "2#"],
        ["regex"] = ["a", "^a+$", ""],
    };

    private readonly Random _random;
    private readonly JsonNode _root;
    private readonly Dictionary<(string Resource, string Fragment), (JsonNode? Schema, string Resource)> _targets = [];

    public InstanceGenerator(JsonNode root, Random random)
    {
        (_root, _random) = (root, random);
        Collect(root, "root", "#");
    }

    /// <summary>A document in the spelling that grammars give: no white space, plain decimals.</summary>
    public string Next() => Instance([(_root, "root")], 4)?.ToJsonString(s_compact) ?? "null";

    private void Collect(JsonNode? node, string resource, string pointer)
    {
        if (node is JsonArray array)
        {
            foreach (JsonNode? item in array)
            {
                Collect(item, resource, "");
            }

            return;
        }

        if (node is not JsonObject o)
        {
            return;
        }

        if (pointer == "#")
        {
            _targets[("root", "#")] = (o, "root");
        }
        else if (o["$id"] is JsonValue id)
        {
            (resource, pointer) = (id.GetValue<string>(), "#");
            _targets[(resource, "#")] = (o, resource);
        }
        else if (pointer.Length > 0)
        {
            _targets[(resource, pointer)] = (o, resource);
        }

        foreach (string keyword in (ReadOnlySpan<string>)["$anchor", "$dynamicAnchor"])
        {
            if (o[keyword] is JsonValue name)
            {
                _targets[(resource, "#" + name.GetValue<string>())] = (o, resource);
            }
        }

        foreach ((string name, JsonNode? value) in o)
        {
            if (name == "$defs" && value is JsonObject definitions)
            {
                foreach ((string definition, JsonNode? schema) in definitions)
                {
                    Collect(schema, resource, "#/$defs/" + definition);
                }
            }
            else if (name is not ("enum" or "const" or "default"))
            {
                Collect(value, resource, "");
            }
        }
    }

    /// <summary>What stands in place: the schema itself, what it refers to, and one way through its alternatives.</summary>
    private void Gather(JsonNode? schema, string resource, List<(JsonObject Schema, string Resource)> all, int depth)
    {
        if (schema is not JsonObject o || depth > 12)
        {
            return;
        }

        resource = o["$id"] is JsonValue id && !ReferenceEquals(o, _root) ? id.GetValue<string>() : resource;
        all.Add((o, resource));
        foreach (string keyword in (ReadOnlySpan<string>)["$ref", "$dynamicRef"])
        {
            if (o[keyword] is JsonValue reference)
            {
                (JsonNode? target, string of) = Resolve(reference.GetValue<string>(), resource);
                Gather(target, of, all, depth + 1);
            }
        }

        foreach (JsonNode? sub in o["allOf"] as JsonArray ?? [])
        {
            Gather(sub, resource, all, depth + 1);
        }

        foreach (string keyword in (ReadOnlySpan<string>)["anyOf", "oneOf"])
        {
            if (o[keyword] is JsonArray { Count: > 0 } choices)
            {
                Gather(choices[_random.Next(choices.Count)], resource, all, depth + 1);
            }
        }

        if (o.ContainsKey("if"))
        {
            if (_random.Next(2) == 0)
            {
                Gather(o["if"], resource, all, depth + 1);
                Gather(o["then"], resource, all, depth + 1);
            }
            else
            {
                Gather(o["else"], resource, all, depth + 1);
            }
        }

        if (o["dependentSchemas"] is JsonObject dependent && _random.Next(2) == 0)
        {
            foreach ((_, JsonNode? sub) in dependent)
            {
                Gather(sub, resource, all, depth + 1);
            }
        }
    }

    private (JsonNode? Schema, string Resource) Resolve(string reference, string resource)
    {
        int hash = reference.IndexOf('#', StringComparison.Ordinal);
        string uri = hash < 0 ? reference : reference[..hash], fragment = hash < 0 ? "#" : Uri.UnescapeDataString(reference[hash..]).Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal);
        string target = uri.Length == 0 ? resource : uri.EndsWith("/root", StringComparison.Ordinal) ? "root" : uri;
        return _targets.GetValueOrDefault((target, fragment));
    }

    private JsonNode? Instance(List<(JsonNode? Schema, string Resource)> schemas, int depth)
    {
        List<(JsonObject Schema, string Resource)> all = [];
        foreach ((JsonNode? schema, string resource) in schemas)
        {
            Gather(schema, resource, all, 0);
        }

        if (_random.Next(40) == 0 || depth < -2)
        {
            return Scalar();
        }

        foreach ((JsonObject s, _) in all)
        {
            if (s.TryGetPropertyValue("const", out JsonNode? constant))
            {
                return Plain(constant);
            }

            if (s["enum"] is JsonArray { Count: > 0 } values)
            {
                return Plain(values[_random.Next(values.Count)]);
            }
        }

        return TypeFor(all, depth) switch
        {
            "object" => Object(all, depth),
            "array" => Array(all, depth),
            "string" => Text(all),
            "number" => Number(all, false),
            "integer" => Number(all, true),
            "boolean" => _random.Next(2) == 0,
            _ => null,
        };
    }

    /// <summary>A value with its numbers in the spelling of grammars.</summary>
    private static JsonNode? Plain(JsonNode? value) => value switch
    {
        JsonObject o => new JsonObject(o.Select(static p => KeyValuePair.Create(p.Key, Plain(p.Value)))),
        JsonArray a => new JsonArray([.. a.Select(Plain)]),
        JsonValue v when v.GetValueKind() == JsonValueKind.Number => Number(decimal.Parse(v.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture)),
        _ => value?.DeepClone(),
    };

    private string TypeFor(List<(JsonObject Schema, string Resource)> all, int depth)
    {
        HashSet<string>? types = null;
        foreach ((JsonObject s, _) in all)
        {
            if (s["type"] is { } type)
            {
                HashSet<string> here = [.. type is JsonArray several ? several.Select(static t => t!.GetValue<string>()) : [type.GetValue<string>()]];
                types = types is null ? here : [.. types.Where(t => here.Contains(t) || (t == "integer" && here.Contains("number"))), .. here.Where(t => t == "integer" && types.Contains("number"))];
            }
        }

        if (types is { Count: > 0 })
        {
            return types.Order(StringComparer.Ordinal).ElementAt(_random.Next(types.Count));
        }

        bool Says(params ReadOnlySpan<string> keywords)
        {
            foreach (string keyword in keywords)
            {
                if (all.Any(s => s.Schema.ContainsKey(keyword)))
                {
                    return true;
                }
            }

            return false;
        }

        if (_random.Next(4) > 0)
        {
            List<string> meant = [];
            if (depth > 0 && Says("properties", "required", "patternProperties", "additionalProperties", "propertyNames", "minProperties", "unevaluatedProperties", "dependentRequired"))
            {
                meant.Add("object");
            }

            if (depth > 0 && Says("items", "prefixItems", "contains", "minItems", "uniqueItems", "unevaluatedItems"))
            {
                meant.Add("array");
            }

            if (Says("pattern", "minLength", "format", "maxLength"))
            {
                meant.Add("string");
            }

            if (Says("minimum", "maximum", "multipleOf", "exclusiveMinimum", "exclusiveMaximum"))
            {
                meant.Add("number");
            }

            if (meant.Count > 0)
            {
                return meant[_random.Next(meant.Count)];
            }
        }

        string[] any = depth > 0 ? ["object", "array", "string", "number", "integer", "boolean", "null"] : ["string", "integer", "boolean", "null"];
        return any[_random.Next(any.Length)];
    }

    private JsonNode? Scalar() => _random.Next(5) switch
    {
        0 => null,
        1 => _random.Next(2) == 0,
        2 => _random.Next(-3, 12),
        _ => s_texts[_random.Next(s_texts.Length)],
    };

    private string Text(List<(JsonObject Schema, string Resource)> all)
    {
        string[] pool = s_texts;
        if (all.Select(static s => s.Schema["format"]?.GetValue<string>()).FirstOrDefault(static f => f is not null) is { } format && s_formats.TryGetValue(format, out string[]? samples))
        {
            pool = samples;
        }

        string[] fitting = [.. pool.Where(text => all.All(s =>
            (s.Schema["pattern"] is not { } pattern || Regex.IsMatch(text, pattern.GetValue<string>(), RegexOptions.ECMAScript))
            && (s.Schema["minLength"] is not { } min || text.Length >= min.GetValue<int>())
            && (s.Schema["maxLength"] is not { } max || text.Length <= max.GetValue<int>())))];
        return fitting.Length > 0 ? fitting[_random.Next(fitting.Length)] : pool[_random.Next(pool.Length)];
    }

    private JsonNode Number(List<(JsonObject Schema, string Resource)> all, bool integer)
    {
        decimal? Bound(string keyword) => all.Select(s => s.Schema[keyword]).FirstOrDefault(static b => b is not null) is { } found ? decimal.Parse(found.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture) : null;

        decimal? low = Bound("minimum") ?? Bound("exclusiveMinimum"), high = Bound("maximum") ?? Bound("exclusiveMaximum");
        decimal value = _random.Next(4) switch
        {
            0 when low is not null => low.Value + _random.Next(3),
            1 when high is not null => high.Value - _random.Next(3),
            2 when !integer => _random.Next(-200, 200) / 10m,
            _ => _random.Next(-20, 40),
        };
        if (Bound("multipleOf") is > 0 and { } multiple)
        {
            value = Math.Round(value / multiple) * multiple;
        }

        value = integer ? Math.Round(value) : value;
        return Number(value);
    }

    /// <summary>A number in its shortest plain spelling.</summary>
    private static JsonNode Number(decimal value) => JsonNode.Parse(value == 0 ? "0" : value.ToString("0.############################", CultureInfo.InvariantCulture))!;

    private static int Count(List<(JsonObject Schema, string Resource)> all, string keyword) =>
        all.Select(s => s.Schema[keyword]?.GetValue<int>() ?? (keyword == "minContains" && s.Schema.ContainsKey("contains") ? 1 : 0)).DefaultIfEmpty().Max();

    private JsonArray Array(List<(JsonObject Schema, string Resource)> all, int depth)
    {
        int min = Count(all, "minItems"), max = all.Select(static s => s.Schema["maxItems"]?.GetValue<int>() ?? 6).DefaultIfEmpty(6).Min();
        min = Math.Max(min, Count(all, "minContains"));
        int length = min + _random.Next(Math.Max(1, Math.Min(4, max - min + 1)));
        JsonArray result = [];
        for (int i = 0; i < length; i++)
        {
            List<(JsonNode?, string)> item = [];
            foreach ((JsonObject s, string resource) in all)
            {
                JsonArray? prefix = s["prefixItems"] as JsonArray;
                if (prefix is not null && i < prefix.Count)
                {
                    item.Add((prefix[i], resource));
                }
                else if ((s["items"] ?? s["unevaluatedItems"]) is { } items)
                {
                    item.Add((items, resource));
                }

                if (s["contains"] is { } contains && _random.Next(2) == 0)
                {
                    item.Add((contains, resource));
                }
            }

            result.Add(Instance(item, depth - 1));
        }

        return result;
    }

    private JsonObject Object(List<(JsonObject Schema, string Resource)> all, int depth)
    {
        HashSet<string> names = [.. all.SelectMany(static s => (s.Schema["required"] as JsonArray ?? []).Select(static n => n!.GetValue<string>()))];
        foreach ((JsonObject s, _) in all)
        {
            names.UnionWith((s["properties"] as JsonObject ?? []).Select(static p => p.Key).Where(_ => _random.Next(2) == 0));
        }

        int min = Count(all, "minProperties");
        while (names.Count < min || _random.Next(5) == 0)
        {
            names.Add(s_texts[_random.Next(s_texts.Length)]);
        }

        foreach ((JsonObject s, _) in all)
        {
            foreach ((string name, JsonNode? needs) in s["dependentRequired"] as JsonObject ?? [])
            {
                names.UnionWith(names.Contains(name) ? ((JsonArray)needs!).Select(static n => n!.GetValue<string>()) : []);
            }
        }

        JsonObject result = [];
        foreach (string name in names.OrderBy(_ => _random.Next()))
        {
            List<(JsonNode?, string)> value = [];
            foreach ((JsonObject s, string resource) in all)
            {
                bool covered = (s["properties"] as JsonObject)?.ContainsKey(name) == true;
                if (covered)
                {
                    value.Add((s["properties"]![name], resource));
                }

                foreach ((string pattern, JsonNode? sub) in s["patternProperties"] as JsonObject ?? [])
                {
                    if (Regex.IsMatch(name, pattern, RegexOptions.ECMAScript))
                    {
                        covered = true;
                        value.Add((sub, resource));
                    }
                }

                if (!covered && (s["additionalProperties"] ?? s["unevaluatedProperties"]) is { } rest)
                {
                    value.Add((rest, resource));
                }
            }

            result[name] = depth > 0 ? Instance(value, depth - 1) : Scalar();
        }

        return result;
    }
}
