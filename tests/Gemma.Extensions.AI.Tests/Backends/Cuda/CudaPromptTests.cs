using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Tests.Backends.Ptx;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Tests.Files;

namespace Gemma.Extensions.AI.Tests.Backends.Cuda;

/// <summary>Prompts take other kernels than generated rows. What a row is decides, and nothing else: neither how many there are nor how a prompt is cut.</summary>
public sealed class CudaPromptTests
{
    private const int Columns = 256;

    public static TheoryData<string, string> Types
    {
        get
        {
            TheoryData<string, string> data = new();
            foreach (TensorType type in (TensorType[])[TensorType.BF16, TensorType.F16, TensorType.F32, TensorType.Q8_0, TensorType.Q4_0, TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K])
            {
                data.Add(Tiers.Cuda, type.ToString());
                data.Add(Tiers.Gpu, type.ToString());
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(Types))]
    public void ProductsDoNotDependOnTheBatch(string tier, string type)
    {
        using Backend backend = Tiers.Create(tier);
        using RandomTensors random = new(2);
        const int Rows = 134;
        WeightMatrix weights = backend.LoadWeights(random.Create(Enum.Parse<TensorType>(type), 70, Columns), random.Create(TensorType.Q6_K, 9, Columns));
        float[][] inputs = [.. Enumerable.Range(0, Rows).Select(_ => new float[Columns])];
        Array.ForEach(inputs, input => random.Fill(input));
        float[] prompt = Multiply(0, Rows, Rows), generated = Multiply(0, 5, 0);
        Assert.NotEqual(prompt[..generated.Length], generated);

        // In pieces: a row alone, few rows in small tiles, many in large ones.
        float[] pieces = [.. Multiply(0, 1, 1), .. Multiply(1, 33, 33), .. Multiply(34, 100, 100)];
        Assert.Equal(prompt, pieces);

        // Behind generated rows.
        float[] mixed = Multiply(0, 75, 70);
        Assert.Equal(generated, mixed[..generated.Length]);
        Assert.Equal(prompt[generated.Length..mixed.Length], mixed[generated.Length..]);

        float[] Multiply(int first, int count, int promptRows)
        {
            using Matrix x = backend.CreateMatrix(count, Columns), y = backend.CreateMatrix(count, weights.Rows);
            x.Write(0, inputs.AsSpan(first, count).ToArray().SelectMany(row => row).ToArray());
            backend.MatMul(x, weights, y, count, promptRows);
            return y.Read(0, count).ToArray();
        }
    }

    /// <summary>A whole model with heads that attention takes in tiles: in one piece, in pieces, next to other requests; and near what the CPU computes.</summary>
    [Theory]
    [InlineData(Tiers.Cuda)]
    [InlineData(Tiers.Gpu)]
    public async Task APromptGivesTheSameLogitsHoweverItIsCut(string tier)
    {
        using TempDirectory directory = new();
        string path = TinyCheckpoint.Write(directory.File("wide"), json => (json["num_attention_heads"], json["num_key_value_heads"], json["head_dim"]) = (2, 1, 128));
        EngineOptions options = TinyEngine.Exact with { KvType = GemmaKvCacheType.F16, KvCacheBytes = 8 << 20, MaxConcurrentRequests = 4, PrefixCache = false };
        int[] tokens = TinyEngine.Prompt(3, 90);
        using TinyEngine exact = new(options, path: path);
        using TinyEngine whole = new(options, tier, path);
        using TinyEngine pieces = new(options with { PrefillChunk = 24 }, tier, path);
        float[][] expected = whole.Logits(tokens);
        double divergence = exact.Logits(tokens).Zip(expected).Average(pair => Difference.Divergence(pair.First, pair.Second));
        TestContext.Current.TestOutputHelper?.WriteLine($"mean KL {divergence:g3}");
        Assert.InRange(divergence, -1e-9, 0.005);
        Assert.Equal(expected, pieces.Logits(tokens));

        Generation[] others = [.. Enumerable.Range(0, 2).Select(i => pieces.Start(TinyEngine.Prompt(i, 30), 8))];
        Assert.Equal(expected, await pieces.StartLogits(tokens));
        Assert.All(others, other => Assert.Equal(EngineFinish.Length, other.Result.Finish));
    }

    /// <summary>Rows of a step fill whole waves of blocks: of 27B on an H200 (132 multiprocessors), an A100 (108); narrow matrices take all they can.</summary>
    [Theory]
    [InlineData(132, 4608, 36864, 8192, 4096, 896)]
    [InlineData(108, 4608, 36864, 8192, 4096, 768)]
    [InlineData(132, 256, 512, 512, 256, 1024)]
    public void AStepOfAPromptFillsTheGpu(int processors, int hidden, int wide, int qkv, int heads, int expected) =>
        Assert.Equal(expected, PromptSteps.Best(processors, [(qkv, hidden), (hidden, heads), (2 * wide, hidden), (hidden, wide)]));

    /// <summary>Where the GPU draws a screen, work comes in pieces: the numbers are the same, and between pieces the GPU is waited for.</summary>
    [Fact]
    public void PiecesBelowTheTimeLimitGiveTheSameNumbers()
    {
        int waits = 0;
        InterpretedGpu free = new();
        InterpretedGpu limited = new() { HasTimeLimit = true, Inject = function => function == "synchronize" ? 0 * ++waits : 0 };
        using CudaBackend one = free.CreateBackend(), many = limited.CreateBackend(launchSeconds: 1e-8);
        float[] expected = Run(one);
        int before = waits;
        Assert.Equal(expected, Run(many));
        Assert.True(waits - before > 20, $"{waits - before} waits");
        foreach (string kernel in (string[])["product_bf16_4", "prompt_product_128", "attention_f16_128", "prompt_attention_f16_128"])
        {
            Assert.True(limited.Launches[kernel] > free.Launches[kernel], kernel);
        }

        static float[] Run(CudaBackend backend)
        {
            using RandomTensors random = new(3);
            const int Rows = 340, Prompts = 280, Width = 512;
            WeightMatrix weights = backend.LoadWeights(random.Create(TensorType.BF16, Width, Width));
            using KvPool pool = backend.CreateKvPool(new KvLayout(1, 1, 128, 32, GemmaKvCacheType.F16), 20);
            using Matrix x = backend.CreateMatrix(Rows, Width), qkv = backend.CreateMatrix(Rows, Width), y = backend.CreateMatrix(Rows, 256);
            for (int r = 0; r < Rows; r++)
            {
                random.Fill(x, r);
            }

            ForwardBatch batch = new(Rows, 2);
            batch.Add(new int[Rows - Prompts], 0, [0, 1], []);
            batch.Add(new int[Prompts], 0, [2, 3, 4, 5, 6, 7, 8, 9, 10], [], isPrompt: true);
            AttentionSpec layer = new(pool, 0, true, int.MaxValue, 2, 1, 128, 0.1f, 0, 10000);
            backend.Begin(batch);
            backend.MatMul(x, weights, qkv, Rows, Prompts);
            backend.RopeAndStore(qkv, in layer, batch);
            backend.Attention(qkv, in layer, batch, y);
            return [.. qkv.Read(0, Rows), .. y.Read(0, Rows)];
        }
    }
}
