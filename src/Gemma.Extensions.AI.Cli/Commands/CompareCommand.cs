using System.CommandLine;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Quantization;
using Spectre.Console;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma compare</c>: what a quantisation costs.</summary>
internal static class CompareCommand
{
    public static Command Create()
    {
        Argument<string> a = new("a") { Description = "The model that counts as right (the larger type)." };
        Argument<string> b = new("b") { Description = "The model to judge." };
        Option<string> file = new("--file", "-f") { Description = "A UTF-8 text file.", HelpName = "path", Required = true };
        Option<int?> context = new("--context", "-c") { Description = $"Tokens of one window. Default: {TextWindows.DefaultContext}. The logits of one window are held in memory.", HelpName = "tokens" };
        Option<int?> windows = new("--windows") { Description = "Most windows to compare. Default: the whole text.", HelpName = "n" };
        Option<int?> threads = CommonOptions.Threads();
        Option<string?> kernel = CommonOptions.Kernel();
        Option<string> device = CommonOptions.Device();
        Option<int?> gpuLayers = CommonOptions.GpuLayers();
        Option<bool> json = CommonOptions.Json();
        Command command = new("compare", "Compare two models of one vocabulary on a text: perplexity of both, divergence of their predictions, agreement on the first choice, size.\n\nExample:\n  gemma compare gemma-2-2b-bf16.gguf gemma-2-2b-Q4_K_M.gguf --file wiki.test.raw --windows 20")
        {
            a, b, file, context, windows, threads, kernel, device, gpuLayers, json,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            GemmaOptions options = new() { Threads = parsed.GetValue(threads), Kernel = parsed.GetValue(kernel), Device = parsed.GetRequiredValue(device), GpuLayers = parsed.GetValue(gpuLayers), PrefixCache = false };
            using GemmaModel right = parsed.Host().Load(parsed.GetRequiredValue(a), options, cancellationToken);
            using GemmaModel judged = parsed.Host().Load(parsed.GetRequiredValue(b), options, cancellationToken);
            if (right.Config.VocabularySize != judged.Config.VocabularySize)
            {
                throw new ArgumentException($"'{right.ModelId}' has {right.Config.VocabularySize:N0} tokens and '{judged.ModelId}' {judged.Config.VocabularySize:N0}: their predictions cannot be compared.");
            }

            int other = Enumerable.Range(0, Math.Min(right.Tokenizer.VocabularySize, judged.Tokenizer.VocabularySize)).FirstOrDefault(id => right.Tokenizer.GetPiece(id) != judged.Tokenizer.GetPiece(id), -1);
            if (other >= 0)
            {
                throw new ArgumentException($"Token {other} is '{right.Tokenizer.GetPiece(other)}' in '{right.ModelId}' and '{judged.Tokenizer.GetPiece(other)}' in '{judged.ModelId}': models of different vocabularies cannot be compared.");
            }

            List<int[]> texts = TextWindows.Read(right.Tokenizer, parsed.GetRequiredValue(file), parsed.GetValue(context), Math.Min(right.ContextLength, judged.ContextLength), parsed.GetValue(windows));
            texts.RemoveAll(t => t.Length < 2);
            ModelComparison result;
            using (ProgressLine line = new(parsed.Host()))
            {
                result = await ModelComparison.RunAsync(right.Engine, judged.Engine, texts, new SynchronousProgress<int>(done => line.Show("windows", done, texts.Count)), cancellationToken);
            }

            Print(parsed, json, right, judged, result);
        });
        return command;
    }

    private static void Print(ParseResult parsed, Option<bool> json, GemmaModel a, GemmaModel b, ModelComparison result)
    {
        long bytesA = a.File.Tensors.Values.Sum(t => t.ByteLength), bytesB = b.File.Tensors.Values.Sum(t => t.ByteLength);
        if (parsed.GetValue(json))
        {
            parsed.Host().Output.WriteLine(new JsonObject
            {
                ["a"] = a.Path, ["b"] = b.Path, ["tokens"] = result.Tokens, ["perplexity_a"] = result.PerplexityA, ["perplexity_b"] = result.PerplexityB,
                ["mean_kl"] = result.MeanDivergence, ["p99_kl"] = result.Divergence99, ["max_kl"] = result.MaxDivergence, ["top1_agreement"] = result.SameTop, ["bytes_a"] = bytesA, ["bytes_b"] = bytesB,
            }.ToJsonString());
            return;
        }

        Table table = new Table().Border(TableBorder.Rounded).AddColumn("").AddColumn(Markup.Escape(a.ModelId)).AddColumn(Markup.Escape(b.ModelId));
        table.AddRow("weights", InspectCommand.Size(bytesA), $"{InspectCommand.Size(bytesB)}, {100.0 * bytesB / bytesA:F0}%");
        table.AddRow("perplexity", $"{result.PerplexityA:F4}", $"{result.PerplexityB:F4} ({100 * (result.PerplexityB / result.PerplexityA - 1):+0.00;-0.00}%)");
        table.AddRow("mean divergence (nats)", "", $"{result.MeanDivergence:F5}");
        table.AddRow("99th percentile", "", $"{result.Divergence99:F5}");
        table.AddRow("largest", "", $"{result.MaxDivergence:F5}");
        table.AddRow("same first choice", "", $"{100 * result.SameTop:F2}%");
        table.Caption($"{result.Tokens:N0} predictions");
        AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(parsed.Host().Output) }).Write(table);
    }
}
