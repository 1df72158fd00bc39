using System.Diagnostics;
using System.Net.Http.Json;
using System.Net.ServerSentEvents;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Benchmarks.Server;

/// <summary>What users who asked at the same time got.</summary>
/// <param name="Seconds">From the first question to the last answer's end.</param>
/// <param name="Tokens">Tokens of all answers.</param>
/// <param name="FirstTokens">Seconds from each question to the first piece of its answer.</param>
internal sealed record LoadSample(double Seconds, long Tokens, double[] FirstTokens)
{
    public double Rate => Tokens / Seconds;

    public double FirstToken => Median(FirstTokens);

    public static double Median(IEnumerable<double> values) => values.Order().ToArray() is { Length: > 0 } sorted ? (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2 : double.NaN;
}

/// <summary>Users who ask at the same time, in process or by OpenAI's API, the same questions of the same length.</summary>
internal static class ServedLoad
{
    private static readonly string[] s_words = ["river", "house", "green", "morning", "paper", "window", "garden", "music", "winter", "letter", "bridge", "coffee"];

    /// <summary>Tokens that end an answer of Gemma 2, which are banned so that answers are of the same length, whatever the weights.</summary>
    private static readonly Dictionary<int, float> s_bans = new() { [1] = -100, [107] = -100 };

    /// <summary>Questions that have nothing in common but their length and the frame of a turn.</summary>
    public static string[] Questions(int seed, int users, int words)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, users).Select(_ => string.Join(' ', Enumerable.Range(0, words).Select(_ => s_words[random.Next(s_words.Length)])))];
    }

    public static Task<LoadSample> InProcessAsync(IChatClient client, string[] questions, int tokens) => RunAsync(questions, async (question, said) =>
    {
        GemmaGenerationOptions options = new() { Temperature = 0, MaxOutputTokens = tokens, LogitBias = s_bans.ToDictionary(ban => ban.Key, _ => float.NegativeInfinity) };
        long written = 0;
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(question, new ChatOptions { RawRepresentationFactory = _ => options }))
        {
            if (update.Text.Length > 0)
            {
                said();
            }

            written = update.Contents.OfType<UsageContent>().FirstOrDefault()?.Details.OutputTokenCount ?? written;
        }

        return written;
    });

    public static Task<LoadSample> HttpAsync(HttpClient http, string[] questions, int tokens) => RunAsync(questions, async (question, said) =>
    {
        using HttpRequestMessage request = new(HttpMethod.Post, "v1/chat/completions")
        {
            Content = JsonContent.Create(new
            {
                messages = new[] { new { role = "user", content = question } },
                temperature = 0,
                max_tokens = tokens,
                logit_bias = s_bans.ToDictionary(ban => $"{ban.Key}", ban => ban.Value),
                stream = true,
                stream_options = new { include_usage = true },
            }),
        };
        using HttpResponseMessage response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        if (!response.IsSuccessStatusCode)
        {
            throw new InvalidOperationException($"{(int)response.StatusCode}: {await response.Content.ReadAsStringAsync()}");
        }

        long written = 0;
        await foreach (SseItem<string> item in SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync())
        {
            if (item.Data == "[DONE]")
            {
                return written;
            }

            using JsonDocument chunk = JsonDocument.Parse(item.Data);
            JsonElement choices = chunk.RootElement.GetProperty("choices");
            if (choices.GetArrayLength() > 0 && choices[0].GetProperty("delta").TryGetProperty("content", out JsonElement content) && content.GetString() is { Length: > 0 })
            {
                said();
            }

            written = chunk.RootElement.TryGetProperty("usage", out JsonElement usage) && usage.ValueKind == JsonValueKind.Object ? usage.GetProperty("completion_tokens").GetInt64() : written;
        }

        throw new InvalidOperationException("The stream has no end.");
    });

    private static async Task<LoadSample> RunAsync(string[] questions, Func<string, Action, Task<long>> ask)
    {
        double[] first = new double[questions.Length];
        long start = Stopwatch.GetTimestamp();
        long[] tokens = await Task.WhenAll(questions.Select((question, i) => Task.Run(() => ask(question, () => first[i] = first[i] == 0 ? Stopwatch.GetElapsedTime(start).TotalSeconds : first[i]))));
        return new(Stopwatch.GetElapsedTime(start).TotalSeconds, tokens.Sum(), [.. first.Where(time => time > 0)]);
    }
}
