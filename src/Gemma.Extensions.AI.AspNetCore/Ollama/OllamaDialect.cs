using System.Buffers;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary>Errors as Ollama writes them: one text.</summary>
internal sealed class OllamaDialect : Dialect
{
    public static OllamaDialect Instance { get; } = new();

    public override void WriteError(IBufferWriter<byte> output, ServerError error)
    {
        using Utf8JsonWriter writer = new(output);
        JsonSerializer.Serialize(writer, new OllamaError { Error = error.Message }, OllamaJson.Wire.OllamaError);
    }
}
