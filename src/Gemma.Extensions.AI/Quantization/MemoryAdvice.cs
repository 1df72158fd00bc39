using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Quantization;

/// <summary>Memory that a model needs, and memory that the machine has.</summary>
/// <param name="WeightBytes">The mapped weights. They are read from disk again where they do not stay in memory, which no one waits for gladly.</param>
/// <param name="KvBytes">Keys and values of one full context.</param>
/// <param name="ActivationBytes">Work space of the forward pass.</param>
/// <param name="Machine">Memory that the process may use: of the machine, or of the container's limit.</param>
internal sealed record MemoryAdvice(long WeightBytes, long KvBytes, long ActivationBytes, MachineMemory Machine)
{
    /// <summary>Rows of a step that work space is counted for.</summary>
    public const int PrefillRows = 256;

    public long NeededBytes => WeightBytes + KvBytes + ActivationBytes;

    public bool Fits => NeededBytes <= Machine.LimitBytes;

    /// <summary>True if it fits beside the processes that run now.</summary>
    public bool FitsNow => NeededBytes <= Machine.FreeBytes;

    /// <summary>Computes the needs of a model.</summary>
    /// <param name="config">The model.</param>
    /// <param name="weightBytes">Bytes of its tensors.</param>
    /// <param name="contextTokens">Tokens of context.</param>
    /// <param name="kvType">Storage type of keys and values.</param>
    /// <param name="machine">Memory to fit into; null: what this process may use.</param>
    public static MemoryAdvice For(GemmaConfig config, long weightBytes, int contextTokens, GemmaKvCacheType kvType, MachineMemory? machine = null)
    {
        int local = (config.LayerCount + 1) / 2;
        long rows = (long)local * Math.Min(contextTokens, config.SlidingWindow) + (long)(config.LayerCount - local) * contextTokens;
        long kv = 2 * rows * config.KvHeadCount * new KvLayout(1, config.KvHeadCount, config.HeadDim, 1, kvType).RowBytes;
        long row = 4L * config.HiddenSize + config.QuerySize * 2 + config.KvSize * 2 + 3L * config.FeedForwardSize;
        long activations = sizeof(float) * (PrefillRows * row + 16L * config.VocabularySize);
        return new MemoryAdvice(weightBytes, kv, activations, machine ?? MachineMemory.Read());
    }

    /// <summary>The largest recipe whose result would fit and is no larger than the present weights; null if there is none.</summary>
    public QuantizationRecipe? LargestThatFits(GemmaConfig config) => QuantizationRecipe.All
        .Where(recipe => recipe.Bytes(config) is var bytes && bytes < WeightBytes && bytes + KvBytes + ActivationBytes <= Machine.LimitBytes)
        .MaxBy(recipe => recipe.Bytes(config));

    /// <summary>One line for logs and people.</summary>
    public string Describe() =>
        $"needs {Gigabytes(NeededBytes)} ({Gigabytes(WeightBytes)} weights, {Gigabytes(KvBytes)} keys and values, {Gigabytes(ActivationBytes)} work space); "
        + $"{(Machine.IsContainer ? "the container" : "the machine")} has {Gigabytes(Machine.LimitBytes)}, of which {Gigabytes(Machine.FreeBytes)} are free";

    /// <summary>Advice on a model that does not fit.</summary>
    public string Advise(GemmaConfig config) => LargestThatFits(config) is { } smaller
        ? $"Take it as {smaller.Name} ({Gigabytes(smaller.Bytes(config))}), make that with 'gemma quantize', or take a shorter context."
        : "No quantisation of it would fit: take a smaller model or a shorter context.";

    /// <summary>Refuses what cannot fit.</summary>
    /// <exception cref="GemmaMemoryException">The model does not fit; the message names the largest type that would.</exception>
    public void ThrowIfTooLarge(string model, GemmaConfig config)
    {
        if (!Fits)
        {
            throw new GemmaMemoryException(
                $"'{model}' {Describe()}. {Advise(config)} To run it all the same, with weights read from disk again and again, set {nameof(GemmaOptions)}.{nameof(GemmaOptions.MemoryCheck)} to {nameof(GemmaMemoryCheck.Warn)}.",
                NeededBytes, Machine.LimitBytes);
        }
    }

    private static string Gigabytes(long bytes) => bytes >= 100_000_000 ? $"{bytes / 1e9:F1} GB" : $"{bytes / 1e6:F1} MB";
}
