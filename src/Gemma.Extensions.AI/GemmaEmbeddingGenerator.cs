using System.Numerics.Tensors;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hosting;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI;

/// <summary>
/// An <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/> over a Gemma 2 model in this process, on the same weights and engine as its chat clients.
/// The texts of a call are computed side by side with whatever else the engine does. Safe for concurrent use.
/// </summary>
/// <remarks>
/// <see cref="EmbeddingGenerationOptions.Dimensions"/> keeps the first dimensions and normalises again; that keeps meaning only for checkpoints that
/// were trained so. <see cref="EmbeddingGenerationOptions.AdditionalProperties"/> may hold <c>input_type</c>: <c>query</c> or <c>document</c>.
/// A <see cref="GemmaEmbeddingOptions"/> returned by <see cref="EmbeddingGenerationOptions.RawRepresentationFactory"/> replaces the generator's own.
/// </remarks>
public sealed class GemmaEmbeddingGenerator : IEmbeddingGenerator<string, Embedding<float>>
{
    private readonly ModelReference _model;
    private readonly GemmaEmbeddingOptions _options;
    private EmbeddingGeneratorMetadata? _metadata;

    /// <summary>Creates a generator over a loaded model, which stays the caller's to dispose.</summary>
    public GemmaEmbeddingGenerator(GemmaModel model, GemmaEmbeddingOptions? options = null)
        : this(new ModelReference(model ?? throw new ArgumentNullException(nameof(model))), options)
    {
    }

    internal GemmaEmbeddingGenerator(ModelReference model, GemmaEmbeddingOptions? options)
    {
        _options = options?.Clone() ?? new GemmaEmbeddingOptions();
        Check(_options);
        _model = model;
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">A text is null, an option is out of range, or the options name another model.</exception>
    /// <exception cref="GemmaContextLengthException">A text is too long and <see cref="GemmaEmbeddingOptions.Truncate"/> is off. Nothing is computed then.</exception>
    /// <exception cref="GemmaOverloadedException">Too many requests wait already.</exception>
    public async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        return await GenerateAsync(
            (model, settings) => values.Select(value => Encode(model, value ?? throw new ArgumentException("A text to embed is null.", nameof(values)), settings, IsQuery(options))), options, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Embeds texts that are tokens already, without bos, eos and prefix.</summary>
    /// <exception cref="ArgumentException">A token is not in the vocabulary.</exception>
    internal Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IReadOnlyList<IReadOnlyList<int>> texts, EmbeddingGenerationOptions? options, CancellationToken cancellationToken) =>
        GenerateAsync((model, _) => texts.Select(text => text.All(id => (uint)id < (uint)model.Tokenizer.VocabularySize) ? text
            : throw new ArgumentException($"A text to embed has a token that is not in the vocabulary, expected 0 to {model.Tokenizer.VocabularySize - 1:N0}.")), options, cancellationToken);

    private async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        Func<GemmaModel, GemmaEmbeddingOptions, IEnumerable<IReadOnlyList<int>>> encode, EmbeddingGenerationOptions? options, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        using ModelLease lease = await _model.LeaseAsync(cancellationToken).ConfigureAwait(false);
        GemmaModel model = lease.Model;
        GemmaEmbeddingOptions settings = options?.RawRepresentationFactory?.Invoke(this) as GemmaEmbeddingOptions ?? _options;
        Check(settings);
        int dimensions = Dimensions(model, options);
        int[][] texts = [.. encode(model, settings).Select(text => Frame(model, text, settings))]; // all are checked before any is computed

        float[][] vectors = await EngineCalls.RunAsync(
            texts, (text, token) => EmbedAsync(model, text, settings, dimensions, token), cancellationToken).ConfigureAwait(false);
        DateTimeOffset now = DateTimeOffset.UtcNow;
        long tokens = texts.Sum(t => (long)t.Length);
        return new GeneratedEmbeddings<Embedding<float>>(vectors.Select(v => new Embedding<float>(v) { ModelId = model.ModelId, CreatedAt = now }))
        {
            Usage = new UsageDetails { InputTokenCount = tokens, TotalTokenCount = tokens },
        };
    }

