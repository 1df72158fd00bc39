using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>The operation-by-operation suite that every backend and tier must pass: against double precision.</summary>
public sealed class OperationTests
{
    public static TheoryData<string> AllTiers => Tiers.All;

    public static TheoryData<string> NativeTiers => new([.. KernelTier.All.Select(tier => tier.Name), Tiers.AmxEmulated]);

    [Theory, MemberData(nameof(AllTiers))]
    public void EmbedScalesRowsOfStackedTensors(string tier)
    {
        using Backend backend = Tiers.Create(tier);
        using RandomTensors random = new(1);
        TensorView a = random.Create(TensorType.Q6_K, 5, 256), b = random.Create(TensorType.BF16, 3, 256);
        WeightMatrix table = backend.LoadWeights(a, b);
        using Matrix output = backend.CreateMatrix(4, 256);
        backend.Embed(table, [0, 7, 4, 5], 3.5f, output);
        foreach ((int row, TensorView tensor, int source) in ((int, TensorView, int)[])[(0, a, 0), (1, b, 2), (2, a, 4), (3, b, 0)])
        {
            float[] expected = [.. RandomTensors.Decode(tensor).AsSpan(source * 256, 256).ToArray().Select(value => value * 3.5f)];
            Assert.Equal(expected, output.Row(row).ToArray());
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => backend.Embed(table, [8], 1, output));
    }

    [Theory, MemberData(nameof(AllTiers))]
    public void Norms(string tier)
    {
        using Backend backend = Tiers.Create(tier);
        using RandomTensors random = new(2);
        foreach ((int rows, int columns) in ((int, int)[])[(1, 16), (3, 37), (70, 2304)])
        {
            TensorView w = random.Create(TensorType.F32, 1, columns);
            WeightVector weight = backend.LoadVector(w, 1);
            float[] values = RandomTensors.Decode(w);
            using Matrix x = backend.CreateMatrix(rows, columns), output = backend.CreateMatrix(rows, columns), residual = backend.CreateMatrix(rows, columns);
            for (int r = 0; r < rows; r++)
            {
                random.Fill(x, r, r % 2 == 0 ? 1 : 50);
                random.Fill(residual, r);
            }

            float[] before = residual.Row(rows - 1).ToArray();
            backend.RmsNorm(x, weight, 1e-6f, output, rows);
            backend.AddRmsNorm(residual, x, weight, 1e-6f, rows);
            for (int r = 0; r < rows; r += Math.Max(1, rows - 1))
            {
                double square = x.Row(r).ToArray().Sum(value => (double)value * value) / columns;
                for (int i = 0; i < columns; i++)
                {
                    double expected = x.Row(r)[i] / Math.Sqrt(square + 1e-6) * (values[i] + 1.0);
                    Assert.Equal(expected, output.Row(r)[i], 2e-6 * Math.Max(1, Math.Abs(expected)));
                    if (r == rows - 1)
                    {
                        Assert.Equal(before[i] + expected, residual.Row(r)[i], 2e-6 * Math.Max(1, Math.Abs(expected)));
                    }
                }
            }
        }
    }

