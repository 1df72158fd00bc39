using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>
/// Parameters of functions that are .NET methods. The schema that .NET derives from a type says less than the type: an <c>int</c> is any integer, a
/// <see cref="TimeOnly"/> has format "time", whose offset it does not read. Where the method is known, its types complete the schema, so that what the model
/// writes can be bound.
/// </summary>
internal static class DotNetParameters
{
    private const int MaxDepth = 16;

    private static readonly ConditionalWeakTable<AIFunctionDeclaration, object> s_narrowed = [];

    private static readonly Dictionary<Type, (string Min, string Max)> s_ranges = new()
    {
        [typeof(sbyte)] = ("-128", "127"),
        [typeof(byte)] = ("0", "255"),
        [typeof(short)] = ("-32768", "32767"),
        [typeof(ushort)] = ("0", "65535"),
        [typeof(int)] = ("-2147483648", "2147483647"),
        [typeof(uint)] = ("0", "4294967295"),
        [typeof(long)] = ("-9223372036854775808", "9223372036854775807"),
        [typeof(ulong)] = ("0", "18446744073709551615"),
        [typeof(Half)] = ("-65504", "65504"),
        [typeof(decimal)] = ("-79228162514264337593543950335", "79228162514264337593543950335"),
    };

    private static readonly Dictionary<Type, string> s_patterns = new()
    {
        [typeof(TimeOnly)] = @"^(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,7})?$",
        [typeof(TimeSpan)] = @"^-?(?:[0-9]{1,6}\.)?(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,7})?$",
        [typeof(Version)] = @"^[0-9]{1,9}(?:\.[0-9]{1,9}){1,3}$",
        [typeof(byte[])] = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        [typeof(char)] = @"^[\u0000-\ud7ff\ue000-\uffff]$",
    };

    /// <summary>The schema of a tool's parameters, narrowed where the tool is a .NET method.</summary>
    public static JsonElement SchemaOf(AIFunctionDeclaration tool) =>
        tool is AIFunction { UnderlyingMethod: not null, JsonSchema.ValueKind: JsonValueKind.Object } function
            ? (JsonElement)s_narrowed.GetValue(function, static function => Narrow((AIFunction)function))
            : tool.JsonSchema;

    private static object Narrow(AIFunction function)
    {
        JsonObject schema = JsonObject.Create(function.JsonSchema)!;
        if (schema["properties"] is JsonObject properties)
        {
            foreach (ParameterInfo parameter in function.UnderlyingMethod!.GetParameters())
            {
                Narrow(properties[parameter.Name ?? ""], parameter.ParameterType, function.JsonSerializerOptions, 0);
            }
        }

        return JsonSerializer.SerializeToElement(schema);
    }

    private static void Narrow(JsonNode? node, Type? type, JsonSerializerOptions options, int depth)
    {
        if (node is not JsonObject schema || type is null || depth > MaxDepth || schema.ContainsKey("$ref") || schema.ContainsKey("enum") || schema.ContainsKey("const"))
        {
            return;
        }

        type = Nullable.GetUnderlyingType(type) ?? type;
        if (s_ranges.TryGetValue(type, out (string Min, string Max) range))
        {
            AddBound(schema, "minimum", "exclusiveMinimum", range.Min);
            AddBound(schema, "maximum", "exclusiveMaximum", range.Max);
        }
        else if (s_patterns.TryGetValue(type, out string? pattern))
        {
            AddPattern(schema, pattern, type == typeof(TimeOnly));
        }
        else if (type.IsEnum)
        {
            AddFlags(schema, type, options);
        }
        else if (options.TryGetTypeInfo(type, out JsonTypeInfo? info))
        {
            NarrowParts(schema, info, options, depth);
        }
    }

    private static void NarrowParts(JsonObject schema, JsonTypeInfo info, JsonSerializerOptions options, int depth)
    {
        switch (info.Kind)
        {
            case JsonTypeInfoKind.Object when schema["properties"] is JsonObject properties:
                foreach (JsonPropertyInfo property in info.Properties)
                {
                    Narrow(properties[property.Name], property.PropertyType, options, depth + 1);
                }

                break;
            case JsonTypeInfoKind.Enumerable:
                Narrow(schema["items"], info.ElementType, options, depth + 1);
                break;
            case JsonTypeInfoKind.Dictionary:
                Narrow(schema["additionalProperties"], info.ElementType, options, depth + 1);
                break;
        }
    }

    /// <summary>Adds a bound of the type where the schema has none of its own.</summary>
    private static void AddBound(JsonObject schema, string keyword, string exclusive, string value)
    {
        if (!schema.ContainsKey(keyword) && !schema.ContainsKey(exclusive))
        {
            schema[keyword] = JsonNode.Parse(value);
        }
    }

    /// <summary>Adds a pattern beside the one that the schema may have.</summary>
    private static void AddPattern(JsonObject schema, string pattern, bool replacesFormat)
    {
        if (replacesFormat)
        {
            schema.Remove("format");
        }

        if (!schema.TryAdd("pattern", pattern) && !schema.ContainsKey("allOf"))
        {
            schema["allOf"] = new JsonArray(new JsonObject { ["pattern"] = pattern });
        }
    }

    /// <summary>Enumerations of flags are described as any text; what can be read is names with commas in between.</summary>
    private static void AddFlags(JsonObject schema, Type type, JsonSerializerOptions options)
    {
        if (!type.IsDefined(typeof(FlagsAttribute)) || schema["type"] is not JsonValue value || value.ToString() != "string")
        {
            return;
        }

        string[] names = [.. Enum.GetValuesAsUnderlyingType(type).Cast<object>().Select(member => JsonSerializer.SerializeToElement(Enum.ToObject(type, member), options.GetTypeInfo(type)))
            .Where(static name => name.ValueKind == JsonValueKind.String).Select(static name => name.GetString()!).Where(static name => name.All(c => char.IsLetterOrDigit(c) || c == '_'))];
        if (names.Length > 0)
        {
            string any = $"(?:{string.Join('|', names.Distinct())})";
            AddPattern(schema, $"^{any}(?:, {any})*$", replacesFormat: false);
        }
    }
}
