using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Devices;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Gemma.Extensions.AI;

/// <summary>
/// A loaded Gemma 2 model: the weights (memory mapped), the tokenizer and the engine that runs them. Load it once and share it; any number of
/// clients and calls use it at the same time. Disposing it ends what is running.
/// </summary>
public sealed partial class GemmaModel : IDisposable
{
    private readonly ModelFile? _draft;
    private readonly FoundFormat _format;

    private GemmaModel(string path, ModelFile file, ModelFile? draft, GemmaTokenizer tokenizer, Backend backend, GemmaEngine engine, IEnumerable<LoraWeights> adapters, FoundFormat format, ILoggerFactory? loggerFactory)
    {
        _format = format;
        _draft = draft;
        _adapters = new(adapters.Select(adapter => KeyValuePair.Create(adapter.Name, adapter)), StringComparer.OrdinalIgnoreCase);
        Path = path;
        File = file;
        Tokenizer = tokenizer;
        StopTokens = EndTokens.Of(file, tokenizer);
        Backend = backend;
        Engine = engine;
        ModelId = ModelAliases.ModelId(path);
        Replies = engine.KeepsPrefixes ? new ReplyTokenCache() : null;
        LoggerFactory = loggerFactory ?? NullLoggerFactory.Instance;
        HostedTools = new HostedTools(LoggerFactory.CreateLogger<GemmaChatClient>());
        _classifier = file.Labels is { } labels ? new Classifier(labels, file) : null;
        if (!backend.ReadsMappedWeights)
        {
            // A device has its own copy: the files' pages are free for others, and so are the files.
            file.Dispose();
            draft?.Dispose();
        }
    }

    /// <summary>Name of the model: of its file without extension, or of its directory.</summary>
    public string ModelId { get; }

    /// <summary>Full path of the file or directory that was loaded.</summary>
    public string Path { get; }

    /// <summary>Tokens of prompt and answer together that this instance holds.</summary>
    public int ContextLength => Engine.ContextLength;

    /// <summary>The model's tokenizer.</summary>
    public GemmaTokenizer Tokenizer { get; }

    internal ModelFile File { get; }

    /// <summary>Tokens that end a reply.</summary>
    internal int[] StopTokens { get; }

    /// <summary>Prompt format of conversations.</summary>
    /// <exception cref="GemmaModelFormatException">The checkpoint's template cannot be used; says why, where, and what to do.</exception>
    internal ChatFormat ChatFormat => _format.Format;

    /// <summary>Tokens of earlier replies; null without a prefix cache, their only use.</summary>
    internal ReplyTokenCache? Replies { get; }

    /// <summary>The model's log.</summary>
    internal ILoggerFactory LoggerFactory { get; }

    /// <summary>Refuses or reports tools that are not functions.</summary>
    internal HostedTools HostedTools { get; }

    internal Backend Backend { get; }

    internal GemmaEngine Engine { get; }

    internal GemmaConfig Config => File.Config;

    /// <summary>Backend and tier that run the model, e.g. <c>cpu/avx2</c>.</summary>
    internal string KernelName => Backend.Name;

    /// <inheritdoc cref="Backend.FallbackReason"/>
    internal string? FallbackReason => Backend.FallbackReason;

    /// <summary>Threads that compute.</summary>
    internal int Threads => Backend.Threads;

    /// <summary>Loads a model.</summary>
    /// <param name="path">A GGUF file, a Hugging Face directory or an alias; see <see cref="GemmaOptions.ModelPath"/>.</param>
    /// <param name="options">How to load; its <see cref="GemmaOptions.ModelPath"/> is not read.</param>
    /// <exception cref="GemmaModelFormatException">The model, or an adapter, is missing, damaged, incomplete or not one of Gemma 2.</exception>
    /// <exception cref="GemmaMemoryException">The model does not fit the machine.</exception>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public static GemmaModel Load(string path, GemmaOptions? options = null) => LoadUnlessCancelled(path, options, CancellationToken.None);

