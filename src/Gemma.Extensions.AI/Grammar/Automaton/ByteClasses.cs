using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>Equivalence classes of bytes for an automaton over characters that distinguishes only the classes of a partition.</summary>
internal sealed class ByteClasses
{
    private static readonly byte[] s_bytes = [.. Enumerable.Range(0, 256).Select(static b => (byte)b)];
    private static readonly byte[] s_continuations = s_bytes[0x80..0xC0];
    private static readonly byte[] s_others = [.. s_bytes.Except(s_continuations)];

    private static readonly int[] s_onlyClass = [0];
    private static readonly ByteClasses[] s_trivial = [.. Enum.GetValues<CharSpelling>().Select(static spelling => new ByteClasses(CharPartition.Trivial, spelling))];

    private readonly CharPartition _partition;
    private readonly CharSpelling _spelling;
    private readonly byte[][] _alike = new byte[256][];
    private readonly Dictionary<CharDecoder, int[]> _classes = [];

    private ByteClasses(CharPartition partition, CharSpelling spelling)
    {
        (_partition, _spelling) = (partition, spelling);
        List<(CharStep, CharDecoder, int, List<byte> Bytes)> groups = [];
        int[] groupOfClass = new int[partition.Count];
        for (int b = 0; b < 256; b++)
        {
            CharStep step = CharDecoder.Step(CharDecoder.Root, (byte)b, spelling, partition, out CharDecoder next, out int charClass);
            bool isQuote = b == '"' && spelling != CharSpelling.Raw;
            int group = isQuote ? -1
                : step == CharStep.Char ? groupOfClass[charClass] - 1
                : groups.FindIndex(g => g.Item1 == step && g.Item2 == next && g.Item3 == charClass);
            if (group < 0)
            {
                group = groups.Count;
                groups.Add((isQuote ? CharStep.Char : step, next, charClass, []));
            }

            if (step == CharStep.Char)
            {
                groupOfClass[charClass] = group + 1;
            }

            groups[group].Bytes.Add((byte)b);
        }

        foreach (List<byte> bytes in groups.Select(static g => g.Bytes))
        {
            byte[] alike = [.. bytes];
            foreach (byte b in alike)
            {
                _alike[b] = alike;
            }
        }

        BeyondAscii = [.. partition.ClassesOf(0x80, CharSet.MaxChar).Distinct()];
    }

    /// <summary>The classes of characters beyond ASCII.</summary>
    public int[] BeyondAscii { get; }

    public static ByteClasses Of(CharPartition partition, CharSpelling spelling) => partition == CharPartition.Trivial ? s_trivial[(int)spelling] : new ByteClasses(partition, spelling);

    /// <summary>Bytes that lead to the same as one does, that among them: not all, but all that are found quickly.</summary>
    public ReadOnlySpan<byte> Alike(CharDecoder node, byte b) =>
        node == CharDecoder.Root ? _alike[b]
        : node.Type != CharDecoderState.Utf8 ? s_bytes.AsSpan(b, 1)
        : (b & 0xC0) != 0x80 ? s_others
        : node.Value < 0 ? s_continuations : s_bytes.AsSpan(b, 1);

    /// <summary>The classes of the characters that a part of a character may become.</summary>
    public int[] ClassesOf(CharDecoder node)
    {
        if (_partition.Count == 1)
        {
            return s_onlyClass;
        }

        if (!_classes.TryGetValue(node, out int[]? classes))
        {
            _classes[node] = classes = [.. node.Classes(_spelling, _partition).Distinct()];
        }

        return classes;
    }
}
