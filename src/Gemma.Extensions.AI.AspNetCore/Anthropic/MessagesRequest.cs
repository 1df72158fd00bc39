using System.Text.Json;

namespace Gemma.Extensions.AI.AspNetCore.Anthropic;

/// <summary>The body of <c>POST /v1/messages</c> and <c>/v1/messages/count_tokens</c>. Members with several possible kinds are elements; members missing here are ignored.</summary>
internal sealed class MessagesRequest
{
    public string? Model { get; init; }

    public List<RequestMessage?>? Messages { get; init; }

    public int? MaxTokens { get; init; }

    /// <summary>A text or blocks of text.</summary>
    public JsonElement? System { get; init; }

    public RequestMetadata? Metadata { get; init; }

    public List<string?>? StopSequences { get; init; }

    public bool? Stream { get; init; }

    public float? Temperature { get; init; }

    public float? TopP { get; init; }

    public int? TopK { get; init; }

    public List<RequestTool?>? Tools { get; init; }

    public RequestToolChoice? ToolChoice { get; init; }

    public RequestThinking? Thinking { get; init; }

    public RequestOutputConfig? OutputConfig { get; init; }

    /// <summary>The older place of <see cref="RequestOutputConfig.Format"/>.</summary>
    public RequestOutputFormat? OutputFormat { get; init; }
}

internal sealed class RequestMessage
{
    public string? Role { get; init; }

    /// <summary>A text or blocks.</summary>
    public JsonElement? Content { get; init; }
}

internal sealed class RequestMetadata
{
    public string? UserId { get; init; }
}

internal sealed class RequestTool
{
    /// <summary>Absent or "custom" for functions; other values are tools that Anthropic runs or describes.</summary>
    public string? Type { get; init; }

    public string? Name { get; init; }

    public string? Description { get; init; }

    public JsonElement? InputSchema { get; init; }

    public bool? Strict { get; init; }
}

internal sealed class RequestToolChoice
{
    public string? Type { get; init; }

    public string? Name { get; init; }

    public bool? DisableParallelToolUse { get; init; }
}

internal sealed class RequestThinking
{
    public string? Type { get; init; }
}

internal sealed class RequestOutputConfig
{
    public RequestOutputFormat? Format { get; init; }
}

internal sealed class RequestOutputFormat
{
    public string? Type { get; init; }

    public JsonElement? Schema { get; init; }
}
