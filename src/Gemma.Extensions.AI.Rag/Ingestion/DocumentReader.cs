using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using AngleSharp.Dom;
using AngleSharp.Html.Dom;
using AngleSharp.Html.Parser;
using Markdig;
using Markdig.Extensions.Tables;
using Markdig.Extensions.Yaml;
using Markdig.Parsers;
using Markdig.Syntax;
using Markdig.Syntax.Inlines;
using UglyToad.PdfPig;
using UglyToad.PdfPig.Content;
using UglyToad.PdfPig.DocumentLayoutAnalysis.TextExtractor;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>Reads documents into blocks.</summary>
internal static partial class DocumentReader
{
    /// <summary>Deeper elements than this are read as one text: hostile nesting must not end the process.</summary>
    private const int DeepestElement = 256;

    /// <summary>
    /// Deepest element of a page, where browsers stop too, and deepest block of a Markdown document. Both parsers look through all that is open at every
    /// line or tag: 100,000 nested elements took minutes, and so did a list of 3,000 levels that Markdig refused only once it had read all of it.
    /// </summary>
    private const int DeepestPage = 512, DeepestMarkdown = 256;

    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private static readonly HashSet<string> s_leftOut = new(StringComparer.OrdinalIgnoreCase)
    {
        "script", "style", "noscript", "template", "nav", "footer", "svg", "math", "iframe", "object", "canvas", "button", "select", "datalist", "textarea", "head",
    };

    private static readonly HashSet<string> s_inline = new(StringComparer.OrdinalIgnoreCase)
    {
        "a", "abbr", "b", "bdi", "bdo", "br", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img", "ins", "kbd", "label", "mark", "q", "ruby", "rt", "rp", "s", "samp",
        "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
    };

    /// <summary>Reads the bytes of a document.</summary>
    /// <exception cref="GemmaRagException">The bytes are not of that format, or need a password.</exception>
    public static ParsedDocument Read(byte[] content, DocumentFormat format, CancellationToken cancellationToken = default)
    {
        try
        {
            return format switch
            {
                DocumentFormat.Markdown => Markdown(Decode(content), cancellationToken),
                DocumentFormat.Html => Html(ParseHtml(content, cancellationToken), cancellationToken),
                DocumentFormat.Pdf => Pdf(content, cancellationToken),
                _ => Text(Decode(content)),
            };
        }
        catch (Exception error) when (error is not GemmaException and not OutOfMemoryException and not OperationCanceledException)
        {
            throw new GemmaRagException($"The document can't be read as {format}: {error.Message}", error);
        }
    }

    private static string Decode(byte[] content)
    {
        using StreamReader reader = new(new MemoryStream(content), s_strict, detectEncodingFromByteOrderMarks: true);
        string text;
        try
        {
            text = reader.ReadToEnd();
        }
        catch (DecoderFallbackException)
        {
            // What is not UTF-8 is most often of a time before it; web browsers take the same one.
            text = CodePagesEncodingProvider.Instance.GetEncoding(1252)!.GetString(content);
        }

        if (text.Count(c => char.IsControl(c) && c is not ('\t' or '\n' or '\v' or '\f' or '\r' or '\e')) > text.Length / 100)
        {
            throw new InvalidDataException("It holds control characters, as binary files and UTF-16 without a byte order mark do. Save it as UTF-8.");
        }

        return text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
    }

    private static ParsedDocument Text(string text)
    {
        BlockCollector blocks = new();
        StringBuilder paragraph = new();
        int line = 0, start = 1;
        foreach (string row in text.Split('\n').Append(""))
        {
            line++;
            if (string.IsNullOrWhiteSpace(row))
            {
                blocks.Add(paragraph.ToString(), line: start);
                paragraph.Clear();
                start = line + 1;
            }
            else
            {
                paragraph.Append(row).Append('\n');
            }
        }

        return blocks.ToDocument();
    }

