using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Entries of eight numbers -1, 0, 1 by 11-bit indices, in eighths; three-bit scales and a shift of 32 columns.</summary>
internal static unsafe class IQ1_STiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ1_S,
        Group = 32,
        Offset = 16,
        MaxByte = 25,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        for (int k = 0; k < columns; k += 256, rows += 50, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            Vector512<float> d = LowHalf(First<TIsa>(rows, stride)) * 0.125f;
            for (int part = 0; part < 2; part++)
            {
                TIsa.Transpose(rows + 2 + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                TIsa.Transpose(rows + 34, stride, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
                (h0, h1) = part == 0 ? (h0, h1) : (h2, h3);
                Group(tile, scales, 4 * part, d, d0, h0);
                Group(tile, scales, 4 * part + 1, d, d1, h0 >> 16);
                Group(tile, scales, 4 * part + 2, d, d2, h1);
                Group(tile, scales, 4 * part + 3, d, d3, h1 >> 16);
            }
        }

        // 32 columns: four indices, and a word of their upper bits, the scale and the shift.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Group(byte* tile, float* scales, int group, Vector512<float> d, Vector512<uint> indices, Vector512<uint> high)
        {
            Vector512<uint> low = Vector512.Create(255u), three = Vector512.Create(7u);
            Vector512<byte> shift = Shift(high >> 15);
            for (int i = 0; i < 4; i++)
            {
                PutEntry<TIsa>(tile, 8 * group + 2 * i, ((indices >> (8 * i)) & low) | (((high >> (3 * i)) & three) << 8), shift);
            }

            PutOddScale(scales + group * TileFormat.Rows, d, (high >> 12) & three);
        }
    }

    /// <summary>The zero point of 16 and an eighth more, or less where the lowest bit is set, in four bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<byte> Shift(Vector512<uint> minus) => (Vector512.Create(0x11111111u) - (minus & Vector512<uint>.One) * 0x02020202u).AsByte();

    /// <summary>Eight columns of an entry.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void PutEntry<TIsa>(byte* tile, int step, Vector512<uint> index, Vector512<byte> shift)
        where TIsa : struct, IVectorIsa
    {
        index += index;
        Put(tile, step, (TIsa.Gather((uint*)Codebooks.Iq1, index).AsByte() + shift).AsUInt32());
        Put(tile, step + 1, (TIsa.Gather((uint*)Codebooks.Iq1 + 1, index).AsByte() + shift).AsUInt32());
    }
}
