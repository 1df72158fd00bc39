using Gemma.Extensions.AI.ClusterBenchmarks;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Tests.Chat;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>Nodes that are processes of their own, killed as by <c>kill -9</c>. Redis or PostgreSQL keeps the membership; skipped where it is not installed.</summary>
public class KilledNodeTests
{
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

    private static async Task OutliveAsync(MembershipStore store, int kills)
    {
        GemmaOptions one = new() { Threads = 1 };
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, one);
        (string Question, ChatOptions Options)[] asked = [.. Enumerable.Range(0, 8).Select(i => ($"{i} rivers?", new ChatOptions { Temperature = i % 2 == 0 ? 0 : 1.4f, TopK = 0, Seed = i, MaxOutputTokens = 300 }))];
        string[] undisturbed = [.. (await Task.WhenAll(asked.Select(call => model.AsIChatClient().GetResponseAsync(call.Question, call.Options)))).Select(answer => answer.Text)];
        await using ClusterProcesses cluster = new(Program(), TinyModel.Path, store: store);
        await cluster.StartAsync(3);
        using GemmaClusterChatClient client = new(cluster.Client, "model", new GemmaClusterOptions { FailoverTimeout = TimeSpan.FromSeconds(120) });

        // The second node dies while the first one's calls have found a new place.
        for (int kill = 0; kill < kills; kill++)
        {
            TaskCompletionSource begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
            Task<string[]> answers = Task.WhenAll(asked.Select(async call =>
            {
                List<string> said = [];
                await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(call.Question, call.Options))
                {
                    said.Add(update.Text);
                    begun.TrySetResult();
                }

                return string.Concat(said);
            }));
            await begun.Task;
            cluster.Kill(cluster.Nodes[0]);
            Assert.Equal(undisturbed, await answers);
        }
    }

    internal static string Program() =>
        Path.Combine(TestData.Repository, "tests", "Gemma.Extensions.AI.ClusterBenchmarks", "bin", AppContext.BaseDirectory.Contains("Debug", StringComparison.Ordinal) ? "Debug" : "Release", "net10.0", "Gemma.Extensions.AI.ClusterBenchmarks.dll");
}
