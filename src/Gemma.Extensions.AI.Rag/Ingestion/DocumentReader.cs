using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>Limits on the cost of a document. One that exceeds any of them is refused.</summary>
/// <param name="Bytes">Most bytes of a document.</param>
/// <param name="MarkupBytes">Most bytes of Markdown and HTML.</param>
/// <param name="Text">Most characters of its text.</param>
internal sealed record ReadLimits(long Bytes, long MarkupBytes, long Text)
{
    public static ReadLimits Default { get; } = new DocumentIngestorOptions().Limits;
}

/// <summary>Reads documents into blocks.</summary>
internal static class DocumentReader
{
    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Reads the bytes of a document.</summary>
    /// <exception cref="GemmaRagException">The bytes are not of that format, need a password, or are more than the limits allow.</exception>
    public static ParsedDocument Read(byte[] content, DocumentFormat format, CancellationToken cancellationToken = default, ReadLimits? limits = null)
    {
        limits ??= ReadLimits.Default;
        CheckSize(content.LongLength, format, limits);
        try
        {
            BlockCollector blocks = new(limits.Text);
            switch (format)
            {
                case DocumentFormat.Markdown:
                    MarkdownReader.Read(Decode(content), blocks, cancellationToken.ThrowIfCancellationRequested);
                    break;
                case DocumentFormat.Html:
                    HtmlReader.Read(HtmlEncoding.Decode(content), blocks, cancellationToken.ThrowIfCancellationRequested);
                    break;
                case DocumentFormat.Pdf:
                    PdfReader.Read(content, blocks, cancellationToken);
                    break;
                default:
                    ReadText(Decode(content), blocks, cancellationToken.ThrowIfCancellationRequested);
                    break;
            }

            return blocks.ToDocument();
        }
        catch (Exception error) when (error is not GemmaException and not OperationCanceledException)
        {
            throw new GemmaRagException($"The document can't be read as {format}: {error.Message}", error);
        }
    }

    /// <summary>Refuses what is too large, before it is read where its length is known.</summary>
    public static void CheckSize(long bytes, DocumentFormat format, ReadLimits limits)
    {
        bool markup = format is DocumentFormat.Markdown or DocumentFormat.Html;
        long limit = markup ? Math.Min(limits.MarkupBytes, limits.Bytes) : limits.Bytes;
        if (bytes > limit)
        {
            throw new GemmaRagException(string.Create(
                CultureInfo.InvariantCulture,
                $"The document has {bytes:N0} bytes; {(markup ? "Markdown and HTML" : "documents")} of at most {limit:N0} are read. Split it, or raise DocumentIngestorOptions.{(markup && limit == limits.MarkupBytes ? "MaxMarkupBytes" : "MaxDocumentBytes")}."));
        }
    }

    internal static GemmaRagException TooDeep(int line, string what, int limit) => new(string.Create(
        CultureInfo.InvariantCulture,
        $"At line {line:N0}, more than {limit:N0} {what} are open, one in another; documents nest a few dozen. Something probably goes wrong where it is written; close what is open, or ingest it as DocumentFormat.Text."));

    internal static string Decode(byte[] content)
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

    /// <summary>Reads paragraphs. Calls <paramref name="check"/> at every line, which throws where reading is to stop.</summary>
    internal static void ReadText(string text, BlockCollector blocks, Action check)
    {
        StringBuilder paragraph = new();
        int line = 0, start = 1;
        foreach (string row in text.Split('\n').Append(""))
        {
            check();
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
    }
}
