// AotMeasure MODEL PROMPT_TOKENS GENERATED [THREADS]: tokens a second of a prompt and of generation, and milliseconds of processor time a token of each, which says more where others use the machine; on the tier of GEMMA_KERNEL or the best; with PROMPT_TOKENS 0, the time from the start of the process to the first token.
using System.Diagnostics;
using System.Globalization;
using Gemma.Extensions.AI;
using Microsoft.Extensions.AI;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
int promptTokens = int.Parse(args[1]), generated = int.Parse(args[2]);
int? threads = args.Length > 3 ? int.Parse(args[3]) : null;
using GemmaModel model = GemmaModel.Load(args[0], new GemmaOptions { ContextLength = promptTokens == 0 ? 256 : 2 * promptTokens + generated + 128, PrefixCache = false, SpeculativeTokens = 0, Threads = threads });
IChatClient client = model.AsIChatClient();
if (promptTokens == 0)
{
    await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync("Hello, who are you?", new ChatOptions { Temperature = 0, MaxOutputTokens = 8 }))
    {
        if (update.Text.Length > 0)
        {
            double since = (DateTime.Now - Process.GetCurrentProcess().StartTime).TotalMilliseconds;
            Console.WriteLine($"first-token-ms {since:F0} peak-mb {Process.GetCurrentProcess().PeakWorkingSet64 / 1e6:F1}");
            break;
        }
    }

    return;
}

// Words that are a token each, whatever the vocabulary; the beginning is computed once before, so that the second time has no first use of anything in it.
string text = string.Concat(Enumerable.Range(0, promptTokens).Select(i => " " + (char)('a' + i * 7 % 26)));
double prompt = 0, generation = 0, promptTime = 0, generationTime = 0;
for (int round = 0; round < 2; round++)
{
    ChatOptions options = new() { Temperature = 0, MaxOutputTokens = generated };
    long started = Stopwatch.GetTimestamp(), first = 0;
    TimeSpan begin = Environment.CpuUsage.TotalTime, middle = default;
    ChatResponse response = await WithFirstAsync(client.GetStreamingResponseAsync(text, options), () => (first, middle) = (Stopwatch.GetTimestamp(), Environment.CpuUsage.TotalTime));
    double before = Stopwatch.GetElapsedTime(started, first).TotalSeconds, after = Stopwatch.GetElapsedTime(first).TotalSeconds;
    prompt = (double)response.Usage!.InputTokenCount! / before;
    generation = ((double)response.Usage.OutputTokenCount! - 1) / after;
    promptTime = 1e3 * (middle - begin).TotalSeconds / (double)response.Usage.InputTokenCount!;
    generationTime = 1e3 * (Environment.CpuUsage.TotalTime - middle).TotalSeconds / ((double)response.Usage.OutputTokenCount! - 1);
}

Console.WriteLine($"prompt {prompt:F1} generate {generation:F2} processor-ms {promptTime:F3} {generationTime:F2}");

static async Task<ChatResponse> WithFirstAsync(IAsyncEnumerable<ChatResponseUpdate> stream, Action first)
{
    List<ChatResponseUpdate> updates = [];
    await foreach (ChatResponseUpdate update in stream)
    {
        if (updates.Count == 0)
        {
            first();
        }

        updates.Add(update);
    }

    return updates.ToChatResponse();
}
