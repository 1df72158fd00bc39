using System.Globalization;
using System.Text;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Rag.Ingestion;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.VectorData;
using Xunit;
using static Gemma.Extensions.AI.Tests.Rag.PdfText;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>
/// Documents that go past what the guards let through by their structure are refused with a reason, and the others are read. Each goes only just past a limit, or does so in a part that no reader
/// follows: none of them would harm the parsers.
/// </summary>
public sealed class BombTests : IDisposable
{
    private static readonly GemmaTokenizer s_tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
    private readonly TempDirectory _directory = new();

    private const string Hello = "BT /F 12 Tf 50 700 Td (Hello) Tj ET";

    private static readonly Dictionary<string, (Func<byte[]> File, string Reason)> s_bombs = new()
    {
        ["name tree: itself"] = (() => Names("<</Kids[4 0 R]>>"), "leads back to itself"),
        ["name tree: each other"] = (() => Names("<</Kids[5 0 R]>>", "<</Kids[4 0 R]>>"), "leads back to itself"),
        ["name tree: escaped key"] = (() => Names("<</K#69ds [ 4 0 R ]>>"), "leads back to itself"),
        ["name tree: comments"] = (() => Names("<</Kids%]\n[%x\n4%y\n0 R]>>"), "leads back to itself"),
        ["name tree: kids elsewhere"] = (() => Names("<</Kids 5 0 R>>", "[4 0 R]"), "leads back to itself"),
        ["name tree: behind a string"] = (() => Names("<</T(endobj \\( ( nested \\) ))/Kids[4 0 R]>>"), "leads back to itself"),
        ["name tree: without end"] = (() => Names([.. Enumerable.Range(0, 7).Select(static i => $"<</Kids[{Repeat($"{i + 5} 0 R ", 10)}]>>"), "<</Names[]>>"]), "more than 5,000,000 branches"),
        ["name tree: deep"] = (() => Names([.. Enumerable.Range(0, 600).Select(static i => $"<</Kids[{i + 5} 0 R]>>"), "<</Names[]>>"]), "512 levels"),
        ["name tree: in an object stream"] = (() => InStream("<</Kids[4 0 R]>>"), "leads back to itself"),
        ["name tree: in a packed object stream"] = (() => InStream("<</Kids[4 0 R]>>", isPacked: true), "leads back to itself"),
        ["page tree: itself"] = (() => Names("<</Type/Pages/Kids[5 0 R]/Count 1>>", "<</Type/Pages/Parent 4 0 R/Kids[4 0 R]/Count 1>>"), "leads back to itself"),
        ["page tree: deep"] = (() => Pdf(["<</Type/Catalog/Pages 2 0 R>>", .. Enumerable.Range(0, 600).Select(static i => $"<</Type/Pages/Parent {i + 1} 0 R/Kids[{i + 3} 0 R]/Count 1>>"), "<</Type/Page/MediaBox[0 0 6 8]>>"]), "512 levels"),
        ["references in a circle"] = (() => Names("<</Type/Pages/Kids 5 0 R/Count 1>>", "6 0 R", "5 0 R"), "leads back to itself"),
        ["cross-references: index"] = (() => XrefStream("/Size 3/W[1 2 1]/Index[0 8388608]"), "more than 8,388,607 objects"),
        ["cross-references: size"] = (() => XrefStream("/Size 8388608/W[1 2 1]"), "more than 8,388,607 objects"),
        ["cross-references: wide"] = (() => XrefStream("/Size 3/W[9 9 9]"), "entries that are none"),
        ["widths"] = (() => Page(Hello, CidFont("/W[0 1000001 500]")), "widths of more than 1,000,000"),
        ["widths: many ranges"] = (() => Page(Hello, CidFont($"/W[{Repeat("0 60000 500 ", 100)}]")), "widths of more than 1,000,000"),
        ["widths: vertical"] = (() => Page(Hello, CidFont("/W2[0 1000001 500 1 2]")), "widths of more than 1,000,000"),
        ["colour: deep"] = (() => Page("/C cs 1 sc " + Hello, "<</ColorSpace<</C 6 0 R>>>>", [.. Enumerable.Range(0, 70).Select(static i => $"[/Indexed {i + 7} 0 R 255 (x)]"), "/DeviceRGB"]), "nest more than 64 deep"),
        ["function: without end"] = (() => Page(Hello, "<</ColorSpace<</C[/Separation/X/DeviceRGB 6 0 R]>>>>", [.. Enumerable.Range(0, 7).Select(static i => $"<</FunctionType 3/Functions[{Repeat($"{i + 7} 0 R ", 10)}]/Domain[0 1]/Bounds[]/Encode[0 1]>>"), "<</FunctionType 2/Domain[0 1]/N 1>>"]), "parts"),
        ["function: braces"] = (() => Page("/C cs 1 sc " + Hello, "<</ColorSpace<</C[/Separation/X/DeviceRGB 6 0 R]>>>>", Stream("{" + Repeat("{", 100) + Repeat("}", 100) + "}", "/FunctionType 4/Domain[0 1]/Range[0 1 0 1 0 1]")), "nests more than 64 deep"),
        ["images"] = (() => Page(Repeat("/X Do ", 100_000), "<</XObject<</X 6 0 R>>>>", Stream("x", "/Type/XObject/Subtype/Image/Width 1/Height 1/BitsPerComponent 8/ColorSpace/DeviceRGB")), "drawing instructions"),
        ["table: one long row"] = (() => Encoding.UTF8.GetBytes($"|{Repeat("a|", 1000)}\n|{Repeat("-|", 1000)}\n{Repeat("|a\n", 2100)}"), "cells of a table that are not written"),
        ["table: rows at its end"] = (() => Encoding.UTF8.GetBytes($"|a|\n|-|\n{Repeat("|a\n", 1100)}|{Repeat("a|", 1000)}\n{Repeat("|a\n", 1100)}"), "cells of a table that are not written"),
    };

