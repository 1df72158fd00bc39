using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>Resolves references to schemas by RFC 3986 (5.2 and 6.2.2), also against a relative base, which the $id of a document may be.</summary>
internal static class UriReference
{
    /// <param name="baseUri">The base, without a fragment; may be empty.</param>
    /// <param name="reference">The reference, without a fragment.</param>
    public static string Resolve(string baseUri, string reference)
    {
        Parts b = Split(baseUri), r = Split(reference);
        if (r.Scheme is not null)
        {
            return Join(r with { Path = WithoutDots(r.Path) });
        }

        if (r.Authority is not null)
        {
            return Join(r with { Scheme = b.Scheme, Path = WithoutDots(r.Path) });
        }

        if (r.Path.Length == 0)
        {
            return Join(b with { Query = r.Query ?? b.Query });
        }

        string path = r.Path[0] == '/' ? r.Path
            : b.Authority is not null && b.Path.Length == 0 ? "/" + r.Path
            : b.Path[..(b.Path.LastIndexOf('/') + 1)] + r.Path;
        return Join(new Parts(b.Scheme, b.Authority, WithoutDots(path), r.Query));
    }

    private static Parts Split(string uri)
    {
        string? scheme = null, authority = null, query = null;
        int colon = uri.IndexOf(':');
        if (colon > 0 && char.IsAsciiLetter(uri[0]) && uri.AsSpan(0, colon).IndexOfAnyExcept("+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") < 0)
        {
            (scheme, uri) = (uri[..colon].ToLowerInvariant(), uri[(colon + 1)..]);
        }

        int question = uri.IndexOf('?');
        if (question >= 0)
        {
            (query, uri) = (uri[(question + 1)..], uri[..question]);
        }

        if (uri.StartsWith("//", StringComparison.Ordinal))
        {
            int end = uri.IndexOf('/', 2);
            (authority, uri) = end < 0 ? (uri[2..], "") : (uri[2..end], uri[end..]);
        }

        return new Parts(scheme, authority, uri, query);
    }

    private static string Join(Parts p)
    {
        string path = p.Path.Length == 0 && p.Authority is not null && p.Scheme is "http" or "https" ? "/" : p.Path;
        return (p.Scheme is null ? "" : p.Scheme + ":") + (p.Authority is null ? "" : "//" + p.Authority.ToLowerInvariant()) + Decoded(path) + (p.Query is null ? "" : "?" + Decoded(p.Query));
    }

    private static string WithoutDots(string path)
    {
        if (!path.Contains("./", StringComparison.Ordinal) && !path.EndsWith('.'))
        {
            return path;
        }

        List<string> kept = [];
        string[] segments = path.Split('/');
        for (int i = 0; i < segments.Length; i++)
        {
            bool last = i == segments.Length - 1;
            switch (segments[i])
            {
                case ".":
                    break;
                case "..":
                    if (kept.Count > 1 || (kept.Count == 1 && kept[0].Length > 0))
                    {
                        kept.RemoveAt(kept.Count - 1);
                    }

                    break;
                default:
                    kept.Add(segments[i]);
                    continue;
            }

            if (last)
            {
                kept.Add("");
            }
        }

        return string.Join('/', kept);
    }

    /// <summary>Normalised: escapes in capitals, and only where needed.</summary>
    private static string Decoded(string text)
    {
        if (!text.Contains('%'))
        {
            return text;
        }

        StringBuilder result = new();
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '%' && i + 2 < text.Length && byte.TryParse(text.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value))
            {
                result.Append(value < 128 && (char.IsAsciiLetterOrDigit((char)value) || "-._~".Contains((char)value)) ? ((char)value).ToString() : "%" + text.Substring(i + 1, 2).ToUpperInvariant());
                i += 2;
            }
            else
            {
                result.Append(text[i]);
            }
        }

        return result.ToString();
    }

    private readonly record struct Parts(string? Scheme, string? Authority, string Path, string? Query);
}
