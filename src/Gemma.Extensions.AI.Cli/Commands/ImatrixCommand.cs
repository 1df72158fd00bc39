using System.CommandLine;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma imatrix</c>: what matters to a model on a text.</summary>
internal static class ImatrixCommand
{
    public static Command Create()
    {
        Option<string?> model = CommonOptions.Model();
        Option<string> file = new("--file", "-f") { Description = "A UTF-8 text like what the model will be used for; a megabyte is plenty.", HelpName = "path", Required = true };
        Option<string> output = new("--output", "-o") { Description = "Path of the matrix.", HelpName = "path", DefaultValueFactory = _ => "imatrix.gguf" };
        Option<int?> context = new("--context", "-c") { Description = $"Tokens of one window. Default: {TextWindows.DefaultContext}.", HelpName = "tokens" };
        Option<int?> windows = new("--windows") { Description = "Most windows to read. Default: the whole text.", HelpName = "n" };
        Option<int?> threads = CommonOptions.Threads();
        Option<string?> kernel = CommonOptions.Kernel();
        Command command = new("imatrix", "Collect an importance matrix: how large the inputs of each weight are on a text. 'gemma quantize --imatrix' spends its precision there.\n\nExample:\n  gemma imatrix --model gemma-2-2b-it-bf16.gguf --file calibration.txt --output imatrix.gguf")
        {
            model, file, output, context, windows, threads, kernel,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string path = ModelAliases.Find(CommonOptions.ModelOrDefault(parsed.GetValue(model)), out string? problem) ?? throw new GemmaModelFormatException(problem!);
            string target = parsed.GetRequiredValue(output);
            CheckWritable(target);
            using ModelFile source = ModelFile.Open(path);
            parsed.Host().Warn(source);
            List<int[]> texts = TextWindows.Read(source.CreateTokenizer(), parsed.GetRequiredValue(file), parsed.GetValue(context), source.Config.ContextLength, parsed.GetValue(windows));
            using CpuBackend backend = CpuBackend.Create(new CpuBackendOptions { Threads = parsed.GetValue(threads), Kernel = parsed.GetValue(kernel) });
            using ImportanceCollector collector = new(backend);
            using (GemmaEngine engine = new(source.Config, GemmaWeights.Load(source, collector, null, cancellationToken), collector, new EngineOptions { PrefixCache = false, ContextLength = texts.Max(t => t.Length) }))
            using (ProgressLine line = new(parsed.Host()))
            {
                for (int i = 0; i < texts.Count; i++)
                {
                    await engine.EvaluateAsync(texts[i], new AllRows(), cancellationToken);
                    line.Show("windows", i + 1, texts.Count);
                }
            }

            collector.Matrix.Save(target, Path.GetFileName(parsed.GetRequiredValue(file)), texts.Count, texts.Max(t => t.Length));
            parsed.Host().Output.WriteLine($"{Path.GetFullPath(target)}: importance of {collector.Matrix.Names.Count} matrices from {texts.Sum(t => t.Length):N0} tokens");
        });
        return command;
    }

    /// <summary>Before hours of collecting rather than after.</summary>
    private static void CheckWritable(string path)
    {
        if (Directory.Exists(path))
        {
            throw new ArgumentException($"'{path}' is a directory. Give the path of the new file with --output.");
        }

        string probe = $"{path}.{Environment.ProcessId}.partial";
        File.WriteAllBytes(probe, []);
        File.Delete(probe);
    }

    /// <summary>Wants the logits of every position, so that the output head counts too.</summary>
    private sealed class AllRows : RowReader
    {
        public override int FirstPosition => 0;
        public override bool WantsHidden => false;
        public override void OnRow(int position, ReadOnlySpan<float> values)
        {
        }
    }
}
