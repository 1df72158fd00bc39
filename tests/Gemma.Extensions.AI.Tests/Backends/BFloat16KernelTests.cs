using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Iced.Intel;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>
/// The kernels for pairs of bfloat16, also without a processor that has <c>vdpbf16ps</c>: their machine code is interpreted and held against the instruction in
/// software. The interpreter is held against the processor, with all that the two have in common.
/// </summary>
public sealed unsafe class BFloat16KernelTests
{
    public static TheoryData<string> Types => new(BlockFormat.All.Select(format => format.Name));

    /// <summary>Every kernel that this machine may run, with the same products by way of the interpreter: all counts of rows, of tiles and past them.</summary>
    [Theory, MemberData(nameof(Types))]
    public void TheInterpreterGivesWhatTheProcessorGives(string format)
    {
        Assert.SkipUnless(JitMatMulKernels.Unsupported() is null, JitMatMulKernels.Unsupported() ?? "");
        using CpuBackend backend = Tiers.CreateCpu("avx512-vnni", threads: 1);
        CheckAgainst(backend, format, [1, 2, 3, 4, 5, 6, 7, 8, 9, 33, 34, 35, 37, 38]);
    }

    /// <summary>The same for pairs, on a processor that multiplies them: numbers of many sizes, so that another order or rounding of the sums would show.</summary>
    [Fact]
    public void TheProcessorAddsPairsAsTheManualSays()
    {
        Assert.SkipUnless(JitMatMulKernels.UnsupportedBFloat16() is null, JitMatMulKernels.UnsupportedBFloat16() ?? "");
        const int Columns = 528, Outputs = 81;
        using CpuBackend backend = Tiers.CreateCpu("avx512-bf16", threads: 1);
        using WorkerPool workers = new(1);
        using VectorKernels interpreted = new(workers, new InterpretedKernels(bfloat16: true));
        using RandomTensors random = new(15);
        CpuWeights weights = Weights(backend, random, Outputs, Columns), own = Own(interpreted, weights);
        foreach (int rows in (int[])[1, 2, 3, 4, 5, 6, 7, 8, 9, 33, 34, 37, 60])
        {
            using CpuMatrix x = Input(random, rows, Columns), expected = new(rows, Outputs), actual = new(rows, Outputs);
            for (int i = 0; i < rows * Columns; i++)
            {
                x.Data[i] = MathF.ScaleB(x.Data[i], i * 7 % 40 - 20);
            }

            interpreted.MatMul(x, own, expected, rows);
            backend.MatMul(x, weights, actual, rows);
            Assert.True(new Span<float>(expected.Data, rows * Outputs).SequenceEqual(new Span<float>(actual.Data, rows * Outputs)), $"{rows} rows");
        }
    }

    /// <summary>The kernels of avx512-vnni where the machine has a lesser tier of whole numbers.</summary>
    [Theory]
    [InlineData("Q4_K")]
    [InlineData("Q6_K")]
    [InlineData("IQ4_NL")]
    [InlineData("IQ4_XS")]
    [InlineData("IQ3_S")]
    [InlineData("IQ3_XXS")]
    [InlineData("IQ2_S")]
    [InlineData("IQ2_XS")]
    [InlineData("IQ2_XXS")]
    [InlineData("IQ1_S")]
    [InlineData("IQ1_M")]
    public void InterpretedByteKernelsGiveWhatAvx2Gives(string format)
    {
        using CpuBackend backend = Tiers.CreateCpu("avx2", threads: 1);
        CheckAgainst(backend, format, [1, 7, 33]);
    }

    /// <summary>
    /// The instruction for pairs differs from <c>vpdpwssd</c>, which adds products of pairs of 16-bit integers, by one bit field. With that in its place
    /// the kernels run on processors without it, so everything but the products themselves is seen to work on one.
    /// </summary>
    [Fact]
    public void KernelsForPairsRunOnTheProcessorWithIntegersInPlaceOfFloats()
    {
        Assert.SkipUnless(JitMatMulKernels.Unsupported() is null, JitMatMulKernels.Unsupported() ?? "");
        const int Columns = 272;
        using WorkerPool workers = new(1);
        using RandomTensors random = new(11);
        using VectorKernels interpreted = new(workers, new InterpretedKernels(bfloat16: true, change: WithIntegers));
        using VectorKernels native = new(workers, new NativeBFloat16());
        CpuWeights weights = Weights(native, random, 64, Columns), own = Own(interpreted, weights);
        foreach (int rows in (int[])[1, 2, 8, 33, 36, 44])
        {
            using CpuMatrix x = Input(random, rows, Columns), expected = new(rows, 64), actual = new(rows, 64);
            interpreted.MatMul(x, own, expected, rows);
            native.MatMul(x, weights, actual, rows);
            Span<int> sums = new(expected.Data, rows * 64);
            Assert.True(sums.SequenceEqual(new Span<int>(actual.Data, rows * 64)), $"{rows} rows");
            Assert.True(sums.ToArray().Distinct().Count() > rows * 32);
        }
    }

