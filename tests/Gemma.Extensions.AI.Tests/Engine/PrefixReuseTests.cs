using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>A prefix from the cache gives what a cold run gives. The window of the model is 16, so most lengths are beyond it.</summary>
public sealed class PrefixReuseTests
{
    private static EngineOptions Options => TinyEngine.Exact with { PrefillChunk = 64 };

    [Theory]
    [InlineData(7)]
    [InlineData(16)]
    [InlineData(33)]
    [InlineData(100)]
    [InlineData(160)]
    public void SharedPrefixGivesColdLogits(int shared)
    {
        int[] first = TinyEngine.Prompt(1, 180);
        int[] second = [.. first[..shared], .. TinyEngine.Prompt(2, 40)];
        using TinyEngine warm = new(Options);
        warm.Generate(first, 10);
        (int cached, float[] logits) = LastLogits(warm, second);
        using TinyEngine cold = new(Options);
        Assert.InRange(Difference.Largest([LastLogits(cold, second).Logits], [logits]), 0, 1e-4f);
        Assert.Equal(shared, cached);
    }

    [Fact]
    public void GeneratedTurnIsReused()
    {
        using TinyEngine tiny = new(Options);
        int[] prompt = TinyEngine.Prompt(1, 50);
        int[] answer = tiny.Generate(prompt, 21);
        Generation next = tiny.Start([.. prompt, .. answer, 300, 301, 302], 4);
        Assert.Equal(prompt.Length + answer.Length - 1, next.Result.CachedTokens); // the last token of an answer is never computed
    }

    [Fact]
    public void SamePromptIsReusedButForOneToken()
    {
        using TinyEngine tiny = new(Options);
        int[] prompt = TinyEngine.Prompt(1, 64);
        int[] cold = tiny.Generate(prompt, 12);
        Generation again = tiny.Start(prompt, 12);
        Assert.Equal(prompt.Length - 1, again.Result.CachedTokens);
        Assert.Equal(cold, again.Tokens);
    }

    /// <summary>Six rounds of an agent: each prompt is the last one with the answer and a result appended.</summary>
    [Fact]
    public void AgentLoopComputesEachTokenAboutOnce()
    {
        using TinyEngine tiny = new(Options);
        int[] prompt = TinyEngine.Prompt(1, 120);
        int computed = 0;
        for (int round = 0; round < 6; round++)
        {
            Generation generation = tiny.Start(prompt, 9);
            computed += generation.Result.PromptTokens - generation.Result.CachedTokens;
            prompt = [.. prompt, .. generation.Tokens, .. TinyEngine.Prompt(50 + round, 17)];
        }

        Assert.InRange(computed, 1, 1.15 * (prompt.Length - 17));
    }

    [Fact]
    public void RequestsAtTheSameTimeShareThePrefix()
    {
        using TinyEngine tiny = new(Options);
        int[] shared = TinyEngine.Prompt(1, 128);
        Generation[] generations = Enumerable.Range(0, 5).Select(i => tiny.Start([.. shared, .. TinyEngine.Prompt(10 + i, 8)], 6)).ToArray();
        int cached = generations.Sum(generation => generation.Result.CachedTokens);
        Assert.InRange(cached, 3 * 128, 4 * 128);
    }

    [Fact]
    public void EvictionUnderABudgetKeepsAnswersRight()
    {
        Random random = new(5);
        int[][] stems = [.. Enumerable.Range(0, 8).Select(i => TinyEngine.Prompt(i, 90))];
        using TinyEngine cold = new(Options with { PrefixCache = false });
        using TinyEngine tiny = new(EngineTests.Small(blocks: 40));
        int hits = 0;
        for (int i = 0; i < 60; i++)
        {
            int[] prompt = [.. stems[random.Next(stems.Length)][..random.Next(1, 91)], .. TinyEngine.Prompt(100 + i, random.Next(2, 30))];
            int[] expected = cold.Generate(prompt, 5);
            Generation generation = tiny.Start(prompt, 5);
            hits += generation.Result.CachedTokens > 1 ? 1 : 0;
            Assert.Equal(expected, generation.Tokens);
            EngineTests.AssertNothingHeld(tiny);
        }

        Assert.InRange(hits, 5, 60);
    }

    /// <summary>Random schedules: prompts that share parts, cancellations, short memory. Every text is the solo text and nothing stays held.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomLoad(int seed)
    {
        Random random = new(seed);
        int[][] stems = [.. Enumerable.Range(0, 4).Select(i => TinyEngine.Prompt(i, 70))];
        int[][] prompts = Enumerable.Range(0, 40)
            .Select(i => (int[])[.. stems[random.Next(4)][..random.Next(1, 71)], .. TinyEngine.Prompt(100 + i, random.Next(2, 40))]).ToArray();
        int[] lengths = [.. prompts.Select(_ => random.Next(1, 40))];
        using TinyEngine cold = new(Options with { PrefixCache = false, SpeculativeTokens = 0 });
        int[][] expected = [.. prompts.Select((prompt, i) => cold.Generate(prompt, lengths[i]))];
        using TinyEngine tiny = new(EngineTests.Small(blocks: 36) with { MaxConcurrentRequests = 7 });
        CancellationTokenSource[] sources = prompts.Select(_ => new CancellationTokenSource()).ToArray();
        Generation[] generations = prompts.Select((prompt, i) => tiny.Start(prompt, lengths[i], cancellation: sources[i].Token, onToken: _ =>
        {
            if (i % 5 == 0 && i > 0)
            {
                sources[i - 1].Cancel();
            }

            return true;
        })).ToArray();
        for (int i = 0; i < prompts.Length; i++)
        {
            GenerationResult result = generations[i].Result;
            Assert.Null(result.Error);
            Assert.Equal(expected[i][..generations[i].Tokens.Length], generations[i].Tokens);
            Assert.True(result.Finish == EngineFinish.Cancelled || generations[i].Tokens.Length == expected[i].Length);
        }

        EngineTests.AssertNothingHeld(tiny);
    }

    private static (int Cached, float[] Logits) LastLogits(TinyEngine tiny, int[] prompt)
    {
        float[][] logits = tiny.Logits(prompt, out int cached, prompt.Length - 1);
        return (cached, logits[0]);
    }
}
