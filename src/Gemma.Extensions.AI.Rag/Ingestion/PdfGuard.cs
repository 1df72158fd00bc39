using System.Globalization;
using System.IO.Compression;
using UglyToad.PdfPig.Filters;
using UglyToad.PdfPig.Tokens;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>
/// Stands between the PDF parser and what it unpacks: before a stream is unpacked, it is measured how much will come out. A few kilobytes can hold gigabytes.
/// </summary>
internal sealed class PdfGuard : IFilterProvider
{
    /// <summary>Most bytes that the streams of one page, with the fonts it brings, and that all of a document may unpack to.</summary>
    private const long MaxOfPage = 1L << 27, MaxOfDocument = 1L << 31;

    private readonly IFilterProvider _inner = DefaultFilterProvider.Instance;
    private GemmaRagException? _exceeded;
    private long _page, _document;
    private int _number;

    public PdfGuard(CancellationToken cancellationToken) => (CancellationToken, Structure) = (cancellationToken, new PdfStructureGuard(this));

    public CancellationToken CancellationToken { get; }

    public PdfStructureGuard Structure { get; }

    public void BeginPage(int number) => (_number, _page) = (number, 0);

    /// <summary>Runs a part of the parser. It goes on after some errors, so that what was exceeded within is thrown again here.</summary>
    public T Run<T>(Func<T> part)
    {
        try
        {
            T result = part();
            return _exceeded is null ? result : throw _exceeded;
        }
        catch (Exception) when (_exceeded is not null)
        {
            throw _exceeded;
        }
        catch (Exception) when (CancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(CancellationToken);
        }
    }

    public GemmaRagException Exceeded(string what) =>
        _exceeded ??= new GemmaRagException($"{(_number == 0 ? "The document" : string.Create(CultureInfo.InvariantCulture, $"Page {_number:N0}"))} {what}. Print it into a new PDF, or leave it out.");

    public IReadOnlyList<IFilter> GetFilters(DictionaryToken dictionary)
    {
        CancellationToken.ThrowIfCancellationRequested();
        return Guarded(_inner.GetFilters(dictionary));
    }

    public IReadOnlyList<IFilter> GetNamedFilters(IReadOnlyList<NameToken> names) => Guarded(_inner.GetNamedFilters(names));

    public IReadOnlyList<IFilter> GetAllFilters() => Guarded(_inner.GetAllFilters());

    private IFilter[] Guarded(IReadOnlyList<IFilter> filters) => [.. filters.Select(f => new GuardedFilter(this, f))];

    private void Count(string filter, ReadOnlyMemory<byte> input)
    {
        CancellationToken.ThrowIfCancellationRequested();
        long room = Math.Min(MaxOfPage - _page, MaxOfDocument - _document);
        long output = _exceeded is not null ? throw _exceeded : filter switch
        {
            "FlateFilter" => Inflated(input, room),
            "LzwFilter" => LzwLength(input.Span, room),
            "RunLengthFilter" => RunLength(input.Span),
            "Ascii85Filter" => 4L * input.Length,
            "AsciiHexDecodeFilter" => input.Length,

            // Images; no text comes of them.
            _ => throw Exceeded($"has text that is packed as an image ({filter})"),
        };
        _page += output;
        _document += output;
        if (output > room)
        {
            throw Exceeded(string.Create(CultureInfo.InvariantCulture, $"unpacks to more than {MaxOfPage >> 20:N0} MiB, or the document to more than {MaxOfDocument >> 20:N0} MiB"));
        }
    }

    private long Inflated(ReadOnlyMemory<byte> input, long room)
    {
        byte[] buffer = new byte[1 << 16];
        long length = 0;
        try
        {
            // Behind the two bytes of zlib, which damaged files get wrong.
            using DeflateStream stream = new(new MemoryStream(input[Math.Min(2, input.Length)..].ToArray()), CompressionMode.Decompress);
            for (int read = stream.Read(buffer); read > 0 && length <= room; read = stream.Read(buffer))
            {
                CancellationToken.ThrowIfCancellationRequested();
                length += read;
            }
        }
        catch (InvalidDataException)
        {
            // The parser takes what comes before the damage.
        }

        return length;
    }

    /// <summary>Bytes that LZW codes stand for (PDF, 7.4.4): a code is a byte, or a string that is one byte longer than that of the code before it.</summary>
    internal static long LzwLength(ReadOnlySpan<byte> input, long room)
    {
        const int Clear = 256, End = 257, Longest = 4096;
        Span<int> lengths = stackalloc int[Longest + 1];
        lengths.Fill(1);
        long total = 0;
        int next = 258, before = 0, bits = 9, held = 0, pending = 0;
        for (int i = 0; total <= room;)
        {
            while (held < bits && i < input.Length)
            {
                pending = ((pending & 0xFFFF) << 8) | input[i++];
                held += 8;
            }

            if (held < bits)
            {
                return total;
            }

            held -= bits;
            int code = (pending >> held) & ((1 << bits) - 1);
            if (code == End)
            {
                return total;
            }

            if (code == Clear)
            {
                (next, before, bits) = (258, 0, 9);
                continue;
            }

            int length = code < next ? lengths[code] : before + 1;
            total += length;
            if (before > 0 && next < Longest)
            {
                lengths[next++] = before + 1;
            }

            before = length;

            // By the early change that is the default; without it the widths grow one code later, which is near enough for a limit.
            bits = next >= 2047 ? 12 : next >= 1023 ? 11 : next >= 511 ? 10 : 9;
        }

        return total;
    }

    private static long RunLength(ReadOnlySpan<byte> input)
    {
        long total = 0;
        for (int i = 0; i < input.Length && input[i] != 128;)
        {
            int length = input[i];
            total += length < 128 ? length + 1 : 257 - length;
            i += length < 128 ? length + 2 : 2;
        }

        return total;
    }

    private sealed class GuardedFilter(PdfGuard guard, IFilter inner) : IFilter
    {
        public bool IsSupported => inner.IsSupported;

        public Memory<byte> Decode(Memory<byte> input, DictionaryToken streamDictionary, IFilterProvider filterProvider, int filterIndex)
        {
            guard.Count(inner.GetType().Name, input);
            Memory<byte> output = inner.Decode(input, streamDictionary, filterProvider, filterIndex);
            guard.Structure.CheckObjectStream(output.Span, streamDictionary);
            return output;
        }
    }
}
