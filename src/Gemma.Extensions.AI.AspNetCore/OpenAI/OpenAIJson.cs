using System.Text.Json.Serialization;
using Gemma.Extensions.AI.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>Serialization of the bodies of OpenAI's API. Null members are omitted unless declared otherwise.</summary>
[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(ErrorBody))]
[JsonSerializable(typeof(ModelList))]
[JsonSerializable(typeof(ModelDescription))]
[JsonSerializable(typeof(ChatCompletionRequest))]
[JsonSerializable(typeof(ChatCompletion))]
[JsonSerializable(typeof(ChatCompletionChunk))]
[JsonSerializable(typeof(EmbeddingRequest))]
[JsonSerializable(typeof(EmbeddingList))]
[JsonSerializable(typeof(TextCompletionRequest))]
[JsonSerializable(typeof(TextCompletion))]
[JsonSerializable(typeof(TokenizeRequest))]
[JsonSerializable(typeof(DetokenizeRequest))]
[JsonSerializable(typeof(TokenList))]
[JsonSerializable(typeof(PromptText))]
[JsonSerializable(typeof(ModerationRequest))]
[JsonSerializable(typeof(ModerationList))]
[JsonSerializable(typeof(RerankRequest))]
[JsonSerializable(typeof(RerankList))]
[JsonSerializable(typeof(ResponseRequest))]
[JsonSerializable(typeof(ResponseBody))]
[JsonSerializable(typeof(ResponseEvent))]
[JsonSerializable(typeof(ResponseTextOptions))]
[JsonSerializable(typeof(ResponseItem))]
[JsonSerializable(typeof(StoredResponse))]
[JsonSerializable(typeof(DeletedResponse))]
[JsonSerializable(typeof(InputTokenCount))]
[JsonSerializable(typeof(InputItemList))]
[JsonSerializable(typeof(TextMessage))]
internal sealed partial class OpenAIJson : JsonSerializerContext
{
    public static OpenAIJson Wire { get; } = new(WireJson.Options());
}

internal sealed class ErrorBody
{
    public required ErrorDetail Error { get; init; }
}

internal sealed class ErrorDetail
{
    public required string Message { get; init; }

    public required string Type { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public string? Param { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public string? Code { get; init; }
}

internal sealed class ModelList
{
    public string Object => "list";

    public required IReadOnlyList<ModelDescription> Data { get; init; }
}

internal sealed class ModelDescription
{
    public required string Id { get; init; }

    public string Object => "model";

    public required long Created { get; init; }

    public required string OwnedBy { get; init; }
}
