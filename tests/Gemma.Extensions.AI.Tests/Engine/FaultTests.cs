using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>Faults inside the forward pass that requests share: they end only the request with which they come back.</summary>
public sealed class FaultTests
{
    private const int Poison = 777;

    [Theory]
    [InlineData(0)]
    [InlineData(4)]
    public void AFaultOfOneRequestEndsThatOneAlone(int speculative)
    {
        using TinyEngine healthy = new();
        int[][] prompts = [.. Enumerable.Range(1, 3).Select(seed => Clean(seed, 40))];
        int[][] expected = [.. prompts.Select(prompt => healthy.Generate(prompt, 12))];
        FaultyBackend? backend = null;
        using TinyEngine tiny = new(TinyEngine.Exact with { SpeculativeTokens = speculative }, wrap: inner => backend = new FaultyBackend(inner));

        // The first request waits inside its step until the others are there, so that the next step has rows of all.
        using ManualResetEventSlim submitted = new();
        bool shared = false;
        backend!.BeforeEmbed = tokens =>
        {
            submitted.Wait(TimeSpan.FromSeconds(30));
            if (tokens.Contains(Poison))
            {
                shared |= tokens.Length > 10;
                throw new OutOfMemoryException("no scratch memory");
            }
        };
        Generation first = tiny.Start(prompts[0], 12);
        Generation culprit = tiny.Start([2, 300, Poison, 301, 302], 12);
        Generation[] others = [first, .. prompts[1..].Select(prompt => tiny.Start(prompt, 12))];
        submitted.Set();

        Assert.Equal(EngineFinish.Failed, culprit.Result.Finish);
        Assert.IsType<OutOfMemoryException>(culprit.Result.Error);
        Assert.True(shared, "The fault came in a step of its own.");
        Assert.All(others.Zip(expected), pair =>
        {
            Assert.Equal(EngineFinish.Length, pair.First.Result.Finish);
            Assert.Equal(pair.Second, pair.First.Tokens);
        });
        AssertHealthy(tiny, prompts[0], expected[0]);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(21)]
    [InlineData(58)]
    [InlineData(95)]
    public void AFaultThatDoesNotComeBackEndsNobody(int product)
    {
        using TinyEngine healthy = new();
        int[][] prompts = [.. Enumerable.Range(1, 4).Select(seed => Clean(seed, 40))];
        int[][] expected = [.. prompts.Select(prompt => healthy.Generate(prompt, 12))];
        FaultyBackend? backend = null;
        using TinyEngine tiny = new(TinyEngine.Exact with { SpeculativeTokens = 0 }, wrap: inner => backend = new FaultyBackend(inner));
        int products = 0;
        backend!.BeforeProduct = (_, _) =>
        {
            if (++products == product)
            {
                throw new OutOfMemoryException("no scratch memory");
            }
        };
        Generation[] generations = [.. prompts.Select(prompt => tiny.Start(prompt, 12))];
        Assert.All(generations.Zip(expected), pair => Assert.Equal(pair.Second, pair.First.Result.Error is null ? pair.First.Tokens : []));
        Assert.True(products > product);
        AssertHealthy(tiny, prompts[0], expected[0]);
    }

    [Fact]
    public void AFaultInTheLogitsOfManyRowsEndsNobody()
    {
        using TinyEngine healthy = new();
        int[][] prompts = [.. Enumerable.Range(1, 4).Select(seed => Clean(seed, 30))];
        int[][] expected = [.. prompts.Select(prompt => healthy.Generate(prompt, 12))];
        FaultyBackend? backend = null;
        using TinyEngine tiny = new(TinyEngine.Exact with { SpeculativeTokens = 0 }, wrap: inner => backend = new FaultyBackend(inner));
        int faults = 0;
        backend!.BeforeProduct = (weights, rows) =>
        {
            if (weights == backend.Head && rows > 1)
            {
                faults++;
                throw new OutOfMemoryException("no scratch memory");
            }
        };
        Generation[] generations = [.. prompts.Select(prompt => tiny.Start(prompt, 12))];
        Assert.All(generations.Zip(expected), pair => Assert.Equal(pair.Second, pair.First.Result.Error is null ? pair.First.Tokens : []));
        Assert.True(faults > 0);
        AssertHealthy(tiny, prompts[0], expected[0]);
    }