    private static ParsedDocument Markdown(string text, CancellationToken cancellationToken)
    {
        MarkdownPipelineBuilder pipeline = new MarkdownPipelineBuilder().UseYamlFrontMatter().UsePipeTables().UseGridTables();
        pipeline.BlockParsers.Insert(0, new BlockGuard(cancellationToken));
        BlockCollector blocks = new();
        foreach (Block block in Markdig.Markdown.Parse(text, pipeline.Build()))
        {
            cancellationToken.ThrowIfCancellationRequested();
            switch (block)
            {
                case YamlFrontMatterBlock or LinkReferenceDefinitionGroup or ThematicBreakBlock:
                    break;
                case HeadingBlock heading:
                    blocks.Heading(heading.Level, Squeeze(PlainText(heading.Inline)), block.Line + 1);
                    break;
                case ParagraphBlock paragraph:
                    blocks.Add(PlainText(paragraph.Inline), line: block.Line + 1);
                    break;
                case HtmlBlock html:
                    ParsedDocument page = Html(GuardedParser(cancellationToken).ParseDocument(Slice(text, html)), cancellationToken);
                    blocks.Title ??= page.Title;
                    foreach (DocumentBlock inner in page.Blocks)
                    {
                        blocks.Add(inner.Text, line: block.Line + 1);
                    }

                    break;
                default:
                    // Lists, tables, quotes and code read well as they were written.
                    blocks.Add(Slice(text, block), line: block.Line + 1, preformatted: block is CodeBlock or Table or ListBlock);
                    break;
            }
        }

        return blocks.ToDocument();

        static string Slice(string text, Block block) => block.Span.Start >= 0 && block.Span.End < text.Length ? text[block.Span.Start..(block.Span.End + 1)] : "";
    }

    /// <summary>Asked wherever a block may begin; never opens one.</summary>
    private sealed class BlockGuard(CancellationToken cancellationToken) : BlockParser
    {
        public override BlockState TryOpen(BlockProcessor processor)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int depth = 0;
            for (ContainerBlock? container = processor.CurrentContainer; container is not null; container = container.Parent)
            {
                if (++depth > DeepestMarkdown)
                {
                    throw TooDeep(processor.LineIndex + 1, "list items and quotes", DeepestMarkdown);
                }
            }

