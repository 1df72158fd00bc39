using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Entries of eight numbers up to 43 by 10-bit indices; a bit a sign; four-bit scales of 16 columns.</summary>
internal static unsafe class IQ2_STiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ2_S,
        Group = 16,
        Offset = 64,
        MaxByte = 107,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> four = Vector512.Create(15u);
        for (int k = 0; k < columns; k += 256, rows += 82, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            Vector512<float> d = LowHalf(First<TIsa>(rows, stride)) * 0.125f;
            TIsa.Transpose(rows + 66, stride, out Vector512<uint> high, out Vector512<uint> laterHigh, out Vector512<uint> scale, out Vector512<uint> laterScale);
            for (int half = 0; half < 2; half++, high = laterHigh, scale = laterScale)
            {
                TIsa.Transpose(rows + 2 + 16 * half, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                TIsa.Transpose(rows + 34 + 16 * half, stride, out Vector512<uint> s0, out Vector512<uint> s1, out Vector512<uint> s2, out Vector512<uint> s3);
                byte* target = tile + 32 * half * ByteStep;
                for (int i = 0; i < 4; i++)
                {
                    Entry(target + 2 * i * ByteStep, d0 >> (8 * i), high >> (2 * i), s0 >> (8 * i));
                    Entry(target + (8 + 2 * i) * ByteStep, d1 >> (8 * i), high >> (8 + 2 * i), s1 >> (8 * i));
                    Entry(target + (16 + 2 * i) * ByteStep, d2 >> (8 * i), high >> (16 + 2 * i), s2 >> (8 * i));
                    Entry(target + (24 + 2 * i) * ByteStep, d3 >> (8 * i), high >> (24 + 2 * i), s3 >> (8 * i));
                }

                for (int group = 0; group < 8; group++)
                {
                    PutOddScale(scales + (8 * half + group) * TileFormat.Rows, d, (scale >> (4 * group)) & four);
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Entry(byte* tile, Vector512<uint> index, Vector512<uint> upper, Vector512<uint> signs) =>
            PutEight<TIsa>(tile, 0, Codebooks.Iq2S, (index & Vector512.Create(255u)) | ((upper & Vector512.Create(3u)) << 8), signs, Vector512.Create((byte)64));
    }
}
