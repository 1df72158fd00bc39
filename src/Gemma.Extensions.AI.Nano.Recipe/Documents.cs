using System.Globalization;
using System.Text;
using Gemma.Extensions.AI.Rag;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>A small document about one or two subjects: a title, and sections of blocks (a paragraph, a list of lines, or a table).</summary>
/// <param name="Title">The heading of all.</param>
/// <param name="Sections">Headings, empty for none, with their blocks.</param>
/// <param name="Profiles">What it says.</param>
internal sealed record Page(string Title, IReadOnlyList<(string Heading, IReadOnlyList<string> Blocks)> Sections, Profile[] Profiles);

/// <summary>Draws documents, and writes them as Markdown, HTML, PDF, and as a passage of the Rag package.</summary>
internal static class Documents
{
    private static readonly Phrasings s_titles = new Phrasings(
        "{S}", "About {s}", "{S}: (overview|facts|notes|summary)", "Notes (on|about) {s}", "(Data sheet|Fact sheet|Record) of {s}", "Everything about {s}", "{S} at a glance", "(Guide|Introduction) to {s}").Also(
        "{S} (in brief|in detail|explained|today)", "(What|All) (we know|you should know|to know) about {s}", "(File|Page|Sheet|Card|Entry)(:| -) {S}",
        "(Information|Details|Report|Summary|Handbook) (on|about|for) {s}", "(Welcome to|Facts about|A note on|Data of) {s}");

    private static readonly Phrasings s_headings = new Phrasings(
        "Overview", "Details", "(Technical data|Data)", "Summary", "(Key facts|Facts)", "Information", "In short", "(Background|History)", "(Notes|Remarks)", "General", "(Numbers|Figures)", "More").Also(
        "(Contents|Content)", "(About|Description)", "(Values|Measures|Properties)", "(Useful|Important|Main) (facts|points|data)", "(Introduction|Preface)", "(Current|Latest) (state|status|figures)",
        "(Good|Worth) (to know|knowing)", "(Sheet|Table|List|Record)");

    private static readonly Phrasings s_fillers = new Phrasings(
        "This (page|document|note) (was|has been) (updated|checked|written) (last|this) (year|month|week).", "(Please ask|Ask) the office (if you have questions|for more).", "(More|Other) (details|information) (can be found|is) on the next page.",
        "(Nothing|Not much) has changed since (last year|spring|the last report).", "(All|Most) of this is (well known|not new) to (visitors|members|the staff).", "We (hope|trust) that this is (useful|helpful).",
        "(It is|That is) (often|sometimes) (asked|discussed) (by visitors|in meetings|at the desk).", "Keep this (page|sheet) in a safe place.", "(The staff|Our team) (is|are) happy to help.", "Please (report|tell us about) (mistakes|errors).",
        "The weather (was|has been) (fine|bad|mixed) (lately|this season).", "There will be (another|a new) (edition|version) (soon|next year).").Also(
        "(Thank you|Thanks) for (reading|your visit|your interest).", "(This|The following|What follows) (is|was) (taken from|copied from|part of) (an older|a longer) (page|report|list).",
        "(Many|Some|Few) people (ask|write|call) (us |)(every day|each week|about this).", "(Changes|Errors|Omissions) (are|may be) (possible|reserved|expected).",
        "(You may|Please do not|Feel free to) (copy|print|share) this (page|sheet).", "(The next|Another) (check|review|visit) is (planned|due) (soon|later|in spring).",
        "(No|A) (picture|map|drawing) (is|was) (added|included|available) (here|yet).", "(See|Read) (also |)the (other|next|last) (pages|documents|sheets).");

