using System.Text;
using Gemma.Extensions.AI.Benchmarks;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Rag.Ingestion;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;
using UglyToad.PdfPig.Content;
using UglyToad.PdfPig.Core;
using UglyToad.PdfPig.Fonts.Standard14Fonts;
using UglyToad.PdfPig.Writer;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

public sealed class IngestionTests : IDisposable
{
    private static readonly GemmaTokenizer s_tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private static ParsedDocument Read(string text, DocumentFormat format) => DocumentReader.Read(Encoding.UTF8.GetBytes(text), format);

    [Fact]
    public void TextIsParagraphsWithLines()
    {
        ParsedDocument document = Read("First line\nsecond line\n\n\nOther paragraph.\r\n\r\nLast", DocumentFormat.Text);
        Assert.Equal([("First line\nsecond line", 1), ("Other paragraph.", 5), ("Last", 7)], document.Blocks.Select(b => (b.Text, b.Line!.Value)));
        Assert.Null(document.Title);
        byte[] utf16 = [.. Encoding.Unicode.GetPreamble(), .. Encoding.Unicode.GetBytes("Grüße")];
        Assert.Equal("Grüße", DocumentReader.Read(utf16, DocumentFormat.Text).Blocks.Single().Text);
    }

    [Fact]
    public void MarkdownKeepsHeadingsListsTablesAndCode()
    {
        ParsedDocument document = Read(
            """
            ---
            author: nobody
            ---
            # Garden

            Water *early* with [a can](http://x.y) and `care`.

            ## Tools

            - spade
            - rake

            ```
            if (dry)
                water();
            ```

            | plant | litres |
            |---|---|
            | tomato | 2 |

            <p>Inner <b>html</b></p>

            # Shed
            Locked.
            """,
            DocumentFormat.Markdown);
        Assert.Equal("Garden", document.Title);
        Assert.Equal("Water early with a can and care.", document.Blocks[0].Text);
        Assert.Equal(["Garden"], document.Blocks[0].Section);
        Assert.Equal(6, document.Blocks[0].Line);
        Assert.Equal("- spade\n- rake", document.Blocks[1].Text);
        Assert.Equal(["Garden", "Tools"], document.Blocks[1].Section);
        Assert.Contains("    water();", document.Blocks[2].Text, StringComparison.Ordinal);
        Assert.Contains("| tomato | 2 |", document.Blocks[3].Text, StringComparison.Ordinal);
        Assert.Equal("Inner html", document.Blocks[4].Text);
        Assert.Equal(["Shed"], document.Blocks[5].Section);
        Assert.DoesNotContain(document.Blocks, b => b.Text.Contains("nobody", StringComparison.Ordinal));
    }

    [Fact]
    public void HtmlLeavesTheFurnitureOut()
    {
        ParsedDocument document = Read(
            """
            <html><head><title>Tide  tables</title><style>p{}</style></head><body><nav><a href=#>Home</a></nav>
            <h1>Tides</h1><div>High water is <b>late</b>
            today.<p>Low &amp; slow.</p>Tail</div><h2>Times</h2><table><tr><th>Port</th><th>Time</th></tr><tr><td>Dover</td><td>11:04</td></tr></table>
            <ul><li>one<li>two</ul><pre>a
              b</pre><script>alert(1)</script><footer>Imprint</footer></body></html>
            """,
            DocumentFormat.Html);
        Assert.Equal("Tide tables", document.Title);
        Assert.Equal(
            ["High water is late today.", "Low & slow.", "Tail", "Port | Time\nDover | 11:04", "- one\n- two", "a\n  b"],
            document.Blocks.Select(b => b.Text));
        Assert.Equal(["Tides", "Times"], document.Blocks[3].Section);
    }

