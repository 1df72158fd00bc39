using System.Text;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Rag.Ingestion;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.VectorData;
using UglyToad.PdfPig.Filters;
using UglyToad.PdfPig.Tokens;
using Xunit;
using static Gemma.Extensions.AI.Tests.Rag.PdfText;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>Documents that cost more than they are worth: they are refused with a reason, and the others are read.</summary>
public sealed class LimitsTests : IDisposable
{
    private static readonly GemmaTokenizer s_tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private async Task<string> ReasonAsync(SourceDocument document, DocumentIngestorOptions? options = null)
    {
        using SqliteVectorStore store = new(_directory.File($"{Guid.NewGuid()}.db"));
        VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("c", DocumentChunk.CreateDefinition(null));
        IngestionResult result = await new DocumentIngestor(collection, s_tokenizer, options: options).IngestAsync([SourceDocument.FromText("before", "Fine."), document, SourceDocument.FromText("after", "Fine too.")]);
        Assert.Equal(2, result.Stored);
        return Assert.IsType<GemmaRagException>(result.Failures[document.Id]).Message;
    }

    /// <summary>Text without spaces is cut by reading it a few times, however long it is.</summary>
    [Theory]
    [InlineData("中文字符")]
    [InlineData("😀")]
    [InlineData("abcdefgh")]
    [InlineData("ปั๊มน้ำ")]
    [InlineData("e\u0301")]
    [InlineData("word ")]
    [InlineData("One sentence. ")]
    [InlineData("a\n")]
    public void CuttingReadsATextAFewTimes(string of)
    {
        long Read(int length)
        {
            CountingTokenizer tokenizer = new();
            string text = string.Concat(Enumerable.Repeat(of, length / of.Length));
            IReadOnlyList<Chunk> chunks = new Chunker(tokenizer, 256, 48, 32).Split(new ParsedDocument(null, [new DocumentBlock(text, [])]), "x");
            Assert.True(chunks.Count > length / 300);
            Assert.All(chunks, c => Assert.False(char.IsLowSurrogate(c.Text[2]) || char.IsHighSurrogate(c.Text[^1])));
            return tokenizer.Read;
        }

        long small = Read(20_000), large = Read(160_000);
        Assert.True(large < 9 * small, $"{small:N0} and {large:N0} characters are read.");
        Assert.True(large < 40 * 160_000, $"{large:N0} characters are read.");
    }

