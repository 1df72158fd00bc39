using System.Text;
using System.Text.RegularExpressions;
using AngleSharp.Text;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>
/// The encoding of a page: its byte order mark, the 'charset' of a meta element, the 'encoding' of an XML declaration, in this order as in the HTML standard;
/// a page that does not say is read as a text is.
/// </summary>
internal static partial class HtmlEncoding
{
    /// <summary>The standard lets browsers stop after 1,024 bytes; some pages have long comments or scripts before.</summary>
    private const int Looked = 65_536;

    public static string Decode(byte[] content)
    {
        if (content is [0xEF, 0xBB, 0xBF, ..] or [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..] or [0, 0, 0xFE, 0xFF, ..])
        {
            return DocumentReader.Decode(content);
        }

        // UTF-16 without a byte order mark begins with '<' as two bytes.
        Encoding? encoding = content switch
        {
            [(byte)'<', 0, not 0, 0, ..] => Encoding.Unicode,
            [0, (byte)'<', 0, not 0, ..] => Encoding.BigEndianUnicode,
            _ => Declared(Encoding.Latin1.GetString(content.AsSpan(0, Math.Min(content.Length, Looked)))),
        };
        return encoding is null ? DocumentReader.Decode(content) : encoding.GetString(content);
    }

    /// <summary>True if the page is XHTML, where elements may be self-closing.</summary>
    public static bool IsXml(string page) => page.AsSpan().TrimStart().StartsWith("<?xml", StringComparison.OrdinalIgnoreCase);

    private static Encoding? Declared(string beginning)
    {
        string page = Comment().Replace(beginning, " ");
        int body = page.IndexOf("<body", StringComparison.OrdinalIgnoreCase);
        page = body < 0 ? page : page[..body];
        return Meta().Match(page) is { Success: true } meta && Resolve(meta.Groups[1].Value) is { } named ? named
            : XmlDeclaration().Match(page) is { Success: true } declaration ? Resolve(declaration.Groups[1].Value)
            : null;
    }

    /// <summary>The encoding that browsers use for a label; null for one they don't know.</summary>
    private static Encoding? Resolve(string name)
    {
        name = name.Trim();
        Encoding? encoding = null;
        try
        {
            encoding = CodePagesEncodingProvider.Instance.GetEncoding(name) ?? Encoding.GetEncoding(name);
        }
        catch (ArgumentException)
        {
            encoding = TextEncoding.IsSupported(name) ? TextEncoding.Resolve(name) : null;
        }

        // Names of subsets stand for what contains them. A page whose declaration could be read is not in UTF-16, whatever it says.
        return encoding?.CodePage switch
        {
            null or 65000 => null,
            1200 or 1201 or 12000 or 12001 => Encoding.UTF8,
            20127 or 28591 => CodePagesEncodingProvider.Instance.GetEncoding(1252),
            28599 => CodePagesEncodingProvider.Instance.GetEncoding(1254),
            28601 => CodePagesEncodingProvider.Instance.GetEncoding(874),
            936 or 20936 => CodePagesEncodingProvider.Instance.GetEncoding(54936),
            _ => encoding,
        };
    }

    [GeneratedRegex("<!--.*?(-->|$)", RegexOptions.Singleline)]
    private static partial Regex Comment();

    [GeneratedRegex("""<meta\s[^>]*?charset\s*=\s*["']?\s*([^\s"'/>;]+)""", RegexOptions.IgnoreCase)]
    private static partial Regex Meta();

    [GeneratedRegex("""^\s*<\?xml\s[^>]*?encoding\s*=\s*["']([^"'>]+)["']""", RegexOptions.IgnoreCase)]
    private static partial Regex XmlDeclaration();
}