    [Theory]
    [InlineData("<p>Read <span>this<script>alert(1)</script><style>b{}</style></span> now.</p>", "Read this now.")]
    [InlineData("<h2>Tide<script>x()</script></h2><ul><li>one<button>Buy</button></ul>", "- one Buy")]
    [InlineData("<table><tr><td>a<script>x()</script></td><td>b</td></tr></table>", "a | b")]
    [InlineData("<form id=all><div>WebForms wraps pages in one.</div><input value=x><select><option>One of many</select></form>", "WebForms wraps pages in one.|One of many")]
    [InlineData("<article>First.</article><article>Second.</article>", "First.|Second.")]
    [InlineData("<aside>Other.</aside><article>Only.</article>", "Only.")]
    [InlineData("<a href=x><div>A link</div><p>around blocks</p></a>", "A link|around blocks")]
    [InlineData("<body><noscript>Turn it on</noscript><p>Text<br>more</p>", "Text more")]
    [InlineData("<p>Read<b><br>this<br></b>now<br>.", "Read this now .")]
    [InlineData("<h1>Big<br>title</h1><p>x", "x")]
    [InlineData("<ul><li><p>One</p><p>Two</p></li><li>Fruit<ul><li>Apple</li><li>Pear</li></ul></li></ul>", "- One Two\n- Fruit Apple Pear")]
    [InlineData("<ul><li>One</li><ul><li>Two</li></ul></ul>", "- One\n- Two")]
    [InlineData("<table><caption>Ports</caption><tr><td>a<br>b</td><td><p>c</p><p>d</p></td></tr></table>", "Ports\na b | c d")]
    [InlineData("<table><tr><td><h1>Laid</h1><p>out</p><table><tr><td>1</td><td>2</td></tr></table></td></tr></table>", "out|1 | 2")]
    [InlineData("<pre>if (a)<br>  b();<div>else</div><div>  c();</div></pre>", "if (a)\n  b();\nelse\n  c();")]
    [InlineData("<h1>Plan</h1><h2>First</h2><h2>Then</h2><p>more</p><h1>Last</h1>", "First|more|Last")]
    public void HtmlOfAllSorts(string html, string expected) => Assert.Equal(expected, string.Join('|', Read(html, DocumentFormat.Html).Blocks.Select(b => b.Text)));

    [Fact]
    public void MarkdownWithHtmlBreaksAndHeadings()
    {
        ParsedDocument document = Read("<h1 align=\"center\">Shed</h1>\n\nOne<br>two<BR />three\nfour &auml; ![a spade](x.png)\n", DocumentFormat.Markdown);
        Assert.Equal("Shed", document.Title);
        Assert.Equal([("Shed", 1), ("One two three\nfour ä a spade", 3)], document.Blocks.Select(b => (b.Text, b.Line!.Value)));

        // An outline has nothing but headings, and they are what it says.
        document = Read("# Plan\n\n## Dig\n\n## Sow\n\nIn March.\n\n## Reap\n", DocumentFormat.Markdown);
        Assert.Equal([("Dig", "Plan", 3), ("In March.", "Plan > Sow", 7), ("Reap", "Plan", 9)], document.Blocks.Select(b => (b.Text, string.Join(" > ", b.Section), b.Line!.Value)));
        Assert.Equal(("Alone", "Alone"), (Read("# Alone", DocumentFormat.Markdown).Title, Read("# Alone", DocumentFormat.Markdown).Blocks.Single().Text));
    }

