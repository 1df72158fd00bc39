using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Tests.Engine;

public sealed class EngineTests
{
    [Fact]
    public void ConcurrentRequestsGiveTheirSoloText()
    {
        int[][] prompts = [.. Enumerable.Range(0, 12).Select(i => TinyEngine.Prompt(i, 5 + 11 * i))];
        using var solo = new TinyEngine(TinyEngine.Exact with { PrefixCache = false, SpeculativeTokens = 0 });
        int[][] expected = [.. prompts.Select(prompt => solo.Generate(prompt, 40))];
        using var tiny = new TinyEngine(TinyEngine.Exact with { MaxConcurrentRequests = 5, PrefillChunk = 48 });
        var generations = prompts.Select(prompt => tiny.Start(prompt, 40)).ToArray();
        for (int i = 0; i < prompts.Length; i++)
        {
            Assert.Equal(EngineFinish.Length, generations[i].Result.Finish);
            Assert.Equal(expected[i], generations[i].Tokens);
        }

        AssertNothingHeld(tiny);
    }

    [Fact]
    public void StopTokenEndsAndIsNotDelivered()
    {
        using var tiny = new TinyEngine();
        int[] prompt = TinyEngine.Prompt(3, 20);
        int[] tokens = tiny.Generate(prompt, 10);
        int stop = tokens[4];
        var generation = tiny.Start(prompt, 10, stopTokens: [stop]);
        Assert.Equal(EngineFinish.Stop, generation.Result.Finish);
        Assert.Equal(tokens[..Array.IndexOf(tokens, stop)], generation.Tokens);
        Assert.Equal(generation.Tokens.Length + 1, generation.Result.GeneratedTokens);
    }

    [Fact]
    public void SinkCanStop()
    {
        using var tiny = new TinyEngine();
        int count = 0;
        var generation = tiny.Start(TinyEngine.Prompt(3, 20), 100, onToken: _ => ++count < 7);
        Assert.Equal(EngineFinish.Stop, generation.Result.Finish);
        Assert.Equal(7, generation.Tokens.Length);
    }

    [Fact]
    public void ContextEndIsLength()
    {
        using var tiny = new TinyEngine(TinyEngine.Exact with { ContextLength = 64 });
        var generation = tiny.Start(TinyEngine.Prompt(3, 60), int.MaxValue);
        Assert.Equal(EngineFinish.Length, generation.Result.Finish);
        Assert.Equal(4, generation.Tokens.Length);
        generation = tiny.Start(TinyEngine.Prompt(3, 64), int.MaxValue);
        Assert.Equal(EngineFinish.Length, generation.Result.Finish);
        Assert.Empty(generation.Tokens);
    }

    [Fact]
    public void PromptOverTheContextIsRefusedWithBothNumbers()
    {
        using var tiny = new TinyEngine(TinyEngine.Exact with { ContextLength = 64 });
        var exception = Assert.Throws<GemmaContextLengthException>(() => tiny.Start(TinyEngine.Prompt(3, 65)));
        Assert.Equal((65, 64), (exception.PromptTokens, exception.ContextTokens));
    }

    [Fact]
    public void RequestThatCanNeverFitIsRefusedWithTheNumbers()
    {
        using var tiny = new TinyEngine(Small(blocks: 12));
        var exception = Assert.Throws<GemmaKvCacheException>(() => tiny.Start(TinyEngine.Prompt(3, 400)));
        Assert.True(exception.NeededBytes > exception.BudgetBytes);
        Assert.Throws<GemmaKvCacheException>(() => tiny.Start(TinyEngine.Prompt(3, 40), 400));
        Assert.Equal(20, tiny.Generate(TinyEngine.Prompt(3, 40), 20).Length);
    }

    [Fact]
    public void ThrowingSinkEndsItsRequestOnly()
    {
        using var tiny = new TinyEngine();
        int[] expected = tiny.Generate(TinyEngine.Prompt(1, 30), 30);
        var good = tiny.Start(TinyEngine.Prompt(1, 30), 30);
        var bad = tiny.Start(TinyEngine.Prompt(2, 30), 30, onToken: _ => throw new FormatException("mine"));
        Assert.Equal(EngineFinish.Failed, bad.Result.Finish);
        Assert.IsType<FormatException>(bad.Result.Error);
        Assert.Equal(expected, (good.Result, good.Tokens).Tokens);
    }

    [Fact]
    public void DisposeCompletesEveryRequestOnce()
    {
        var tiny = new TinyEngine(TinyEngine.Exact with { MaxConcurrentRequests = 2 });
        var generations = Enumerable.Range(0, 6).Select(i => tiny.Start(TinyEngine.Prompt(i, 400), 100)).ToArray();
        tiny.Dispose();
        foreach (var generation in generations)
        {
            Assert.Equal(EngineFinish.Failed, generation.Result.Finish);
            Assert.IsType<ObjectDisposedException>(generation.Result.Error);
        }

        Assert.Throws<ObjectDisposedException>(() => tiny.Start(TinyEngine.Prompt(1, 10)));
    }