    /// <summary>All counts of rows of a panel and past the tiles; widths that are no whole steps; tiles that overlap; another tensor stacked on it.</summary>
    [Theory]
    [InlineData(32, 32, false)]
    [InlineData(32, 392, false)]
    [InlineData(49, 16, true)]
    [InlineData(64, 528, false)]
    [InlineData(81, 264, true)]
    public void ProductsAreThoseOfTheInstructionInSoftware(int outputs, int columns, bool windows)
    {
        using WorkerPool workers = new(1);
        using VectorKernels kernels = new(workers, new InterpretedKernels(bfloat16: true, windows));
        using RandomTensors random = new(12);
        WeightPart[] parts = (WeightPart[])[.. Weights(kernels, random, outputs, columns).Parts, new(BlockFormat.Get(TensorType.F32), random.Create(TensorType.F32, 32, columns).Data, outputs, 32, columns)];
        foreach (WeightPart[] stacked in (WeightPart[][])[[parts[0]], parts])
        {
            CpuWeights weights = kernels.LoadWeights(stacked, stacked.Sum(part => part.Rows), columns);
            foreach (int rows in (int[])[1, 2, 3, 4, 5, 6, 7, 8, 9, 32, 33, 34, 37, 60])
            {
                using CpuMatrix x = Input(random, rows, columns), y = new(rows, weights.Rows);
                kernels.MatMul(x, weights, y, rows);
                for (int r = 0; r < rows; r++)
                {
                    for (int n = 0; n < outputs; n++)
                    {
                        Assert.Equal(Expected((uint*)(stacked[0].Data + n * stacked[0].RowBytes), x.RowData(r), columns), y.RowData(r)[n]);
                    }
                }
            }
        }
    }

    /// <summary>
    /// Rounding an activation to bfloat16, which has 8 bits of precision, moves it by at most 2^-8 of itself: the first term. Each addition rounds a
    /// partial sum by 2^-24: the second.
    /// </summary>
    [Fact]
    public void ProductsAreWithinTheDerivedBoundOfExactOnes()
    {
        const int Columns = 768, Rows = 40, Outputs = 32;
        using WorkerPool workers = new(1);
        using VectorKernels kernels = new(workers, new InterpretedKernels(bfloat16: true));
        using RandomTensors random = new(13);
        CpuWeights weights = Weights(kernels, random, Outputs, Columns);
        using CpuMatrix x = Input(random, Rows, Columns), y = new(Rows, Outputs);
        kernels.MatMul(x, weights, y, Rows);
        double bound = Math.ScaleB(1, -8) + Math.ScaleB(Columns, -23);
        for (int r = 0; r < Rows; r++)
        {
            for (int n = 0; n < Outputs; n++)
            {
                double sum = 0, magnitude = 0;
                for (int k = 0; k < Columns; k++)
                {
                    double product = (double)HalfBits.BFloat16ToSingle(((ushort*)weights.Parts[0].Data)[n * Columns + k]) * x.RowData(r)[k];
                    sum += product;
                    magnitude += Math.Abs(product);
                }

                Assert.InRange(y.RowData(r)[n] - sum, -magnitude * bound, magnitude * bound);
            }
        }
    }

