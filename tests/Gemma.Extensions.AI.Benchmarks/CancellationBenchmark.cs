using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Benchmarks;

/// <summary>How long a cancelled call goes on: while a long prompt is read, and while an answer is generated.</summary>
internal static class CancellationBenchmark
{
    public static Command Create()
    {
        Option<string> model = new("--model", "-m") { Description = "GGUF file or Hugging Face directory.", Required = true };
        Option<int> promptTokens = new("--prompt-tokens") { Description = "Tokens of the prompt that is cancelled.", DefaultValueFactory = _ => 4000 };
        Option<int> repeat = new("--repeat") { Description = "Samples of each.", DefaultValueFactory = _ => 10 };
        Option<int?> threads = new("--threads", "-t") { Description = "Threads that compute." };
        Command command = new("cancellation", "Milliseconds from cancelling to OperationCanceledException, through IChatClient.\n\nExample:\n  cancellation --model 2b-q4_k.gguf --prompt-tokens 4000")
        {
            model, promptTokens, repeat, threads,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            using GemmaModel loaded = GemmaModel.Load(parsed.GetRequiredValue(model), new GemmaOptions { Threads = parsed.GetValue(threads), PrefixCache = false });
            using IChatClient client = loaded.AsIChatClient();
            string prompt = LongText(loaded, parsed.GetValue(promptTokens));
            Random random = new(1);
            List<double> inPrompt = [], inAnswer = [];
            for (int i = 0; i < parsed.GetValue(repeat); i++)
            {
                inPrompt.Add(await MeasureAsync(client, prompt, TimeSpan.FromMilliseconds(random.Next(300, 3000)), cancellationToken));
                inAnswer.Add(await MeasureAsync(client, "Hello", null, cancellationToken));
            }

            Console.WriteLine($"model {loaded.ModelId}, {loaded.KernelName}, {loaded.Threads} threads, prompt of {parsed.GetValue(promptTokens)} tokens");
            Print("in the prompt", inPrompt);
            Print("in the answer", inAnswer);
        });
        return command;
    }

    /// <summary>Milliseconds from the cancellation, after <paramref name="delay"/> or at the first update, to the exception.</summary>
    private static async Task<double> MeasureAsync(IChatClient client, string prompt, TimeSpan? delay, CancellationToken cancellationToken)
    {
        using CancellationTokenSource source = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        long cancelled = 0;
        Task timer = delay is { } time ? Task.Delay(time, cancellationToken).ContinueWith(_ => Cancel(), TaskScheduler.Default) : Task.CompletedTask;
        try
        {
            await foreach (ChatResponseUpdate _ in client.GetStreamingResponseAsync(prompt, new ChatOptions { MaxOutputTokens = 1000 }, source.Token))
            {
                if (delay is null && cancelled == 0)
                {
                    Cancel();
                }
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            await timer;
            return Stopwatch.GetElapsedTime(cancelled).TotalMilliseconds;
        }

        throw new InvalidOperationException("The call ended before it was cancelled. Use a longer prompt.");

        void Cancel()
        {
            cancelled = Stopwatch.GetTimestamp();
            source.Cancel();
        }
    }

    private static string LongText(GemmaModel model, int tokens)
    {
        Random random = new(12345);
        List<int> ids = [];
        string text = "";
        while (ids.Count < tokens)
        {
            text += string.Concat(Enumerable.Range(0, 100).Select(_ => $"{random.Next(100)} rivers ran past {random.Next(1000)} doors. "));
            ids.Clear();
            model.Tokenizer.Encode(text, ids, matchSpecial: false);
        }

        return model.Tokenizer.Decode(ids.Take(tokens));
    }

    private static void Print(string what, List<double> samples)
    {
        samples.Sort();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what}: median {samples[samples.Count / 2]:F1} ms, worst {samples[^1]:F1} ms ({string.Join(" ", samples.Select(s => s.ToString("F0", CultureInfo.InvariantCulture)))})"));
    }
}
