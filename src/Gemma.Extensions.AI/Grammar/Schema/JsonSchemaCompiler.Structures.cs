using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

// Keywords for arrays and objects.
internal sealed partial class JsonSchemaCompiler
{
    private ArrayConstraint? Arrays(SchemaPlace place)
    {
        JsonElement e = place.Element;
        ArrayConstraint result = new() { Min = Count(place, "minItems") ?? 0, Max = Count(place, "maxItems") ?? -1 };
        bool any = result.Min == 0 && result.Max < 0;
        string? restKeyword = "items";
        string? prefixKeyword = e.TryGetProperty("prefixItems", out _) ? "prefixItems" : null;
        if (e.TryGetProperty("items", out JsonElement items) && items.ValueKind == JsonValueKind.Array)
        {
            (prefixKeyword, restKeyword) = ("items", "additionalItems");
        }

        if (prefixKeyword is not null)
        {
            any = false;
            result = result with { Prefix = [.. Subschemas(place, prefixKeyword).Select(s => Literals(s.Place))] };
        }

        if (e.TryGetProperty("unevaluatedItems", out JsonElement unevaluated) && unevaluated.ValueKind != JsonValueKind.True)
        {
            if (s_inPlace.Any(k => e.TryGetProperty(k, out _)) || e.TryGetProperty("contains", out _))
            {
                Refuse(place.Path + "/unevaluatedItems", "it cannot be enforced beside other applicators");
            }
            else if (!e.TryGetProperty(restKeyword, out _))
            {
                restKeyword = "unevaluatedItems";
            }
        }

        if (e.TryGetProperty(restKeyword, out JsonElement rest) && rest.ValueKind != JsonValueKind.True)
        {
            any = false;
            result = result with { Rest = Literals(_document.At(place, rest, "/" + restKeyword)) };
        }

        if (e.TryGetProperty("contains", out JsonElement contains))
        {
            int min = Count(place, "minContains") ?? 1, max = Count(place, "maxContains") ?? -1;
            if (min > 0 || max >= 0)
            {
                any = false;
                result = result with { Contains = [(SchemaLiterals.Of(_document.At(place, contains, "/contains").Literal), min, max)] };
            }
        }

        if (e.TryGetProperty("uniqueItems", out JsonElement unique) && unique.ValueKind == JsonValueKind.True && (result.Max < 0 || result.Max > 1))
        {
            any = false;
            result = result with { Unique = _options.Lenient ? null : place.Path + "/uniqueItems" };
        }

        return any ? null : result;
    }

    private ObjectConstraint? Objects(SchemaPlace place)
    {
        JsonElement e = place.Element;
        Dictionary<string, SchemaLiterals> properties = [];
        foreach ((string name, SchemaPlace sub) in Members(place, "properties", null))
        {
            properties[name] = Literals(sub);
        }

        List<(RegexTerm, SchemaLiterals)> patterns = [];
        foreach ((string pattern, SchemaPlace sub) in Members(place, "patternProperties", null))
        {
            patterns.Add((Pattern(pattern, sub.Path), Literals(sub)));
        }

        SchemaLiterals? additional = null;
        string keyword = "additionalProperties";
        if (e.TryGetProperty("unevaluatedProperties", out JsonElement unevaluated) && unevaluated.ValueKind != JsonValueKind.True)
        {
            if (s_inPlace.Any(k => e.TryGetProperty(k, out _)))
            {
                Refuse(place.Path + "/unevaluatedProperties", "it cannot be enforced beside other applicators");
            }
            else if (!e.TryGetProperty(keyword, out _))
            {
                keyword = "unevaluatedProperties";
            }
        }

        if (e.TryGetProperty(keyword, out JsonElement rest) && rest.ValueKind != JsonValueKind.True)
        {
            additional = Literals(_document.At(place, rest, "/" + keyword));
        }

        KeyClause.Coverage says = additional is not null || patterns.Count > 0 || e.TryGetProperty("additionalProperties", out _) || e.TryGetProperty("unevaluatedProperties", out _) ? KeyClause.Coverage.Others
            : e.TryGetProperty("properties", out _) ? KeyClause.Coverage.NamedOnly : KeyClause.Coverage.Nothing;
        List<(string, IReadOnlyList<string>)> dependents = [];
        foreach (string dependency in (ReadOnlySpan<string>)["dependentRequired", "dependencies"])
        {
            if (e.TryGetProperty(dependency, out JsonElement map) && map.ValueKind == JsonValueKind.Object)
            {
                foreach (JsonProperty p in map.EnumerateObject().Where(p => p.Value.ValueKind == JsonValueKind.Array))
                {
                    dependents.Add((p.Name, Names(p.Value, place.Path + "/" + dependency + "/" + SchemaDocument.Escape(p.Name))));
                }
            }
        }

        ObjectConstraint result = new()
        {
            Clauses = says == KeyClause.Coverage.Nothing ? [] : [new KeyClause(properties, patterns, additional, says)],
            Required = e.TryGetProperty("required", out JsonElement required) && required.ValueKind == JsonValueKind.Array ? Names(required, place.Path + "/required") : [],
            Dependents = dependents,
            Names = e.TryGetProperty("propertyNames", out JsonElement names) && names.ValueKind != JsonValueKind.True ? Literals(_document.At(place, names, "/propertyNames")) : SchemaLiterals.Any,
            Min = Count(place, "minProperties") ?? 0,
            Max = Count(place, "maxProperties") ?? -1,
        };
        return result.Clauses.Count + result.Required.Count + dependents.Count == 0 && result.Names == SchemaLiterals.Any && result is { Min: 0, Max: < 0 } ? null : result;
    }
}