    [Fact]
    public void TextOfOtherEncodings()
    {
        byte[] old = [.. "Caf"u8, 0xE9, .. " \u2014 "u8[..1], 0x80, .. "5"u8];
        Assert.Equal("Café €5", DocumentReader.Read(old, DocumentFormat.Text).Blocks.Single().Text);
        Assert.Equal("Café €5", DocumentReader.Read(old, DocumentFormat.Markdown).Blocks.Single().Text);
        Assert.Equal("Café", DocumentReader.Read([0xEF, 0xBB, 0xBF, .. Encoding.UTF8.GetBytes("Café")], DocumentFormat.Text).Blocks.Single().Text);
        byte[] noise = new byte[5000];
        new Random(3).NextBytes(noise);
        Assert.Throws<GemmaRagException>(() => DocumentReader.Read(noise, DocumentFormat.Text));
        Assert.Equal("\e[1mbold\e[0m", DocumentReader.Read("\e[1mbold\e[0m\f"u8.ToArray(), DocumentFormat.Text).Blocks.Single().Text);
        Assert.Contains("Save it as UTF-8", Assert.Throws<GemmaRagException>(() => DocumentReader.Read(Encoding.Unicode.GetBytes("Without a mark"), DocumentFormat.Text)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", 1252, "Café – ja")]
    [InlineData("", 65001, "Café – ja")]
    [InlineData("<meta charset='windows-1251'>", 1251, "мост")]
    [InlineData("<META HTTP-EQUIV='Content-Type' CONTENT='text/html; charset=Shift_JIS'>", 932, "橋")]
    [InlineData("", 1200, "Grüße")]
    public void PagesOfOtherEncodings(string declaration, int codePage, string text)
    {
        Encoding encoding = CodePagesEncodingProvider.Instance.GetEncoding(codePage) ?? Encoding.GetEncoding(codePage);
        byte[] page = [.. codePage == 1200 ? encoding.GetPreamble() : [], .. encoding.GetBytes($"<html><head>{declaration}</head><body><p>{text}</p>")];
        Assert.Equal(text, DocumentReader.Read(page, DocumentFormat.Html).Blocks.Single().Text);
    }

    private static byte[] Pdf(params string[] pages)
    {
        using PdfDocumentBuilder builder = new() { DocumentInformation = { Title = "Manual" } };
        PdfDocumentBuilder.AddedFont font = builder.AddStandard14Font(Standard14Font.Helvetica);
        foreach (string text in pages)
        {
            PdfPageBuilder page = builder.AddPage(PageSize.A4);
            double y = 800;
            foreach (string line in text.Split('\n'))
            {
                page.AddText(line, 11, new PdfPoint(50, y), font);
                y -= 14;
            }
        }

        return builder.Build();
    }

    [Fact]
    public void PdfIsReadPageByPage()
    {
        ParsedDocument document = DocumentReader.Read(Pdf("The pump runs at night.\nIt stops at dawn.", "Oil the bearings every year."), DocumentFormat.Pdf);
        Assert.Equal("Manual", document.Title);
        Assert.Contains("pump runs at night", document.Blocks.First(b => b.Page == 1).Text, StringComparison.Ordinal);
        Assert.Contains("Oil the bearings", document.Blocks.Single(b => b.Page == 2).Text, StringComparison.Ordinal);
    }

    /// <summary>Random and damaged bytes: a document or the documented exception, nothing else.</summary>
    [Theory]
    [InlineData(DocumentFormat.Text)]
    [InlineData(DocumentFormat.Markdown)]
    [InlineData(DocumentFormat.Html)]
    [InlineData(DocumentFormat.Pdf)]
    public void DamagedBytesEndInTheDocumentedException(DocumentFormat format)
    {
        Random random = new(5);
        byte[] sound = format == DocumentFormat.Pdf ? Pdf("Some text", "More text") : Encoding.UTF8.GetBytes("# A\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<div><p>x<table><td>y</div>\n- l\n  - m\n```\ncode");
        for (int i = 0; i < 300; i++)
        {
            byte[] bytes = (byte[])sound.Clone();
            for (int change = random.Next(1, 20); change > 0; change--)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            bytes = i % 3 == 0 ? bytes[..random.Next(bytes.Length)] : bytes;
            try
            {
                Assert.NotNull(DocumentReader.Read(bytes, format).Blocks);
            }
            catch (GemmaRagException error)
            {
                Assert.Contains(format.ToString(), error.Message, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void DeepNestingIsRead()
    {
        Assert.Equal("deep", Read(string.Concat(Enumerable.Repeat("<div>", 500)) + "deep", DocumentFormat.Html).Blocks.Single().Text);
        Assert.NotEmpty(Read(string.Concat(Enumerable.Repeat("> ", 90)) + "deep", DocumentFormat.Markdown).Blocks);
        Assert.NotEmpty(Read(string.Concat(Enumerable.Range(0, 50).Select(i => new string(' ', 2 * i) + "- deep\n")), DocumentFormat.Markdown).Blocks);

        // Elements one after the other, closed or by a rule of HTML, are not nested.
        Assert.Equal(3000, Read(string.Concat(Enumerable.Repeat("<div><p>a<br><b>b</b></div><p>c", 1500)), DocumentFormat.Html).Blocks.Count);
    }

    /// <summary>The parsers take time by the square of the depth, or worse: however deep it goes on, they read no further than to the limit.</summary>
    [Theory]
    [InlineData("<div>", DocumentFormat.Html)]
    [InlineData("<ul><li>", DocumentFormat.Html)]
    [InlineData("<b>", DocumentFormat.Html)]
    [InlineData("<p><font id={0}>x</p>", DocumentFormat.Html)] // Each paragraph opens again all that were not closed.
    [InlineData("- ", DocumentFormat.Markdown)]
    [InlineData("> ", DocumentFormat.Markdown)]
    [InlineData("{1}- x\n", DocumentFormat.Markdown)]
    public async Task DeepNestingIsRefusedAtTheLimit(string nested, DocumentFormat format)
    {
        (SqliteVectorStore store, VectorStoreCollection<Guid, DocumentChunk> collection) = Open(null);
        using SqliteVectorStore _ = store;
        IngestionResult result = await new DocumentIngestor(collection, s_tokenizer).IngestAsync([SourceDocument.FromText("deep", Text(600), format), SourceDocument.FromText("fine", "Fine.")]);
        Assert.Equal(1, result.Stored);
        Assert.Equal(Steps(600), Steps(1200));

        // Quotes in one line are Markdig's own to refuse.
        Assert.Matches("^At line [0-9,]+, more than (512|256) .* are open|depth limit exceeded", Assert.IsType<GemmaRagException>(result.Failures["deep"]).Message);

        string Text(int depth) => string.Concat(Enumerable.Range(0, depth).Select(i => nested.Replace("{0}", $"{i}", StringComparison.Ordinal).Replace("{1}", new string(' ', 2 * i), StringComparison.Ordinal))) + "end";

        int Steps(int depth)
        {
            int steps = 0;
            Action<string, BlockCollector, Action> read = format == DocumentFormat.Html ? HtmlReader.Read : MarkdownReader.Read;
            Assert.ThrowsAny<Exception>(() => read(Text(depth), new BlockCollector(long.MaxValue), () => steps++));
            return steps;
        }
    }

    [Theory]
    [InlineData("<p>x</p>", DocumentFormat.Html)]
    [InlineData("- x\n", DocumentFormat.Markdown)]
    public async Task ParsingCanBeCancelled(string part, DocumentFormat format)
    {
        byte[] content = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat(part, 10)));
        using CancellationTokenSource stop = new();
        await stop.CancelAsync();
        Assert.Throws<OperationCanceledException>(() => DocumentReader.Read(content, format, stop.Token));
    }

    /// <summary>To open a pipe blocks until somebody writes into it.</summary>
    [Fact]
    public async Task PipesAndDevicesAreNotOpened()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Skip("Folders hold no pipes here.");
        }

        string folder = Directory.CreateDirectory(_directory.File("pipes")).FullName;
        using (System.Diagnostics.Process make = System.Diagnostics.Process.Start("mkfifo", [Path.Combine(folder, "pipe.txt")]))
        {
            await make.WaitForExitAsync();
            Assert.Equal(0, make.ExitCode);
        }

        File.CreateSymbolicLink(Path.Combine(folder, "to pipe.txt"), Path.Combine(folder, "pipe.txt"));
        File.CreateSymbolicLink(Path.Combine(folder, "endless.txt"), "/dev/zero");
        File.CreateSymbolicLink(Path.Combine(folder, "nowhere.txt"), Path.Combine(folder, "none"));
        await File.WriteAllTextAsync(Path.Combine(folder, "file.txt"), "Fine.");
        File.CreateSymbolicLink(Path.Combine(folder, "to file.txt"), "file.txt");
        (SqliteVectorStore store, VectorStoreCollection<Guid, DocumentChunk> collection) = Open(null);
        using SqliteVectorStore _ = store;
        IngestionResult result = await Task.Run(() => new DocumentIngestor(collection, s_tokenizer).IngestAsync(SourceDocument.FromFolder(folder))).WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Equal(2, result.Stored);
        Assert.Equal(["endless.txt", "nowhere.txt", "pipe.txt", "to pipe.txt"], result.Failures.Keys.Order(StringComparer.Ordinal));
        Assert.Equal("'pipe.txt' holds no text.", result.Failures["pipe.txt"].Message);
    }

    /// <summary>Random documents: no passage is over the limit, and every sentence is in some passage, in order.</summary>
    [Fact]
    public void PassagesKeepToTheLimitAndLoseNothing()
    {
        Random random = new(6);
        for (int round = 0; round < 60; round++)
        {
            int max = random.Next(24, 200);
            Chunker chunker = new(s_tokenizer, max, random.Next(1, max / 2), random.Next(0, max / 4));
            List<DocumentBlock> blocks = [];
            int word = 0;
            for (int b = 0; b < 12; b++)
            {
                string[] section = [.. Enumerable.Range(0, random.Next(3)).Select(l => $"H{l}{b / 3}")];
                bool code = random.Next(5) == 0;
                string text = string.Join(code ? "\n" : " ", Enumerable.Range(0, random.Next(1, 9)).Select(_ =>
                    string.Join(' ', Enumerable.Range(0, random.Next(1, random.Next(5) == 0 ? 150 : 12)).Select(_ => $"W{word++}")) + "."));
                blocks.Add(new DocumentBlock(text, section, Line: b + 1, IsPreformatted: code));
            }

            IReadOnlyList<Chunk> chunks = chunker.Split(new ParsedDocument("T", blocks), "T");
            Assert.All(chunks, c => Assert.Equal(s_tokenizer.CountTokens(c.Text), c.Tokens));
            Assert.All(chunks, c => Assert.True(c.Tokens <= max + 4, $"{c.Tokens} tokens, at most {max}: {c.Text}"));
            int next = 0;
            foreach (string piece in chunks.SelectMany(c => c.Text.Split([' ', '\n', '.'], StringSplitOptions.RemoveEmptyEntries)).Where(p => p[0] == 'W'))
            {
                int number = int.Parse(piece.AsSpan(1));
                Assert.True(number <= next, $"W{next} is missing before W{number}.");
                next = Math.Max(next, number + 1);
            }

            Assert.Equal(word, next);
        }
    }

    /// <summary>A passage from the middle of a long log, paragraph or list cites the line where it begins, not where the whole begins.</summary>
    [Theory]
    [InlineData(DocumentFormat.Text, "entry {0} says nothing new\n")]
    [InlineData(DocumentFormat.Text, "Entry {0} says nothing new. ")]
    [InlineData(DocumentFormat.Text, "{0}\nis what this entry says. ")]
    [InlineData(DocumentFormat.Markdown, "Entry {0} says\nnothing new. ")]
    [InlineData(DocumentFormat.Markdown, "- entry {0} says nothing new\n")]
    [InlineData(DocumentFormat.Markdown, "    entry {0} says nothing new\n")]
    public void APassageKnowsTheLineThatItBeginsAt(DocumentFormat format, string entry)
    {
        string text = "Before.\n\n" + string.Concat(Enumerable.Range(1000, 60).Select(i => string.Format(System.Globalization.CultureInfo.InvariantCulture, entry, i)));
        string[] lines = text.Split('\n');
        IReadOnlyList<Chunk> chunks = new Chunker(s_tokenizer, 64, 1, 16).Split(Read(text, format), "");
        Assert.True(chunks.Count > 5);
        int seen = 999;
        foreach (Chunk chunk in chunks)
        {
            // What is repeated from the passage before does not count.
            int[] numbers = [.. System.Text.RegularExpressions.Regex.Matches(chunk.Text, @"\b1\d\d\d\b").Select(m => int.Parse(m.Value)).Where(n => n > seen)];
            if (numbers.Length > 0 && !chunk.Text.StartsWith("Before", StringComparison.Ordinal))
            {
                Assert.Contains($"{numbers[0]}", lines[chunk.Line!.Value - 1], StringComparison.Ordinal);
            }

            seen = numbers.DefaultIfEmpty(seen).Max();
        }
    }

    [Fact]
    public void TextWithoutSpacesIsSplitBetweenCharacters()
    {
        string text = string.Concat(Enumerable.Repeat("水は高いところから低いところへ流れ𠮷る", 40));
        IReadOnlyList<Chunk> chunks = new Chunker(s_tokenizer, 64, 8, 0).Split(new ParsedDocument(null, [new DocumentBlock(text, [])]), "");
        Assert.True(chunks.Count > 3);
        Assert.Equal(text, string.Concat(chunks.Select(c => c.Text.Replace(" ", "", StringComparison.Ordinal))));
    }

    private static string Long(string topic, int sentences) =>
        $"# {topic}\n\n" + string.Join("\n\n", Enumerable.Range(0, sentences).Select(i => $"Fact {i} about {topic} is that number {i * 7} counts for more than number {i}."));

    private (SqliteVectorStore Store, VectorStoreCollection<Guid, DocumentChunk> Collection) Open(int? dimensions = 8)
    {
        SqliteVectorStore store = new(_directory.File("rag.db"));
        return (store, store.GetCollection<Guid, DocumentChunk>("documents", DocumentChunk.CreateDefinition(dimensions)));
    }

    [Fact]
    public async Task OnlyWhatChangedIsIngestedAgain()
    {
        (SqliteVectorStore store, VectorStoreCollection<Guid, DocumentChunk> collection) = Open();
        using SqliteVectorStore _ = store;
        CountingGenerator embeddings = new();
        DocumentIngestor ingestor = new(collection, s_tokenizer, embeddings, new DocumentIngestorOptions { MaxTokens = 64, MinTokens = 16, OverlapTokens = 8, BatchSize = 4 });
        string folder = Directory.CreateDirectory(_directory.File("docs/sub")).Parent!.FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "a.md"), Long("apples", 20));
        await File.WriteAllTextAsync(Path.Combine(folder, "sub", "b.txt"), "A short note about bees.");
        await File.WriteAllTextAsync(Path.Combine(folder, "c.html"), "<h1>Cats</h1><p>Cats sleep.</p>");
        await File.WriteAllBytesAsync(Path.Combine(folder, "d.pdf"), Pdf("Dogs bark."));
        await File.WriteAllTextAsync(Path.Combine(folder, "ignored.xyz"), "no");

        List<IngestionProgress> reports = [];
        Progress progress = new(reports);
        IngestionResult first = await ingestor.IngestAsync(SourceDocument.FromFolder(folder), progress: progress);
        Assert.Equal((4, 0, 0), (first.Stored, first.Unchanged, first.Removed));
        Assert.Equal(["a.md", "c.html", "d.pdf", "sub/b.txt"], reports.Select(r => r.DocumentId));
        Assert.Equal(embeddings.Texts, first.Passages);
        List<DocumentChunk> all = await collection.GetAsync(c => true, 1000).ToListAsync();
        Assert.Equal(first.Passages, all.Count);
        Assert.All(all, c => Assert.True(c.TokenCount <= 68));
        Assert.Equal(1, all.Single(c => c.DocumentId == "d.pdf").Page);
        Assert.Equal("apples", all.First(c => c.DocumentId == "a.md").Title);

        IngestionResult second = await ingestor.IngestAsync(SourceDocument.FromFolder(folder));
        Assert.Equal((0, 4, 0, 0), (second.Stored, second.Unchanged, second.Removed, second.Passages));
        Assert.Equal(first.Passages, embeddings.Texts);

        await File.WriteAllTextAsync(Path.Combine(folder, "a.md"), Long("apricots", 3));
        File.Delete(Path.Combine(folder, "c.html"));
        IngestionResult third = await ingestor.IngestAsync(SourceDocument.FromFolder(folder));
        Assert.Equal((1, 2, 1), (third.Stored, third.Unchanged, third.Removed));
        all = await collection.GetAsync(c => true, 1000).ToListAsync();
        Assert.DoesNotContain(all, c => c.DocumentId == "c.html" || c.Text.Contains("apples", StringComparison.Ordinal));
        Assert.Contains(all, c => c.Text.Contains("apricots", StringComparison.Ordinal));
        Assert.Equal(Enumerable.Range(0, all.Count(c => c.DocumentId == "a.md")), all.Where(c => c.DocumentId == "a.md").Select(c => c.Ordinal).Order());

        // What other passages would come of is a change of every document.
        DocumentIngestor other = new(collection, s_tokenizer, embeddings, new DocumentIngestorOptions { MaxTokens = 48, MinTokens = 16, OverlapTokens = 0 });
        Assert.Equal(3, (await other.IngestAsync(SourceDocument.FromFolder(folder))).Stored);
    }

    [Fact]
    public async Task ADocumentThatCannotBeReadIsReportedAndItsOldPassagesStay()
    {
        (SqliteVectorStore store, VectorStoreCollection<Guid, DocumentChunk> collection) = Open(null);
        using SqliteVectorStore _ = store;
        DocumentIngestor ingestor = new(collection, s_tokenizer);
        await ingestor.IngestAsync([new SourceDocument("m.pdf", DocumentFormat.Pdf, _ => Task.FromResult(Pdf("Old words."))), SourceDocument.FromText("n", "Fine.")]);
        IngestionResult result = await ingestor.IngestAsync(
            [new SourceDocument("m.pdf", DocumentFormat.Pdf, _ => Task.FromResult("no pdf"u8.ToArray())), SourceDocument.FromText("n", "Finer."), SourceDocument.FromText("empty", " \n ")]);
        Assert.Equal(["empty", "m.pdf"], result.Failures.Keys.Order());
        Assert.Equal(1, result.Stored);
        Assert.Contains("Old words", (await collection.GetAsync(DocumentChunk.Key("m.pdf", 0)))!.Text, StringComparison.Ordinal);
        await Assert.ThrowsAsync<GemmaRagException>(() => ingestor.IngestAsync([SourceDocument.FromText("n", "1"), SourceDocument.FromText("n", "2")]));
    }

    [Fact]
    public async Task WhateverASourceThrowsIsItsDocumentsFailure()
    {
        (SqliteVectorStore store, VectorStoreCollection<Guid, DocumentChunk> collection) = Open(null);
        using SqliteVectorStore _ = store;
        DocumentIngestor ingestor = new(collection, s_tokenizer);
        IngestionResult result = await ingestor.IngestAsync(
        [
            new SourceDocument("http", DocumentFormat.Html, _ => throw new HttpRequestException("404")),
            new SourceDocument("slow", DocumentFormat.Html, _ => Task.FromException<byte[]>(new TaskCanceledException("The request timed out."))),
            SourceDocument.FromText("fine", "Fine."),
        ]);
        Assert.Equal((1, 2), (result.Stored, result.Failures.Count));
        Assert.All(result.Failures, failure => Assert.IsType<GemmaRagException>(failure.Value));
        using CancellationTokenSource stop = new();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => ingestor.IngestAsync(
            [new SourceDocument("x", DocumentFormat.Html, token => { stop.Cancel(); token.ThrowIfCancellationRequested(); return Task.FromResult<byte[]>([]); })], cancellationToken: stop.Token));
    }

