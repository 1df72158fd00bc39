using System.Text;
using System.Text.RegularExpressions;
using AngleSharp.Dom;
using AngleSharp.Html.Dom;
using AngleSharp.Html.Parser;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>Reads HTML into blocks: what a reader of the page sees, or would see once everything on it is opened.</summary>
internal static partial class HtmlReader
{
    /// <summary>Deeper elements than this are read as one text: hostile nesting must not end the process.</summary>
    private const int DeepestElement = 256;

    /// <summary>
    /// Deepest element of a page, where browsers stop too. The parser looks through all that is open at every tag: 100,000 nested elements took minutes.
    /// </summary>
    private const int DeepestPage = 512;

    private static readonly HashSet<string> s_leftOut = new(StringComparer.OrdinalIgnoreCase)
    {
        "script", "style", "noscript", "template", "nav", "footer", "svg", "iframe", "object", "canvas", "datalist", "head",
    };

    private static readonly HashSet<string> s_inline = new(StringComparer.OrdinalIgnoreCase)
    {
        "a", "abbr", "b", "bdi", "bdo", "big", "br", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img", "ins", "kbd", "label", "mark", "q", "ruby", "rb", "rt", "rp", "rtc", "s", "samp",
        "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
        "button", "input", "meter", "option", "optgroup", "output", "progress", "select", "textarea", "math",
    };

    /// <summary>Inline, but boxes of their own on the screen: words do not run on into them.</summary>
    private static readonly HashSet<string> s_boxes = new(StringComparer.OrdinalIgnoreCase) { "br", "button", "input", "option", "optgroup", "select", "textarea" };

    /// <summary>Elements without an end in HTML; all others may end themselves in XML.</summary>
    private static readonly HashSet<string> s_void = new(StringComparer.OrdinalIgnoreCase)
    {
        "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
    };