    [Fact]
    public void TheInstructionInSoftwareFollowsTheManual()
    {
        Assert.Equal(1 + 2 * 3 + 4 * 5, BFloatDot.Add(1, Pair(2, 4), Pair(3, 5)));

        // The upper halves come first: 2^24 + 1 is lost, then 2^24 - 2^24 leaves nothing of it; the other way round 1 is left.
        Assert.Equal(0, BFloatDot.Add(MathF.ScaleB(1, 24), Pair(-MathF.ScaleB(1, 12), 1), Pair(MathF.ScaleB(1, 12), 1)));
        Assert.Equal(1, BFloatDot.Add(MathF.ScaleB(1, 24), Pair(1, -MathF.ScaleB(1, 12)), Pair(1, MathF.ScaleB(1, 12))));

        // Ties to even: 2^24 + 1 becomes 2^24, 2^24 + 3 becomes 2^24 + 4.
        Assert.Equal(16777220f, BFloatDot.Add(MathF.ScaleB(1, 24), Pair(0, 3), Pair(0, 1)));

        // The product is not rounded: it leaves the range of float32, the sum does not.
        Assert.Equal(MathF.ScaleB(1, 127), BFloatDot.Add(-MathF.ScaleB(1, 127), Pair(0, MathF.ScaleB(1, 64)), Pair(0, MathF.ScaleB(1, 64))));

        // Subnormal in, subnormal out: zero.
        Assert.Equal(0, BFloatDot.Add(0, Pair(MathF.ScaleB(1, -127), 0), Pair(MathF.ScaleB(1, 100), 0)));
        Assert.Equal(0, BFloatDot.Add(MathF.ScaleB(1, -127), 0, 0));
        Assert.Equal(0, BFloatDot.Add(0, Pair(MathF.ScaleB(1, -64), 0), Pair(MathF.ScaleB(1, -64), 0)));
        Assert.Equal(MathF.ScaleB(1, -126), BFloatDot.Add(0, Pair(MathF.ScaleB(1, -63), 0), Pair(MathF.ScaleB(1, -63), 0)));

        static uint Pair(float low, float high) => BitConverter.SingleToUInt32Bits(low) >> 16 | BitConverter.SingleToUInt32Bits(high);
    }

    [Fact]
    public void TheCheckPassesRightKernelsAndFailsWrongOnes()
    {
        using InterpretedKernels right = new(bfloat16: true);
        Assert.True(BFloat16SelfTest.Passes(right));
        using InterpretedKernels integers = new(bfloat16: true, change: WithIntegers);
        Assert.False(BFloat16SelfTest.Passes(integers));

        // Panels of tiles alone, then kernels for a few rows alone.
        foreach (bool tiles in (bool[])[true, false])
        {
            using InterpretedKernels wrong = new(bfloat16: true, change: code => new MachineInterpreter(code, windows: false).Mnemonics.Contains(Mnemonic.Vbroadcastss) == tiles ? WithIntegers(code) : code);
            Assert.False(BFloat16SelfTest.Passes(wrong));
        }
    }

    [Fact]
    public void WhereTheCheckFailsTheKernelsOfTheTierBelowTakeOver()
    {
        Assert.SkipUnless(JitMatMulKernels.Unsupported() is null, JitMatMulKernels.Unsupported() ?? "");
        using WorkerPool workers = new(1);
        int allocations = 0;
        using VectorKernels kernels = new(workers, JitMatMulKernels.Create(
            (ReadOnlySpan<byte> code, out string? reason) =>
            {
                allocations++;
                return ExecutableMemory.TryCreate(WithIntegers(code.ToArray()), out reason);
            },
            bfloat16: true));
        Assert.Equal("avx512-vnni kernels: dot products of bfloat16 came out wrong on this processor; please report it", kernels.FallbackReason);
        Assert.True(allocations > 2);
        using CpuBackend vnni = Tiers.CreateCpu("avx512-vnni", threads: 1);
        using RandomTensors random = new(14);
        CpuWeights weights = Weights(kernels, random, 64, 256), own = (CpuWeights)vnni.LoadWeights(new TensorView("w", weights.Parts[0].Format, [64, 256], weights.Parts[0].Data, 64 * weights.Parts[0].RowBytes, "random"));
        foreach (int rows in (int[])[1, 36])
        {
            using CpuMatrix x = Input(random, rows, 256), expected = new(rows, 64), actual = new(rows, 64);
            vnni.MatMul(x, own, expected, rows);
            kernels.MatMul(x, weights, actual, rows);
            Assert.True(new Span<float>(expected.Data, rows * 64).SequenceEqual(new Span<float>(actual.Data, rows * 64)));
        }
    }

    private static float Expected(uint* weights, float* x, int columns)
    {
        float sum = 0;
        for (int k = 0; k < columns; k += 2)
        {
            sum = BFloatDot.Add(sum, weights[k / 2], HalfBits.BFloat16FromSingle(x[k]) | (uint)HalfBits.BFloat16FromSingle(x[k + 1]) << 16);
        }

        return sum;
    }

