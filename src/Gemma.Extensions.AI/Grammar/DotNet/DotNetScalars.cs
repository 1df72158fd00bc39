using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Grammar.Schema;

namespace Gemma.Extensions.AI.Grammar.DotNet;

/// <summary>
/// The scalar types of .NET as System.Text.Json reads them, where the schema that it derives says less: an <c>int</c> is any integer there, and a
/// <see cref="TimeOnly"/> has format "time", although an offset is not read.
/// </summary>
internal static class DotNetScalars
{
    /// <summary>A <see cref="TimeOnly"/>.</summary>
    public const string Time = @"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,7})?";

    private const string Days = @"(?:[0-9]{1,6}\.)?";
    private const string Base64 = "[A-Za-z0-9+/]";
    private const string OneByte = Base64 + "[AQgw]==";
    private const string TwoBytes = Base64 + "{2}[AEIMQUYcgkosw048]=";
    private const string TimeSpanComment = "Represents a System.TimeSpan value.";
    private const string TimeSpanSchema = @"^-?(\d+\.)?\d{2}:\d{2}:\d{2}(\.\d{1,7})?$";
    private const string VersionComment = "Represents a version string.";
    private const string VersionSchema = @"^\d+(\.\d+){1,3}$";
    // A subset of RFC 3986: hosts that are names, and files; a scheme of one letter is a drive.
    private const string UriLabel = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
    private const string UriText = @"^(?:(?![Ff][Ii][Ll][Ee]:)[A-Za-z][A-Za-z0-9+.-]{1,62}:(?://" + UriLabel + @"(?:\." + UriLabel + @")*(?::[0-9]{1,4})?(?:[/?#].*)?|/?[^/].*)|file:///.*)$";