    /// <summary>
    /// Answers this generator, its <see cref="EmbeddingGeneratorMetadata"/>, a copy of its <see cref="GemmaEmbeddingOptions"/>, the <see cref="ILoggerFactory"/> that its
    /// model logs to, and the <see cref="GemmaModel"/> and <see cref="GemmaTokenizer"/> behind it.
    /// </summary>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(EmbeddingGeneratorMetadata) ? Metadata()
            : serviceType == typeof(GemmaEmbeddingOptions) ? _options.Clone()
            : GemmaChatClient.ServiceOf(_model, serviceType) ?? (serviceType.IsInstanceOfType(this) ? this : null);
    }

    /// <summary>The number of dimensions is in the file, so it is known once the model is loaded.</summary>
    private EmbeddingGeneratorMetadata Metadata()
    {
        if (_metadata?.DefaultModelDimensions is null)
        {
            _metadata = new EmbeddingGeneratorMetadata("gemma", _model.Uri, _model.ModelId, _model.Loaded?.Config.HiddenSize);
        }

        return _metadata;
    }

    /// <summary>Does nothing: the model belongs to whoever loaded it.</summary>
    public void Dispose()
    {
    }

    private static void Check(GemmaEmbeddingOptions options)
    {
        if (!Enum.IsDefined(options.Pooling))
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.Pooling, $"Pooling is {(int)options.Pooling}, expected one of {string.Join(", ", Enum.GetNames<GemmaEmbeddingPooling>())}.");
        }

        if (options.MaxTokens is < 2)
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.MaxTokens, $"MaxTokens is {options.MaxTokens}, expected at least 2 (bos and a token), or nothing for the context.");
        }
    }

    private static int Dimensions(GemmaModel model, EmbeddingGenerationOptions? options)
    {
        if (options?.ModelId is { Length: > 0 } id && !string.Equals(id, model.ModelId, StringComparison.OrdinalIgnoreCase)
            && !string.Equals(id, model.File.Name, StringComparison.OrdinalIgnoreCase))
        {
            throw new ArgumentException(
                $"EmbeddingGenerationOptions.ModelId is '{id}', but this generator runs '{model.ModelId}'. Leave it unset, or register a generator for that model and use that one.", nameof(options));
        }

        int hidden = model.Config.HiddenSize;
        return options?.Dimensions is not { } wanted ? hidden
            : wanted >= 1 && wanted <= hidden ? wanted
            : throw new ArgumentOutOfRangeException(nameof(options), wanted, $"Dimensions is {wanted:N0}, but embeddings of '{model.ModelId}' have 1 to {hidden:N0}.");
    }

    private static bool IsQuery(EmbeddingGenerationOptions? options) => options?.AdditionalProperties?.GetValueOrDefault("input_type")?.ToString() switch
    {
        null or "document" or "passage" => false,
        "query" or "search_query" => true,
        { } other => throw new ArgumentException($"AdditionalProperties[\"input_type\"] is '{other}', expected 'query' or 'document'.", nameof(options)),
    };

    private static List<int> Encode(GemmaModel model, string text, GemmaEmbeddingOptions options, bool query)
    {
        List<int> tokens = [];
        model.Tokenizer.Encode((query ? options.QueryPrefix : options.DocumentPrefix) + text, tokens, matchSpecial: false);
        return tokens;
    }

    /// <summary>The tokens of a text with bos and eos, where the model has them.</summary>
    private static int[] Frame(GemmaModel model, IReadOnlyList<int> text, GemmaEmbeddingOptions options)
    {
        int[] bos = model.Tokenizer.BosId >= 0 ? [model.Tokenizer.BosId] : [];
        int[] eos = options.AppendEndToken ?? model.File.AddsEndToken ? [model.Tokenizer.EosId] : [];
        eos = eos is [>= 0] ? eos : [];
        int most = Math.Min(options.MaxTokens ?? int.MaxValue, Math.Min(model.ContextLength, model.Engine.CapacityTokens));
        int room = most - bos.Length - eos.Length;
        if (text.Count > room && !options.Truncate)
        {
            throw new GemmaContextLengthException(text.Count + bos.Length + eos.Length, most);
        }

        int[] tokens = [.. bos, .. text.Take(room), .. eos];
        return tokens.Length > 0 ? tokens : throw new ArgumentException("A text to embed has no tokens: it is empty, and the vocabulary has no bos.");
    }

    private static async Task<float[]> EmbedAsync(GemmaModel model, int[] tokens, GemmaEmbeddingOptions options, int dimensions, CancellationToken cancellationToken)
    {
        int first = options.Pooling == GemmaEmbeddingPooling.LastToken ? tokens.Length - 1
            : tokens.Length > 1 && tokens[0] == model.Tokenizer.BosId ? 1
            : 0;
        PoolingReader reader = new(first, model.Config.HiddenSize);
        await model.Engine.EvaluateAsync(tokens, reader, cancellationToken, model.FindAdapter(options.Adapter)).ConfigureAwait(false);
        float[] vector = reader.Sum;
        TensorPrimitives.Divide(vector, tokens.Length - first, vector);
        vector = dimensions < vector.Length ? vector[..dimensions] : vector;
        float norm = TensorPrimitives.Norm<float>(vector);
        if (options.Normalize && norm > 0)
        {
            TensorPrimitives.Divide(vector, norm, vector);
        }

        return vector;
    }

    /// <summary>Sums hidden states from a position on.</summary>
    private sealed class PoolingReader(int first, int hidden) : RowReader
    {
        public float[] Sum { get; } = new float[hidden];

        public override int FirstPosition => first;

        public override bool WantsHidden => true;

        public override void OnRow(int position, ReadOnlySpan<float> values) => TensorPrimitives.Add(Sum, values, Sum);
    }
}
