using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>As IQ4_NL; six-bit signed scales of 32 columns.</summary>
internal static unsafe class IQ4_XSTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ4_XS,
        Group = 32,
        Offset = 128,
        MaxByte = 255,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> four = Vector512.Create(15u), two = Vector512.Create(3u);
        for (int k = 0; k < columns; k += 256, rows += 136, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            TIsa.Transpose(rows, stride, out Vector512<uint> head, out Vector512<uint> low, out _, out _);
            Vector512<float> d = LowHalf(head);
            for (int group = 0; group < 8; group++)
            {
                Vector512<uint> scale = ((low >> (4 * group)) & four) | (((head >> (16 + 2 * group)) & two) << 4);
                (d * Vector512.ConvertToSingle(scale.AsInt32() - Vector512.Create(32))).Store(scales + group * TileFormat.Rows);
                PutCodes<TIsa, IQ4_NLCodes>(rows + 8 + 16 * group, stride, tile + 8 * group * ByteStep);
            }
        }
    }
}
