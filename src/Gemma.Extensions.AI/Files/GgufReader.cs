using System.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>Reads little-endian values from memory that is not trusted: every read is checked against the end.</summary>
internal unsafe struct GgufReader(byte* data, long length, string source)
{
    public long Position { get; private set; }

    public readonly long Remaining => length - Position;

    public uint UInt32(string what) => Read<uint>(what);

    public ulong UInt64(string what) => Read<ulong>(what);

    public T Read<T>(string what) where T : unmanaged
    {
        byte* at = Take(sizeof(T), what);
        return System.Runtime.CompilerServices.Unsafe.ReadUnaligned<T>(at);
    }

    /// <summary>A string: byte count and UTF-8 bytes.</summary>
    public string String(string what, int maxBytes)
    {
        ulong bytes = UInt64(what);
        if (bytes > (ulong)maxBytes)
        {
            throw Bad($"{what} at byte {Position - 8:N0} claims {bytes:N0} bytes, at most {maxBytes:N0} are possible");
        }

        return Encoding.UTF8.GetString(new ReadOnlySpan<byte>(Take((long)bytes, what), (int)bytes));
    }

    /// <summary>Moves over bytes and returns where they start.</summary>
    public byte* Take(long bytes, string what)
    {
        if (bytes < 0 || bytes > Remaining)
        {
            throw Truncated($"{what} at byte {Position:N0} takes {(ulong)bytes:N0} bytes");
        }

        byte* at = data + Position;
        Position += bytes;
        return at;
    }

    public readonly GemmaModelFormatException Truncated(string what) =>
        new($"'{source}': {what}, but the file ends at {length:N0}. The download is probably incomplete; run 'gemma pull' again.");

    public readonly GemmaModelFormatException Bad(string what) =>
        new($"'{source}': {what}. The file is damaged; download or convert it again.");
}
