using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Devices;
using Gemma.Extensions.AI.Hub;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

/// <summary>Options for loading a model. Bound from the configuration section <c>Gemma</c> by <c>AddGemmaChatClient</c>, validated once.</summary>
public sealed class GemmaOptions
{
    /// <summary>Name of the configuration section that holds these options.</summary>
    public const string SectionName = "Gemma";

    /// <summary>Environment variable that names the model where <see cref="ModelPath"/> is not set.</summary>
    public const string ModelPathVariable = "GEMMA_MODEL";

    internal const string HowToGetAModel =
        "a Gemma 2 GGUF file or a Hugging Face directory, for example gemma-2-2b-it-Q4_K_M.gguf or a clone of google/gemma-2-2b-it; " +
        "'gemma pull google/gemma-2-2b-it' downloads one. To try without a download, add the package Gemma.Extensions.AI.Nano and use the path 'nano'.";

    private List<ChatOptions> _warm = [];

    /// <summary>
    /// The model: a GGUF file (of a split file the first part), a directory with Hugging Face safetensors or its <c>config.json</c>, or an alias
    /// such as <c>nano</c> (the small model of the package Gemma.Extensions.AI.Nano), or a model of the hub as <c>hf:owner/name:TYPE</c>.
    /// </summary>
    public string? ModelPath { get; set; }

    /// <summary>Downloads a model of the hub (<c>hf:…</c>) that is not in the cache when it is first needed.</summary>
    public bool AllowDownload { get; set; }

    /// <summary>Tokens of prompt and answer together, at most what the model was trained for; null takes the model's own number.</summary>
    public int? ContextLength { get; set; }

    /// <summary>
    /// The prompt format of conversations. Null takes the checkpoint's own, as its chat template describes it (<c>chat_template.jinja</c>,
    /// <c>tokenizer_config.json</c>, GGUF metadata), or Google's where it has none. The log says which.
    /// </summary>
    public GemmaChatFormat? ChatFormat { get; set; }

    /// <summary>Threads that compute; null takes the number of physical cores.</summary>
    public int? Threads { get; set; }

    /// <summary>
    /// Name of the kernel tier, e.g. <c>avx2</c> or <c>reference</c> (float32, the slow path that everything else is tested against); null takes
    /// the environment variable <c>GEMMA_KERNEL</c>, else the best that the processor has.
    /// </summary>
    public string? Kernel { get; set; }

    /// <summary>
    /// The device that computes: <c>cpu</c>; <c>cuda</c> (the first suitable NVIDIA GPU) or <c>cuda:1</c> (that one), which fail with <see cref="GemmaDeviceException"/> or
    /// <see cref="GemmaMemoryException"/> where they cannot; or <c>auto</c>: a GPU where there is one that the model fits, else the CPU, and the log says why.
    /// </summary>
    public string Device { get; set; } = "cpu";

    /// <summary>
    /// With a GPU: how many layers it computes, the last ones and the output head with them; the CPU computes the others. Null: all of them, or, where they do not fit its
    /// memory, as many as do.
    /// </summary>
    public int? GpuLayers { get; set; }

    /// <summary>Storage type of keys and values. Q8_0 halves the memory of the two 16-bit types.</summary>
    public GemmaKvCacheType KvCacheType { get; set; } = GemmaKvCacheType.F16;

    /// <summary>
    /// Bytes of key/value memory for all running requests and reusable prefixes together, committed as it is used; null chooses from the context
    /// and the machine.
    /// </summary>
    public long? KvCacheBytes { get; set; }

    /// <summary>Most requests that are generated at the same time; more wait.</summary>
    public int MaxConcurrentRequests { get; set; } = 16;

    /// <summary>Most requests that wait; one more is refused with <see cref="GemmaOverloadedException"/>.</summary>
    public int MaxQueuedRequests { get; set; } = 1024;

    /// <summary>Keep the keys and values of what was read and answered, so that a request which begins the same way computes only what is new.</summary>
    public bool PrefixCache { get; set; } = true;

    /// <summary>
    /// Most tokens that are guessed ahead by looking for what the text said before. Guesses are verified, so the answer is the same; it is faster
    /// where an answer repeats its prompt. 0 turns it off.
    /// </summary>
    public int SpeculativeTokens { get; set; } = 8;

