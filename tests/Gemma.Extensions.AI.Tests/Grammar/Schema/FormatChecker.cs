using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Reads texts as the RFCs of JSON Schema's formats say, by hand: nothing here is shared with the expressions that generate them.</summary>
internal static class FormatChecker
{
    public static bool IsValid(string format, string text) => format switch
    {
        "date" => Date(text),
        "time" or "iso-time" => Time(text),
        "date-time" or "iso-date-time" => text.Length > 11 && text[10] is 'T' or 't' && Date(text[..10]) && Time(text[11..]),
        "duration" => Duration(text),
        "email" => Email(text, false),
        "idn-email" => Email(text, true),
        "hostname" => Hostname(text, false),
        "idn-hostname" => Hostname(text, true),
        "ipv4" => Ipv4(text),
        "ipv6" => Ipv6(text),
        "uuid" => text.Length == 36 && text.Select(static (c, i) => i is 8 or 13 or 18 or 23 ? c == '-' : char.IsAsciiHexDigit(c)).All(static ok => ok),
        "uri" => Uri(text, false, false),
        "uri-reference" => Uri(text, false, true),
        "iri" => Uri(text, true, false),
        "iri-reference" => Uri(text, true, true),
        "url" => text.Split("://") is ["http" or "https" or "ftp", ..] && Uri(text, false, false) && text.Split("://")[1].Split('/')[0].Split(':')[0] is var host && Hostname(host, false) && host.Contains('.'),
        "uri-template" => Template(text),
        "json-pointer" => Pointer(text),
        "json-pointer-uri-fragment" => text.StartsWith('#') && Characters(text[1..], "/", false) && Pointer(System.Uri.UnescapeDataString(text[1..])),
        "relative-json-pointer" => RelativePointer(text),
        "regex" => Regex(text),
        "byte" => text.All(static c => char.IsAsciiLetterOrDigit(c) || c is '+' or '/' or '=') && text.Length % 4 == 0 && Convert.TryFromBase64String(text, new byte[text.Length], out _),
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "No such format."),
    };

    private static bool Digits(string text, int length) => text.Length == length && text.All(char.IsAsciiDigit);

    private static int Number(string digits) => int.Parse(digits, CultureInfo.InvariantCulture);

    private static bool Date(string text)
    {
        string[] parts = text.Split('-');
        if (parts.Length != 3 || !Digits(parts[0], 4) || !Digits(parts[1], 2) || !Digits(parts[2], 2))
        {
            return false;
        }

        (int year, int month, int day) = (Number(parts[0]), Number(parts[1]), Number(parts[2]));
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        return month is >= 1 and <= 12 && day >= 1 && day <= (month == 2 ? leap ? 29 : 28 : month is 4 or 6 or 9 or 11 ? 30 : 31);
    }

    private static bool Time(string text)
    {
        if (text.Length < 9 || !Digits(text[..2], 2) || text[2] != ':' || !Digits(text[3..5], 2) || text[5] != ':' || !Digits(text[6..8], 2))
        {
            return false;
        }

        int i = 8;
        if (text[i] == '.')
        {
            int from = ++i;
            while (i < text.Length && char.IsAsciiDigit(text[i]))
            {
                i++;
            }

            if (i == from)
            {
                return false;
            }
        }

        string zone = text[i..];
        int offset = 0;
        if (zone is not ("Z" or "z"))
        {
            if (zone.Length != 6 || zone[0] is not ('+' or '-') || zone[3] != ':' || !Digits(zone[1..3], 2) || !Digits(zone[4..], 2) || Number(zone[1..3]) > 23 || Number(zone[4..]) > 59)
            {
                return false;
            }

            offset = (zone[0] == '-' ? -1 : 1) * ((Number(zone[1..3]) * 60) + Number(zone[4..]));
        }

        (int hour, int minute, int second) = (Number(text[..2]), Number(text[3..5]), Number(text[6..8]));
        return hour < 24 && minute < 60 && (second < 60 || (second == 60 && (((hour * 60) + minute - offset + 2880) % 1440) == 1439));
    }

    private static bool Duration(string text)
    {
        if (!text.StartsWith('P') || text.Length < 3)
        {
            return false;
        }

        if (text[^1] == 'W')
        {
            return text[1..^1].All(char.IsAsciiDigit);
        }

        string[] halves = text[1..].Split('T');
        return halves.Length <= 2 && (halves[0].Length == 0 ? halves.Length == 2 : Units(halves[0], "YMD")) && (halves.Length == 1 || Units(halves[1], "HMS"));

        // One after the other, none left out in between.
        static bool Units(string part, string units)
        {
            int last = -1, digits = 0;
            foreach (char c in part)
            {
                if (char.IsAsciiDigit(c))
                {
                    digits++;
                    continue;
                }

                int unit = units.IndexOf(c);
                if (unit < 0 || digits == 0 || (last >= 0 && unit != last + 1))
                {
                    return false;
                }

                (last, digits) = (unit, 0);
            }

            return last >= 0 && digits == 0;
        }
    }

    private static bool Hostname(string text, bool international)
    {
        int length = -1;
        foreach (string label in text.Split('.'))
        {
            bool encoded = label.Length > 3 && label[2] == '-' && label[3] == '-';
            int bytes = label.All(char.IsAscii) ? label.Length : 4 + PunycodeLength(label);
            length += bytes + 1;
            if (label.Length == 0 || bytes > 63 || label[0] == '-' || label[^1] == '-' || (encoded && !(label.StartsWith("xn--", StringComparison.OrdinalIgnoreCase) && label.Length > 4))
                || !label.EnumerateRunes().All(c => c.Value == '-' || (c.IsAscii ? char.IsAsciiLetterOrDigit((char)c.Value) : international && !IsUnstable(c.Value)
                    && Rune.GetUnicodeCategory(c) is UnicodeCategory.LowercaseLetter or UnicodeCategory.OtherLetter or UnicodeCategory.ModifierLetter or UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.DecimalDigitNumber)))
            {
                return false;
            }
        }

        return length <= 253;
    }

    /// <summary>RFC 5892, 2.2: letters that normalization (NFKC) makes others of: ligatures, letter-like, mathematical and wide forms.</summary>
    private static bool IsUnstable(int c) => c is (>= 0xFB00 and <= 0xFB17) or (>= 0xFF00 and <= 0xFFEF) or (>= 0x2100 and <= 0x214F) or (>= 0x1D400 and <= 0x1D7FF);

    /// <summary>RFC 3492, 6.3: the length of what follows "xn--".</summary>
    private static int PunycodeLength(string label)
    {
        int[] input = [.. label.EnumerateRunes().Select(static r => r.Value)];
        int n = 128, delta = 0, bias = 72, basic = input.Count(static c => c < 128), handled = basic, length = basic + (basic > 0 ? 1 : 0);
        while (handled < input.Length)
        {
            int next = input.Where(c => c >= n).Min();
            delta += (next - n) * (handled + 1);
            n = next;
            foreach (int c in input)
            {
                delta += c < n ? 1 : 0;
                if (c == n)
                {
                    int q = delta;
                    for (int k = 36; ; k += 36)
                    {
                        int t = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
                        length++;
                        if (q < t)
                        {
                            break;
                        }

                        q = (q - t) / (36 - t);
                    }

                    int d = handled == basic ? delta / 700 : delta / 2, steps = 0;
                    for (d += d / (handled + 1); d > 455; steps += 36)
                    {
                        d /= 35;
                    }

                    (bias, delta) = (steps + (36 * d / (d + 38)), 0);
                    handled++;
                }
            }

            delta++;
            n++;
        }

        return length;
    }

    private static bool Email(string text, bool international)
    {
        int at = text.LastIndexOf('@');
        if (at < 1 || at > 64 || text.Length > 254)
        {
            return false;
        }

        (string local, string domain) = (text[..at], text[(at + 1)..]);
        bool quoted = local.Length > 1 && local[0] == '"' && local[^1] == '"' && local[1..^1].Replace("\\\\", "").Replace("\\\"", "") is var inner && !inner.Contains('"') && !inner.Contains('\\') && inner.All(static c => c is >= ' ' and <= '~');
        bool dots = local.Split('.').All(atom => atom.Length > 0 && atom.EnumerateRunes().All(c => c.IsAscii ? char.IsAsciiLetterOrDigit((char)c.Value) || "!#$%&'*+-/=?^_`{|}~".Contains((char)c.Value) : international && !Rune.IsWhiteSpace(c) && !Rune.IsControl(c)));
        bool literal = domain.StartsWith('[') && domain.EndsWith(']') && (Ipv4(domain[1..^1]) || (domain.StartsWith("[IPv6:", StringComparison.Ordinal) && Ipv6(domain[6..^1])));
        return (quoted || dots) && (literal || Hostname(domain, international));
    }

    private static bool Ipv4(string text) => text.Split('.') is { Length: 4 } parts && parts.All(static p => p.Length is >= 1 and <= 3 && p.All(char.IsAsciiDigit) && (p.Length == 1 || p[0] != '0') && Number(p) < 256);

    private static bool Ipv6(string text)
    {
        int gap = text.IndexOf("::", StringComparison.Ordinal);
        if (gap < 0)
        {
            return Groups(text) == 8;
        }

        (string before, string after) = (text[..gap], text[(gap + 2)..]);
        int a = before.Length == 0 ? 0 : before.Contains('.') ? -1 : Groups(before), b = after.Length == 0 ? 0 : Groups(after);
        return a >= 0 && b >= 0 && a + b <= 7;

        static int Groups(string list)
        {
            string[] parts = list.Split(':');
            int count = 0;
            for (int i = 0; i < parts.Length; i++)
            {
                if (i == parts.Length - 1 && Ipv4(parts[i]))
                {
                    count += 2;
                }
                else if (parts[i].Length is >= 1 and <= 4 && parts[i].All(char.IsAsciiHexDigit))
                {
                    count++;
                }
                else
                {
                    return -1;
                }
            }

            return count;
        }
    }

    /// <summary>Unreserved and sub-delims, what is given more, and whole escapes.</summary>
    private static bool Characters(string text, string more, bool international)
    {
        Rune[] runes = [.. text.EnumerateRunes()];
        for (int i = 0; i < runes.Length; i++)
        {
            int c = runes[i].Value;
            if (c == '%')
            {
                if (i + 2 >= runes.Length || !char.IsAsciiHexDigit((char)runes[i + 1].Value) || !char.IsAsciiHexDigit((char)runes[i + 2].Value))
                {
                    return false;
                }

                i += 2;
            }
            else if (c < 128 ? !char.IsAsciiLetterOrDigit((char)c) && !("-._~!$&'()*+,;=:@" + more).Contains((char)c) : !international || c is < 0xA0 or (>= 0xE000 and < 0xF900) or (>= 0xFDD0 and < 0xFDF0) or (>= 0xFFF0 and < 0x10000))
            {
                return false;
            }
        }

        return true;
    }

    private static bool Uri(string text, bool international, bool relative)
    {
        int hash = text.IndexOf('#');
        if (hash >= 0 && !Characters(text[(hash + 1)..], "/?", international))
        {
            return false;
        }

        text = hash < 0 ? text : text[..hash];
        int question = text.IndexOf('?');
        if (question >= 0 && !Characters(text[(question + 1)..], "/?", international))
        {
            return false;
        }

        text = question < 0 ? text : text[..question];
        int colon = text.IndexOf(':'), slash = text.IndexOf('/');
        if (colon > 0 && (slash < 0 || colon < slash) && char.IsAsciiLetter(text[0]) && text[..colon].All(static c => char.IsAsciiLetterOrDigit(c) || c is '+' or '-' or '.'))
        {
            text = text[(colon + 1)..];
        }
        else if (!relative || (colon >= 0 && (slash < 0 || colon < slash) && !text.StartsWith("//", StringComparison.Ordinal)))
        {
            return false;
        }

        if (!text.StartsWith("//", StringComparison.Ordinal))
        {
            return Characters(text, "/", international);
        }

        int end = text.IndexOf('/', 2);
        string authority = end < 0 ? text[2..] : text[2..end];
        int at = authority.LastIndexOf('@');
        string host = authority[(at + 1)..];
        int port = host.LastIndexOf(':') is var p && p > host.LastIndexOf(']') ? p : -1;
        if (port >= 0 && !host[(port + 1)..].All(char.IsAsciiDigit))
        {
            return false;
        }

        host = port < 0 ? host : host[..port];
        return (at < 0 || (Characters(authority[..at], "", international) && !authority[..at].Contains('@')))
            && (host.StartsWith('[') ? host.EndsWith(']') && Ipv6(host[1..^1]) : Characters(host, "", international) && !host.Contains(':') && !host.Contains('@'))
            && (end < 0 || Characters(text[end..], "/", international));
    }

    private static bool Template(string text)
    {
        int i = 0;
        while (i < text.Length)
        {
            if (text[i] == '{')
            {
                int end = text.IndexOf('}', i);
                if (end < 0 || !Expression(text[(i + 1)..end]))
                {
                    return false;
                }

                i = end + 1;
                continue;
            }

            if (text[i] == '%' ? i + 2 >= text.Length || !char.IsAsciiHexDigit(text[i + 1]) || !char.IsAsciiHexDigit(text[i + 2]) : text[i] <= ' ' || text[i] == 127 || "\"'<>\\^`|}".Contains(text[i]))
            {
                return false;
            }

            i++;
        }

        return true;

        static bool Expression(string inside) => inside.Length > 0 && ("+#./;?&".Contains(inside[0]) ? inside[1..] : inside).Split(',').All(static v => Variable(v));

        static bool Variable(string v)
        {
            int colon = v.IndexOf(':');
            if (colon >= 0 && (v[(colon + 1)..] is not { Length: >= 1 and <= 4 } max || !max.All(char.IsAsciiDigit) || max[0] == '0'))
            {
                return false;
            }

            string name = colon >= 0 ? v[..colon] : v.EndsWith('*') ? v[..^1] : v;
            return name.Split('.').All(static part => part.Length > 0 && Characters(part, "", false) && part.All(static c => char.IsAsciiLetterOrDigit(c) || c is '_' or '%'));
        }
    }

    private static bool Pointer(string text) => text.Length == 0 || (text[0] == '/' && !text.Replace("~0", "").Replace("~1", "").Contains('~'));

    private static bool RelativePointer(string text)
    {
        int digits = text.TakeWhile(char.IsAsciiDigit).Count();
        return digits > 0 && (digits == 1 || text[0] != '0') && (text[digits..] == "#" || Pointer(text[digits..]));
    }

    private static bool Regex(string text)
    {
        try
        {
            _ = new System.Text.RegularExpressions.Regex(text);
            return true;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }
}
