using System.Text.Json;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary>The members shared by the bodies of <c>POST /api/chat</c> and <c>/api/generate</c>. Members with several possible kinds are elements; members missing here are ignored.</summary>
internal abstract class OllamaAnswerRequest
{
    public string? Model { get; init; }

    /// <summary>On unless it says otherwise.</summary>
    public bool? Stream { get; init; }

    /// <summary>The text json, or a schema.</summary>
    public JsonElement? Format { get; init; }

    public Dictionary<string, JsonElement>? Options { get; init; }

    public JsonElement? KeepAlive { get; init; }

    public JsonElement? Think { get; init; }

    public bool? Logprobs { get; init; }

    public int? TopLogprobs { get; init; }
}

internal sealed class OllamaChatRequest : OllamaAnswerRequest
{
    public List<OllamaRequestMessage?>? Messages { get; init; }

    public List<OllamaTool?>? Tools { get; init; }
}

internal sealed class OllamaGenerateRequest : OllamaAnswerRequest
{
    public string? Prompt { get; init; }

    public string? System { get; init; }

    public string? Template { get; init; }

    public string? Suffix { get; init; }

    public bool? Raw { get; init; }

    public List<string?>? Images { get; init; }

    public JsonElement? Context { get; init; }
}

internal sealed class OllamaRequestMessage
{
    public string? Role { get; init; }

    public string? Content { get; init; }

    /// <summary>Base64.</summary>
    public List<string?>? Images { get; init; }

    public List<OllamaToolCall?>? ToolCalls { get; init; }

    /// <summary>For a result: the function that returned it.</summary>
    public string? ToolName { get; init; }

    public string? ToolCallId { get; init; }
}

internal sealed class OllamaTool
{
    public string? Type { get; init; }

    public OllamaFunction? Function { get; init; }
}

internal sealed class OllamaFunction
{
    public string? Name { get; init; }

    public string? Description { get; init; }

    public JsonElement? Parameters { get; init; }
}

/// <summary>A call, in requests and in answers.</summary>
internal sealed class OllamaToolCall
{
    public string? Id { get; init; }

    public OllamaCalledFunction? Function { get; init; }
}

internal sealed class OllamaCalledFunction
{
    public int? Index { get; init; }

    public string? Name { get; init; }

    /// <summary>An object, not a text as with OpenAI.</summary>
    public JsonElement? Arguments { get; init; }
}

internal sealed class OllamaEmbedRequest
{
    public string? Model { get; init; }

    /// <summary>A text or a list of texts.</summary>
    public JsonElement? Input { get; init; }

    /// <summary>On unless it says otherwise.</summary>
    public bool? Truncate { get; init; }

    public int? Dimensions { get; init; }

    public JsonElement? KeepAlive { get; init; }
}

/// <summary>The body of the older <c>POST /api/embeddings</c>.</summary>
internal sealed class OllamaEmbeddingsRequest
{
    public string? Model { get; init; }

    public string? Prompt { get; init; }

    public JsonElement? KeepAlive { get; init; }
}

/// <summary>The body of <c>POST /api/show</c> and <c>/api/pull</c>.</summary>
internal sealed class OllamaModelRequest
{
    public string? Model { get; init; }

    /// <summary>The older name of the same.</summary>
    public string? Name { get; init; }

    public bool? Stream { get; init; }
}
