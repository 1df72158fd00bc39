using System.CommandLine;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma perplexity</c>: how well a model predicts a text.</summary>
internal static class PerplexityCommand
{
    public static Command Create()
    {
        Option<string?> model = CommonOptions.Model();
        Option<FileInfo> file = new("--file", "-f") { Description = "A UTF-8 text file.", HelpName = "path", Required = true };
        Option<int?> context = new("--context", "-c") { Description = $"Tokens of one window, the bos included. Default: {TextWindows.DefaultContext}, or the model's context if that is less.", HelpName = "tokens" };
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
            GemmaOptions options = new() { Threads = parsed.GetValue(threads), Kernel = parsed.GetValue(kernel), Device = parsed.GetRequiredValue(device), GpuLayers = parsed.GetValue(gpuLayers), KvCacheType = GemmaKvCacheType.F32, PrefixCache = false };
            using GemmaModel loaded = parsed.Host().Load(CommonOptions.ModelOrDefault(parsed.GetValue(model)), options, cancellationToken);
            int window = TextWindows.Length(parsed.GetValue(context), loaded.ContextLength);
            NllReader total = new();
            foreach (int[] ids in TextWindows.Read(loaded.Tokenizer, parsed.GetRequiredValue(file).FullName, window, loaded.ContextLength, most: null))
            {
                total.Begin(ids);
                await loaded.Engine.EvaluateAsync(ids[..^1], total, cancellationToken);
            }

            double mean = total.Sum / total.Count;
            parsed.Host().Output.WriteLine(parsed.GetValue(json)
                ? new JsonObject { ["perplexity"] = Math.Exp(mean), ["mean_nll"] = mean, ["tokens"] = total.Count, ["context"] = window }.ToJsonString()
                : $"perplexity {Math.Exp(mean):F4} (mean negative log likelihood {mean:F6} over {total.Count:N0} tokens, windows of {window:N0})");
        });
        return command;
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
            Sum += TokenLogProbabilities.LogSumExp(values) - values[_ids[position + 1]];
            Count++;
        }
    }
}
