using System.ComponentModel.DataAnnotations;
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Grammar.Schema;

namespace Gemma.Extensions.AI.Grammar.DotNet;

/// <summary>
/// Validation attributes of a property or parameter that its schema lacks. Microsoft.Extensions.AI loses exclusive limits of 0 and less, that expressions match the
/// whole text, allowed members of enumerations, null among allowed and denied values, and that a value is required or a web address; Semantic Kernel
/// loses all attributes of a parameter.
/// </summary>
/// <remarks>
/// Not enforced: <see cref="CreditCardAttribute"/>, <see cref="CompareAttribute"/>, <see cref="CustomValidationAttribute"/> and attributes of others, ranges of dates, times and texts,
/// that a set's minimum counts distinct items, and that text lengths count UTF-16 code units (a schema counts characters).
/// </remarks>
internal static class DotNetValidation
{
    private const string NotBlank = @"[^\s\u0085]";
    private const string WebAddress = "^(?:[Hh][Tt][Tt][Pp][Ss]?|[Ff][Tt][Pp])://";
    private const string PhoneNumber = @"^\+?[0-9 ().\-]*[0-9][0-9 ().\-]*$";

    /// <summary>The attributes of all given places; null places are skipped.</summary>
    public static ValidationAttribute[] Of(params ICustomAttributeProvider?[] places) =>
        [.. places.OfType<ICustomAttributeProvider>().SelectMany(static place => place.GetCustomAttributes(typeof(ValidationAttribute), inherit: true)).Cast<ValidationAttribute>()];

    /// <summary>Completes the schema of a value of the type.</summary>
    /// <param name="schema">Changed in place.</param>
    /// <param name="type">Not nullable.</param>
    /// <param name="attributes">What is asked of the value.</param>
    /// <param name="write">Serializes a value of the type; null for other values and for null.</param>
    public static void Narrow(JsonObject schema, Type type, IEnumerable<ValidationAttribute> attributes, Func<object, JsonNode?> write)
    {
        foreach (ValidationAttribute attribute in attributes)
        {
            switch (attribute)
            {
                case RequiredAttribute required:
                    ForbidNull(schema);
                    if (type == typeof(string) && !required.AllowEmptyStrings)
                    {
                        DotNetScalars.AddPattern(schema, NotBlank);
                    }

                    break;
                case RangeAttribute range:
                    Limit(schema, "minimum", "exclusiveMinimum", range.Minimum, range.MinimumIsExclusive);
                    Limit(schema, "maximum", "exclusiveMaximum", range.Maximum, range.MaximumIsExclusive);
                    break;
                case LengthAttribute length:
                    LimitLength(schema, length.MinimumLength, length.MaximumLength);
                    break;
                case MinLengthAttribute length:
                    LimitLength(schema, length.Length, null);
                    break;
                case MaxLengthAttribute length:
                    LimitLength(schema, 0, length.Length);
                    break;
                case StringLengthAttribute length:
                    LimitLength(schema, length.MinimumLength, length.MaximumLength);
                    break;
                case AllowedValuesAttribute allowed:
                    Allow(schema, allowed.Values, write);
                    break;
                case DeniedValuesAttribute denied:
                    Deny(schema, denied.Values, write);
                    break;
                default:
                    NarrowText(schema, type, attribute);
                    break;
            }
        }
    }

    /// <summary>Removes null from the types that the schema allows.</summary>
    public static void ForbidNull(JsonNode? node)
    {
        if (node is not JsonObject schema)
        {
            return;
        }

        if (schema["type"] is JsonArray { Count: > 1 } types && types.FirstOrDefault(static name => name?.ToString() == "null") is { } none)
        {
            types.Remove(none);
        }

        if (schema["enum"] is JsonArray { Count: > 1 } values)
        {
            values.RemoveAll(static value => value is null);
        }
    }

