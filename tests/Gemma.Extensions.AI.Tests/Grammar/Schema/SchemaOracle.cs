using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>
/// Validates a document against a schema keyword by keyword, as the specification is written: no automata, no normal forms, nothing shared with the
/// compiler. Formats are annotations but for date.
/// </summary>
internal static class SchemaOracle
{
    public static bool IsValid(JsonElement schema, JsonElement value) => Check(schema, value, schema);

    private static bool Check(JsonElement s, JsonElement v, JsonElement root)
    {
        if (s.ValueKind is JsonValueKind.True or JsonValueKind.False)
        {
            return s.ValueKind == JsonValueKind.True;
        }

        return s.EnumerateObject().All(k => Keyword(k.Name, k.Value, s, v, root));
    }

    private static bool Keyword(string name, JsonElement k, JsonElement s, JsonElement v, JsonElement root)
    {
        switch (name)
        {
            case "$ref":
                JsonElement target = root;
                foreach (string part in k.GetString()!.Split('/')[1..])
                {
                    target = target.GetProperty(part);
                }

                return Check(target, v, root);
            case "type":
                return (k.ValueKind == JsonValueKind.Array ? k.EnumerateArray() : Enumerable.Repeat(k, 1)).Any(t => IsType(t.GetString()!, v));
            case "enum":
                return k.EnumerateArray().Any(x => Equal(x, v));
            case "const":
                return Equal(k, v);
            case "allOf":
                return k.EnumerateArray().All(x => Check(x, v, root));
            case "anyOf":
                return k.EnumerateArray().Any(x => Check(x, v, root));
            case "oneOf":
                return k.EnumerateArray().Count(x => Check(x, v, root)) == 1;
            case "not":
                return !Check(k, v, root);
            case "if":
                return Check(k, v, root) ? !s.TryGetProperty("then", out JsonElement then) || Check(then, v, root) : !s.TryGetProperty("else", out JsonElement otherwise) || Check(otherwise, v, root);
        }

        return v.ValueKind switch
        {
            JsonValueKind.String => Text(name, k, v.GetString()!),
            JsonValueKind.Number => Number(name, k, Value(v)),
            JsonValueKind.Array => Array(name, k, s, [.. v.EnumerateArray()], root),
            JsonValueKind.Object => Object(name, k, s, v, root),
            _ => true,
        };
    }

    private static bool Text(string name, JsonElement k, string v) => name switch
    {
        "minLength" => v.EnumerateRunes().Count() >= k.GetInt32(),
        "maxLength" => v.EnumerateRunes().Count() <= k.GetInt32(),
        "pattern" => Regex.IsMatch(v, k.GetString()!, RegexOptions.ECMAScript),
        "format" when k.GetString() == "date" => DateOnly.TryParseExact(v, "yyyy-MM-dd", out _) || v.StartsWith("0000", StringComparison.Ordinal),
        _ => true,
    };

    private static bool Number(string name, JsonElement k, decimal v) => name switch
    {
        "minimum" => v >= k.GetDecimal(),
        "maximum" => v <= k.GetDecimal(),
        "exclusiveMinimum" => v > k.GetDecimal(),
        "exclusiveMaximum" => v < k.GetDecimal(),
        "multipleOf" => v % k.GetDecimal() == 0,
        _ => true,
    };

    private static bool Array(string name, JsonElement k, JsonElement s, JsonElement[] v, JsonElement root)
    {
        switch (name)
        {
            case "minItems":
                return v.Length >= k.GetInt32();
            case "maxItems":
                return v.Length <= k.GetInt32();
            case "prefixItems":
                return k.EnumerateArray().Zip(v).All(p => Check(p.First, p.Second, root));
            case "items":
                int prefix = s.TryGetProperty("prefixItems", out JsonElement p) ? p.GetArrayLength() : 0;
                return v.Skip(prefix).All(x => Check(k, x, root));
            case "contains":
                int count = v.Count(x => Check(k, x, root));
                return count >= (s.TryGetProperty("minContains", out JsonElement min) ? min.GetInt32() : 1) && (!s.TryGetProperty("maxContains", out JsonElement max) || count <= max.GetInt32());
            case "uniqueItems":
                return !k.GetBoolean() || !v.Where((x, i) => v.Take(i).Any(y => Equal(x, y))).Any();
            default:
                return true;
        }
    }

    private static bool Object(string name, JsonElement k, JsonElement s, JsonElement v, JsonElement root)
    {
        switch (name)
        {
            case "required":
                return k.EnumerateArray().All(n => v.TryGetProperty(n.GetString()!, out _));
            case "minProperties":
                return v.EnumerateObject().Count() >= k.GetInt32();
            case "maxProperties":
                return v.EnumerateObject().Count() <= k.GetInt32();
            case "properties":
                return k.EnumerateObject().All(p => !v.TryGetProperty(p.Name, out JsonElement x) || Check(p.Value, x, root));
            case "patternProperties":
                return v.EnumerateObject().All(x => k.EnumerateObject().All(p => !Regex.IsMatch(x.Name, p.Name, RegexOptions.ECMAScript) || Check(p.Value, x.Value, root)));
            case "additionalProperties":
                return v.EnumerateObject().All(x =>
                    (s.TryGetProperty("properties", out JsonElement own) && own.TryGetProperty(x.Name, out _))
                    || (s.TryGetProperty("patternProperties", out JsonElement patterns) && patterns.EnumerateObject().Any(p => Regex.IsMatch(x.Name, p.Name, RegexOptions.ECMAScript)))
                    || Check(k, x.Value, root));
            case "propertyNames":
                return v.EnumerateObject().All(x => Check(k, JsonSerializer.SerializeToElement(x.Name), root));
            case "dependentRequired":
                return k.EnumerateObject().All(d => !v.TryGetProperty(d.Name, out _) || d.Value.EnumerateArray().All(n => v.TryGetProperty(n.GetString()!, out _)));
            default:
                return true;
        }
    }

    // Numbers beyond decimal's range only come where no bound is near.
    private static decimal Value(JsonElement v) => v.TryGetDecimal(out decimal d) ? d : v.GetDouble() > 0 ? decimal.MaxValue : decimal.MinValue;

    private static bool IsType(string type, JsonElement v) => type switch
    {
        "null" => v.ValueKind == JsonValueKind.Null,
        "boolean" => v.ValueKind is JsonValueKind.True or JsonValueKind.False,
        "string" => v.ValueKind == JsonValueKind.String,
        "number" => v.ValueKind == JsonValueKind.Number,
        "integer" => v.ValueKind == JsonValueKind.Number && decimal.IsInteger(Value(v)),
        "array" => v.ValueKind == JsonValueKind.Array,
        _ => v.ValueKind == JsonValueKind.Object,
    };

    private static bool Equal(JsonElement a, JsonElement b) => a.ValueKind == JsonValueKind.Number && b.ValueKind == JsonValueKind.Number ? Value(a) == Value(b) : JsonElement.DeepEquals(a, b);
}