    [Fact]
    public void CancellationFreesBlocks()
    {
        using var tiny = new TinyEngine();
        using var source = new CancellationTokenSource();
        int seen = 0;
        var generation = tiny.Start(TinyEngine.Prompt(1, 100), 300, cancellation: source.Token, onToken: _ =>
        {
            if (++seen == 5)
            {
                source.Cancel();
            }

            return true;
        });
        Assert.Equal(EngineFinish.Cancelled, generation.Result.Finish);
        Assert.InRange(generation.Tokens.Length, 5, 5 + TinyEngine.Exact.SpeculativeTokens);
        AssertNothingHeld(tiny);
    }

    [Fact]
    public void CancellationIsSeenWithinAPrompt()
    {
        using var tiny = new TinyEngine(TinyEngine.Exact with { PrefillChunk = 512 });
        using var source = new CancellationTokenSource();
        var generation = tiny.Start(TinyEngine.Prompt(1, 500), 300, cancellation: source.Token);
        source.Cancel();
        Assert.Equal(EngineFinish.Cancelled, generation.Result.Finish);
        Assert.Empty(generation.Tokens);
        AssertNothingHeld(tiny);
    }

    [Fact]
    public void TokensAllocateNothing()
    {
        using var tiny = new TinyEngine(TinyEngine.Exact with { PrefillChunk = 64 });
        long start = 0;
        int seen = 0;
        long allocated = -1;
        var sink = new CountingSink(token =>
        {
            seen++;
            if (seen == 100)
            {
                start = GC.GetAllocatedBytesForCurrentThread();
            }
            else if (seen == 400)
            {
                allocated = GC.GetAllocatedBytesForCurrentThread() - start;
            }

            return true;
        });
        tiny.Generate(TinyEngine.Prompt(9, 60), 440); // compiles everything
        tiny.Engine.Submit(new GenerationRequest { Prompt = TinyEngine.Prompt(4, 60), Sink = sink, MaxOutputTokens = 440, Sampling = new SamplingOptions { Temperature = 0 } });
        Assert.True(sink.Done.Wait(60_000));
        Assert.Equal(0, allocated);
    }

    [Fact]
    public void SequencesThatDoNotFitTogetherAllFinish()
    {
        int[][] prompts = [.. Enumerable.Range(0, 6).Select(i => TinyEngine.Prompt(i, 40))];
        using var solo = new TinyEngine();
        int[][] expected = [.. prompts.Select(prompt => solo.Generate(prompt, 120))];
        using var tiny = new TinyEngine(Small(blocks: 16));
        var generations = prompts.Select(prompt => tiny.Start(prompt, 120)).ToArray();
        for (int i = 0; i < prompts.Length; i++)
        {
            Assert.Null(generations[i].Result.Error);
            Assert.Equal(expected[i], generations[i].Tokens);
        }

        Assert.True(tiny.Engine.Status.Preemptions > 0, "The test is meant to run out of memory while generating.");
        AssertNothingHeld(tiny);
    }

    [Fact]
    public void QueueOverTheLimitIsRefusedAtOnce()
    {
        using var tiny = new TinyEngine(TinyEngine.Exact with { MaxConcurrentRequests = 1, MaxQueuedRequests = 2 });
        var accepted = Enumerable.Range(0, 3).Select(i => tiny.Start(TinyEngine.Prompt(i, 200), 200)).ToArray();
        Assert.Throws<GemmaOverloadedException>(() => tiny.Start(TinyEngine.Prompt(9, 10)));
        Assert.All(accepted, generation => Assert.Equal(EngineFinish.Length, generation.Result.Finish));
        Assert.NotEmpty(tiny.Generate(TinyEngine.Prompt(9, 10)));
    }

    [Fact]
    public void DeadlineFailsTheRequest()
    {
        using var tiny = new TinyEngine(TinyEngine.Exact with { MaxConcurrentRequests = 1 });
        var first = tiny.Start(TinyEngine.Prompt(0, 200), 300);
        var late = tiny.Start(TinyEngine.Prompt(1, 200), 300, timeout: TimeSpan.FromMilliseconds(1));
        Assert.IsType<TimeoutException>(late.Result.Error);
        Assert.Equal(EngineFinish.Length, first.Result.Finish);
    }

    [Fact]
    public void ATimeLimitWithoutEndIsNone()
    {
        using var tiny = new TinyEngine();
        Assert.Equal(EngineFinish.Length, tiny.Start(TinyEngine.Prompt(0, 20), 5, timeout: TimeSpan.MaxValue).Result.Finish);
    }

    /// <summary>A prompt that is late is not read to its end: the step is given up between two layers, as for a cancelled one.</summary>
    [Fact]
    public void ATimeLimitIsSeenWithinAPrompt()
    {
        bool late = false;
        int products = 0, productsWhenLate = 0;
        using var tiny = new TinyEngine(TinyEngine.Exact with { PrefillChunk = 256 }, wrap: inner => new FaultTests.FaultyBackend(inner)
        {
            BeforeProduct = (_, _) =>
            {
                products++;
                if (!late)
                {
                    late = true;
                    productsWhenLate = products;
                    Thread.Sleep(200);
                }
            },
        });
        var generation = tiny.Start(TinyEngine.Prompt(0, 256), 5, timeout: TimeSpan.FromMilliseconds(100));
        Assert.IsType<TimeoutException>(generation.Result.Error);
        Assert.InRange(products - productsWhenLate, 0, 4);
        AssertNothingHeld(tiny);
    }

