using System.Globalization;
using System.IO.Compression;
using System.Text;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>Writes the PDF files of tests.</summary>
internal static class PdfText
{
    /// <summary>Objects as they are, numbered from 1; the first is the catalogue.</summary>
    public static byte[] Pdf(params string[] objects)
    {
        MemoryStream pdf = new();
        List<long> offsets = [];
        void Write(string text) => pdf.Write(Encoding.Latin1.GetBytes(text));
        Write("%PDF-1.5\n");
        foreach (string body in objects)
        {
            offsets.Add(pdf.Position);
            Write(string.Create(CultureInfo.InvariantCulture, $"{offsets.Count} 0 obj\n{body}\nendobj\n"));
        }

        long table = pdf.Position;
        Write($"xref\n0 {offsets.Count + 1}\n0000000000 65535 f \n{string.Concat(offsets.Select(static o => $"{o:0000000000} 00000 n \n"))}trailer<</Size {offsets.Count + 1}/Root 1 0 R>>\nstartxref\n{table}\n%%EOF");
        return pdf.ToArray();
    }

    /// <summary>A stream, a character a byte, and what its dictionary says besides the length.</summary>
    public static string Stream(string content, string entries = "") => $"<</Length {content.Length}{entries}>>\nstream\n{content}\nendstream";

    /// <summary>Bytes as the filter FlateDecode unpacks them, a character a byte.</summary>
    public static string Deflated(ReadOnlySpan<byte> bytes)
    {
        MemoryStream packed = new();
        using (ZLibStream stream = new(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            stream.Write(bytes);
        }

        return Encoding.Latin1.GetString(packed.ToArray());
    }

    public static string Repeat(string text, int times) => string.Concat(Enumerable.Repeat(text, times));
}
