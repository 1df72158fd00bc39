using Gemma.Extensions.AI.Engine;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Tests.Engine;

public sealed class EngineTests
{
    [Theory]
    [MemberData(nameof(TinyEngine.TiersAndFiles), MemberType = typeof(TinyEngine))]
    public void ConcurrentRequestsGiveTheirSoloText(string tier, string file)
    {
        TinyEngine.SkipWhereMissing(tier);
        int[][] prompts = [.. Enumerable.Range(0, 12).Select(i => TinyEngine.Prompt(i, 5 + 11 * i))];
        using TinyEngine solo = new(TinyEngine.Exact with { PrefixCache = false, SpeculativeTokens = 0 }, tier, TestData.Local(file));
        int[][] expected = [.. prompts.Select(prompt => solo.Generate(prompt, 40))];
        using TinyEngine tiny = new(TinyEngine.Exact with { MaxConcurrentRequests = 5, PrefillChunk = 48 }, tier, TestData.Local(file));
        Generation[] generations = prompts.Select(prompt => tiny.Start(prompt, 40)).ToArray();
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
        using TinyEngine tiny = new();
        int[] prompt = TinyEngine.Prompt(3, 20);
        int[] tokens = tiny.Generate(prompt, 10);
        int stop = tokens[4];
        Generation generation = tiny.Start(prompt, 10, stopTokens: [stop]);
        Assert.Equal(EngineFinish.Stop, generation.Result.Finish);
        Assert.Equal(tokens[..Array.IndexOf(tokens, stop)], generation.Tokens);
        Assert.Equal(generation.Tokens.Length + 1, generation.Result.GeneratedTokens);
    }

    [Fact]
    public void SinkCanStop()
    {
        using TinyEngine tiny = new();
        int count = 0;
        Generation generation = tiny.Start(TinyEngine.Prompt(3, 20), 100, onToken: _ => ++count < 7);
        Assert.Equal(EngineFinish.Stop, generation.Result.Finish);
        Assert.Equal(7, generation.Tokens.Length);
    }

    [Fact]
    public void ContextEndIsLength()
    {
        using TinyEngine tiny = new(TinyEngine.Exact with { ContextLength = 64 });
        Generation generation = tiny.Start(TinyEngine.Prompt(3, 60), int.MaxValue);
        Assert.Equal(EngineFinish.Length, generation.Result.Finish);
        Assert.Equal(4, generation.Tokens.Length);
        generation = tiny.Start(TinyEngine.Prompt(3, 64), int.MaxValue);
        Assert.Equal(EngineFinish.Length, generation.Result.Finish);
        Assert.Empty(generation.Tokens);
    }

    [Fact]
    public void PromptOverTheContextIsRefusedWithBothNumbers()
    {
        using TinyEngine tiny = new(TinyEngine.Exact with { ContextLength = 64 });
        GemmaContextLengthException exception = Assert.Throws<GemmaContextLengthException>(() => tiny.Start(TinyEngine.Prompt(3, 65)));
        Assert.Equal((65, 64), (exception.PromptTokens, exception.ContextTokens));
    }

    [Fact]
    public void RequestThatCanNeverFitIsRefusedWithTheNumbers()
    {
        using TinyEngine tiny = new(Small(blocks: 12));
        GemmaKvCacheException exception = Assert.Throws<GemmaKvCacheException>(() => tiny.Start(TinyEngine.Prompt(3, 400)));
        Assert.True(exception.NeededBytes > exception.BudgetBytes);
        Assert.Throws<GemmaKvCacheException>(() => tiny.Start(TinyEngine.Prompt(3, 40), 400));
        Assert.Equal(20, tiny.Generate(TinyEngine.Prompt(3, 40), 20).Length);
    }

    [Fact]
    public void ThrowingSinkEndsItsRequestOnly()
    {
        using TinyEngine tiny = new();
        int[] expected = tiny.Generate(TinyEngine.Prompt(1, 30), 30);
        Generation good = tiny.Start(TinyEngine.Prompt(1, 30), 30);
        Generation bad = tiny.Start(TinyEngine.Prompt(2, 30), 30, onToken: _ => throw new FormatException("mine"));
        Assert.Equal(EngineFinish.Failed, bad.Result.Finish);
        Assert.IsType<FormatException>(bad.Result.Error);
        Assert.Equal(expected, (good.Result, good.Tokens).Tokens);
    }

