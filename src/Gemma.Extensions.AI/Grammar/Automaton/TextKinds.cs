using System.Buffers;
using System.Text;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>
/// Kinds of characters that expressions seldom tell apart, as bits of a set: what a part of the vocabulary is written in, and what a state of an automaton reads on with.
/// </summary>
internal static class TextKinds
{
    /// <summary>Bytes that are not UTF-8, and the rest of a character that began before.</summary>
    public const ulong Invalid = 1UL << 63;

    /// <summary>A character beyond ASCII, or the beginning of one.</summary>
    public const ulong BeyondAscii = 1UL << 62;

    private static readonly int[] s_kindOf = new int[128];

    static TextKinds()
    {
        List<byte[]> kinds = [.. "09afgzAFGZ".Chunk(2).Select(static range => Enumerable.Range(range[0], range[1] - range[0] + 1).Select(static c => (byte)c).ToArray())];
        byte[] controls = [.. Enumerable.Range(0, 128).Where(static c => char.IsControl((char)c) && c is not ('\t' or '\n' or '\r')).Select(static c => (byte)c)];
        kinds.Add(controls);
        kinds.AddRange(Enumerable.Range(0, 128).Select(static c => (byte)c).Except(kinds.SelectMany(static kind => kind)).Select(static c => new[] { c }));
        Ascii = [.. kinds];
        for (int kind = 0; kind < Ascii.Length; kind++)
        {
            foreach (byte b in Ascii[kind])
            {
                s_kindOf[b] = kind;
            }
        }
    }

    /// <summary>The characters of ASCII by the bit of their kind.</summary>
    public static byte[][] Ascii { get; }

    /// <summary>The kind of the first character of a text, and how many bytes that is.</summary>
    public static ulong OfFirst(ReadOnlySpan<byte> text, out int length)
    {
        if (text[0] < 128)
        {
            length = 1;
            return 1UL << s_kindOf[text[0]];
        }

        return Rune.DecodeFromUtf8(text, out _, out length) == OperationStatus.InvalidData ? Invalid : BeyondAscii;
    }
}
