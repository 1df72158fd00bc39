using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>What is assembled beside the products gives the same bits as the C# that other tiers run.</summary>
public sealed unsafe class AssembledLoopTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TilesAreThoseOfTheCSharp(bool bfloat16)
    {
        SkipUnlessSupported();
        using MatMulKernels kernels = JitMatMulKernels.Create<PortableIsa>(ExecutableMemory.TryCreate, bfloat16 && JitMatMulKernels.UnsupportedBFloat16() is null);
        using RandomTensors random = new(7);
        List<TensorType> assembled = [];
        foreach (BlockFormat weights in BlockFormat.All)
        {
            TileFormat format = kernels.WeightFormat(weights.Type)!;
            if (format.AssembledUnpack is null)
            {
                continue;
            }

            assembled.Add(weights.Type);
            foreach (int columns in (int[])[format.BlockElements, 512, 768])
            {
                TensorView tensor = random.Create(weights.Type, 16, columns);
                byte[] tile = new byte[2 * columns * TileFormat.Rows * sizeof(float)], expected = new byte[tile.Length];
                float[] scales = new float[columns / 8 * TileFormat.Rows], expectedScales = new float[scales.Length];
                fixed (byte* t = tile, e = expected)
                {
                    fixed (float* s = scales, es = expectedScales)
                    {
                        format.UnpackRows(tensor.Data, tensor.RowBytes, columns, t, s);
                        format.Unpack(tensor.Data, tensor.RowBytes, columns, e, es);
                    }
                }

                Assert.True(expected.AsSpan().ContainsAnyExcept((byte)0), $"{weights.Name}: nothing was unpacked");
                Assert.True(tile.AsSpan().SequenceEqual(expected), $"{weights.Name}, {columns} columns: other weights");
                Assert.True(MemoryMarshal.AsBytes(scales.AsSpan()).SequenceEqual(MemoryMarshal.AsBytes(expectedScales.AsSpan())), $"{weights.Name}, {columns} columns: other scales");
            }
        }

        Assert.Equal([TensorType.F32, TensorType.F16, TensorType.BF16, TensorType.Q8_0, TensorType.Q4_0, TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K], assembled.Order(Comparer<TensorType>.Create((a, b) => Order(a) - Order(b))));

        static int Order(TensorType type) => Array.IndexOf((TensorType[])[TensorType.F32, TensorType.F16, TensorType.BF16, TensorType.Q8_0, TensorType.Q4_0, TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K], type);
    }

    [Fact]
    public void GeGluIsThatOfTheCSharp()
    {
        using AssembledLoops loops = Loops();
        float[] gate = Numbers(16 * 40, 12), up = Numbers(gate.Length, 3), output = new float[gate.Length];
        (gate[3], gate[4], gate[5], gate[6], gate[7], gate[8]) = (0, -0f, 100, -100, float.PositiveInfinity, 1e-30f);
        fixed (float* g = gate, u = up, o = output)
        {
            loops.GeGlu(g, u, o, gate.Length);
        }

        for (int i = 0; i < gate.Length; i += 16)
        {
            Vector512<float> expected = VectorMath.Gelu(Vector512.Create(gate, i)) * Vector512.Create(up, i);
            Assert.Equal(expected.AsUInt32(), Vector512.Create(output, i).AsUInt32());
        }

        gate[20] = float.NaN;
        fixed (float* g = gate, u = up, o = output)
        {
            loops.GeGlu(g, u, o, gate.Length);
        }

        Assert.Equal([20], Enumerable.Range(0, output.Length).Where(i => i != 7 && float.IsNaN(output[i])));
    }

    [Theory]
    [InlineData(50, 100, 4096)]
    [InlineData(50, 31, 4096)]
    [InlineData(50, 16, 8)]
    [InlineData(30, 3, 2)]
    [InlineData(60, 0, int.MaxValue)]
    [InlineData(50, 45, 20)]
    public void WeightsOfKeysAreThoseOfTheCSharp(float cap, int distance, int window)
    {
        using AssembledLoops loops = Loops();
        float[] scores = Numbers(32, 80), weights = [.. scores];
        Vector512<float> totals;
        fixed (float* w = weights)
        {
            WeighArgs args = new() { Scores = w, Totals = (float*)&totals, Distance = distance, Window = window, Cap = cap };
            loops.Weigh(&args);
        }

        float[] expected = new float[32];
        for (int i = 0; i < 32; i += 16)
        {
            VectorMath.Exp(VectorMath.Softcap(Vector512.Create(scores, i), cap)).CopyTo(expected, i);
        }

        for (int key = 0; key < 32; key++)
        {
            expected[key] = distance - key >= 0 && distance - key < window ? expected[key] : 0;
        }

        Assert.Equal(expected.Select(BitConverter.SingleToUInt32Bits), weights.Select(BitConverter.SingleToUInt32Bits));
        Assert.Equal((Vector512.Create(expected, 0) + Vector512.Create(expected, 16)).AsUInt32(), totals.AsUInt32());
    }

    [Theory]
    [InlineData(nameof(ActivationLayout.Int8x4))]
    [InlineData(nameof(ActivationLayout.Int8x16))]
    public void RoundedActivationsAreThoseOfTheCSharp(string name)
    {
        ActivationLayout layout = Enum.Parse<ActivationLayout>(name);
        using AssembledLoops loops = Loops();
        using WorkerPool workers = new(1);
        const int Rows = 7, Columns = 768;
        using CpuMatrix x = new(Rows, Columns);
        Random random = new(3);
        for (int r = 0; r < Rows; r++)
        {
            foreach (ref float value in x.Row(r))
            {
                value = (random.NextSingle() - 0.5f) * (random.Next(20) == 0 ? 100 : 1);
            }
        }

        x.Row(1)[..32].Clear();
        x.Row(2)[40] = 1e-42f;
        x.Row(3)[64] = float.PositiveInfinity;
        ZeroPointTerms[] terms = [new ZeroPointTerms(16, 32, false), new ZeroPointTerms(32, 0, true)];
        foreach (int panel in (int[])[1, 3, 6])
        {
            using ActivationPacker packer = new(workers, loops), same = new(workers, null);
            packer.Pack(x, Rows, layout, panel, 256, terms);
            same.Pack(x, Rows, layout, panel, 256, terms);
            Assert.Equal(new Span<byte>(same.Data(layout, x, Rows), Rows * Columns), new Span<byte>(packer.Data(layout, x, Rows), Rows * Columns));
            Assert.Equal(new Span<int>(same.Scales, Rows * Columns / 32), new Span<int>(packer.Scales, Rows * Columns / 32));
            Assert.Equal(new Span<int>(same.ZeroPointTerms(0), Rows * Columns / 16), new Span<int>(packer.ZeroPointTerms(0), Rows * Columns / 16));
            Assert.Equal(new Span<int>(same.ZeroPointTerms(1), Rows * Columns / 32), new Span<int>(packer.ZeroPointTerms(1), Rows * Columns / 32));
        }

        // What is no number stays none: its block's scale says so.
        x.Row(0)[5] = float.NaN;
        using ActivationPacker odd = new(workers, loops);
        odd.Pack(x, 1, layout, 1, 256, terms);
        Assert.True(float.IsNaN(odd.Scales[0]));
        Assert.True(float.IsFinite(odd.Scales[1]));
    }

    private static AssembledLoops Loops()
    {
        SkipUnlessSupported();
        return AssembledLoops.TryCreate(ExecutableMemory.TryCreate) ?? throw new InvalidOperationException("The system does not allow pages to be made executable.");
    }

    private static void SkipUnlessSupported() => Assert.SkipWhen(JitMatMulKernels.Unsupported() is not null, JitMatMulKernels.Unsupported() ?? "");

    private static float[] Numbers(int count, float range)
    {
        Random random = new(11);
        float[] numbers = new float[count];
        foreach (ref float number in numbers.AsSpan())
        {
            number = (random.NextSingle() - 0.5f) * 2 * range;
        }

        return numbers;
    }
}
