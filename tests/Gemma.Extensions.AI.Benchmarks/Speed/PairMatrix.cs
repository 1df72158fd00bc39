using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>
/// Stands in for matrix registers where the processor has none: the products of prompts by <c>vdpbf16ps</c>, which rounds and adds up pairs of bfloat16 as <c>tdpbf16ps</c> does. For measuring
/// what the rounding of the tier amx-bf16 costs on models that are too large for software.
/// </summary>
internal sealed unsafe class PairMatrix : MatrixKernels
{
    private const int Panel = 8, Pairs = StepColumns / 2;

    private readonly MatMulKernels _kernels = JitMatMulKernels.Create(ExecutableMemory.TryCreate, bfloat16: true);
    private readonly ThreadLocal<NativeBuffer> _packed = new(() => new NativeBuffer());

    /// <summary>A backend with these kernels for prompts.</summary>
    public static CpuBackend CreateBackend(int threads) => new(
        new KernelTier("avx512-bf16, prompts as by amx-bf16", "", () => null, workers => new VectorKernels(workers, JitMatMulKernels.Create(ExecutableMemory.TryCreate, bfloat16: true, matrix: new PairMatrix()))), threads);

    public override void Multiply(MatrixArgs* args, int rows)
    {
        uint* packed = (uint*)_packed.Value!.Reserve(Panel * args->Steps * Pairs * sizeof(uint));
        for (int first = 0; first < rows; first += Panel)
        {
            bool next = first >= RegisterRows;
            int row = first % RegisterRows, count = Math.Min(Panel, (next ? rows : Math.Min(rows, RegisterRows)) - first);
            byte* source = (next ? args->NextRows : args->Rows) + 64 * row;
            long step = next ? args->NextRowsStep : args->RowsStep;
            for (long s = 0; s < args->Steps; s++)
            {
                for (int r = 0; r < count; r++)
                {
                    uint* pairs = (uint*)(source + s * step + 64 * r);
                    for (int i = 0; i < Pairs; i++)
                    {
                        packed[(s * Pairs + i) * count + r] = pairs[i];
                    }
                }
            }

            for (long tile = 0; tile < args->Tiles; tile++)
            {
                TileArgs product = new()
                {
                    Weights = args->Weights + tile * args->Steps * Pairs * TileFormat.Rows * sizeof(uint),
                    Activations = (byte*)packed,
                    Output = (float*)((byte*)(next ? args->NextOutput : args->Output) + row * args->OutputStride) + tile * TileFormat.Rows,
                    OutputStride = args->OutputStride,
                    Steps = args->Steps * Pairs,
                    Accumulate = args->Accumulate,
                    WeightStride = TileFormat.Rows,
                    ActivationStride = 1,
                    ActivationStep = count,
                };
                _kernels.Gemm(ActivationLayout.BFloat16x2, &product, count, _kernels.WeightFormat(Gemma.Extensions.AI.Formats.TensorType.BF16)!);
            }
        }
    }

    public override void Dispose() => _kernels.Dispose();
}
