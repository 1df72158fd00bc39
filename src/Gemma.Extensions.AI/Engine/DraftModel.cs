using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// A smaller model of the same vocabulary that guesses what the large one will say. It draws with a copy of the sequence's own sampler, random state
/// included, so that both models draw with the same random number: where their distributions agree, so do the tokens. The large model then draws
/// as it would have drawn alone and keeps the guesses that came out equal, so text and distribution are exactly those without guessing.
/// </summary>
internal sealed class DraftModel : IDisposable
{
    private readonly GemmaForward _forward;
    private readonly KvCache _cache;
    private readonly ForwardBatch _batch;
    private readonly ulong[] _mask;
    private readonly TokenGaps _gaps;
    private readonly int _chunk;
    private readonly int _contextLength;

    /// <exception cref="ArgumentException">The two models have different vocabularies.</exception>
    public DraftModel(GemmaConfig config, GemmaWeights weights, Backend backend, int vocabularySize, int contextLength, EngineOptions options)
    {
        if (config.VocabularySize != vocabularySize)
        {
            throw new ArgumentException(
                $"The draft model has a vocabulary of {config.VocabularySize:N0} tokens, the model one of {vocabularySize:N0}. A draft model must be of the same family.");
        }

        if (!config.HasLogits)
        {
            throw new ArgumentException($"The draft model predicts no tokens: {config.UseWithoutLogits()}");
        }

        _contextLength = Math.Min(contextLength, config.ContextLength);
        _gaps = options.Gaps;
        _chunk = options.PrefillChunk;
        int blocks = Scheduler.SpeculatingSequences * KvCache.BlocksFor(_contextLength + options.SpeculativeTokens, _chunk, config.SlidingWindow, options.BlockTokens);
        KvPool pool = backend.CreateKvPool(GemmaForward.KvLayout(config, options.BlockTokens, options.KvType), blocks);
        _cache = new KvCache(pool, config.SlidingWindow, keepPrefixes: false);
        _forward = new GemmaForward(config, weights, backend, pool, _chunk, 1);
        _batch = new ForwardBatch(_chunk, 1);
        _mask = new ulong[(vocabularySize + 63) / 64];
    }

    public KvBlocks Blocks => _cache.Blocks;

    /// <summary>Guesses at most <paramref name="draft"/>.Length tokens. Fewer, or none while the prompt is still to be read.</summary>
    public int Propose(Sequence sequence, Span<int> draft)
    {
        int most = Math.Min(draft.Length, _contextLength - sequence.Count);
        if (most <= 0)
        {
            return 0;
        }

        DraftState state = sequence.DraftState ??= new DraftState(sequence, BlockTable.For(Math.Min(_contextLength, sequence.MaxTokens) + draft.Length, _cache.BlockTokens), _mask.Length * 64);
        state.Follow(_cache);
        if (!Read(sequence, state))
        {
            return 0;
        }

        long budget = StepOutputs.MaskBudget / 8;
        if (!(sequence.Request.Constraint?.TryPrepare(ref budget) ?? true))
        {
            return 0;
        }

        state.Sampler.CopyFrom(sequence.Sampler!);
        ITokenConstraint? constraint = sequence.Request.Constraint?.Clone();
        int count = 0;
        while (true)
        {
            if (constraint is not null && !constraint.TryPrepare(ref budget))
            {
                constraint.Stop();
                return count;
            }

            bool masked = constraint is not null && constraint.TryFillMask(_mask);
            Span<float> logits = _forward.Logits([_batch.Rows - 1]).Read(0, 1);
            _gaps.Forbid(logits);
            int token = state.Sampler.Sample(logits, masked ? _mask : default);
            draft[count++] = token;
            state.Guess(token);
            if (count == most || sequence.Request.StopTokens.Contains(token) || !_cache.TryHold(state.Blocks, sequence.Count + count))
            {
                return count;
            }

            state.Sampler.Accept(token);
            constraint?.Accept(token);
            Run([token], sequence.Count + count - 1, state);
        }
    }

    /// <summary>Gives the memory of a sequence back.</summary>
    public void Release(Sequence sequence)
    {
        if (sequence.DraftState is { } state)
        {
            _cache.Release(state.Blocks, sequence.Tokens);
            sequence.DraftState = null;
        }
    }

    public void Dispose()
    {
        _forward.Dispose();
        _cache.Dispose();
    }

    /// <summary>
    /// Computes what the draft model has not seen, a chunk at most. True: the logits after the last token are at hand. Not where it has seen everything: after a step that was
    /// given up, or for which there was no memory.
    /// </summary>
    private bool Read(Sequence sequence, DraftState state)
    {
        int computed = state.Blocks.Computed;
        int rows = Math.Min(_chunk, sequence.Count - computed);
        if (rows == 0 || !_cache.TryHold(state.Blocks, computed + rows))
        {
            return false;
        }

        Run(sequence.Tokens.Slice(computed, rows), computed, state);
        _cache.Commit(state.Blocks, sequence.Tokens[..(computed + rows)]);
        return computed + rows == sequence.Count;
    }

    private void Run(ReadOnlySpan<int> tokens, int position, DraftState state)
    {
        _batch.Clear();
        _batch.Add(tokens, position, state.Blocks.Local, state.Blocks.Global, isPrompt: tokens.Length > Scheduler.MaxForcedTokens); // for speed: guesses are free to depend on it
        _forward.Run(_batch);
    }
}

/// <summary>The draft model's state for one sequence.</summary>
/// <param name="sequence">Sequence of the large model.</param>
/// <param name="blocks">Memory of the draft model for it.</param>
/// <param name="vocabularySize">Tokens of the vocabulary, rounded up.</param>
internal sealed class DraftState(Sequence sequence, BlockTable blocks, int vocabularySize)
{
    private readonly List<int> _guesses = [];

    /// <summary>Blocks of the draft model, and the tokens in them that are certain.</summary>
    public BlockTable Blocks { get; } = blocks;

    public Sampler Sampler { get; } = new(sequence.Request.Sampling, vocabularySize, default);

    public void Guess(int token) => _guesses.Add(token);

    /// <summary>Guesses that turned out right were computed with their keys and values, all but the last.</summary>
    public void Follow(KvCache cache)
    {
        ReadOnlySpan<int> tokens = sequence.Tokens;
        int right = 0;
        while (right < _guesses.Count - 1 && Blocks.Computed + right < tokens.Length - 1 && tokens[Blocks.Computed + right] == _guesses[right])
        {
            right++;
        }

        cache.Commit(Blocks, tokens[..(Blocks.Computed + right)]);
        _guesses.Clear();
    }
}
