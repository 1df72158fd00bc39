using System.Text.Json;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>The members that requests for completions of chats and of texts have in common.</summary>
internal abstract class CompletionRequest
{
    public string? Model { get; init; }

    public bool? Stream { get; init; }

    public RequestStreamOptions? StreamOptions { get; init; }

    public float? Temperature { get; init; }

    public float? TopP { get; init; }

    public int? TopK { get; init; }

    public float? MinP { get; init; }

    public float? FrequencyPenalty { get; init; }

    public float? PresencePenalty { get; init; }

    /// <summary>llama.cpp's name.</summary>
    public float? RepeatPenalty { get; init; }

    /// <summary>vLLM's name of the same.</summary>
    public float? RepetitionPenalty { get; init; }

    public Dictionary<string, float>? LogitBias { get; init; }

    public int? N { get; init; }

    public long? Seed { get; init; }

    public JsonElement? Stop { get; init; }

    public int? MaxTokens { get; init; }

    public string? Grammar { get; init; }

    public string? Regex { get; init; }

    public string? User { get; init; }
}
