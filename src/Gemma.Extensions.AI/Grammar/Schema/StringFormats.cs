using Gemma.Extensions.AI.Grammar.DotNet;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>The string formats of JSON Schema as expressions, one row a format.</summary>
internal static class StringFormats
{
    // The years of .NET, 1 to 9999.
    private const string Year = "(?:[1-9][0-9]{3}|0(?:[1-9][0-9]{2}|0(?:[1-9][0-9]|0[1-9])))";
    private const string InnerYear = "(?:[1-8][0-9]{3}|9(?:[0-8][0-9]{2}|9(?:[0-8][0-9]|9[0-8]))|0(?:[1-9][0-9]{2}|0(?:[1-9][0-9]|0[2-9])))";
    private const string Days = @"-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))";
    private const string LeapDay = @"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29";
    private const string Date = "(?:" + Year + Days + "|" + LeapDay + ")";
    private const string Offset = @"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))";
    private const string LocalTime = @"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,12})?";
    private const string Time = LocalTime + Offset;

    // An offset on the first or last day that there is could lead out of them.
    private const string DateTime = "(?:" + Date + "T" + LocalTime + "Z|(?:" + InnerYear + Days + "|" + LeapDay + ")T" + Time + ")";
    private const string Octet = @"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    private const string Ipv4 = Octet + @"(?:\." + Octet + "){3}";
    private const string H16 = "[0-9A-Fa-f]{1,4}";
    private const string Ls32 = "(?:" + H16 + ":" + H16 + "|" + Ipv4 + ")";
    private const string Ipv6 =
        "(?:(?:" + H16 + ":){6}" + Ls32
        + "|::(?:" + H16 + ":){5}" + Ls32
        + "|(?:" + H16 + ")?::(?:" + H16 + ":){4}" + Ls32
        + "|(?:(?:" + H16 + ":){0,1}" + H16 + ")?::(?:" + H16 + ":){3}" + Ls32
        + "|(?:(?:" + H16 + ":){0,2}" + H16 + ")?::(?:" + H16 + ":){2}" + Ls32
        + "|(?:(?:" + H16 + ":){0,3}" + H16 + ")?::" + H16 + ":" + Ls32
        + "|(?:(?:" + H16 + ":){0,4}" + H16 + ")?::" + Ls32
        + "|(?:(?:" + H16 + ":){0,5}" + H16 + ")?::" + H16
        + "|(?:(?:" + H16 + ":){0,6}" + H16 + ")?::)";

    // No two hyphens in a row: "ab--" begins the encoded form of an international label (RFC 5891), which few of them are.
    private const string Label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
    private const string Hostname = @"(?!.*--)(?=.{1,253}$)" + Label + @"(?:\." + Label + ")*";

    // Letters of scripts written from left to right that RFC 5892 allows in labels, as few as are within 63 bytes in any encoding.
    private const string IdnCharacter = @"[a-z0-9\u00df-\u00f6\u00f8-\u00ff\u03b1-\u03c9\u0430-\u044f\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3]";
    private const string IdnLabel = IdnCharacter + "(?:-?" + IdnCharacter + "){0,10}";
    private const string IdnHostname = IdnLabel + @"(?:\." + IdnLabel + "){0,3}";

    private const string AtomCharacter = @"A-Za-z0-9!#$%&'*+/=?^_`{|}~-";
    private const string Email = @"(?!.*@.*--)(?=[^@]{1,64}@)(?=.{1,254}$)[" + AtomCharacter + @"]+(?:\.[" + AtomCharacter + "]+)*@(?:" + Label + @"\.)+" + Label;
    private const string IdnAtom = @"[\u00c0-\u024f\u0391-\u03a1\u03a3-\u03c9\u0400-\u045f\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3" + AtomCharacter + "]";
    private const string IdnEmail = IdnAtom + "{1,12}(?:[.]" + IdnAtom + "{1,8})?@" + IdnLabel + @"(?:\." + IdnLabel + "){1,3}";
    private const string Pct = "%[0-9A-Fa-f]{2}";
    // The hyphen comes first, as these stand inside character classes.
    private const string Unreserved = @"-A-Za-z0-9._~!$&'()*+,;=";
    private const string Pchar = "(?:[" + Unreserved + ":@]|" + Pct + ")";
    private const string IUnreserved = Unreserved + @"\u00a0-\u200d\u2010-\u2027\u2030-\u205f\u2070-\ud7ff\uf900-\ufdcf\ufdf0-\uffef";
    private const string IPchar = "(?:[" + IUnreserved + ":@]|" + Pct + ")";
    private const string PointerToken = "(?:[^/~]|~[01])*";

