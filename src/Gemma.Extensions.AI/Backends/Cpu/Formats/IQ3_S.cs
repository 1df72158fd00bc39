using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Entries of four numbers up to 15 by 9-bit indices; a bit a sign; four-bit scales of 32 columns.</summary>
internal static unsafe class IQ3_STiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ3_S,
        Group = 32,
        Offset = 16,
        MaxByte = 31,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> four = Vector512.Create(15u);
        for (int k = 0; k < columns; k += 256, rows += 110, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            // The last four bytes are the scales; of the 16 before them and these, signs end where the scales begin.
            Vector512<float> d = LowHalf(First<TIsa>(rows, stride));
            Vector512<uint> scale = Last<TIsa>(rows + 94, stride);
            TIsa.Transpose(rows + 66, stride, out Vector512<uint> highs, out Vector512<uint> laterHighs, out _, out _);
            for (int part = 0; part < 4; part++, highs = part == 2 ? laterHighs : highs)
            {
                // 64 columns: 16 indices, two bytes of their highest bits, 8 bytes of signs.
                TIsa.Transpose(rows + 2 + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                TIsa.Transpose(rows + 74 + 8 * part, stride, out Vector512<uint> s0, out Vector512<uint> s1, out _, out _);
                Vector512<uint> high = highs >> (part % 2 * 16);
                byte* target = tile + 16 * part * ByteStep;
                for (int i = 0; i < 4; i++)
                {
                    Entry(target + i * ByteStep, d0 >> (8 * i), high >> i, s0 >> (4 * i));
                    Entry(target + (4 + i) * ByteStep, d1 >> (8 * i), high >> (4 + i), s0 >> (16 + 4 * i));
                    Entry(target + (8 + i) * ByteStep, d2 >> (8 * i), high >> (8 + i), s1 >> (4 * i));
                    Entry(target + (12 + i) * ByteStep, d3 >> (8 * i), high >> (12 + i), s1 >> (16 + 4 * i));
                }

                PutOddScale(scales + 2 * part * TileFormat.Rows, d, (scale >> (8 * part)) & four);
                PutOddScale(scales + (2 * part + 1) * TileFormat.Rows, d, (scale >> (8 * part + 4)) & four);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Entry(byte* tile, Vector512<uint> index, Vector512<uint> ninth, Vector512<uint> signs) => PutSigned(
            tile, 0, TIsa.Gather(Codebooks.Iq3S, (index & Vector512.Create(255u)) | ((ninth & Vector512<uint>.One) << 8)), signs, Vector512.Create((byte)16));
    }
}
