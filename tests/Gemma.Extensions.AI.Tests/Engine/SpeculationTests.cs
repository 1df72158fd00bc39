using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>Guessing ahead and forced tokens change how many steps are taken, never the text.</summary>
public sealed class SpeculationTests
{
    private static EngineOptions Plain => TinyEngine.Exact with { SpeculativeTokens = 0, PrefixCache = false };

    public static TheoryData<int> Seeds => [.. Enumerable.Range(0, 6)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void GreedyTextIsTheSame(int seed)
    {
        int[] prompt = Repeating(seed);
        using TinyEngine plain = new(Plain);
        using TinyEngine guessing = new();
        Assert.Equal(plain.Generate(prompt, 120), guessing.Generate(prompt, 120));
    }

    /// <summary>A guess makes a row of its own, which other kernels may compute than a token alone.</summary>
    [Theory]
    [MemberData(nameof(TinyEngine.TiersAndFiles), MemberType = typeof(TinyEngine))]
    public void GreedyTextIsTheSameOnEveryTier(string tier, string file)
    {
        TinyEngine.SkipWhereMissing(tier);
        int[] prompt = Repeating(1);
        using TinyEngine plain = new(Plain, tier, TestData.Local(file));
        using TinyEngine guessing = new(TinyEngine.Exact with { SpeculativeTokens = 24 }, tier, TestData.Local(file));
        Assert.Equal(plain.Generate(prompt, 120), guessing.Generate(prompt, 120));
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void SampledTextIsTheSame(int seed)
    {
        // A low temperature repeats itself enough for guesses to be right now and then.
        SamplingOptions sampling = new() { Temperature = 0.3f, TopP = 0.95f, FrequencyPenalty = 0.1f, RepetitionPenalty = 1.05f, Seed = seed };
        int[] prompt = Repeating(seed);
        using TinyEngine plain = new(Plain);
        using TinyEngine guessing = new();
        Generation expected = plain.Start(prompt, 120, sampling: sampling);
        Generation actual = guessing.Start(prompt, 120, sampling: sampling);
        Assert.Equal(EngineFinish.Length, actual.Result.Finish);
        Assert.Equal(EngineFinish.Length, expected.Result.Finish);
        Assert.Equal(expected.Tokens, actual.Tokens);
    }

    [Fact]
    public void RepeatedTextTakesFewerSteps()
    {
        using TinyEngine guessing = new();
        CycleConstraint cycle = new([300, 400, 500, 600, 700, 800], forced: false);
        long before = guessing.Engine.Steps;
        int[] tokens = guessing.Generate(TinyEngine.Prompt(1, 12), 120, cycle);
        Assert.Equal(Enumerable.Range(0, 120).Select(i => cycle.At(i)), tokens);
        Assert.InRange(guessing.Engine.Steps - before, 1, 50);
    }

    /// <summary>Guesses, forced tokens and masks together give what masks alone give.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(8)]
    public void ForcedTokensAreTakenInOneStep(int speculative)
    {
        using TinyEngine tiny = new(TinyEngine.Exact with { SpeculativeTokens = speculative });
        CycleConstraint constraint = new([300, 301, 302, 303, 304, 305, 306, 307], forced: true);
        long before = tiny.Engine.Steps;
        int[] tokens = tiny.Generate(TinyEngine.Prompt(1, 12), 96, constraint);
        Assert.Equal(Enumerable.Range(0, 96).Select(i => constraint.At(i)), tokens);
        Assert.InRange(tiny.Engine.Steps - before, 1, 20);
    }

    [Fact]
    public void ConstraintsOfConcurrentRequestsStayApart()
    {
        using TinyEngine tiny = new();
        CycleConstraint[] constraints = Enumerable.Range(0, 6).Select(i => new CycleConstraint([300 + i, 400 + i, 500 + i], forced: i % 2 == 0)).ToArray();
        Generation[] generations = constraints.Select((constraint, i) => tiny.Start(TinyEngine.Prompt(i, 10 + i), 30, constraint)).ToArray();
        for (int i = 0; i < constraints.Length; i++)
        {
            Assert.Null(generations[i].Result.Error);
            Assert.Equal(Enumerable.Range(0, 30).Select(k => constraints[i].At(k)), generations[i].Tokens);
        }
    }

    [Fact]
    public void ThrowingConstraintEndsItsRequestOnly()
    {
        using TinyEngine tiny = new();
        int[] expected = tiny.Generate(TinyEngine.Prompt(1, 30), 30);
        Generation good = tiny.Start(TinyEngine.Prompt(1, 30), 30);
        Generation bad = tiny.Start(TinyEngine.Prompt(2, 30), 30, new CycleConstraint([], forced: false));
        Assert.IsType<DivideByZeroException>(bad.Result.Error);
        Assert.Null(good.Result.Error);
        Assert.Equal(expected, good.Tokens);
    }

    [Fact]
    public void ProposalIsWhatFollowedTheLastOccurrence()
    {
        GenerationRequest request = new() { Prompt = [5, 6, 7, 8, 9, 5, 6, 7, 1, 2, 3, 5, 6, 7], Sink = new Generation() };
        Sequence sequence = new(request, 100, 1024, 32, 8, 1);
        Assert.Equal([1, 2, 3], NGramDraft.Propose(sequence, 8).ToArray()); // the limit starts at 3
        Assert.True(NGramDraft.Propose(new Sequence(new GenerationRequest { Prompt = [1, 2, 3, 4], Sink = new Generation() }, 100, 1024, 32, 8, 1), 8).IsEmpty);
    }

    private static int[] Repeating(int seed)
    {
        int[] stem = TinyEngine.Prompt(seed, 15);
        return [.. stem, .. stem[1..], .. stem[1..]];
    }

    /// <summary>Allows one token after another, over and over.</summary>
    internal sealed class CycleConstraint(int[] tokens, bool forced) : ITokenConstraint
    {
        private int _next;

        public int At(int index) => tokens[index % tokens.Length];

        public bool TryFillMask(Span<ulong> mask)
        {
            mask.Clear();
            int token = At(_next);
            mask[token >> 6] |= 1UL << (token & 63);
            return true;
        }

        public bool IsAllowed(int token) => token == At(_next);

        public void Accept(int token)
        {
            Assert.Equal(At(_next), token);
            _next++;
        }

        public int GetForcedTokens(Span<int> destination, ref long budget)
        {
            int count = forced ? Math.Min(tokens.Length - 1 - (_next + tokens.Length - 1) % tokens.Length, destination.Length) : 0;
            for (int i = 0; i < count; i++)
            {
                destination[i] = At(_next + i);
            }

            return count;
        }

        public ITokenConstraint Clone() => new CycleConstraint(tokens, forced) { _next = _next };
    }
}
