using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Tests.Backends.Ptx;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

public sealed class AttentionTests
{
    public static TheoryData<string> AllTiers => Tiers.All;

    [Theory, MemberData(nameof(AllTiers))]
    public void MatchesTheFormulaInDoublePrecision(string tier)
    {
        using Backend backend = Tiers.Create(tier);
        foreach (GemmaKvCacheType type in Enum.GetValues<GemmaKvCacheType>())
        {
            Check(backend, new Case(type, BlockTokens: 32, HeadDim: 64, Heads: 8, KvHeads: 4, Window: int.MaxValue, Softcap: 50));
            Check(backend, new Case(type, BlockTokens: 16, HeadDim: 32, Heads: 6, KvHeads: 2, Window: 40, Softcap: 50));
            Check(backend, new Case(type, BlockTokens: 8, HeadDim: 32, Heads: 2, KvHeads: 2, Window: 1, Softcap: 0));
            Check(backend, new Case(type, BlockTokens: 64, HeadDim: 256, Heads: 4, KvHeads: 2, Window: 70, Softcap: 0));
            Check(backend, new Case(type, BlockTokens: 32, HeadDim: 64, Heads: 2, KvHeads: 1, Window: 33, Softcap: 500));
        }

        Check(backend, new Case(GemmaKvCacheType.F16, BlockTokens: 10, HeadDim: 18, Heads: 3, KvHeads: 1, Window: 50, Softcap: 50));
    }

    [Theory, MemberData(nameof(AllTiers))]
    public void ARowDoesNotDependOnItsBatch(string tier)
    {
        using Backend backend = Tiers.Create(tier);
        foreach ((float softcap, GemmaKvCacheType type) in ((float, GemmaKvCacheType)[])[(0, GemmaKvCacheType.F16), (50, GemmaKvCacheType.F16), (50, GemmaKvCacheType.BF16)])
        {
            Case setup = new(type, BlockTokens: 32, HeadDim: 64, Heads: 4, KvHeads: 2, Window: 48, Softcap: softcap);
            using Run whole = new(backend, setup, 150, seed: 1);
            using Run pieces = new(backend, setup, 150, seed: 1);
            whole.Step(0, 150);
            int[] sizes = [1, 7, 1, 54, 1, 1, 9, 1, 20, 1, 1, 1, 32, 1, 13, 1, 1, 1, 3];
            for (int i = 0, start = 0; start < 150; start += sizes[i++])
            {
                pieces.Step(start, Math.Min(sizes[i], 150 - start));
            }

            Assert.Equal(whole.Outputs, pieces.Outputs);
        }
    }

    [Theory, MemberData(nameof(AllTiers))]
    public void SequencesOfABatchDoNotSeeEachOther(string tier)
    {
        using Backend backend = Tiers.Create(tier);
        Case setup = new(GemmaKvCacheType.BF16, BlockTokens: 32, HeadDim: 32, Heads: 4, KvHeads: 2, Window: 48, Softcap: 50);
        using Run a = new(backend, setup, 100, seed: 1);
        using Run b = new(backend, setup, 70, seed: 2);
        a.Step(0, 100);
        b.Step(0, 70);
        using Run both = new(backend, setup, 100, seed: 1);
        both.StepWith(new Run(backend, setup, 70, seed: 2), b.Outputs);
        Assert.Equal(a.Outputs, both.Outputs);
    }

    /// <summary>Rows of prompts, which a GPU computes in tiles: however they are cut and whatever they share a batch with, and next to generated ones.</summary>
    [Theory]
    [InlineData(Tiers.Cuda, 128, int.MaxValue)]
    [InlineData(Tiers.Cuda, 128, 70)]
    [InlineData(Tiers.Cuda, 256, 70)]
    [InlineData(Tiers.Gpu, 128, int.MaxValue)]
    [InlineData(Tiers.Gpu, 128, 70)]
    [InlineData(Tiers.Gpu, 256, int.MaxValue)]
    [InlineData(Tiers.Gpu, 256, 70)]
    public void ARowOfAPromptDoesNotDependOnItsBatch(string tier, int headDim, int window)
    {
        using Backend backend = Tiers.Create(tier);
        Case setup = new(headDim == 128 ? GemmaKvCacheType.F16 : GemmaKvCacheType.BF16, BlockTokens: 32, HeadDim: headDim, Heads: 2, KvHeads: 1, Window: window, Softcap: 50);
        using Run whole = new(backend, setup, 150, seed: 1);
        using Run pieces = new(backend, setup, 150, seed: 1);
        whole.Step(0, 150, isPrompt: true);
        int[] sizes = [7, 1, 54, 20, 65, 3];
        for (int i = 0, start = 0; start < 150; start += sizes[i++])
        {
            pieces.Step(start, Math.Min(sizes[i], 150 - start), isPrompt: true);
        }

        Assert.Equal(whole.Outputs, pieces.Outputs);
        whole.CheckAgainstTheFormula(setup.Type == GemmaKvCacheType.F16 ? 2e-3 : 1.5e-2);
        using Run other = new(backend, setup, 40, seed: 2);
        other.Step(0, 40, isPrompt: true);
        using Run both = new(backend, setup, 150, seed: 1);
        both.StepWith(new Run(backend, setup, 40, seed: 2), other.Outputs, isPrompt: true);
        Assert.Equal(whole.Outputs, both.Outputs);
    }

