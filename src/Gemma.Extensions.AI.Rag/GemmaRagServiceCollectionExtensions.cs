using System.Diagnostics.CodeAnalysis;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI;
using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.VectorData;
using Microsoft.ML.Tokenizers;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers answers from documents with a service collection.</summary>
public static partial class GemmaRagServiceCollectionExtensions
{
    /// <summary>
    /// Registers a whole pipeline: <see cref="DocumentIngestor"/>, <see cref="DocumentRetriever"/> and <see cref="DocumentAnswerer"/> over a
    /// <see cref="VectorStoreCollection{TKey, TRecord}"/> of <see cref="DocumentChunk"/>. What is registered before is used: an <see cref="IChatClient"/>, an
    /// embedding generator, a <see cref="VectorStore"/>. What is not is added: Gemma's chat client and embedding generator over one loaded model, and
    /// a <see cref="SqliteVectorStore"/>. The model is loaded when the first of the services is resolved.
    /// </summary>
    /// <param name="services">The collection to add to.</param>
    /// <param name="modelPath">A GGUF file, a Hugging Face directory or an alias; null takes the configuration's (<see cref="GemmaOptions"/>).</param>
    /// <param name="configure">Sets options, after the configuration section <see cref="GemmaRagOptions.SectionName"/> was read.</param>
    /// <returns>The services.</returns>
    public static IServiceCollection AddGemmaRag(this IServiceCollection services, string? modelPath = null, Action<GemmaRagOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        services.AddOptions<GemmaRagOptions>().Configure<IServiceProvider>((options, provider) =>
        {
            if (provider.GetService<IConfiguration>() is { } configuration)
            {
                configuration.GetSection(GemmaRagOptions.SectionName).Bind(options);
            }
        });
        if (configure is not null)
        {
            services.Configure(configure);
        }

        if (!IsRegistered<IChatClient>(services))
        {
            services.AddGemmaChatClient(options => options.ModelPath = modelPath ?? options.ModelPath);
        }

        if (!IsRegistered<IEmbeddingGenerator<string, Embedding<float>>>(services))
        {
            services.AddGemmaEmbeddingGenerator(options => options.ModelPath = modelPath ?? options.ModelPath);
        }

        services.TryAddSingleton<VectorStore>(CreateStore);
        services.TryAddSingleton(CreateCollection);
        services.TryAddSingleton(provider => new DocumentIngestor(Collection(provider), Tokenizer(provider), Embeddings(provider), Options(provider).Ingestion));
        services.TryAddSingleton(CreateRetriever);
        services.TryAddSingleton(provider => new DocumentAnswerer(
            provider.GetRequiredService<DocumentRetriever>(), provider.GetRequiredService<IChatClient>(), Tokenizer(provider), Options(provider).Answering));
        return services;
    }

    private static bool IsRegistered<T>(IServiceCollection services) => services.Any(service => service.ServiceType == typeof(T) && !service.IsKeyedService);

    private static GemmaRagOptions Options(IServiceProvider provider) => provider.GetRequiredService<IOptions<GemmaRagOptions>>().Value;

    private static VectorStoreCollection<Guid, DocumentChunk> Collection(IServiceProvider provider) => provider.GetRequiredService<VectorStoreCollection<Guid, DocumentChunk>>();

    private static IEmbeddingGenerator<string, Embedding<float>> Embeddings(IServiceProvider provider) =>
        provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();

    private static SqliteVectorStore CreateStore(IServiceProvider provider)
    {
        SqliteVectorStoreOptions options = Options(provider).Store;
        if (options.ReindexProgress is null && provider.GetService<ILoggerFactory>() is { } loggers)
        {
            options.ReindexProgress = new ReindexLog(loggers.CreateLogger<SqliteVectorStore>());
        }

        return new SqliteVectorStore(Options(provider).DatabasePath, options);
    }

    [DynamicDependency(DynamicallyAccessedMemberTypes.All, typeof(DocumentChunk))]
    [UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "The record is DocumentChunk, whose members are kept.")]
    [UnconditionalSuppressMessage("AOT", "IL3050", Justification = "The record is DocumentChunk, whose members are kept; a class's properties are read without code made at run time.")]
    private static VectorStoreCollection<Guid, DocumentChunk> CreateCollection(IServiceProvider provider)
    {
        IEmbeddingGenerator<string, Embedding<float>> embeddings = Embeddings(provider);
        _ = embeddings.GetService<GemmaModel>(); // Loads the model, where it is one: the number of dimensions is in its file.
        EmbeddingGeneratorMetadata? metadata = embeddings.GetService<EmbeddingGeneratorMetadata>();
        int dimensions = metadata?.DefaultModelDimensions
            ?? throw new GemmaRagException("The registered embedding generator does not say how many dimensions its vectors have. Register the collection (VectorStoreCollection<Guid, DocumentChunk>) yourself.");
        string name = Options(provider).CollectionName ?? CollectionName(metadata?.DefaultModelId);
        return provider.GetRequiredService<VectorStore>().GetCollection<Guid, DocumentChunk>(name, DocumentChunk.CreateDefinition(dimensions));
    }

    /// <summary>Of lower-case letters, digits and single hyphens: some stores take no other names.</summary>
    private static string CollectionName(string? model) =>
        Regex.Replace($"passages {model}".ToLowerInvariant(), "[^a-z0-9]+", "-").Trim('-');

    private static DocumentRetriever CreateRetriever(IServiceProvider provider)
    {
        GemmaRagOptions options = Options(provider);
        if (options.Rerank)
        {
            options.Retrieval.Reranker ??= new GemmaReranker(Model(provider) ?? throw new GemmaRagException("GemmaRagOptions.Rerank needs a Gemma chat client; the registered one is another. Set Retrieval.Reranker instead."));
        }

        return new DocumentRetriever(Collection(provider), Embeddings(provider), options.Retrieval);
    }

    private static GemmaModel? Model(IServiceProvider provider) => provider.GetRequiredService<IChatClient>().GetService<GemmaModel>();

    /// <summary>The chat model's, since passages are packed into its context; where that is not Gemma, what the embedding generator counts with.</summary>
    private static Tokenizer Tokenizer(IServiceProvider provider) =>
        provider.GetRequiredService<IChatClient>().GetService<Tokenizer>() ?? Embeddings(provider).GetService<Tokenizer>() ?? provider.GetService<Tokenizer>()
        ?? throw new GemmaRagException("Neither the chat client nor the embedding generator has a tokenizer, and none is registered. Register a Microsoft.ML.Tokenizers.Tokenizer to count tokens with.");

    /// <summary>Told in the log, since the first call after an update may take long.</summary>
    private sealed partial class ReindexLog(ILogger logger) : IProgress<SqliteReindexProgress>
    {
        public void Report(SqliteReindexProgress value) => Indexed(logger, value.Done, value.Total, value.Collection);

        [LoggerMessage(Level = LogLevel.Information, Message = "The words of {Done} of {Total} passages of '{Collection}' are indexed anew, since an earlier version has written the file.")]
        private static partial void Indexed(ILogger logger, long done, long total, string collection);
    }
}
