using System.Numerics.Tensors;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>
/// <c>POST /v1/rerank</c>, as Cohere, Jina and llama.cpp have it: documents by what the application's judge says of them (<c>AddGemmaReranker</c>), else by their similarity to the question as an
/// embedding model sees it.
/// </summary>
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

        if (body.TopN is < 1)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"'top_n' is {body.TopN}, expected at least 1.", "top_n");
        }

        (string model, IReadOnlyList<double> scores, EmbeddingUsage? usage) = http.RequestServices.GetService<GemmaRerank>() is { } judge
            ? (body.Model ?? "reranker", await JudgeAsync(judge, query, documents, http.RequestAborted).ConfigureAwait(false), null)
            : await CompareAsync(http, core, body.Model, query, documents).ConfigureAwait(false);
        IEnumerable<RerankResult> results = scores.Select((score, i) => new RerankResult
        {
            Index = i,
            RelevanceScore = score,
            Document = body.ReturnDocuments == true ? new() { Text = documents[i] } : null,
        }).OrderByDescending(static result => result.RelevanceScore);
        RerankList list = new()
        {
            Id = $"rerank-{Guid.NewGuid():N}",
            Model = model,
            Results = [.. results.Take(body.TopN ?? documents.Length)],
            Usage = usage,
        };
        await ApiEndpoint.WriteJsonAsync(http, list, OpenAIJson.Wire.RerankList).ConfigureAwait(false);
    }

    private static async Task<IReadOnlyList<double>> JudgeAsync(GemmaRerank judge, string query, string[] documents, CancellationToken cancellation)
    {
        IReadOnlyList<double> scores = await judge(query, documents, cancellation).ConfigureAwait(false);
        return scores.Count == documents.Length && scores.All(double.IsFinite) ? scores
            : throw new InvalidOperationException($"The reranker returned {scores.Count} scores for {documents.Length} documents, or one that is no number.");
    }

    private static async Task<(string Model, IReadOnlyList<double> Scores, EmbeddingUsage? Usage)> CompareAsync(HttpContext http, ServerCore core, string? name, string query, string[] documents)
    {
        ModelChoice model = core.Models.Resolve(name, ModelPurpose.Embeddings);
        GeneratedEmbeddings<Embedding<float>> question = await EmbeddingRunner.RunAsync(core, http, new() { Model = model, Texts = [query], InputType = "query" }).ConfigureAwait(false);
        GeneratedEmbeddings<Embedding<float>> vectors = await EmbeddingRunner.RunAsync(core, http, new() { Model = model, Texts = documents, InputType = "document" }).ConfigureAwait(false);
        long tokens = (question.Usage?.InputTokenCount ?? 0) + (vectors.Usage?.InputTokenCount ?? 0);
        double[] scores = [.. vectors.Select(vector => (double)TensorPrimitives.CosineSimilarity(question[0].Vector.Span, vector.Vector.Span))];
        return (model.Name, scores, new() { PromptTokens = tokens, TotalTokens = tokens });
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

    /// <summary>Absent where a judge of the application's own was asked, which does not say what it took.</summary>
    public EmbeddingUsage? Usage { get; init; }
}

internal sealed class RerankResult
{
    public required int Index { get; init; }

    public required double RelevanceScore { get; init; }

    public RerankDocument? Document { get; init; }
}

internal sealed class RerankDocument
{
    public required string Text { get; init; }
}
