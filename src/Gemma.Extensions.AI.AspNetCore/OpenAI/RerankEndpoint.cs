using System.Numerics.Tensors;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary><c>POST /v1/rerank</c>, as Cohere, Jina and llama.cpp have it: documents by their similarity to a question, as an embedding model sees it.</summary>
internal static class RerankEndpoint
{
    private const int MaxDocuments = 2048;

    public static async Task RunAsync(HttpContext http, ServerCore core)
    {
        RerankRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.RerankRequest, core.Options).ConfigureAwait(false);
        string query = body.Query is { Length: > 0 } text ? text : throw new ServerErrorException(ErrorKind.InvalidRequest, "'query' is missing, expected a text.", "query");
        string[] documents = [.. (body.Documents ?? body.Texts ?? []).Select(ReadDocument)];
        if (documents.Length is 0 or > MaxDocuments)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"'documents' has {documents.Length:N0} texts, expected 1 to {MaxDocuments:N0}.", "documents");
        }

        ModelChoice model = core.Models.Resolve(body.Model, ModelPurpose.Embeddings);
        GeneratedEmbeddings<Embedding<float>> question = await EmbeddingRunner.RunAsync(core, http, new() { Model = model, Texts = [query], InputType = "query" }).ConfigureAwait(false);
        GeneratedEmbeddings<Embedding<float>> vectors = await EmbeddingRunner.RunAsync(core, http, new() { Model = model, Texts = documents, InputType = "document" }).ConfigureAwait(false);
        long tokens = (question.Usage?.InputTokenCount ?? 0) + (vectors.Usage?.InputTokenCount ?? 0);
        IEnumerable<RerankResult> results = vectors.Select((vector, i) => new RerankResult
        {
            Index = i,
            RelevanceScore = TensorPrimitives.CosineSimilarity(question[0].Vector.Span, vector.Vector.Span),
            Document = body.ReturnDocuments == true ? new() { Text = documents[i] } : null,
        }).OrderByDescending(static result => result.RelevanceScore);
        RerankList list = new()
        {
            Id = $"rerank-{Guid.NewGuid():N}",
            Model = model.Name,
            Results = [.. body.TopN is > 0 and { } most ? results.Take(most) : results],
            Usage = new() { PromptTokens = tokens, TotalTokens = tokens },
        };
        await ApiEndpoint.WriteJsonAsync(http, list, OpenAIJson.Wire.RerankList).ConfigureAwait(false);
    }

    private static string ReadDocument(JsonElement document, int index)
    {
        JsonElement text = document.ValueKind == JsonValueKind.Object && document.TryGetProperty("text", out JsonElement inner) ? inner : document;
        return text.ValueKind == JsonValueKind.String && text.GetString() is { Length: > 0 } found ? found
            : throw new ServerErrorException(ErrorKind.InvalidRequest, $"documents[{index}] is {ContentParts.Describe(document)}, expected a text that is not empty, or an object with one.", $"documents[{index}]");
    }
}

/// <summary>The body of <c>POST /v1/rerank</c>.</summary>
internal sealed class RerankRequest
{
    public string? Model { get; init; }

    public string? Query { get; init; }

    public List<JsonElement>? Documents { get; init; }

    /// <summary>The name that text-embeddings-inference has.</summary>
    public List<JsonElement>? Texts { get; init; }

    public int? TopN { get; init; }

    public bool? ReturnDocuments { get; init; }
}

internal sealed class RerankList
{
    public required string Id { get; init; }

    public string Object => "list";

    public required string Model { get; init; }

    public required IReadOnlyList<RerankResult> Results { get; init; }

    public required EmbeddingUsage Usage { get; init; }
}

internal sealed class RerankResult
{
    public required int Index { get; init; }

    public required float RelevanceScore { get; init; }

    public RerankDocument? Document { get; init; }
}

internal sealed class RerankDocument
{
    public required string Text { get; init; }
}