    [Fact]
    public async Task ADocumentThatBecameEmptyIsNotCitedAnyMore()
    {
        (SqliteVectorStore store, VectorStoreCollection<Guid, DocumentChunk> collection) = Open(null);
        using SqliteVectorStore _ = store;
        DocumentIngestor ingestor = new(collection, s_tokenizer, options: new DocumentIngestorOptions { MaxTokens = 32, MinTokens = 8, OverlapTokens = 0 });
        await ingestor.IngestAsync([SourceDocument.FromText("n", Long("newts", 10)), SourceDocument.FromText("m", "Stays.")]);
        IngestionResult result = await ingestor.IngestAsync([SourceDocument.FromText("n", ""), SourceDocument.FromText("m", "Stays.")]);
        Assert.Equal(["n"], result.Failures.Keys);
        Assert.Equal(["m"], (await collection.GetAsync(c => true, 1000).ToListAsync()).Select(c => c.DocumentId));
    }

    /// <summary>A log without an empty line or the end of a sentence, a row of one character: the work must grow with the length, not with its square.</summary>
    [Theory]
    [InlineData("words")]
    [InlineData(")")]
    [InlineData("=")]
    [InlineData(". ")]
    [InlineData("x")]
    public void AHugeParagraphIsCutInTime(string of)
    {
        string text = of == "words"
            ? string.Join(' ', Enumerable.Range(0, 150_000).Select(i => $"w{i * 7919 % 10007}"))
            : string.Concat(Enumerable.Repeat(of, 800_000 / of.Length)) + " End.";
        double start = ProcessorTime.Microseconds();
        IReadOnlyList<Chunk> chunks = new Chunker(s_tokenizer, 256, 48, 32).Split(new ParsedDocument(null, [new DocumentBlock(text, [])]), "log");
        Assert.InRange(ProcessorTime.Microseconds() - start, 0, 20e6);
        Assert.All(chunks, c => Assert.True(c.Tokens <= 260));
        Assert.True(chunks.Count > 50);
    }

