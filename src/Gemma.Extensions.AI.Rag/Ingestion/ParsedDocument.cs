namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>A paragraph, list, table or code block of a document, and where it stands.</summary>
/// <param name="Text">The block's text.</param>
/// <param name="Section">Headings above it, outermost first.</param>
/// <param name="Page">Page from 1, where the format has pages.</param>
/// <param name="Line">Line from 1, where the format has lines.</param>
/// <param name="IsPreformatted">Whether line breaks matter (code, tables).</param>
internal sealed record DocumentBlock(string Text, IReadOnlyList<string> Section, int? Page = null, int? Line = null, bool IsPreformatted = false);

/// <summary>A document as blocks.</summary>
internal sealed record ParsedDocument(string? Title, IReadOnlyList<DocumentBlock> Blocks);

/// <summary>Collects blocks under the headings that are open.</summary>
/// <param name="room">Most characters that all blocks may have together.</param>
internal sealed class BlockCollector(long room)
{
    /// <summary>A heading or title that is longer is text: every passage below repeats it.</summary>
    private const int LongestHeading = 1000;

    private readonly List<DocumentBlock> _blocks = [];
    private readonly List<(int Level, string Text)> _headings = [];

    /// <summary>Line of the innermost heading, while nothing stands below it.</summary>
    private (bool Is, int? Line) _bare;

    public string? Title
    {
        get;
        set => field = value is { Length: > LongestHeading } ? value[..LongestHeading].TrimEnd() : value;
    }

    /// <summary>Characters that may still be added.</summary>
    public long Room { get; private set; } = room;

    public void Heading(int level, string text, int? line = null)
    {
        if (text.Length == 0)
        {
            return;
        }

        if (text.Length > LongestHeading)
        {
            Add(text, line: line);
            return;
        }

        Title ??= text;
        if (_headings.Count > 0 && level <= _headings[^1].Level)
        {
            KeepBare();
        }

        _headings.RemoveAll(h => h.Level >= level);
        _headings.Add((level, text));
        _bare = (true, line);
    }

    public void Add(string text, int? page = null, int? line = null, bool preformatted = false)
    {
        text = text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace("\0", "", StringComparison.Ordinal);
        text = preformatted ? text.Trim('\n') : text.Trim();
        if (!string.IsNullOrWhiteSpace(text))
        {
            if ((Room -= text.Length) < 0)
            {
                throw new GemmaRagException("The document holds more text than DocumentIngestorOptions.MaxTextLength allows. Split it, or raise the limit.");
            }

            _blocks.Add(new DocumentBlock(text, [.. _headings.Select(h => h.Text)], page, line, preformatted));
            _bare = default;
        }
    }

    public ParsedDocument ToDocument()
    {
        KeepBare();
        return new ParsedDocument(Title, _blocks);
    }

    /// <summary>A heading without text below it, as in an outline, is text itself.</summary>
    private void KeepBare()
    {
        if (_bare.Is)
        {
            (string text, int? line) = (_headings[^1].Text, _bare.Line);
            _headings.RemoveAt(_headings.Count - 1);
            _bare = default;
            Add(text, line: line);
        }
    }
}
