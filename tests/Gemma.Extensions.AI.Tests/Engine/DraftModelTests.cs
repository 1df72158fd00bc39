using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>The model itself, in Q2_K, guesses for the float32 model: right often, wrong often.</summary>
public sealed class DraftModelTests
{
    private static EngineOptions Plain => TinyEngine.Exact with { SpeculativeTokens = 0, PrefixCache = false };

    public static TheoryData<string, float> Cases => new()
    {
        { "tiny", 0 }, { "tiny", 0.9f }, { "gguf/tiny-Q2_K.gguf", 0 }, { "gguf/tiny-Q2_K.gguf", 0.9f }, { "gguf/tiny-Q8_0.gguf", 0.5f },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void TextIsThatOfTheModelAlone(string draft, float temperature)
    {
        using TinyEngine plain = new(Plain);
        using TinyEngine guessing = new(draft: TestData.Local(draft));
        for (int seed = 0; seed < 3; seed++)
        {
            SamplingOptions sampling = new() { Temperature = temperature, TopP = 0.95f, PresencePenalty = seed % 2 * 0.3f, Seed = seed };
            int[] prompt = TinyEngine.Prompt(seed, 20 + 30 * seed);
            Generation expected = plain.Start(prompt, 40, sampling: sampling);
            Generation actual = guessing.Start(prompt, 40, sampling: sampling);
            Assert.Null(actual.Result.Error);
            Assert.Null(expected.Result.Error);
            Assert.Equal(expected.Tokens, actual.Tokens);
        }

        EngineTests.AssertNothingHeld(guessing);
        Assert.Equal(0, guessing.Engine.DraftBlocks);
    }

    [Fact]
    public async Task EqualModelGuessesRight()
    {
        using TinyEngine guessing = new(draft: TestData.Local("tiny"));
        long before = guessing.Engine.Steps;
        await guessing.Start(TinyEngine.Prompt(3, 40), 60, sampling: new SamplingOptions { Temperature = 1, Seed = 7 }).Task;
        Assert.InRange(guessing.Engine.Steps - before, 1, 24);
    }

    /// <summary>A sequence that gives its memory back also gives back what the draft model knew of it.</summary>
    [Fact]
    public void PreemptedSequencesGoOnAsIfNothingHadHappened()
    {
        int[][] prompts = [.. Enumerable.Range(0, 4).Select(i => TinyEngine.Prompt(i, 40))];
        using TinyEngine plain = new(Plain);
        int[][] expected = [.. prompts.Select(prompt => plain.Generate(prompt, 120))];
        using TinyEngine guessing = new(EngineTests.Small(blocks: 16), draft: TestData.Local("gguf/tiny-Q2_K.gguf"));
        Generation[] generations = prompts.Select(prompt => guessing.Start(prompt, 120)).ToArray();
        Assert.All(generations.Zip(expected), pair => Assert.Equal(pair.Second, pair.First.Result.Error is null ? pair.First.Tokens : []));
        Assert.True(guessing.Engine.Status.Preemptions > 0, "The test is meant to run out of memory while generating.");
        EngineTests.AssertNothingHeld(guessing);
        Assert.Equal(0, guessing.Engine.DraftBlocks);
    }

    /// <summary>First tokens over many seeds are distributed as the model says, whatever the draft model thinks: χ² over the likeliest tokens.</summary>
    [Fact]
    public void DistributionIsTheModels()
    {
        const int Draws = 500;
        const int Tops = 8;
        int[] prompt = TinyEngine.Prompt(11, 12);
        // Few run at once: in large batches nothing is guessed.
        using TinyEngine guessing = new(TinyEngine.Exact with { MaxConcurrentRequests = 3 }, draft: TestData.Local("gguf/tiny-Q2_K.gguf"));
        int[] counts = new int[Tops + 1];
        SamplingOptions sampling = new() { Temperature = 1, TopK = Tops + 1 };
        int first = guessing.Generate(prompt, 1)[0];
        // The second token of an answer is the first that is guessed; the first is fixed by a bias.
        int[] longer = [.. prompt, first];
        float[] logits = guessing.Logits(longer, longer.Length - 1)[0];
        int[] ids = Enumerable.Range(0, logits.Length).OrderByDescending(id => logits[id]).Take(Tops + 1).ToArray();
        double norm = ids.Sum(id => Math.Exp(logits[id]));
        Generation[] generations = Enumerable.Range(0, Draws).Select(seed => guessing.Start(
            prompt, 3, new Fixed(first), sampling: sampling with { Seed = seed })).ToArray();
        foreach (Generation generation in generations)
        {
            Assert.Null(generation.Result.Error);
            counts[Array.IndexOf(ids, generation.Tokens[1])]++;
        }

        double chi = ids.Select((id, i) => (Expected: Draws * Math.Exp(logits[id]) / norm, Actual: counts[i])).Sum(x => (x.Actual - x.Expected) * (x.Actual - x.Expected) / x.Expected);
        Assert.InRange(chi, 0, 26.1); // 8 degrees of freedom: exceeded by chance once in 1,000
    }

    [Fact]
    public void OtherVocabularyIsRefused()
    {
        using TinyEngine tiny = new();
        Assert.Throws<ArgumentException>(() => new DraftModel(tiny.Config with { VocabularySize = 7 }, null!, null!, tiny.Config.VocabularySize, 512, TinyEngine.Exact));
    }

    /// <summary>Fixes the first token and allows everything after it.</summary>
    private sealed class Fixed(int token) : ITokenConstraint
    {
        private bool _done;

        public bool TryFillMask(Span<ulong> mask)
        {
            if (!_done)
            {
                mask.Clear();
                mask[token >> 6] = 1UL << (token & 63);
            }

            return !_done;
        }

        public bool IsAllowed(int other) => _done || other == token;

        public void Accept(int other) => _done = true;

        public int GetForcedTokens(Span<int> tokens, ref long budget) => 0;

        public ITokenConstraint Clone() => new Fixed(token) { _done = _done };
    }
}
