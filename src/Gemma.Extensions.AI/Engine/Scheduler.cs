using Gemma.Extensions.AI.Backends;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Decides which rows the next step computes. Generating sequences come first, each with its next token; the rest of the step goes to prompts, oldest first.
/// Waiting requests are admitted by priority, then by the caller with the fewest running requests, then by the caller served longest ago, then by arrival. When
/// key/value memory runs out, the newest sequence of the lowest priority is preempted. Sequences that wait for a mask are skipped.
/// </summary>
internal sealed class Scheduler(KvCache cache, EngineOptions options, DraftModel? draft = null)
{
    /// <summary>Sequences with at most this many pending tokens are counted as generating (a grammar may force several tokens at once).</summary>
    public const int MaxForcedTokens = 32;

    private readonly List<Sequence> _waiting = [];
    private readonly List<Sequence> _running = [];
    private readonly List<Sequence> _planned = [];
    private readonly int[] _draft = new int[options.SpeculativeTokens];
    private readonly Dictionary<ValueTuple<string?>, long> _turns = []; // of callers that have requests
    private long _turn;
    private double _secondsPerRow;
    private int _rows; // planned so far
    private int _generatingSlices; // of them, those of generated tokens
    private Sequence? _stalled; // a prompt that got no memory in the last step

    /// <summary>Most sequences that speculate. Speculation saves memory traffic at the cost of arithmetic; a large batch shares the former and is short of the latter.</summary>
    public const int SpeculatingSequences = 4;

    public List<Sequence> Waiting => _waiting;

    public List<Sequence> Running => _running;

    /// <summary>The sequences of the batch, in the order of its slices.</summary>
    public List<Sequence> Planned => _planned;

    public bool HasWork => _waiting.Count + _running.Count > 0;

    /// <summary>True if the step has a prompt whose request was cancelled or is past its deadline.</summary>
    public bool HoldsEndedPrompt => _planned.Exists(static sequence => sequence.StepRows > MaxForcedTokens
        && (sequence.Request.CancellationToken.IsCancellationRequested || System.Diagnostics.Stopwatch.GetTimestamp() > sequence.Deadline));

    public long Preemptions { get; private set; }

    /// <summary>Most rows that a step can have.</summary>
    public static int MaxRows(EngineOptions options) =>
        options.PrefillChunk + options.MaxConcurrentRequests + SpeculatingSequences * options.SpeculativeTokens;

    /// <summary>A caller without requests is placed just before the caller served last. Placed before everybody, callers who come and go would always go first.</summary>
    public void Add(Sequence sequence)
    {
        _waiting.Add(sequence);
        _turns.TryAdd(new(sequence.Request.Caller), _turn - 1);
    }

    /// <summary>Takes a sequence out, with its memory.</summary>
    public void Remove(Sequence sequence)
    {
        Release(sequence);
        if (!_running.Remove(sequence))
        {
            _waiting.Remove(sequence);
        }

        if (!_running.Exists(IsOfSameCaller) && !_waiting.Exists(IsOfSameCaller))
        {
            _turns.Remove(new(sequence.Request.Caller));
        }

        bool IsOfSameCaller(Sequence other) => other.Request.Caller == sequence.Request.Caller;
    }

    /// <summary>Fills the batch. It is empty where no sequence can go on: none is left, or a prompt that is being saved holds the memory.</summary>
    public void Plan(ForwardBatch batch)
    {
        Forget(batch);
        Admit();
        MakeRoomForStalled();
        PlanGenerating(batch.MaxRows);
        PlanPrompts(Math.Min(batch.MaxRows - _rows, _rows == 0 ? options.PrefillChunk : MixedChunk()));
        foreach (Sequence sequence in _planned)
        {
            Fill(batch, sequence);
        }
    }

    /// <summary>Clears the plan after a step: the next one may be a long time off.</summary>
    public void Forget(ForwardBatch batch)
    {
        batch.Clear();
        _planned.Clear();
        _rows = 0;
        _generatingSlices = 0;
    }

    /// <summary>The part of a planned step that belongs to one sequence, as a step of its own.</summary>
    public void PlanAlone(ForwardBatch batch, Sequence sequence)
    {
        Forget(batch);
        Plan(sequence, sequence.StepRows);
        Fill(batch, sequence);
    }

