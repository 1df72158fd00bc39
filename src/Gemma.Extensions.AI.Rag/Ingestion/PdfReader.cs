using System.Text.RegularExpressions;
using UglyToad.PdfPig;
using UglyToad.PdfPig.Content;
using UglyToad.PdfPig.DocumentLayoutAnalysis.TextExtractor;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>Reads the text of a PDF into blocks, page by page.</summary>
internal static partial class PdfReader
{
    public static void Read(byte[] content, BlockCollector blocks, CancellationToken cancellationToken)
    {
        PdfGuard guard = new(cancellationToken);
        guard.Structure.CheckFile(content);
        using PdfDocument document = guard.Run(() => PdfDocument.Open(content, new ParsingOptions { FilterProvider = guard }));
        PdfPageGuard pages = new(document, guard);
        document.AddPageFactory(pages);
        blocks.Title = string.IsNullOrWhiteSpace(document.Information.Title) ? null : document.Information.Title.Trim();
        for (int number = 1; number <= document.NumberOfPages; number++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            string text = guard.Run(() =>
            {
                guard.BeginPage(number);
                document.GetPage<PdfPageGuard.Checked>(number);
                Page page = document.GetPage(number);
                return ContentOrderTextExtractor.GetText(page, addDoubleNewline: true);
            });
            foreach (string paragraph in text.Replace("\r\n", "\n", StringComparison.Ordinal).Split("\n\n"))
            {
                // Lines of a paragraph are lines of the page: a hyphen at the end of one joins a word, and one that shows only there always does.
                string joined = HyphenAtLineEnd().Replace(SoftHyphenAtLineEnd().Replace(paragraph, ""), "$1$2");
                blocks.Add(Spaces().Replace(joined, " ").Trim(), page: number);
            }
        }
    }

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex(@"(\p{Ll})[-\u2010]\n(\p{Ll})")]
    private static partial Regex HyphenAtLineEnd();

    [GeneratedRegex(@"\u00AD[ \t]*\n[ \t]*")]
    private static partial Regex SoftHyphenAtLineEnd();
}
