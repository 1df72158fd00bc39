using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Gemma.Extensions.AI.Formats;

/// <summary>A block format: a fixed number of elements in a fixed number of bytes. The contract, and the one table of all formats.</summary>
internal abstract unsafe class BlockFormat
{
    /// <summary>Elements of the blocks of the K-quants and IQ4_XS.</summary>
    public const int SuperBlock = 256;

    private static readonly BlockFormat[] s_all =
    [
        new F32Format(), new F16Format(), new BF16Format(),
        new Q8_0Format(), new Q4_0Format(), new Q4_1Format(), new Q5_0Format(), new Q5_1Format(),
        new Q2_KFormat(), new Q3_KFormat(), new Q4_KFormat(), new Q5_KFormat(), new Q6_KFormat(),
        new IQ4_NLFormat(), new IQ4_XSFormat(), new IQ3_SFormat(), new IQ3_XXSFormat(),
        new IQ2_SFormat(), new IQ2_XSFormat(), new IQ2_XXSFormat(), new IQ1_MFormat(), new IQ1_SFormat(),
        new TQ2_0Format(), new TQ1_0Format(), new MXFP4Format(),
    ];

    private static readonly BlockFormat?[] s_byType = IndexByType();

    /// <summary>Every supported format. Tests, benchmarks and <c>gemma quantize</c> enumerate this table.</summary>
    public static IReadOnlyList<BlockFormat> All => s_all;

    public abstract TensorType Type { get; }

    /// <summary>Name as users write it: <c>Q4_K</c>.</summary>
    public string Name => Type.ToString();

    /// <summary>Elements of one block; rows are whole numbers of blocks.</summary>
    public abstract int BlockElements { get; }

    /// <summary>Bytes of one block.</summary>
    public abstract int BlockBytes { get; }

    /// <summary>True if the elements are plain floating-point numbers.</summary>
    public bool IsFloat => BlockElements == 1;

    /// <summary>Bits an element takes on average, scales included.</summary>
    public double BitsPerElement => 8.0 * BlockBytes / BlockElements;

    /// <summary>Byte offsets of the float16 scale and, where there is one, minimum within a block; none where elements are plain numbers.</summary>
    public abstract ReadOnlySpan<int> ScaleOffsets { get; }

    /// <summary>True if <see cref="Encode"/> supports the format; the others are read-only.</summary>
    public virtual bool CanEncode => true;

    /// <summary>Bytes of <paramref name="elements"/> elements, which must be whole blocks.</summary>
    public long ByteLength(long elements) => elements / BlockElements * BlockBytes;

    /// <summary>Scalar reference decoder: the oracle that every fast path is tested against.</summary>
    public abstract void Decode(byte* source, float* destination, long elements);

    /// <summary>Packs elements, which must be finite and whole blocks.</summary>
    /// <param name="source">Elements.</param>
    /// <param name="destination">Receives <see cref="ByteLength"/> bytes.</param>
    /// <param name="elements">How many.</param>
    /// <param name="importance">What the squared error of each element weighs; null: the format's own choice. Only formats that search for scales use it.</param>
    /// <exception cref="NotSupportedException">The format is only read.</exception>
    public abstract void Encode(float* source, byte* destination, long elements, float* importance);

    /// <summary>
    /// Index of the first block whose scale or minimum is NaN or infinite; -1 where all are finite. Checked once when a file is loaded, so that
    /// kernels may convert scales by bit manipulation.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)] // good from the first call: it runs once, over the whole file
    public virtual long FindNonFiniteScale(byte* source, long blocks)
    {
        const int Together = 16;
        ReadOnlySpan<int> offsets = ScaleOffsets;
        int bytes = BlockBytes, first = offsets[0], second = offsets[^1];
        for (long start = 0; start < blocks; start += Together)
        {
            // Adding one to an exponent of all ones carries into the sign's place. No branch a block, so that many reads are under way at once.
            byte* block = source + start * bytes;
            uint carries = 0;
            for (long left = Math.Min(Together, blocks - start); left > 0; left--, block += bytes)
            {
                carries |= (*(ushort*)(block + first) & 0x7C00u) + 0x400 | (*(ushort*)(block + second) & 0x7C00u) + 0x400;
            }

            if ((carries & 0x8000) != 0)
            {
                for (block = source + start * bytes; ; start++, block += bytes)
                {
                    if ((*(ushort*)(block + first) & 0x7C00) == 0x7C00 || (*(ushort*)(block + second) & 0x7C00) == 0x7C00)
                    {
                        return start;
                    }
                }
            }
        }

        return -1;
    }

    /// <summary>The format of a tensor type.</summary>
    public static BlockFormat Get(TensorType type) =>
        TryGet((uint)type, out BlockFormat? format) ? format : throw new ArgumentOutOfRangeException(nameof(type), type, "Not a supported tensor type.");

    /// <summary>Looks a format up by the type number that a GGUF file states.</summary>
    public static bool TryGet(uint type, [NotNullWhen(true)] out BlockFormat? format)
    {
        format = type < s_byType.Length ? s_byType[type] : null;
        return format is not null;
    }

    /// <summary>Looks a format up by its name, in any letter case.</summary>
    public static bool TryGet(string name, [NotNullWhen(true)] out BlockFormat? format)
    {
        format = All.FirstOrDefault(f => f.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        return format is not null;
    }

    public override string ToString() => Name;

    private static BlockFormat?[] IndexByType()
    {
        BlockFormat?[] table = new BlockFormat?[All.Max(f => (int)f.Type) + 1];
        foreach (BlockFormat format in All)
        {
            table[(int)format.Type] = format;
        }

        return table;
    }
}
