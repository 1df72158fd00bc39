using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma bench</c>: the speed of the whole engine, through the same queue as every request.</summary>
internal static class BenchCommand
{
    private const int WarmUpPromptTokens = 64;
    private const int WarmUpGeneratedTokens = 4;

    public static Command Create()
    {
        Option<string?> model = CommonOptions.Model();
        Option<int> promptTokens = new("--prompt-tokens") { Description = "Tokens of the measured prompt; 0 leaves it out.", DefaultValueFactory = _ => 512, HelpName = "n" };
        Option<int> generateTokens = new("--generate-tokens") { Description = "Tokens generated one after another; 0 leaves it out.", DefaultValueFactory = _ => 64, HelpName = "n" };
        Option<int> depth = new("--depth") { Description = "Tokens that are in the context already, for both measurements.", DefaultValueFactory = _ => 0, HelpName = "n" };
        Option<int> repeat = new("--repeat") { Description = "Samples of each measurement; the median is reported.", DefaultValueFactory = _ => 3, HelpName = "n" };
        Option<int?> threads = CommonOptions.Threads();
        Option<string?> kernel = CommonOptions.Kernel();
        Option<string> device = CommonOptions.Device();
        Option<int?> gpuLayers = CommonOptions.GpuLayers();
        Option<bool> ignoreMemory = CommonOptions.IgnoreMemory();
        Option<bool> hugePages = CommonOptions.HugePages();
        Option<bool> json = CommonOptions.Json();
        Command command = new("bench", "Measure prompt and generation speed. With random tokens, greedily, without speculation, after a warm-up.\n\nExample:\n  gemma bench --model gemma-2-2b-it-Q4_K_M.gguf --prompt-tokens 512 --generate-tokens 64 --threads 2 --json")
        {
            model, promptTokens, generateTokens, depth, threads, repeat, kernel, device, gpuLayers, ignoreMemory, hugePages, json,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            Plan plan = new(parsed.GetValue(promptTokens), parsed.GetValue(generateTokens), parsed.GetValue(depth), parsed.GetValue(repeat));
            plan.Check();
            GemmaOptions options = new()
            {
                Threads = parsed.GetValue(threads),
                Kernel = parsed.GetValue(kernel),
                Device = parsed.GetRequiredValue(device),
                GpuLayers = parsed.GetValue(gpuLayers),
                MemoryCheck = parsed.MemoryCheck(ignoreMemory),
                HugePages = parsed.GetValue(hugePages),
                MaxConcurrentRequests = 1,
                SpeculativeTokens = 0,
            };
            long started = Stopwatch.GetTimestamp();
            using GemmaModel loaded = parsed.Host().Load(CommonOptions.ModelOrDefault(parsed.GetValue(model)), options, cancellationToken);
            Report report = await MeasureAsync(loaded, plan, Stopwatch.GetElapsedTime(started).TotalSeconds, cancellationToken);
            TextWriter output = parsed.Host().Output;
            if (parsed.GetValue(json))
            {
                output.WriteLine(JsonSerializer.Serialize(report, CliJson.Default.Report));
                return;
            }

            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"model                         {report.model} ({report.kernel}, {report.threads} threads)"));
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"prompt_tokens_per_second      {report.prompt_tokens_per_second:F2}  ({plan.PromptTokens} tokens at depth {plan.Depth}: {Samples(report.prompt_samples)})"));
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"generate_tokens_per_second    {report.generate_tokens_per_second:F2}  ({plan.GenerateTokens} tokens at depth {plan.Depth}: {Samples(report.generate_samples)})"));
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"load_seconds                  {report.load_seconds:F3}"));
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"start_to_first_token_seconds  {report.start_to_first_token_seconds:F3}"));
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"peak_resident_bytes           {report.peak_resident_bytes}"));
        });
        return command;
    }

    private static async Task<Report> MeasureAsync(GemmaModel model, Plan plan, double loadSeconds, CancellationToken cancellationToken)
    {
        Random random = new(12345);
        int[] context = [model.Tokenizer.BosId, .. RandomTokens(random, model, plan.Depth)];
        if (context.Length + plan.PromptTokens + plan.GenerateTokens + 1 > model.ContextLength)
        {
            throw new ArgumentException($"{plan.Depth:N0} + {plan.PromptTokens:N0} + {plan.GenerateTokens:N0} tokens do not fit the context of '{model.ModelId}', {model.ContextLength:N0}. Ask for fewer.");
        }

        // The first token of the process, then what lazy preparation and tiered compilation take.
        await RunAsync(model, context[..1], 1, cancellationToken);
        double firstToken = (DateTime.Now - Process.GetCurrentProcess().StartTime).TotalSeconds;
        await RunAsync(model, [.. context, .. RandomTokens(random, model, Math.Min(WarmUpPromptTokens, Math.Max(1, plan.PromptTokens)))], 1 + WarmUpGeneratedTokens, cancellationToken);

        double[] prompts = new double[plan.PromptTokens > 0 ? plan.Repeat : 0];
        for (int i = 0; i < prompts.Length; i++)
        {
            // Fresh tokens each time: nothing but the depth may come from the prefix cache, and what does is not counted.
            TimingSink run = await RunAsync(model, [.. context, .. RandomTokens(random, model, plan.PromptTokens - (plan.Depth == 0 ? 1 : 0))], 1, cancellationToken);
            prompts[i] = (run.Result.PromptTokens - run.Result.CachedTokens) / run.SecondsTo(0);
        }

        double[] generations = new double[plan.GenerateTokens > 0 ? plan.Repeat : 0];
        for (int i = 0; i < generations.Length; i++)
        {
            TimingSink run = await RunAsync(model, context, plan.GenerateTokens + 1, cancellationToken);
            generations[i] = plan.GenerateTokens / (run.SecondsTo(plan.GenerateTokens) - run.SecondsTo(0));
        }

        return new Report(
            model.ModelId, model.KernelName, model.Threads, plan.PromptTokens, plan.GenerateTokens, plan.Depth,
            Median(prompts), Median(generations), prompts, generations, loadSeconds, firstToken, PeakResidentBytes());
    }

    private static async Task<TimingSink> RunAsync(GemmaModel model, int[] prompt, int tokens, CancellationToken cancellationToken)
    {
        TimingSink sink = new(tokens);
        model.Engine.Submit(new GenerationRequest
        {
            Prompt = prompt,
            Sink = sink,
            Sampling = new SamplingOptions { Temperature = 0 },
            MaxOutputTokens = tokens,
            CancellationToken = cancellationToken,
        });
        await sink.Completion;
        cancellationToken.ThrowIfCancellationRequested();
        return sink.Result.Error is { } error ? throw error : sink;
    }

    /// <summary>Any tokens after the control tokens: values do not matter for speed.</summary>
    private static int[] RandomTokens(Random random, GemmaModel model, int count)
    {
        int vocabulary = model.Config.VocabularySize;
        int first = Math.Min(vocabulary / 4, 1000);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(first, vocabulary))];
    }

    private static double Median(double[] samples)
    {
        if (samples.Length == 0)
        {
            return 0;
        }

        double[] sorted = [.. samples.Order()];
        int middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /// <summary>The most memory that the process ever had in RAM, mapped weights included.</summary>
    private static long PeakResidentBytes()
    {
        const string Status = "/proc/self/status";
        string? line = File.Exists(Status) ? File.ReadLines(Status).FirstOrDefault(text => text.StartsWith("VmHWM:", StringComparison.Ordinal)) : null;
        return line is null
            ? Process.GetCurrentProcess().PeakWorkingSet64
            : 1024 * long.Parse(line["VmHWM:".Length..^"kB".Length], NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture);
    }

    private static string Samples(double[] samples) => string.Join(" ", samples.Select(sample => sample.ToString("F2", CultureInfo.InvariantCulture)));

    private sealed record Plan(int PromptTokens, int GenerateTokens, int Depth, int Repeat)
    {
        public void Check()
        {
            if (PromptTokens < 0 || GenerateTokens < 0 || Depth < 0 || Repeat < 1)
            {
                throw new ArgumentException("--prompt-tokens, --generate-tokens and --depth must be 0 or more, --repeat 1 or more.");
            }
        }
    }

    /// <summary>The printed report; its names are those of the JSON.</summary>
    internal sealed record Report(
        string model, string kernel, int threads, int prompt_tokens, int generate_tokens, int depth,
        double prompt_tokens_per_second, double generate_tokens_per_second, double[] prompt_samples, double[] generate_samples,
        double load_seconds, double start_to_first_token_seconds, long peak_resident_bytes);

    private sealed class TimingSink(int tokens) : GenerationSink
    {
        private readonly long _started = Stopwatch.GetTimestamp();
        private readonly long[] _times = new long[tokens];
        private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _count;

        public Task Completion => _completion.Task;

        public GenerationResult Result { get; private set; } = null!;

        public double SecondsTo(int token) => Stopwatch.GetElapsedTime(_started, _times[token]).TotalSeconds;

        public override bool OnToken(int token)
        {
            _times[_count++] = Stopwatch.GetTimestamp();
            return true;
        }

        public override void OnCompleted(GenerationResult result)
        {
            Result = result;
            _completion.SetResult();
        }
    }
}
