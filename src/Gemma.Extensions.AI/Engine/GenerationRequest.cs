using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Engine;

/// <summary>Sampling parameters of a request.</summary>
internal sealed record SamplingOptions
{
    /// <summary>0 takes the most probable token.</summary>
    public float Temperature { get; init; } = 1;

    /// <summary>Keeps the k most probable tokens; 0 keeps all.</summary>
    public int TopK { get; init; }

    /// <summary>Keeps the smallest set of tokens whose probabilities sum to p; 1 keeps all.</summary>
    public float TopP { get; init; } = 1;

    /// <summary>Keeps tokens with at least this fraction of the best token's probability; 0 keeps all.</summary>
    public float MinP { get; init; }

    /// <summary>Subtracted from a token's logit for each time it was generated.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>Subtracted from a token's logit if it was generated at all.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Divides positive and multiplies negative logits of tokens that occur in the prompt or the answer; 1 is off.</summary>
    public float RepetitionPenalty { get; init; } = 1;

    /// <summary>Added to logits by token id.</summary>
    public IReadOnlyDictionary<int, float>? LogitBias { get; init; }

    /// <summary>Same seed, same text, on the same machine and tier; null draws a seed.</summary>
    public long? Seed { get; init; }
}

internal enum EngineFinish
{
    /// <summary>A stop token came, or the sink asked to stop.</summary>
    Stop,

    /// <summary>MaxOutputTokens or the end of the context was reached.</summary>
    Length,

    /// <summary>The request's token was cancelled.</summary>
    Cancelled,

    /// <summary>The request failed; the result carries the exception.</summary>
    Failed,
}

/// <summary>Outcome and token counts of a request.</summary>
/// <param name="Finish">Why it ended.</param>
/// <param name="PromptTokens">Tokens of the prompt, cached ones included.</param>
/// <param name="GeneratedTokens">Tokens generated, a stop token included.</param>
/// <param name="CachedTokens">Tokens of the prompt whose keys and values were reused.</param>
/// <param name="Error">The exception where <paramref name="Finish"/> is Failed.</param>
internal sealed record GenerationResult(EngineFinish Finish, int PromptTokens, int GeneratedTokens, int CachedTokens, Exception? Error = null);

/// <summary>
/// Receives the tokens of one request, on the engine's thread: it must be quick and must not block. An exception thrown here ends this request only.
/// </summary>
internal abstract class GenerationSink
{
    /// <summary>Called before <see cref="OnToken"/> for the same token where the request has <see cref="GenerationRequest.LogProbabilities"/>.</summary>
    public virtual void OnLogProbabilities(in TokenLogProbabilities values)
    {
    }

    /// <summary>Called for every generated token but stop tokens. False ends the request with <see cref="EngineFinish.Stop"/>.</summary>
    public abstract bool OnToken(int token);

    /// <summary>Called exactly once, last.</summary>
    public abstract void OnCompleted(GenerationResult result);
}

/// <summary>Receives outputs of the forward pass for the tokens of a prompt, on the engine's thread, in order of position.</summary>
internal abstract class RowReader
{
    /// <summary>Position of the first token whose output is wanted; all after it are too. Tokens before it may come from the prefix cache.</summary>
    public abstract int FirstPosition { get; }

    /// <summary>True: the final hidden state [hidden]; false: the logits [vocabulary].</summary>
    public abstract bool WantsHidden { get; }

    /// <summary>Name of the request in telemetry.</summary>
    public virtual string Operation => WantsHidden ? "embeddings" : "score";

    /// <summary>Called for each wanted position. The values are valid during the call.</summary>
    public abstract void OnRow(int position, ReadOnlySpan<float> values);
}

/// <summary>Computes a prompt for its keys and values alone.</summary>
internal sealed class NoRows : RowReader
{
    public static NoRows Instance { get; } = new();

    public override int FirstPosition => int.MaxValue;

    public override bool WantsHidden => true;

    public override string Operation => "prompt_cache";

    public override void OnRow(int position, ReadOnlySpan<float> values)
    {
    }
}

/// <summary>One request to the engine. Submitted with <c>Engine.Submit</c>, which returns at once.</summary>
internal sealed class GenerationRequest
{
    /// <summary>Tokens of the prompt, the leading bos included.</summary>
    public required int[] Prompt { get; init; }

    public required GenerationSink Sink { get; init; }

    /// <summary>True for what is computed only while there are no requests: it takes no place among them, and is cancelled when one comes.</summary>
    public bool IsIdle { get; init; }

    /// <summary>
    /// The first tokens of the answer where they are known already, since another engine generated them: they are computed as generated tokens, sampler and limits count
    /// them, and generation goes on behind them. The sink and the constraint know of them; neither is told.
    /// </summary>
    public int[] Generated { get; init; } = [];

    /// <summary>True if the caller reads the answer while it is generated; for telemetry.</summary>
    public bool IsStreaming { get; init; }

    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>Log probabilities to report to the sink; null: none, at no cost.</summary>
    public LogProbabilityOptions? LogProbabilities { get; init; }

    /// <summary>Most tokens to generate; the end of the context also ends the request.</summary>
    public int MaxOutputTokens { get; init; } = int.MaxValue;

    /// <summary>Tokens that end the reply.</summary>
    public IReadOnlyList<int> StopTokens { get; init; } = [];

    /// <summary>Added to the weights of the model for this request; null: the base model.</summary>
    public LoraWeights? Adapter { get; init; }

    /// <summary>Restricts the tokens, where set (grammar).</summary>
    public ITokenConstraint? Constraint { get; init; }

    /// <summary>If set, nothing is generated: the reader receives the model's outputs for the prompt (scores, embeddings).</summary>
    public RowReader? Reader { get; init; }

    /// <summary>Name of the request in telemetry: OpenTelemetry's gen_ai.operation.name, with its well-known values where they apply.</summary>
    public string Operation => Reader?.Operation ?? "chat";

    /// <summary>Higher runs first.</summary>
    public int Priority { get; init; }

    /// <summary>Whom the request is for. Callers that wait share the engine evenly; null is a caller too.</summary>
    public string? Caller { get; init; }

    /// <summary>Time after which the request fails with <see cref="TimeoutException"/>, waiting included; null: none.</summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary>When that time began, in ticks of a <see cref="System.Diagnostics.Stopwatch"/>; null: with the submission.</summary>
    public long? Began { get; init; }

    public CancellationToken CancellationToken { get; init; }
}
