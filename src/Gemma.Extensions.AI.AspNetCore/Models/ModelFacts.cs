using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.AspNetCore.Models;

/// <summary>Facts about a Gemma model from its files, without loading it.</summary>
internal sealed record ModelFacts
{
    /// <summary>gguf or safetensors.</summary>
    public required string Format { get; init; }

    /// <summary>Bytes of its tensors.</summary>
    public required long Bytes { get; init; }

    /// <summary>Number of its weights.</summary>
    public required long Parameters { get; init; }

    /// <summary>The type that most bytes of it have.</summary>
    public required string Quantization { get; init; }

    /// <summary>Tokens that it was trained for.</summary>
    public required int ContextLength { get; init; }

    public required int HiddenSize { get; init; }

    public required int FeedForwardSize { get; init; }

    public required int LayerCount { get; init; }

    public required int HeadCount { get; init; }

    public required int KvHeadCount { get; init; }

    public required int VocabularySize { get; init; }

    /// <summary>Its chat template; empty where it has none.</summary>
    public required string Template { get; init; }

    /// <summary>The recommended sampling parameters, one per line, as Ollama writes them.</summary>
    public required string Recommended { get; init; }

    /// <summary>When its file was last written.</summary>
    public required DateTimeOffset Modified { get; init; }

    /// <summary>Tells it apart from other files, in the form of a SHA-256: of its path, size and time, not of its content, which takes long to read.</summary>
    public required string Digest { get; init; }

    /// <summary>The number of its weights for people: 2.6B.</summary>
    public string ParameterSize => Parameters switch
    {
        >= 1_000_000_000 => (Parameters / 1e9).ToString("0.0", CultureInfo.InvariantCulture) + "B",
        >= 1_000_000 => (Parameters / 1e6).ToString("0.0", CultureInfo.InvariantCulture) + "M",
        _ => (Parameters / 1e3).ToString("0.0", CultureInfo.InvariantCulture) + "K",
    };

    /// <summary>Reads a model's files; null where there is none that can be read.</summary>
    public static ModelFacts? Read(string path)
    {
        try
        {
            using ModelFile file = ModelFile.Open(path);
            long bytes = file.Tensors.Values.Sum(static tensor => tensor.ByteLength);
            DateTimeOffset modified = File.GetLastWriteTimeUtc(path);
            return new()
            {
                Format = Directory.Exists(path) ? "safetensors" : "gguf",
                Bytes = bytes,
                Parameters = file.Config.ParameterCount,
                Quantization = file.Tensors.Values.GroupBy(static tensor => tensor.Format.Name).MaxBy(static group => group.Sum(static tensor => tensor.ByteLength))?.Key ?? "unknown",
                ContextLength = file.Config.ContextLength,
                HiddenSize = file.Config.HiddenSize,
                FeedForwardSize = file.Config.FeedForwardSize,
                LayerCount = file.Config.LayerCount,
                HeadCount = file.Config.HeadCount,
                KvHeadCount = file.Config.KvHeadCount,
                VocabularySize = file.Config.VocabularySize,
                Template = file.ReadChatTemplate()?.Text ?? "",
                Recommended = Describe(file.GenerationDefaults),
                Modified = modified,
                Digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{path}\n{bytes}\n{modified:O}"))),
            };
        }
        catch (Exception exception) when (exception is GemmaModelFormatException or IOException or UnauthorizedAccessException)
        {
            return null; // a request that needs the model is told why
        }
    }

    private static string Describe(GenerationDefaults defaults)
    {
        List<string> lines = [];
        Add("temperature", defaults.Temperature);
        Add("top_k", defaults.TopK);
        Add("top_p", defaults.TopP);
        return string.Join('\n', lines);

        void Add(string name, IFormattable? value)
        {
            if (value is not null)
            {
                lines.Add($"{name} {value.ToString(null, CultureInfo.InvariantCulture)}");
            }
        }
    }
}
