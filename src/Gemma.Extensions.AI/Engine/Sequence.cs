using System.Diagnostics;

namespace Gemma.Extensions.AI.Engine;

/// <summary>A request while the engine works on it. Touched by the engine's thread alone once it was accepted.</summary>
internal sealed class Sequence
{
    private readonly int[] _tokens;
    private readonly int _vocabularySize;
    private Sampler? _sampler;

    public Sequence(GenerationRequest request, int contextLength, int vocabularySize, int blockTokens, int speculativeTokens, long number, bool hasPromptKernels = false)
    {
        Request = request;
        Number = number;
        MaxTokens = (int)Math.Min(contextLength, (long)request.Prompt.Length + Math.Max(0, request.MaxOutputTokens));
        _tokens = new int[MaxTokens + speculativeTokens];
        request.Prompt.CopyTo(_tokens, 0);
        request.Generated.CopyTo(_tokens, request.Prompt.Length);
        Count = request.Prompt.Length + request.Generated.Length;
        NextRow = request.Reader?.FirstPosition ?? int.MaxValue;
        Blocks = BlockTable.For(_tokens.Length, blockTokens, request.Adapter?.Id ?? 0, hasPromptKernels ? TokenKinds.Of(_tokens.Length, PromptCount) : null);
        _vocabularySize = vocabularySize;
        Deadline = request.Timeout is { } timeout ? (long)((request.Began ?? Submitted) + timeout.TotalSeconds * Stopwatch.Frequency) : long.MaxValue; // conversions saturate
    }

    public GenerationRequest Request { get; }

    /// <summary>Order of arrival.</summary>
    public long Number { get; }

    /// <summary>Stopwatch ticks.</summary>
    public long Submitted { get; } = Stopwatch.GetTimestamp();

    /// <summary>Stopwatch ticks after which the request fails.</summary>
    public long Deadline { get; }

    /// <summary>Stopwatch ticks of the first token given to the sink; 0 before it.</summary>
    public long FirstTokenAt { get; set; }

    /// <summary>Stopwatch ticks of the last token given to the sink; 0 before the first.</summary>
    public long LastTokenAt { get; set; }

    /// <summary>Span of the request, where somebody listens.</summary>
    public Activity? Activity { get; init; }

    /// <summary>Made when it is first used: with penalties it counts every token of the vocabulary, and thousands of requests may wait.</summary>
    public Sampler? Sampler => _sampler ??= Request.Reader is null ? CreateSampler() : null;

    /// <summary>Tokens of the prompt and of the answer so far.</summary>
    public int Count { get; private set; }

    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, Count);

    /// <summary>Count of tokens at which generation ends with <see cref="EngineFinish.Length"/>.</summary>
    public int MaxTokens { get; }

    public int PromptCount => Request.Prompt.Length;

    public int GeneratedCount => Count - PromptCount;

    /// <summary>The sequence's key/value memory.</summary>
    public BlockTable Blocks { get; }

    /// <inheritdoc cref="BlockTable.Computed"/>
    public int Computed => Blocks.Computed;

    /// <summary>Position of the first row that the request's reader has not received. A preempted sequence recomputes rows, which the reader must not receive twice.</summary>
    public int NextRow { get; set; }

    /// <summary>Tokens of the prompt that came from the prefix cache when the request first ran.</summary>
    public int CachedTokens { get; set; }

    /// <summary>True once the sequence was preempted; what it then finds in the prefix cache is its own.</summary>
    public bool WasPreempted { get; set; }

    /// <summary>Tokens known but not computed yet. One while generating token by token.</summary>
    public int Pending => Count - Computed;

    /// <summary>True once the sequence has produced output, so that a step that skips it delays a reader.</summary>
    public bool IsGenerating => GeneratedCount > 0;

    /// <summary>Logits of the next token while its mask is computed beside the steps, which skip the sequence meanwhile; null otherwise.</summary>
    public float[]? HeldLogits { get; private set; }

    /// <summary>Tokens guessed after the known ones, to be checked in the next step.</summary>
    public int DraftCount { get; private set; }

    /// <summary>The draft model's state for the sequence; null without a draft model.</summary>
    public DraftState? DraftState { get; set; }

    /// <summary>Tokens that may be guessed next; grows with success.</summary>
    public int DraftLimit { get; set; } = 3;

    /// <summary>Guesses that turned out right in the step that is running.</summary>
    public int AcceptedDraft { get; private set; }

    /// <summary>True while every token of the running step was guessed.</summary>
    public bool FollowsDraft { get; private set; }

    /// <summary>Rows of the sequence in the step that is running.</summary>
    public int StepRows { get; set; }

    public EngineFinish? Finish { get; set; }

    public Exception? Error { get; set; }

    /// <summary>The next <paramref name="rows"/> tokens to compute, guesses included.</summary>
    public ReadOnlySpan<int> Upcoming(int rows) => _tokens.AsSpan(Computed, rows);

    /// <summary>Ends the request with an exception, unless it has ended.</summary>
    public void Fail(Exception exception)
    {
        if (Finish is null)
        {
            Finish = EngineFinish.Failed;
            Error = exception;
        }
    }

    /// <summary>Adds a token of the answer, and keeps count of whether it was guessed.</summary>
    public void Append(int token)
    {
        FollowsDraft = FollowsDraft && AcceptedDraft < DraftCount && _tokens[Count] == token;
        AcceptedDraft += FollowsDraft ? 1 : 0;
        _tokens[Count++] = token;
    }

    /// <summary>Keeps the logits of the next token, and drops the guesses after it.</summary>
    public void Hold(ReadOnlySpan<float> logits)
    {
        HeldLogits = System.Buffers.ArrayPool<float>.Shared.Rent(logits.Length);
        logits.CopyTo(HeldLogits);
        FollowsDraft = false;
    }

    private Sampler CreateSampler()
    {
        Sampler sampler = new(Request.Sampling, _vocabularySize, Request.Prompt);
        Array.ForEach(Request.Generated, sampler.Accept);
        return sampler;
    }

    /// <summary>Lets go of the logits that were held.</summary>
    public void LetGo()
    {
        if (HeldLogits is { } logits)
        {
            System.Buffers.ArrayPool<float>.Shared.Return(logits);
            HeldLogits = null;
        }
    }

    /// <summary>Guesses the next tokens. They replace earlier guesses.</summary>
    public void SetDraft(ReadOnlySpan<int> tokens)
    {
        tokens.CopyTo(_tokens.AsSpan(Count));
        DraftCount = tokens.Length;
        AcceptedDraft = 0;
        FollowsDraft = true;
    }
}