    /// <summary>Records the duration of a step; the size of later prompt chunks follows from it.</summary>
    public void Observe(int rows, double seconds)
    {
        if (rows >= 16)
        {
            double sample = seconds / rows;
            _secondsPerRow = _secondsPerRow == 0 ? sample : 0.8 * _secondsPerRow + 0.2 * sample;
        }
    }

    private int MixedChunk()
    {
        double rows = _secondsPerRow == 0 ? cache.BlockTokens : options.MixedStepTarget.TotalSeconds / _secondsPerRow;
        return (int)Math.Clamp(rows, Math.Min(16, options.PrefillChunk), options.PrefillChunk);
    }

    private void Admit()
    {
        while (_waiting.Count > 0 && _running.Count < options.MaxConcurrentRequests)
        {
            Sequence sequence = NextWaiting();
            int cached = sequence.CachedTokens;
            Extend(sequence);
            if (_running.Count > 0 && Missing(sequence) + _running.Sum(Missing) > cache.Blocks.AvailableCount)
            {
                cache.Release(sequence.Blocks, sequence.Tokens);
                sequence.CachedTokens = cached; // it is tried again with every step
                return;
            }

            _waiting.Remove(sequence);
            _turns[new(sequence.Request.Caller)] = ++_turn;
            _running.Insert(_running.FindLastIndex(other => !ComesBefore(sequence, other)) + 1, sequence);
        }
    }

    private void PlanGenerating(int maxRows)
    {
        bool speculate = _running.Count <= SpeculatingSequences;
        for (int i = 0; i < _running.Count; i++)
        {
            Sequence sequence = _running[i];
            if (!IsGenerating(sequence) || sequence.HeldLogits is not null)
            {
                continue;
            }

            Propose(sequence, speculate);
            int room = maxRows - _rows - (_running.Count - i - 1); // a row for each that follows
            if (sequence.Pending + sequence.DraftCount > room)
            {
                sequence.SetDraft(default);
            }

            if (TryHold(sequence, i))
            {
                Plan(sequence, Math.Min(sequence.Pending + sequence.DraftCount, room));
            }
        }
    }

    private void PlanPrompts(int budget)
    {
        for (int i = 0; i < _running.Count && budget > 0; i++)
        {
            Sequence sequence = _running[i];
            if (IsGenerating(sequence) || sequence.HeldLogits is not null)
            {
                continue;
            }

            Extend(sequence); // what another sequence has computed since
            int rows = Math.Min(sequence.Pending, budget);
            if (rows < sequence.Pending && rows > cache.BlockTokens)
            {
                rows -= (sequence.Computed + rows) % cache.BlockTokens; // ends with a block, which others can then share
            }

            rows = sequence.Blocks.Kinds.Run(sequence.Computed, rows);
            sequence.SetDraft(default);
            if (!TryHold(sequence, i, sequence.Computed + rows))
            {
                rows = sequence.Blocks.Held * cache.BlockTokens - sequence.Computed; // as far as the memory goes
            }

            if (rows > 0)
            {
                Plan(sequence, rows);
                budget -= rows;
            }
            else
            {
                _stalled ??= sequence;
            }
        }
    }

    /// <summary>A prompt must not wait for the memory of sequences behind it: those that generate were planned before it.</summary>
    private void MakeRoomForStalled()
    {
        if (_stalled is { } stalled && _running.IndexOf(stalled) is >= 0 and int index)
        {
            TryHold(stalled, index, stalled.Computed + 1);
        }

        _stalled = null;
    }

    /// <summary>Plans rows of one kind. Generated ones come before those of prompts.</summary>
    private void Plan(Sequence sequence, int rows)
    {
        sequence.StepRows = rows;
        _rows += rows;
        _planned.Insert(sequence.Blocks.Kinds.IsPrompt(sequence.Computed) ? _planned.Count : _generatingSlices++, sequence);
    }

    private static void Fill(ForwardBatch batch, Sequence sequence) => batch.Add(
        sequence.Upcoming(sequence.StepRows), sequence.Computed, sequence.Blocks.Local, sequence.Blocks.Global, sequence.Request.Adapter?.Updates,
        sequence.Blocks.Kinds.IsPrompt(sequence.Computed));

