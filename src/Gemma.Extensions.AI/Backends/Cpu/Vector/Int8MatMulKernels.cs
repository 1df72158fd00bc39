using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>Int8 tiles by multiply-add of byte pairs (AVX2, AVX-512) or by the four-way dot products that .NET exposes (AVX-VNNI, NEON).</summary>
internal sealed unsafe class Int8MatMulKernels<TIsa>(string? fallbackReason = null) : FloatMatMulKernels<TIsa>(fallbackReason: fallbackReason)
    where TIsa : struct, IVectorIsa
{
    public override ActivationLayout GemmLayout(TileFormat format) => format.Layout == TileLayout.Int8x4 ? ActivationLayout.Int8x4 : base.GemmLayout(format);

    public override bool CanGemv(TileFormat format, int rows, bool interleaved = false) => rows == 1 && !interleaved && format.Gemv is not null;

    public override void Gemv(TileFormat format, GemvArgs* args) => format.Gemv(args->Weights, args->WeightStride, args->Columns, args);

    public override void Gemm(ActivationLayout layout, TileArgs* args, int panel, TileFormat format)
    {
        if (layout == ActivationLayout.Float32)
        {
            GemmFloat32(args, panel);
        }
        else if (layout != ActivationLayout.Int8x4)
        {
            base.Gemm(layout, args, panel, format);
        }
        else if (TIsa.HasDot)
        {
            if (format.MaxByte > 127)
            {
                GemmInt8<WideDotSum>(args, panel, format);
            }
            else
            {
                GemmInt8<DotSum>(args, panel, format);
            }
        }
        else if (format.MaxByte <= 31)
        {
            // How many pair sums fit 16 bits: each is at most twice the largest weight byte times 127.
            GemmInt8<FourPairs>(args, panel, format);
        }
        else if (format.MaxByte <= 63)
        {
            GemmInt8<TwoPairs>(args, panel, format);
        }
        else
        {
            GemmInt8<HalfPairs>(args, panel, format);
        }
    }

    private static void GemmInt8<TSum>(TileArgs* args, int panel, TileFormat format)
        where TSum : struct, ISumDepth
    {
        int row = 0;
        for (; TIsa.ByteRows == 2 && row + 2 <= panel; row += 2)
        {
            KernelSet.BytesTwo<TIsa, TSum>()(args, panel, row, format.Group, format.HasMinimum);
        }

        for (; row < panel; row++)
        {
            KernelSet.BytesOne<TIsa, TSum>()(args, panel, row, format.Group, format.HasMinimum);
        }
    }
}
