using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Quantization;

/// <summary>
/// The importance matrices that llama.cpp wrote before it kept them in GGUF, mostly named imatrix.dat: number of matrices; then of each the length of its
/// name, the name, the number of evaluations, the number of columns and a float32 a column, the mean square times the evaluations; then, where present,
/// the number of chunks and the name of the text. All numbers are little-endian int32.
/// </summary>
internal static class LegacyImatrix
{
    private const int MaxMatrices = 1 << 16, MaxName = 1024;

    /// <summary>That of the largest model has a few megabytes.</summary>
    private const long MaxBytes = 1L << 30;

    /// <summary>True if a file is not GGUF but may be a legacy matrix: it begins with a small count of matrices and the name of the first.</summary>
    public static bool Is(string path)
    {
        using FileStream stream = MappedFile.OpenRead(path);
        Span<byte> head = stackalloc byte[9];
        return stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) == head.Length
            && BinaryPrimitives.ReadInt32LittleEndian(head) is > 0 and <= MaxMatrices && BinaryPrimitives.ReadInt32LittleEndian(head[4..]) is > 0 and <= MaxName && head[8] is > 32 and < 127;
    }

    /// <summary>The sums of squares of each matrix and over how many they went.</summary>
    /// <exception cref="GemmaModelFormatException">The file is cut or damaged.</exception>
    public static List<(string Name, float[] Sums, float Count)> Read(string path)
    {
        using FileStream stream = MappedFile.OpenRead(path);
        if (stream.Length > MaxBytes)
        {
            throw new GemmaModelFormatException($"'{path}' has {stream.Length:N0} bytes, expected at most {MaxBytes:N0}. It is not an importance matrix; collect one with 'gemma imatrix'.");
        }

        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        int at = 0, count = Number(1, MaxMatrices, "matrices");
        List<(string, float[], float)> entries = [];
        for (int i = 0; i < count; i++)
        {
            string name = Encoding.UTF8.GetString(Take(Number(1, MaxName, "bytes of a name")));
            int calls = Number(int.MinValue, int.MaxValue, "evaluations");
            float[] sums = MemoryMarshal.Cast<byte, float>(Take(sizeof(float) * Number(1, int.MaxValue / sizeof(float), "columns"))).ToArray();
            entries.Add((name, sums, Math.Max(calls, 1))); // without evaluations the sums are the means
        }

        return entries;

        int Number(int low, int high, string what)
        {
            int start = at, value = BinaryPrimitives.ReadInt32LittleEndian(Take(sizeof(int)));
            return value >= low && value <= high ? value : throw new GemmaModelFormatException(
                $"'{path}' has {value:N0} {what} at byte {start:N0}, expected {low:N0} to {high:N0}. It is a damaged importance matrix of the older kind (imatrix.dat), or none; collect one with 'gemma imatrix'.");
        }

        ReadOnlySpan<byte> Take(int length)
        {
            if (length > bytes.Length - at)
            {
                throw new GemmaModelFormatException(
                    $"'{path}' ends at byte {bytes.Length:N0}, expected {length:N0} bytes from byte {at:N0} on. It is a cut importance matrix of the older kind (imatrix.dat), or none; collect one with 'gemma imatrix'.");
            }

            at += length;
            return bytes.AsSpan(at - length, length);
        }
    }
}