    private const string Count = "[0-9]{1,9}";
    private const string DurationTime = "T(?:" + Count + "H(?:" + Count + "M(?:" + Count + "S)?)?|" + Count + "M(?:" + Count + "S)?|" + Count + "S)";
    private const string Duration = "P(?:(?:" + Count + "Y(?:" + Count + "M(?:" + Count + "D)?)?|" + Count + "M(?:" + Count + "D)?|" + Count + "D)(?:" + DurationTime + ")?|" + DurationTime + "|" + Count + "W)";

    private const string TemplateVariable = "(?:[A-Za-z0-9_]|" + Pct + ")+(?::[1-9][0-9]{0,3}|[*])?";
    private const string UriTemplate = @"(?:[-A-Za-z0-9._~:/?#\[\]@!$&()*+,;=\u00a1-\u00ff\u0370-\u03ff\u0400-\u04ff\u3041-\u30ff\u4e00-\u9fff\uac00-\ud7a3]|" + Pct + "|[{][+#./;?&]?" + TemplateVariable + "(?:," + TemplateVariable + ")*[}])*";

    private const string UrlTail = @"(?:\?(?:" + Pchar + @"|[/?])*)?(?:#(?:" + Pchar + "|[/?])*)?";
    private const string UrlLabel = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
    private const string Url = "(?!.*--)(?:https?|ftp)://(?:" + UrlLabel + @"\.){1,3}[a-z]{2,24}(?::[1-9][0-9]{1,4})?(?:(?:/" + Pchar + "*)+" + UrlTail + ")?";

    // Expressions that mean the same with and without the flags u and v: characters, classes, assertions and quantifiers, in groups of two levels.
    private const string RegexQuantifier = "(?:(?:[*+?]|[{](?:[0-9]{1,2},?|[0-9],[1-9][0-9])[}])[?]?)?";
    private const string RegexCharacter = @"(?:[A-Za-z0-9 _,:;<>=!@#%&~""'-]|[.]|\\[dDwWsSfnrtv^$.*+?()\[\]{}|/\\]|\[\^?(?:a-z|A-Z|0-9|[A-Za-z0-9_ ]|\\[dDwWsSnrt\\\]\[^-])+\])" + RegexQuantifier;
    private const string RegexAssertion = @"[\^$]|\\[bB]";
    private const string RegexInner = "(?:" + RegexCharacter + "|" + RegexAssertion + "|[|])*";
    private const string RegexGroup = @"[(](?:[?]:)?" + RegexInner + "[)]" + RegexQuantifier + "|[(][?][=!]" + RegexInner + "[)]";
    private const string RegexOuter = "(?:" + RegexCharacter + "|" + RegexAssertion + "|[|]|" + RegexGroup + ")*";
    private const string Regex = "(?:" + RegexCharacter + "|" + RegexAssertion + "|[|]|" + RegexGroup + "|[(](?:[?]:)?" + RegexOuter + "[)]" + RegexQuantifier + ")*";

    /// <summary>
    /// The generated texts of each format of JSON Schema and OpenAPI: those that its RFC (3339, 5321, 6531, 1123, 5890, 2673, 4291, 9562, 3986, 3987, 6570, 6901, 4648)
    /// and the usual validators accept, not all that exist. Dates and times are limited to those that .NET reads: no year 0, no leap seconds, T and Z in capitals, offsets up to
    /// 14 hours, a "time" without an offset unless RFC 3339 is asked for. Domains of addresses have two labels or more, no label two hyphens in a row.
    /// </summary>
    private static readonly Dictionary<string, string> s_patterns = new()
    {
        ["date"] = Date,
        ["time"] = Time,
        ["iso-time"] = Time,
        ["date-time"] = DateTime,
        ["iso-date-time"] = DateTime,
        ["duration"] = Duration,
        ["email"] = Email,
        ["idn-email"] = IdnEmail,
        ["hostname"] = Hostname,
        ["idn-hostname"] = IdnHostname,
        ["ipv4"] = Ipv4,
        ["ipv6"] = Ipv6,
        ["uuid"] = "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
        ["uri"] = Uri(Unreserved, Pchar),
        ["uri-reference"] = "(?:" + Uri(Unreserved, Pchar) + "|" + Relative(Unreserved, Pchar) + ")",
        ["iri"] = Uri(IUnreserved, IPchar),
        ["iri-reference"] = "(?:" + Uri(IUnreserved, IPchar) + "|" + Relative(IUnreserved, IPchar) + ")",
        ["uri-template"] = UriTemplate,
        ["url"] = Url,
        ["json-pointer"] = "(?:/" + PointerToken + ")*",
        ["json-pointer-uri-fragment"] = "#(?:/(?:[A-Za-z0-9_.!$&'()*+,;:=@-]|" + Pct + "|~[01])*)*",
        ["relative-json-pointer"] = "(?:0|[1-9][0-9]{0,5})(?:#|(?:/" + PointerToken + ")*)",
        ["regex"] = Regex,
        ["byte"] = DotNetScalars.Base64Text,
    };