    /// <summary>One request at a time, and one caller has sent many: another caller's are answered in between, not behind them.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void AFloodOfOneCallerDoesNotHoldUpTheOthers(int concurrent)
    {
        var order = new List<string>();
        using var tiny = new TinyEngine(TinyEngine.Exact with { MaxConcurrentRequests = concurrent });
        using var go = new ManualResetEventSlim();
        List<Generation> generations = [tiny.Start(TinyEngine.Prompt(0, 10), 2, caller: "flood", onToken: _ => go.Wait(10_000))];
        generations.AddRange(Enumerable.Range(0, 30).Select(i => Submit("flood", i)));
        generations.AddRange(Enumerable.Range(0, 4).Select(i => Submit("b", 50 + i)));
        generations.AddRange(Enumerable.Range(0, 4).Select(i => Submit(null, 60 + i)));
        go.Set();
        Assert.All(generations, generation => Assert.Null(generation.Result.Error));
        foreach (string caller in (string[])["b", "nobody"])
        {
            int last = order.LastIndexOf(caller);
            Assert.InRange(order.Take(last).Count(name => name == "flood"), 0, 6);
        }

        Generation Submit(string? caller, int seed) => tiny.Start(TinyEngine.Prompt(seed, 10), 1, caller: caller, onToken: _ =>
        {
            order.Add(caller ?? "nobody");
            return true;
        });
    }

    [Fact]
    public void HigherPriorityAndFewerRunningGoFirst()
    {
        var order = new List<string>();
        using var tiny = new TinyEngine(TinyEngine.Exact with { MaxConcurrentRequests = 2 });
        var generations = new List<Generation>();
        using var go = new ManualResetEventSlim();
        generations.Add(tiny.Start(TinyEngine.Prompt(0, 10), 60, caller: "a", onToken: _ => go.Wait(10_000)));
        Submit("a1", 10, 0, "a");
        Submit("a2", 11, 0, "a");
        Submit("b1", 12, 0, "b");
        Submit("urgent", 13, 1, "a");
        go.Set();
        Assert.All(generations, generation => Assert.Null(generation.Result.Error));
        Assert.Equal(["urgent", "b1", "a1", "a2"], order.Where(name => name != "a0"));

        void Submit(string name, int seed, int priority, string caller)
        {
            bool first = true;
            generations.Add(tiny.Start(TinyEngine.Prompt(seed, 10), 3, priority: priority, caller: caller, onToken: _ =>
            {
                if (first)
                {
                    first = false;
                    order.Add(name);
                }

                return true;
            }));
        }
    }

    [Fact]
    public async Task StopDrains()
    {
        using var tiny = new TinyEngine();
        var generation = tiny.Start(TinyEngine.Prompt(0, 50), 50);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        await tiny.Engine.StopAsync(deadline.Token);
        Assert.Equal(EngineFinish.Length, generation.Result.Finish);
        Assert.Throws<ObjectDisposedException>(() => tiny.Start(TinyEngine.Prompt(0, 50)));
    }

    [Fact]
    public async Task StopEndsWhatIsNotFinishedInTime()
    {
        using var tiny = new TinyEngine();
        var generation = tiny.Start(TinyEngine.Prompt(0, 50), 400, onToken: _ =>
        {
            Thread.Sleep(20);
            return true;
        });
        var stopping = tiny.Engine.StopAsync(new CancellationTokenSource(100).Token);
        Assert.Throws<GemmaOverloadedException>(() => tiny.Start(TinyEngine.Prompt(0, 50)));
        await stopping;
        Assert.Equal(EngineFinish.Failed, generation.Result.Finish);
    }

    [Fact]
    public void IdleEngineTakesNoSteps()
    {
        using var tiny = new TinyEngine();
        tiny.Generate(TinyEngine.Prompt(0, 10), 5);
        long steps = tiny.Engine.Steps;
        Thread.Sleep(200);
        Assert.InRange(tiny.Engine.Steps, steps, steps + 1);
    }

    internal static EngineOptions Small(int blocks)
    {
        var options = TinyEngine.Exact with { BlockTokens = 16, PrefillChunk = 32 };
        return options with { KvCacheBytes = blocks * new Gemma.Extensions.AI.Backends.KvLayout(2, 2, 64, 16, options.KvType).BlockBytes };
    }

    internal static void AssertNothingHeld(TinyEngine tiny)
    {
        var status = tiny.Engine.Status;
        Assert.Equal((0, 0, 0), (status.Running, status.Waiting, status.UsedBlocks));
    }

    private sealed class CountingSink(Func<int, bool> onToken) : GenerationSink
    {
        public ManualResetEventSlim Done { get; } = new();
        public override bool OnToken(int token) => onToken(token);
        public override void OnCompleted(GenerationResult result) => Done.Set();
    }
}