    [Theory, MemberData(nameof(AllTiers))]
    public void GeGluAndSoftcap(string tier)
    {
        using Backend backend = Tiers.Create(tier);
        using RandomTensors random = new(3);
        const int Count = 1003;
        using Matrix gateUp = backend.CreateMatrix(9, 2 * Count), output = backend.CreateMatrix(9, Count), x = backend.CreateMatrix(2, 40_003);
        for (int r = 0; r < 9; r++)
        {
            random.Fill(gateUp, r, r + 1);
        }

        gateUp.Write(0, [-200, 200]);
        backend.GeGlu(gateUp, output, 9);
        for (int r = 0; r < 9; r++)
        {
            for (int i = 0; i < Count; i++)
            {
                double gate = gateUp.Row(r)[i], up = gateUp.Row(r)[Count + i];
                double expected = gate / 2 * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (gate + 0.044715 * gate * gate * gate))) * up;
                Assert.Equal(expected, output.Row(r)[i], 1e-6 * Math.Max(1, Math.Abs(gate * up)));
            }
        }

        float[] before = new float[x.Columns];
        random.Fill(before, 40);
        before[0] = 1e6f;
        before[1] = -1e6f;
        x.Write(1, before);
        backend.Softcap(x, 30, 2);
        for (int i = 0; i < before.Length; i++)
        {
            Assert.Equal(30 * Math.Tanh(before[i] / 30.0), x.Row(1)[i], 30 * 3e-7);
            Assert.Equal(0, x.Row(0)[i], 30 * 3e-7);
        }
    }

    [Theory, MemberData(nameof(AllTiers))]
    public void WrongShapesAreRefused(string tier)
    {
        using Backend backend = Tiers.Create(tier);
        using RandomTensors random = new(4);
        WeightMatrix weights = backend.LoadWeights(random.Create(TensorType.F32, 8, 16));
        using Matrix x = backend.CreateMatrix(2, 16), narrow = backend.CreateMatrix(2, 15), y = backend.CreateMatrix(2, 8);
        Assert.Throws<ArgumentException>(() => backend.MatMul(narrow, weights, y, 1));
        Assert.Throws<ArgumentException>(() => backend.MatMul(x, weights, narrow, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => backend.MatMul(x, weights, y, 3));
        Assert.Throws<ArgumentException>(() => backend.LoadWeights(random.Create(TensorType.F32, 8, 16), random.Create(TensorType.F32, 8, 12)));
    }

    [Theory, MemberData(nameof(NativeTiers))]
    public void OperationsAllocateNothing(string tier)
    {
        // The caller's allocations count: with one thread it does all the work, with two it also wakes and waits for a worker.
        Assert.Equal(0, Allocated(tier, threads: 1));
        Assert.Equal(0, Allocated(tier, threads: 2));
    }

    private static long Allocated(string tier, int threads)
    {
        using Backend backend = Tiers.Create(tier, threads);
        using RandomTensors random = new(5);
        WeightMatrix weights = backend.LoadWeights(random.Create(TensorType.Q4_K, 128, 256), random.Create(TensorType.BF16, 128, 256));
        WeightVector norm = backend.LoadVector(random.Create(TensorType.F32, 1, 256), 0);
        using Matrix x = backend.CreateMatrix(8, 256), h = backend.CreateMatrix(8, 256), y = backend.CreateMatrix(8, 256), half = backend.CreateMatrix(8, 128);
        using KvPool pool = backend.CreateKvPool(new KvLayout(1, 2, 32, 32, GemmaKvCacheType.F16), 4);
        AttentionSpec layer = new(pool, 0, true, 20, 4, 2, 32, 0.2f, 50, 10000);
        ForwardBatch batch = new(8, 2);
        int prompts = backend.HasPromptKernels ? 5 : 0;
        batch.Add([1, 2, 3], 30, [0, 1], [0, 1]);
        batch.Add([4, 5, 6, 7, 8], 33, [0, 1], [0, 1], isPrompt: prompts > 0);
        LowRankMatrix adapter = backend.LoadLowRank(256, 256, new LowRankPart(0, 5, new float[5 * 256], new float[5 * 250]));
        int[] rows = [1, 2, 4, 5, 6, 7];
        long allocated = 0;
        for (int i = 0; i < 3; i++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            backend.RmsNorm(x, norm, 1e-6f, h, 8);
            backend.MatMul(h, weights, y, 8, prompts);
            backend.AddLowRank(h, adapter, y, rows, prompts > 0 ? 4 : 0);
            backend.RopeAndStore(y, in layer, batch);
            backend.Attention(y, in layer, batch, half);
            backend.GeGlu(y, half, 8);
            backend.AddRmsNorm(x, h, norm, 1e-6f, 8);
            backend.Softcap(y, 30, 8);
            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        }

        return allocated;
    }
}
