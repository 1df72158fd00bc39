using System.CommandLine;
using System.Text.RegularExpressions;
#if !AHEAD_OF_TIME
using Gemma.Extensions.AI.Training;
#endif
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>Puts the library's messages into words of the command line: <c>--model</c> instead of <c>ModelPath</c>.</summary>
internal static partial class OptionWords
{
    /// <summary>Options of the library by what they are called here.</summary>
    private static readonly Dictionary<string, string> s_names = new(StringComparer.Ordinal)
    {
        [nameof(GemmaOptions.ModelPath)] = "--model", [nameof(GemmaOptions.ContextLength)] = "--context", [nameof(GemmaOptions.Threads)] = "--threads", [nameof(GemmaOptions.Kernel)] = "--kernel",
        [nameof(GemmaOptions.Device)] = "--device", [nameof(GemmaOptions.GpuLayers)] = "--gpu-layers", [nameof(GemmaOptions.ChatFormat)] = "--chat-format", [nameof(GemmaOptions.Adapters)] = "--lora",
        [nameof(GemmaOptions.MaxConcurrentRequests)] = "--parallel", [nameof(GemmaOptions.IdleUnload)] = "--keep-alive", [nameof(GemmaOptions.MemoryBudget)] = "--memory", [nameof(GemmaOptions.HugePages)] = "--huge-pages",
        [nameof(ChatOptions.Temperature)] = "--temperature", [nameof(ChatOptions.Seed)] = "--seed", [nameof(ChatOptions.MaxOutputTokens)] = "--max-tokens",
        [nameof(GemmaHubOptions.Connections)] = "--connections", [nameof(GemmaHubOptions.Offline)] = "--offline",
#if !AHEAD_OF_TIME
        [nameof(GemmaTrainingOptions.Steps)] = "--steps", [nameof(GemmaTrainingOptions.MaxLength)] = "--length", [nameof(GemmaTrainingOptions.MicroBatchTokens)] = "--batch-tokens",
        [nameof(GemmaTrainingOptions.MicroBatches)] = "--micro-batches", [nameof(GemmaTrainingOptions.CheckpointEvery)] = "--checkpoint-every", [nameof(GemmaTrainingOptions.WarmupSteps)] = "--warmup",
        [nameof(GemmaTrainingOptions.TeacherLogits)] = "--top-k", [nameof(GemmaTrainingOptions.LearningRate)] = "--learning-rate", [nameof(GemmaTrainingOptions.ClipNorm)] = "--clip-norm",
        [nameof(GemmaTrainingOptions.TeacherShare)] = "--mix", [nameof(GemmaTrainingOptions.LoraRank)] = "--lora", [nameof(GemmaTrainingOptions.LoraAlpha)] = "--alpha",
#endif
    };

    /// <summary>Whole phrases that tell a program what to do.</summary>
    private static readonly (string Phrase, string Words)[] s_phrases =
    [
        ($" Set {nameof(GemmaOptions.ModelPath)} to {GemmaOptions.HowToGetAModel}", " Give --model a GGUF file or a Hugging Face directory; 'gemma pull' downloads one, 'gemma models' lists what is there, and 'nano' ships with gemma."),
        ($", or set {nameof(GemmaOptions)}.{nameof(GemmaOptions.AllowDownload)} to download it on first use", ""),
        ($"set {nameof(GemmaOptions)}.{nameof(GemmaOptions.MemoryCheck)} to {nameof(GemmaMemoryCheck.Warn)}", "give --ignore-memory"),
        ($"Use {nameof(GemmaModel)}.{nameof(GemmaModel.AsIEmbeddingGenerator)}", "Use 'gemma embed'"),
    ];

    /// <summary>The name of an option of the library on the command line, as it is where it has none.</summary>
    public static string Of(string name) => s_names.GetValueOrDefault(name, name);

    /// <summary>A message of the library, which tells what to change in a program, for who has the finished tool.</summary>
    public static string OfTool(string message)
    {
        foreach ((string phrase, string words) in s_phrases)
        {
            message = message.Replace(phrase, words, StringComparison.Ordinal);
        }

        return ProjectSetting().Replace(message, "'publish.sh FOLDER ${set}' compiles it in, and the gemma of 'dotnet tool install' has it");
    }

    /// <param name="message">A message of the library.</param>
    /// <param name="command">Only options that it has are named.</param>
    public static string Translate(string message, Command command)
    {
        message = OfTool(message);
        HashSet<string> known = [.. command.Options.Select(option => option.Name)];
        message = Name().Replace(message, match => s_names.TryGetValue(match.Groups["name"].Value, out string? option) && known.Contains(option) ? option : match.Value);
        return message.Replace("The model path is '", "--model is '", StringComparison.Ordinal);
    }

    [GeneratedRegex("<IlcInstructionSet>(?<set>[^<]+)</IlcInstructionSet> in its project compiles it in \\([^)]*\\)")]
    private static partial Regex ProjectSetting();

    // A word of the language counts as a name only where its class stands before it, or where something is said of its value.
    [GeneratedRegex(@"\b(?:(?:GemmaOptions|GemmaHubOptions|GemmaGenerationOptions|ChatOptions)\.(?<name>\w+)|(?<name>[A-Z][a-z]+(?:[A-Z][a-z]+)+)|(?<=^|[.;,] |and |and a )(?<name>[A-Z][a-z]+)(?= is |: | of ))\b")]
    private static partial Regex Name();
}
