using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.GemvSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Signed bytes, moved up by 128.</summary>
internal static unsafe class Q8_0Tiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.Q8_0,
        Group = 32,
        Offset = 128,
        MaxByte = 255,
        Unpack = &Unpack<TIsa>,
        Gemv = &Gemv<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> sign = Vector512.Create(0x80808080u);
        for (int k = 0; k < columns; k += 32, rows += 34, tile += 8 * ByteStep, scales += TileFormat.Rows)
        {
            LowHalf(First<TIsa>(rows, stride)).Store(scales);
            for (int h = 0; h < 2; h++)
            {
                TIsa.Transpose(rows + 2 + 16 * h, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                Put(tile, 4 * h, d0 ^ sign);
                Put(tile, 4 * h + 1, d1 ^ sign);
                Put(tile, 4 * h + 2, d2 ^ sign);
                Put(tile, 4 * h + 3, d3 ^ sign);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gemv<TIsa>(byte* rows, long stride, int columns, GemvArgs* args)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> sign = Vector512.Create(0x80808080u);
        Vector512<float> sum = Vector512<float>.Zero;
        int* x = (int*)args->Activations;
        int* terms = (int*)args->ZeroPointTerms;
        float* xScales = args->ActivationScales;
        byte* ahead = args->Ahead;
        long stream = args->Stream;
        for (int k = 0; k < columns; k += 32, rows += 34, x += 8, terms++, xScales++)
        {
            Vector512<float> scale = FirstHalf<TIsa>(rows, stride);
            Vector512<int> products = Vector512.Create(*terms);
            Read<TIsa>(rows + 2, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            products = Dot<TIsa, HalfPairs>(products, x, d0 ^ sign, d1 ^ sign, d2 ^ sign, d3 ^ sign);
            Read<TIsa>(rows + 18, stride, ref ahead, stream, out d0, out d1, out d2, out d3);
            products = Dot<TIsa, HalfPairs>(products, x + 4, d0 ^ sign, d1 ^ sign, d2 ^ sign, d3 ^ sign);
            sum = Vector512.MultiplyAddEstimate(Vector512.ConvertToSingle(products), scale * *xScales, sum);
        }

        sum.Store(args->Output);
    }
}
