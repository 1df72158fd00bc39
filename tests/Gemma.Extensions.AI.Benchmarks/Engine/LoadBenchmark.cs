using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Net.ServerSentEvents;
using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using WebChat;

namespace Gemma.Extensions.AI.Benchmarks.Engine;

/// <summary>Users at a web server: the sample WebChat over HTTP on loopback, 1 to 16 users at once, each asking one question after another.</summary>
internal static class LoadBenchmark
{
    private static readonly string[] s_words = ["river", "house", "green", "morning", "paper", "window", "garden", "music", "winter", "letter", "bridge", "coffee"];

    public static Command Create()
    {
        Option<string> model = new("--model") { Description = "Model that the server runs.", Required = true };
        Option<int?> threads = new("--threads") { Description = "Threads that compute; all physical cores where not given." };
        Option<int> tokens = new("--generate-tokens") { DefaultValueFactory = _ => 12, Description = "Longest answer." };
        Option<int> words = new("--prompt-words") { DefaultValueFactory = _ => 30, Description = "Words of a question." };
        Option<int> turns = new("--turns") { DefaultValueFactory = _ => 2, Description = "Questions of each user, one conversation." };
        Option<int[]> users = new("--users") { DefaultValueFactory = _ => [1, 2, 4, 8, 16], Description = "Numbers of users.", AllowMultipleArgumentsPerToken = true };
        Command command = new("load", "Latency of the sample WebChat over HTTP on loopback with 1 to 16 users.") { model, threads, tokens, words, turns, users };
        command.SetAction(async parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            await using WebApplication app = WebChatApp.Build(
            [
                "--urls=http://127.0.0.1:0", "--Logging:LogLevel:Default=Warning", $"--Gemma:ModelPath={parse.GetRequiredValue(model)}", "--Gemma:ContextLength=1024",
                $"--Gemma:Threads={parse.GetValue(threads)}", $"--Chat:MaxOutputTokens={parse.GetValue(tokens)}", "--Chat:QuestionsPerMinute=1000000", "--Chat:AnswersAtOnce=1000",
            ]);
            await app.StartAsync();
            using HttpClient http = new() { BaseAddress = new Uri(app.Urls.Single()), Timeout = TimeSpan.FromMinutes(10) };
            await ConverseAsync(http, new Random(0), 1, parse.GetValue(words), []); // loads the model
            Console.WriteLine($"{Path.GetFileName(parse.GetRequiredValue(model))}, {RuntimeInformation.FrameworkDescription}: questions of {parse.GetValue(words)} words, answers of at most {parse.GetValue(tokens)} tokens, {parse.GetValue(turns)} turns");
            Console.WriteLine();
            Console.WriteLine("| users | first token p50 | p99 | between tokens p50 | p99 | answer p50 | p99 | answers | tokens/s in total |");
            Console.WriteLine("|---|---|---|---|---|---|---|---|---|");
            foreach (int count in parse.GetValue(users)!)
            {
                Console.WriteLine(await MeasureAsync(http, count, parse.GetValue(turns), parse.GetValue(words)));
            }
        });
        return command;
    }

    private static async Task<string> MeasureAsync(HttpClient http, int users, int turns, int words)
    {
        List<TimedAnswer> answers = new();
        long start = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, users).Select(user => Task.Run(() => ConverseAsync(http, new Random(1000 * users + user), turns, words, answers))));
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        double[] first = [.. answers.Select(answer => answer.Pieces[0]).Order()];
        double[] gaps = [.. answers.SelectMany(answer => answer.Pieces.Zip(answer.Pieces.Skip(1), (a, b) => b - a)).Order()];
        double[] total = [.. answers.Select(answer => answer.Ended).Order()];
        return $"| {users} | {Ms(first, 0.5)} | {Ms(first, 0.99)} | {Ms(gaps, 0.5)} | {Ms(gaps, 0.99)} | {Ms(total, 0.5)} | {Ms(total, 0.99)} | {answers.Count} | {answers.Sum(answer => answer.Tokens) / seconds:0.0} |";
    }

    /// <summary>One user's conversation: each question brings everything before it.</summary>
    private static async Task ConverseAsync(HttpClient http, Random random, int turns, int words, List<TimedAnswer> answers)
    {
        List<(string Role, string Text)> messages = new();
        for (int turn = 0; turn < turns; turn++)
        {
            messages.Add(("user", string.Join(' ', Enumerable.Range(0, words).Select(_ => s_words[random.Next(s_words.Length)])) + "?"));
            (TimedAnswer answer, string text) = await AskAsync(http, messages);
            messages.Add(("assistant", text));
            lock (answers)
            {
                answers.Add(answer);
            }
        }
    }

    private static async Task<(TimedAnswer Answer, string Text)> AskAsync(HttpClient http, List<(string Role, string Text)> messages)
    {
        long start = Stopwatch.GetTimestamp();
        using HttpRequestMessage request = new(HttpMethod.Post, "v1/chat/completions")
        {
            Content = JsonContent.Create(new { messages = messages.Select(line => new { role = line.Role, content = line.Text }), stream = true, stream_options = new { include_usage = true } }),
        };
        using HttpResponseMessage response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        response.EnsureSuccessStatusCode();
        List<double> pieces = new();
        string text = "";
        long written = 0;
        await foreach (SseItem<string> item in SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync())
        {
            double now = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (item.Data == "[DONE]")
            {
                // An answer without text ends when its only token would have come.
                return (new TimedAnswer(pieces.Count > 0 ? pieces : [now], now, written), text);
            }

            JsonElement chunk = JsonElement.Parse(item.Data);
            written = chunk.TryGetProperty("usage", out JsonElement usage) ? usage.GetProperty("completion_tokens").GetInt64() : written;
            JsonElement choices = chunk.GetProperty("choices"); // an error has none
            if (choices.GetArrayLength() > 0 && choices[0].GetProperty("delta").TryGetProperty("content", out JsonElement piece) && piece.GetString() is { Length: > 0 } words)
            {
                pieces.Add(now);
                text += words;
            }
        }

        throw new InvalidOperationException("The stream ended without an end event.");
    }

    private static string Ms(double[] sorted, double quantile) =>
        sorted.Length == 0 ? "" : 1000 * sorted[Math.Min(sorted.Length - 1, (int)(quantile * sorted.Length))] is double ms && ms < 10 ? $"{ms:0.0} ms" : $"{ms:0} ms";

    /// <param name="Pieces">Seconds from the question to each piece of text; a piece is a token, or a few that make characters only together.</param>
    /// <param name="Ended">Seconds to the end.</param>
    /// <param name="Tokens">Tokens of the answer.</param>
    private sealed record TimedAnswer(List<double> Pieces, double Ended, long Tokens);
}
