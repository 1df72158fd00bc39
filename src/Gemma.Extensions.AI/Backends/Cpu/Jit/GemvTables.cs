using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>
/// Lookup tables of the assembled codebook kernels, in memory that never moves. A number is found in two steps: the index of its entry gives a byte
/// with the levels of several numbers, and its level's bits with its sign bit give one of 64 weight bytes.
/// </summary>
/// <param name="address">The start, at a multiple of 64.</param>
/// <param name="length">Bytes.</param>
internal readonly unsafe struct GemvTables(byte* address, int length)
{
    /// <summary>
    /// Dwords that select bits: the even bytes, the odd ones; of two-bit levels the lower four bits and the four in the middle; of three-bit levels all but the signs; a word's
    /// upper four. They come first, where one byte of an instruction is enough to reach them.
    /// </summary>
    public const int EvenBytesAt = 0, OddBytesAt = 4, LowAt = 8, MiddleAt = 12, ThreeBitsAt = 16, WordTopAt = 20;

    /// <summary>Bit matrices for <c>gf2p8affineqb</c> that move signs to where the tables of levels want them, and work out those that are not stored.</summary>
    public const int MatricesAt = 64;

    /// <summary>Four tables of 64 weight bytes, zero point included. An index has a level and a sign; the other bits, which belong to another number, make no difference.</summary>
    public const int LevelsAt = 128;

    /// <summary>The values of a scale of three or four bits: 16 float32.</summary>
    public const int ScalesAt = 384;

    /// <summary>
    /// Where 64 activation bytes go: each dword takes a number of the same place in four entries. For groups of 16 columns there are two tables of 32 columns, with
    /// each dword once for either group and zeros for the other. 64 to 127 are activations, 0 is a zero.
    /// </summary>
    public const int OrderAt = 448;

    /// <summary>The bit offset of each byte of signs in the dwords of two rows.</summary>
    public const int SignFieldsAt = 576;

    /// <summary>Bytes of one.</summary>
    public const int OnesAt = 640;

    /// <summary>Eight tables: where, in the dwords of two rows, an upper bit of each entry's index is.</summary>
    public const int PlacesAt = 704;

    /// <summary>For each entry the levels of one half of its numbers; then those of the other half.</summary>
    public const int PlanesAt = 1216;

    private static readonly GemvTables[] s_byType = [.. Enumerable.Range(0, (int)BlockFormat.All.Max(format => format.Type) + 1).Select(type => Create((TensorType)type))];

    /// <summary>The order of the four groups of eight columns in the bytes of a dword, where bytes of two dwords have been put together.</summary>
    private static ReadOnlySpan<int> Paired => [0, 2, 1, 3];

    private static ReadOnlySpan<int> InOrder => [0, 1, 2, 3];

    public byte* Address => address;

    public int Length => length;

    /// <summary>The tables of a format; empty ones if it needs none.</summary>
    public static GemvTables Of(TensorType type) => s_byType[(int)type];

    private static GemvTables Create(TensorType type)
    {
        switch (type)
        {
            case TensorType.IQ2_XXS:
                GemvTables tables = Twos(type, Codebooks.Levels2, offset: 64, InOrder, groups: 1);
                tables.PutSigns(InOrder, bits: 7);
                tables.PutMatrix(0, bit => Sevens(bit, 0));
                tables.PutMatrix(1, bit => Sevens(bit + 2, 0));
                return tables;
            case TensorType.IQ2_XS:
                // A byte of signs is the upper one of a word, whose lowest bit is the index's.
                tables = Twos(type, Codebooks.Levels2, offset: 64, Paired, groups: 2);
                tables.PutMatrix(0, bit => Sevens(bit, 1));
                tables.PutMatrix(1, bit => Sevens(bit + 2, 1));
                return tables;
            case TensorType.IQ2_S:
                tables = Twos(type, Codebooks.Levels2, offset: 64, InOrder, groups: 2);
                tables.PutMatrix(1, bit => 1 << (bit + 2));
                tables.PutPlaces(8, (table, entry) => 8 * (table / 2) + 2 * entry + table % 2);
                return tables;
            case TensorType.IQ1_S:
                tables = Twos(type, Codebooks.Levels1, offset: 16, InOrder, groups: 1);
                tables.PutPlaces(6, (table, entry) => 16 * (table / 3) + 3 * entry + table % 3);
                return tables;
            case TensorType.IQ1_M:
                tables = Twos(type, Codebooks.Levels1, offset: 16, InOrder, groups: 2);
                tables.PutPlaces(8, (table, entry) => 16 * (table / 4) + 4 * entry + table % 4);
                return tables;
            case TensorType.IQ3_XXS:
                tables = Threes(type, Codebooks.Levels3Xxs, offset: 64, factor: 0.25f);
                tables.PutSigns(Paired, bits: 7);
                for (int pair = 0; pair < 4; pair++)
                {
                    int first = 2 * pair - 2;
                    tables.PutMatrix(pair, bit => bit is 2 or 3 ? Sevens(first + bit, 0) : 0);
                }

                return tables;
            case TensorType.IQ3_S:
                tables = Threes(type, Codebooks.Levels3S, offset: 16, factor: 1);
                tables.PutSigns(Paired, bits: 8);
                for (int pair = 0; pair < 4; pair++)
                {
                    int first = 2 * pair - 2;
                    tables.PutMatrix(pair, bit => bit is 2 or 3 ? 1 << (first + bit) : 0);
                }

                // Even entries, then odd ones.
                tables.PutPlaces(8, (table, entry) => 8 * (table / 2) + 2 * Paired[entry] + table % 2);
                return tables;
            default:
                return default;
        }
    }

    /// <summary>Tables for entries of eight numbers with levels of two bits. Each byte of a plane has numbers 4, 5, 0 and 1, or 6, 7, 2 and 3: so one byte of signs serves all four.</summary>
    private static GemvTables Twos(TensorType type, ReadOnlySpan<byte> levels, int offset, ReadOnlySpan<int> order, int groups)
    {
        ushort[] codes = Codebooks.Codes(type);
        bool shifted = type is TensorType.IQ1_S or TensorType.IQ1_M;
        GemvTables tables = Allocate(codes.Length, order, groups);
        for (int i = 0; i < 64; i++)
        {
            // Levels in the lower four bits and signs in the next two; levels in the upper four and signs below them.
            tables.Levels(0)[i] = Weight(levels, i & 3, i >> 4);
            tables.Levels(1)[i] = Weight(levels, i >> 2 & 3, i >> 5);
            tables.Levels(2)[i] = Weight(levels, i >> 2 & 3, i);
            tables.Levels(3)[i] = Weight(levels, i >> 4, i >> 1);
        }

        for (int i = 0; i < codes.Length; i++)
        {
            tables.Plane(0, codes.Length)[i] = (byte)((codes[i] >> 8 & 15) | (codes[i] & 15) << 4);
            tables.Plane(1, codes.Length)[i] = (byte)((codes[i] >> 12 & 15) | (codes[i] >> 4 & 15) << 4);
        }

        // Scales of IQ1 have three bits, with another bit above.
        tables.PutScales(i => shifted ? i & 7 : i, 0.125f);
        return tables;

        byte Weight(ReadOnlySpan<byte> levels, int level, int sign)
        {
            int number = level < levels.Length ? (sbyte)levels[level] : 0, minus = sign & 1;
            return (byte)(offset + (shifted ? number + 1 - 2 * minus : minus != 0 ? -number : number));
        }
    }

    /// <summary>Tables for entries of four numbers with levels of three bits: the byte of two numbers has their signs in the middle.</summary>
    private static GemvTables Threes(TensorType type, ReadOnlySpan<byte> levels, int offset, float factor)
    {
        ushort[] codes = Codebooks.Codes(type);
        GemvTables tables = Allocate(codes.Length, Paired, groups: 1);
        for (int i = 0; i < 64; i++)
        {
            // The first number has bits 0, 1, 4 and the sign in bit 2; the second, once moved down by two bits, bits 3 to 5 and the sign in bit 1.
            tables.Levels(0)[i] = (byte)(offset + ((i & 4) != 0 ? -1 : 1) * levels[(i & 3) | (i >> 2 & 4)]);
            tables.Levels(1)[i] = (byte)(offset + ((i & 2) != 0 ? -1 : 1) * levels[i >> 3]);
        }

        for (int plane = 0; plane < 2; plane++)
        {
            for (int i = 0; i < codes.Length; i++)
            {
                int pair = codes[i] >> (6 * plane);
                tables.Plane(plane, codes.Length)[i] = (byte)((pair & 3) | (pair & 4) << 2 | (pair >> 3 & 7) << 5);
            }
        }

        tables.PutScales(i => i, factor);
        return tables;
    }

    private static GemvTables Allocate(int entries, ReadOnlySpan<int> order, int groups)
    {
        int length = PlanesAt + 2 * entries;
        GemvTables tables = new((byte*)NativeMemory.AlignedAlloc((nuint)length, 64), length);
        new Span<byte>(tables.Address, length).Clear();
        new Span<byte>(tables.Address + OnesAt, 64).Fill(1);
        *(uint*)(tables.Address + EvenBytesAt) = 0x00FF00FF;
        *(uint*)(tables.Address + LowAt) = 0x0F0F0F0F;
        *(uint*)(tables.Address + MiddleAt) = 0x3C3C3C3C;
        *(uint*)(tables.Address + ThreeBitsAt) = 0xF3F3F3F3;
        *(uint*)(tables.Address + WordTopAt) = 0xF000;
        *(uint*)(tables.Address + OddBytesAt) = 0xFF00FF00;
        for (int i = 0; i < 32 * groups * 2; i++)
        {
            int entry = i % 4, place = i / 4 / groups % 8, half = i / (32 * groups);
            bool other = groups == 2 && order[entry] / 2 != i / 4 % 2;
            tables.Address[OrderAt + i] = (byte)(other ? 0 : 64 + 32 * half + 8 * order[entry] + place);
        }

        return tables;
    }

    private byte* Levels(int table) => address + LevelsAt + 64 * table;

    private byte* Plane(int plane, int entries) => address + PlanesAt + plane * entries;

    private void PutScales(Func<int, int> scale, float factor)
    {
        for (int i = 0; i < 16; i++)
        {
            ((float*)(address + ScalesAt))[i] = (2 * scale(i) + 1) * factor;
        }
    }

    private void PutSigns(ReadOnlySpan<int> order, int bits)
    {
        for (int i = 0; i < 64; i++)
        {
            address[SignFieldsAt + i] = (byte)(32 * (i / 4 % 2) + bits * order[i % 4]);
        }
    }

    private void PutPlaces(int count, Func<int, int, int> bit)
    {
        for (int i = 0; i < 64 * count; i++)
        {
            address[PlacesAt + i] = (byte)(32 * (i / 4 % 2) + bit(i / 64, i % 4));
        }
    }

    /// <param name="index">Which matrix.</param>
    /// <param name="bits">For each bit of the result the bits whose parity it is.</param>
    private void PutMatrix(int index, Func<int, int> bits)
    {
        for (int bit = 0; bit < 8; bit++)
        {
            address[MatricesAt + 8 * index + 7 - bit] = (byte)bits(bit);
        }
    }

    /// <summary>A stored sign, or the eighth, which makes their number even.</summary>
    /// <param name="sign">0 to 7; others are none.</param>
    /// <param name="first">The bit of the first sign.</param>
    private static int Sevens(int sign, int first) => sign > 7 ? 0 : (sign == 7 ? 0x7F : 1 << sign) << first;
}
