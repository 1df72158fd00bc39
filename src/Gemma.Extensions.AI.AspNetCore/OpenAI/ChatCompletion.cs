using System.Text.Json.Serialization;
using Gemma.Extensions.AI.AspNetCore.Requests;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>The answer of <c>POST /v1/chat/completions</c>.</summary>
internal sealed class ChatCompletion
{
    public required string Id { get; init; }

    public string Object => "chat.completion";

    public required long Created { get; init; }

    public required string Model { get; init; }

    public required IReadOnlyList<CompletionChoice> Choices { get; init; }

    public required CompletionUsage Usage { get; init; }
}

internal sealed class CompletionChoice
{
    public required int Index { get; init; }

    public required CompletionMessage Message { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public ChoiceLogProbabilities? Logprobs { get; init; }

    public required string FinishReason { get; init; }
}

internal sealed class CompletionMessage
{
    public string Role => "assistant";

    /// <summary>Null, and there, where the answer is calls alone.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public string? Content { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public string? Refusal { get; init; }

    public IReadOnlyList<ToolCall>? ToolCalls { get; init; }
}

/// <summary>A call, or a piece of one: then the first piece says everything but the arguments, and others have only the index and arguments.</summary>
internal sealed class ToolCall
{
    public int? Index { get; init; }

    public string? Id { get; init; }

    public string? Type { get; init; }

    public required FunctionCall Function { get; init; }
}

internal sealed class FunctionCall
{
    public string? Name { get; init; }

    public required string Arguments { get; init; }
}

internal sealed class CompletionUsage
{
    public required long PromptTokens { get; init; }

    public required long CompletionTokens { get; init; }

    public required long TotalTokens { get; init; }

    public required PromptTokensDetails PromptTokensDetails { get; init; }

    public required CompletionTokensDetails CompletionTokensDetails { get; init; }
}

internal sealed class PromptTokensDetails
{
    public required long CachedTokens { get; init; }

    public long AudioTokens { get; init; }
}

internal sealed class CompletionTokensDetails
{
    public required long ReasoningTokens { get; init; }

    public long AudioTokens { get; init; }

    public long AcceptedPredictionTokens { get; init; }

    public long RejectedPredictionTokens { get; init; }
}

internal sealed class ChoiceLogProbabilities
{
    public required IReadOnlyList<TokenLogProbability> Content { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public IReadOnlyList<TokenLogProbability>? Refusal { get; init; }
}

/// <summary>An event of an answer that is streamed.</summary>
internal sealed class ChatCompletionChunk
{
    public required string Id { get; init; }

    public string Object => "chat.completion.chunk";

    public required long Created { get; init; }

    public required string Model { get; init; }

    /// <summary>Empty in the event that carries the usage.</summary>
    public required IReadOnlyList<ChunkChoice> Choices { get; init; }

    public CompletionUsage? Usage { get; init; }
}

internal sealed class ChunkChoice
{
    public required int Index { get; init; }

    public required ChunkDelta Delta { get; init; }

    public ChoiceLogProbabilities? Logprobs { get; init; }

    /// <summary>Null, and there, until the last piece.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public string? FinishReason { get; init; }
}

internal sealed class ChunkDelta
{
    public string? Role { get; init; }

    public string? Content { get; init; }

    public IReadOnlyList<ToolCall>? ToolCalls { get; init; }
}