    /// <summary>
    /// A smaller Gemma 2 of the same vocabulary (Gemma 2 2B for 9B or 27B), as in <see cref="ModelPath"/>, that guesses ahead where the text does not repeat itself. Guesses
    /// are verified, so the answer is the same; it is faster where the small model is much faster and often right. Null: none.
    /// </summary>
    public string? DraftModelPath { get; set; }

    /// <summary>
    /// Low-rank adapters (LoRA) to load with the model, by the names under which requests ask for them (<see cref="GemmaGenerationOptions.Adapter"/>): directories
    /// that PEFT saved, or GGUF adapters. <see cref="GemmaModel.LoadAdapter"/> adds more later.
    /// </summary>
    public IDictionary<string, string> Adapters { get; set; } = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);

    /// <summary>
    /// Treatment of a model whose weights, one full context and work space do not fit the memory that the process may use: physical memory, or the limit of
    /// the container (control groups of version 1 and 2 on Linux).
    /// </summary>
    public GemmaMemoryCheck MemoryCheck { get; set; }

    /// <summary>
    /// Copies the weights to private memory in pages of 2 MB while the model is loaded (Linux, on the CPU). Generation reads them faster than through a mapped file, whose pages have 4 kB: most of all in
    /// virtual machines, whose page tables are walked twice. Kernel tiers from avx512-vnni on store the rows there as they read them, 16 among each other, which saves instructions; results are the same bit for bit. Memory that the process takes stays the same, but the system can no longer share it with other processes that load the same file, nor take it
    /// back under pressure. Where the model does not fit the memory that is free, or the system has no such pages, the file stays mapped and the log says why.
    /// </summary>
    public bool HugePages { get; set; }

    /// <summary>
    /// Time without a request after which the model is unloaded and its memory given back; the next request loads it again and waits for that. Null keeps it loaded. A model that was
    /// taken from a client (<c>GetService&lt;GemmaModel&gt;()</c>) stays, as does one that <see cref="GemmaModel.Load"/> made.
    /// </summary>
    public TimeSpan? IdleUnload { get; set; }

    /// <summary>
    /// Bytes that the models of one service provider may take together (weights, one full context and work space each). A model that needs more than is left has others unloaded, the one first
    /// that was not used for the longest time; while all are in use, its requests wait. Null: no limit beside <see cref="MemoryCheck"/>.
    /// </summary>
    public long? MemoryBudget { get; set; }

    /// <summary>
    /// Load the model when the host starts. Otherwise nothing is read before the first request. Without a host, the model is loaded when the
    /// client is taken from the service provider.
    /// </summary>
    public bool Preload { get; set; }

    /// <summary>The message for a missing model path: where it is looked for and how to get a model.</summary>
    internal static string NoModel { get; } =
        $"No Gemma model is configured. Set '{SectionName}:{nameof(ModelPath)}' in the configuration, the environment variable {ModelPathVariable}, or " +
        $"{nameof(GemmaOptions)}.{nameof(ModelPath)} to {HowToGetAModel}";

    /// <summary>Makes the backend that the model runs on: that of <see cref="Device"/>, unless a package that brings another backend has put its own here.</summary>
    internal Func<GemmaOptions, Backend> CreateBackend { get; set; } = DeviceChoice.Create;

    /// <summary>
    /// Has the beginning of an agent's conversations computed while no request runs, so that its first answer need not wait for it: what <see cref="ChatOptions.Instructions"/> and
    /// <see cref="ChatOptions.Tools"/> make of the prompt. A request that comes is never kept waiting. It is computed from the time when the model is loaded (see <see cref="Preload"/>), and again where other
    /// requests displaced it, by the base model. Needs <see cref="PrefixCache"/>.
    /// </summary>
    /// <param name="options">Instructions, tools and tool mode that requests will have; taken as they are now.</param>
    public void Warm(ChatOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _warm.Add(options.Clone());
    }

    /// <summary>Instructions and tools to compute ahead; no property, which configuration would be bound to.</summary>
    internal IReadOnlyList<ChatOptions> GetWarm() => _warm;

    /// <summary>Problems of these options, a sentence each; empty if they can be used.</summary>
    internal IEnumerable<string> Validate() => ValidateModel().Concat(ValidateEngine());

    private IEnumerable<string> ValidateModel()
    {
        if (string.IsNullOrWhiteSpace(ModelPath))
        {
            yield return NoModel;
        }
        else if (!(AllowDownload && ModelAliases.IsHub(ModelPath)) && ModelAliases.Find(ModelPath, out string? problem) is null)
        {
            yield return problem!;
        }

        if (ContextLength is < 1)
        {
            yield return $"{nameof(ContextLength)} is {ContextLength}, expected at least 1 token, or nothing for the model's own context.";
        }

        if (Threads is < 1 or > 1024)
        {
            yield return $"{nameof(Threads)} is {Threads}, expected 1 to 1,024, or nothing for the number of physical cores.";
        }

        if (!DeviceSetting.TryParse(Device, out DeviceSetting device))
        {
            yield return $"{nameof(Device)} is {(string.IsNullOrWhiteSpace(Device) ? "blank" : $"'{Device}'")}, expected auto, cpu, cuda, or a GPU by its number, e.g. cuda:1.";
        }

        if (GpuLayers is < 1 || (GpuLayers is not null && !device.UsesCuda))
        {
            yield return $"{nameof(GpuLayers)} is {GpuLayers} and {nameof(Device)} is '{Device}', expected at least 1 layer, and a {nameof(Device)} of auto or cuda; or nothing to have it chosen.";
        }

        if (!Enum.IsDefined(KvCacheType))
        {
            yield return $"{nameof(KvCacheType)} is {(int)KvCacheType}, expected one of {string.Join(", ", Enum.GetNames<GemmaKvCacheType>())}.";
        }

        if (!Enum.IsDefined(MemoryCheck))
        {
            yield return $"{nameof(MemoryCheck)} is {(int)MemoryCheck}, expected one of {string.Join(", ", Enum.GetNames<GemmaMemoryCheck>())}.";
        }

        if (IdleUnload is { } idle && (idle < TimeSpan.Zero || idle.TotalDays > 24))
        {
            yield return $"{nameof(IdleUnload)} is {idle}, expected up to 24 days, or nothing to keep the model loaded.";
        }

        if (MemoryBudget is < 1)
        {
            yield return $"{nameof(MemoryBudget)} is {MemoryBudget}, expected a number of bytes, or nothing for no limit.";
        }

        if (KvCacheBytes is < 1)
        {
            yield return $"{nameof(KvCacheBytes)} is {KvCacheBytes}, expected a number of bytes, or nothing to have it chosen.";
        }
    }

    private IEnumerable<string> ValidateEngine()
    {
        if (ChatFormat is { } format && !Enum.IsDefined(format))
        {
            yield return $"{nameof(ChatFormat)} is {(int)format}, expected one of {string.Join(", ", Enum.GetNames<GemmaChatFormat>())}, or nothing for the checkpoint's own.";
        }

        if (MaxConcurrentRequests is < 1 or > 4096)
        {
            yield return $"{nameof(MaxConcurrentRequests)} is {MaxConcurrentRequests}, expected 1 to 4,096.";
        }

        if (MaxQueuedRequests < 0)
        {
            yield return $"{nameof(MaxQueuedRequests)} is {MaxQueuedRequests}, expected 0 or more.";
        }

        if (DraftModelPath is not null && ModelAliases.Find(DraftModelPath, out string? draftProblem) is null)
        {
            yield return $"{nameof(DraftModelPath)}: {draftProblem}";
        }

        foreach ((string name, string path) in Adapters)
        {
            if (string.IsNullOrWhiteSpace(name) || string.IsNullOrWhiteSpace(path) || !Path.Exists(path))
            {
                yield return $"{nameof(Adapters)} names '{name}' with the path '{path}', where there is nothing; expected a directory that PEFT saved, or a GGUF adapter.";
            }
        }

        if (Adapters.Keys.GroupBy(name => name, StringComparer.OrdinalIgnoreCase).FirstOrDefault(group => group.Count() > 1) is { } twice)
        {
            yield return $"{nameof(Adapters)} holds the name '{twice.Key}' twice; case does not count.";
        }

        if (SpeculativeTokens is < 0 or > 64)
        {
            yield return $"{nameof(SpeculativeTokens)} is {SpeculativeTokens}, expected 0 to 64.";
        }

        if (_warm.Count > 0 && !PrefixCache)
        {
            yield return $"{nameof(PrefixCache)} is off, but {nameof(Warm)} computes for it. Turn it on, or warm nothing.";
        }

        string[] tiers = [.. KernelTier.All.Select(tier => tier.Name)];
        if (Kernel is not null && !tiers.Contains(Kernel.Trim(), StringComparer.OrdinalIgnoreCase))
        {
            yield return $"{nameof(Kernel)} is {(string.IsNullOrWhiteSpace(Kernel) ? "blank" : $"'{Kernel}'")}, expected the name of a kernel tier ({string.Join(", ", tiers)}), or nothing for the best one.";
        }
    }

    /// <summary>True if both load the same model the same way.</summary>
    internal bool LoadsLike(GemmaOptions other) =>
        CreateBackend == other.CreateBackend && ContextLength == other.ContextLength && Threads == other.Threads && Kernel == other.Kernel && KvCacheType == other.KvCacheType &&
        string.Equals(Device?.Trim(), other.Device?.Trim(), StringComparison.OrdinalIgnoreCase) && GpuLayers == other.GpuLayers &&
        KvCacheBytes == other.KvCacheBytes && MaxConcurrentRequests == other.MaxConcurrentRequests && MaxQueuedRequests == other.MaxQueuedRequests &&
        Adapters.Count == other.Adapters.Count && Adapters.All(adapter => other.Adapters.TryGetValue(adapter.Key, out string? path) && path == adapter.Value) &&
        _warm.Count == other._warm.Count && _warm.Zip(other._warm).All(static pair => BeginAlike(pair.First, pair.Second)) && IdleUnload == other.IdleUnload && MemoryBudget == other.MemoryBudget && PrefixCache == other.PrefixCache && ChatFormat == other.ChatFormat && MemoryCheck == other.MemoryCheck && DraftModelPath == other.DraftModelPath && SpeculativeTokens == other.SpeculativeTokens;

    internal GemmaOptions Clone()
    {
        GemmaOptions clone = (GemmaOptions)MemberwiseClone();
        clone.Adapters = new Dictionary<string, string>(Adapters);
        clone._warm = [.. _warm];
        return clone;
    }

    /// <summary>True if conversations with both options begin with the same tokens.</summary>
    private static bool BeginAlike(ChatOptions one, ChatOptions other) =>
        one.Instructions == other.Instructions && Equals(one.ToolMode, other.ToolMode) && (one.Tools ?? []).SequenceEqual(other.Tools ?? []);
}

