using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Entries of eight numbers up to 43 by 9-bit indices, seven bits for eight signs; four-bit scales of 16 columns.</summary>
internal static unsafe class IQ2_XSTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ2_XS,
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
        for (int k = 0; k < columns; k += 256, rows += 74, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            Vector512<float> d = LowHalf(First<TIsa>(rows, stride)) * 0.125f;
            TIsa.Transpose(rows + 58, stride, out _, out _, out Vector512<uint> s0, out Vector512<uint> s1);
            for (int part = 0; part < 4; part++)
            {
                TIsa.Transpose(rows + 2 + 16 * part, stride, out Vector512<uint> e0, out Vector512<uint> e1, out Vector512<uint> e2, out Vector512<uint> e3);
                byte* target = tile + 16 * part * ByteStep;
                Pair(target, e0);
                Pair(target + 4 * ByteStep, e1);
                Pair(target + 8 * ByteStep, e2);
                Pair(target + 12 * ByteStep, e3);
                Vector512<uint> scale = (part < 2 ? s0 : s1) >> (part % 2 * 16);
                for (int group = 0; group < 4; group++)
                {
                    PutOddScale(scales + (4 * part + group) * TileFormat.Rows, d, (scale >> (4 * group)) & four);
                }
            }
        }

        // 16 columns: two entries.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Pair(byte* tile, Vector512<uint> entries)
        {
            Vector512<uint> nine = Vector512.Create(511u);
            Vector512<byte> offset = Vector512.Create((byte)64);
            PutEight<TIsa>(tile, 0, Codebooks.Iq2Xs, entries & nine, EvenSigns(entries >> 9), offset);
            PutEight<TIsa>(tile, 2, Codebooks.Iq2Xs, (entries >> 16) & nine, EvenSigns(entries >> 25), offset);
        }
    }
}
