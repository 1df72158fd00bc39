using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary>The answer of <c>GET /api/tags</c> and <c>/api/ps</c>.</summary>
internal sealed class OllamaModelList
{
    public required IReadOnlyList<OllamaModelEntry> Models { get; init; }
}

internal sealed class OllamaModelEntry
{
    public required string Name { get; init; }

    /// <summary>The same again.</summary>
    public string Model => Name;

    /// <summary>Of models that are there.</summary>
    public DateTime? ModifiedAt { get; init; }

    public required long Size { get; init; }

    public required string Digest { get; init; }

    public required OllamaModelDetails Details { get; init; }

    /// <summary>Of models that are loaded.</summary>
    public DateTime? ExpiresAt { get; init; }

    /// <summary>Of models that are loaded.</summary>
    public long? SizeVram { get; init; }

    /// <summary>Of models that are loaded.</summary>
    public int? ContextLength { get; init; }
}

internal sealed class OllamaModelDetails
{
    public string ParentModel => "";

    public required string Format { get; init; }

    public required string Family { get; init; }

    public IReadOnlyList<string> Families => [Family];

    public required string ParameterSize { get; init; }

    public required string QuantizationLevel { get; init; }
}

/// <summary>The answer of <c>POST /api/show</c>.</summary>
internal sealed class OllamaModelAnswer
{
    public required string Modelfile { get; init; }

    public required string Parameters { get; init; }

    public required string Template { get; init; }

    public required OllamaModelDetails Details { get; init; }

    /// <summary>Numbers of the model under the names that GGUF files have for them.</summary>
    public required JsonObject ModelInfo { get; init; }

    public required IReadOnlyList<string> Capabilities { get; init; }

    public required DateTime ModifiedAt { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public string License => "";
}
