using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>Every tier with every format against products of the reference decoder's weights in double precision.</summary>
public sealed unsafe class MatMulTests
{
    private const int Columns = 768;

    public static TheoryData<string, string> TiersAndFormats => Tiers.WithFormats;

    [Theory, MemberData(nameof(TiersAndFormats))]
    public void ProductsAreWithinTheDerivedBound(string tier, string format)
    {
        using Backend backend = Tiers.Create(tier);
        using RandomTensors random = new(1);
        TensorType type = Enum.Parse<TensorType>(format);

        // Whole tiles; a tile that overlaps the one before it; too few rows for a tile.
        TensorView[] parts = [random.Create(type, 64, Columns), random.Create(type, 49, Columns), random.Create(type, 7, Columns)];
        WeightMatrix weights = backend.LoadWeights(parts);
        foreach (int rows in (int[])[1, 2, 5, 6, 7, 8, 13, 40])
        {
            using Matrix x = backend.CreateMatrix(rows, Columns), y = backend.CreateMatrix(rows, weights.Rows);
            for (int r = 0; r < rows; r++)
            {
                random.Fill(x, r, r == 3 ? 100 : 1);
            }

            x.Write(rows - 1, new float[64]);
            backend.MatMul(x, weights, y, rows, Prompts(backend, rows));
            int first = 0;
            foreach (TensorView part in parts)
            {
                Check(part, x, y, rows, first, tier);
                first += (int)part.Rows;
            }
        }
    }

    [Theory, MemberData(nameof(TiersAndFormats))]
    public void ARowDoesNotDependOnItsBatch(string tier, string format)
    {
        using Backend backend = Tiers.Create(tier);
        using RandomTensors random = new(2);
        WeightMatrix weights = backend.LoadWeights(random.Create(Enum.Parse<TensorType>(format), 96, Columns), random.Create(TensorType.Q6_K, 32, Columns));
        using Matrix x = backend.CreateMatrix(45, Columns), together = backend.CreateMatrix(45, weights.Rows);
        using Matrix one = backend.CreateMatrix(1, Columns), alone = backend.CreateMatrix(1, weights.Rows);
        for (int r = 0; r < 45; r++)
        {
            random.Fill(x, r);
        }

        // Interpreting takes its time, and the products are compared one by one elsewhere (BFloat16KernelTests).
        foreach (int rows in tier is Tiers.Interpreted or Tiers.AmxInterpreted or Tiers.Cuda ? (int[])[3, 9, 33] : [2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 45])
        {
            backend.MatMul(x, weights, together, rows, Prompts(backend, rows));
            for (int r = 0; r < rows; r++)
            {
                one.Write(0, x.Row(r));
                backend.MatMul(one, weights, alone, 1, Prompts(backend, 1));
                Assert.True(alone.Row(0).SequenceEqual(together.Row(r)), $"row {r} of {rows}");
            }
        }
    }

    [Fact]
    public void IntegerTiersAgreeBitByBit()
    {
        string[] tiers = [.. KernelTier.All.Where(tier => tier.Unsupported() is null && tier.Name is not ("reference" or "portable")).Select(tier => tier.Name)];
        Assert.SkipWhen(tiers.Length < 2, "This machine has fewer than two integer tiers.");
        using RandomTensors random = new(3);
        foreach (BlockFormat format in BlockFormat.All)
        {
            TensorView tensor = random.Create(format.Type, 64, Columns);
            float[] input = new float[7 * Columns];
            random.Fill(input);
            float[]? expected = null;
            foreach (string tier in tiers)
            {
                if (InPairs(tier, format))
                {
                    continue;
                }

                using Backend backend = Tiers.Create(tier);
                using Matrix x = backend.CreateMatrix(7, Columns), y = backend.CreateMatrix(7, 64);
                for (int r = 0; r < 7; r++)
                {
                    x.Write(r, input.AsSpan(r * Columns, Columns));
                }

                backend.MatMul(x, backend.LoadWeights(tensor), y, 7);
                float[] result = [.. Enumerable.Range(0, 7).SelectMany(r => y.Row(r).ToArray())];
                expected ??= result;
                Assert.True(expected.AsSpan().SequenceEqual(result), $"{tier} with {format}");
            }
        }
    }