    [Fact]
    public async Task DisposeCompletesEveryRequestOnce()
    {
        TinyEngine tiny = new(TinyEngine.Exact with { MaxConcurrentRequests = 2 });
        using Gate gate = new();
        Generation[] generations = Enumerable.Range(0, 6).Select(i => tiny.Start(TinyEngine.Prompt(i, 40), 100, onToken: _ => gate.Pass())).ToArray();
        gate.WaitUntilReached();
        Task disposing = Task.Run(tiny.Dispose);
        Eventually.IsTrue(() => tiny.Engine.Status.Stopping);
        gate.Open();
        await disposing;
        foreach (Generation generation in generations)
        {
            Assert.Equal(EngineFinish.Failed, generation.Result.Finish);
            Assert.IsType<ObjectDisposedException>(generation.Result.Error);
        }

        Assert.Throws<ObjectDisposedException>(() => tiny.Start(TinyEngine.Prompt(1, 10)));
    }

    [Fact]
    public void CancellationFreesBlocks()
    {
        using TinyEngine tiny = new();
        using CancellationTokenSource source = new();
        int seen = 0;
        Generation generation = tiny.Start(TinyEngine.Prompt(1, 100), 300, cancellation: source.Token, onToken: _ =>
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
        using CancellationTokenSource source = new();
        int products = 0;
        using TinyEngine tiny = new(TinyEngine.Exact with { PrefillChunk = 512 }, wrap: inner => new FaultTests.FaultyBackend(inner)
        {
            BeforeProduct = (_, _) =>
            {
                products++;
                source.Cancel();
            },
        });
        Generation generation = tiny.Start(TinyEngine.Prompt(1, 500), 300, cancellation: source.Token);
        Assert.Equal(EngineFinish.Cancelled, generation.Result.Finish);
        Assert.Empty(generation.Tokens);
        Assert.InRange(products, 1, 4); // of two layers' eight and the logits
        AssertNothingHeld(tiny);
    }

    [Fact]
    public void SequencesThatDoNotFitTogetherAllFinish()
    {
        int[][] prompts = [.. Enumerable.Range(0, 6).Select(i => TinyEngine.Prompt(i, 40))];
        using TinyEngine solo = new();
        int[][] expected = [.. prompts.Select(prompt => solo.Generate(prompt, 120))];
        using TinyEngine tiny = new(Small(blocks: 16));
        Generation[] generations = prompts.Select(prompt => tiny.Start(prompt, 120)).ToArray();
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
        using TinyEngine tiny = new(TinyEngine.Exact with { MaxConcurrentRequests = 1, MaxQueuedRequests = 2 });
        using Gate gate = new();
        Generation[] accepted = Enumerable.Range(0, 3).Select(i => tiny.Start(TinyEngine.Prompt(i, 20), 20, onToken: _ => gate.Pass())).ToArray();
        Assert.Throws<GemmaOverloadedException>(() => tiny.Start(TinyEngine.Prompt(9, 10)));
        gate.Open();
        Assert.All(accepted, generation => Assert.Equal(EngineFinish.Length, generation.Result.Finish));
        Assert.NotEmpty(tiny.Generate(TinyEngine.Prompt(9, 10)));
    }

    [Fact]
    public void AQueueAsLongAsCanBeSaidAcceptsRequests()
    {
        using TinyEngine tiny = new(TinyEngine.Exact with { MaxQueuedRequests = int.MaxValue });
        Assert.NotEmpty(tiny.Generate(TinyEngine.Prompt(0, 10)));
    }

    /// <summary>Penalties count every token of the vocabulary, of which a queue of thousands must not have a copy each.</summary>
    [Fact]
    public void RequestsThatWaitTakeLittleMemory()
    {
        using TinyEngine tiny = new(TinyEngine.Exact with { MaxConcurrentRequests = 1, ContextLength = 64 });
        using Gate gate = new();
        Generation running = tiny.Start(TinyEngine.Prompt(0, 10), 2, onToken: _ => gate.Pass());
        SamplingOptions sampling = new() { Temperature = 1, PresencePenalty = 0.1f, Seed = 1 };
        Generation waiting = tiny.Start(TinyEngine.Prompt(1, 10), 2, sampling: sampling); // compiles everything
        long before = GC.GetAllocatedBytesForCurrentThread();
        Generation another = tiny.Start(TinyEngine.Prompt(2, 10), 2, sampling: sampling);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 1, 4 * tiny.Config.VocabularySize - 1);
        gate.Open();
        Assert.All([running, waiting, another], generation => Assert.Equal(EngineFinish.Length, generation.Result.Finish));
    }

