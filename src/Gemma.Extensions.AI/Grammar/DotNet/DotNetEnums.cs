using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace Gemma.Extensions.AI.Grammar.DotNet;

/// <summary>Enumerations as System.Text.Json reads them: names (separated by commas if they are flags) or numbers.</summary>
internal static class DotNetEnums
{
    private const int MaxNumbers = 1_000;

    /// <summary>Completes the schema of an enumeration, which lists the members' names unless they are flags, and otherwise only says that it is an integer.</summary>
    public static void Narrow(JsonObject schema, Type type, JsonSerializerOptions options, JsonConverter? converter)
    {
        if (schema.ContainsKey("enum"))
        {
            return;
        }

        if (DotNetScalars.Allows(schema, "string"))
        {
            if (Flags(Names(type, options, converter)) is { } pattern)
            {
                DotNetScalars.AddPattern(schema, pattern);
            }
        }
        else if (DotNetScalars.Allows(schema, "integer") && !type.IsDefined(typeof(FlagsAttribute), false) && Enum.GetNames(type).Length is > 0 and <= MaxNumbers)
        {
            IEnumerable<JsonNode?> numbers = Members(type).Select(static member => JsonNode.Parse(Number(member)));
            schema["enum"] = new JsonArray([.. numbers, .. DotNetScalars.Allows(schema, "null") ? (JsonNode?[])[null] : []]);
        }
        else
        {
            DotNetScalars.TryNarrow(schema, Enum.GetUnderlyingType(type));
        }
    }

    /// <summary>One member as the schema has it: by its name or its number; null where it has no name.</summary>
    public static JsonNode? Write(JsonObject schema, Type type, object member, JsonSerializerOptions options, JsonConverter? converter) =>
        DotNetScalars.Allows(schema, "string") ? Names(type, [member], options, converter) is [string name] ? name : null : JsonNode.Parse(Number(member));

    /// <summary>The names that can be the key of a dictionary; null where the type is no enumeration.</summary>
    public static JsonObject? Key(Type type, JsonSerializerOptions options) =>
        !type.IsEnum || Names(type, options, null) is not { Length: > 0 } names ? null
        : type.IsDefined(typeof(FlagsAttribute), false) ? new JsonObject { ["pattern"] = Flags(names) }
        : new JsonObject { ["enum"] = new JsonArray([.. names.Select(static name => (JsonNode)name)]) };

    /// <summary>Some of the names, each with a comma behind it but the last.</summary>
    private static string? Flags(string[] names)
    {
        string any = $"(?:{string.Join('|', names.Select(Escape))})";
        return names.Length == 0 ? null : $"^{any}(?:, {any}){{0,{names.Length - 1}}}$";
    }

    /// <summary>A text as a regular expression that it alone matches.</summary>
    public static string Escape(string name) =>
        string.Concat(name.Select(static c => char.IsAsciiLetterOrDigit(c) || c is '_' or ' ' or > '\u007f' ? c.ToString() : $"\\u{(int)c:x4}"));

    /// <summary>The members' names as they are written under the options.</summary>
    private static string[] Names(Type type, JsonSerializerOptions options, JsonConverter? converter) => Names(type, Members(type), options, converter);

    private static string[] Names(Type type, IEnumerable<object> members, JsonSerializerOptions options, JsonConverter? converter)
    {
        JsonSerializerOptions named = options;
        if (converter is not null || !IsNamed(type, options))
        {
            // Named by an attribute of the property, or as in a kernel function's schema.
            if (converter is null)
            {
                if (!RuntimeFeature.IsDynamicCodeSupported)
                {
                    // Compiled ahead of time no converter can be made for a type that is not known before.
                    return [.. members.Select(member => Enum.GetName(type, member)).OfType<string>().Distinct()];
                }

                converter = new JsonStringEnumConverter();
            }

            named = new JsonSerializerOptions(options);
            named.Converters.Insert(0, converter);
        }

        JsonTypeInfo info = named.GetTypeInfo(type);
        return [.. members.Select(member => JsonSerializer.SerializeToElement(member, info))
            .Where(static name => name.ValueKind == JsonValueKind.String).Select(static name => name.GetString()!).Distinct()];
    }

    private static bool IsNamed(Type type, JsonSerializerOptions options) =>
        Members(type).FirstOrDefault() is { } member && JsonSerializer.SerializeToElement(member, options.GetTypeInfo(type)).ValueKind == JsonValueKind.String;

    private static IEnumerable<object> Members(Type type) => Enum.GetValuesAsUnderlyingType(type).Cast<object>().Select(value => Enum.ToObject(type, value)).Distinct();

    private static string Number(object member) =>
        ((IFormattable)Convert.ChangeType(member, Enum.GetUnderlyingType(member.GetType()), CultureInfo.InvariantCulture)).ToString(null, CultureInfo.InvariantCulture);
}
