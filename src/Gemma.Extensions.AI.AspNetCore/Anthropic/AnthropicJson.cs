using System.Text.Json.Serialization;
using Gemma.Extensions.AI.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Anthropic;

/// <summary>Serialization of the bodies of Anthropic's API. Null members are omitted unless declared otherwise.</summary>
[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(AnthropicError))]
[JsonSerializable(typeof(MessagesRequest))]
[JsonSerializable(typeof(Message))]
[JsonSerializable(typeof(TokenCount))]
[JsonSerializable(typeof(MessageStart))]
[JsonSerializable(typeof(BlockStart))]
[JsonSerializable(typeof(BlockDelta))]
[JsonSerializable(typeof(BlockStop))]
[JsonSerializable(typeof(MessageDelta))]
[JsonSerializable(typeof(BareEvent))]
internal sealed partial class AnthropicJson : JsonSerializerContext
{
    public static AnthropicJson Wire { get; } = new(WireJson.Options());
}

internal sealed class AnthropicError
{
    public string Type => "error";

    public required AnthropicErrorDetail Error { get; init; }
}

internal sealed class AnthropicErrorDetail
{
    public required string Type { get; init; }

    public required string Message { get; init; }
}

/// <summary>The answer of <c>POST /v1/messages/count_tokens</c>.</summary>
internal sealed class TokenCount
{
    public required int InputTokens { get; init; }
}
