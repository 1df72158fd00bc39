using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Engine;

/// <summary>Size of an engine's key/value memory, and the longest sequence that fits in it.</summary>
internal sealed class EngineCapacity
{
    /// <summary>Bounds the bookkeeping where blocks are tiny.</summary>
    private const int MaxBlocks = 1 << 16;

    private const int MinBlocks = 4;

    private readonly int _vocabularySize;
    private readonly int _window;
    private readonly int _chunk;

    /// <exception cref="ArgumentOutOfRangeException">The key/value memory that the options allow is too small to work with.</exception>
    public EngineCapacity(GemmaConfig config, Backend backend, EngineOptions options)
    {
        _vocabularySize = config.VocabularySize;
        _window = config.SlidingWindow;
        _chunk = options.PrefillChunk;
        ContextLength = Math.Min(options.ContextLength ?? config.ContextLength, config.ContextLength);
        Layout = GemmaForward.KvLayout(config, options.BlockTokens, options.KvType);
        Blocks = CountBlocks(backend, options);
        MaxTokens = LongestSequence();
    }

    /// <summary>Most tokens of one sequence.</summary>
    public int ContextLength { get; }

    /// <summary>Most tokens of one sequence for which there is key/value memory; at most <see cref="ContextLength"/>.</summary>
    public int MaxTokens { get; }

    /// <summary>Shape of a block of key/value memory.</summary>
    public KvLayout Layout { get; }

    /// <summary>Blocks of key/value memory.</summary>
    public int Blocks { get; }

    /// <summary>Refuses a request that no engine of this capacity can serve.</summary>
    /// <exception cref="ArgumentException">It goes on behind tokens that cannot be the beginning of its answer.</exception>
    /// <inheritdoc cref="ThrowIfTooSmallFor(ReadOnlySpan{int}, int)"/>
    public void ThrowIfTooSmallFor(GenerationRequest request)
    {
        ThrowIfTooSmallFor(request.Prompt, request.MaxOutputTokens);
        long room = Math.Min(request.MaxOutputTokens, MaxTokens - request.Prompt.Length);
        if (request.Generated.Length > room || request.Generated.AsSpan().IndexOfAnyExceptInRange(0, _vocabularySize - 1) >= 0)
        {
            throw new ArgumentException(
                $"An answer is to go on behind {request.Generated.Length:N0} tokens that this engine cannot have generated: there is room for {room:N0} of a vocabulary of {_vocabularySize:N0}.", nameof(request));
        }
    }

    /// <summary>Refuses a prompt that no engine of this capacity can serve.</summary>
    /// <param name="prompt">Token ids.</param>
    /// <param name="maxOutputTokens">Tokens to generate at most; <see cref="int.MaxValue"/>: as many as there is room for.</param>
    /// <exception cref="ArgumentOutOfRangeException">The prompt is empty, or has a token outside the vocabulary.</exception>
    /// <exception cref="GemmaContextLengthException">The prompt is longer than the context.</exception>
    /// <exception cref="GemmaKvCacheException">Prompt and output need more key/value memory than there is in total.</exception>
    public void ThrowIfTooSmallFor(ReadOnlySpan<int> prompt, int maxOutputTokens)
    {
        ArgumentOutOfRangeException.ThrowIfZero(prompt.Length, "Prompt.Length");
        if (prompt.Length > ContextLength)
        {
            throw new GemmaContextLengthException(prompt.Length, ContextLength);
        }

        foreach (int token in prompt)
        {
            if ((uint)token >= (uint)_vocabularySize)
            {
                throw new ArgumentOutOfRangeException(nameof(prompt), token, $"The prompt has a token id outside the vocabulary of {_vocabularySize:N0}.");
            }
        }

        // Without a number of output tokens the answer may end early where memory does; a promised number must fit.
        long output = maxOutputTokens == int.MaxValue ? 0 : maxOutputTokens;
        int tokens = (int)Math.Min(ContextLength, prompt.Length + output);
        if (tokens > MaxTokens)
        {
            throw DoesNotFit(tokens);
        }
    }

    /// <summary>The exception that says how much memory <paramref name="tokens"/> tokens need and how much there is.</summary>
    public GemmaKvCacheException DoesNotFit(int tokens) => new(tokens, BlocksFor(tokens) * Layout.BlockBytes, Blocks * Layout.BlockBytes);

    private int BlocksFor(int tokens) => KvCache.BlocksFor(tokens, _chunk, _window, Layout.BlockTokens);

    /// <summary>As many as the options name, else enough for a whole context of every sequence that may run, at most a quarter of the backend's memory but one whole context at least.</summary>
    private int CountBlocks(Backend backend, EngineOptions options)
    {
        long one = BlocksFor(ContextLength);
        long budget = options.KvCacheBytes ?? Math.Clamp(
            options.MaxConcurrentRequests * one * Layout.BlockBytes, one * Layout.BlockBytes, Math.Max(one * Layout.BlockBytes, backend.KvBytes));
        long blocks = Math.Min(budget / Layout.BlockBytes, MaxBlocks);
        return blocks >= MinBlocks ? (int)blocks : throw new ArgumentOutOfRangeException(
            nameof(options), budget, $"KvCacheBytes holds {blocks} blocks of {Layout.BlockBytes:N0} bytes; a whole context of {ContextLength:N0} tokens needs {one:N0}, and less than {MinBlocks} cannot work.");
    }

    private int LongestSequence()
    {
        int low = 0;
        int high = ContextLength;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            (low, high) = BlocksFor(middle) <= Blocks ? (middle, high) : (low, middle - 1);
        }

        return low;
    }
}