    /// <summary>Reads a page. Calls <paramref name="check"/> at every step of the parser and of its own, which throws where reading is to stop.</summary>
    public static void Read(string page, BlockCollector blocks, Action check)
    {
        // A page in XML may end a script within its own tag; in HTML that script would go on to the end of the page.
        string html = HtmlEncoding.IsXml(page) ? SelfEnded().Replace(page, m => s_void.Contains(m.Groups[1].Value) ? m.Value : $"<{m.Groups[1].Value}{m.Groups[2].Value}></{m.Groups[1].Value}>") : page;
        using IHtmlDocument document = GuardedParser(check).ParseDocument(html);
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
            Walk(root, blocks, 0, check);
        }
    }

    /// <summary>A parser that stops where the check says so, or where elements are nested too deep.</summary>
    private static HtmlParser GuardedParser(Action check)
    {
        INode? last = null;
        return new HtmlParser(new HtmlParserOptions
        {
            MaximumDepth = DeepestPage + 8, // Deeper ones become siblings and would not be seen here.
            OnCreated = (element, _) => last = element,
            OnToken = (token, _) =>
            {
                check();

                // An element has its place in the tree only when the next token is read.
                int depth = 0;
                for (INode? node = last?.Parent; node is not null; node = node.Parent)
                {
                    if (++depth > DeepestPage)
                    {
                        throw DocumentReader.TooDeep(token.Position.Line, "elements", DeepestPage);
                    }
                }

                last = null;
            },
        });
    }

    /// <summary>Runs of text and inline elements are paragraphs; block elements are walked.</summary>
    private static void Walk(INode node, BlockCollector blocks, int depth, Action check)
    {
        StringBuilder run = new();
        foreach (INode child in node.ChildNodes)
        {
            check();
            if (child is IText || (child is IElement inline && IsInline(inline, depth)))
            {
                run.Append(TextOf(child, check));
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
                    blocks.Heading(block.LocalName[1] - '0', Squeeze(TextOf(block, check)));
                    break;
                case "pre":
                    blocks.Add(TextOf(block, check, breaks: '\n'), preformatted: true);
                    break;
                case "table" when block.QuerySelector("table") is null: // One around others is there for the layout.
                    blocks.Add(string.Join('\n', block.QuerySelectorAll("caption, tr").Select(Row)), preformatted: true);
                    break;
                case "ul" or "ol":
                    // Not its items alone: lists are found right within lists.
                    blocks.Add(string.Join('\n', block.Children.Select(c => Squeeze(TextOf(c, check))).Where(t => t.Length > 0).Select(t => $"- {t}")), preformatted: true);
                    break;
                case "dl" when block.QuerySelectorAll("*").All(inner => inner.LocalName is "dt" or "dd" or "div" || IsInlinePart(inner)):
                    blocks.Add(Definitions(block, check), preformatted: true);
                    break;
                case var _ when depth >= DeepestElement:
                    blocks.Add(Squeeze(TextOf(block, check)));
                    break;
                default:
                    Walk(block, blocks, depth + 1, check);
                    break;
            }
        }

        Flush();

        string Row(IElement row) => row.LocalName == "caption" ? Squeeze(TextOf(row, check)) : string.Join(" | ", row.Children.Select(c => Squeeze(TextOf(c, check))));

        void Flush()
        {
            blocks.Add(Squeeze(run.ToString()));
            run.Clear();
        }
    }

    /// <summary>The text of a node. Line breaks and blocks separate words, as on the screen. Uses an explicit stack, since nesting may be deep.</summary>
    private static string TextOf(INode root, Action check, char breaks = ' ') => TextOf([root], check, breaks, inRuby: false);

    private static string TextOf(IEnumerable<INode> roots, Action check, char breaks, bool inRuby)
    {
        StringBuilder text = new();
        Stack<INode?> open = new(roots.Reverse());
        while (open.TryPop(out INode? node))
        {
            check();
            if (inRuby && node is IElement { LocalName: "rt" or "rp" or "rtc" })
            {
                continue;
            }

            if (node is IText run)
            {
                text.Append(run.Data);
            }
            else if (node is IElement { LocalName: "math" } math)
            {
                text.Append(MathText.Of(math));
            }
            else if (node is IElement { LocalName: "ruby" } ruby)
            {
                text.Append(Ruby(ruby, check));
            }
            else if (node is IHtmlInputElement input)
            {
                Break();
                text.Append(input.Type is "submit" or "button" or "reset" ? input.GetAttribute("value") : "");
                Break();
            }
            else if (node is null)
            {
                Break();
            }
            else
            {
                if (node is IElement element && (s_boxes.Contains(element.LocalName) || !s_inline.Contains(element.LocalName)))
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

    /// <summary>Terms with their descriptions, a line each.</summary>
    private static string Definitions(IElement list, Action check)
    {
        List<StringBuilder> lines = [];
        bool open = false; // Whether the last line is a term that nothing was said of yet.
        string before = "";
        foreach (IElement part in list.QuerySelectorAll("dt, dd"))
        {
            string text = Squeeze(TextOf(part, check));
            if (text.Length > 0 && lines.Count > 0 && (open || (before == "dd" && part.LocalName == "dd")))
            {
                lines[^1].Append(part.LocalName == "dt" ? ", " : open ? ": " : "; ").Append(text);
            }
            else if (text.Length > 0)
            {
                lines.Add(new StringBuilder(text));
            }

            open = part.LocalName == "dt" && (open || text.Length > 0);
            before = part.LocalName;
        }

        return string.Join('\n', lines);
    }

    /// <summary>The word, and behind it how it is read: readings between its letters would part them.</summary>
    private static string Ruby(IElement ruby, Action check)
    {
        StringBuilder reading = new();
        Stack<INode> open = new(ruby.ChildNodes.Reverse());
        while (open.TryPop(out INode? node))
        {
            check();
            if (node is IElement { LocalName: "rt" })
            {
                reading.Append(node.TextContent);
            }
            else if (node is not IElement { LocalName: "ruby" })
            {
                for (int i = node.ChildNodes.Length - 1; i >= 0; i--)
                {
                    open.Push(node.ChildNodes[i]);
                }
            }
        }

        string word = Squeeze(TextOf(ruby.ChildNodes, check, ' ', inRuby: true)), read = Squeeze(reading.ToString());
        return read.Length > 0 ? $"{word} ({read}) " : word;
    }

    /// <summary>A link around blocks is a block.</summary>
    private static bool IsInline(IElement element, int depth) =>
        s_inline.Contains(element.LocalName) && (depth >= DeepestElement || element.LocalName == "math" || element.QuerySelectorAll("*").All(IsInlinePart));

    /// <summary>Formulas and drawings have elements of their own.</summary>
    private static bool IsInlinePart(IElement element) => s_inline.Contains(element.LocalName) || element.NamespaceUri != "http://www.w3.org/1999/xhtml";

    private static string Squeeze(string text) => Spaces().Replace(text, " ").Trim();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex("""<([A-Za-z][A-Za-z0-9]*)((?:\s+[^\s=<>"'/]+(?:\s*=\s*(?:"[^"<]*"|'[^'<]*'))?)*\s*)/>""")]
    private static partial Regex SelfEnded();
}
