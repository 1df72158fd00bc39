using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Orleans.Wire;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Lora;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Orleans.Runtime;
using Orleans.TestingHost;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>Nodes fall silent, are drained, replaced and overloaded while they answer.</summary>
public class FailoverTests(TalkativeNodes nodes) : IClassFixture<TalkativeNodes>
{
    private static readonly string[] s_questions = [.. Enumerable.Range(0, 8).Select(i => $"Question {i}: what do {i + 2} rivers say to the sea?")];

    private static readonly ChatOptions s_long = new() { Temperature = 1.4f, TopK = 0, TopP = 0.98f, Seed = 4, MaxOutputTokens = 300 };

    private static readonly ChatOptions s_calls = new()
    {
        Temperature = 2, TopK = 0, TopP = 1, Seed = 9, MaxOutputTokens = 300, ToolMode = ChatToolMode.RequireAny,
        Tools = [AIFunctionFactory.CreateDeclaration("pick", "Picks.", System.Text.Json.JsonElement.Parse("""{"type":"object","properties":{"colors":{"type":"array","items":{"enum":["red","green"]},"minItems":9,"maxItems":12}},"required":["colors"]}"""))],
    };

    [Theory]
    [InlineData(0, false)]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(4, false)]
    [InlineData(0, true)]
    [InlineData(1, true)]
    public async Task ANodeThatFallsSilentIsFollowedByAnotherAndTheCallerSeesAPauseOnly(int batches, bool callsTools)
    {
        TinyCluster cluster = nodes.Cluster;
        ChatOptions options = callsTools ? s_calls : s_long;
        ChatResponse undisturbed = await TinyModel.Client().GetResponseAsync(s_questions[0], options);
        cluster.Faults.CutAfter(batches);
        ChatResponse answer = await cluster.Client(heartbeat: 1).GetStreamingResponseAsync(s_questions[0], options).ToChatResponseAsync();
        Assert.Equal(Show(undisturbed), Show(answer));
        Assert.Equal(undisturbed.Usage!.OutputTokenCount, answer.Usage!.OutputTokenCount);
        Assert.NotNull(cluster.Faults.Cut);
        cluster.Faults.Heal();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ASiloThatIsKilledOrStopsLosesNoAnswer(bool isKilled)
    {
        await using TinyCluster cluster = await TinyCluster.StartAsync(3);
        string[] undisturbed = await AnswersAsync(TinyModel.Client());
        Task<string[]> answers = AnswersAsync(cluster.Client(heartbeat: isKilled ? 1 : 10));
        InProcessSiloHandle busy = await cluster.BusyAsync();
        await (isKilled ? cluster.Cluster.KillSiloAsync(busy) : cluster.Cluster.StopSiloAsync(busy));
        Assert.Equal(undisturbed, await answers);
    }

    /// <summary>An Orleans client sends what is for one grain through one gateway. Where that does not answer, the node behind it is there all the same, and may be the only one.</summary>
    [Fact]
    public async Task ANodeThatOneGatewayDoesNotReachIsAskedThroughAnother()
    {
        await using TinyCluster cluster = await TinyCluster.StartAsync(1);
        string undisturbed = (await TinyModel.Client().GetResponseAsync(s_questions[0], s_long)).Text;
        cluster.Faults.LostWay = 0;
        ChatResponse answer = await cluster.Client(heartbeat: 3, failover: 60).GetStreamingResponseAsync(s_questions[0], s_long).ToChatResponseAsync();
        cluster.Faults.Heal();
        Assert.Equal(undisturbed, answer.Text);
        await Eventually.IsTrueAsync(() => cluster.Service<GemmaNode>(cluster.Silos[0]).RunningCalls == 0);
    }

    [Fact]
    public async Task ANodeThatIsDrainedHandsItsAnswersOver()
    {
        await using TinyCluster cluster = await TinyCluster.StartAsync(2);
        string[] undisturbed = await AnswersAsync(TinyModel.Client());
        for (int round = 0; round < 3; round++)
        {
            Task<string[]> answers = AnswersAsync(cluster.Client());
            if (round == 1)
            {
                InProcessSiloHandle drained = await cluster.BusyAsync();
                await cluster.Service<GemmaNode>(drained).DrainAsync();
                HealthCheckResult health = await new NodeHealthCheck(cluster.Service<NodeModels>(drained), cluster.Service<NodeJobs>(drained), cluster.Service<ClusterView>(drained)).CheckHealthAsync(new HealthCheckContext());
                Assert.Equal((HealthStatus.Degraded, 2), (health.Status, (int)health.Data["tiny.nodes"]));
                Assert.True(cluster.Service<GemmaNode>(drained).IsDraining);
                await Eventually.IsTrueAsync(() => cluster.Service<GemmaNode>(drained).RunningCalls == 0); // one may have been on its way, and is refused
            }

            Assert.Equal(undisturbed, await answers);
        }
    }

    [Fact]
    public async Task ANodeThatIsDrainedKeepsAnswersWithAnAdapterThatNoOtherHas()
    {
        using TempDirectory folder = new();
        using ModelFile file = ModelFile.Open(TinyModel.Path);
        await using TinyCluster cluster = await TinyCluster.StartAsync(2);
        GemmaNode only = cluster.Service<GemmaNode>(cluster.Silos[0]);
        await only.AddAdapterAsync("tiny", "law", new RandomAdapter(file.Config).WriteGguf(folder.File("law.gguf")));
        await cluster.WaitAsync(view => view.Nodes.Any(node => node.Models[0].FindAdapter("law") is not null));
        GemmaModel model = cluster.Model(cluster.Silos[0]);
        Dictionary<int, float> endless = new() { [model.Tokenizer.EosId] = float.NegativeInfinity, [model.Tokenizer.EndOfTurnId] = float.NegativeInfinity };
        ChatOptions options = s_long.Clone();
        options.RawRepresentationFactory = _ => new GemmaGenerationOptions { Adapter = "law", LogitBias = endless };
        string undisturbed = (await model.AsIChatClient().GetResponseAsync(s_questions[0], options)).Text;
        Task? draining = null;
        List<string> said = [];
        await foreach (ChatResponseUpdate update in cluster.Client(failover: 10).GetStreamingResponseAsync(s_questions[0], options))
        {
            said.Add(update.Text);
            draining ??= only.DrainAsync();
        }

        Assert.Equal(undisturbed, string.Concat(said));
        await draining!;
    }

    [Fact]
    public async Task WeightsAreReplacedNodeByNodeWithoutAFailedCall()
    {
        await using TinyCluster cluster = await TinyCluster.StartAsync(2);
        GemmaOptions other = new() { ModelPath = TestData.Local("gguf/tiny-Q8_0.gguf"), Threads = 1 };
        using GemmaModel replaced = GemmaModel.Load(other.ModelPath, other);
        string[] before = await AnswersAsync(TinyModel.Client()), after = await AnswersAsync(replaced.AsIChatClient());
        Assert.NotEqual(before, after);
        Task<string[]>[] rounds = [AnswersAsync(cluster.Client()), AnswersAsync(cluster.Client()), AnswersAsync(cluster.Client())];
        foreach (InProcessSiloHandle silo in cluster.Silos)
        {
            await cluster.Service<GemmaNode>(silo).AddModelAsync("tiny", other);
        }

        foreach (string[] answers in await Task.WhenAll(rounds))
        {
            Assert.All(answers.Select((answer, i) => (answer, i)), pair => Assert.Contains(pair.answer, (string[])[before[pair.i], after[pair.i]]));
        }

        Assert.Equal(after, await AnswersAsync(cluster.Client()));
        Assert.True(await cluster.Service<GemmaNode>(cluster.Silos[0]).RemoveModelAsync("tiny"));
        Assert.Empty(cluster.Service<GemmaNode>(cluster.Silos[0]).Models);
        Assert.Equal(after, await AnswersAsync(cluster.Client()));
    }

    [Fact]
    public async Task WhatAnotherNodeComputesOtherwiseBeginsAgainOrEndsWithAReason()
    {
        await using TinyCluster cluster = await TinyCluster.StartAsync(2, (number, node) => node.AddModel("tiny", number == 0 ? TinyModel.Path : TestData.Local("gguf/tiny-Q8_0.gguf")).Threads = 1);
        cluster.Faults.CutAfter(0); // before anything was delivered
        Assert.NotEmpty((await cluster.Client(heartbeat: 1).GetResponseAsync(s_questions[0], s_long)).Text);
        cluster.Faults.Heal();
        cluster.Faults.CutAfter(1);
        List<string> delivered = [];
        GemmaHandoverException e = await Assert.ThrowsAsync<GemmaHandoverException>(async () =>
        {
            await foreach (ChatResponseUpdate update in cluster.Client(heartbeat: 1, failover: 5).GetStreamingResponseAsync(s_questions[0], s_long))
            {
                delivered.Add(update.Text);
            }
        });
        Assert.NotEmpty(delivered);
        Assert.Contains("sha256:", e.Message, StringComparison.Ordinal);
        Assert.Equal((503, false), (ServerError.From(e).Status, ServerError.From(e).Message.Contains("sha256", StringComparison.Ordinal))); // a server tells its log, not its clients, of machines
    }

    [Fact]
    public async Task AFullNodeSendsCallsToOthersAndAFullClusterSaysSoInNumbers()
    {
        await using TinyCluster cluster = await TinyCluster.StartAsync(3, (_, node) =>
        {
            GemmaOptions model = node.AddModel("tiny", TinyModel.Path);
            (model.Threads, model.MaxConcurrentRequests, model.MaxQueuedRequests) = (1, 1, 1);
        });
        // Each node takes two; whatever their order, six are answered, and the rest is refused or comes after.
        Task<ChatResponse>[] all = [.. Enumerable.Range(0, 24).Select(i => cluster.Client().GetResponseAsync($"{i} rivers", s_long))];
        await Task.WhenAll(all).ContinueWith(_ => { });
        Assert.True(all.Count(task => task.IsCompletedSuccessfully) >= 6);
        Exception[] refused = [.. all.Where(task => task.IsFaulted).Select(task => task.Exception!.InnerException!)];
        Assert.NotEmpty(refused);
        Assert.All(refused, e => Assert.Contains("of 3 nodes", Assert.IsType<GemmaOverloadedException>(e).Message, StringComparison.Ordinal));
    }

    [Fact]
    public async Task ACallerWhoVanishesLeavesNoWork()
    {
        TinyCluster cluster = nodes.Cluster;
        await cluster.IdleAsync();
        InProcessSiloHandle silo = cluster.Silos[1];
        GemmaEngine engine = cluster.Model(silo).Engine;
        using StuckSink stuck = new();
        engine.Submit(new GenerationRequest { Prompt = [2, 300], Sink = stuck, MaxOutputTokens = 1 }); // nothing ends by itself meanwhile
        WireRequest request = new() { Attempt = Guid.NewGuid(), Model = "tiny", Messages = [new WireMessage { Role = "user", Contents = [new WireContent { Text = "Hello" }] }], IsStreaming = true };
        RequestContext.Set(RouteHints.Key, new RouteHints { Model = "tiny", Target = silo.SiloAddress.ToParsableString() });
        WireBatch first = await cluster.Cluster.Client.GetGrain<IEntryGrain>(request.Attempt.ToString("N")).BeginAsync(request);
        RequestContext.Clear();
        Assert.Equal((WireState.Running, silo.SiloAddress.ToParsableString()), (first.State, first.Node));
        await Eventually.IsTrueAsync(() => cluster.Service<NodeJobs>(silo).Count == 0);
        Assert.True(engine.Status.Running + engine.Status.Waiting > 0);
        stuck.Release();
        await Eventually.IsTrueAsync(() => engine.Status.Running + engine.Status.Waiting == 0);
        Assert.Equal(WireState.Gone, (await cluster.Cluster.Client.GetGrain<INodeGrain>(NodePlacement.KeyOf(first.Node)).ReadAsync(request.Attempt, 2)).State);
    }

    /// <summary>By the node's own clock, so that a slow machine does not matter: at worst it waits a heartbeat for something to tell, then for the next question, then for the next look.</summary>
    [Fact]
    public async Task ANodeStopsWithinASecondAfterTheLastQuestion()
    {
        ManualClock clock = new();
        await using TinyCluster cluster = await TinyCluster.StartAsync(1, more: builder => builder.ConfigureSilo((_, silo) => silo.Services.AddSingleton(NodeTimes.Default with { Clock = clock })));
        NodeJobs jobs = cluster.Service<NodeJobs>(cluster.Silos[0]);
        using StuckSink stuck = new();
        cluster.Model(cluster.Silos[0]).Engine.Submit(new GenerationRequest { Prompt = [2, 300], Sink = stuck, MaxOutputTokens = 1 }); // the call has nothing to tell
        WireRequest request = new() { Attempt = Guid.NewGuid(), Model = "tiny", Messages = [new WireMessage { Role = "user", Contents = [new WireContent { Text = "Hello" }] }], IsStreaming = true };
        Task<WireBatch> first = jobs.BeginAsync(request, new RouteHints { Model = "tiny" });
        clock.Advance(NodeTimes.Default.Heartbeat);
        Assert.Equal(WireState.Running, (await first).State);
        Task<WireBatch> last = jobs.ReadAsync(request.Attempt, 2); // the caller vanishes behind this
        clock.Advance(NodeTimes.Default.Heartbeat);
        Assert.Empty((await last).Parts);
        clock.Advance(NodeTimes.Default.ReaderTimeout);
        Assert.Equal(1, jobs.Count); // a caller may be as slow as that
        clock.Advance(NodeTimes.SweepInterval);
        Assert.Equal(0, jobs.Count);
        Assert.True(NodeTimes.Default.Heartbeat + NodeTimes.Default.ReaderTimeout + NodeTimes.SweepInterval < TimeSpan.FromSeconds(1));
    }

    [Fact]
    public async Task TurnsComeHomeAndConversationsThatGoOnToWhereTheirBeginningIsWarm()
    {
        TinyCluster cluster = nodes.Cluster;
        ChatOptions brief = new() { Temperature = 0, MaxOutputTokens = 8 };
        List<ChatMessage> conversation = [new(ChatRole.User, string.Join(' ', Enumerable.Range(0, 16).Select(i => $"Stone {i}.")))];
        for (int turn = 0; turn < 3; turn++)
        {
            await cluster.IdleAsync(); // a busy home sends calls on
            ChatResponse answer = await cluster.Client().GetResponseAsync(conversation, brief);
            long before = turn == 0 ? 0 : answer.Usage!.InputTokenCount!.Value - 40;
            Assert.True(answer.Usage!.CachedInputTokenCount >= before, $"turn {turn}: {answer.Usage.CachedInputTokenCount} of {answer.Usage.InputTokenCount} tokens were warm");
            conversation.AddRange(answer.Messages);
            conversation.Add(new ChatMessage(ChatRole.User, "And then?"));
        }

        // Others that begin the same, with other first questions and so other homes, are sent on to that node once its summary has come.
        string instructions = string.Join(' ', Enumerable.Range(0, 40).Select(i => $"Rule {i}."));
        ChatOptions ruled = new() { Temperature = 0, MaxOutputTokens = 4, Instructions = instructions };
        await cluster.Client().GetResponseAsync("First question", ruled);
        int[] prompt = [.. ChatTurn(ruled)];
        await cluster.WaitAsync(view => view.Nodes.Any(node => Router.WarmTokens(node.Models[0], null, new RoutedPrompt(prompt)) >= prompt.Length - 64));
        for (int i = 0; i < 6; i++)
        {
            await cluster.IdleAsync();
            ChatResponse other = await cluster.Client().GetResponseAsync([new(ChatRole.User, $"Question {i}"), new(ChatRole.Assistant, "Yes."), new(ChatRole.User, "And?")], ruled);
            Assert.True(other.Usage!.CachedInputTokenCount > other.Usage.InputTokenCount - 140, $"{i}: {other.Usage.CachedInputTokenCount} of {other.Usage.InputTokenCount}");
        }

        static int[] ChatTurn(ChatOptions options) => AI.Chat.ChatTurn.Render(TinyModel.Model, [new ChatMessage(ChatRole.User, "First question")], options).Tokens;
    }

    private static async Task<string[]> AnswersAsync(IChatClient client) =>
        [.. (await Task.WhenAll(s_questions.Select(question => client.GetStreamingResponseAsync(question, s_long).ToChatResponseAsync()))).Select(answer => answer.Text)];

    private static string Show(ChatResponse response) => string.Concat(response.Messages.SelectMany(message => message.Contents).Select(content =>
        content is FunctionCallContent call ? $"[{call.Name} {System.Text.Json.JsonSerializer.Serialize(call.Arguments)}]" : (content as TextContent)?.Text));

    /// <summary>Keeps an engine's thread until it is let go.</summary>
    private sealed class StuckSink : GenerationSink, IDisposable
    {
        private readonly ManualResetEventSlim _released = new();

        public void Release() => _released.Set();

        public override bool OnToken(int token)
        {
            _released.Wait();
            return true;
        }

        public override void OnCompleted(GenerationResult result)
        {
        }

        public void Dispose() => _released.Set();
    }
}