/// <summary>Formats of a conversation that can be chosen whatever a checkpoint says.</summary>
public enum GemmaChatFormat
{
    /// <summary>Google's for Gemma 2: <c>&lt;start_of_turn&gt;user</c> and <c>model</c> in alternation; system text opens the first user turn.</summary>
    Gemma,

    /// <summary>The same with turns of <c>system</c>.</summary>
    GemmaSystem,

    /// <summary>ChatML: <c>&lt;|im_start|&gt;system</c>, <c>user</c> and <c>assistant</c>, with bos in front.</summary>
    ChatML,
}

/// <summary>Storage type of keys and values in memory.</summary>
public enum GemmaKvCacheType
{
    /// <summary>IEEE half precision.</summary>
    F16,

    /// <summary>bfloat16: the range of float32, fewer digits than F16.</summary>
    BF16,

    /// <summary>Blocks of 32 signed bytes with a scale: about half the memory of F16.</summary>
    Q8_0,

    /// <summary>float32: for comparisons.</summary>
    F32,
}

/// <summary>Treatment of a model that does not fit in memory.</summary>
public enum GemmaMemoryCheck
{
    /// <summary>
    /// A model that needs more than the process may use at most is refused with <see cref="GemmaMemoryException"/>. One that fits but needs more than is free at
    /// the moment is loaded, with a warning in the log.
    /// </summary>
    Refuse,

    /// <summary>
    /// Every model is loaded; the log warns where it does not fit. Weights are mapped from the file, so the system drops and reads them again as it must: slow, and
    /// where even keys and values do not fit, the system may end the process.
    /// </summary>
    Warn,
}
