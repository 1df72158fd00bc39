using System.Buffers;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Anthropic;

/// <summary>Errors as Anthropic writes them.</summary>
internal sealed class AnthropicDialect : Dialect
{
    public static AnthropicDialect Instance { get; } = new();

    public static AnthropicError Body(ServerError error) => new() { Error = new() { Type = TypeOf(error.Kind), Message = error.Message } };

    public override void WriteError(IBufferWriter<byte> output, ServerError error)
    {
        using Utf8JsonWriter writer = new(output);
        JsonSerializer.Serialize(writer, Body(error), AnthropicJson.Wire.AnthropicError);
    }

    private static string TypeOf(ErrorKind kind) => kind switch
    {
        ErrorKind.Unauthenticated => "authentication_error",
        ErrorKind.Forbidden => "permission_error",
        ErrorKind.NotFound => "not_found_error",
        ErrorKind.TooLarge => "request_too_large",
        ErrorKind.RateLimited => "rate_limit_error",
        ErrorKind.Timeout => "timeout_error",
        ErrorKind.Internal => "api_error",
        ErrorKind.Overloaded => "overloaded_error",
        _ => "invalid_request_error",
    };
}