    private const string Clock = "[0-9]{1,2}:[0-9]{1,2}[^]*";

    // Validators without the tables of Unicode take these formats for annotations.
    private const string Anything = "[^]*";

    /// <summary>For each format, texts around all of its own, also around those that are left out and those that only some validators accept.</summary>
    private static readonly Dictionary<string, string> s_wide = new()
    {
        ["date"] = "[0-9+-]{4,9}-[0-9]{1,2}-[0-9]{1,2}",
        ["time"] = Clock,
        ["iso-time"] = Clock,
        ["date-time"] = "[0-9+-]{4,9}-[0-9]{1,2}-[0-9]{1,2}[^0-9]" + Clock,
        ["iso-date-time"] = "[0-9+-]{4,9}-[0-9]{1,2}-[0-9]{1,2}[^0-9]" + Clock,
        ["duration"] = "[Pp+-][^]*",
        ["email"] = "[^]*@[^]*",
        ["idn-email"] = Anything,
        ["hostname"] = "[A-Za-z0-9._-]*",
        ["idn-hostname"] = Anything,
        ["ipv4"] = "[0-9a-fA-FxX.]*",
        ["ipv6"] = "[^]*:[^]*",
        ["uuid"] = "[^]*[0-9A-Fa-f]{8}[^]*",
        ["uri"] = "[^]*:[^]*",
        ["iri"] = Anything,
        ["url"] = "[^]*:[^]*",
        ["uri-reference"] = @"[^ <>{}|^`\\]*",
        ["iri-reference"] = Anything,
        ["uri-template"] = "(?![^}]*[{][^}]*$)[^]*",
        ["json-pointer"] = "(?:/[^]*)?",
        ["json-pointer-uri-fragment"] = "#[^]*",
        ["relative-json-pointer"] = "[0-9][^]*",
        ["regex"] = "(?![*+?)])[^]*",
        ["byte"] = @"[A-Za-z0-9+/=_\s-]*|[^]*[\n\r\u2028\u2029][^]*", // Some look at a line of it.
    };

    /// <summary>The formats that are enforced; others are annotations.</summary>
    public static IEnumerable<string> Names => s_patterns.Keys;

    /// <summary>The expression of a format; null where the format asserts nothing (unknown names are annotations).</summary>
    /// <param name="arena">Holds the expression.</param>
    /// <param name="format">The name of the format.</param>
    /// <param name="rfc3339Times">True for a "time" with an offset, as in RFC 3339; false for one without, as .NET reads a <see cref="TimeOnly"/>.</param>
    public static RegexTerm? TryGet(RegexArena arena, string format, bool rfc3339Times) =>
        format == "time" && !rfc3339Times ? EcmaRegex.Compile(arena, DotNetScalars.Time, wholeText: true)
        : s_patterns.TryGetValue(format, out string? pattern) ? EcmaRegex.Compile(arena, pattern, wholeText: true)
        : null;

    /// <summary>An over-approximation of a format: every text that some validator accepts. Null for names that are annotations.</summary>
    public static RegexTerm? TryGetWide(RegexArena arena, string format) => s_wide.TryGetValue(format, out string? pattern) ? EcmaRegex.Compile(arena, pattern, wholeText: true) : null;

    private static string Uri(string unreserved, string pchar) =>
        "[A-Za-z][A-Za-z0-9+.-]*:(?:" + Authority(unreserved) + "(?:/" + pchar + "*)*|/(?:" + pchar + "+(?:/" + pchar + "*)*)?|" + pchar + "+(?:/" + pchar + "*)*)" + Tail(pchar);

    private static string Relative(string unreserved, string pchar) =>
        "(?:" + Authority(unreserved) + "(?:/" + pchar + "*)*|/(?:" + pchar + "+(?:/" + pchar + "*)*)?|(?:[" + unreserved + "@]|" + Pct + ")+(?:/" + pchar + "*)*|)" + Tail(pchar);

    private static string Authority(string unreserved) =>
        "//(?:(?:[" + unreserved + ":]|" + Pct + @")*@)?(?:\[(?:" + Ipv6 + @")\]|(?:[" + unreserved + "]|" + Pct + ")*)(?::[0-9]{0,5})?";

    private static string Tail(string pchar) => @"(?:\?(?:" + pchar + @"|[/?])*)?(?:#(?:" + pchar + "|[/?])*)?";
}
