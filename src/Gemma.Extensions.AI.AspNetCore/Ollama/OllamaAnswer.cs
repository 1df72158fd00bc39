using Gemma.Extensions.AI.AspNetCore.Requests;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary>An answer of <c>/api/chat</c> (with a message) or <c>/api/generate</c> (with a response): the whole, or a line of it. Times are nanoseconds.</summary>
internal sealed record OllamaAnswer
{
    public required string Model { get; init; }

    public required DateTime CreatedAt { get; init; }

    public OllamaMessage? Message { get; init; }

    public string? Response { get; init; }

    public required bool Done { get; init; }

    public string? DoneReason { get; init; }

    public long? TotalDuration { get; init; }

    public long? LoadDuration { get; init; }

    public long? PromptEvalCount { get; init; }

    /// <summary>Until the first piece; known for streams only.</summary>
    public long? PromptEvalDuration { get; init; }

    public long? EvalCount { get; init; }

    public long? EvalDuration { get; init; }

    public IReadOnlyList<TokenLogProbability>? Logprobs { get; init; }
}

internal sealed class OllamaMessage
{
    public string Role => "assistant";

    public required string Content { get; init; }

    public IReadOnlyList<OllamaToolCall>? ToolCalls { get; init; }
}

internal sealed class OllamaEmbedAnswer
{
    public required string Model { get; init; }

    public required IReadOnlyList<ReadOnlyMemory<float>> Embeddings { get; init; }

    public required long TotalDuration { get; init; }

    public required long LoadDuration { get; init; }

    public required long PromptEvalCount { get; init; }
}

internal sealed class OllamaEmbeddingsAnswer
{
    public required ReadOnlyMemory<float> Embedding { get; init; }
}

internal sealed class OllamaPullStatus
{
    public required string Status { get; init; }

    public string? Digest { get; init; }

    public long? Total { get; init; }

    public long? Completed { get; init; }
}
