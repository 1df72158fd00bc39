using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// Describes a tool in one line, as a signature: far fewer tokens than its JSON Schema. What a signature cannot say (a pattern, a range, a reference,
/// a description inside a type) is given as compact JSON Schema in place of the type.
/// </summary>
internal static class ToolSignatureText
{
    /// <summary>Appends <c>name(arg: type, optional?: type): description arg: description.</c></summary>
    public static void Append(StringBuilder text, AIFunctionDeclaration tool)
    {
        AppendName(text, tool.Name);
        text.Append('(');
        JsonElement schema = CompactJson.WithoutHalves(tool.JsonSchema);
        StringBuilder arguments = new();
        StringBuilder descriptions = new();
        if (TryAppendMembers(arguments, schema, descriptions))
        {
            text.Append(arguments);
        }
        else
        {
            descriptions.Clear();
            CompactJson.Append(text, schema);
        }

        text.Append(')');
        string description = OneLine(tool.Description);
        if (description.Length > 0 || descriptions.Length > 0)
        {
            text.Append(':');
            if (description.Length > 0)
            {
                text.Append(' ').Append(description);
            }

            text.Append(descriptions);
        }
    }

    /// <summary>The members of an object schema; false if it has other constraints.</summary>
    private static bool TryAppendMembers(StringBuilder text, JsonElement schema, StringBuilder? descriptions)
    {
        if (schema.ValueKind != JsonValueKind.Object)
        {
            return false;
        }

        JsonElement properties = default;
        HashSet<string> required = [];
        foreach (JsonProperty keyword in schema.EnumerateObject())
        {
            switch (keyword.Name)
            {
                case "properties" when keyword.Value.ValueKind == JsonValueKind.Object:
                    properties = keyword.Value;
                    break;
                case "required" when keyword.Value.ValueKind == JsonValueKind.Array:
                    required = [.. keyword.Value.EnumerateArray().Select(static name => name.ToString())];
                    break;
                case "additionalProperties" when keyword.Value.ValueKind == JsonValueKind.False:
                case "type" or "title" or "$schema":
                case "description" or "default": // the caller's matter
                    break;
                default:
                    return false;
            }
        }

        if (properties.ValueKind == JsonValueKind.Undefined)
        {
            return true;
        }

        string comma = "";
        foreach (JsonProperty property in properties.EnumerateObject())
        {
            bool isRequired = required.Remove(property.Name);
            text.Append(comma);
            AppendName(text, property.Name);
            text.Append(isRequired ? ": " : "?: ");
            AppendArgument(text, property, descriptions);
            comma = ", ";
        }

        return required.Count == 0;
    }

    private static void AppendArgument(StringBuilder text, JsonProperty property, StringBuilder? descriptions)
    {
        StringBuilder type = new();
        string description = "";
        JsonElement fallback = default;
        if (TryAppendType(type, property.Value, (value, standard) => (description, fallback) = (value, standard)) && (descriptions is not null || description.Length == 0))
        {
            text.Append(type);
            if (fallback.ValueKind is not (JsonValueKind.Undefined or JsonValueKind.Null))
            {
                text.Append(" = ");
                CompactJson.Append(text, fallback);
            }

            if (description.Length > 0)
            {
                AppendName(descriptions!.Append(' '), property.Name);
                descriptions!.Append(": ").Append(description);
            }
        }
        else
        {
            CompactJson.Append(text, property.Value);
        }
    }

    /// <param name="text">Receives the type.</param>
    /// <param name="schema">The schema of a value.</param>
    /// <param name="annotations">Receives description and default; null where there is no place for them, so that they make the type inexpressible.</param>
    private static bool TryAppendType(StringBuilder text, JsonElement schema, Action<string, JsonElement>? annotations = null)
    {
        if (schema.ValueKind != JsonValueKind.Object)
        {
            if (schema.ValueKind == JsonValueKind.True)
            {
                text.Append("any");
            }

            return schema.ValueKind == JsonValueKind.True;
        }

        if (!Keywords.TryRead(schema, annotations is not null, out Keywords keywords))
        {
            return false;
        }

        annotations?.Invoke(keywords.Description, keywords.Default);
        (JsonElement type, JsonElement values, JsonElement items, JsonElement choices, bool hasMembers) = (keywords.Type, keywords.Values, keywords.Items, keywords.Choices, keywords.HasMembers);
        if (values.ValueKind != JsonValueKind.Undefined)
        {
            // The values say the type.
            return items.ValueKind == JsonValueKind.Undefined && choices.ValueKind == JsonValueKind.Undefined && !hasMembers
                && TryAppendEach(text, values, static (text, value) =>
                {
                    CompactJson.Append(text, value);
                    return true;
                });
        }

        if (choices.ValueKind != JsonValueKind.Undefined)
        {
            return type.ValueKind == JsonValueKind.Undefined && items.ValueKind == JsonValueKind.Undefined && !hasMembers
                && TryAppendEach(text, choices, static (text, choice) => TryAppendType(text, choice));
        }

        return type.ValueKind switch
        {
            JsonValueKind.Undefined when items.ValueKind == JsonValueKind.Undefined && !hasMembers => TryAppendNamed(text, "any", schema, items),
            JsonValueKind.String => TryAppendNamed(text, type.GetString()!, schema, items),
            JsonValueKind.Array when type.GetArrayLength() > 0 => TryAppendEach(text, type, (text, name) => TryAppendNamed(text, name.ToString(), schema, items)),
            _ => false,
        };
    }

