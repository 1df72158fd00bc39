using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Iced.Intel;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>The kernels for AMX, interpreted, and what decides whether they are used.</summary>
public sealed unsafe class MatrixKernelTests
{
    public static TheoryData<string, string> Refusals => new()
    {
        { "cpuid", "the processor has no AMX with bfloat16" },
        { "bfloat16", "the processor has no AMX with bfloat16" },
        { "palette", "the processor's tiles are not eight of 16 rows of 64 bytes" },
        { "osxsave", "the system does not save extended registers (XSAVE is off)" },
        { "xcr0", "the system does not save AMX tiles (XCR0 bits 17 and 18)" },
        { "permission", "the system refused tile state (arch_prctl, error 22)" },
        { "pages", "the system does not allow pages to be made executable" },
        { "wrong", "products by AMX came out wrong on this processor; please report it" },
    };

    /// <summary>
    /// The products of the instruction in software, bit by bit: weights rounded with ties away from zero, activations with ties to even, 32 columns after 32. All counts of
    /// rows of a register; tiles that overlap; columns that do not fill a step, and those that need several blocks.
    /// </summary>
    [Theory]
    [InlineData(TensorType.BF16, 32, 32, false)]
    [InlineData(TensorType.BF16, 49, 264, true)]
    [InlineData(TensorType.F32, 81, 300, false)]
    [InlineData(TensorType.F16, 64, 8, false)]
    [InlineData(TensorType.Q8_0, 70, 544, true)]
    [InlineData(TensorType.Q4_0, 33, 2592, false)]
    public void ProductsAreThoseOfTheInstructionInSoftware(object weightType, int outputs, int columns, bool windows)
    {
        TensorType type = (TensorType)weightType;
        using WorkerPool workers = new(1);
        using VectorKernels kernels = new(workers, new InterpretedKernels(bfloat16: true, matrix: new InterpretedMatrix(windows)));
        using RandomTensors random = new(31);
        TensorView tensor = random.Create(type, outputs, columns);
        uint[] pairs = Pairs(RandomTensors.Decode(tensor), columns, value => (ushort)((BitConverter.SingleToUInt32Bits(value) + 0x8000) >> 16));
        CpuWeights weights = kernels.LoadWeights([new WeightPart(tensor.Format, tensor.Data, 0, outputs, columns)], outputs, columns);
        foreach (int rows in columns > 600 ? (int[])[1, 18] : [1, 2, 15, 16, 17, 31, 32, 33, 50])
        {
            using CpuMatrix x = new(rows, columns), y = new(rows, outputs);
            random.Fill(new Span<float>(x.Data, rows * columns));
            uint[] activations = Pairs(new Span<float>(x.Data, rows * columns).ToArray(), columns, HalfBits.BFloat16FromSingle);
            kernels.MatMul(x, weights, y, rows, rows);
            for (int r = 0; r < rows; r++)
            {
                for (int n = 0; n < outputs; n++)
                {
                    Assert.Equal(Sum(Row(activations, r), Row(pairs, n)), y.RowData(r)[n]);
                }
            }
        }

        ReadOnlySpan<uint> Row(uint[] all, int row) => all.AsSpan(row * (MatrixKernels.Padded(columns) / 2), MatrixKernels.Padded(columns) / 2);
    }

