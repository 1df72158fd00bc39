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
    /// <summary>A piece that is never split, with the separator before it and the place where it begins.</summary>
    private sealed record Unit(string Text, string Separator, int Tokens, int? Page, int? Line);

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
                text.Append(text.Length == 0 ? "" : ReferenceEquals(unit, open[0]) ? "\n" : unit.Separator).Append(unit.Text);
            }

            string whole = text.ToString();

            // The place is where the new text begins, not the repeated end of the passage before.
            Unit place = open[Math.Min(carried, open.Count - 1)];
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
        int counted = 0;
        int? line = block.Line;
        foreach ((int start, string part) in block.IsPreformatted ? Lines(block.Text) : Sentences(block.Text))
        {
            foreach ((int at, string piece) in Count(part) <= budget ? [(0, part)] : Words(part, budget))
            {
                if (piece.Length > 0)
                {
                    line += block.Text.AsSpan(counted, start + at - counted).Count('\n');
                    counted = start + at;
                    units.Add(new Unit(piece, units.Count == 0 ? "\n\n" : block.IsPreformatted ? "\n" : " ", Count(piece) + 1, block.Page, line));
                }
            }
        }

        return units;
    }

    private static IEnumerable<(int Start, string Text)> Lines(string text)
    {
        int start = 0;
        foreach (string line in text.Split('\n'))
        {
            yield return (start, line.TrimEnd());
            start += line.Length + 1;
        }
    }

    private static List<(int Start, string Text)> Sentences(string text)
    {
        List<(int, string)> sentences = [];
        int start = 0;
        foreach (ValueMatch end in SentenceEnd().EnumerateMatches(text))
        {
            Add(end.Index + end.Length);
        }

        Add(text.Length);
        return sentences;

        void Add(int end)
        {
            sentences.Add((start, text[start..end].TrimEnd()));
            start = end;
        }
    }

    /// <summary>Pieces of at most the budget, ending with a line or after a space where there is one, and where they begin.</summary>
    private IEnumerable<(int Start, string Text)> Words(string text, int budget)
    {
        int start = 0;
        while (start < text.Length)
        {
            int length = Math.Max(1, tokenizer.GetIndexByTokenCount(text.AsSpan(start), budget - 1, out _, out _));
            if (start + length < text.Length)
            {
                int half = start + length / 2;
                int space = text.LastIndexOf('\n', start + length - 1, length);
                space = space > half ? space : text.LastIndexOfAny([' ', '\t'], start + length - 1, length);
                length = space > half ? space - start + 1 : length;
                if (char.IsHighSurrogate(text[start + length - 1]) && length > 1)
                {
                    length--;
                }
            }

            yield return (start, text.Substring(start, length).Trim());
            start += length;
        }
    }

    private int Count(string text) => text.Length == 0 ? 0 : tokenizer.CountTokens(text);

    /// <summary>The end with the space behind it. It begins at what ends a sentence: a look back over closing brackets would be quadratic in a row of them.</summary>
    [GeneratedRegex(@"[.!?…]['""”’)\]]*\s+(?=[\p{Lu}\p{N}\p{Lo}""“‘'(\[])|[。！？]")]
    private static partial Regex SentenceEnd();
}
