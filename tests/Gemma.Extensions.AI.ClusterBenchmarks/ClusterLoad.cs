using System.Diagnostics;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>Conversations at once, greedy and seeded, each answer compared with the undisturbed one.</summary>
internal sealed class ClusterLoad
{
    private const int Questions = 24;

    private readonly (string Question, ChatOptions Options, string Text)[] _cases;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();

    private ClusterLoad((string, ChatOptions, string)[] cases) => _cases = cases;

    public int Right { get; private set; }

    public int Wrong { get; private set; }

    public int Failed { get; private set; }

    public TimeSpan LongestPause { get; private set; }

    public List<string> Errors { get; } = [];

    public int Done => Right + Wrong + Failed;

    /// <summary>Works out what is right with a model in this process.</summary>
    public static async Task<ClusterLoad> CreateAsync(GemmaModel model, int tokens)
    {
        using IChatClient client = model.AsIChatClient();
        List<(string, ChatOptions, string)> cases = [];
        for (int i = 0; i < Questions; i++)
        {
            string question = $"Tell me {i + 2} things about {(i % 3 == 0 ? "rivers" : i % 3 == 1 ? "houses and gardens" : "the winter")}, and why.";
            ChatOptions options = i % 2 == 0 ? new ChatOptions { Temperature = 0, MaxOutputTokens = tokens } : new ChatOptions { Temperature = 1.3f, TopK = 0, Seed = i, MaxOutputTokens = tokens };
            cases.Add((question, options, (await client.GetResponseAsync(question, options)).Text));
        }

        return new ClusterLoad([.. cases]);
    }

    /// <summary>Runs until it is stopped, or so many answers are done.</summary>
    /// <param name="client">Who is asked.</param>
    /// <param name="conversations">Questions at a time.</param>
    /// <param name="most">Answers after which it ends by itself.</param>
    /// <param name="seed">Which questions are drawn.</param>
    /// <param name="think">The longest time between an answer and the next question; it is drawn evenly.</param>
    public Task RunAsync(IChatClient client, int conversations, int most = int.MaxValue, int seed = 0, TimeSpan think = default) => Task.WhenAll(Enumerable.Range(0, conversations).Select(async number =>
    {
        Random random = new((1000 * seed) + number);
        while (!_stop.IsCancellationRequested && Done < most)
        {
            (string question, ChatOptions options, string text) = _cases[random.Next(_cases.Length)];
            await AskAsync(client, question, options, text);
            await Task.Delay(think * random.NextDouble());
        }
    }));

    public void Stop() => _stop.Cancel();

    private async Task AskAsync(IChatClient client, string question, ChatOptions options, string expected)
    {
        List<string> said = [];
        TimeSpan longest = TimeSpan.Zero;
        try
        {
            long last = Stopwatch.GetTimestamp();
            await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(question, options))
            {
                longest = Stopwatch.GetElapsedTime(last) is var gap && gap > longest ? gap : longest;
                last = Stopwatch.GetTimestamp();
                said.Add(update.Text);
            }

            lock (_lock)
            {
                bool right = string.Concat(said) == expected;
                (Right, Wrong) = (Right + (right ? 1 : 0), Wrong + (right ? 0 : 1));
                LongestPause = longest > LongestPause ? longest : LongestPause;
            }
        }
        catch (Exception e)
        {
            lock (_lock)
            {
                Failed++;
                Errors.Add(e.ToString());
            }
        }
    }
}
