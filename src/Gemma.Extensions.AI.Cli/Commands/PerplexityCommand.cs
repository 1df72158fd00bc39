using System.CommandLine;
using System.Numerics.Tensors;
using System.Text.Json;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma perplexity</c>: how well a model predicts a text.</summary>
internal static class PerplexityCommand
{
    private const int DefaultContext = 512;

    public static Command Create()
    {
        Option<string?> model = CommonOptions.Model();
        Option<FileInfo> file = new("--file", "-f") { Description = "A UTF-8 text file.", HelpName = "path", Required = true };
        Option<int?> context = new("--context", "-c") { Description = $"Tokens of one window, the bos included. Default: {DefaultContext}, or the model's context if that is less.", HelpName = "tokens" };
        Option<int?> threads = CommonOptions.Threads();
        Option<string?> kernel = CommonOptions.Kernel();
        Option<string> device = CommonOptions.Device();
        Option<int?> gpuLayers = CommonOptions.GpuLayers();
        Option<bool> json = CommonOptions.Json();
        Command command = new("perplexity", "Measure how well a model predicts a text: exp of the mean negative log likelihood of its tokens. The text is cut into windows that do not overlap; each begins with bos, and every token after that counts.\n\nExample:\n  gemma perplexity --model gemma-2-2b-Q4_K_M.gguf --file wiki.test.raw --context 512")
        {
            model, file, context, threads, kernel, device, gpuLayers, json,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string text = await File.ReadAllTextAsync(parsed.GetRequiredValue(file).FullName, cancellationToken);
            GemmaOptions options = new() { Threads = parsed.GetValue(threads), Kernel = parsed.GetValue(kernel), Device = parsed.GetRequiredValue(device), GpuLayers = parsed.GetValue(gpuLayers), KvCacheType = GemmaKvCacheType.F32, PrefixCache = false };
            using GemmaModel loaded = parsed.Host().Load(CommonOptions.ModelOrDefault(parsed.GetValue(model)), options, cancellationToken);
            int window = parsed.GetValue(context) ?? Math.Min(DefaultContext, loaded.ContextLength);
            if (window < 2 || window > loaded.ContextLength)
            {
                throw new ArgumentException($"--context is {window:N0}, expected 2 to {loaded.ContextLength:N0} tokens for '{loaded.ModelId}'.");
            }

            List<int> tokens = [];
            loaded.Tokenizer.Encode(text, tokens, matchSpecial: false);
            if (tokens.Count == 0)
            {
                throw new ArgumentException($"'{parsed.GetRequiredValue(file).FullName}' holds no text to measure.");
            }

            NllReader total = await MeasureAsync(loaded, tokens, window, cancellationToken);
            double mean = total.Sum / total.Count;
            parsed.Host().Output.WriteLine(parsed.GetValue(json)
                ? JsonSerializer.Serialize(new { perplexity = Math.Exp(mean), mean_nll = mean, tokens = total.Count, context = window })
                : $"perplexity {Math.Exp(mean):F4} (mean negative log likelihood {mean:F6} over {total.Count:N0} tokens, windows of {window:N0})");
        });
        return command;
    }

    private static async Task<NllReader> MeasureAsync(GemmaModel model, List<int> tokens, int window, CancellationToken cancellationToken)
    {
        NllReader total = new();
        for (int start = 0; start < tokens.Count; start += window - 1)
        {
            int[] ids = [model.Tokenizer.BosId, .. tokens.GetRange(start, Math.Min(window - 1, tokens.Count - start))];
            total.Begin(ids);
            await model.Engine.EvaluateAsync(ids[..^1], total, cancellationToken);
        }

        return total;
    }

    /// <summary>Sums -log p(next token) over the positions of a window; the logits of position i predict token i + 1.</summary>
    private sealed class NllReader : RowReader
    {
        private int[] _ids = [];

        public double Sum { get; private set; }

        public long Count { get; private set; }

        public override int FirstPosition => 0;

        public override bool WantsHidden => false;

        public void Begin(int[] ids) => _ids = ids;

        public override void OnRow(int position, ReadOnlySpan<float> values)
        {
            float max = TensorPrimitives.Max(values);
            double sum = 0;
            foreach (float value in values)
            {
                sum += Math.Exp(value - max);
            }

            Sum += Math.Log(sum) - (values[_ids[position + 1]] - max);
            Count++;
        }
    }
}