    /// <summary>The machine code for matrix registers, with memory watched, and on a machine with AMX the processor, give what the instruction in software gives.</summary>
    [Theory]
    [InlineData(Tiers.AmxInterpreted)]
    [InlineData("amx-bf16")]
    public void MatrixRegistersGiveWhatTheInstructionInSoftwareGives(string tier)
    {
        using Backend backend = Tiers.Create(tier), emulated = Tiers.Create(Tiers.AmxEmulated);
        foreach (Case setup in (Case[])[new(GemmaKvCacheType.F16, 32, 64, 4, 2, 48, 50), new(GemmaKvCacheType.Q8_0, 16, 32, 3, 1, int.MaxValue, 0), new(GemmaKvCacheType.F32, 10, 18, 2, 2, 50, 500)])
        {
            using Run expected = new(emulated, setup, 140, seed: 4);
            using Run actual = new(backend, setup, 140, seed: 4);
            foreach ((int start, int count) in ((int, int)[])[(0, 101), (101, 1), (102, 38)])
            {
                expected.Step(start, count);
                actual.Step(start, count);
            }

            Assert.Equal(expected.Outputs, actual.Outputs);
        }
    }

    /// <summary>On a GPU few rows with many keys are shared out, many rows are not; where the window begins, and how many rows there are, changes no bit.</summary>
    [Theory]
    [InlineData(int.MaxValue)]
    [InlineData(300)]
    public void ManyKeysAreSharedOut(int window)
    {
        InterpretedGpu gpu = new();
        using Backend backend = gpu.CreateBackend();
        Case setup = new(GemmaKvCacheType.F16, BlockTokens: 32, HeadDim: 32, Heads: 2, KvHeads: 1, Window: window, Softcap: 50);
        using Run whole = new(backend, setup, 530, seed: 3);
        whole.Step(0, 530);
        backend.Wait();
        Assert.False(gpu.Launches.ContainsKey("merge_spans"));
        using Run pieces = new(backend, setup, 530, seed: 3);
        pieces.Step(0, 250);
        for (int start = 250, count = 1; start < 530; start += count)
        {
            count = start switch { < 255 => 1, 255 => 3, < 510 => 252, _ => 1 };
            pieces.Step(start, count);
        }

        backend.Wait();
        Assert.True(gpu.Launches["merge_spans"] > 10);
        Assert.Equal(whole.Outputs, pieces.Outputs);
        whole.CheckAgainstTheFormula(2e-3);
    }

    /// <summary>Matrix registers serve prompts alone: it is these that are tested on a tier that has them.</summary>
    private static bool Matrix(Backend backend) => backend is CpuBackend { HasPromptKernels: true };

    private static void Check(Backend backend, Case setup)
    {
        const int Tokens = 133;
        using Run run = new(backend, setup, Tokens, seed: 7);
        run.Step(0, 90);
        run.Step(90, 1);
        run.Step(91, Tokens - 91);
        run.CheckAgainstTheFormula(Matrix(backend) ? 3e-2 : setup.Type switch { GemmaKvCacheType.F32 => 2e-5, GemmaKvCacheType.F16 => 2e-3, GemmaKvCacheType.BF16 => 1.5e-2, _ => 2.5e-2 });
    }

    internal sealed record Case(GemmaKvCacheType Type, int BlockTokens, int HeadDim, int Heads, int KvHeads, int Window, float Softcap);

    /// <summary>One sequence with its inputs, its key/value memory (in scattered blocks; those out of the window are taken away) and its outputs.</summary>
    private sealed class Run : IDisposable
    {
        private readonly Backend _backend;
        private readonly Case _setup;
        private readonly float[][] _inputs;
        private readonly KvPool _pool;
        private readonly byte[] _poison;
        private readonly int[] _blocks;
        private readonly AttentionSpec _layer;

        public Run(Backend backend, Case setup, int tokens, int seed)
        {
            _backend = backend;
            _setup = setup;
            int width = (setup.Heads + 2 * setup.KvHeads) * setup.HeadDim;
            using RandomTensors random = new(seed);
            _inputs = [.. Enumerable.Range(0, tokens).Select(_ => new float[width])];
            Outputs = [.. Enumerable.Range(0, tokens).Select(_ => new float[setup.Heads * setup.HeadDim])];
            foreach (float[] input in _inputs)
            {
                random.Fill(input, 2);
            }

            int blocks = (tokens + setup.BlockTokens - 1) / setup.BlockTokens;
            _pool = backend.CreateKvPool(new KvLayout(2, setup.KvHeads, setup.HeadDim, setup.BlockTokens, setup.Type), 2 * blocks + 1);
            _poison = [.. Enumerable.Repeat((byte)0xFF, (int)_pool.Layout.BlockBytes)];
            _blocks = [.. Enumerable.Range(0, blocks).Select(i => 2 * (blocks - i))];
            _layer = new AttentionSpec(_pool, 1, true, setup.Window, setup.Heads, setup.KvHeads, setup.HeadDim, 0.3f, setup.Softcap, 10000);
        }

