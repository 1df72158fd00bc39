using System.Globalization;
using System.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Rag;

/// <summary>A source that an answer cites.</summary>
/// <param name="Number">The number in the answer: [1].</param>
/// <param name="Chunk">The passage.</param>
public sealed record Citation(int Number, DocumentChunk Chunk)
{
    /// <summary>The document and the place in it: page, line, headings.</summary>
    public override string ToString() => $"[{Number.ToString(CultureInfo.InvariantCulture)}] {Place(Chunk)}";

    /// <summary>The citation as MEAI has it, with the places of its number in a text.</summary>
    internal CitationAnnotation ToAnnotation(string text)
    {
        string mark = $"[{Number.ToString(CultureInfo.InvariantCulture)}]";
        List<AnnotatedRegion> regions = [];
        for (int at = text.IndexOf(mark, StringComparison.Ordinal); at >= 0; at = text.IndexOf(mark, at + mark.Length, StringComparison.Ordinal))
        {
            regions.Add(new TextSpanAnnotatedRegion { StartIndex = at, EndIndex = at + mark.Length });
        }

        AdditionalPropertiesDictionary place = new() { ["number"] = Number };
        foreach ((string name, object? value) in (ReadOnlySpan<(string, object?)>)[("page", Chunk.Page), ("line", Chunk.Line), ("section", Chunk.Section)])
        {
            if (value is not null)
            {
                place[name] = value;
            }
        }

        return new CitationAnnotation
        {
            Title = Chunk.Title,
            FileId = Chunk.DocumentId,
            Url = Uri.TryCreate(Chunk.DocumentId, UriKind.Absolute, out Uri? url) ? url : null,
            Snippet = Chunk.Text,
            AnnotatedRegions = regions,
            AdditionalProperties = place,
        };
    }

    internal static string Place(DocumentChunk chunk)
    {
        StringBuilder text = new(chunk.DocumentId);
        if (chunk.Page is { } page)
        {
            text.Append(CultureInfo.InvariantCulture, $", page {page}");
        }

        if (chunk.Line is { } line)
        {
            text.Append(CultureInfo.InvariantCulture, $", line {line}");
        }

        if (chunk.Section is { } section)
        {
            text.Append(", ").Append(section);
        }

        return text.ToString();
    }
}
