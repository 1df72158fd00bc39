using System.Diagnostics;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Gemma.Extensions.AI.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary><c>POST /api/embed</c> and the older <c>POST /api/embeddings</c>.</summary>
internal static class OllamaEmbedEndpoints
{
    public static async Task EmbedAsync(HttpContext http, ServerCore core)
    {
        OllamaEmbedRequest body = await RequestBody.ReadAsync(http, OllamaJson.Wire.OllamaEmbedRequest, core.Options, anyContentType: true).ConfigureAwait(false);
        long started = Stopwatch.GetTimestamp();
        EmbeddingRequest request = new()
        {
            Model = Find(core, body.Model, body.KeepAlive),
            Texts = ReadInput(body.Input),
            Dimensions = body.Dimensions is > 0 ? body.Dimensions : null,
            Truncate = body.Truncate ?? true,
        };
        ModelReference? reference = request.Model.Model.Reference;
        bool wasLoaded = reference?.Loaded is not null;
        GeneratedEmbeddings<Embedding<float>> embeddings = await EmbeddingRunner.RunAsync(core, http, request).ConfigureAwait(false);
        OllamaEmbedAnswer answer = new()
        {
            Model = OllamaNames.Of(request.Model),
            Embeddings = [.. embeddings.Select(static embedding => embedding.Vector)],
            TotalDuration = OllamaAnswers.Nanoseconds(Stopwatch.GetElapsedTime(started)),
            LoadDuration = wasLoaded ? 0 : OllamaAnswers.Nanoseconds(reference?.LoadTime ?? TimeSpan.Zero),
            PromptEvalCount = embeddings.Usage?.InputTokenCount ?? 0,
        };
        await ApiEndpoint.WriteJsonAsync(http, answer, OllamaJson.Wire.OllamaEmbedAnswer).ConfigureAwait(false);
    }

    public static async Task EmbedOneAsync(HttpContext http, ServerCore core)
    {
        OllamaEmbeddingsRequest body = await RequestBody.ReadAsync(http, OllamaJson.Wire.OllamaEmbeddingsRequest, core.Options, anyContentType: true).ConfigureAwait(false);
        EmbeddingRequest request = new() { Model = Find(core, body.Model, body.KeepAlive), Texts = [body.Prompt ?? ""], Truncate = true };
        GeneratedEmbeddings<Embedding<float>> embeddings = await EmbeddingRunner.RunAsync(core, http, request).ConfigureAwait(false);
        await ApiEndpoint.WriteJsonAsync(http, new OllamaEmbeddingsAnswer { Embedding = embeddings[0].Vector }, OllamaJson.Wire.OllamaEmbeddingsAnswer).ConfigureAwait(false);
    }

    private static ModelChoice Find(ServerCore core, string? name, JsonElement? keepAlive)
    {
        ModelChoice model = OllamaNames.Resolve(core.Models, name, ModelPurpose.Embeddings);
        if (OllamaNames.ReadKeepAlive(keepAlive) is { } time && model.Model.Reference is { } reference)
        {
            reference.KeepAlive = time;
        }

        return model;
    }

    private static string[] ReadInput(JsonElement? input) => input switch
    {
        null or { ValueKind: JsonValueKind.Null } => [],
        { ValueKind: JsonValueKind.String } text => [text.GetString()!],
        { ValueKind: JsonValueKind.Array } list => [.. list.EnumerateArray().Select(static item => item.ValueKind == JsonValueKind.String ? item.GetString()! : throw Wrong(item))],
        { } other => throw Wrong(other),
    };

    private static ServerErrorException Wrong(JsonElement element) => new(ErrorKind.InvalidRequest, $"'input' holds a JSON {element.ValueKind}, expected a text or a list of texts.", "input");
}