    public static TheoryData<string> Bombs => [.. s_bombs.Keys];

    public void Dispose() => _directory.Dispose();

    [Theory]
    [MemberData(nameof(Bombs))]
    public async Task ItIsRefusedAndTheRestGoesOn(string bomb)
    {
        (Func<byte[]> file, string reason) = s_bombs[bomb];
        using SqliteVectorStore store = new(_directory.File("store.db"));
        VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("c", DocumentChunk.CreateDefinition(null));
        SourceDocument document = new("x", bomb.StartsWith("table", StringComparison.Ordinal) ? DocumentFormat.Markdown : DocumentFormat.Pdf, _ => Task.FromResult(file()));
        IngestionResult result = await new DocumentIngestor(collection, s_tokenizer).IngestAsync([SourceDocument.FromText("before", "Fine."), document, SourceDocument.FromText("after", "Fine too.")]);
        Assert.Equal(2, result.Stored);
        Assert.Contains(reason, Assert.IsType<GemmaRagException>(result.Failures["x"]).Message, StringComparison.Ordinal);
    }

    /// <summary>What only looks like one is read: trees that share nothing, names in strings, forms that share the resources of their page, and a table of many rows.</summary>
    [Fact]
    public void OrdinaryStructuresAreRead()
    {
        static string Read(byte[] pdf) => string.Join(' ', DocumentReader.Read(pdf, DocumentFormat.Pdf).Blocks.Select(static b => b.Text));
        Assert.Equal("Hello", Read(Page(Hello, "<</ColorSpace<</C 6 0 R/D 6 0 R>>/ExtGState<</G<</SMask<</S/Luminosity/G 8 0 R>>>>>>>>", "[/Separation/X/DeviceRGB 7 0 R]", "<</FunctionType 2/Domain[0 1]/N 1>>", Stream("", "/Type/XObject/Subtype/Form/BBox[0 0 1 1]/Resources 5 0 R"))));
        Assert.Equal("Hello", Read(Page(Hello, CidFont("/W[0[500 600] 10 200 500 300[1 2 3]]"))));
        Assert.Equal("Hello", Read(Pdf(
            "<</Type/Catalog/Pages 2 0 R/Names<</Dests 5 0 R>>>>", "<</Type/Pages/Kids[3 0 R]/Count 1/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/T(/Kids[3 0 R])>>", Stream(Hello), "<</Kids[6 0 R 7 0 R]>>", "<</Limits[(a)(b)]/Names[(a)[3 0 R/Fit]]>>", "<</Limits[(c)(d)]/Names[]>>")));
        Assert.Equal(20_001, DocumentReader.Read(Encoding.UTF8.GetBytes("|a|b|\n|-|-|\n" + Repeat("|1|2|\n", 20_000)), DocumentFormat.Markdown).Blocks.Single().Text.Count(static c => c == '\n'));
    }

