using System.CommandLine;
using System.Globalization;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma logits</c>: the model's raw output, for comparing implementations.</summary>
internal static class LogitsCommand
{
    public static Command Create()
    {
        Option<string?> model = CommonOptions.Model();
        Option<string> tokens = new("--tokens") { Description = "Token ids, separated by commas; the bos has to be among them.", HelpName = "ids", Required = true };
        Option<FileInfo> output = new("--output", "-o") { Description = "The safetensors file to write: tensor 'logits', float32 [tokens, vocabulary].", HelpName = "path", Required = true };
        Option<string?> lora = CommonOptions.Lora();
        Option<int?> threads = CommonOptions.Threads();
        Option<string?> kernel = CommonOptions.Kernel();
        Option<string> device = CommonOptions.Device();
        Option<int?> gpuLayers = CommonOptions.GpuLayers();
        Command command = new("logits", "Write the logits of every position, after the final soft cap.\n\nExample:\n  gemma logits --model gemma-2-2b --tokens 2,4521,235269,2134 --output logits.safetensors")
        {
            model, tokens, output, lora, threads, kernel, device, gpuLayers,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            int[] ids = ParseIds(parsed.GetRequiredValue(tokens));
            if (ids.Length == 0)
            {
                throw new ArgumentException("--tokens names no token. Expected numbers separated by commas, e.g. 2,4521.");
            }

            GemmaOptions options = new() { Threads = parsed.GetValue(threads), Kernel = parsed.GetValue(kernel), Device = parsed.GetRequiredValue(device), GpuLayers = parsed.GetValue(gpuLayers), KvCacheType = GemmaKvCacheType.F32, PrefixCache = false };
            string? adapter = options.AddLora(parsed.GetValue(lora));
            using GemmaModel loaded = parsed.Host().Load(CommonOptions.ModelOrDefault(parsed.GetValue(model)), options, cancellationToken);
            int vocabulary = loaded.Config.VocabularySize;
            if (ids.FirstOrDefault(id => id >= vocabulary, -1) is >= 0 and int bad)
            {
                throw new ArgumentException($"The token id {bad} is not in the vocabulary of '{loaded.ModelId}', whose ids are 0 to {vocabulary - 1:N0}.");
            }

            LogitsReader reader = new(ids.Length, vocabulary);
            await loaded.Engine.EvaluateAsync(ids, reader, cancellationToken, loaded.FindAdapter(adapter));
            SafetensorsWriter writer = new();
            writer.AddInt32s("tokens", [ids.Length], ids);
            writer.AddSingles("logits", [ids.Length, vocabulary], reader.Values);
            writer.Save(parsed.GetRequiredValue(output).FullName);
        });
        return command;
    }

    private static int[] ParseIds(string list) =>
        [.. list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(item =>
            int.TryParse(item, NumberStyles.None, CultureInfo.InvariantCulture, out int id)
                ? id
                : throw new ArgumentException($"'{item}' in --tokens is not a token id. Expected numbers separated by commas, e.g. 2,4521."))];

    private sealed class LogitsReader(int count, int vocabulary) : RowReader
    {
        public float[] Values { get; } = new float[(long)count * vocabulary];

        public override int FirstPosition => 0;

        public override bool WantsHidden => false;

        public override void OnRow(int position, ReadOnlySpan<float> values) => values.CopyTo(Values.AsSpan(position * vocabulary));
    }
}