    /// <summary>A request is tried again with every step until there is memory for it: what it finds in the cache counts once.</summary>
    [Fact]
    public void ARequestThatWaitsForMemoryCountsItsCachedTokensOnce()
    {
        int[] shared = TinyEngine.Prompt(1, 40);
        int[] prompt = [.. shared, .. TinyEngine.Prompt(2, 60)];
        using TinyEngine solo = new();
        int[] expected = solo.Generate(prompt, 5);
        using TinyEngine tiny = new(Small(blocks: 16));
        tiny.Generate(shared, 1);
        using Gate gate = new();
        Generation first = tiny.Start(TinyEngine.Prompt(3, 40), 100, onToken: _ => gate.Pass());
        gate.WaitUntilReached();
        Generation waiting = tiny.Start(prompt, 5);
        gate.Open();
        Assert.InRange(waiting.Result.CachedTokens, 0, 40);
        Assert.Equal(expected, waiting.Tokens);
        Assert.Equal(EngineFinish.Length, first.Result.Finish);
    }

    /// <summary>What reads a prompt's rows (scores, embeddings) adds them up: after a preemption they are computed again but not told again.</summary>
    [Fact]
    public async Task APreemptedReaderGetsEveryRowOnce()
    {
        int[] prompt = TinyEngine.Prompt(2, 256);
        using TinyEngine solo = new();
        float[][] expected = solo.Logits(prompt);
        using TinyEngine tiny = new(Small(blocks: 30));
        using Gate gate = new();
        // Grows by two blocks with every step.
        Generation growing = tiny.Start(TinyEngine.Prompt(1, 16), 230, new SpeculationTests.CycleConstraint([.. Enumerable.Range(300, 32)], forced: true), onToken: _ => gate.Pass());
        gate.WaitUntilReached();
        Task<float[][]> reading = tiny.StartLogits(prompt);
        gate.Open();
        Assert.InRange(Difference.Largest(expected, await reading), 0, 1e-4f);
        Assert.Null(growing.Result.Error);
        Assert.True(tiny.Engine.Status.Preemptions > 0, "The test is meant to preempt the reader.");
        AssertNothingHeld(tiny);
    }

    /// <summary>The prompt of an urgent request does not wait until a request behind it, which took the last of the memory, is finished.</summary>
    [Fact]
    public void AnUrgentPromptTakesMemoryFromWhatGenerates()
    {
        List<string> order = new();
        using TinyEngine tiny = new(Small(blocks: 40));
        using Gate gate = new();
        int count = 0;
        Generation growing = tiny.Start(TinyEngine.Prompt(1, 16), 420, new SpeculationTests.CycleConstraint([.. Enumerable.Range(300, 32)], forced: true), onToken: _ =>
        {
            if (++count == 420)
            {
                order.Add("growing");
            }

            return gate.Pass();
        });
        gate.WaitUntilReached();
        Generation urgent = tiny.Start(TinyEngine.Prompt(2, 400), 1, priority: 1, onToken: _ =>
        {
            order.Add("urgent");
            return true;
        });
        gate.Open();
        Assert.Null(urgent.Result.Error);
        Assert.Null(growing.Result.Error);
        Assert.Equal(["urgent", "growing"], order);
        Assert.True(tiny.Engine.Status.Preemptions > 0, "The test is meant to run out of memory.");
    }

    /// <summary>Callers that come for one request each do not go before one who has had a turn, again and again.</summary>
    [Fact]
    public void NewCallersDoNotHoldUpAnOldOne()
    {
        List<string> order = new();
        List<Generation> newcomers = new();
        using TinyEngine tiny = new(TinyEngine.Exact with { MaxConcurrentRequests = 1 });
        using Gate gate = new();
        Generation first = tiny.Start(TinyEngine.Prompt(0, 10), 2, caller: "old", onToken: _ => gate.Pass());
        Generation second = tiny.Start(TinyEngine.Prompt(1, 10), 1, caller: "old", onToken: _ => Note("old"));
        Come();
        Come();
        gate.Open();
        Assert.Null(first.Result.Error);
        Assert.Null(second.Result.Error);
        Assert.InRange(order.IndexOf("old"), 0, 3);

        void Come()
        {
            string name = $"new {newcomers.Count}";
            newcomers.Add(tiny.Start(TinyEngine.Prompt(10 + newcomers.Count, 10), 1, caller: name, onToken: _ =>
            {
                if (newcomers.Count < 20)
                {
                    Come(); // somebody waits at any time
                }

                return Note(name);
            }));
        }

        bool Note(string name)
        {
            order.Add(name);
            return true;
        }
    }