    [Fact]
    public async Task OtherSettingsOfTheEmbeddingsAreAChangeOfEveryDocument()
    {
        (SqliteVectorStore store, VectorStoreCollection<Guid, DocumentChunk> collection) = Open();
        using SqliteVectorStore _ = store;
        async Task<int> StoredAsync(GemmaEmbeddingOptions how) =>
            (await new DocumentIngestor(collection, s_tokenizer, new CountingGenerator { How = how }).IngestAsync([SourceDocument.FromText("n", "Newts swim.")])).Stored;
        Assert.Equal(1, await StoredAsync(new GemmaEmbeddingOptions()));
        Assert.Equal(0, await StoredAsync(new GemmaEmbeddingOptions { QueryPrefix = "Only questions: " }));
        Assert.Equal(1, await StoredAsync(new GemmaEmbeddingOptions { Pooling = GemmaEmbeddingPooling.LastToken }));
        Assert.Equal(1, await StoredAsync(new GemmaEmbeddingOptions { Pooling = GemmaEmbeddingPooling.LastToken, DocumentPrefix = "passage: " }));
    }

    [Fact]
    public void AFolderThatLinksBackToItselfIsReadOnce()
    {
        string folder = Directory.CreateDirectory(_directory.File("linked/sub")).Parent!.FullName;
        File.WriteAllText(Path.Combine(folder, "sub", "ünï 日本.txt"), "Here.");
        File.WriteAllText(_directory.File("elsewhere.txt"), "There.");
        try
        {
            Directory.CreateSymbolicLink(Path.Combine(folder, "sub", "back"), folder);
            File.CreateSymbolicLink(Path.Combine(folder, "file.txt"), _directory.File("elsewhere.txt"));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            Assert.Skip("links can't be made here");
        }

        Assert.Equal(["file.txt", "sub/ünï 日本.txt"], SourceDocument.FromFolder(folder).Select(d => d.Id));
        Assert.Throws<DirectoryNotFoundException>(() => SourceDocument.FromFolder(_directory.File("nowhere")).Count());
    }

