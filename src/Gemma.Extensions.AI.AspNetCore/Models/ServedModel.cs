using System.Diagnostics.CodeAnalysis;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Hosting;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Models;

/// <summary>A model that requests may name: a chat client, an embedding generator, or both. Nothing is made before it is asked for.</summary>
/// <param name="name">Its name in requests and answers.</param>
/// <param name="chat">Makes or finds the chat client; null where it does not chat.</param>
/// <param name="embeddings">Makes or finds the embedding generator; null where it has none of its own.</param>
internal sealed class ServedModel(string name, Func<IChatClient>? chat, Func<IEmbeddingGenerator<string, Embedding<float>>>? embeddings)
{
    private readonly Lazy<IChatClient>? _chat = Lazily(chat);
    private readonly Lazy<IEmbeddingGenerator<string, Embedding<float>>>? _embeddings = Lazily(embeddings);
    private IEmbeddingGenerator<string, Embedding<float>>? _derived;
    private ModelFacts? _facts;

    public string Name => name;

    /// <summary>When it began to be served.</summary>
    public DateTimeOffset Created { get; } = DateTimeOffset.UtcNow;

    /// <summary>The chat client; null where the model does not chat.</summary>
    public IChatClient? Chat => _chat?.Value;

    /// <summary>The embedding generator: its own, or that of the chat client's Gemma model; null if there is none.</summary>
    public IEmbeddingGenerator<string, Embedding<float>>? Embeddings =>
        _embeddings?.Value ?? (Reference is { } reference ? _derived ??= new GemmaEmbeddingGenerator(reference, options: null) : null);

    /// <summary>The Gemma model behind the clients, which need not be loaded; null for clients of another kind, which only have the abstractions.</summary>
    public ModelReference? Reference => Chat?.GetService(typeof(ModelReference)) as ModelReference
        ?? (_embeddings is null ? null : _embeddings.Value.GetService(typeof(ModelReference)) as ModelReference);

    /// <summary>The Gemma model that other processes compute for the chat client; null for others.</summary>
    public IRemoteModel? Remote => Chat?.GetService(typeof(IRemoteModel)) as IRemoteModel;

    /// <summary>True if the chat client honours Gemma's own options, in this process or in a cluster.</summary>
    public bool TakesGemmaOptions => Chat?.GetService(typeof(IGemmaOptionsClient)) is not null;

    /// <summary>Facts from its files; null for other kinds of models and while there are no files. Read once, on the first request that needs them.</summary>
    public ModelFacts? Facts => _facts ??= Reference is { } reference ? ModelFacts.Read(reference.Path) : null;

    /// <summary>Other names that it answers to: what its metadata call it.</summary>
    public string? OtherName => Chat?.GetService<ChatClientMetadata>()?.DefaultModelId
        ?? (_embeddings?.Value.GetService(typeof(EmbeddingGeneratorMetadata)) as EmbeddingGeneratorMetadata)?.DefaultModelId;

    /// <summary>Names of the adapters that may follow its name behind an @.</summary>
    public IReadOnlyList<string> Adapters => Reference?.AdapterNames ?? Remote?.AdapterNames ?? [];

    /// <summary>Whoever made it, as clients show it.</summary>
    public string Owner => Reference is not null ? "google" : Chat?.GetService<ChatClientMetadata>()?.ProviderName ?? "unknown";

    private static Lazy<T>? Lazily<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] T>(Func<T>? make) => make is null ? null : new(make, LazyThreadSafetyMode.PublicationOnly); // a failure is tried again
}

/// <summary>The model and adapter that a request asked for.</summary>
/// <param name="Model">The model.</param>
/// <param name="Adapter">The adapter of it; null: none.</param>
internal readonly record struct ModelChoice(ServedModel Model, string? Adapter)
{
    /// <summary>The name in answers.</summary>
    public string Name => Adapter is null ? Model.Name : $"{Model.Name}@{Adapter}";
}