    public static Page Draw(Lexicon l, Kind kind)
    {
        int subjects = l.Chance(0.25) ? 2 : 1;
        int facts = l.Random.Next(2, Math.Min(6, kind.Attributes.Length));
        Profile first = Facts.Draw(l, kind, facts);
        Profile[] profiles = subjects == 1 ? [first] : [first, Facts.Draw(l, kind, facts)];
        string bare = Facts.Bare(first.Subject);
        List<(string, IReadOnlyList<string>)> sections = new();
        bool headed = l.Chance(0.5);
        for (int i = 0; i < profiles.Length; i++)
        {
            List<string> blocks = new();
            (Attribute, string)[] rest = profiles[i].Facts;
            if (l.Chance(0.35) && rest.Length > 2)
            {
                blocks.Add(Block(l, profiles[i].Subject, rest[..2], l.Random.Next(2)));
                rest = rest[2..];
            }

            blocks.Add(Block(l, profiles[i].Subject, rest, profiles.Length == 2 ? l.Random.Next(2) : l.Random.Next(5)));
            if (l.Chance(0.5))
            {
                blocks.Insert(l.Random.Next(blocks.Count + 1), s_fillers.Fill(l));
            }

            sections.Add((profiles.Length == 2 ? Facts.Sentence(Facts.Bare(profiles[i].Subject)) : headed ? s_headings.Fill(l) : "", blocks));
        }

        string title = profiles.Length == 2 ? s_headings.Fill(l) : s_titles.Fill(l, ("S", Facts.Sentence(bare)), ("s", first.Subject));
        return new Page(title, sections, profiles);
    }

    /// <summary>A document of any format as a passage of the Rag package.</summary>
    public static (string Text, Profile[] Profiles) Passage(Lexicon l, Kind kind)
    {
        Page page = Draw(l, kind);
        DocumentFormat format = l.Pick([DocumentFormat.Markdown, DocumentFormat.Html, DocumentFormat.Pdf]);
        string name = l.Chance(0.5) ? l.Word() : l.Word() + l.Small();
        return (Passage(page, format, name), page.Profiles);
    }

    /// <summary>
    /// The document as the one passage that reader and chunker make of it: title and first heading in the first line, further headings before their blocks; PDF has no headings, its
    /// lines follow each other, and the document's name is its title.
    /// </summary>
    public static string Passage(Page page, DocumentFormat format, string name)
    {
        StringBuilder text = new();
        bool isPdf = format == DocumentFormat.Pdf;
        foreach ((int i, (string heading, IReadOnlyList<string> blocks)) in page.Sections.Index())
        {
            // The chunker repeats the heading of a section that shares a passage before each of its blocks.
            string before = i == 0
                ? isPdf ? $"{name}\n{page.Title}" + (heading.Length > 0 ? $" {heading} " : "\n\n") : page.Title + (heading.Length > 0 && !heading.Equals(page.Title, StringComparison.OrdinalIgnoreCase) ? " > " + heading : "") + "\n"
                : isPdf && heading.Length > 0 ? $"\n\n{heading} " : "\n\n";
            text.Append(before).AppendJoin("\n\n", blocks.Select(block => (i > 0 && !isPdf ? heading + "\n" : "") + Read(block, format)));
        }

        return text.ToString();
    }

    /// <summary>A block as the reader of a format gives it.</summary>
    private static string Read(string block, DocumentFormat format) => (block[0], format) switch
    {
        ('|', DocumentFormat.Html) => string.Join('\n', Rows(block).Select(row => row.Trim('|', ' '))),
        ('|' or '-', DocumentFormat.Pdf) => string.Join(' ', Rows(block).Select(Line)),
        _ => block,
    };

    private static IEnumerable<string> Rows(string block) => block.Split('\n').Where(line => !line.StartsWith("|-", StringComparison.Ordinal));

    /// <summary>A row of a table, or a line of a list, as PDF has it.</summary>
    private static string Line(string row) => row.Trim('|', ' ', '-').Replace(" | ", ": ", StringComparison.Ordinal);

    public static string Markdown(Page page)
    {
        StringBuilder text = new($"# {page.Title}\n\n");
        foreach ((string heading, IReadOnlyList<string> blocks) in page.Sections)
        {
            text.Append(heading.Length > 0 ? $"## {heading}\n\n" : "").AppendJoin("\n\n", blocks).Append("\n\n");
        }

        return text.ToString();
    }

