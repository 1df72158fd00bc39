using System.Buffers;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>Errors as OpenAI writes them: always all four members.</summary>
internal sealed class OpenAIDialect : Dialect
{
    public static OpenAIDialect Instance { get; } = new();

    public static ErrorBody Body(ServerError error) => new() { Error = new() { Message = error.Message, Type = TypeOf(error.Kind), Param = error.Parameter, Code = error.Code } };

    public override void WriteError(IBufferWriter<byte> output, ServerError error)
    {
        using Utf8JsonWriter writer = new(output);
        JsonSerializer.Serialize(writer, Body(error), OpenAIJson.Wire.ErrorBody);
    }

    private static string TypeOf(ErrorKind kind) => kind switch
    {
        ErrorKind.Unauthenticated => "authentication_error",
        ErrorKind.Forbidden => "permission_error",
        ErrorKind.RateLimited => "rate_limit_error",
        ErrorKind.Overloaded => "overloaded_error",
        ErrorKind.Internal => "server_error",
        _ => "invalid_request_error",
    };
}