    private static void CheckAgainst(CpuBackend backend, string format, int[] batches)
    {
        const int Columns = 768, Outputs = 49;
        TensorType type = Enum.Parse<TensorType>(format);
        using WorkerPool workers = new(1);
        using VectorKernels kernels = new(workers, new InterpretedKernels(bfloat16: false));
        using RandomTensors random = new(10);
        CpuWeights weights = (CpuWeights)backend.LoadWeights(random.Create(type, Outputs, Columns));
        CpuWeights own = kernels.LoadWeights(weights.Parts, Outputs, Columns);
        foreach (int rows in batches)
        {
            using CpuMatrix x = Input(random, rows, Columns), expected = new(rows, Outputs), actual = new(rows, Outputs);
            backend.MatMul(x, weights, expected, rows);
            kernels.MatMul(x, own, actual, rows);
            Assert.True(new Span<float>(expected.Data, rows * Outputs).SequenceEqual(new Span<float>(actual.Data, rows * Outputs)), $"{rows} rows");
        }
    }

    private static CpuWeights Weights(VectorKernels kernels, RandomTensors random, int rows, int columns) =>
        kernels.LoadWeights([new WeightPart(BlockFormat.Get(TensorType.BF16), random.Create(TensorType.BF16, rows, columns).Data, 0, rows, columns)], rows, columns);

    private static CpuWeights Weights(CpuBackend backend, RandomTensors random, int rows, int columns) =>
        (CpuWeights)backend.LoadWeights(random.Create(TensorType.BF16, rows, columns));

    /// <summary>The same tensors, loaded for other kernels.</summary>
    private static CpuWeights Own(VectorKernels kernels, CpuWeights weights) => kernels.LoadWeights(weights.Parts, weights.Rows, weights.Columns);

    private static CpuMatrix Input(RandomTensors random, int rows, int columns)
    {
        CpuMatrix x = new(rows, columns);
        random.Fill(new Span<float>(x.Data, rows * columns));
        return x;
    }

    /// <summary>The code with <c>vpdpwssd</c> for every <c>vdpbf16ps</c>: the prefix field of EVEX says F3 for the one and 66 for the other.</summary>
    private static byte[] WithIntegers(byte[] code)
    {
        Decoder decoder = Decoder.Create(64, code);
        while (decoder.IP < (ulong)code.Length)
        {
            int start = (int)decoder.IP;
            if (decoder.Decode().Mnemonic == Mnemonic.Vdpbf16ps)
            {
                Assert.Equal(0x62, code[start]);
                code[start + 2] ^= 0b11;
            }
        }

        return code;
    }

    /// <summary>The kernels for pairs with integers in their place, run by the processor.</summary>
    private sealed class NativeBFloat16() : FloatMatMulKernels<PortableIsa>(bfloat16: true)
    {
        private readonly Dictionary<(bool, int), ExecutableMemory> _code = [];

        public override int MaxPanel(ActivationLayout layout) => 12;

        public override void Gemm(ActivationLayout layout, TileArgs* args, int panel, TileFormat format) =>
            ((delegate* unmanaged<TileArgs*, void>)Code(true, panel, () => GemmAssembler.FloatKernel(panel, bfloat16: true, OperatingSystem.IsWindows())))(args);

        public override bool CanGemv(TileFormat format, int rows, bool interleaved = false) => !interleaved;

        public override void Gemv(TileFormat format, GemvArgs* args)
        {
            int rows = args->Count;
            args->Blocks = args->Columns / format.GemvColumns;
            ((delegate* unmanaged<GemvArgs*, void>)Code(false, rows, () => GemvAssembler.Assemble(format, rows, OperatingSystem.IsWindows())!))(args);
        }

        public override void Dispose()
        {
            foreach (ExecutableMemory code in _code.Values)
            {
                code.Dispose();
            }
        }

        private byte* Code(bool tile, int rows, Func<byte[]> assemble)
        {
            if (!_code.TryGetValue((tile, rows), out ExecutableMemory? code))
            {
                code = ExecutableMemory.TryCreate(WithIntegers(assemble()), out string? reason);
                Assert.SkipWhen(code is null, reason ?? "");
                _code[(tile, rows)] = code!;
            }

            return code!.Address;
        }
    }
}