    /// <summary>Terms that go on in one line, readings within readings: what is allocated grows as the page does.</summary>
    [Theory]
    [InlineData("<dl>", "<dt>word", "")]
    [InlineData("<dl><dt>x", "<dd>word", "")]
    [InlineData("<p><ruby>", "a<rt>b</rt>", "</ruby>")]
    [InlineData("<ul>", "<li>a", "")]
    [InlineData("<table>", "<tr><td>a", "")]
    [InlineData("<p>", "<input value=x>", "")]
    [InlineData("<select>", "<option>a", "")]
    public void PagesAreReadByTheirLength(string head, string of, string end)
    {
        long Allocated(int times)
        {
            byte[] page = Encoding.UTF8.GetBytes(head + Repeat(of, times) + end);
            long before = GC.GetAllocatedBytesForCurrentThread();
            DocumentReader.Read(page, DocumentFormat.Html);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Allocated(500);
        long small = Allocated(2_000), large = Allocated(16_000);
        Assert.True(large < 11 * small, $"{small:N0} and {large:N0} bytes are allocated.");
    }

    [Fact]
    public void ReadingsWithinReadingsAreReadOnce()
    {
        long Allocated(int levels)
        {
            byte[] page = Encoding.UTF8.GetBytes("<p>" + Repeat("<ruby>a<rt>b", levels) + new string('x', 50_000));
            long before = GC.GetAllocatedBytesForCurrentThread();
            DocumentReader.Read(page, DocumentFormat.Html);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Allocated(10);
        long few = Allocated(20), many = Allocated(160);
        Assert.True(many < 3 * few, $"{few:N0} and {many:N0} bytes are allocated.");
    }

    /// <summary>Readers ask again and again whether they shall stop, and do where they are told to: in the loops of the parsers, in their own, and at the end.</summary>
    [Theory]
    [InlineData(DocumentFormat.Html, "<p><b>a</b> ", 8)]
    [InlineData(DocumentFormat.Html, "<dl><dt>a<dd>b</dl>", 12)]
    [InlineData(DocumentFormat.Html, "<ruby>a<rt>b</rt></ruby>", 12)]
    [InlineData(DocumentFormat.Markdown, "a *b* [c](d)\n\n", 6)]
    [InlineData(DocumentFormat.Markdown, "- a\n", 1)]
    [InlineData(DocumentFormat.Markdown, "<div>a</div>\n\n", 8)]
    [InlineData(DocumentFormat.Text, "a b\n\n", 2)]
    public void ReadingStopsWhereItIsCancelled(DocumentFormat format, string of, int least)
    {
        const int Times = 500;
        string document = Repeat(of, Times);
        int whole = Checks(int.MaxValue);
        Assert.True(whole >= least * Times, $"The reader asked {whole} times.");
        foreach (int at in (int[])[1, whole / 4, whole / 2, whole * 3 / 4, whole])
        {
            Assert.Throws<OperationCanceledException>(() => Checks(at));
        }

        int Checks(int last)
        {
            using CancellationTokenSource stop = new();
            int checks = 0;
            void Check()
            {
                Assert.False(stop.IsCancellationRequested, "The reader went on.");
                if (++checks == last)
                {
                    stop.Cancel();
                }

                stop.Token.ThrowIfCancellationRequested();
            }

            BlockCollector blocks = new(long.MaxValue);
            switch (format)
            {
                case DocumentFormat.Html:
                    HtmlReader.Read(document, blocks, Check);
                    break;
                case DocumentFormat.Markdown:
                    MarkdownReader.Read(document, blocks, Check);
                    break;
                default:
                    DocumentReader.ReadText(document, blocks, Check);
                    break;
            }

            return checks;
        }
    }

    /// <summary>A token that is cancelled ends reading, whatever the format.</summary>
    [Theory]
    [InlineData(DocumentFormat.Html)]
    [InlineData(DocumentFormat.Markdown)]
    [InlineData(DocumentFormat.Text)]
    [InlineData(DocumentFormat.Pdf)]
    public void ReadersTakeTheToken(DocumentFormat format) =>
        Assert.Throws<OperationCanceledException>(() => DocumentReader.Read(format == DocumentFormat.Pdf ? Page(Hello, "<<>>") : "a"u8.ToArray(), format, new CancellationToken(canceled: true)));

    private static byte[] Names(params string[] trees) => Pdf(["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Page/Parent 2 0 R/MediaBox[0 0 6 8]>>", .. trees]);

    /// <summary>A page of some contents and resources besides the font F; further objects are 6, 7 and so on.</summary>
    private static byte[] Page(string contents, string resources, params string[] others) => Pdf(
        [
            "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources 5 0 R>>", Stream(contents),
            resources.Contains("/Font", StringComparison.Ordinal) ? resources : resources[..^2] + "/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>", .. others,
        ]);

    private static string CidFont(string widths) =>
        $"<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>/G<</Type/Font/Subtype/Type0/BaseFont/A/Encoding/Identity-H/DescendantFonts[<</Type/Font/Subtype/CIDFontType2/BaseFont/A/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/FontDescriptor<</Type/FontDescriptor/FontName/A/Flags 4/FontBBox[0 0 1 1]/ItalicAngle 0/Ascent 1/Descent 0/CapHeight 1/StemV 1>>{widths}>>]>>>>>>";

    private static byte[] XrefStream(string entries)
    {
        string objects = "%PDF-1.5\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Kids[]/Count 0>>\nendobj\n";
        return Encoding.Latin1.GetBytes($"{objects}3 0 obj\n<</Type/XRef/Root 1 0 R{entries}/Length 8>>\nstream\nxxxxxxxx\nendstream\nendobj\nstartxref\n{objects.Length}\n%%EOF");
    }

    /// <summary>A tree of names as object 4, which nothing refers to, in the object stream 5 beside object 6, which the catalogue refers to.</summary>
    private static byte[] InStream(string tree, bool isPacked = false)
    {
        string header = string.Create(CultureInfo.InvariantCulture, $"4 0 6 {tree.Length + 1} "), objects = $"{header}{tree} <<>>", data = objects;
        if (isPacked)
        {
            data = Deflated(Encoding.Latin1.GetBytes(objects));
        }

        string[] bodies = ["<</Type/Catalog/Pages 2 0 R/Names 6 0 R>>", "<</Type/Pages/Kids[]/Count 0>>"];
        StringBuilder pdf = new("%PDF-1.5\n");
        List<int> offsets = [];
        foreach (string body in bodies)
        {
            offsets.Add(pdf.Length);
            pdf.Append(CultureInfo.InvariantCulture, $"{offsets.Count} 0 obj\n{body}\nendobj\n");
        }

        int container = pdf.Length;
        pdf.Append(CultureInfo.InvariantCulture, $"5 0 obj\n<</Type/ObjStm/N 2/First {header.Length}{(isPacked ? "/Filter/FlateDecode" : "")}/Length {data.Length}>>\nstream\n{data}\nendstream\nendobj\n");
        int table = pdf.Length;
        static string Entry(int kind, int value, int index) => $"{(char)kind}{(char)(value >> 8)}{(char)(value & 255)}{(char)index}";
        string entries = Entry(0, 0, 255) + Entry(1, offsets[0], 0) + Entry(1, offsets[1], 0) + Entry(1, table, 0) + Entry(2, 5, 0) + Entry(1, container, 0) + Entry(2, 5, 1);
        pdf.Append(CultureInfo.InvariantCulture, $"3 0 obj\n<</Type/XRef/Root 1 0 R/Size 7/W[1 2 1]/Length {entries.Length}>>\nstream\n{entries}\nendstream\nendobj\nstartxref\n{table}\n%%EOF");
        return Encoding.Latin1.GetBytes(pdf.ToString());
    }
}
