using Gemma.Extensions.AI.Engine;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>A sequence whose mask is not worked out yet is left out of the steps; others generate meanwhile, and its tokens are the same.</summary>
public sealed class MaskBesideStepTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(6)]
    public void OthersGenerateWhileAMaskIsWorkedOut(int speculative)
    {
        using TinyEngine tiny = new(TinyEngine.Exact with { SpeculativeTokens = speculative });
        int[] stem = TinyEngine.Prompt(3, 15), prompt = [.. stem, .. stem[1..], .. stem[1..]];
        int[] expected = tiny.Generate(prompt, 20, new Late([])), expectedOther = tiny.Generate(TinyEngine.Prompt(4, 10), 40);

        Late late = new([1, 2, 7, 19]);
        Generation slow = tiny.Start(prompt, 20, late);
        for (int i = 0; i < 4; i++)
        {
            late.WaitUntilAsked();
            Generation other = tiny.Start(TinyEngine.Prompt(4, 10), 40);
            Assert.Null(other.Result.Error);
            Assert.Equal(expectedOther, other.Tokens);
            Assert.False(slow.Task.IsCompleted);
            late.Release();
        }

        Assert.Null(slow.Result.Error);
        Assert.Equal(expected, slow.Tokens);
    }

    [Fact]
    public void TheTokensAreTheSameWhereTheMemoryIsTakenMeanwhile()
    {
        // Memory for about one sequence and a half: that of the least priority gives its own to those that grow.
        using TinyEngine tiny = new(TinyEngine.Exact with { KvCacheBytes = 600_000, PrefixCache = false });
        int[] prompt = TinyEngine.Prompt(5, 20);
        int[] expected = tiny.Generate(prompt, 30, new Late([]));
        Late late = new([2]);
        using Gate gate = new();
        Generation other = tiny.Start(TinyEngine.Prompt(10, 20), 100, onToken: _ => gate.Pass());
        gate.WaitUntilReached();
        Generation slow = tiny.Start(prompt, 30, late, priority: -1), third = tiny.Start(TinyEngine.Prompt(11, 20), 100);
        gate.Open();
        Assert.Null(other.Result.Error);
        Assert.Null(third.Result.Error);
        late.WaitUntilAsked();
        late.Release();
        Assert.Null(slow.Result.Error);
        Assert.Equal(expected, slow.Tokens);
        TestContext.Current.TestOutputHelper?.WriteLine($"{tiny.Engine.Status.Preemptions} preemptions");
        Assert.True(tiny.Engine.Status.Preemptions > 0, "No memory was taken, so nothing was shown.");
    }

    [Fact]
    public void ASequenceThatWaitsForItsMaskIsCancelled()
    {
        using TinyEngine tiny = new();
        using CancellationTokenSource cancel = new();
        Late late = new([2]);
        Generation slow = tiny.Start(TinyEngine.Prompt(1, 10), 20, late, cancellation: cancel.Token);
        late.WaitUntilAsked();
        cancel.Cancel();
        Assert.Equal(EngineFinish.Cancelled, slow.Result.Finish);
        Assert.True(late.IsStopped);
        Assert.Equal(0, tiny.Engine.Status.Running);
    }

    [Fact]
    public void AnExceptionFromBesideTheStepsEndsTheRequestAlone()
    {
        using TinyEngine tiny = new();
        Late late = new([2]) { Failure = new GemmaException("none") };
        Generation slow = tiny.Start(TinyEngine.Prompt(1, 10), 20, late);
        late.WaitUntilAsked();
        Generation other = tiny.Start(TinyEngine.Prompt(2, 10), 20);
        late.Release();
        Assert.Same(late.Failure, slow.Result.Error);
        Assert.Null(other.Result.Error);
    }

    /// <summary>Allows every second token; at some tokens the mask takes until it is released.</summary>
    private sealed class Late(int[] at) : ITokenConstraint
    {
        private readonly SemaphoreSlim _asked = new(0);
        private volatile bool _released;
        private bool _told;
        private int _count;

        public volatile bool IsStopped;

        public Exception? Failure { get; init; }

        public Action? WhenPrepared { private get; set; }

        public void WaitUntilAsked() => Assert.True(_asked.Wait(TimeSpan.FromSeconds(30)), "No mask was asked for.");

        public void Release()
        {
            _released = true;
            WhenPrepared!();
        }

        public bool TryPrepare(ref long budget)
        {
            Assert.True(budget > 0);
            if (!at.Contains(_count))
            {
                return true;
            }

            if (!_released)
            {
                if (!_told)
                {
                    _told = true;
                    _asked.Release();
                }

                return false;
            }

            return Failure is null ? true : throw Failure;
        }

        public void Stop() => IsStopped = true;

        public bool TryFillMask(Span<ulong> mask)
        {
            mask.Fill(0xAAAA_AAAA_AAAA_AAAA);
            return true;
        }

        public bool IsAllowed(int token) => token % 2 == 1;

        public void Accept(int token)
        {
            Assert.True(IsAllowed(token));
            _count++;
            (_released, _told) = (false, false);
        }

        public int GetForcedTokens(Span<int> tokens, ref long budget) => 0;

        public ITokenConstraint Clone() => new Late([]);
    }
}
