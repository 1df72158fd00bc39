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
internal sealed class BlockCollector
{
    private readonly List<DocumentBlock> _blocks = [];
    private readonly List<(int Level, string Text)> _headings = [];

    public string? Title { get; set; }

    public void Heading(int level, string text)
    {
        if (text.Length == 0)
        {
            return;
        }

        Title ??= text;
        _headings.RemoveAll(h => h.Level >= level);
        _headings.Add((level, text));
    }

    public void Add(string text, int? page = null, int? line = null, bool preformatted = false)
    {
        text = text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace("\0", "", StringComparison.Ordinal);
        text = preformatted ? text.Trim('\n') : text.Trim();
        if (!string.IsNullOrWhiteSpace(text))
        {
            _blocks.Add(new DocumentBlock(text, [.. _headings.Select(h => h.Text)], page, line, preformatted));
        }
    }

    public ParsedDocument ToDocument() => new(Title, _blocks);
}
