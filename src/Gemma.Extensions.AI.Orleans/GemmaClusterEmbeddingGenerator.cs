using System.Threading.Channels;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Orleans.Clients;
using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Orleans.Wire;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Orleans;

namespace Gemma.Extensions.AI.Orleans;

/// <summary>
/// An <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/> over a model that the nodes of an Orleans cluster serve. The texts of a call go to one node; where it fails, to another.
/// Options are those of <see cref="GemmaEmbeddingGenerator"/>.
/// </summary>
public sealed class GemmaClusterEmbeddingGenerator : IEmbeddingGenerator<string, Embedding<float>>
{
    private readonly IGrainFactory _grains;
    private readonly string _model;
    private readonly GemmaEmbeddingOptions _embedding;
    private readonly GemmaClusterOptions _options;
    private readonly ILogger _logger;
    private readonly NodeWays _ways = new();
    private readonly EmbeddingGeneratorMetadata _metadata;

    /// <summary>Creates a generator of a cluster.</summary>
    /// <param name="grains">The cluster: the grain factory of an Orleans client, or of a silo with <c>AddGemmaNode</c>.</param>
    /// <param name="model">Name of the model in the cluster.</param>
    /// <param name="embedding">How texts are embedded; null takes the defaults.</param>
    /// <param name="options">Times; null takes the defaults.</param>
    /// <param name="loggerFactory">Where moves from node to node are logged. Texts never are.</param>
    /// <exception cref="ArgumentException">The name is blank, or an option is out of range.</exception>
    public GemmaClusterEmbeddingGenerator(IGrainFactory grains, string model, GemmaEmbeddingOptions? embedding = null, GemmaClusterOptions? options = null, ILoggerFactory? loggerFactory = null)
    {
        ArgumentNullException.ThrowIfNull(grains);
        ArgumentException.ThrowIfNullOrWhiteSpace(model);
        (_grains, _model, _embedding, _options) = (grains, model, embedding?.Clone() ?? new GemmaEmbeddingOptions(), GemmaClusterOptions.Check(options));
        _logger = (loggerFactory ?? NullLoggerFactory.Instance).CreateLogger<GemmaClusterEmbeddingGenerator>();
        _metadata = new EmbeddingGeneratorMetadata("gemma", null, model);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">A text is null, an option is out of range, or the options name another model.</exception>
    /// <exception cref="GemmaContextLengthException">A text is too long and <see cref="GemmaEmbeddingOptions.Truncate"/> is off. Nothing is computed then.</exception>
    /// <exception cref="GemmaOverloadedException">Every node that serves the model is full.</exception>
    /// <exception cref="GemmaException">No node serves the model.</exception>
    public async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        cancellationToken.ThrowIfCancellationRequested();
        string[] texts = [.. values.Select(value => value ?? throw new ArgumentException("A text to embed is null.", nameof(values)))];
        if (options?.ModelId is { Length: > 0 } id && !string.Equals(id, _model, StringComparison.OrdinalIgnoreCase))
        {
            throw new ArgumentException($"EmbeddingGenerationOptions.ModelId is '{id}', but this generator asks for '{_model}'. Leave it unset, or register a generator for that model.", nameof(options));
        }

        GemmaEmbeddingOptions settings = options?.RawRepresentationFactory?.Invoke(this) as GemmaEmbeddingOptions ?? _embedding;
        WireRequest request = new() { Model = _model, Texts = Embeddings.ToWire(texts, settings, options) };
        RouteHints hints = new() { Model = _model, Adapter = settings.Adapter, Home = (ulong)Random.Shared.NextInt64() }; // nothing of a text is kept: any node will do
        ClusterCall call = new(_grains, _ways, _options, _logger, request, hints);
        await Task.Run(() => call.RunAsync(Channel.CreateUnbounded<AnswerPart>().Writer, cancellationToken), CancellationToken.None).ConfigureAwait(false);
        WireVectors vectors = call.Vectors!;
        DateTimeOffset now = DateTimeOffset.UtcNow;
        return new GeneratedEmbeddings<Embedding<float>>(vectors.Values.Select(vector => new Embedding<float>(vector) { ModelId = _model, CreatedAt = now }))
        {
            Usage = new UsageDetails { InputTokenCount = vectors.InputTokens, TotalTokenCount = vectors.InputTokens },
        };
    }

    /// <summary>Answers this generator, its <see cref="EmbeddingGeneratorMetadata"/>, a copy of its <see cref="GemmaEmbeddingOptions"/> and the <see cref="IGrainFactory"/> of its cluster.</summary>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(EmbeddingGeneratorMetadata) ? _metadata
            : serviceType == typeof(GemmaEmbeddingOptions) ? _embedding.Clone()
            : serviceType == typeof(IGrainFactory) ? _grains
            : serviceType.IsInstanceOfType(this) ? this
            : null;
    }

    /// <summary>Does nothing: the connection to the cluster belongs to its host.</summary>
    public void Dispose()
    {
    }
}
