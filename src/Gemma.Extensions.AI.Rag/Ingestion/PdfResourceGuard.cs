using System.Globalization;
using UglyToad.PdfPig;
using UglyToad.PdfPig.Core;
using UglyToad.PdfPig.Tokens;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>
/// Looks at the colours, functions, patterns and fonts of a page before the parser follows them: they have an end, a depth, and no more widths than a font has characters.
/// </summary>
internal sealed class PdfResourceGuard(PdfDocument document, PdfGuard guard)
{
    /// <summary>Deepest nesting of what describes a colour or a font, and braces in a function; real ones are below ten.</summary>
    private const int Deepest = 64;

    /// <summary>Most parts of all resources of a page, each counted as often as it is referred to, and most characters that a font gives widths of.</summary>
    private const double MaxParts = 5_000_000;

    private const long MaxWidths = 1_000_000;

    private static readonly string[] s_kinds = ["ColorSpace", "Pattern", "Shading", "ExtGState", "XObject", "Font"];

    /// <summary>Keys that lead up, or to contents that are measured by themselves.</summary>
    private static readonly HashSet<string> s_up = ["Parent", "P", "Resources", "Prev", "Next", "Dest", "A", "OC", "CharProcs", "PieceInfo", "StructParent", "StructParents", "Metadata"];

    private readonly Dictionary<IndirectReference, double> _known = [];
    private readonly HashSet<IndirectReference> _path = [];

    /// <exception cref="GemmaRagException">The parser must not follow them.</exception>
    public void Check(DictionaryToken resources)
    {
        double parts = 0;
        foreach (string kind in s_kinds)
        {
            // By names of the page's own choice, which may be those of keys that lead up.
            foreach (IToken value in Resolve(resources, kind) is DictionaryToken named ? named.Data.Values : [])
            {
                parts += Count(value, 0);
                Check(parts);
            }
        }
    }

    private double Count(IToken? token, int depth)
    {
        guard.CancellationToken.ThrowIfCancellationRequested();
        if (depth > Deepest)
        {
            throw guard.Exceeded($"has colours, functions or fonts that nest more than {Deepest} deep");
        }

        switch (token)
        {
            case IndirectReferenceToken reference:
                if (_known.TryGetValue(reference.Data, out double known))
                {
                    return known;
                }

                if (!_path.Add(reference.Data))
                {
                    throw guard.Exceeded("has a colour, function, pattern or font that refers to itself");
                }

                double parts = Count(document.Structure.TokenScanner.Get(reference.Data)?.Data, depth + 1);
                _path.Remove(reference.Data);
                return _known[reference.Data] = parts;
            case ArrayToken array:
                return Sum(array.Data, depth);
            case DictionaryToken dictionary:
                CheckWidths(dictionary);
                return Sum(dictionary.Data.Where(static member => !s_up.Contains(member.Key)).Select(static member => member.Value), depth);
            case StreamToken stream:
                CheckFunction(stream);
                return Count(stream.StreamDictionary, depth + 1);
            default:
                return 1;
        }
    }

    private double Sum(IEnumerable<IToken> tokens, int depth)
    {
        double parts = 1;
        foreach (IToken token in tokens)
        {
            parts += Count(token, depth + 1);
            Check(parts);
        }

        return parts;
    }

    private void Check(double parts)
    {
        if (parts > MaxParts)
        {
            throw guard.Exceeded(string.Create(CultureInfo.InvariantCulture, $"has colours, functions and fonts of more than {MaxParts:N0} parts"));
        }
    }

    /// <summary>Functions in PostScript (PDF, 7.10.5) nest by braces.</summary>
    private void CheckFunction(StreamToken stream)
    {
        if (Resolve(stream.StreamDictionary, "FunctionType") is not NumericToken { Int: 4 })
        {
            return;
        }

        int depth = 0;
        foreach (byte c in stream.Decode(document.Structure.FilterProvider, document.Structure.TokenScanner).Span)
        {
            depth += c == '{' ? 1 : c == '}' ? -1 : 0;
            if (depth > Deepest)
            {
                throw guard.Exceeded($"has a function that nests more than {Deepest} deep");
            }
        }
    }

    /// <summary>Widths by range (PDF, 9.7.4.3): first, last and the width, in /W2 three numbers; or first and the widths one by one.</summary>
    private void CheckWidths(DictionaryToken font)
    {
        foreach ((string key, int numbers) in (ReadOnlySpan<(string, int)>)[("W", 3), ("W2", 5)])
        {
            if (Resolve(font, key) is not ArrayToken array)
            {
                continue;
            }

            double characters = 0;
            for (int i = 0; i + 2 < array.Length;)
            {
                if (Resolve(array[i + 1]) is NumericToken last && Resolve(array[i]) is NumericToken first)
                {
                    characters += Math.Max(0, last.Double - first.Double);
                    i += numbers;
                }
                else
                {
                    i += 2;
                }
            }

            if (characters > MaxWidths)
            {
                throw guard.Exceeded(string.Create(CultureInfo.InvariantCulture, $"has a font that gives the widths of more than {MaxWidths:N0} characters"));
            }
        }
    }

    private IToken? Resolve(DictionaryToken dictionary, string key) => dictionary.Data.TryGetValue(key, out IToken? token) ? Resolve(token) : null;

    private IToken? Resolve(IToken token) => token is IndirectReferenceToken reference ? document.Structure.TokenScanner.Get(reference.Data)?.Data : token;
}
