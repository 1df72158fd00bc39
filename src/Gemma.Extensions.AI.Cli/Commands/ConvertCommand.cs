using System.CommandLine;
using System.Diagnostics;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Quantization;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma convert</c> and <c>gemma quantize</c>: write a model as GGUF of another type.</summary>
internal static class ConvertCommand
{
    private static string Types => string.Join(", ", QuantizationRecipe.All.Select(r => r.Name));

    public static Command Create()
    {
        Argument<string> input = new("model") { Description = "Hugging Face directory (or any model)." };
        Option<string> type = Type("bf16");
        type.DefaultValueFactory = _ => "bf16";
        return Build("convert", $"Write a checkpoint as one GGUF file, with its tokenizer and chat template.\n\nTypes: {Types}.\n\nExample:\n  gemma convert ./gemma-2-2b-it --output gemma-2-2b-it-bf16.gguf --type bf16\n  gemma convert ./gemma-2-2b-it --lora ./adapter --output merged.gguf", input, type,
            new("--lora") { Description = "Adapter to merge into the weights: a directory that PEFT saved, or a GGUF adapter.", HelpName = "path" });
    }

    public static Command CreateQuantize()
    {
        Argument<string> input = new("model") { Description = "GGUF file (or any model), best in F32, BF16 or F16." };
        Option<string> type = Type("Q4_K_M");
        type.Required = true;
        return Build("quantize", $"Write a model in a smaller type.\n\nTypes: {Types}.\n\nExample:\n  gemma quantize gemma-2-2b-it-bf16.gguf --type Q4_K_M --output gemma-2-2b-it-Q4_K_M.gguf", input, type);
    }

    private static Option<string> Type(string example) => new("--type") { Description = $"Type of the new file, e.g. {example}.", HelpName = "type" };

    private static Command Build(string name, string description, Argument<string> input, Option<string> type, Option<string?>? adapter = null)
    {
        Option<string> output = new("--output", "-o") { Description = "Path of the new file.", HelpName = "path", Required = true };
        Option<string?> importance = new("--imatrix") { Description = "Importance matrix that 'gemma imatrix' (or llama.cpp) collected.", HelpName = "path" };
        Option<int?> threads = CommonOptions.Threads();
        threads.Description = "Threads that compute. Default: all.";
        Command command = new(name, description) { input, output, type, importance, threads };
        if (adapter is not null)
        {
            command.Add(adapter);
        }

        command.SetAction((parsed, cancellationToken) => Task.Run(
            () => Run(parsed.Host(), parsed.GetRequiredValue(input), parsed.GetRequiredValue(type), parsed.GetRequiredValue(output), parsed.GetValue(importance), adapter is null ? null : parsed.GetValue(adapter), parsed.GetValue(threads), cancellationToken),
            CancellationToken.None));
        return command;
    }

    private static void Run(CliInvocation host, string input, string type, string output, string? importance, string? adapter, int? threads, CancellationToken cancellationToken)
    {
        if (threads is < 1)
        {
            throw new ArgumentException($"--threads is {threads}, expected at least 1.");
        }

        QuantizationRecipe recipe = QuantizationRecipe.Get(type);
        string path = ModelAliases.Find(input, out string? problem) ?? throw new GemmaModelFormatException(problem!);
        using ModelFile source = ModelFile.Open(path);
        if (source.Tensors.Values.Any(t => !t.Format.IsFloat) && !recipe.Default.IsFloat)
        {
            host.Error.WriteLine("gemma: warning: the model is quantised already; quantising it again adds up the errors. Take the original where you can.");
        }

        host.Warn(source);
        if (ModelConverter.IsForThisEngineOnly(source))
        {
            host.Error.WriteLine("gemma: warning: the model has a head of its own. This engine reads it from the new file; llama.cpp reads no such head of Gemma 2 and refuses the file.");
        }

        using LoraFile? lora = adapter is null ? null : LoraFile.Open(adapter);
        ImportanceMatrix? matrix = importance is null ? null : ImportanceMatrix.Load(importance);
        Stopwatch watch = Stopwatch.StartNew();
        using (ProgressLine line = new(host))
        {
            ModelConverter.Write(source, recipe, output, matrix, threads, new SynchronousProgress<ConversionProgress>(p => line.Show(p.Tensor, p.DoneElements, p.TotalElements)), cancellationToken, lora);
        }

        long before = source.Tensors.Values.Sum(t => t.ByteLength), after = new FileInfo(output).Length;
        host.Output.WriteLine($"{Path.GetFullPath(output)}: {recipe.Name}, {InspectCommand.Size(after)}, {100.0 * after / before:F0}% of the source, in {watch.Elapsed.TotalSeconds:F1} s");
    }
}