    /// <summary>An ingestion that is stopped after every batch, again and again, ends with what an unbroken one gives and embeds no passage twice.</summary>
    [Fact]
    public async Task AnInterruptedIngestionGoesOnWhereItStopped()
    {
        (SqliteVectorStore store, VectorStoreCollection<Guid, DocumentChunk> collection) = Open();
        using SqliteVectorStore _ = store;
        SourceDocument[] documents = [SourceDocument.FromText("long", Long("rivers", 60), DocumentFormat.Markdown), SourceDocument.FromText("short", "One line.")];
        DocumentIngestorOptions options = new() { MaxTokens = 64, MinTokens = 16, OverlapTokens = 0, BatchSize = 3 };
        int stops = 0, embedded = 0;
        while (true)
        {
            // Two batches, then the next one fails.
            CountingGenerator embeddings = new() { FailAfterCalls = 2 };
            try
            {
                IngestionResult result = await new DocumentIngestor(collection, s_tokenizer, embeddings, options).IngestAsync(documents);
                embedded += embeddings.Texts;
                Assert.Empty(result.Failures);
                break;
            }
            catch (InvalidOperationException)
            {
                stops++;
                embedded += embeddings.Texts;
                Assert.Null(await collection.GetAsync(DocumentChunk.Key("short", 0)));
            }
        }

        List<DocumentChunk> all = await collection.GetAsync(c => true, 1000).ToListAsync();
        Assert.True(stops > 3, $"It was stopped {stops} times.");
        Assert.Equal(all.Count, embedded);
        Assert.Equal(all.Count - 2, all.Where(c => c.DocumentId == "long").Max(c => c.Ordinal));
    }

    private sealed class Progress(List<IngestionProgress> reports) : IProgress<IngestionProgress>
    {
        public void Report(IngestionProgress value) => reports.Add(value);
    }

    /// <summary>Vectors of letter counts; counts what it is asked for.</summary>
    private sealed class CountingGenerator : IEmbeddingGenerator<string, Embedding<float>>
    {
        private int _calls;

        public int FailAfterCalls { get; init; } = int.MaxValue;

        public GemmaEmbeddingOptions? How { get; init; }

        public int Texts { get; private set; }

        public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
        {
            if (_calls++ >= FailAfterCalls)
            {
                throw new InvalidOperationException("stopped");
            }

            GeneratedEmbeddings<Embedding<float>> result = new(values.Select(v => new Embedding<float>(Enumerable.Range('a', 8).Select(c => 1f + v.Count(x => x == c)).ToArray())));
            Texts += result.Count;
            return Task.FromResult(result);
        }

        public object? GetService(Type serviceType, object? serviceKey = null) => serviceType == typeof(GemmaEmbeddingOptions) ? How : null;

        public void Dispose()
        {
        }
    }
}