    /// <summary>Steps that were given up say nothing about how long rows take, so later prompts are still cut to fit beside those who generate.</summary>
    [Fact]
    public void AbandonedStepsDoNotMakeLaterOnesLonger()
    {
        CancellationTokenSource? cancel = null;
        int largest = 0;
        using TinyEngine tiny = new(TinyEngine.Exact with { MixedStepTarget = TimeSpan.FromMilliseconds(20), SpeculativeTokens = 0, PrefixCache = false }, wrap: inner => new FaultTests.FaultyBackend(inner)
        {
            BeforeEmbed = tokens =>
            {
                if (cancel is null)
                {
                    Thread.Sleep(tokens.Length / 2); // at least half a millisecond a row
                    largest = Math.Max(largest, tokens.Length);
                }

                cancel?.Cancel();
            },
        });
        tiny.Generate(TinyEngine.Prompt(0, 256), 1);
        for (int i = 0; i < 20; i++)
        {
            cancel = new CancellationTokenSource();
            Assert.Equal(EngineFinish.Cancelled, tiny.Start(TinyEngine.Prompt(0, 256), 1, cancellation: cancel.Token).Result.Finish);
        }

        cancel = null;
        using Gate gate = new();
        Generation chat = tiny.Start(TinyEngine.Prompt(1, 10), 30, onToken: _ => gate.Pass());
        gate.WaitUntilReached();
        Generation other = tiny.Start(TinyEngine.Prompt(2, 256), 1);
        largest = 0;
        gate.Open();
        Assert.Null(other.Result.Error);
        Assert.Null(chat.Result.Error);
        Assert.InRange(largest, 2, 64);
    }

    /// <summary>An error of the engine itself ends it: everybody is told, and whoever comes later too.</summary>
    [Fact]
    public void AnEngineThatFailsTellsEverybody()
    {
        FaultTests.FaultyBackend? backend = null;
        using TinyEngine tiny = new(TinyEngine.Exact with { MaxConcurrentRequests = 2 }, wrap: inner => backend = new FaultTests.FaultyBackend(inner), logger: new ThrowingLogger());
        using Gate gate = new();
        backend!.BeforeProduct = (_, _) =>
        {
            gate.Pass();
            throw new OutOfMemoryException("no scratch memory");
        };
        Generation[] generations = [.. Enumerable.Range(0, 4).Select(i => tiny.Start(TinyEngine.Prompt(i, 20)))];
        gate.Open();
        Assert.All(generations, generation => Assert.IsType<IOException>(generation.Result.Error));
        Eventually.IsTrue(() => tiny.Engine.Status is { Failed: true, Running: 0, Waiting: 0 });
        Assert.IsType<IOException>(Assert.Throws<GemmaException>(() => tiny.Start(TinyEngine.Prompt(9, 10))).InnerException);
    }

    [Fact]
    public void DeadlineFailsTheRequest()
    {
        using TinyEngine tiny = new(TinyEngine.Exact with { MaxConcurrentRequests = 1 });
        Generation first = tiny.Start(TinyEngine.Prompt(0, 200), 300);
        Generation late = tiny.Start(TinyEngine.Prompt(1, 200), 300, timeout: TimeSpan.FromMilliseconds(1));
        Assert.IsType<TimeoutException>(late.Result.Error);
        Assert.Equal(EngineFinish.Length, first.Result.Finish);
    }

    /// <summary>What was done for a request before it was submitted, the compilation of its grammar above all, counts.</summary>
    [Fact]
    public void ATimeLimitBeginsBeforeTheSubmission()
    {
        using TinyEngine tiny = new();
        Generation generation = new(null);
        tiny.Engine.Submit(new GenerationRequest
        {
            Prompt = TinyEngine.Prompt(0, 20), Sink = generation, MaxOutputTokens = 5, Sampling = new SamplingOptions { Temperature = 0 }, StopTokens = [],
            Timeout = TimeSpan.FromHours(1), Began = System.Diagnostics.Stopwatch.GetTimestamp() - (2 * 3600 * System.Diagnostics.Stopwatch.Frequency),
        });
        Assert.IsType<TimeoutException>(generation.Result.Error);
        Assert.Empty(generation.Tokens);
    }

    [Fact]
    public void ATimeLimitWithoutEndIsNone()
    {
        using TinyEngine tiny = new();
        Assert.Equal(EngineFinish.Length, tiny.Start(TinyEngine.Prompt(0, 20), 5, timeout: TimeSpan.MaxValue).Result.Finish);
    }

