using System.Text.Json;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>The body of <c>POST /v1/chat/completions</c>. Members with several possible kinds are elements; members missing here are ignored.</summary>
internal sealed class ChatCompletionRequest : CompletionRequest
{
    public List<RequestMessage?>? Messages { get; init; }

    public bool? Logprobs { get; init; }

    public int? TopLogprobs { get; init; }

    public int? MaxCompletionTokens { get; init; }

    public List<RequestTool?>? Tools { get; init; }

    public JsonElement? ToolChoice { get; init; }

    public bool? ParallelToolCalls { get; init; }

    public RequestResponseFormat? ResponseFormat { get; init; }

    public List<string>? Modalities { get; init; }

    public JsonElement? Functions { get; init; }

    public JsonElement? FunctionCall { get; init; }
}

internal sealed class RequestStreamOptions
{
    public bool? IncludeUsage { get; init; }
}

internal sealed class RequestMessage
{
    public string? Role { get; init; }

    public JsonElement? Content { get; init; }

    public string? Refusal { get; init; }

    public string? Name { get; init; }

    public string? ToolCallId { get; init; }

    public List<RequestToolCall?>? ToolCalls { get; init; }

    public JsonElement? FunctionCall { get; init; }
}

internal sealed class RequestToolCall
{
    public string? Id { get; init; }

    public string? Type { get; init; }

    public RequestFunctionCall? Function { get; init; }
}

internal sealed class RequestFunctionCall
{
    public string? Name { get; init; }

    /// <summary>JSON as text, as OpenAI has it; some clients send the object itself.</summary>
    public JsonElement? Arguments { get; init; }
}

internal sealed class RequestTool
{
    public string? Type { get; init; }

    public RequestFunction? Function { get; init; }
}

internal sealed class RequestFunction
{
    public string? Name { get; init; }

    public string? Description { get; init; }

    public JsonElement? Parameters { get; init; }

    public bool? Strict { get; init; }
}

internal sealed class RequestResponseFormat
{
    public string? Type { get; init; }

    public RequestJsonSchema? JsonSchema { get; init; }

    /// <summary>llama.cpp's way to give a schema, beside the type json_object.</summary>
    public JsonElement? Schema { get; init; }
}

internal sealed class RequestJsonSchema
{
    public string? Name { get; init; }

    public string? Description { get; init; }

    public JsonElement? Schema { get; init; }

    public bool? Strict { get; init; }
}
