using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Tests.Backends;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>As <see cref="RowKindTests"/> says. The other kernels are the same here, with products a twentieth larger.</summary>
public sealed class RowKindTestsWithLargerProducts : RowKindTests
{
    [Fact]
    public void TheKindOfATokenDecidesWhichKernelsItGetsAndTheTextShowsIt()
    {
        int[] prompt = TinyEngine.Prompt(1, 40);
        using TinyEngine alike = new(Options);
        using TinyEngine kinds = Create(Options);
        int[] text = kinds.Generate(prompt, 60);
        Assert.NotEqual(alike.Generate(prompt, 60), text);

        // What was generated, read as a prompt by another process.
        using TinyEngine other = Create(Options);
        Assert.NotEqual(kinds.Logits([.. prompt, .. text], first: 99)[0], other.Logits([.. prompt, .. text], first: 99)[0]);
    }

    private protected override TinyEngine Create(EngineOptions options, string? draft = null) => new(options, draft: draft, wrap: inner => new FaultTests.FaultyBackend(inner)
    {
        OtherPromptKernels = true,
        AfterProduct = (output, rows, promptRows) =>
        {
            foreach (ref float value in output.Read(rows - promptRows, promptRows))
            {
                value *= 1.05f;
            }
        },
    });
}

/// <summary>As <see cref="RowKindTests"/> says, with the arithmetic of AMX: products and attention.</summary>
public sealed class RowKindTestsWithMatrixRegisters : RowKindTests
{
    private protected override TinyEngine Create(EngineOptions options, string? draft = null) => new(options, Tiers.AmxEmulated, draft: draft);
}

