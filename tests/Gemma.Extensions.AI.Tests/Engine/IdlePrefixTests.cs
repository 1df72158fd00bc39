using System.Collections.Concurrent;
using Gemma.Extensions.AI.Engine;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>What requests are going to begin with is computed while there are none, and never at their expense.</summary>
public sealed class IdlePrefixTests
{
    private const int Chunk = 64;
    private static EngineOptions Options => TinyEngine.Exact with { PrefillChunk = Chunk, MaxConcurrentRequests = 1, MaxQueuedRequests = 0, SpeculativeTokens = 0 };

    [Fact]
    public async Task PromptsAreWarmBeforeTheFirstRequest()
    {
        int[] one = TinyEngine.Prompt(1, 160), other = TinyEngine.Prompt(2, 90), rest = TinyEngine.Prompt(3, 20);
        using TinyEngine tiny = new(Options), cold = new(Options);
        await tiny.Engine.IdlePrefixes.Keep([one, other]);
        foreach (int[] prompt in (int[][])[one, other])
        {
            Generation generation = tiny.Start([.. prompt, .. rest], 8);
            Assert.Equal(prompt.Length, generation.Result.CachedTokens);
            Assert.Equal(cold.Generate([.. prompt, .. rest], 8), generation.Tokens);
        }
    }

    /// <summary>The steps are told apart by the tokens that they embed; a step that is given up multiplies less than a whole one.</summary>
    [Fact]
    public async Task ARequestEndsTheComputationInTheMiddleOfAStepAndLeavesWhatWasDone()
    {
        int[] prefix = TinyEngine.Prompt(1, 160), asked = TinyEngine.Prompt(2, 10);
        List<(int[] Tokens, int Products)> steps = [];
        TinyEngine? tiny = null;
        Generation? request = null;
        using TinyEngine engine = tiny = new(Options, wrap: inner => new FaultTests.FaultyBackend(inner)
        {
            BeforeEmbed = tokens =>
            {
                steps.Add((tokens.ToArray(), 0));
                if (steps.Count == 2)
                {
                    request = tiny!.Start(asked, 4); // accepted, though one request is all that there is place for
                }
            },
            BeforeProduct = (_, _) => steps[^1] = steps[^1] with { Products = steps[^1].Products + 1 },
        });
        await engine.Engine.IdlePrefixes.Keep([prefix]);
        Assert.Equal(EngineFinish.Length, request!.Result.Finish);
        await engine.Engine.IdlePrefixes.Keep([prefix]);

        Assert.Equal(prefix[..Chunk], steps[0].Tokens);
        Assert.Equal(prefix[Chunk..(2 * Chunk)], steps[1].Tokens);
        Assert.True(steps[1].Products < steps[0].Products, $"{steps[1].Products} of {steps[0].Products} products of the step were still computed.");
        Assert.Equal(asked[1..], steps[2].Tokens); // both begin with bos
        int next = steps.FindIndex(2, step => step.Tokens.Length > asked.Length);
        Assert.All(steps[3..next], step => Assert.Single(step.Tokens));
        Assert.Equal([prefix[Chunk..(2 * Chunk)], prefix[(2 * Chunk)..]], steps[next..].Select(step => step.Tokens));
        Assert.Equal(prefix.Length, engine.Start([.. prefix, .. asked], 2).Result.CachedTokens);
    }

    /// <summary>A request may be over before the computation gives way to it, and then ends no more.</summary>
    [Fact]
    public async Task TheComputationGoesOnAfterARequestThatIsOverAlready()
    {
        int[] prefix = TinyEngine.Prompt(1, 160);
        TinyEngine? tiny = null;
        int steps = 0;
        TaskCompletionSource<Task> rest = new();
        using TinyEngine engine = tiny = new(Options, wrap: inner => new FaultTests.FaultyBackend(inner)
        {
            BeforeEmbed = _ =>
            {
                if (++steps == 2)
                {
                    tiny!.Engine.IdlePrefixes.GiveWay(new GenerationRequest { Prompt = prefix, Sink = new CompletionSink() });
                    rest.SetResult(tiny.Engine.IdlePrefixes.Running);
                }
            },
        });
        await engine.Engine.IdlePrefixes.Keep([prefix]);
        await await rest.Task;
        Assert.Equal(prefix.Length, engine.Start([.. prefix, 5, 6, 7], 2).Result.CachedTokens);
    }

    /// <summary>A prompt that cannot be computed is left to the requests, and the log says so; not where the engine itself is lost and there will be none.</summary>
    [Theory]
    [InlineData(false, new[] { LogLevel.Error, LogLevel.Error, LogLevel.Warning })]
    [InlineData(true, new[] { LogLevel.Critical })]
    public async Task AFailureIsLoggedForWhatItIs(bool isLost, LogLevel[] expected)
    {
        FaultTests.FaultyBackend? backend = null;
        Levels log = new();
        using TinyEngine tiny = new(Options, wrap: inner => backend = new FaultTests.FaultyBackend(inner), logger: log);
        backend!.BeforeProduct = (_, _) =>
        {
            InvalidOperationException failure = new("no");
            backend.Lost = isLost ? failure : null;
            throw failure;
        };
        await tiny.Engine.IdlePrefixes.Keep([TinyEngine.Prompt(1, 100)]);
        Assert.Equal(isLost, tiny.Engine.Status.Failed);
        Assert.Equal(expected, log.Seen);
    }

