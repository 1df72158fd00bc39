using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Markdig;
using Markdig.Extensions.Tables;
using Markdig.Extensions.Yaml;
using Markdig.Helpers;
using Markdig.Parsers;
using Markdig.Syntax;
using Markdig.Syntax.Inlines;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>Reads Markdown into blocks.</summary>
internal static partial class MarkdownReader
{
    /// <summary>
    /// Deepest block of a document. The parser looks through all that is open at every line: a list of 3,000 levels took minutes, since it is refused only once all of
    /// it was read.
    /// </summary>
    private const int DeepestBlock = 256;

    /// <summary>
    /// Most of what may open emphasis in one paragraph, most columns of a table, and most lines in a row that may define references: the parser takes time by the square
    /// of each (a second or two at these), and does not ask whether it is cancelled while it does.
    /// </summary>
    private const int MaxMarks = 20_000, MaxColumns = 10_000, MaxReferences = 20_000;

    /// <summary>
    /// Most cells of a table that are not written: the parser fills each row up to the longest, so that 30 kB with one long row became gigabytes.
    /// </summary>
    private const int MaxEmptyCells = 2_000_000;

    /// <summary>Reads a text. Calls <paramref name="check"/> at every step of the parser and of its own, which throws where reading is to stop.</summary>
    public static void Read(string text, BlockCollector blocks, Action check)
    {
        MarkdownPipelineBuilder pipeline = new MarkdownPipelineBuilder().UseYamlFrontMatter().UsePipeTables().UseGridTables();
        pipeline.BlockParsers.Insert(0, new BlockGuard(check));
        pipeline.InlineParsers.Insert(0, new InlineGuard(check));
        foreach (Block block in Markdown.Parse(text, pipeline.Build()))
        {
            check();
            switch (block)
            {
                case YamlFrontMatterBlock or LinkReferenceDefinitionGroup or ThematicBreakBlock:
                    break;
                case HeadingBlock heading:
                    blocks.Heading(heading.Level, Spaces().Replace(PlainText(heading.Inline), " ").Trim(), block.Line + 1);
                    break;
                case ParagraphBlock paragraph:
                    blocks.Add(PlainText(paragraph.Inline), line: block.Line + 1);
                    break;
                case HtmlBlock html:
                    BlockCollector page = new(blocks.Room);
                    HtmlReader.Read(Slice(text, html), page, check);
                    blocks.Title ??= page.Title;
                    foreach (DocumentBlock inner in page.ToDocument().Blocks)
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

        static string Slice(string text, Block block) => block.Span.Start >= 0 && block.Span.End < text.Length ? text[block.Span.Start..(block.Span.End + 1)] : "";
    }

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

    private static GemmaRagException TooMany(int line, int limit, string what) => new(string.Create(
        CultureInfo.InvariantCulture, $"Near line {line + 1:N0} there are more than {limit:N0} {what}, which is hardly Markdown that somebody wrote. Ingest it as DocumentFormat.Text."));

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    /// <summary>Asked wherever a block may begin; never opens one.</summary>
    private sealed class BlockGuard(Action check) : BlockParser
    {
        private int _references, _line = -1;

        public override BlockState TryOpen(BlockProcessor processor)
        {
            check();
            if (processor.CurrentChar == '[' && processor.LineIndex != _line)
            {
                _references = processor.LineIndex == _line + 1 ? _references + 1 : 1;
                _line = processor.LineIndex;
                if (_references > MaxReferences)
                {
                    throw TooMany(_line, MaxReferences, "lines in a row that begin with a bracket");
                }
            }

            int depth = 0;
            for (ContainerBlock? container = processor.CurrentContainer; container is not null; container = container.Parent)
            {
                if (++depth > DeepestBlock)
                {
                    throw DocumentReader.TooDeep(processor.LineIndex + 1, "list items and quotes", DeepestBlock);
                }
            }

            return BlockState.None;
        }
    }

    /// <summary>Asked wherever a link, emphasis, code, tag or cell may begin; never matches.</summary>
    private sealed class InlineGuard : InlineParser
    {
        private readonly Action _check;
        private LeafBlock? _block;
        private int _marks, _columns;
        private long _longest, _rows, _cells;

        public InlineGuard(Action check)
        {
            _check = check;
            OpeningCharacters = ['[', ']', '!', '*', '_', '`', '<', '&', '\\', '|', '\n'];
        }

        public override bool Match(InlineProcessor processor, ref StringSlice slice)
        {
            _check();
            if (!ReferenceEquals(_block, processor.Block))
            {
                _block = processor.Block;
                _marks = _columns = 0;
                _longest = _rows = _cells = 0;
            }

            switch (slice.CurrentChar)
            {
                case '_' when char.IsLetterOrDigit(slice.PeekCharExtra(-1)) && char.IsLetterOrDigit(slice.PeekChar()):
                    break; // Within a word it opens nothing.
                case '*' or '_' when ++_marks > MaxMarks:
                    throw TooMany(processor.Block?.Line ?? 0, MaxMarks, "asterisks and underscores in one paragraph");
                case '|' when ++_columns > MaxColumns:
                    throw TooMany(processor.Block?.Line ?? 0, MaxColumns, "columns in one line");
                case '|':
                    _cells++;
                    _longest = Math.Max(_longest, _columns);
                    break;
                case '\n' when (_longest * ++_rows) - _cells > MaxEmptyCells:
                    throw TooMany(processor.Block?.Line ?? 0, MaxEmptyCells, "cells of a table that are not written");
                case '\n':
                    _columns = 0;
                    break;
            }

            return false;
        }
    }
}