/// <summary>
/// Where prompts are multiplied by other kernels than generated tokens, a text depends on the kind of each token and on nothing else: not on its neighbours, the
/// pieces that the prompt is read in, guesses, or memory that was taken away.
/// </summary>
public abstract class RowKindTests
{
    private protected static EngineOptions Options => TinyEngine.Exact with { SpeculativeTokens = 0 };

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(33)]
    public void ThePiecesOfAPromptMakeNoDifference(int chunk)
    {
        int[] prompt = TinyEngine.Prompt(2, 70);
        using TinyEngine whole = Create(Options);
        using TinyEngine pieces = Create(Options with { PrefillChunk = chunk });
        Assert.Equal(whole.Generate(prompt, 60), pieces.Generate(prompt, 60));
    }

    [Fact]
    public void NeighboursMakeNoDifference()
    {
        int[][] prompts = [.. Enumerable.Range(0, 5).Select(i => TinyEngine.Prompt(i, 20 + 17 * i))];
        int[][] expected = [.. prompts.Select(prompt => Alone(prompt))];
        using TinyEngine tiny = Create(TinyEngine.Exact with { PrefillChunk = 16 });
        using Gate gate = new();
        Generation first = tiny.Start(prompts[0], 60, onToken: _ => gate.Pass());
        gate.WaitUntilReached();
        Generation[] generations = [first, .. prompts[1..].Select(prompt => tiny.Start(prompt, 60))];
        gate.Open();
        for (int i = 0; i < prompts.Length; i++)
        {
            Assert.Null(generations[i].Result.Error);
            Assert.Equal(expected[i], generations[i].Tokens);
        }
    }

    [Fact]
    public void GuessesMakeNoDifference()
    {
        int[] prompt = [.. Enumerable.Repeat(TinyEngine.Prompt(3, 12), 4).SelectMany(tokens => tokens)];
        using TinyEngine guessing = Create(Options with { SpeculativeTokens = 24 });
        Assert.Equal(Alone(prompt), guessing.Generate(prompt, 60));
        using TinyEngine drafting = Create(Options with { SpeculativeTokens = 6 }, draft: TestData.Local("tiny"));
        Assert.Equal(Alone(prompt), drafting.Generate(prompt, 60));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void PreemptedSequencesComputeEachTokenAsItWasComputedFirst(bool prefixCache)
    {
        int[][] prompts = [.. Enumerable.Range(0, 6).Select(i => TinyEngine.Prompt(i, 40))];
        int[][] expected = [.. prompts.Select(prompt => Alone(prompt, 120))];
        using TinyEngine tiny = Create(EngineTests.Small(blocks: 16) with { PrefixCache = prefixCache });
        Generation[] generations = prompts.Select(prompt => tiny.Start(prompt, 120)).ToArray();
        for (int i = 0; i < prompts.Length; i++)
        {
            Assert.Null(generations[i].Result.Error);
            Assert.Equal(expected[i], generations[i].Tokens);
        }

        Assert.True(tiny.Engine.Status.Preemptions > 0, "The test is meant to run out of memory while generating.");
    }

    /// <summary>An answer is in the cache, and so is the same text that somebody sent as a prompt while it was generated: neither takes the other's keys and values.</summary>
    [Fact]
    public async Task TheSameTextAsAPromptMakesNoDifferenceToWhatGeneratesIt()
    {
        int[] prompt = TinyEngine.Prompt(4, 40);
        int[] expected = Alone(prompt, 120);
        using TinyEngine tiny = Create(EngineTests.Small(blocks: 24));
        using Gate gate = new();
        int count = 0;
        Generation generating = tiny.Start(prompt, 120, onToken: _ => ++count < 4 || gate.Pass());
        gate.WaitUntilReached();
        Task<float[][]> reading = tiny.StartLogits([.. prompt, .. expected[..100]]);
        Generation other = tiny.Start(TinyEngine.Prompt(5, 100), 120, priority: 1);
        gate.Open();
        Assert.Null(generating.Result.Error);
        Assert.Null(other.Result.Error);
        Assert.Equal(expected, generating.Tokens);
        await reading.WaitAsync(TimeSpan.FromMinutes(5));
        Assert.True(tiny.Engine.Status.Preemptions > 0, "The test is meant to run out of memory.");
    }

    /// <summary>The next turn of a chat goes on from the answer as it was generated; what it takes over keeps that kind when it must be computed again.</summary>
    [Fact]
    public void AnAnswerThatIsReusedStaysGenerated()
    {
        int[] prompt = TinyEngine.Prompt(6, 40);
        using TinyEngine chat = Create(Options);
        int[] answer = chat.Generate(prompt, 60);
        int[] next = [.. prompt, .. answer, .. TinyEngine.Prompt(7, 20)];
        int[] expected = chat.Generate(next, 60);
        using TinyEngine tiny = Create(EngineTests.Small(blocks: 24));
        Assert.Equal(answer, tiny.Generate(prompt, 60));
        using Gate gate = new();
        int count = 0;
        Generation going = tiny.Start(next, 60, onToken: _ => ++count < 4 || gate.Pass());
        gate.WaitUntilReached();
        Generation[] urgent = Enumerable.Range(8, 3).Select(i => tiny.Start(TinyEngine.Prompt(i, 30), 120, priority: 1)).ToArray();
        gate.Open();
        Assert.All(urgent, generation => Assert.Null(generation.Result.Error));
        Assert.Null(going.Result.Error);
        Assert.Equal(expected, going.Tokens);
        Assert.True(tiny.Engine.Status.Preemptions > 0, "The test is meant to run out of memory.");
    }

    [Fact]
    public void APromptCacheFileKnowsWhatWasGenerated()
    {
        TokenKinds kinds = TokenKinds.Of(5, 5);
        int[] tokens = [7, 8 | int.MinValue, 9];
        PromptCacheFile.TakeKinds(tokens, kinds);
        Assert.Equal([7, 8, 9], tokens);
        Assert.Equal([true, false, true, true, true], Enumerable.Range(0, 5).Select(kinds.IsPrompt));
    }

    [Fact]
    public async Task APromptCacheFileIsLoadedAsItWasSaved()
    {
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        string path = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():n}.kv");
        try
        {
            int[] prompt = TinyEngine.Prompt(9, 40);
            using TinyEngine first = Create(Options);
            int[] turn = [.. prompt, .. first.Generate(prompt, 30)];
            await first.Engine.SavePromptCacheAsync(path, turn, cancellation);
            using TinyEngine second = Create(Options);
            Assert.Equal(turn.Length, await second.Engine.LoadPromptCacheAsync(path, cancellation));
            int[] next = [.. turn, .. TinyEngine.Prompt(10, 20)];
            Assert.Equal(first.Generate(next, 40), second.Generate(next, 40));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void GeneratedRowsComeFirst()
    {
        ForwardBatch batch = new(8, 3);
        batch.Add([1, 2], 0, [0], [1]);
        batch.Add([3, 4, 5], 0, [2], [3], isPrompt: true);
        Assert.Equal((5, 3), (batch.Rows, batch.PromptRows));
        Assert.Throws<InvalidOperationException>(() => batch.Add([6], 0, [4], [5]));
        batch.Clear();
        batch.Add([6], 0, [4], [5]);
        Assert.Equal((1, 0), (batch.Rows, batch.PromptRows));
    }

    private int[] Alone(int[] prompt, int tokens = 60)
    {
        using TinyEngine alone = Create(Options with { PrefixCache = false });
        return alone.Generate(prompt, tokens);
    }

    private protected abstract TinyEngine Create(EngineOptions options, string? draft = null);
}