    private const string TimeSpanText = "-?" + Days + Time;
    private const string VersionText = @"[0-9]{1,9}(?:\.[0-9]{1,9}){1,3}";

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
        [typeof(Int128)] = ("-170141183460469231731687303715884105728", "170141183460469231731687303715884105727"),
        [typeof(UInt128)] = ("0", "340282366920938463463374607431768211455"),
        [typeof(Half)] = ("-65504", "65504"),
        [typeof(float)] = ("-340282346638528859811704183484516925440", "340282346638528859811704183484516925440"), // Beyond, it reads infinity.
        [typeof(decimal)] = ("-79228162514264337593543950335", "79228162514264337593543950335"),
    };

    private static readonly Dictionary<Type, string> s_patterns = new()
    {
        [typeof(TimeOnly)] = Whole(Time),
        [typeof(TimeSpan)] = Whole(TimeSpanText),
        [typeof(Version)] = Whole(VersionText),
        [typeof(char)] = @"^[\u0000-\ud7ff\ue000-\uffff]$", // without surrogates
    };

    private static readonly Dictionary<Type, string> s_formats = new()
    {
        [typeof(DateTime)] = "date-time",
        [typeof(DateTimeOffset)] = "date-time",
        [typeof(DateOnly)] = "date",
        [typeof(Guid)] = "uuid",
        [typeof(Uri)] = "uri",
    };

    private static readonly HashSet<Type> s_bytes = [typeof(byte[]), typeof(Memory<byte>), typeof(ReadOnlyMemory<byte>)];

    /// <summary>Types by the schema name that Microsoft.Extensions.AI uses for answers of them.</summary>
    private static readonly Dictionary<string, Type> s_answers = s_ranges.Keys.Concat(s_patterns.Keys).Append(typeof(byte[])).ToDictionary(static type => type.Name.Replace("[]", "__"));

    /// <summary>Base64 of any bytes; the unused bits of the last character are zero.</summary>
    public const string Base64Text = "(?:" + Base64 + "{4})*(?:" + OneByte + "|" + TwoBytes + ")?";

    /// <summary>The scalar type that an answer's schema is named after, as by <c>GetResponseAsync&lt;int&gt;</c>; null if there is none.</summary>
    public static Type? Named(string? schemaName) => schemaName is not null && s_answers.TryGetValue(schemaName, out Type? type) ? type : null;

    /// <summary>A stricter pattern for a string whose schema was derived by System.Text.Json and allows more than it reads.</summary>
    public static string? PatternOf(string? comment, string pattern) => (comment, pattern) switch
    {
        (TimeSpanComment, TimeSpanSchema) => s_patterns[typeof(TimeSpan)],
        (VersionComment, VersionSchema) => s_patterns[typeof(Version)],
        _ => null,
    };

    /// <summary>Completes the schema of a scalar; false if the type is not one.</summary>
    public static bool TryNarrow(JsonObject schema, Type type)
    {
        if (s_ranges.TryGetValue(type, out (string Min, string Max) range))
        {
            DotNetLimits.Include(schema, type);
            NarrowNumber(schema, range.Min, range.Max);
        }
        else if (s_bytes.Contains(type))
        {
            NarrowBytes(schema);
        }
        else if (s_patterns.TryGetValue(type, out string? pattern))
        {
            if (type == typeof(TimeOnly))
            {
                schema.Remove("format");
            }

            if (schema["pattern"]?.ToString() is TimeSpanSchema or VersionSchema)
            {
                schema.Remove("pattern");
            }

            AddPattern(schema, pattern);
        }
        else if (s_formats.TryGetValue(type, out string? format))
        {
            schema.TryAdd("format", format);
            if (type == typeof(Uri))
            {
                AddPattern(schema, UriText);
            }
        }
        else
        {
            return false;
        }

        return true;
    }

    /// <summary>The pattern of dictionary keys of a type, as System.Text.Json reads them; null if the type cannot be a key.</summary>
    public static JsonObject? Key(Type type) =>
        s_formats.TryGetValue(type, out string? format) && type != typeof(Uri) ? new JsonObject { ["format"] = format }
        : s_patterns.TryGetValue(type, out string? pattern) ? new JsonObject { ["pattern"] = pattern }
        : type == typeof(bool) ? new JsonObject { ["enum"] = new JsonArray("True", "False") }
        : type == typeof(double) || type == typeof(float) || type == typeof(decimal) ? Pattern(@"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,12})?")
        : type == typeof(Half) ? Pattern(@"-?(?:0|[1-9][0-9]{0,3})(?:\.[0-9]{1,4})?")
        : s_ranges.TryGetValue(type, out (string Min, string Max) range) ? Pattern(DecimalRanges.Between(range.Min, range.Max))
        : null;

    /// <summary>Adds a pattern beside the one that the schema may have.</summary>
    public static void AddPattern(JsonObject schema, string pattern)
    {
        if (schema.TryAdd("pattern", pattern) || schema["pattern"]?.ToString() == pattern)
        {
            return;
        }

        if (schema["allOf"] is not JsonArray all)
        {
            schema["allOf"] = all = [];
        }

        all.Add((JsonNode)new JsonObject { ["pattern"] = pattern });
    }

    /// <summary>True if the keyword "type" of a schema allows a type.</summary>
    public static bool Allows(JsonObject schema, string type) =>
        schema["type"] is JsonArray types ? types.Any(name => name?.ToString() == type) : schema["type"] is null || schema["type"]!.ToString() == type;

    private static JsonObject Pattern(string pattern) => new() { ["pattern"] = Whole(pattern) };

    private static string Whole(string pattern) => "^(?:" + pattern + ")$";

    private static void NarrowNumber(JsonObject schema, string min, string max)
    {
        if (schema["type"] is JsonArray types && types.FirstOrDefault(static name => name?.ToString() == "string") is { } text && types.Count > 1)
        {
            // Numbers may be spelt as text too: one way of writing them is enough.
            types.Remove(text);
            schema.Remove("pattern");
        }

        foreach (JsonObject branch in (schema["anyOf"] as JsonArray ?? []).OfType<JsonObject>().Where(static branch => !branch.ContainsKey("enum")))
        {
            NarrowNumber(branch, min, max); // Beside the names of infinities.
        }

        if (!schema.ContainsKey("anyOf") && !schema.ContainsKey("enum") && (Allows(schema, "integer") || Allows(schema, "number")))
        {
            Tighten(schema, "minimum", "exclusiveMinimum", min, 1);
            Tighten(schema, "maximum", "exclusiveMaximum", max, -1);
        }
    }

    /// <summary>Gives the schema a bound of the type, unless it has a tighter one.</summary>
    private static void Tighten(JsonObject schema, string keyword, string exclusive, string bound, int direction)
    {
        foreach (string name in (string[])[keyword, exclusive])
        {
            if (schema[name] is JsonValue own)
            {
                if (!ExactDecimal.TryParse(own.ToString(), out ExactDecimal value) || value.CompareTo(ExactDecimal.Parse(bound)) * direction >= 0)
                {
                    return;
                }

                schema.Remove(name);
            }
        }

        schema[keyword] = JsonNode.Parse(bound);
    }

    /// <summary>Bytes are base64; lengths that attributes give count bytes.</summary>
    private static void NarrowBytes(JsonObject schema)
    {
        int min = Length(schema, "minLength") ?? 0, max = Length(schema, "maxLength") ?? -1;
        if (min == 0 && max < 0)
        {
            AddPattern(schema, Whole(Base64Text));
            return;
        }

        List<string> alternatives = [];
        for (int rest = 0; rest < 3; rest++)
        {
            // 3n + rest bytes.
            int least = Math.Max(0, (min - rest + 2) / 3), most = max < 0 ? -1 : (max - rest) / 3;
            if (max < 0 || (max >= rest && most >= least))
            {
                alternatives.Add($"(?:{Base64}{{4}}){{{least},{(most < 0 ? "" : most)}}}{(rest == 0 ? "" : rest == 1 ? OneByte : TwoBytes)}");
            }
        }

        if (alternatives.Count > 0)
        {
            schema.Remove("minLength");
            schema.Remove("maxLength");
            AddPattern(schema, Whole(string.Join('|', alternatives)));
        }
    }

    private static int? Length(JsonObject schema, string keyword) => schema[keyword] is JsonValue value && value.TryGetValue(out int length) ? length : null;
}