    /// <inheritdoc cref="Load" path="//returns | //exception | //remarks"/>
    /// <summary>Loads a model, and downloads it where options allow that, on a thread of the pool.</summary>
    /// <param name="path">A GGUF file, a Hugging Face directory or an alias; see <see cref="GemmaOptions.ModelPath"/>.</param>
    /// <param name="options">How to load; its <see cref="GemmaOptions.ModelPath"/> is not read.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static Task<GemmaModel> LoadAsync(string path, GemmaOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        return Task.Run(() => LoadUnlessCancelled(path, options, cancellationToken), cancellationToken);
    }

    /// <inheritdoc cref="Load"/>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    internal static GemmaModel LoadUnlessCancelled(string path, GemmaOptions? options, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        GemmaOptions checkedOptions = options?.Clone() ?? new GemmaOptions();
        string full = ModelAliases.Find(path, out string? missing) ?? (checkedOptions.AllowDownload && ModelAliases.IsHub(path)
            ? GemmaModelHub.EnsureAsync(path, cancellationToken: cancellationToken).GetAwaiter().GetResult()
            : throw new GemmaModelFormatException(missing!));
        checkedOptions.ModelPath = full;
        string problems = string.Join(" ", checkedOptions.Validate());
        return problems.Length == 0 ? LoadCore(full, checkedOptions, null, null, cancellationToken) : throw new ArgumentException(problems, nameof(options));
    }

    /// <summary>
    /// Computes the beginning of a conversation (system text, tools, documents) and writes its keys and values to a file. After a restart,
    /// <see cref="LoadPromptCacheAsync"/> makes conversations that begin like it as fast as if they had just been going on.
    /// </summary>
    /// <param name="path">File to write; replaced if it exists. A 2B model takes about 107 kB a token with 16-bit keys and values.</param>
    /// <param name="messages">The messages that conversations begin with.</param>
    /// <param name="options">Instructions and tools that they are given. The base model computes; requests with an adapter do not use the file.</param>
    /// <param name="cancellationToken">Gives up; no file is left then.</param>
    /// <exception cref="GemmaContextLengthException">The messages are longer than the context.</exception>
    /// <exception cref="InvalidOperationException">The prefix cache is off or too small.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public Task SavePromptCacheAsync(string path, IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        ArgumentNullException.ThrowIfNull(messages);
        ChatPrompt prompt = ChatTemplate.Render(ChatFormat, messages, options, Replies);
        return Engine.SavePromptCacheAsync(path, prompt.Tokens[..prompt.ContentEnd], cancellationToken); // a conversation goes on within the last turn
    }

    /// <summary>Reads a file of <see cref="SavePromptCacheAsync"/>. Returns how many tokens need not be computed again.</summary>
    /// <exception cref="GemmaModelFormatException">The file is damaged, or was saved with another model, version or type of key/value memory. Nothing was loaded.</exception>
    /// <exception cref="GemmaKvCacheException">The prompt does not fit the key/value memory that is not in use.</exception>
    /// <exception cref="InvalidOperationException">The prefix cache is off.</exception>
    /// <exception cref="IOException">The file is not there or cannot be read.</exception>
    public Task<int> LoadPromptCacheAsync(string path, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        return Engine.LoadPromptCacheAsync(path, cancellationToken);
    }

    /// <summary>
    /// A chat client over this model. Disposing the client leaves the model as it is. Of a classifier or an embedding model, which write no text, it refuses
    /// every request with <see cref="NotSupportedException"/>.
    /// </summary>
    public IChatClient AsIChatClient() => new GemmaChatClient(this);

    /// <summary>An embedding generator over this model. Disposing the generator leaves the model as it is.</summary>
    /// <param name="options">How texts are embedded; null takes the defaults.</param>
    public IEmbeddingGenerator<string, Embedding<float>> AsIEmbeddingGenerator(GemmaEmbeddingOptions? options = null) => new GemmaEmbeddingGenerator(this, options);

    /// <summary>Loads from a path that exists, with options that were checked.</summary>
    internal static GemmaModel LoadCore(
        string path, GemmaOptions options, IProgress<GemmaLoadProgress>? progress, ILoggerFactory? loggerFactory, CancellationToken cancellationToken)
    {
        ModelFile? file = null;
        ModelFile? draft = null;
        Task<GemmaTokenizer>? tokenizer = null;
        Backend? backend = null;

        // Kernels are assembled while the file is parsed and checked.
        Task<Backend> preparing = Task.Run(() => options.CreateBackend(options), CancellationToken.None);
        try
        {
            file = ModelFile.Open(path, checkScales: false, cancellationToken);
            if (options.ContextLength > file.Config.ContextLength)
            {
                throw new ArgumentOutOfRangeException(
                    nameof(options), $"{nameof(GemmaOptions.ContextLength)} is {options.ContextLength:N0}, but '{path}' was trained for {file.Config.ContextLength:N0} tokens. Use at most that.");
            }

            ILogger? logger = loggerFactory?.CreateLogger<GemmaModel>();
            MemoryAdvice memory = AdviceFor(file, options);
            ReadWeights(file, memory, options, logger, cancellationToken);
            foreach (string warning in file.Warnings)
            {
                logger?.LogWarning("{Warning}", warning);
            }

            draft = options.DraftModelPath is { } draftPath ? OpenDraft(draftPath, options, logger, cancellationToken) : null;
            backend = DeviceChoice.Fit(preparing.GetAwaiter().GetResult(), options, file, options.KvCacheType, draft is null ? null : (draft, Scheduler.SpeculatingSequences));
            if (backend is not CudaBackend)
            {
                CheckMemory(path, memory, file.Config, options.MemoryCheck, logger);
            }

            ModelFile opened = file;
            tokenizer = Task.Run(opened.CreateTokenizer, CancellationToken.None);
            IProgress<double>? weightProgress = progress is null ? null : new WeightProgress(progress, file.Config.LayerCount);
            GemmaWeights weights = LoadWeights(file, backend, weightProgress, logger, cancellationToken);
            (GemmaConfig, GemmaWeights)? smaller = draft is null ? null : (draft.Config, LoadWeights(draft, backend, null, logger, cancellationToken));
            draft?.Warnings.ForEach(warning => logger?.LogWarning("{Warning}", warning));
            LoraWeights[] adapters = [.. options.Adapters.Select(adapter => ReadAdapter(adapter.Key, adapter.Value, opened.Config, backend))];
            GemmaTokenizer ready = tokenizer.GetAwaiter().GetResult();
            TokenGaps gaps = TokenGaps.Of(file.Config.VocabularySize, id => id < ready.VocabularySize && ready.GetKind(id) != TokenKind.Unused);
            FoundFormat format = FoundFormat.Find(file, ready, options.ChatFormat, loggerFactory?.CreateLogger<GemmaModel>());
            int[][] warm = [.. options.GetWarm().Select(one => BeginningOf(format.Format, one, options.ContextLength ?? opened.Config.ContextLength))];
            GemmaEngine engine = new(file.Config, weights, backend, EngineOptions(path, options, backend) with { Gaps = gaps }, loggerFactory?.CreateLogger<GemmaEngine>(), smaller);
            engine.IdlePrefixes.Keep(warm);
            return new GemmaModel(path, file, draft, ready, backend, engine, adapters, format, loggerFactory);
        }
        catch
        {
            // The tokenizer is read from the mapped file: wait before unmapping it.
            tokenizer?.ContinueWith(static _ => { }, TaskScheduler.Default).GetAwaiter().GetResult();
            (backend ?? preparing.ContinueWith(static prepared => prepared.IsCompletedSuccessfully ? prepared.Result : null, TaskScheduler.Default).GetAwaiter().GetResult())?.Dispose();
            draft?.Dispose();
            file?.Dispose();
            throw;
        }
    }

    /// <summary>Bytes that a model will need with these options: weights, one full context and work space, of a model that guesses ahead the weights.</summary>
    internal static long MemoryOf(string path, GemmaOptions options)
    {
        using ModelFile file = ModelFile.Open(path);
        using ModelFile? draft = options.DraftModelPath is { } draftPath ? ModelFile.Open(ModelAliases.Find(draftPath, out _)!) : null;
        return AdviceFor(file, options).NeededBytes + (draft?.Tensors.Values.Sum(tensor => tensor.ByteLength) ?? 0);
    }

    /// <summary>Ends running requests and releases the memory.</summary>
    public void Dispose()
    {
        Engine.Dispose();
        Backend.Dispose();
        _draft?.Dispose();
        File.Dispose();
    }

    /// <summary>Tokens that conversations with these options begin with, whatever the user says.</summary>
    private static int[] BeginningOf(ChatFormat format, ChatOptions options, int contextLength)
    {
        int[] one = Prompt("a"), other = Prompt("B");
        int[] beginning = one[..one.AsSpan().CommonPrefixLength(other)];
        return beginning.Length < contextLength ? beginning : throw new GemmaContextLengthException(beginning.Length, contextLength);

        int[] Prompt(string text) => ChatTemplate.Render(format, [new ChatMessage(ChatRole.User, text)], options).Tokens;
    }

    private static MemoryAdvice AdviceFor(ModelFile file, GemmaOptions options) => MemoryAdvice.For(
        file.Config, file.Tensors.Values.Sum(tensor => tensor.ByteLength), options.ContextLength ?? file.Config.ContextLength, options.KvCacheType);

    private static void CheckMemory(string path, MemoryAdvice memory, GemmaConfig config, GemmaMemoryCheck check, ILogger? logger)
    {
        if (check == GemmaMemoryCheck.Refuse)
        {
            memory.ThrowIfTooLarge(path, config);
        }

        if (memory.FitsNow)
        {
            logger?.LogInformation("{Path} {Memory}", path, memory.Describe());
        }
        else if (memory.Fits)
        {
            logger?.LogWarning("{Path} {Memory}. Other processes hold the rest: weights may be read from disk again and again, which is slow.", path, memory.Describe());
        }
        else
        {
            logger?.LogWarning("{Path} {Memory}: weights will be read from disk again and again, which is slow. {Advice}", path, memory.Describe(), memory.Advise(config));
        }
    }

    private static ModelFile OpenDraft(string path, GemmaOptions options, ILogger? logger, CancellationToken cancellationToken)
    {
        ModelFile file = ModelFile.Open(ModelAliases.Find(path, out _)!, checkScales: false, cancellationToken);
        try
        {
            ReadWeights(file, AdviceFor(file, options), options, logger, cancellationToken);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Reads the weights once, to check their scales; before that they are moved to huge pages where the options ask for it.</summary>
    private static void ReadWeights(ModelFile file, MemoryAdvice memory, GemmaOptions options, ILogger? logger, CancellationToken cancellationToken)
    {
        if (options.HugePages)
        {
            string? reason = options.Device != "cpu" ? $"the device is {options.Device}, not cpu" : !memory.FitsNow ? $"the model {memory.Describe()}" : HugePages.Unsupported();
            if (reason is null)
            {
                long moved = file.MoveToHugePages(cancellationToken);
                logger?.LogInformation("{Moved:N0} of {Bytes:N0} bytes of weights of {Path} were moved to private memory in pages of 2 MB.", moved, memory.WeightBytes, file.Path);
            }
            else
            {
                logger?.LogWarning("{Option} is set, but the weights of {Path} stay in the mapped file: {Reason}.", nameof(GemmaOptions.HugePages), file.Path, reason);
            }
        }

        ScaleCheck.Run(file.Tensors.Values, cancellationToken);
    }

    /// <summary>Weights in private memory are nobody else's: their rows are stored as the backend reads them fastest, and then handed to it.</summary>
    private static GemmaWeights LoadWeights(ModelFile file, Backend backend, IProgress<double>? progress, ILogger? logger, CancellationToken cancellationToken)
    {
        if (file.Interleave(backend.CanInterleave, cancellationToken) is > 0 and long bytes)
        {
            logger?.LogInformation("{Bytes:N0} bytes of weights of {Path} were interleaved, 16 rows each, for {Backend}.", bytes, file.Path, backend.Name);
        }

        return GemmaWeights.Load(file, backend, progress, cancellationToken);
    }

    private static EngineOptions EngineOptions(string path, GemmaOptions options, Backend backend) => new()
    {
        PrefillChunk = backend.PromptRows ?? (backend.HasPromptKernels ? Gemma.Extensions.AI.Engine.EngineOptions.PromptKernelChunk : new EngineOptions().PrefillChunk),
        ModelName = ModelAliases.ModelId(path),
        ContextLength = options.ContextLength,
        KvType = options.KvCacheType,
        KvCacheBytes = options.KvCacheBytes,
        MaxConcurrentRequests = options.MaxConcurrentRequests,
        MaxQueuedRequests = options.MaxQueuedRequests,
        PrefixCache = options.PrefixCache,
        SpeculativeTokens = options.SpeculativeTokens,
    };

    private sealed class WeightProgress(IProgress<GemmaLoadProgress> progress, int layers) : IProgress<double>
    {
        public void Report(double value) => progress.Report(new GemmaLoadProgress("layers", (long)Math.Round(value * layers), layers));
    }
}
