using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>IQ1_S's entries; three-bit scales of 16 columns, shifts of 8, and a scale of the block that lies in four quarters.</summary>
internal static unsafe class IQ1_MTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ1_M,
        Group = 16,
        Offset = 16,
        MaxByte = 25,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> three = Vector512.Create(7u);
        for (int k = 0; k < columns; k += 256, rows += 56, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            TIsa.Transpose(rows + 40, stride, out _, out _, out Vector512<uint> s0, out Vector512<uint> s1);
            Vector512<uint> top = Vector512.Create(0xF000u);
            Vector512<float> d = LowHalf(((s0 & top) >> 12) | ((s0 >> 24) & Vector512.Create(0xF0u)) | ((s1 & top) >> 4) | ((s1 >> 16) & top)) * 0.125f;
            TIsa.Transpose(rows + 32, stride, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
            for (int part = 0; part < 2; part++, h0 = h2, h1 = h3)
            {
                TIsa.Transpose(rows + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                Four(tile, 4 * part, d0, h0);
                Four(tile, 4 * part + 1, d1, h0 >> 16);
                Four(tile, 4 * part + 2, d2, h1);
                Four(tile, 4 * part + 3, d3, h1 >> 16);
                Vector512<uint> words = part == 0 ? s0 : s1;
                for (int group = 0; group < 8; group++)
                {
                    PutOddScale(scales + (8 * part + group) * TileFormat.Rows, d, (words >> (group / 4 * 16 + group % 4 * 3)) & three);
                }
            }
        }

        // 32 columns: four indices, and a nibble each of upper bits and shift.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Four(byte* tile, int group, Vector512<uint> indices, Vector512<uint> high)
        {
            Vector512<uint> low = Vector512.Create(255u), three = Vector512.Create(7u);
            for (int i = 0; i < 4; i++)
            {
                Vector512<uint> nibble = high >> (4 * i);
                IQ1_STiles.PutEntry<TIsa>(tile, 8 * group + 2 * i, ((indices >> (8 * i)) & low) | ((nibble & three) << 8), IQ1_STiles.Shift(nibble >> 3));
            }
        }
    }
}