    [Fact]
    public void AFaultThatStaysEndsEachRequestAndTheEngineGoesOn()
    {
        using TinyEngine healthy = new();
        int[] prompt = Clean(1, 40);
        int[] expected = healthy.Generate(prompt, 12);
        FaultyBackend? backend = null;
        using TinyEngine tiny = new(wrap: inner => backend = new FaultyBackend(inner));
        backend!.BeforeProduct = (weights, _) =>
        {
            if (weights == backend.Head)
            {
                throw new OutOfMemoryException("no scratch memory");
            }
        };
        Generation[] generations = [.. Enumerable.Range(1, 3).Select(seed => tiny.Start(Clean(seed, 40), 12))];
        Assert.All(generations, generation => Assert.IsType<OutOfMemoryException>(generation.Result.Error));
        backend.BeforeProduct = null;
        AssertHealthy(tiny, prompt, expected);
    }

    /// <summary>Without its device nothing can be tried again: every request ends with the reason, and so does each that comes later.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ALostDeviceEndsTheEngine(bool inTheForwardPass)
    {
        FaultyBackend? backend = null;
        using TinyEngine tiny = new(wrap: inner => backend = new FaultyBackend(inner));
        InvalidOperationException lost = new("the device is gone");
        int products = 0;
        backend!.BeforeProduct = (weights, _) =>
        {
            products++;
            if (inTheForwardPass || weights == backend.Head)
            {
                backend.Lost = lost;
                throw lost;
            }
        };
        Generation[] generations = [.. Enumerable.Range(1, 3).Select(seed => tiny.Start(Clean(seed, 20), 12))];
        Assert.All(generations, generation => Assert.Same(lost, generation.Result.Error));
        Eventually.IsTrue(() => tiny.Engine.Status.Failed);
        int before = products;
        GemmaException later = Assert.ThrowsAny<GemmaException>(() => tiny.Start(Clean(4, 20)));
        Assert.Same(lost, later.InnerException);
        Assert.Equal(before, products);
    }

    private static int[] Clean(int seed, int length) => [.. TinyEngine.Prompt(seed, length).Select(token => token == Poison ? Poison + 1 : token)];

    private static void AssertHealthy(TinyEngine tiny, int[] prompt, int[] expected)
    {
        Assert.Equal(0, tiny.Engine.Status.UsedBlocks);
        Assert.False(tiny.Engine.Status.Failed);
        Assert.Equal(expected, tiny.Generate(prompt, expected.Length));
    }

    /// <summary>Passes every operation on, after asking whether it shall fail.</summary>
    internal sealed class FaultyBackend(Backend inner) : DelegatingBackend(inner)
    {
        public EmbedHook? BeforeEmbed { get; set; }

        public Action<WeightMatrix, int>? BeforeProduct { get; set; }

        /// <summary>Says that prompts are multiplied otherwise, as <see cref="AfterProduct"/> sees to it.</summary>
        public bool OtherPromptKernels { get; init; }

        /// <summary>Given the output, its rows, and how many of them are of prompts.</summary>
        public Action<Matrix, int, int>? AfterProduct { get; init; }

        /// <summary>The weights of the logits, which are those of the embedding.</summary>
        public WeightMatrix? Head { get; private set; }

        public Exception? Lost { get; set; }

        public override Exception? Failure => Lost ?? Inner.Failure;

        public override bool HasPromptKernels => OtherPromptKernels || Inner.HasPromptKernels;

        public override void Embed(WeightMatrix table, ReadOnlySpan<int> tokens, float scale, Matrix output)
        {
            Head = table;
            BeforeEmbed?.Invoke(tokens);
            base.Embed(table, tokens, scale, output);
        }

        public override void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows, int promptRows = 0)
        {
            BeforeProduct?.Invoke(weights, rows);
            base.MatMul(x, weights, output, rows, promptRows);
            AfterProduct?.Invoke(output, rows, promptRows);
        }

        public delegate void EmbedHook(ReadOnlySpan<int> tokens);
    }
}