    /// <summary>The same by what a real tokenizer allocates, and the peak within a few times the text.</summary>
    [Theory]
    [InlineData("中文字符")]
    [InlineData("😀")]
    [InlineData("abcdefgh")]
    public void CuttingAllocatesByTheLength(string of)
    {
        long Allocated(int length)
        {
            ParsedDocument document = new(null, [new DocumentBlock(string.Concat(Enumerable.Repeat(of, length / of.Length)), [])]);
            long before = GC.GetAllocatedBytesForCurrentThread();
            new Chunker(s_tokenizer, 256, 48, 32).Split(document, "x");
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Allocated(5_000);
        long small = Allocated(10_000), large = Allocated(80_000);
        Assert.True(large < 10 * small, $"{small:N0} and {large:N0} bytes are allocated.");
    }

    [Fact]
    public void CuttingCanBeCancelledWithinAParagraph()
    {
        using CancellationTokenSource stop = new();
        CountingTokenizer tokenizer = new() { Asked = calls => { if (calls == 50) { stop.Cancel(); } } };
        ParsedDocument document = new(null, [new DocumentBlock(new string('中', 1_000_000), [])]);
        Assert.Throws<OperationCanceledException>(() => new Chunker(tokenizer, 256, 48, 32).Split(document, "x", stop.Token));
        Assert.True(tokenizer.Read < 200_000, $"{tokenizer.Read:N0} characters are read after all.");
    }

    /// <summary>Every passage repeats the headings above it.</summary>
    [Fact]
    public void HeadingsTakeHalfAPassageAtMost()
    {
        string title = string.Join(' ', Enumerable.Range(0, 150).Select(i => $"title{i}"));
        IReadOnlyList<Chunk> chunks = new Chunker(s_tokenizer, 128, 16, 0).Split(
            new ParsedDocument(null, [.. Enumerable.Range(0, 40).Select(i => new DocumentBlock($"Paragraph {i} says that the number is {i * 7}, no more and no less than that.", [title + "a", title + "b"]))]), title);
        Assert.All(chunks, c => Assert.True(c.Tokens <= 140, $"{c.Tokens} tokens"));
        ParsedDocument read = DocumentReader.Read(Encoding.UTF8.GetBytes($"<title>{new string('t', 100_000)}</title><h1>{new string('h', 100_000)}</h1><p>x"), DocumentFormat.Html);
        Assert.True(read.Title!.Length <= 1000);
        Assert.Equal(100_000, read.Blocks[0].Text.Length);
    }

    [Fact]
    public async Task DocumentsThatAreTooLargeAreNamed()
    {
        string file = _directory.File("large.txt");
        await File.WriteAllTextAsync(file, new string('x', 5000));
        DocumentIngestorOptions options = new() { MaxDocumentBytes = 4000, MaxMarkupBytes = 300, MaxTextLength = 2000 };
        Assert.Contains("5,000 bytes", await ReasonAsync(SourceDocument.FromFile(file)!, options), StringComparison.Ordinal);
        Assert.Contains("MaxDocumentBytes", await ReasonAsync(SourceDocument.FromText("x", new string('x', 4001)), options), StringComparison.Ordinal);
        Assert.Contains("MaxMarkupBytes", await ReasonAsync(SourceDocument.FromText("x", new string('x', 301), DocumentFormat.Html), options), StringComparison.Ordinal);
        Assert.Contains("MaxMarkupBytes", await ReasonAsync(SourceDocument.FromText("x", new string('x', 301), DocumentFormat.Markdown), options), StringComparison.Ordinal);
        Assert.Contains("MaxTextLength", await ReasonAsync(SourceDocument.FromText("x", new string('x', 2001)), options), StringComparison.Ordinal);
    }

    /// <summary>What the Markdown parser reads by the square of its number, or deeper than its stack, is counted.</summary>
    [Theory]
    [InlineData("a * ", 20_001, "20,000 asterisks")]
    [InlineData("*a **b ", 5_200, "depth limit exceeded")] // The parser's own limit; what may open emphasis is one in another.
    [InlineData("**a _b ", 5_200, "depth limit exceeded")]
    [InlineData("|a", 10_001, "10,000 columns")]
    [InlineData("[a]: x\n", 20_001, "20,000 lines in a row")]
    [InlineData("[a]: \n", 20_001, "20,000 lines in a row")]
    [InlineData("> ", 300, "depth limit exceeded")]
    public async Task MarkdownOverTheLimitsIsRefused(string of, int times, string reason)
    {
        string text = Repeat(of, times);
        Assert.Contains(reason, await ReasonAsync(SourceDocument.FromText("x.md", of == "|a" ? text + "\n" + text.Replace('a', '-') : text, DocumentFormat.Markdown)), StringComparison.Ordinal);
    }

    /// <summary>What it reads by the square of the length, and nobody counts, can be stopped at each of the places where a link or tag may begin.</summary>
    [Theory]
    [InlineData("[a](")]
    [InlineData("[](<")]
    [InlineData("a <? ")]
    [InlineData("[")]
    [InlineData("![x][")]
    public void MarkdownCanBeStoppedWhereverALinkMayBegin(string of)
    {
        const int Times = 100;
        int checks = 0;
        Assert.Throws<OperationCanceledException>(() => MarkdownReader.Read(Repeat(of, Times), new BlockCollector(long.MaxValue), () =>
        {
            if (++checks == Times)
            {
                throw new OperationCanceledException();
            }
        }));
    }

    [Fact]
    public async Task ADocumentThatTakesTooLongIsNamed()
    {
        CountingTokenizer slow = new() { Asked = _ => Thread.Sleep(10) }; // a quarter of an hour in all
        using SqliteVectorStore store = new(_directory.File("slow.db"));
        VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("c", DocumentChunk.CreateDefinition(null));
        DocumentIngestor ingestor = new(collection, slow, options: new DocumentIngestorOptions { ReadTimeout = TimeSpan.FromMilliseconds(50) });
        IngestionResult result = await ingestor.IngestAsync([SourceDocument.FromText("x", Repeat("A few words. ", 300_000))]);
        Assert.Contains("DocumentIngestorOptions.ReadTimeout", Assert.IsType<GemmaRagException>(result.Failures["x"]).Message, StringComparison.Ordinal);
    }

    private static string Form(string content, string forms) => Stream(content, $"/Type/XObject/Subtype/Form/BBox[0 0 1 1]/Resources<</XObject<<{forms}>>>>");

    private static byte[] Page(string contents, params string[] others) => Pdf(
        ["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1/Resources<</Font<</F 5 0 R>>/XObject<</X 6 0 R>>>>>>", "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R>>", contents, "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>", .. others]);

    [Theory]
    [InlineData("flate", "unpacks to more than")]
    [InlineData("run length", "unpacks to more than")]
    [InlineData("lzw", "unpacks to more than")]
    [InlineData("large", "draws more than")]
    [InlineData("fax", "packed as an image")]
    [InlineData("tree", "drawing instructions|draws more than")]
    [InlineData("deep", "64 deep")]
    [InlineData("states", "1,024 drawing states")]
    [InlineData("letters", "1,000,000 characters")]
    [InlineData("arrays", "nesting depth")]
    public async Task APageOverTheLimitsIsRefused(string kind, string reason)
    {
        byte[] pdf = kind switch
        {
            "flate" => Page(Stream(Deflated(new byte[140 << 20]), "/Filter/FlateDecode")),
            "run length" => Page(Stream(Repeat("\u0081q", 1_200_000), "/Filter/RunLengthDecode")),
            "lzw" => Page(Stream(Encoding.Latin1.GetString(LzwZeros(20)), "/Filter/LZWDecode")),
            "large" => Page(Stream(Deflated(new byte[40 << 20]), "/Filter/FlateDecode")),
            "fax" => Page(Stream("xxxx", "/Filter/CCITTFaxDecode/DecodeParms<</Columns 8/Rows 8>>")),
            "tree" => Page(Stream("/X Do"), [.. Enumerable.Range(0, 7).Select(i => Form(Repeat("/X Do ", 10), i < 6 ? $"/X {7 + i} 0 R" : ""))]),
            "deep" => Page(Stream("/X Do"), [.. Enumerable.Range(0, 80).Select(i => Form("/X Do", $"/X {7 + i} 0 R")), Form("", "")]),
            "states" => Page(Stream(Repeat("q ", 2000))),
            "letters" => Page(Stream("BT /F 12 Tf " + Repeat("(Hello you) Tj ", 120_000) + "ET")),
            _ => Page(Stream("BT " + Repeat("[", 5000) + " TJ ET")),
        };
        Assert.Matches(reason, await ReasonAsync(new SourceDocument("x.pdf", DocumentFormat.Pdf, _ => Task.FromResult(pdf))));
    }

    /// <summary>What is packed and drawn as documents do it is read.</summary>
    [Fact]
    public void OrdinaryPagesAreWithinTheLimits()
    {
        string Text(string text) => $"BT /F 12 Tf 50 700 Td ({text}) Tj ET";
        byte[] pdf = Page(Stream(Deflated(Encoding.Latin1.GetBytes(Text("packed") + " q /X Do Q % (comment /X Do\n")), "/Filter/FlateDecode"), Stream(Text("\\(drawn\\)"), "/Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<</Font<</F 5 0 R>>>>"));
        string read = string.Join(' ', DocumentReader.Read(pdf, DocumentFormat.Pdf).Blocks.Select(b => b.Text));
        Assert.Contains("packed", read, StringComparison.Ordinal);
        Assert.Contains("(drawn)", read, StringComparison.Ordinal);
        string lzw = Encoding.Latin1.GetString(Lzw(Encoding.Latin1.GetBytes(Text("lzw"))));
        Assert.Equal("lzw", DocumentReader.Read(Page(Stream(lzw, "/Filter/LZWDecode")), DocumentFormat.Pdf).Blocks.Single().Text);
    }

    /// <summary>A line of a PDF that ends with a hyphen, or with one that shows only there.</summary>
    [Theory]
    [InlineData("Donau\u00AD", "dampf", "Donaudampf")]
    [InlineData("Donau-", "dampf", "Donaudampf")]
    [InlineData("Nord-", "Ostsee", "Nord- Ostsee")]
    [InlineData("Donau", "dampf", "Donau dampf")]
    public void WordsGoOnOverTheEndOfALine(string first, string second, string expected)
    {
        byte[] pdf = Page(
            Stream($"BT /W 12 Tf 50 700 Td ({first}) Tj 0 -14 Td ({second}) Tj ET"), "<<>>",
            "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>");
        pdf = Encoding.Latin1.GetBytes(Encoding.Latin1.GetString(pdf).Replace("/F 5 0 R", "/W 7 0 R", StringComparison.Ordinal));
        Assert.Equal(expected, DocumentReader.Read(pdf, DocumentFormat.Pdf).Blocks.Single().Text);
    }

    /// <summary>The length that is foretold is the length that the parser's own filter gives.</summary>
    [Fact]
    public void TheLengthOfLzwIsForetold()
    {
        Random random = new(6);
        IFilter filter = DefaultFilterProvider.Instance.GetAllFilters().First(f => f.GetType().Name == "LzwFilter");
        DictionaryToken dictionary = new(new Dictionary<NameToken, IToken>());
        for (int round = 0; round < 60; round++)
        {
            byte[] bytes = new byte[random.Next(0, 30_000)];
            for (int i = 0; i < bytes.Length; i++)
            {
                bytes[i] = (byte)random.Next(1 + round);
            }

            byte[] packed = Lzw(bytes);
            Assert.Equal(filter.Decode(packed, dictionary, DefaultFilterProvider.Instance, 0).Length, PdfGuard.LzwLength(packed, long.MaxValue));
            Assert.Equal(bytes.Length, PdfGuard.LzwLength(packed, long.MaxValue));
        }
    }

    /// <summary>Zeros, 7 MB at a time: each code is a string that is one longer than the one before.</summary>
    private static byte[] LzwZeros(int times)
    {
        LzwWriter writer = new();
        for (int i = 0; i < times; i++)
        {
            writer.Put(256);
            writer.Put(0);
            while (writer.Next < 4094)
            {
                writer.Put(writer.Add());
            }
        }

        return writer.ToArray();
    }

    private static byte[] Lzw(byte[] bytes)
    {
        LzwWriter writer = new();
        Dictionary<(int, byte), int> table = [];
        writer.Put(256);
        int current = -1;
        foreach (byte b in bytes)
        {
            if (current < 0)
            {
                current = b;
            }
            else if (table.TryGetValue((current, b), out int longer))
            {
                current = longer;
            }
            else
            {
                writer.Put(current);
                table[(current, b)] = writer.Add();
                if (writer.Next == 4094)
                {
                    writer.Put(256);
                    table.Clear();
                }

                current = b;
            }
        }

        if (current >= 0)
        {
            writer.Put(current);
            writer.Add();
        }

        return writer.ToArray();
    }

    /// <summary>Codes of LZW as PDF has it, with the early change of widths.</summary>
    private sealed class LzwWriter
    {
        private readonly List<byte> _packed = [];
        private int _held, _bits, _width = 9;

        /// <summary>The code that the next string will have.</summary>
        public int Next { get; private set; } = 258;

        public void Put(int code)
        {
            _held = (_held << _width) | code;
            _bits += _width;
            while (_bits >= 8)
            {
                _packed.Add((byte)(_held >> (_bits -= 8)));
            }

            _held &= (1 << _bits) - 1;
            Next = code == 256 ? 258 : Next;
            _width = code == 256 ? 9 : _width;
        }

        public int Add()
        {
            int code = Next++;
            _width = Next >= 2048 ? 12 : Next >= 1024 ? 11 : Next >= 512 ? 10 : 9;
            return code;
        }

        public byte[] ToArray()
        {
            Put(257);
            return [.. _packed, .. _bits > 0 ? new[] { (byte)(_held << (8 - _bits)) } : []];
        }
    }
}