    private void Propose(Sequence sequence, bool speculate)
    {
        int most = Math.Min(options.SpeculativeTokens, sequence.MaxTokens - sequence.Count);
        sequence.SetDraft(speculate && most > 0 ? Guess(sequence, most) : default);
        if (sequence.DraftCount > 0 && !cache.TryHold(sequence.Blocks, sequence.Count + sequence.DraftCount))
        {
            sequence.SetDraft(default);
        }
    }

    /// <summary>Prompt lookup first, then the draft model.</summary>
    private ReadOnlySpan<int> Guess(Sequence sequence, int most)
    {
        ReadOnlySpan<int> guess = NGramDraft.Propose(sequence, most);
        if (!guess.IsEmpty || draft is null || sequence.Pending != 1)
        {
            return guess;
        }

        try
        {
            return _draft.AsSpan(0, draft.Propose(sequence, _draft.AsSpan(0, most)));
        }
        catch (Exception exception)
        {
            sequence.Fail(exception); // of a constraint or a sampler: the request's own
            return default;
        }
    }

    private bool TryHold(Sequence sequence, int index) => TryHold(sequence, index, sequence.Count + sequence.DraftCount);

    /// <summary>Allocates blocks for the sequence, if need be by preempting sequences behind it that the step does not use. False: there are none in this step.</summary>
    private bool TryHold(Sequence sequence, int index, int tokens)
    {
        while (!cache.TryHold(sequence.Blocks, tokens))
        {
            int victim = _running.FindLastIndex(other => !_planned.Contains(other));
            if (victim <= index)
            {
                return false;
            }

            Preempt(_running[victim]);
        }

        return true;
    }

    /// <summary>Preempts a sequence: it keeps its tokens and is resumed later. Its blocks stay in the prefix cache until they are needed.</summary>
    private void Preempt(Sequence sequence)
    {
        Preemptions++;
        sequence.WasPreempted = true;
        Release(sequence);
        _running.Remove(sequence);
        _waiting.Add(sequence);
    }

    private void Release(Sequence sequence)
    {
        cache.Release(sequence.Blocks, sequence.Tokens);
        draft?.Release(sequence);
    }

    private void Extend(Sequence sequence)
    {
        int before = sequence.Computed;
        cache.Extend(sequence.Blocks, sequence.Tokens, Math.Min(sequence.Count - 1, sequence.NextRow));
        if (!sequence.WasPreempted)
        {
            sequence.CachedTokens += sequence.Computed - before;
        }
    }

    /// <summary>Blocks that the sequence still needs for the tokens it has. While a prompt is read, local layers need a chunk more than the window.</summary>
    private int Missing(Sequence sequence)
    {
        int chunk = Math.Min(options.PrefillChunk, Math.Max(1, sequence.Pending));
        return Math.Max(0, cache.BlocksFor(Math.Min(sequence.Count + 1, sequence.MaxTokens), chunk) - 2 * sequence.Blocks.Held + sequence.Blocks.FirstLocal);
    }

    private Sequence NextWaiting()
    {
        Sequence best = _waiting[0];
        (long, int, long, long) bestRank = Rank(best);
        foreach (Sequence other in _waiting)
        {
            (long, int, long, long) rank = Rank(other);
            if (rank.CompareTo(bestRank) < 0)
            {
                (best, bestRank) = (other, rank);
            }
        }

        return best;

        (long, int, long, long) Rank(Sequence sequence) =>
            (-(long)sequence.Request.Priority, Load(sequence), _turns[new(sequence.Request.Caller)], sequence.Number);
    }

    /// <summary>Running sequences of the same caller.</summary>
    private int Load(Sequence sequence)
    {
        int count = 0;
        foreach (Sequence other in _running)
        {
            count += other.Request.Caller == sequence.Request.Caller ? 1 : 0;
        }

        return count;
    }

    private static bool ComesBefore(Sequence a, Sequence b) =>
        a.Request.Priority != b.Request.Priority ? a.Request.Priority > b.Request.Priority : a.Number < b.Number;

    /// <summary>A sequence that was preempted is reading its prompt again until only generated tokens are left.</summary>
    private static bool IsGenerating(Sequence sequence) =>
        sequence.IsGenerating && sequence.Pending <= MaxForcedTokens && sequence.Blocks.Kinds.Run(sequence.Computed, sequence.Pending) == sequence.Pending;
}