    private static bool TryAppendNamed(StringBuilder text, string name, JsonElement schema, JsonElement items)
    {
        switch (name)
        {
            case "string" or "integer" or "number" or "boolean" or "null" or "any":
                text.Append(name);
                return true;
            case "array":
                text.Append("array of ");
                StringBuilder item = new();
                if (items.ValueKind == JsonValueKind.Undefined)
                {
                    item.Append("any");
                }
                else if (!TryAppendType(item, items))
                {
                    return false;
                }

                bool several = items.ValueKind == JsonValueKind.Object && (items.TryGetProperty("enum", out _) || items.TryGetProperty("anyOf", out _)
                    || (items.TryGetProperty("type", out JsonElement types) && types.ValueKind == JsonValueKind.Array));
                text.Append(several ? "(" : "").Append(item).Append(several ? ")" : "");
                return true;
            case "object":
                StringBuilder members = new();
                if (!schema.TryGetProperty("properties", out _))
                {
                    text.Append("object");
                    return !schema.TryGetProperty("required", out _) && !schema.TryGetProperty("additionalProperties", out _);
                }

                if (!TryAppendMembers(members, schema, null))
                {
                    return false;
                }

                text.Append("object {").Append(members).Append('}');
                return true;
            default:
                return false;
        }
    }

    private static bool TryAppendEach(StringBuilder text, JsonElement array, Func<StringBuilder, JsonElement, bool> append)
    {
        string bar = "";
        foreach (JsonElement element in array.EnumerateArray())
        {
            text.Append(bar);
            if (!append(text, element))
            {
                return false;
            }

            bar = "|";
        }

        return true;
    }

    /// <summary>A name unchanged, or as a JSON string if it could be read as more than a name (a line break, a colon).</summary>
    private static void AppendName(StringBuilder text, string name)
    {
        if (name.Length > 0 && name.All(static c => char.IsLetterOrDigit(c) || char.IsSurrogate(c) || char.GetUnicodeCategory(c) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark || "_-.$@/+#".Contains(c, StringComparison.Ordinal)))
        {
            text.Append(name);
        }
        else
        {
            CompactJson.AppendString(text, name);
        }
    }

    /// <summary>Text of a description on one line, ending as a sentence.</summary>
    private static string OneLine(string? text)
    {
        string line = string.Join(' ', (text ?? "").Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        return line is "" or [.., '.' or '!' or '?' or ':' or ';' or '。' or '…'] ? line : line + ".";
    }

    /// <summary>The keywords of a schema that have a place in a signature.</summary>
    private struct Keywords
    {
        public string Description = "";
        public JsonElement Default;
        public JsonElement Type;
        public JsonElement Values;
        public JsonElement Items;
        public JsonElement Choices;
        public bool HasMembers;

        public Keywords()
        {
        }

        /// <summary>False where the schema has a keyword of another kind.</summary>
        public static bool TryRead(JsonElement schema, bool annotations, out Keywords read)
        {
            read = new Keywords();
            foreach (JsonProperty keyword in schema.EnumerateObject())
            {
                switch (keyword.Name)
                {
                    case "type":
                        read.Type = keyword.Value;
                        break;
                    case "enum" when keyword.Value.ValueKind == JsonValueKind.Array && keyword.Value.GetArrayLength() > 0:
                        read.Values = keyword.Value;
                        break;
                    case "items":
                        read.Items = keyword.Value;
                        break;
                    case "anyOf" when keyword.Value.ValueKind == JsonValueKind.Array && keyword.Value.GetArrayLength() > 0:
                        read.Choices = keyword.Value;
                        break;
                    case "properties" or "required" or "additionalProperties":
                        read.HasMembers = true;
                        break;
                    case "description" when annotations:
                        read.Description = OneLine(keyword.Value.ToString());
                        break;
                    case "default" when annotations:
                        read.Default = keyword.Value;
                        break;
                    case "title":
                        break;
                    default:
                        return false;
                }
            }

            return true;
        }
    }
}
