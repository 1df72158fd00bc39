using Gemma.Extensions.AI.ClusterBenchmarks;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Tests.Chat;
using Microsoft.Extensions.AI;
using Orleans.Runtime;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>Nodes that are processes of their own, killed as by <c>kill -9</c>. Redis or PostgreSQL keeps the membership; skipped where it is not installed.</summary>
public class KilledNodeTests
{
    private static readonly (string Question, ChatOptions Options)[] s_asked =
        [.. Enumerable.Range(0, 8).Select(i => ($"{i} rivers?", new ChatOptions { Temperature = i % 2 == 0 ? 0 : 1.4f, TopK = 0, Seed = i, MaxOutputTokens = 300 }))];

    private static readonly GemmaClusterOptions s_patient = new() { FailoverTimeout = TimeSpan.FromSeconds(120) };

    [Fact]
    public Task AnswersOutliveTheProcessThatBeganThem()
    {
        Assert.SkipUnless(MembershipStore.OfRedis.IsInstalled, "redis-server is not installed (Debian: redis-server); it keeps the membership of the cluster.");
        return OutliveAsync(new MembershipStore.OfRedis(), kills: 2);
    }

    [Fact]
    public Task AnswersOutliveItWithPostgreSqlToo()
    {
        Assert.SkipUnless(MembershipStore.OfPostgres.IsInstalled, "PostgreSQL is not installed (Debian: postgresql); it keeps the membership of the cluster.");
        return OutliveAsync(new MembershipStore.OfPostgres(), kills: 1);
    }

    /// <summary>Cut off for longer than Orleans takes to vote it out, it learns so when it is back, and ends: somebody has to start it again.</summary>
    [Fact]
    public async Task ANodeThatWasAwayForTooLongEndsWhenItIsBack()
    {
        Assert.SkipUnless(MembershipStore.OfRedis.IsInstalled, "redis-server is not installed (Debian: redis-server); it keeps the membership of the cluster.");
        string[] undisturbed = await UndisturbedAsync();
        await using ClusterProcesses cluster = new(Program(), TinyModel.Path);
        await cluster.StartAsync(2);
        using GemmaClusterChatClient client = new(cluster.Client, "model", s_patient);
        NodeProcess away = cluster.Nodes[0];
        (Task begun, Task<string[]> answers) = Ask(client);
        await begun;
        await away.PauseAsync();
        Assert.Equal(undisturbed, await answers);
        await Eventually.IsTrueAsync(IsVotedOutAsync);
        await away.ResumeAsync();
        using CancellationTokenSource late = new(TimeSpan.FromMinutes(2));
        await away.EndAsync(late.Token);
        Assert.Equal(undisturbed, await Ask(client).Answers);

        // By a grain of another key each time: one may be with the node that does not answer.
        async Task<bool> IsVotedOutAsync()
        {
            try
            {
                IManagementGrain management = cluster.Client.GetGrain<IManagementGrain>(Random.Shared.NextInt64());
                return (await management.GetHosts(onlyActive: true).WaitAsync(TimeSpan.FromSeconds(2))).Count == 1;
            }
            catch (Exception e) when (e is TimeoutException or OrleansException)
            {
                return false;
            }
        }
    }

    private static async Task OutliveAsync(MembershipStore store, int kills)
    {
        string[] undisturbed = await UndisturbedAsync();
        await using ClusterProcesses cluster = new(Program(), TinyModel.Path, store: store);
        await cluster.StartAsync(3);
        using GemmaClusterChatClient client = new(cluster.Client, "model", s_patient);

        // The second node dies while the first one's calls have found a new place.
        for (int kill = 0; kill < kills; kill++)
        {
            (Task begun, Task<string[]> answers) = Ask(client);
            await begun;
            cluster.Kill(cluster.Nodes[0]);
            Assert.Equal(undisturbed, await answers);
        }
    }

    private static async Task<string[]> UndisturbedAsync()
    {
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, new GemmaOptions { Threads = 1 });
        return await Ask(model.AsIChatClient()).Answers;
    }

    /// <summary>Asks all questions at once. Begun: the first word has come.</summary>
    private static (Task Begun, Task<string[]> Answers) Ask(IChatClient client)
    {
        TaskCompletionSource begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Task<string[]> answers = Task.WhenAll(s_asked.Select(async call =>
        {
            List<string> said = [];
            await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(call.Question, call.Options))
            {
                said.Add(update.Text);
                begun.TrySetResult();
            }

            return string.Concat(said);
        }));
        return (begun.Task, answers);
    }

    internal static string Program() =>
        Path.Combine(TestData.Repository, "tests", "Gemma.Extensions.AI.ClusterBenchmarks", "bin", AppContext.BaseDirectory.Contains("Debug", StringComparison.Ordinal) ? "Debug" : "Release", "net10.0", "Gemma.Extensions.AI.ClusterBenchmarks.dll");
}