    [Fact]
    public async Task NothingIsComputedThatIsThere()
    {
        int[] prefix = TinyEngine.Prompt(1, 100);
        int steps = 0;
        using TinyEngine tiny = new(Options, wrap: inner => new FaultTests.FaultyBackend(inner) { BeforeEmbed = _ => steps++ });
        await tiny.Engine.IdlePrefixes.Keep([prefix]);
        Assert.Equal(2, steps);
        await tiny.Engine.IdlePrefixes.Keep([prefix]);
        Assert.Equal(2, steps);
    }

    /// <summary>Whatever else is read: four times as much as there is memory for.</summary>
    [Fact]
    public async Task PromptsStayWarm()
    {
        int[] prefix = TinyEngine.Prompt(1, 100);
        using TinyEngine tiny = new(Options with { KvCacheBytes = 4 << 20 });
        await tiny.Engine.IdlePrefixes.Keep([prefix]);
        for (int i = 0, read = 0; read < 4 * tiny.Engine.Status.Blocks * Options.BlockTokens; i++)
        {
            read += 2 * tiny.Start(TinyEngine.Prompt(100 + i, 200), 2).Result.PromptTokens; // local and global layers
        }

        await tiny.Engine.IdlePrefixes.Keep([prefix]);
        Assert.Equal(prefix.Length, tiny.Start([.. prefix, 5, 6, 7], 2).Result.CachedTokens);
    }

    [Fact]
    public async Task AnAgentsInstructionsAndToolsAreWarm()
    {
        ChatOptions agent = new() { Instructions = "You are called Bob.", Tools = [AIFunctionFactory.Create((string city) => "x", "getWeather", "Gets the weather in a city.")] };
        GemmaOptions options = new() { Threads = 1 };
        options.Warm(agent);
        agent.Temperature = 0;
        agent.MaxOutputTokens = 4;
        using GemmaModel model = GemmaModel.Load("nano", options), cold = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });
        await model.Engine.IdlePrefixes.Running;
        ChatResponse response = await model.AsIChatClient().GetResponseAsync("What is the weather in Rome?", agent), other = await cold.AsIChatClient().GetResponseAsync("What is the weather in Rome?", agent);
        int said = model.Tokenizer.CountTokens("What is the weather in Rome?") + 8; // and the marks of the turns
        Assert.InRange(response.Usage!.CachedInputTokenCount ?? 0, response.Usage.InputTokenCount!.Value - said, response.Usage.InputTokenCount.Value - 1);
        Assert.True(response.Usage.InputTokenCount > 2 * said);
        Assert.Equal(0, other.Usage!.CachedInputTokenCount ?? 0);
    }

    [Fact]
    public void WhatCannotBeWarmIsRefused()
    {
        GemmaOptions off = new() { PrefixCache = false }, far = new() { ContextLength = 64, Threads = 1 };
        off.Warm(new ChatOptions());
        far.Warm(new ChatOptions { Instructions = string.Concat(Enumerable.Repeat("Be kind. ", 100)) });
        Assert.Contains("PrefixCache is off", Assert.Throws<ArgumentException>(() => GemmaModel.Load("nano", off)).Message, StringComparison.Ordinal);
        Assert.Throws<GemmaContextLengthException>(() => GemmaModel.Load("nano", far));
    }

    /// <summary>Registrations of one model add up.</summary>
    [Fact]
    public async Task RegisteredAgentsAreWarm()
    {
        ServiceCollection services = new();
        ChatOptions bob = new() { Instructions = "You are called Bob.", MaxOutputTokens = 2 }, ann = new() { Instructions = "Ann is your name, and all your answers are in capitals.", MaxOutputTokens = 2 };
        services.AddGemmaChatClient(options =>
        {
            (options.ModelPath, options.Threads) = ("nano", 1);
            options.Warm(bob);
        });
        services.AddGemmaChatClient(options => options.Warm(ann));
        await using ServiceProvider provider = services.BuildServiceProvider();
        IChatClient client = provider.GetRequiredService<IChatClient>();
        await client.GetRequiredService<GemmaModel>().Engine.IdlePrefixes.Running;
        foreach (ChatOptions agent in (ChatOptions[])[bob, ann])
        {
            UsageDetails usage = (await client.GetResponseAsync("Hello!", agent)).Usage!;
            Assert.InRange(usage.InputTokenCount!.Value - usage.CachedInputTokenCount!.Value, 1, 9); // what is said, and the marks of the turns
        }
    }

    /// <summary>One path is one model: registrations of it must warm the same.</summary>
    [Theory]
    [InlineData("You are called Bob.", true)]
    [InlineData("You are called Ann.", false)]
    public void RegistrationsThatWarmTheSameShareAModel(string instructions, bool share)
    {
        AITool[] tools = [AIFunctionFactory.Create(() => "x", "now")];
        ServiceCollection services = new();
        services.AddGemmaChatClient("nano", options => options.Warm(new ChatOptions { Instructions = "You are called Bob.", ToolMode = ChatToolMode.RequireAny, Tools = [.. tools] }));
        services.AddKeyedGemmaChatClient("again", "nano", options => options.Warm(new ChatOptions { Instructions = instructions, ToolMode = ChatToolMode.RequireAny, Tools = [.. tools] }));
        using ServiceProvider provider = services.BuildServiceProvider();
        Assert.NotNull(provider.GetRequiredService<IChatClient>());
        if (share)
        {
            Assert.NotNull(provider.GetRequiredKeyedService<IChatClient>("again"));
        }
        else
        {
            Assert.Contains("registered twice", Assert.Throws<InvalidOperationException>(() => provider.GetRequiredKeyedService<IChatClient>("again")).Message, StringComparison.Ordinal);
        }
    }

    private sealed class Levels : ILogger
    {
        public ConcurrentQueue<LogLevel> Seen { get; } = new();

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Seen.Enqueue(logLevel);
    }
}