    public static string Html(Page page)
    {
        StringBuilder text = new($"<html><head><title>{Escaped(page.Title)}</title></head><body>\n<h1>{Escaped(page.Title)}</h1>\n");
        foreach ((string heading, IReadOnlyList<string> blocks) in page.Sections)
        {
            text.Append(heading.Length > 0 ? $"<h2>{Escaped(heading)}</h2>\n" : "");
            foreach (string block in blocks)
            {
                string[] lines = block.Split('\n');
                text.Append(lines[0][0] switch
                {
                    '-' => "<ul>" + string.Concat(lines.Select(line => $"<li>{Escaped(line[2..])}</li>")) + "</ul>\n",
                    '|' => "<table>" + string.Concat(lines.Where(line => line[1] != '-').Select(line => "<tr>" + string.Concat(line.Trim('|').Split('|').Select(cell => $"<td>{Escaped(cell.Trim())}</td>")) + "</tr>")) + "</table>\n",
                    _ => $"<p>{Escaped(block)}</p>\n",
                });
            }
        }

        return text.Append("</body></html>\n").ToString();

        static string Escaped(string text) => System.Net.WebUtility.HtmlEncode(text);
    }

    /// <summary>One page of lines in Helvetica.</summary>
    public static byte[] Pdf(Page page)
    {
        List<(int Size, string Line)> lines = [(18, page.Title)];
        foreach ((string heading, IReadOnlyList<string> blocks) in page.Sections)
        {
            lines.Add((14, heading));
            foreach (string block in blocks)
            {
                lines.AddRange(Rows(block).SelectMany(line => Wrapped(Line(line))).Select(line => (11, line)));
                lines.Add((11, ""));
            }
        }

        StringBuilder content = new("BT 60 780 Td\n");
        foreach ((int size, string line) in lines)
        {
            content.Append(CultureInfo.InvariantCulture, $"/F1 {size} Tf ({line.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("(", "\\(", StringComparison.Ordinal).Replace(")", "\\)", StringComparison.Ordinal)}) Tj 0 -{size + 4} Td\n");
        }

        content.Append("ET");
        string[] objects =
        [
            "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
            $"<< /Length {content.Length} >>\nstream\n{content}\nendstream", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        ];
        StringBuilder file = new("%PDF-1.4\n");
        List<int> offsets = new();
        foreach ((int i, string body) in objects.Index())
        {
            offsets.Add(file.Length);
            file.Append(CultureInfo.InvariantCulture, $"{i + 1} 0 obj\n{body}\nendobj\n");
        }

        int start = file.Length;
        file.Append(CultureInfo.InvariantCulture, $"xref\n0 {objects.Length + 1}\n0000000000 65535 f \n");
        offsets.ForEach(offset => file.Append(CultureInfo.InvariantCulture, $"{offset:D10} 00000 n \n"));
        file.Append(CultureInfo.InvariantCulture, $"trailer\n<< /Size {objects.Length + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n");
        return Encoding.Latin1.GetBytes(file.ToString());

        static IEnumerable<string> Wrapped(string line)
        {
            while (line.Length > 80)
            {
                int space = line.LastIndexOf(' ', 80);
                yield return line[..space];
                line = line[(space + 1)..];
            }

            yield return line;
        }
    }

    /// <summary>Sentences with the subject or with a pronoun after the first, a list, or a table.</summary>
    private static string Block(Lexicon l, string subject, (Attribute Attribute, string Value)[] facts, int style)
    {
        switch (style)
        {
            case 3:
                return string.Join('\n', facts.Select(f => $"- {Facts.Sentence(f.Attribute.Called)}: {f.Value}"));
            case 4:
                return "| Item | Value |\n|---|---|\n" + string.Join('\n', facts.Select(f => $"| {Facts.Sentence(f.Attribute.Called)} | {f.Value} |"));
            default:
                bool person = char.IsUpper(subject[0]) && !subject.StartsWith("The ", StringComparison.Ordinal);
                string again = style < 2 || person ? subject : "it";
                return string.Join(' ', facts.Select((f, i) => f.Attribute.Say(l, i == 0 ? subject : again, f.Value)));
        }
    }
}
