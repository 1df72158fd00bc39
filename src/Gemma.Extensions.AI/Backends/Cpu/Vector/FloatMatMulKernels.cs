using Gemma.Extensions.AI.Backends.Cpu.Attention;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>float32 tiles on any vector unit; int8 tiles are converted to float32. The slowest of the fast tiers, and the one that runs everywhere.</summary>
/// <param name="bfloat16">True if a subclass multiplies bfloat16 weights as pairs.</param>
/// <param name="fallbackReason">Why these kernels are not those that were asked for.</param>
internal class FloatMatMulKernels<TIsa>(bool bfloat16 = false, string? fallbackReason = null) : MatMulKernels
    where TIsa : struct, IVectorIsa
{
    private readonly KernelSet _kernels = KernelSet.Of<TIsa>();

    public override TileFormats Formats => field ??= TileFormats.Create(_kernels);

    public override string? FallbackReason => fallbackReason;

    public override KvKernels Float16Kv => _kernels.Float16Kv;

    public override KvKernels BFloat16Kv => _kernels.BFloat16Kv;

    public override TileFormat? WeightFormat(TensorType type) => type == TensorType.BF16 && bfloat16 ? _kernels.BFloat16Pairs : base.WeightFormat(type);

    public override ActivationLayout GemmLayout(TileFormat format) => format.Layout == TileLayout.BFloat16x2 ? ActivationLayout.BFloat16x2 : ActivationLayout.Float32;

    public override int MaxPanel(ActivationLayout layout) => 4;

    public override unsafe void Gemm(ActivationLayout layout, TileArgs* args, int panel, TileFormat format)
    {
        if (layout != ActivationLayout.Float32)
        {
            throw new NotSupportedException($"This tier has no kernels for activations in the layout {layout}.");
        }

        GemmFloat32(args, panel);
    }

    public override unsafe void GemmFloat32(TileArgs* args, int rows)
    {
        int row = 0;
        for (; row + 4 <= rows; row += 4)
        {
            _kernels.FloatsFour(args, row);
        }

        for (; row < rows; row++)
        {
            _kernels.FloatsOne(args, row);
        }
    }
}