            return BlockState.None;
        }
    }

    /// <summary>A parser that stops where it is cancelled, or where elements are nested too deep.</summary>
    private static HtmlParser GuardedParser(CancellationToken cancellationToken)
    {
        INode? last = null;
        return new HtmlParser(new HtmlParserOptions
        {
            MaximumDepth = DeepestPage + 8, // Deeper ones become siblings and would not be seen here.
            OnCreated = (element, _) => last = element,
            OnToken = (token, _) =>
            {
                cancellationToken.ThrowIfCancellationRequested();

                // An element has its place in the tree only when the next token is read.
                int depth = 0;
                for (INode? node = last?.Parent; node is not null; node = node.Parent)
                {
                    if (++depth > DeepestPage)
                    {
                        throw TooDeep(token.Position.Line, "elements", DeepestPage);
                    }
                }

                last = null;
            },
        });
    }

    private static GemmaRagException TooDeep(int line, string what, int limit) => new(string.Create(
        CultureInfo.InvariantCulture,
        $"At line {line:N0}, more than {limit:N0} {what} are open, one in another; documents nest a few dozen. Something probably goes wrong where it is written; close what is open, or ingest it as DocumentFormat.Text."));

    private static string PlainText(ContainerInline? inline)
    {
        StringBuilder text = new();
        foreach (MarkdownObject part in inline?.Descendants() ?? [])
        {
            text.Append(part switch
            {
                LiteralInline literal => literal.Content.ToString(),
                CodeInline code => code.Content,
                AutolinkInline link => link.Url,
                HtmlEntityInline entity => entity.Transcoded.ToString(),
                HtmlInline html when html.Tag.StartsWith("<br", StringComparison.OrdinalIgnoreCase) => " ",
                LineBreakInline => "\n", // Kept, so that lines can be counted.
                _ => "",
            });
        }

        return text.ToString();
    }

    /// <summary>A page that does not say its encoding is read as a text is.</summary>
    private static IHtmlDocument ParseHtml(byte[] content, CancellationToken cancellationToken)
    {
        using MemoryStream stream = new(content);
        IHtmlDocument document = GuardedParser(cancellationToken).ParseDocument(stream);
        if (Ascii.IsValid(content) || document.QuerySelectorAll("meta").Any(m => m.HasAttribute("charset") || "content-type".Equals(m.GetAttribute("http-equiv"), StringComparison.OrdinalIgnoreCase)))
        {
            return document;
        }

        document.Dispose();
        return GuardedParser(cancellationToken).ParseDocument(Decode(content));
    }

    private static ParsedDocument Html(IHtmlDocument page, CancellationToken cancellationToken)
    {
        using IHtmlDocument document = page;
        BlockCollector blocks = new();
        string title = Squeeze(document.Title ?? "");
        blocks.Title = title.Length > 0 ? title : null;
        foreach (IElement element in document.QuerySelectorAll(string.Join(',', s_leftOut)).ToArray())
        {
            element.Remove();
        }

        // One article is the page's subject, several are parts of it.
        IElement? root = document.QuerySelector("main") ?? (document.QuerySelectorAll("article") is [var only] ? only : document.Body);
        if (root is not null)
        {
            Walk(root, blocks, 0, cancellationToken);
        }

        return blocks.ToDocument();
    }

    /// <summary>Runs of text and inline elements are paragraphs; block elements are walked.</summary>
    private static void Walk(INode node, BlockCollector blocks, int depth, CancellationToken cancellationToken)
    {
        StringBuilder run = new();
        foreach (INode child in node.ChildNodes)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (child is IText || (child is IElement inline && IsInline(inline, depth)))
            {
                run.Append(TextOf(child));
                continue;
            }

            if (child is not IElement block)
            {
                continue;
            }

            Flush();
            switch (block.LocalName)
            {
                case ['h', >= '1' and <= '6']:
                    blocks.Heading(block.LocalName[1] - '0', Squeeze(TextOf(block)));
                    break;
                case "pre":
                    blocks.Add(TextOf(block, breaks: '\n'), preformatted: true);
                    break;
                case "table" when block.QuerySelector("table") is null: // One around others is there for the layout.
                    blocks.Add(string.Join('\n', block.QuerySelectorAll("caption, tr").Select(Row)), preformatted: true);
                    break;
                case "ul" or "ol":
                    // Not its items alone: lists are found right within lists.
                    blocks.Add(string.Join('\n', block.Children.Select(c => Squeeze(TextOf(c))).Where(t => t.Length > 0).Select(t => $"- {t}")), preformatted: true);
                    break;
                case var _ when depth >= DeepestElement:
                    blocks.Add(Squeeze(TextOf(block)));
                    break;
                default:
                    Walk(block, blocks, depth + 1, cancellationToken);
                    break;
            }
        }

        Flush();

        static string Row(IElement row) => row.LocalName == "caption" ? Squeeze(TextOf(row)) : string.Join(" | ", row.Children.Select(c => Squeeze(TextOf(c))));

        void Flush()
        {
            blocks.Add(Squeeze(run.ToString()));
            run.Clear();
        }
    }

    /// <summary>The text of a node, in which line breaks and blocks part words as they do on the screen. By a stack: nesting may be deep.</summary>
    private static string TextOf(INode root, char breaks = ' ')
    {
        StringBuilder text = new();
        Stack<INode?> open = new([root]);
        while (open.TryPop(out INode? node))
        {
            if (node is IText run)
            {
                text.Append(run.Data);
            }
            else if (node is null)
            {
                Break();
            }
            else
            {
                if (node is IElement element && (element.LocalName == "br" || !s_inline.Contains(element.LocalName)))
                {
                    Break();
                    open.Push(null); // The end of the block.
                }

                for (int i = node.ChildNodes.Length - 1; i >= 0; i--)
                {
                    open.Push(node.ChildNodes[i]);
                }
            }
        }

        return text.ToString();

        void Break()
        {
            if (text.Length == 0 || text[^1] != breaks)
            {
                text.Append(breaks);
            }
        }
    }

    /// <summary>A link around blocks is a block.</summary>
    private static bool IsInline(IElement element, int depth) =>
        s_inline.Contains(element.LocalName) && (depth >= DeepestElement || element.QuerySelectorAll("*").All(inner => s_inline.Contains(inner.LocalName)));

    private static ParsedDocument Pdf(byte[] content, CancellationToken cancellationToken)
    {
        using PdfDocument document = PdfDocument.Open(content);
        BlockCollector blocks = new() { Title = string.IsNullOrWhiteSpace(document.Information.Title) ? null : document.Information.Title.Trim() };
        foreach (Page page in document.GetPages())
        {
            cancellationToken.ThrowIfCancellationRequested();
            foreach (string paragraph in ContentOrderTextExtractor.GetText(page, addDoubleNewline: true).Replace("\r\n", "\n", StringComparison.Ordinal).Split("\n\n"))
            {
                // Lines of a paragraph are lines of the page: a hyphen at the end of one joins a word.
                blocks.Add(Squeeze(HyphenAtLineEnd().Replace(paragraph, "$1$2")), page: page.Number);
            }
        }

        return blocks.ToDocument();
    }

    private static string Squeeze(string text) => Spaces().Replace(text, " ").Trim();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex(@"(\p{Ll})-\n(\p{Ll})")]
    private static partial Regex HyphenAtLineEnd();
}