        public float[][] Outputs { get; }

        public void Step(int start, int count, bool isPrompt = false)
        {
            HideBlocks(start);
            ForwardBatch batch = new(count, 1);
            batch.Add(new int[count], start, _blocks, [], isPrompt: isPrompt || Matrix(_backend));
            Execute(batch, _inputs.AsSpan(start, count), Outputs.AsSpan(start, count), _layer);
        }

        public void StepWith(Run other, float[][] expectedOfOther, bool isPrompt = false)
        {
            // Both sequences live in this run's memory: the other one gets the odd blocks.
            int[] blocks = [.. _blocks.Select(block => block - 1)];
            ForwardBatch batch = new(_inputs.Length + other._inputs.Length, 2);
            batch.Add(new int[_inputs.Length], 0, _blocks, [], isPrompt: isPrompt || Matrix(_backend));
            batch.Add(new int[other._inputs.Length], 0, blocks, [], isPrompt: isPrompt || Matrix(_backend));
            float[][] outputs = [.. Outputs, .. other.Outputs];
            Execute(batch, [.. _inputs, .. other._inputs], outputs, _layer);
            Assert.Equal(expectedOfOther, other.Outputs);
            other.Dispose();
        }

        public void CheckAgainstTheFormula(double tolerance)
        {
            int dim = _setup.HeadDim, group = _setup.Heads / _setup.KvHeads;
            for (int i = 0; i < _inputs.Length; i += 1)
            {
                double[] q = Rotated(i, 0, _setup.Heads);
                for (int head = 0; head < _setup.Heads; head++)
                {
                    double[] sums = new double[dim];
                    double total = 0;
                    for (int j = Math.Max(0, (int)Math.Max(0, (long)i - _setup.Window + 1)); j <= i; j++)
                    {
                        double[] k = Rotated(j, _setup.Heads + head / group, 1);
                        double score = 0;
                        for (int d = 0; d < dim; d++)
                        {
                            score += q[head * dim + d] * k[d];
                        }

                        score *= 0.3f;
                        score = _setup.Softcap > 0 ? _setup.Softcap * Math.Tanh(score / _setup.Softcap) : score;
                        double weight = Math.Exp(score);
                        total += weight;
                        for (int d = 0; d < dim; d++)
                        {
                            sums[d] += weight * _inputs[j][(_setup.Heads + _setup.KvHeads + head / group) * dim + d];
                        }
                    }

                    for (int d = 0; d < dim; d++)
                    {
                        // Rounding of stored keys moves the weights by a factor e^error, rounding of values the sum directly.
                        Assert.True(Math.Abs(sums[d] / total - Outputs[i][head * dim + d]) <= tolerance * 8, $"{_setup}: row {i} head {head} [{d}]: {Outputs[i][head * dim + d]}, expected {sums[d] / total}");
                    }
                }
            }
        }

        public void Dispose() => _pool.Dispose();

        /// <summary>Blocks that no query from here on can see are gone, as the engine does it.</summary>
        private void HideBlocks(int start)
        {
            for (int i = 0; i < _blocks.Length && (long)(i + 1) * _setup.BlockTokens <= (long)start - _setup.Window + 1; i++)
            {
                if (_blocks[i] >= 0)
                {
                    _pool.WriteBlock(_blocks[i], _poison); // NaN in every type: shows if it is read
                    _blocks[i] = -1;
                }
            }
        }

        private void Execute(ForwardBatch batch, ReadOnlySpan<float[]> inputs, ReadOnlySpan<float[]> outputs, AttentionSpec layer)
        {
            using Matrix qkv = _backend.CreateMatrix(inputs.Length, inputs[0].Length), output = _backend.CreateMatrix(inputs.Length, outputs[0].Length);
            for (int r = 0; r < inputs.Length; r++)
            {
                qkv.Write(r, inputs[r]);
            }

            _backend.Begin(batch);
            _backend.RopeAndStore(qkv, in layer, batch);
            _backend.Attention(qkv, in layer, batch, output);
            for (int r = 0; r < inputs.Length; r++)
            {
                output.Row(r).CopyTo(outputs[r]);
            }
        }

        private double[] Rotated(int position, int firstHead, int heads)
        {
            int dim = _setup.HeadDim, half = dim / 2;
            double[] result = new double[heads * dim];
            for (int head = 0; head < heads; head++)
            {
                ReadOnlySpan<float> x = _inputs[position].AsSpan((firstHead + head) * dim, dim);
                for (int i = 0; i < half; i++)
                {
                    (double sin, double cos) = Math.SinCos(position * Math.Pow(10000, -2.0 * i / dim));
                    result[head * dim + i] = x[i] * cos - x[i + half] * sin;
                    result[head * dim + i + half] = x[i + half] * cos + x[i] * sin;
                }
            }

            return result;
        }
    }
}
