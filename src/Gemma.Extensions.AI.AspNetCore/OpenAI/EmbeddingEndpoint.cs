using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Json.Serialization;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary><c>POST /v1/embeddings</c>.</summary>
internal static class EmbeddingEndpoint
{
    /// <summary>OpenAI's limit of texts in one request.</summary>
    private const int MaxInputs = 2048;

    public static async Task RunAsync(HttpContext http, ServerCore core)
    {
        EmbeddingRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.EmbeddingRequest, core.Options).ConfigureAwait(false);
        bool asBase64 = body.EncodingFormat switch
        {
            null or "float" => false,
            "base64" => true,
            { } other => throw new ServerErrorException(ErrorKind.InvalidRequest, $"'encoding_format' is '{other}', expected float or base64.", "encoding_format"),
        };
        TextsOrTokens input = TextsOrTokens.Read(body.Input, "input");
        if (input.Count > MaxInputs)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"'input' has {input.Count:N0} texts, expected at most {MaxInputs:N0}.", "input");
        }

        ModelChoice model = core.Models.Resolve(body.Model, ModelPurpose.Embeddings);
        if (input.Texts?.ToList().FindIndex(string.IsNullOrEmpty) is >= 0 and int empty)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"'input' has an empty text at {empty}.", "input");
        }

        Requests.EmbeddingRequest request = new() { Model = model, Texts = input.Texts ?? [], Tokens = input.Tokens, Dimensions = body.Dimensions, InputType = body.InputType };
        GeneratedEmbeddings<Embedding<float>> vectors = await EmbeddingRunner.RunAsync(core, http, request).ConfigureAwait(false);
        EmbeddingList list = new()
        {
            Model = model.Name,
            Data = [.. vectors.Select((vector, i) => new EmbeddingItem { Index = i, Embedding = new(vector.Vector, asBase64) })],
            Usage = new() { PromptTokens = vectors.Usage?.InputTokenCount ?? 0, TotalTokens = vectors.Usage?.InputTokenCount ?? 0 },
        };
        await ApiEndpoint.WriteJsonAsync(http, list, OpenAIJson.Wire.EmbeddingList).ConfigureAwait(false);
    }
}

/// <summary>The body of <c>POST /v1/embeddings</c>.</summary>
internal sealed class EmbeddingRequest
{
    public string? Model { get; init; }

    public JsonElement? Input { get; init; }

    public string? EncodingFormat { get; init; }

    public int? Dimensions { get; init; }

    /// <summary>The use of the texts: query or document. Not part of OpenAI's API, but of other services.</summary>
    public string? InputType { get; init; }
}

internal sealed class EmbeddingList
{
    public string Object => "list";

    public required IReadOnlyList<EmbeddingItem> Data { get; init; }

    public required string Model { get; init; }

    public required EmbeddingUsage Usage { get; init; }
}

internal sealed class EmbeddingItem
{
    public string Object => "embedding";

    public required int Index { get; init; }

    public required EmbeddingValue Embedding { get; init; }
}

internal sealed class EmbeddingUsage
{
    public required long PromptTokens { get; init; }

    public required long TotalTokens { get; init; }
}

/// <summary>A vector, written as numbers or as base64 of its floats in little-endian order.</summary>
[JsonConverter(typeof(EmbeddingValueConverter))]
internal readonly record struct EmbeddingValue(ReadOnlyMemory<float> Vector, bool AsBase64);

internal sealed class EmbeddingValueConverter : JsonConverter<EmbeddingValue>
{
    public override EmbeddingValue Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => throw new NotSupportedException("Embeddings are only written.");

    public override void Write(Utf8JsonWriter writer, EmbeddingValue value, JsonSerializerOptions options)
    {
        ReadOnlySpan<float> vector = value.Vector.Span;
        if (value.AsBase64)
        {
            byte[] bytes = new byte[vector.Length * sizeof(float)];
            for (int i = 0; i < vector.Length; i++)
            {
                BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(i * sizeof(float)), vector[i]);
            }

            writer.WriteBase64StringValue(bytes);
            return;
        }

        writer.WriteStartArray();
        foreach (float number in vector)
        {
            writer.WriteNumberValue(number);
        }

        writer.WriteEndArray();
    }
}