    /// <summary>A prompt that is late is not read to its end: the step is given up between two layers, as for a cancelled one.</summary>
    [Fact]
    public void ATimeLimitIsSeenWithinAPrompt()
    {
        bool late = false;
        int products = 0, productsWhenLate = 0;
        using TinyEngine tiny = new(TinyEngine.Exact with { PrefillChunk = 256 }, wrap: inner => new FaultTests.FaultyBackend(inner)
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
        Generation generation = tiny.Start(TinyEngine.Prompt(0, 256), 5, timeout: TimeSpan.FromMilliseconds(100));
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
        List<string> order = new();
        using TinyEngine tiny = new(TinyEngine.Exact with { MaxConcurrentRequests = concurrent });
        using Gate gate = new();
        List<Generation> generations = [tiny.Start(TinyEngine.Prompt(0, 10), 2, caller: "flood", onToken: _ => gate.Pass())];
        gate.WaitUntilReached();
        generations.AddRange(Enumerable.Range(0, 30).Select(i => Submit("flood", i)));
        generations.AddRange(Enumerable.Range(0, 4).Select(i => Submit("b", 50 + i)));
        generations.AddRange(Enumerable.Range(0, 4).Select(i => Submit(null, 60 + i)));
        gate.Open();
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
        List<string> order = new();
        using TinyEngine tiny = new(TinyEngine.Exact with { MaxConcurrentRequests = 2 });
        List<Generation> generations = new();
        using Gate gate = new();
        generations.Add(tiny.Start(TinyEngine.Prompt(0, 10), 60, caller: "a", onToken: _ => gate.Pass()));
        gate.WaitUntilReached();
        Submit("a1", 10, 0, "a");
        Submit("a2", 11, 0, "a");
        Submit("b1", 12, 0, "b");
        Submit("urgent", 13, 1, "a");
        gate.Open();
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
        using TinyEngine tiny = new();
        Generation generation = tiny.Start(TinyEngine.Prompt(0, 50), 50);
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(30));
        await tiny.Engine.StopAsync(deadline.Token);
        Assert.Equal(EngineFinish.Length, generation.Result.Finish);
        Assert.Throws<ObjectDisposedException>(() => tiny.Start(TinyEngine.Prompt(0, 50)));
    }

    [Fact]
    public async Task StopEndsWhatIsNotFinishedInTime()
    {
        using TinyEngine tiny = new();
        Generation generation = tiny.Start(TinyEngine.Prompt(0, 50), 400, onToken: _ =>
        {
            Thread.Sleep(20);
            return true;
        });
        using CancellationTokenSource deadline = new();
        Task stopping = tiny.Engine.StopAsync(deadline.Token);
        Assert.Throws<GemmaOverloadedException>(() => tiny.Start(TinyEngine.Prompt(0, 50)));
        deadline.Cancel();
        await stopping;
        Assert.Equal(EngineFinish.Failed, generation.Result.Finish);
    }

    [Fact]
    public void IdleEngineTakesNoSteps()
    {
        using TinyEngine tiny = new();
        tiny.Generate(TinyEngine.Prompt(0, 10), 5);
        long steps = tiny.Engine.Steps;
        Thread.Sleep(200);
        Assert.InRange(tiny.Engine.Steps, steps, steps + 1);
    }

    internal static EngineOptions Small(int blocks)
    {
        // Chunks are as large on a slow machine, so that memory runs out at the same token.
        EngineOptions options = TinyEngine.Exact with { BlockTokens = 16, PrefillChunk = 32, MixedStepTarget = TimeSpan.FromHours(1) };
        return options with { KvCacheBytes = blocks * new Gemma.Extensions.AI.Backends.KvLayout(2, 2, 64, 16, options.KvType).BlockBytes };
    }

    internal static void AssertNothingHeld(TinyEngine tiny)
    {
        EngineStatus status = tiny.Engine.Status;
        Assert.Equal((0, 0, 0), (status.Running, status.Waiting, status.UsedBlocks));
    }

    /// <summary>Its disk is full.</summary>
    private sealed class ThrowingLogger : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (logLevel == LogLevel.Error)
            {
                throw new IOException("No space left on device");
            }
        }
    }

    private sealed class CountingSink(Func<int, bool> onToken) : GenerationSink
    {
        public ManualResetEventSlim Done { get; } = new();
        public override bool OnToken(int token) => onToken(token);
        public override void OnCompleted(GenerationResult result) => Done.Set();
    }
}
