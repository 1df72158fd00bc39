using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>A request for embeddings, whichever API it came by.</summary>
internal sealed class EmbeddingRequest
{
    /// <summary>The model that embeds.</summary>
    public required ModelChoice Model { get; init; }

    /// <summary>The texts; empty where they are tokens already.</summary>
    public IReadOnlyList<string> Texts { get; init; } = [];

    /// <summary>The texts as tokens of the model, which only Gemma's generator reads; null where they are texts.</summary>
    public IReadOnlyList<IReadOnlyList<int>>? Tokens { get; init; }

    /// <summary>The use of the texts: query or document; null: the generator's default.</summary>
    public string? InputType { get; init; }

    /// <summary>Dimensions to keep; null: all.</summary>
    public int? Dimensions { get; init; }

    /// <summary>True to truncate texts that are too long; null: the generator's default.</summary>
    public bool? Truncate { get; init; }
}

/// <summary>Has the model embed texts.</summary>
internal static class EmbeddingRunner
{
    public static async Task<GeneratedEmbeddings<Embedding<float>>> RunAsync(ServerCore core, HttpContext http, EmbeddingRequest request)
    {
        RequestLog log = new(core.Logger, http.Request.Path, request.Model.Name);
        IEmbeddingGenerator<string, Embedding<float>> generator = request.Model.Model.Embeddings!;
        EmbeddingGenerationOptions options = new() { Dimensions = request.Dimensions };
        if (request.Truncate is not null || request.Model.Adapter is not null)
        {
            GemmaEmbeddingOptions own = generator.GetService(typeof(GemmaEmbeddingOptions)) as GemmaEmbeddingOptions ?? new();
            own.Truncate = request.Truncate ?? own.Truncate;
            own.Adapter = request.Model.Adapter ?? own.Adapter;
            options.RawRepresentationFactory = _ => own;
        }

        if (request.InputType is not null)
        {
            options.AdditionalProperties = new() { ["input_type"] = request.InputType };
        }

        GeneratedEmbeddings<Embedding<float>> embeddings = await GenerateAsync(generator, request, options, http.RequestAborted).ConfigureAwait(false);
        if (embeddings.Count != (request.Tokens?.Count ?? request.Texts.Count))
        {
            throw new InvalidOperationException($"The embedding generator returned {embeddings.Count} vectors for {request.Tokens?.Count ?? request.Texts.Count} texts.");
        }

        log.Add([embeddings.Usage]);
        log.Write();
        return embeddings;
    }

    private static Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEmbeddingGenerator<string, Embedding<float>> generator, EmbeddingRequest request, EmbeddingGenerationOptions options, CancellationToken cancellation) =>
        request.Tokens is not { } tokens ? generator.GenerateAsync(request.Texts, options, cancellation)
            : generator.GetService(typeof(GemmaEmbeddingGenerator)) is GemmaEmbeddingGenerator own ? own.GenerateAsync(tokens, options, cancellation)
            : throw new ServerErrorException(ErrorKind.InvalidRequest, $"The input is tokens, but '{request.Model.Name}' embeds texts. Send texts.", "input");
}