    /// <summary>Rows of both kinds in one product: each is what it is alone, next to its own kind, and where it is of the other kind it is another.</summary>
    [Theory]
    [InlineData(Tiers.AmxInterpreted)]
    [InlineData(Tiers.AmxEmulated)]
    [InlineData("amx-bf16")]
    public void TheKindOfARowDecidesAndItsNeighboursDoNot(string tier)
    {
        const int Columns = 512, Outputs = 103;
        using CpuBackend backend = Tiers.CreateCpu(tier);
        using RandomTensors random = new(32);
        CpuWeights weights = (CpuWeights)backend.LoadWeights(random.Create(TensorType.Q4_K, 70, Columns), random.Create(TensorType.Q6_K, 33, Columns), random.Create(TensorType.F32, 7, Columns));
        using CpuMatrix x = new(24, Columns), y = new(24, Outputs + 7), one = new(1, Columns), generated = new(1, Outputs + 7), prompt = new(1, Outputs + 7);
        random.Fill(new Span<float>(x.Data, 24 * Columns));
        foreach (int prompts in (int[])[0, 1, 7, 20, 24])
        {
            backend.MatMul(x, weights, y, 24, prompts);
            for (int r = 0; r < 24; r++)
            {
                x.Row(r).CopyTo(one.Row(0));
                backend.MatMul(one, weights, generated, 1, 0);
                backend.MatMul(one, weights, prompt, 1, 1);
                Assert.True((r < 24 - prompts ? generated : prompt).Row(0).SequenceEqual(y.Row(r)), $"row {r} with {prompts} rows of prompts");
                Assert.False(generated.Row(0)[..Outputs].SequenceEqual(prompt.Row(0)[..Outputs]));
            }
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => backend.MatMul(x, weights, y, 3, 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => backend.MatMul(x, weights, y, 3, -1));
    }

    /// <summary>What whole models are tested with gives the bits that the machine code gives; and on a machine with AMX, those of the processor.</summary>
    [Theory]
    [InlineData(Tiers.AmxInterpreted)]
    [InlineData("amx-bf16")]
    public void TheInstructionInSoftwareGivesWhatTheKernelsGive(string tier)
    {
        const int Columns = 768, Outputs = 81;
        using CpuBackend backend = Tiers.CreateCpu(tier), emulated = Tiers.CreateCpu(Tiers.AmxEmulated);
        using RandomTensors random = new(33);
        foreach (TensorType type in (TensorType[])[TensorType.BF16, TensorType.Q4_K, TensorType.IQ4_XS])
        {
            TensorView tensor = random.Create(type, Outputs, Columns);
            CpuWeights weights = (CpuWeights)backend.LoadWeights(tensor);
            CpuWeights own = (CpuWeights)emulated.LoadWeights(tensor);
            foreach (int rows in (int[])[1, 16, 19, 33])
            {
                using CpuMatrix x = new(rows, Columns), expected = new(rows, Outputs), actual = new(rows, Outputs);
                random.Fill(new Span<float>(x.Data, rows * Columns));
                for (int i = 0; i < rows * Columns; i++)
                {
                    x.Data[i] = MathF.ScaleB(x.Data[i], i * 7 % 40 - 20);
                }

                emulated.MatMul(x, own, expected, rows, rows);
                backend.MatMul(x, weights, actual, rows, rows);
                Assert.True(new Span<float>(expected.Data, rows * Outputs).SequenceEqual(new Span<float>(actual.Data, rows * Outputs)), $"{type}, {rows} rows");
            }
        }
    }

    [Fact]
    public void TheSelfTestPassesRightKernelsAndFailsWrongOnes()
    {
        using InterpretedMatrix right = new();
        using EmulatedMatrix emulated = new();
        Assert.True(MatrixSelfTest.Passes(right) && MatrixSelfTest.Passes(emulated));

        // Products of bytes in their place, for one register of rows and for two; then kernels that do not go on from earlier sums.
        using InterpretedMatrix bytes = new(change: WithBytes);
        Assert.False(MatrixSelfTest.Passes(bytes));
        using InterpretedMatrix two = new(change: code => Mnemonics(code).Count(mnemonic => mnemonic == Mnemonic.Tdpbf16ps) == 4 ? WithBytes(code) : code);
        Assert.False(MatrixSelfTest.Passes(two));
        using Forgetful forgetful = new(right);
        Assert.False(MatrixSelfTest.Passes(forgetful));
    }

    /// <summary>Whatever is missing, the next tier computes, and says why where the processor has the instructions.</summary>
    [Theory, MemberData(nameof(Refusals))]
    public void WhatIsMissingIsSaid(string missing, string reason)
    {
        AmxSupport support = Support(missing);
        string? unsupported = support.Unsupported();
        if (missing is "cpuid" or "bfloat16" or "palette")
        {
            Assert.Equal(reason, unsupported);
            return;
        }

        Assert.Null(unsupported);
        int allocated = 0;
        CodeAllocator allocate = (ReadOnlySpan<byte> code, out string? why) =>
        {
            // The first pages are those that read XCR0, which the double needs not, or AMX's.
            why = reason;
            return allocated++ == 0 && missing == "pages" ? null : ExecutableMemory.TryCreate(allocated == 1 && missing == "wrong" ? [0xC3, .. new byte[code.Length - 1]] : code, out why);
        };
        Assert.Equal(missing is "pages" or "wrong" ? null : reason, support.Refusal(allocate));
        if (JitMatMulKernels.UnsupportedBFloat16() is { } lacking)
        {
            Assert.Skip(lacking);
        }

        KernelTier tier = new("amx-bf16", "", support.Unsupported, workers => new VectorKernels(workers, AmxKernels.CreateTier(support, allocate)));
        using CpuBackend backend = new(tier, 1);
        Assert.Equal($"cpu/amx-bf16 (avx512-bf16 kernels: {reason})", backend.Name);
        Assert.Equal($"avx512-bf16 kernels: {reason}", backend.FallbackReason);
        Assert.False(backend.HasPromptKernels);
        using CpuBackend next = Tiers.CreateCpu("avx512-bf16", threads: 1);
        using RandomTensors random = new(34);
        TensorView tensor = random.Create(TensorType.Q4_K, 64, 256);
        using CpuMatrix x = new(3, 256), expected = new(3, 64), actual = new(3, 64);
        random.Fill(new Span<float>(x.Data, 3 * 256));
        next.MatMul(x, next.LoadWeights(tensor), expected, 3, 3);
        backend.MatMul(x, backend.LoadWeights(tensor), actual, 3, 3);
        Assert.True(new Span<float>(expected.Data, 3 * 64).SequenceEqual(new Span<float>(actual.Data, 3 * 64)));
    }

    /// <summary>The state that this machine's system saves has vectors of 128 bits at least, and vectors of 512 bits where .NET says so.</summary>
    [Fact]
    public void TheStateThatTheSystemSavesIsRead()
    {
        Assert.SkipUnless(System.Runtime.Intrinsics.X86.Avx.IsSupported, "no AVX");
        ulong? state = AmxSupport.Machine.EnabledState(ExecutableMemory.TryCreate, out string? reason);
        Assert.SkipWhen(state is null, reason ?? "");
        Assert.Equal(7UL, state & 7);
        Assert.Equal(System.Runtime.Intrinsics.X86.Avx512F.IsSupported ? 0xE0UL : state & 0xE0, state & 0xE0);
    }

    /// <summary>No kernel may run where the system refused: this machine's own answer, whatever it is.</summary>
    [Fact]
    public void ThisMachineAnswers()
    {
        string? unsupported = AmxKernels.Unsupported(), refusal = unsupported ?? AmxSupport.Machine.Refusal(ExecutableMemory.TryCreate);
        TestContext.Current.TestOutputHelper?.WriteLine(refusal ?? "AMX can be used here.");
        Assert.Equal(unsupported is null, KernelTier.All.Single(tier => tier.Name == "amx-bf16").Unsupported() is null);
        Assert.NotEqual("", refusal);
    }

    private static AmxSupport Support(string missing) => new(
        (leaf, subleaf) => (leaf, subleaf) switch
        {
            (0, _) => (missing == "cpuid" ? 0x16 : 0x20, 0, 0, 0),
            (1, _) => (0, 0, missing == "osxsave" ? 0 : 1 << 27, 0),
            (7, 0) => (2, 0, 0, 1 << 24 | 1 << 25 | (missing == "bfloat16" ? 0 : 1 << 22)),
            (0x1D, 1) => (1024 << 16 | 8192, missing == "palette" ? 4 << 16 | 128 : 8 << 16 | 64, 16, 0),
            _ => default,
        },
        (CodeAllocator _, out string? why) =>
        {
            why = null;
            return missing == "xcr0" ? 0xE7UL : 0x600E7UL;
        },
        () => missing == "permission" ? "the system refused tile state (arch_prctl, error 22)" : null);

    private static float Sum(ReadOnlySpan<uint> activations, ReadOnlySpan<uint> weights)
    {
        float sum = 0;
        for (int k = 0; k < activations.Length; k += 16)
        {
            sum = BFloatTile.Add(sum, activations.Slice(k, 16), weights.Slice(k, 16));
        }

        return sum;
    }

    /// <summary>Rows of pairs, filled up with zeros to whole steps.</summary>
    private static uint[] Pairs(float[] values, int columns, Func<float, ushort> round)
    {
        int rows = values.Length / columns;
        ushort[] result = new ushort[rows * MatrixKernels.Padded(columns)];
        for (int i = 0; i < values.Length; i++)
        {
            result[i / columns * MatrixKernels.Padded(columns) + i % columns] = round(values[i]);
        }

        return MemoryMarshal.Cast<ushort, uint>(result).ToArray();
    }

    private static IEnumerable<Mnemonic> Mnemonics(byte[] code) => new MachineInterpreter(code, windows: false).Mnemonics;

    /// <summary>The code with <c>tdpbssd</c> for every <c>tdpbf16ps</c>: another prefix field, another opcode.</summary>
    private static byte[] WithBytes(byte[] code)
    {
        Decoder decoder = Decoder.Create(64, code);
        while (decoder.IP < (ulong)code.Length)
        {
            int start = (int)decoder.IP;
            if (decoder.Decode().Mnemonic == Mnemonic.Tdpbf16ps)
            {
                Assert.Equal((0xC4, 0x5C), (code[start], code[start + 3]));
                code[start + 2] |= 0b11;
                code[start + 3] = 0x5E;
            }
        }

        return code;
    }

    private sealed class Forgetful(MatrixKernels inner) : MatrixKernels
    {
        public override void Multiply(MatrixArgs* args, int rows)
        {
            args->Accumulate = 0;
            inner.Multiply(args, rows);
        }
    }
}
