using System.Globalization;
using System.Text.Json;
using Json.Schema;

namespace Gemma.Extensions.AI.Benchmarks.Schemas;

/// <summary>
/// JsonSchema.Net 8.0.5 on draft 2020-12, formats asserted: an oracle that shares nothing with our grammar. Where it departs from the specification,
/// <see cref="Departure"/> says so.
/// </summary>
internal sealed class NetValidator
{
    /// <summary>Lengths are counted in what a reader sees as one character.</summary>
    public const string TextElements = "minLength and maxLength count text elements; Validation 6.3.1 and 6.3.2 count characters (RFC 8259: code points)";

    /// <summary>Expressions are .NET's.</summary>
    public const string DotNetExpressions =
        "patterns are .NET's, which read UTF-16 code units, let $ match before a final line feed and . match carriage returns, and know other white space; Core 6.4 has ECMA-262 with flag u";

    /// <summary>Schemes are more than one letter.</summary>
    public const string DriveLetters = "a URI or IRI with a scheme of one letter is taken for a path of Windows; RFC 3986 3.1, to which Validation 7.3.5 refers, allows it";

    /// <summary>Domains are those that are in use.</summary>
    public const string TopLevelDomains = "an email's last label has two letters or more; RFC 5321 4.1.2, to which Validation 7.3.2 refers, allows any sub-domain there";

    /// <summary>Numbers are compared as decimals.</summary>
    public const string LargeNumbers = "enum, const and uniqueItems throw on numbers beyond the range of decimal; Validation 6.1.2, 6.1.3 and 6.4.3 compare any numbers";

    /// <summary>Numbers within items are compared as they are spelled.</summary>
    public const string SpelledNumbers = "uniqueItems takes [1] and [1.0] for different items; Core 4.2.2 compares numbers by their value wherever they are";

    private static readonly EvaluationOptions s_options = new() { RequireFormatValidation = true, OutputFormat = OutputFormat.Flag };

    private readonly JsonSchema _schema;

    /// <exception cref="JsonSchemaException">The schema is malformed, in the eyes of JsonSchema.Net.</exception>
    public NetValidator(JsonElement schema) => _schema = JsonSchema.Build(schema, new BuildOptions { SchemaRegistry = new SchemaRegistry(), Dialect = Dialect.Draft202012 });

    /// <summary>Its verdict; no where it throws.</summary>
    public bool IsValid(JsonElement document)
    {
        try
        {
            return _schema.Evaluate(document, s_options).IsValid;
        }
        catch (FormatException)
        {
            return false;
        }
    }

    /// <summary>In what JsonSchema.Net may judge a document otherwise than the specification does; null where nothing is known of that.</summary>
    /// <param name="document">The document.</param>
    /// <param name="keywords">The keywords of the schema.</param>
    public static string? Departure(JsonElement document, IReadOnlySet<string> keywords)
    {
        bool lengths = keywords.Contains("minLength") || keywords.Contains("maxLength"), expressions = keywords.Contains("pattern") || keywords.Contains("patternProperties"), emails = keywords.Contains("format");
        string? found = (keywords.Contains("enum") || keywords.Contains("const") || keywords.Contains("uniqueItems")) && HasLargeNumber(document) ? LargeNumbers : null;
        found ??= keywords.Contains("uniqueItems") && HasNumberSpelledOtherwise(document) ? SpelledNumbers : null;
        foreach (string text in Texts(document))
        {
            found ??= lengths && new StringInfo(text).LengthInTextElements != text.EnumerateRunes().Count() ? TextElements
                : expressions && text.Any(static c => c is '\n' or '\r' or > '\u007f' && (char.IsSurrogate(c) || char.IsWhiteSpace(c) || c is '\u2028' or '\u2029' or '\ufeff')) ? DotNetExpressions
                : emails && text.Length > 1 && char.IsAsciiLetter(text[0]) && text[1] == ':' ? DriveLetters
                : emails && text.LastIndexOf('@') is >= 0 and int at && text[(Math.Max(at, text.LastIndexOf('.')) + 1)..] is var last && (last.Length < 2 || !last.All(char.IsAsciiLetter)) ? TopLevelDomains
                : null;
        }

        return found;
    }

    private static bool HasLargeNumber(JsonElement document) => document.ValueKind switch
    {
        JsonValueKind.Number => !document.TryGetDecimal(out _),
        JsonValueKind.Array => document.EnumerateArray().Any(HasLargeNumber),
        JsonValueKind.Object => document.EnumerateObject().Any(static p => HasLargeNumber(p.Value)),
        _ => false,
    };

    private static bool HasNumberSpelledOtherwise(JsonElement document) => document.ValueKind switch
    {
        JsonValueKind.Number => document.GetRawText() is var raw && raw.AsSpan().IndexOfAny('e', 'E') >= 0 || (raw.Contains('.', StringComparison.Ordinal) && raw.EndsWith('0')) || raw == "-0",
        JsonValueKind.Array => document.EnumerateArray().Any(HasNumberSpelledOtherwise),
        JsonValueKind.Object => document.EnumerateObject().Any(static p => HasNumberSpelledOtherwise(p.Value)),
        _ => false,
    };

    private static IEnumerable<string> Texts(JsonElement document) => document.ValueKind switch
    {
        JsonValueKind.String => [document.GetString()!],
        JsonValueKind.Array => document.EnumerateArray().SelectMany(Texts),
        JsonValueKind.Object => document.EnumerateObject().SelectMany(static p => Texts(p.Value).Prepend(p.Name)),
        _ => [],
    };
}
