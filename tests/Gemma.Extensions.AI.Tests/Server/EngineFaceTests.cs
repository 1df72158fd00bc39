using System.Globalization;
using System.Text.Json;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Engine;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>What the engine does is seen through every API: that it stops, and that nobody wants an answer any more.</summary>
public class EngineFaceTests
{
    [Theory]
    [MemberData(nameof(ApiForm.Names), MemberType = typeof(ApiForm))]
    public async Task AnEngineThatStopsIs503AndSaysWhenToComeBack(string name)
    {
        ApiForm api = ApiForm.Of(name);
        await using ModelServer server = await ModelServer.StartNanoAsync(map: ApiForm.MapAll);
        GemmaModel model = server.Services.GetRequiredService<IChatClient>().GetService<GemmaModel>()!;
        using CancellationTokenSource enough = new();
        ValueTask<bool> running = server.Services.GetRequiredService<IChatClient>().GetStreamingResponseAsync(
            "Hello!", new ChatOptions { RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = "[a-z ]{5000}" } }).GetAsyncEnumerator(CancellationToken.None).MoveNextAsync();
        Assert.True(await running);
        Task stopping = model.Engine.StopAsync(enough.Token);
        await RefusedAsync(); // while what runs may finish
        await enough.CancelAsync();
        await stopping;
        await RefusedAsync(); // and when all has ended

        async Task RefusedAsync()
        {
            foreach (bool streams in (bool[])[false, true])
            {
                using HttpResponseMessage response = await server.PostAsync(api.Path, api.Body("any", "Hello!", 4, streams));
                Assert.Equal(503, (int)response.StatusCode);
                Assert.InRange(int.Parse(response.Headers.GetValues("Retry-After").Single(), CultureInfo.InvariantCulture), 1, 60);
                Assert.Contains("shutting down", api.Error(JsonElement.Parse(await response.Content.ReadAsStringAsync())), StringComparison.Ordinal);
            }
        }
    }

    /// <summary>Steps of the model are let through one by one: none is begun after the one that was running when the client left.</summary>
    [Theory]
    [MemberData(nameof(ApiForm.Names), MemberType = typeof(ApiForm))]
    public async Task AClosedConnectionCancelsWithinAStep(string name)
    {
        ApiForm api = ApiForm.Of(name);
        foreach (bool streams in (bool[])[true, false])
        {
            using SemaphoreSlim begun = new(0), allowed = new(0);
            int steps = 0;
            TaskCompletionSource left = new(TaskCreationOptions.RunContinuationsAsynchronously);
            await using ModelServer server = await ModelServer.StartAsync(services => services.AddGemmaChatClient(options =>
            {
                (options.ModelPath, options.Kernel, options.SpeculativeTokens) = (TinyModel.Path, "reference", 0);
                Func<GemmaOptions, Backend> create = options.CreateBackend;
                options.CreateBackend = own => new FaultTests.FaultyBackend(create(own))
                {
                    BeforeEmbed = _ =>
                    {
                        Interlocked.Increment(ref steps);
                        begun.Release();
                        allowed.Wait(TimeSpan.FromMinutes(2)); // a test that fails elsewhere must not hang the engine
                    },
                };
            }).Use(inner => new Noticing(inner, left)), ApiForm.MapAll);
            GemmaModel model = server.Services.GetRequiredService<IChatClient>().GetService<GemmaModel>()!; // loaded, so that nothing waits between the request and the engine
            steps = 0;
            using CancellationTokenSource leave = new();
            Task<HttpResponseMessage> asking = server.PostAsync(api.Path, api.Body("any", "Hello there", 400, streams), leave.Token);
            for (int i = 0; i < 4; i++)
            {
                Assert.True(await begun.WaitAsync(TimeSpan.FromMinutes(1)));
                allowed.Release();
            }

            Assert.True(await begun.WaitAsync(TimeSpan.FromMinutes(1))); // the fifth step runs
            if (streams)
            {
                (await asking).Dispose(); // in the middle of the answer
            }
            else
            {
                await leave.CancelAsync();
                await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asking);
            }

            await left.Task.WaitAsync(TimeSpan.FromMinutes(1));
            allowed.Release(1000); // as many as it likes
            await Eventually.IsTrueAsync(() => model.Engine.Status is { Running: 0, Waiting: 0, UsedBlocks: 0 });
            Assert.Equal(5, Volatile.Read(ref steps));
        }
    }

    /// <summary>Says when a request was cancelled. It registers before the client does and is told after it: then the engine knows, too.</summary>
    private sealed class Noticing(IChatClient inner, TaskCompletionSource cancelled) : DelegatingChatClient(inner)
    {
        public override Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        {
            cancellationToken.Register(() => cancelled.TrySetResult());
            return base.GetResponseAsync(messages, options, cancellationToken);
        }

        public override IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        {
            cancellationToken.Register(() => cancelled.TrySetResult());
            return base.GetStreamingResponseAsync(messages, options, cancellationToken);
        }
    }
}
