using Gemma.Extensions.AI.Backends;

namespace Gemma.Extensions.AI.Engine;

/// <summary>Configuration of an engine, filled from <c>GemmaOptions</c>.</summary>
internal sealed record EngineOptions
{
    /// <summary>Most prompt tokens of one step where a backend has kernels of their own for prompts: weights are unpacked once a step, which more rows share.</summary>
    public const int PromptKernelChunk = 512;

    /// <summary>Name of the model in metrics and traces.</summary>
    public string ModelName { get; init; } = "gemma";

    /// <summary>Most tokens of one sequence; null: what the model was trained for.</summary>
    public int? ContextLength { get; init; }

    /// <summary>Storage type of keys and values.</summary>
    public GemmaKvCacheType KvType { get; init; } = GemmaKvCacheType.F16;

    /// <summary>Bytes of key/value memory for running sequences and cached prefixes together, committed as it is used; null: chosen from the context and the machine.</summary>
    public long? KvCacheBytes { get; init; }

    /// <summary>Most sequences that run at once.</summary>
    public int MaxConcurrentRequests { get; init; } = 16;

    /// <summary>Most requests that wait; one more is refused with <see cref="GemmaOverloadedException"/>.</summary>
    public int MaxQueuedRequests { get; init; } = 1024;

    /// <summary>Keeps the keys and values of finished sequences for requests that begin with the same tokens.</summary>
    public bool PrefixCache { get; init; } = true;

    /// <summary>Most tokens that speculative decoding proposes at once by repeating what the sequence said before; 0 turns it off.</summary>
    public int SpeculativeTokens { get; init; } = 8;

    /// <summary>Rows of the embedding that are never drawn.</summary>
    public TokenGaps Gaps { get; init; } = TokenGaps.None;

    /// <summary>Tokens of one block of key/value memory.</summary>
    public int BlockTokens { get; init; } = 32;

    /// <summary>Most prompt tokens of one step.</summary>
    public int PrefillChunk { get; init; } = 256;

    /// <summary>Time limit of a step while other sequences wait for their next token; prompts are cut to fit.</summary>
    public TimeSpan MixedStepTarget { get; init; } = TimeSpan.FromMilliseconds(400);
}