    private static void NarrowText(JsonObject schema, Type type, ValidationAttribute attribute)
    {
        if (attribute is UrlAttribute && (type == typeof(string) || type == typeof(Uri)))
        {
            schema.TryAdd("format", "uri");
            DotNetScalars.AddPattern(schema, WebAddress);
        }
        else if (attribute is RegularExpressionAttribute { Pattern: { } pattern } && type == typeof(string))
        {
            if (schema["pattern"]?.ToString() == pattern)
            {
                schema.Remove("pattern"); // A schema's expression may match any part.
            }

            DotNetScalars.AddPattern(schema, $"^(?:{pattern})$");
        }
        else if (attribute is EmailAddressAttribute && type == typeof(string))
        {
            schema.TryAdd("format", "email");
        }
        else if (attribute is Base64StringAttribute && type == typeof(string))
        {
            schema.TryAdd("contentEncoding", "base64");
        }
        else if (attribute is PhoneAttribute && type == typeof(string))
        {
            DotNetScalars.AddPattern(schema, PhoneNumber);
        }
        else if (attribute is FileExtensionsAttribute { Extensions: { Length: > 0 } extensions } && type == typeof(string))
        {
            string[] endings = [.. extensions.Split(',').Select(static ending => DotNetEnums.Escape(ending.Trim().TrimStart('.'))).Where(static ending => ending.Length > 0)];
            DotNetScalars.AddPattern(schema, $"\\.(?:{string.Join('|', endings)})$");
        }
        else if (attribute is EnumDataTypeAttribute { EnumType: { IsEnum: true } names } && type == typeof(string) && !schema.ContainsKey("enum") && Enum.GetNames(names) is { Length: > 0 } members)
        {
            schema["enum"] = new JsonArray([.. members.Select(static name => (JsonNode)name), .. DotNetScalars.Allows(schema, "null") ? (JsonNode?[])[null] : []]);
        }
    }

    /// <summary>Under the names that schemas have them for lists; those of a dictionary are renamed later.</summary>
    private static void LimitLength(JsonObject schema, int min, int? max)
    {
        string of = DotNetScalars.Allows(schema, "string") ? "Length" : "Items";
        if (max == -1 && schema["max" + of]?.ToString() == "-1")
        {
            schema.Remove("max" + of); // As much as a database takes.
        }

        if (min > 0)
        {
            schema.TryAdd("min" + of, min);
        }

        if (max >= 0)
        {
            schema.TryAdd("max" + of, max);
        }
    }

    private static void Limit(JsonObject schema, string keyword, string exclusive, object limit, bool isExclusive)
    {
        bool isNumber = DotNetScalars.Allows(schema, "integer") || DotNetScalars.Allows(schema, "number");
        if (isNumber && !schema.ContainsKey(keyword) && !schema.ContainsKey(exclusive)
            && limit switch { int whole => JsonValue.Create(whole), double real when double.IsFinite(real) => JsonValue.Create(real), string text when ExactDecimal.TryParse(text, out _) => JsonValue.Create(text), _ => null } is { } number)
        {
            schema[isExclusive ? exclusive : keyword] = number;
        }
    }

    private static void Allow(JsonObject schema, object?[] values, Func<object, JsonNode?> write)
    {
        JsonNode[] written = [.. values.OfType<object>().Select(write).OfType<JsonNode>()];
        if (written.Length > 0)
        {
            schema["enum"] = new JsonArray([.. written, .. values.Contains(null) && DotNetScalars.Allows(schema, "null") ? (JsonNode?[])[null] : []]);
        }
    }

    private static void Deny(JsonObject schema, object?[] values, Func<object, JsonNode?> write)
    {
        JsonNode[] written = [.. values.OfType<object>().Select(write).OfType<JsonNode>()];
        if (written.Length > 0)
        {
            schema["not"] = new JsonObject { ["enum"] = new JsonArray(written) };
        }
        else
        {
            schema.Remove("not"); // Null alone leaves an empty one, which is true of nothing.
        }

        if (values.Contains(null))
        {
            ForbidNull(schema);
        }
    }
}
