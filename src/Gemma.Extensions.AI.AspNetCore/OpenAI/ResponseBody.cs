using System.Text.Json;
using System.Text.Json.Serialization;
using Gemma.Extensions.AI.AspNetCore.Requests;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>The body of <c>POST /v1/responses</c>. Members that may be of several kinds, and those that are only said back, are elements.</summary>
internal sealed class ResponseRequest
{
    public string? Model { get; init; }

    public JsonElement? Input { get; init; }

    public string? Instructions { get; init; }

    public string? PreviousResponseId { get; init; }

    public bool? Stream { get; init; }

    public bool? Store { get; init; }

    public bool? Background { get; init; }

    public JsonElement? Metadata { get; init; }

    public List<JsonElement>? Tools { get; init; }

    public JsonElement? ToolChoice { get; init; }

    public bool? ParallelToolCalls { get; init; }

    public float? Temperature { get; init; }

    public float? TopP { get; init; }

    public int? TopK { get; init; }

    public float? MinP { get; init; }

    public float? RepeatPenalty { get; init; }

    public long? Seed { get; init; }

    public JsonElement? Stop { get; init; }

    public int? MaxOutputTokens { get; init; }

    public ResponseTextOptions? Text { get; init; }

    public int? TopLogprobs { get; init; }

    public List<string>? Include { get; init; }

    public string? Grammar { get; init; }

    public string? Regex { get; init; }

    public string? User { get; init; }

    public JsonElement? Conversation { get; init; }

    public JsonElement? Prompt { get; init; }
}

internal sealed class ResponseTextOptions
{
    public ResponseTextFormat? Format { get; init; }
}

internal sealed class ResponseTextFormat
{
    public string? Type { get; init; }

    public string? Name { get; init; }

    public string? Description { get; init; }

    public JsonElement? Schema { get; init; }

    public bool? Strict { get; init; }
}

/// <summary>A response as returned, stored and sent in events.</summary>
internal sealed class ResponseBody
{
    public required string Id { get; init; }

    public string Object => "response";

    public required long CreatedAt { get; init; }

    /// <summary>queued, in_progress, completed, incomplete, failed or cancelled.</summary>
    public required string Status { get; set; }

    public required bool Background { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public ResponseError? Error { get; set; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public IncompleteDetails? IncompleteDetails { get; set; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required string? Instructions { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required int? MaxOutputTokens { get; init; }

    public required string Model { get; init; }

    public IReadOnlyList<ResponseItem> Output { get; set; } = [];

    public required bool ParallelToolCalls { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required string? PreviousResponseId { get; init; }

    public required bool Store { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required float? Temperature { get; init; }

    public required JsonElement Text { get; init; }

    public required JsonElement ToolChoice { get; init; }

    public required IReadOnlyList<JsonElement> Tools { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required float? TopP { get; init; }

    public string Truncation => "disabled";

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public ResponseUsage? Usage { get; set; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required string? User { get; init; }

    public required JsonElement Metadata { get; init; }

    public ResponseBody Copy() => (ResponseBody)MemberwiseClone();
}

internal sealed class ResponseError
{
    public required string Code { get; init; }

    public required string Message { get; init; }
}

internal sealed class IncompleteDetails
{
    public required string Reason { get; init; }
}

internal sealed class ResponseUsage
{
    public required long InputTokens { get; init; }

    public required InputTokensDetails InputTokensDetails { get; init; }

    public required long OutputTokens { get; init; }

    public required OutputTokensDetails OutputTokensDetails { get; init; }

    public required long TotalTokens { get; init; }
}

internal sealed class InputTokensDetails
{
    public required long CachedTokens { get; init; }
}

internal sealed class OutputTokensDetails
{
    public required long ReasoningTokens { get; init; }
}

/// <summary>A part of the output: a message (with role and content) or a call of a function (with the other members).</summary>
internal sealed class ResponseItem
{
    public required string Id { get; init; }

    public required string Type { get; init; }

    public required string Status { get; init; }

    public string? Role { get; init; }

    public IReadOnlyList<ResponsePart>? Content { get; init; }

    public string? CallId { get; init; }

    public string? Name { get; init; }

    public string? Arguments { get; init; }
}

internal sealed class ResponsePart
{
    public string Type { get; init; } = "output_text";

    public required string Text { get; init; }

    public IReadOnlyList<JsonElement> Annotations { get; init; } = [];

    public IReadOnlyList<TokenLogProbability> Logprobs { get; init; } = [];
}

/// <summary>An event of a response that is streamed: its type says which members it has.</summary>
internal sealed class ResponseEvent
{
    public required string Type { get; init; }

    public required int SequenceNumber { get; init; }

    public ResponseBody? Response { get; init; }

    public string? ItemId { get; init; }

    public int? OutputIndex { get; init; }

    public int? ContentIndex { get; init; }

    public ResponseItem? Item { get; init; }

    public ResponsePart? Part { get; init; }

    public string? Delta { get; init; }

    public string? Text { get; init; }

    public IReadOnlyList<TokenLogProbability>? Logprobs { get; init; }

    public string? Name { get; init; }

    public string? Arguments { get; init; }

    public string? Code { get; init; }

    public string? Message { get; init; }

    public string? Param { get; init; }
}

/// <summary>A response that was kept, with the conversation that it answered, so that another can follow it.</summary>
internal sealed class StoredResponse
{
    public required ResponseBody Response { get; init; }

    public required IReadOnlyList<JsonElement> Input { get; init; }
}

internal sealed class DeletedResponse
{
    public required string Id { get; init; }

    public string Object => "response";

    public bool Deleted => true;
}

internal sealed class InputTokenCount
{
    public string Object => "response.input_tokens";

    public required int InputTokens { get; init; }
}

internal sealed class InputItemList
{
    public string Object => "list";

    public required IReadOnlyList<JsonElement> Data { get; init; }

    public bool HasMore => false;
}
