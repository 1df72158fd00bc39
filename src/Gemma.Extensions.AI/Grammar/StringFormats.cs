namespace Gemma.Extensions.AI.Grammar;

/// <summary>The string formats of JSON Schema as expressions, one row a format.</summary>
internal static class StringFormats
{
    // The years of .NET, 1 to 9999.
    private const string Year = "(?:[1-9][0-9]{3}|0(?:[1-9][0-9]{2}|0(?:[1-9][0-9]|0[1-9])))";
    private const string Date = "(?:" + Year + @"-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)";
    private const string Offset = @"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))";
    private const string Time = @"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,12})?" + Offset;
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

    private const string Label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
    private const string Hostname = Label + @"(?:\." + Label + "){0,10}";
    private const string AtomText = @"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
    private const string Email = AtomText + @"(?:\." + AtomText + ")*@(?:" + Hostname + @"|\[" + Ipv4 + @"\])";
    private const string Pct = "%[0-9A-Fa-f]{2}";
    // The hyphen comes first, as these stand inside character classes.
    private const string Unreserved = @"-A-Za-z0-9._~!$&'()*+,;=";
    private const string Pchar = "(?:[" + Unreserved + ":@]|" + Pct + ")";
    private const string IUnreserved = Unreserved + @"\u00a0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef";
    private const string IPchar = "(?:[" + IUnreserved + ":@]|" + Pct + ")";
    private const string PointerToken = "(?:[^/~]|~[01])*";

    /// <summary>
    /// RFC 3339, 5321, 1123, 2673, 4291, 4122, 3986, 3987, 6901, as JSON Schema names them. Of dates and times it is what .NET reads, a subset: no year 0, no leap
    /// seconds, T and Z in capitals, offsets up to 14 hours. Lengths are bounded where a standard bounds them as a whole (hostnames).
    /// </summary>
    private static readonly Dictionary<string, string> s_patterns = new()
    {
        ["date"] = Date,
        ["time"] = Time,
        ["date-time"] = Date + "T" + Time,
        ["duration"] = "P(?:(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)(?:T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S))?|T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)|[0-9]+W)",
        ["email"] = Email,
        ["idn-email"] = "[^\\s@\"]+@[^\\s@\"]+",
        ["hostname"] = Hostname,
        ["ipv4"] = Ipv4,
        ["ipv6"] = Ipv6,
        ["uuid"] = "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
        ["uri"] = Uri(Unreserved, Pchar),
        ["uri-reference"] = "(?:" + Uri(Unreserved, Pchar) + "|" + Relative(Unreserved, Pchar) + ")",
        ["iri"] = Uri(IUnreserved, IPchar),
        ["iri-reference"] = "(?:" + Uri(IUnreserved, IPchar) + "|" + Relative(IUnreserved, IPchar) + ")",
        ["json-pointer"] = "(?:/" + PointerToken + ")*",
        ["relative-json-pointer"] = "(?:0|[1-9][0-9]*)(?:#|(?:/" + PointerToken + ")*)",
    };

    /// <summary>Formats of the standard that no automaton is given for.</summary>
    public static bool IsUnsupported(string format) => format is "idn-hostname" or "uri-template" or "regex";

    /// <summary>The expression of a format; null where the format asserts nothing (unknown names are annotations).</summary>
    public static Rx? TryGet(RxArena arena, string format) => s_patterns.TryGetValue(format, out string? pattern) ? EcmaRegex.Compile(arena, pattern, wholeText: true) : null;

    private static string Uri(string unreserved, string pchar) =>
        "[A-Za-z][A-Za-z0-9+.-]*:(?:" + Authority(unreserved) + "(?:/" + pchar + "*)*|/(?:" + pchar + "+(?:/" + pchar + "*)*)?|" + pchar + "+(?:/" + pchar + "*)*|)" + Tail(pchar);

    private static string Relative(string unreserved, string pchar) =>
        "(?:" + Authority(unreserved) + "(?:/" + pchar + "*)*|/(?:" + pchar + "+(?:/" + pchar + "*)*)?|(?:[" + unreserved + "@]|" + Pct + ")+(?:/" + pchar + "*)*|)" + Tail(pchar);

    private static string Authority(string unreserved) =>
        "//(?:(?:[" + unreserved + ":]|" + Pct + @")*@)?(?:\[(?:" + Ipv6 + @")\]|(?:[" + unreserved + "]|" + Pct + ")*)(?::[0-9]*)?";

    private static string Tail(string pchar) => @"(?:\?(?:" + pchar + @"|[/?])*)?(?:#(?:" + pchar + "|[/?])*)?";
}