    [Theory, MemberData(nameof(TiersAndFormats))]
    public void ColumnsNeedNotFillATile(string tier, string format)
    {
        using Backend backend = Tiers.Create(tier);
        using RandomTensors random = new(4);
        TensorType type = Enum.Parse<TensorType>(format);
        int block = BlockFormat.Get(type).BlockElements;
        foreach (int columns in block == 1 ? (int[])[1, 6, 24, 300] : block == 32 ? [32, 96, 544] : [256, 1280])
        {
            TensorView tensor = random.Create(type, 40, columns);
            using Matrix x = backend.CreateMatrix(3, columns), y = backend.CreateMatrix(3, 40);
            for (int r = 0; r < 3; r++)
            {
                random.Fill(x, r);
            }

            backend.MatMul(x, backend.LoadWeights(tensor), y, 3, Prompts(backend, 3));
            Check(tensor, x, y, 3, 0, tier);
        }
    }

    /// <summary>
    /// Rounding activations to bytes moves each by at most half a step, max|x|/254 in its block of 32: the first term. Float arithmetic has one
    /// rounding of 2^-24 for each group of columns and each factor, on partial sums that (with minima) may be twice the products: the second.
    /// Activations rounded to bfloat16 move by 2^-9 of themselves, and so do the weights of prompts by matrix registers, for which subnormal numbers are zero. On the GPU weights without a kernel move by 2^-9, and plain numbers are the sums of two bfloat16 numbers.
    /// </summary>
    private static void Check(TensorView tensor, Matrix x, Matrix y, int rows, int firstOutput, string tier)
    {
        bool cuda = tier is Tiers.Cuda or Tiers.Gpu, rounded = cuda && !CudaFormat.Of(tensor.Format.Type).HasKernel;
        bool matrix = tier.StartsWith("amx-bf16", StringComparison.Ordinal), pairs = InPairs(tier, tensor.Format) || matrix;
        bool floats = matrix || tier is "reference" or "portable" || tensor.Format.BlockElements == 1 || rounded;
        int? bits = pairs ? 8 : rounded ? 9 : cuda && floats ? 15 : null;
        float[] weights = RandomTensors.Decode(tensor);
        int columns = (int)tensor.Columns;
        for (int r = 0; r < rows; r++)
        {
            Span<float> input = x.Row(r), output = y.Row(r);
            for (int n = 0; n < tensor.Rows; n++)
            {
                double sum = 0, rounding = 0, magnitude = 0, subnormal = 0;
                for (int start = 0; start < columns; start += 32)
                {
                    float largestInput = 0, largestWeight = 0;
                    double absolute = 0;
                    for (int k = start; k < Math.Min(columns, start + 32); k++)
                    {
                        float w = weights[n * columns + k];
                        sum += (double)w * input[k];
                        absolute += Math.Abs(w);
                        rounding += bits is { } exponent ? Math.ScaleB(Math.Abs((double)w * input[k]), -exponent) : 0;
                        largestInput = Math.Max(largestInput, Math.Abs(input[k]));
                        largestWeight = Math.Max(largestWeight, Math.Abs(w));
                    }

                    rounding += floats ? 0 : absolute * largestInput / 254;
                    subnormal += matrix ? Math.ScaleB(32 * (1 + largestInput), -125) : 0;
                    magnitude += 32.0 * largestWeight * largestInput;
                }

                double bound = rounding * 1.001 + Math.ScaleB(2 * magnitude, -24) * ((floats ? columns : columns / 16.0) + 8) + subnormal;
                Assert.True(Math.Abs(output[firstOutput + n] - sum) <= bound, $"{tensor.Format} [{r}, {n}]: {output[firstOutput + n]}, expected {sum} ± {bound}");
            }
        }
    }

    /// <summary>Matrix registers serve prompts alone: it is these that are tested on a tier that has them; its other kernels are those of another tier.</summary>
    private static int Prompts(Backend backend, int rows) => backend is CpuBackend { HasPromptKernels: true } ? rows : 0;

    private static bool InPairs(string tier, BlockFormat format) => tier is "avx512-bf16" or Tiers.Interpreted or Tiers.CompiledAhead && format.Type == TensorType.BF16;
}
