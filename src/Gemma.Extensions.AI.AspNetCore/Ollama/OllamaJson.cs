using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Gemma.Extensions.AI.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary>Serialization of the bodies of Ollama's API. Null members are omitted.</summary>
[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(OllamaError))]
[JsonSerializable(typeof(OllamaVersion))]
[JsonSerializable(typeof(OllamaChatRequest))]
[JsonSerializable(typeof(OllamaGenerateRequest))]
[JsonSerializable(typeof(OllamaAnswer))]
[JsonSerializable(typeof(OllamaEmbedRequest))]
[JsonSerializable(typeof(OllamaEmbedAnswer))]
[JsonSerializable(typeof(OllamaEmbeddingsRequest))]
[JsonSerializable(typeof(OllamaEmbeddingsAnswer))]
[JsonSerializable(typeof(OllamaModelRequest))]
[JsonSerializable(typeof(OllamaModelList))]
[JsonSerializable(typeof(OllamaModelAnswer))]
[JsonSerializable(typeof(OllamaPullStatus))]
[JsonSerializable(typeof(JsonObject))]
internal sealed partial class OllamaJson : JsonSerializerContext
{
    public static OllamaJson Wire { get; } = new(WireJson.Options());
}

internal sealed class OllamaError
{
    public required string Error { get; init; }
}

internal sealed class OllamaVersion
{
    public required string Version { get; init; }
}
