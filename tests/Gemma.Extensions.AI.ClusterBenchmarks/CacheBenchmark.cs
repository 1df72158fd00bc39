using Gemma.Extensions.AI.Orleans;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>Chats of several turns, a few at a time, whose keys and values together fill three nodes: which share of their prompts is warm.</summary>
internal static class CacheBenchmark
{
    private const long NodeBytes = 24_000_000;

    public static async Task<int> RunAsync(int chats, int turns)
    {
        double one, random, cluster;
        using (GemmaModel whole = Load(3 * NodeBytes))
        using (IChatClient client = whole.AsIChatClient())
        {
            one = await ShareAsync(_ => client, chats, turns);
        }

        GemmaModel[] parts = [Load(NodeBytes), Load(NodeBytes), Load(NodeBytes)];
        IChatClient[] clients = [.. parts.Select(part => part.AsIChatClient())];
        Random dice = new(5);
        random = await ShareAsync(_ =>
        {
            lock (dice)
            {
                return clients[dice.Next(3)];
            }
        }, chats, turns);
        Array.ForEach(parts, part => part.Dispose());
        await using (ClusterProcesses processes = new(typeof(CacheBenchmark).Assembly.Location, "nano", NodeBytes))
        {
            await processes.StartAsync(3);
            using GemmaClusterChatClient client = new(processes.Client, "model");
            using MoveCounter moves = new();
            cluster = await ShareAsync(_ => client, chats, turns);
            Console.WriteLine($"moves: {moves}");
        }

        Console.WriteLine($"{chats} chats of {turns} turns, {NodeBytes / 1e6:0} MB of keys and values a node: {cluster:P1} of prompt tokens warm over three nodes, {one:P1} on one with the memory of three, {random:P1} placed at random on three; {cluster / one:0.000} of the one.");
        return cluster >= 0.95 * one ? 0 : 1;
    }

    private static GemmaModel Load(long bytes) => GemmaModel.Load("nano", new GemmaOptions { Threads = 1, KvCacheBytes = bytes });

    private static async Task<double> ShareAsync(Func<int, IChatClient> client, int chats, int turns)
    {
        List<ChatMessage>[] histories = [.. Enumerable.Range(0, chats).Select(chat => new List<ChatMessage> { new(ChatRole.System, "You are a patient helper who answers briefly and in plain words. " + string.Join(' ', Enumerable.Range(0, 12).Select(i => $"Rule {i}: be kind."))) })];
        long prompt = 0, cached = 0;
        for (int turn = 0; turn < turns; turn++)
        {
            await Parallel.ForEachAsync(Enumerable.Range(0, chats), new ParallelOptions { MaxDegreeOfParallelism = 6 }, async (chat, _) =>
            {
                histories[chat].Add(new ChatMessage(ChatRole.User, $"This is chat {chat}, question {turn}: what do you think of {(chat + turn) % 7} rivers and {(chat * turn) % 5} houses in winter?"));
                ChatResponse answer = await client(chat).GetResponseAsync(histories[chat], new ChatOptions { Temperature = 0, MaxOutputTokens = 24 });
                histories[chat].AddRange(answer.Messages);
                Interlocked.Add(ref prompt, answer.Usage!.InputTokenCount!.Value);
                Interlocked.Add(ref cached, answer.Usage.CachedInputTokenCount ?? 0);
            });
        }

        return (double)cached / prompt;
    }
}
