using System.Text;
using System.Text.RegularExpressions;
using Microsoft.ML.Tokenizers;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>A passage and where it begins.</summary>
internal sealed record Chunk(string Text, int Tokens, IReadOnlyList<string> Section, int? Page, int? Line);

/// <summary>
/// Packs blocks into passages. A passage ends before a new section or a block that no longer fits, once it has the least size; inside a block it
/// ends between sentences, and where a sentence alone is too long, between words.
/// </summary>
internal sealed partial class Chunker(Tokenizer tokenizer, int maxTokens, int minTokens, int overlapTokens)
{
    /// <summary>A piece that is never split, with the separator before it.</summary>
    private sealed record Unit(string Text, string Separator, int Tokens, DocumentBlock Block);

    public IReadOnlyList<Chunk> Split(ParsedDocument document, string title)
    {
        List<Chunk> chunks = [];
        List<Unit> open = [];
        int tokens = 0, budget = 0, carried = 0;
        IReadOnlyList<string>? section = null;
        foreach (DocumentBlock block in document.Blocks)
        {
            List<Unit> units = Units(block, Budget(title, block.Section));
            int size = units.Sum(u => u.Tokens);
            bool newSection = section is not null && !section.SequenceEqual(block.Section);
            if (open.Count > carried && tokens >= minTokens && (newSection || tokens + size > budget))
            {
                Close(newSection);
            }
            else if (newSection && open.Count == carried)
            {
                // What was carried over belongs to the section that has ended.
                open.Clear();
                tokens = carried = 0;
            }
            else if (newSection)
            {
                // Small sections share a passage; the inner heading is kept in the text.
                string heading = block.Section.Count > 0 ? block.Section[^1] : "";
                int headed = units[0].Tokens + Count(heading);
                if (heading.Length > 0 && tokens + headed <= budget)
                {
                    units[0] = units[0] with { Text = $"{heading}\n{units[0].Text}", Tokens = headed };
                }
            }

            if (open.Count == 0)
            {
                section = block.Section;
                budget = Budget(title, section);
            }

            foreach (Unit unit in units)
            {
                if (open.Count > carried && tokens + unit.Tokens > budget)
                {
                    Close(newSection: false);
                    section = block.Section;
                    budget = Budget(title, section);
                }

                while (open.Count > 0 && open.Count == carried && tokens + unit.Tokens > budget)
                {
                    tokens -= open[0].Tokens;
                    open.RemoveAt(0);
                    carried--;
                }

                open.Add(unit);
                tokens += unit.Tokens;
            }
        }

        if (open.Count > carried)
        {
            Close(newSection: true);
        }

        return chunks;

        void Close(bool newSection)
        {
            StringBuilder text = new(Heading(title, section!));
            foreach (Unit unit in open)
            {
                text.Append(text.Length == 0 ? "" : unit == open[0] ? "\n" : unit.Separator).Append(unit.Text);
            }

            string whole = text.ToString();

            // The place is where the new text begins, not the repeated end of the passage before.
            DocumentBlock place = open[Math.Min(carried, open.Count - 1)].Block;
            chunks.Add(new Chunk(whole, Count(whole), section!, place.Page, place.Line));

            int keep = open.Count;
            int kept = 0;
            while (!newSection && keep > 1 && kept + open[keep - 1].Tokens <= overlapTokens)
            {
                kept += open[--keep].Tokens;
            }

            open.RemoveRange(0, keep);
            tokens = kept;
            carried = open.Count;
        }
    }

    /// <summary>Title and headings, the first line of every passage of the section: words that the passage itself need not repeat.</summary>
    private static string Heading(string title, IReadOnlyList<string> section) =>
        string.Join(" > ", section.Prepend(title).Where(s => s.Length > 0).Distinct(StringComparer.OrdinalIgnoreCase));

    private int Budget(string title, IReadOnlyList<string> section) => Math.Max(maxTokens / 2, maxTokens - Count(Heading(title, section)) - 1);

    private List<Unit> Units(DocumentBlock block, int budget)
    {
        List<Unit> units = [];
        IEnumerable<string> parts = block.IsPreformatted ? block.Text.Split('\n').Select(l => l.TrimEnd()) : SentenceEnd().Split(block.Text);
        string first = "\n\n", next = block.IsPreformatted ? "\n" : " ";
        foreach (string part in parts.Where(p => p.Length > 0))
        {
            foreach (string piece in Count(part) <= budget ? [part] : Words(part, budget))
            {
                units.Add(new Unit(piece, units.Count == 0 ? first : next, Count(piece) + 1, block));
            }
        }

        return units.Count > 0 ? units : [new Unit(block.Text, first, Count(block.Text) + 1, block)];
    }

    /// <summary>Pieces of at most the budget, ending after a space where there is one.</summary>
    private IEnumerable<string> Words(string text, int budget)
    {
        int start = 0;
        while (start < text.Length)
        {
            int length = Math.Max(1, tokenizer.GetIndexByTokenCount(text.AsSpan(start), budget - 1, out _, out _));
            if (start + length < text.Length)
            {
                int space = text.LastIndexOf(' ', start + length - 1, length);
                length = space > start + length / 2 ? space - start + 1 : length;
                if (char.IsHighSurrogate(text[start + length - 1]) && length > 1)
                {
                    length--;
                }
            }

            yield return text.Substring(start, length).Trim();
            start += length;
        }
    }

    private int Count(string text) => text.Length == 0 ? 0 : tokenizer.CountTokens(text);

    [GeneratedRegex(@"(?<=[.!?…]['""”’)\]]*)\s+(?=[\p{Lu}\p{N}\p{Lo}""“‘'(\[])|(?<=[。！？])")]
    private static partial Regex SentenceEnd();
}
