using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Rag;

/// <summary>A source that an answer cites.</summary>
/// <param name="Number">The number in the answer: [1].</param>
/// <param name="Chunk">The passage.</param>
public sealed record Citation(int Number, DocumentChunk Chunk)
{
    /// <summary>The document and the place in it: page, line, headings.</summary>
    public override string ToString() => $"[{Number.ToString(CultureInfo.InvariantCulture)}] {Place(Chunk)}";

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
