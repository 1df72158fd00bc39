using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>A Gemma 2 model in GGUF, whole or split.</summary>
internal sealed class GgufModelFile : ModelFile
{
    private const string Architecture = "gemma2";
    private readonly GgufFile _file;
    private readonly Dictionary<string, TensorView> _tensors;

    /// <summary>Takes ownership of the file.</summary>
    /// <exception cref="GemmaModelFormatException">The file is not a complete Gemma 2 model.</exception>
    public GgufModelFile(GgufFile file)
    {
        _file = file;
        GgufMetadata metadata = file.Metadata;
        string? architecture = metadata.GetString("general.architecture");
        if (architecture != Architecture)
        {
            throw new GemmaModelFormatException(architecture is null
                ? $"'{file.Path}' does not say what architecture it has ('general.architecture' is missing). It is not a model; convert or download it again."
                : $"'{file.Path}' holds a model of architecture '{architecture}'; only '{Architecture}' is supported (Gemma 2: 2B, 9B, 27B and models derived from them).");
        }

        if (metadata.GetString("general.type") == "adapter")
        {
            throw new GemmaModelFormatException($"'{file.Path}' is an adapter, not a model. Load its base model and add it with GemmaOptions.Adapters, or merge it with 'gemma convert --lora'.");
        }

        _tensors = new(file.Tensors, StringComparer.Ordinal);
        GemmaConfig stated = ReadConfig(metadata, _tensors, file.Path);
        GgufVariations.Check(metadata, stated, Warnings);
        GgufVariations.DropNeutralRopeFactors(_tensors, Warnings);
        Config = OutputHeads.Resolve(stated, statesArchitecture: false, statesTying: false, _tensors, file.Path, Warnings);
        GemmaTensors.Check(Config, _tensors, file.Path);
        GgufVariations.CheckPooling(metadata, Config);
        Labels = Config.Head == OutputHead.Classifier ? ClassifierLabels.Read(metadata, Config.LabelCount) : null;
        Name = metadata.GetString("general.name") is { Length: > 0 } name ? name : System.IO.Path.GetFileNameWithoutExtension(file.Path);
        AddsEndToken = metadata.GetBoolean("tokenizer.ggml.add_eos_token") ?? false;
        GenerationDefaults = new GenerationDefaults
        {
            StopTokens = EndTokens.Read(metadata),
            Temperature = (float?)metadata.GetNumber("general.sampling.temp"),
            TopK = metadata.GetInt32("general.sampling.top_k"),
            TopP = (float?)metadata.GetNumber("general.sampling.top_p"),
        }.WithoutUnusable(file.Path, Warnings);
    }

    /// <summary>All metadata of the file. Not to be read once it is disposed.</summary>
    public GgufMetadata Metadata => _file.Metadata;

    public override string Path => _file.Path;

    // What a running model is asked for is read once: the map may be gone when somebody asks late.
    public override string Name { get; }

    public override bool AddsEndToken { get; }

    public override GemmaConfig Config { get; }

    public override ClassifierLabels? Labels { get; }

    public override IReadOnlyDictionary<string, TensorView> Tensors => _tensors;

    public override bool NormsIncludeOne => true;

    public override GenerationDefaults GenerationDefaults { get; }

    protected override IEnumerable<MemoryArea> PrivateAreas => _file.PrivateAreas;

    protected override GemmaTokenizer ReadTokenizer() => GgufTokenizer.Create(Metadata);

    public override ChatTemplateText? ReadChatTemplate() => CheckpointTemplate.Read(Metadata, Path);

    public override long MoveToHugePages(CancellationToken cancellationToken) => _file.MoveToHugePages(cancellationToken);

    public override void Dispose() => _file.Dispose();

    private static GemmaConfig ReadConfig(GgufMetadata metadata, IReadOnlyDictionary<string, TensorView> tensors, string source)
    {
        int hidden = Required("embedding_length");
        int heads = metadata.GetUniformInt32("gemma2.attention.head_count") ?? throw Missing("gemma2.attention.head_count");
        int layers = Required("block_count");
        int headDim = metadata.GetInt32("gemma2.attention.key_length") ?? (heads > 0 ? hidden / heads : 0);
        if (metadata.GetInt32("gemma2.attention.value_length") is { } valueDim && valueDim != headDim)
        {
            throw new GemmaModelFormatException($"'{source}' has keys of {headDim} and values of {valueDim} elements; in Gemma 2 they are equal. The file is damaged; download or convert it again.");
        }

        float rope = (float)(metadata.GetNumber("gemma2.rope.freq_base") ?? 10000), localRope = (float)(metadata.GetNumber("gemma2.rope.freq_base_swa") ?? rope);
        return new GemmaConfig
        {
            VocabularySize = Vocabulary(metadata, tensors, source),
            HiddenSize = hidden,
            FeedForwardSize = metadata.GetUniformInt32("gemma2.feed_forward_length") ?? throw Missing("gemma2.feed_forward_length"),
            LayerCount = layers,
            HeadCount = heads,
            KvHeadCount = metadata.GetUniformInt32("gemma2.attention.head_count_kv") ?? heads,
            HeadDim = headDim,
            ContextLength = Required("context_length"),

            // Files converted before the window and the caps were stored are all of Google's checkpoints, which have these.
            SlidingWindow = metadata.GetInt32("gemma2.attention.sliding_window") ?? 4096,
            AttentionSoftcap = (float)(metadata.GetNumber("gemma2.attn_logit_softcapping") ?? 50),
            FinalSoftcap = (float)(metadata.GetNumber("gemma2.final_logit_softcapping") ?? 30),
            RmsNormEpsilon = (float)(metadata.GetNumber("gemma2.attention.layer_norm_rms_epsilon") ?? 1e-6),
            RopeBase = rope,
            LocalRopeBase = localRope == rope ? null : localRope,
            RopeFactor = GgufVariations.RopeFactor(metadata),
            Head = GgufVariations.IsEmbeddingModel(metadata) ? OutputHead.None : OutputHead.Tied,

            // GGUF does not store query_pre_attn_scalar. Only the 27B model (46 layers) divides by hidden/heads instead of the head's size.
            QueryScale = 1 / MathF.Sqrt(layers == 46 && heads > 0 ? hidden / (float)heads : headDim),
        }.Validate(source);

        int Required(string key) => metadata.GetInt32("gemma2." + key) ?? throw Missing("gemma2." + key);

        GemmaModelFormatException Missing(string key) => new($"'{source}' has no metadata '{key}'. The file is damaged or was converted wrongly; download or convert it again.");
    }

    private static int Vocabulary(GgufMetadata metadata, IReadOnlyDictionary<string, TensorView> tensors, string source)
    {
        long tokens = metadata.GetCount("tokenizer.ggml.tokens");
        if (!tensors.TryGetValue(GemmaTensors.Embedding, out TensorView? embedding))
        {
            throw new GemmaModelFormatException($"'{source}' has no tensor '{GemmaTensors.Embedding}'. The file is incomplete, or holds only a vocabulary; download or convert it again.");
        }

        // Embeddings may be padded to more rows than there are tokens, never to fewer.
        if (embedding.Rows < tokens || embedding.Rows > int.MaxValue)
        {
            throw new GemmaModelFormatException($"Tensor '{GemmaTensors.Embedding}' in '{source}' has {embedding.Rows:N0} rows for {tokens:N0} tokens. The file is damaged or was converted wrongly; download or convert it again.");
        }

        return (int)embedding.Rows;
    }
}
