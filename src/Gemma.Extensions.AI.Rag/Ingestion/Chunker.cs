using System.Globalization;
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
    /// <summary>
    /// Characters of a text that are counted at a time for each token that is looked for, at first: a tokenizer reads all that it is given, so that asking it for the first tokens
    /// of what is left of a long text, again and again, would take time and memory by the square of its length.
    /// </summary>
    private const int WindowPerToken = 8;

    public IReadOnlyList<Chunk> Split(ParsedDocument document, string title, CancellationToken cancellationToken = default)
    {
        title = Fitting(title, maxTokens / 4);
        Packer packer = new(this, title, minTokens, overlapTokens);
        IReadOnlyList<string> headings = [];
        int budget = Budget(title, headings);
        foreach (DocumentBlock block in document.Blocks)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (!block.Section.SequenceEqual(headings))
            {
                headings = block.Section;
                budget = Budget(title, headings);
            }

            packer.Add(block.Section, Units(block, budget, cancellationToken), budget);
        }

        return packer.End();
    }

    /// <summary>
    /// Title and headings, the first line of every passage of the section: words that the passage itself need not repeat. Of what takes more than half of a passage the end is left out.
    /// </summary>
    private string Heading(string title, IReadOnlyList<string> section) =>
        Fitting(string.Join(" > ", section.Prepend(title).Where(s => s.Length > 0).Distinct(StringComparer.OrdinalIgnoreCase)), maxTokens / 2);

    private string Fitting(string text, int tokens) => FirstTokens(text, 0, tokens) is var length && length < text.Length ? text[..length].TrimEnd() : text;

    private int Budget(string title, IReadOnlyList<string> section) => Math.Max(maxTokens / 2, maxTokens - Count(Heading(title, section)) - 1);

    private IEnumerable<Unit> Units(DocumentBlock block, int budget, CancellationToken cancellationToken)
    {
        bool isFirst = true;
        int counted = 0, ended = 0;
        int? line = block.Line;
        foreach ((int start, string part) in block.IsPreformatted ? Lines(block.Text) : Sentences(block.Text))
        {
            foreach ((int at, string piece) in part.Length <= WindowPerToken * budget && Count(part) <= budget ? [(0, part)] : Words(part, budget))
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (piece.Length > 0)
                {
                    line += block.Text.AsSpan(counted, start + at - counted).Count('\n');
                    counted = start + at;

                    // What stood side by side stays so: Chinese sentences, and pieces of what has no spaces.
                    string between = block.Text.AsSpan(ended, Math.Max(0, counted - ended)).IndexOf('\n') >= 0 && block.IsPreformatted ? "\n" : counted > ended ? " " : "";
                    ended = counted + piece.Length;
                    yield return new Unit(piece, isFirst ? "\n\n" : between, Count(piece) + 1, block.Page, line);
                    isFirst = false;
                }
            }
        }
    }

    private static IEnumerable<(int Start, string Text)> Lines(string text)
    {
        int start = 0;
        for (int end; start <= text.Length; start = end + 1)
        {
            end = text.IndexOf('\n', start) is var next and >= 0 ? next : text.Length;
            yield return (start, text[start..end].TrimEnd());
        }
    }

    private static IEnumerable<(int Start, string Text)> Sentences(string text)
    {
        int start = 0;
        for (Match end = SentenceEnd().Match(text); end.Success; end = end.NextMatch())
        {
            yield return (start, text[start..(end.Index + end.Length)].TrimEnd());
            start = end.Index + end.Length;
        }

        yield return (start, text[start..].TrimEnd());
    }

    /// <summary>Pieces of at most the budget, ending with a line or after a space where there is one, and where they begin.</summary>
    private IEnumerable<(int Start, string Text)> Words(string text, int budget)
    {
        int start = 0;
        while (start < text.Length)
        {
            int length = Math.Max(1, FirstTokens(text, start, budget - 1));
            if (start + length < text.Length)
            {
                int half = start + length / 2;
                int space = text.LastIndexOf('\n', start + length - 1, length);
                space = space > half ? space : text.LastIndexOfAny([' ', '\t'], start + length - 1, length);
                length = space > half ? space - start + 1 : length;
                while (length > 1 && start + length - 1 > half && Joins(text, start + length))
                {
                    length--;
                }

                length -= length > 1 && char.IsLowSurrogate(text[start + length]) && char.IsHighSurrogate(text[start + length - 1]) ? 1 : 0;
            }

            string piece = text.Substring(start, length).TrimEnd();
            int spaces = piece.Length - piece.AsSpan().TrimStart().Length;
            yield return (start + spaces, piece[spaces..]);
            start += length;
        }
    }

    /// <summary>Characters of the first tokens from a place on, by reading no more of the text than a few times as many.</summary>
    private int FirstTokens(string text, int start, int tokens)
    {
        for (int window = Math.Max(64, WindowPerToken * tokens); ; window *= 2)
        {
            int read = Math.Min(window, text.Length - start);
            int length = tokenizer.GetIndexByTokenCount(text.AsSpan(start, read), tokens, out _, out _);

            // The last token of a window may be the beginning of a longer one.
            if (read == text.Length - start || length <= read / 2)
            {
                return length;
            }
        }
    }

    /// <summary>True if the character at an index continues the one before it: a low surrogate, a combining mark, or one bound by a joiner.</summary>
    private static bool Joins(string text, int at) =>
        char.IsLowSurrogate(text[at]) || text[at] is '\u200D' || text[at - 1] is '\u200D'
        || char.GetUnicodeCategory(text, at) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark;

    private int Count(string text) => text.Length == 0 ? 0 : tokenizer.CountTokens(text);

    /// <summary>The end with the space behind it. It begins at what ends a sentence: a look back over closing brackets would be quadratic in a row of them.</summary>
    [GeneratedRegex(@"[.!?…]['""”’)\]]*\s+(?=[\p{Lu}\p{N}\p{Lo}""“‘'(\[])|[。！？]")]
    private static partial Regex SentenceEnd();

    /// <summary>A piece that is never split, with the separator before it and the place where it begins.</summary>
    private sealed record Unit(string Text, string Separator, int Tokens, int? Page, int? Line);

    /// <summary>Packs units into passages.</summary>
    private sealed class Packer(Chunker owner, string title, int minTokens, int overlapTokens)
    {
        private readonly List<Chunk> _chunks = [];
        private readonly List<Unit> _open = []; // of the passage that is being filled
        private int _carried; // units at its beginning that repeat the end of the passage before
        private int _tokens;
        private int _budget;
        private IReadOnlyList<string>? _section;

        public void Add(IReadOnlyList<string> section, IEnumerable<Unit> block, int budget)
        {
            // Of a long block only the beginning is held: what matters is whether it fits.
            using IEnumerator<Unit> rest = block.GetEnumerator();
            List<Unit> units = [];
            int size = 0;
            while (size <= Math.Max(budget, _budget) && rest.MoveNext())
            {
                units.Add(rest.Current);
                size += rest.Current.Tokens;
            }

            if (units.Count == 0)
            {
                return;
            }

            bool isNewSection = _section is not null && !_section.SequenceEqual(section);
            if (_open.Count > _carried && _tokens >= minTokens && (isNewSection || _tokens + size > _budget))
            {
                Close(isNewSection);
            }
            else if (isNewSection && _open.Count == _carried)
            {
                // What was carried over belongs to the section that has ended.
                _open.Clear();
                _tokens = _carried = 0;
            }
            else if (isNewSection)
            {
                AddHeading(section.Count > 0 ? section[^1] : "", units);
            }

            if (_open.Count == 0)
            {
                (_section, _budget) = (section, budget);
            }

            foreach (Unit unit in units.Concat(Remaining(rest)))
            {
                if (_open.Count > _carried && _tokens + unit.Tokens > _budget)
                {
                    Close(isNewSection: false);
                    (_section, _budget) = (section, budget);
                }

                while (_open.Count > 0 && _open.Count == _carried && _tokens + unit.Tokens > _budget)
                {
                    _tokens -= _open[0].Tokens;
                    _open.RemoveAt(0);
                    _carried--;
                }

                _open.Add(unit);
                _tokens += unit.Tokens;
            }
        }

        private static IEnumerable<Unit> Remaining(IEnumerator<Unit> units)
        {
            while (units.MoveNext())
            {
                yield return units.Current;
            }
        }

        public List<Chunk> End()
        {
            if (_open.Count > _carried)
            {
                Close(isNewSection: true);
            }

            return _chunks;
        }

        /// <summary>Small sections share a passage; the inner heading is kept in the text.</summary>
        private void AddHeading(string heading, List<Unit> units)
        {
            int headed = units[0].Tokens + owner.Count(heading);
            if (heading.Length > 0 && _tokens + headed <= _budget)
            {
                units[0] = units[0] with { Text = $"{heading}\n{units[0].Text}", Tokens = headed };
            }
        }

        private void Close(bool isNewSection)
        {
            StringBuilder text = new(owner.Heading(title, _section!));
            foreach (Unit unit in _open)
            {
                text.Append(text.Length == 0 ? "" : ReferenceEquals(unit, _open[0]) ? "\n" : unit.Separator).Append(unit.Text);
            }

            string whole = text.ToString();

            // The place is where the new text begins, not the repeated end of the passage before.
            Unit place = _open[Math.Min(_carried, _open.Count - 1)];
            _chunks.Add(new Chunk(whole, owner.Count(whole), _section!, place.Page, place.Line));

            int keep = _open.Count;
            int kept = 0;
            while (!isNewSection && keep > 1 && kept + _open[keep - 1].Tokens <= overlapTokens)
            {
                kept += _open[--keep].Tokens;
            }

            _open.RemoveRange(0, keep);
            _tokens = kept;
            _carried = _open.Count;
        }
    }
}
