using System.Text.Json;
using System.Text.Json.Serialization;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Anthropic;

/// <summary>The answer of <c>POST /v1/messages</c>; in the first event of a stream without content and reason.</summary>
internal sealed class Message
{
    public required string Id { get; init; }

    public string Type => "message";

    public string Role => "assistant";

    public required string Model { get; init; }

    public required IReadOnlyList<ContentBlock> Content { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required string? StopReason { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public string? StopSequence { get; init; }

    public required MessageUsage Usage { get; init; }

    public static string NewId() => $"msg_{Guid.NewGuid():N}";

    /// <summary>Why an answer ended, in Anthropic's words.</summary>
    public static string Reason(ChatFinishReason? finish, bool hasCalls, string? stopSequence) => finish switch
    {
        _ when finish == ChatFinishReason.Length => "max_tokens",
        _ when finish == ChatFinishReason.ContentFilter => "refusal",
        _ when finish == ChatFinishReason.ToolCalls || hasCalls => "tool_use",
        _ when stopSequence is not null => "stop_sequence",
        _ => "end_turn",
    };

    /// <summary>The stop sequence that ended an answer, where its client says so.</summary>
    public static string? StopSequenceOf(AdditionalPropertiesDictionary? properties) => properties?.GetValueOrDefault("stop_sequence") as string;
}

/// <summary>A block of content: a text, or a call.</summary>
internal sealed class ContentBlock
{
    public required string Type { get; init; }

    public string? Text { get; init; }

    public string? Id { get; init; }

    public string? Name { get; init; }

    public JsonElement? Input { get; init; }

    public static ContentBlock OfText(string text) => new() { Type = "text", Text = text };

    public static ContentBlock Of(FunctionCallContent call, JsonElement input) => new() { Type = "tool_use", Id = call.CallId, Name = call.Name, Input = input };

    public static ContentBlock Of(FunctionCallContent call) => Of(call, JsonElement.Parse(FunctionArguments.ToJson(call.Arguments)));
}

/// <summary>Tokens of a request. What was read from the cache is not counted as input too.</summary>
internal sealed class MessageUsage
{
    public required long InputTokens { get; init; }

    public long CacheCreationInputTokens => 0;

    public required long CacheReadInputTokens { get; init; }

    public required long OutputTokens { get; init; }

    public static MessageUsage Of(UsageDetails? usage)
    {
        long cached = usage?.CachedInputTokenCount ?? 0;
        return new() { InputTokens = Math.Max(0, (usage?.InputTokenCount ?? 0) - cached), CacheReadInputTokens = cached, OutputTokens = usage?.OutputTokenCount ?? 0 };
    }
}

internal sealed class MessageStart
{
    public string Type => "message_start";

    public required Message Message { get; init; }
}

internal sealed class BlockStart
{
    public string Type => "content_block_start";

    public required int Index { get; init; }

    public required ContentBlock ContentBlock { get; init; }
}

internal sealed class BlockDelta
{
    public string Type => "content_block_delta";

    public required int Index { get; init; }

    public required Delta Delta { get; init; }
}

/// <summary>A piece of a text, or of the arguments of a call.</summary>
internal sealed class Delta
{
    public required string Type { get; init; }

    public string? Text { get; init; }

    public string? PartialJson { get; init; }
}

internal sealed class BlockStop
{
    public string Type => "content_block_stop";

    public required int Index { get; init; }
}

internal sealed class MessageDelta
{
    public string Type => "message_delta";

    public required MessageEnd Delta { get; init; }

    public required MessageUsage Usage { get; init; }
}

internal sealed class MessageEnd
{
    public required string StopReason { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required string? StopSequence { get; init; }
}

/// <summary>An event that only has a type.</summary>
internal sealed class BareEvent
{
    public required string Type { get; init; }
}
