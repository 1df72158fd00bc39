using System.Text.Json.Serialization;

namespace Gemma.Extensions.AI.Model;

/// <summary>Kind of output head.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<OutputHead>))]
internal enum OutputHead
{
    /// <summary>Logits, with the token embedding as the head: every checkpoint of Google's.</summary>
    Tied,

    /// <summary>Logits, with a head of its own (<c>lm_head.weight</c>, <c>output.weight</c>).</summary>
    Own,

    /// <summary>A score for each label (<c>score.weight</c>): reward models and other classifiers. No logits.</summary>
    Classifier,

    /// <summary>Nothing: an embedding model. No logits.</summary>
    None,
}

/// <summary>Every number that distinguishes one Gemma 2 checkpoint from another. All of them come from the model file.</summary>
internal sealed record GemmaConfig
{
    public required int VocabularySize { get; init; }

    public required int HiddenSize { get; init; }

    public required int FeedForwardSize { get; init; }

    public required int LayerCount { get; init; }

    public required int HeadCount { get; init; }

    public required int KvHeadCount { get; init; }

    public required int HeadDim { get; init; }

    /// <summary>Tokens that the model was trained to attend over.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Window of the local layers: query i sees key j iff i - j &lt; window.</summary>
    public required int SlidingWindow { get; init; }

    public required float RmsNormEpsilon { get; init; }

    /// <summary>Base of the rotary frequencies; of the global layers alone where <see cref="LocalRopeBase"/> is set.</summary>
    public required float RopeBase { get; init; }

    /// <summary>Base of the rotary frequencies of the local layers; null: that of the others, as in all of Google's checkpoints.</summary>
    public float? LocalRopeBase { get; init; }

    /// <summary>
    /// Divisor of the rotary embedding's positions ("linear" scaling, for contexts that much longer), in the global layers only if
    /// <see cref="LocalRopeFactor"/> is set. Null: 1, as in all of Google's checkpoints.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public float? RopeFactor { get; init; }

    /// <summary>The same of the local layers; null: as in the others.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public float? LocalRopeFactor { get; init; }

    /// <summary>Factor on q·k before the cap: 1/√query_pre_attn_scalar.</summary>
    public required float QueryScale { get; init; }

    /// <summary>Cap of the attention scores, cap·tanh(s/cap); 0 where the model has none.</summary>
    public required float AttentionSoftcap { get; init; }

    /// <summary>Cap of the logits; 0 where the model has none.</summary>
    public required float FinalSoftcap { get; init; }

    public OutputHead Head { get; init; }

    /// <summary>Labels of a classifier; 0 for other models.</summary>
    public int LabelCount { get; init; }

    /// <summary>True if the model predicts tokens.</summary>
    [JsonIgnore]
    public bool HasLogits => Head is OutputHead.Tied or OutputHead.Own;

    /// <summary>Factor on token embeddings. float32, not rounded to bfloat16 (gemma_pytorch in float32, llama.cpp).</summary>
    public float EmbeddingScale => MathF.Sqrt(HiddenSize);

    public int QuerySize => HeadCount * HeadDim;

    public int KvSize => KvHeadCount * HeadDim;

    /// <summary>Parameters of the model, a tied embedding counted once.</summary>
    public long ParameterCount
    {
        get
        {
            long layer = 4L * HiddenSize + (long)HiddenSize * (2 * QuerySize + 2 * KvSize) + 3L * HiddenSize * FeedForwardSize;
            long head = Head switch { OutputHead.Own => VocabularySize, OutputHead.Classifier => LabelCount, _ => 0 };
            return (VocabularySize + head) * HiddenSize + LayerCount * layer + HiddenSize;
        }
    }

    /// <summary>Even layers attend within the window, odd layers over everything.</summary>
    public static bool IsLocal(int layer) => layer % 2 == 0;

    /// <summary>Base of the rotary frequencies of a layer.</summary>
    public float RopeBaseOf(int layer) => IsLocal(layer) ? LocalRopeBase ?? RopeBase : RopeBase;

    /// <summary>Divisor of a layer's positions.</summary>
    public float RopeFactorOf(int layer) => (IsLocal(layer) ? LocalRopeFactor ?? RopeFactor : RopeFactor) ?? 1;

    /// <summary>For those who ask a model without logits for tokens: what it is, and how it is used.</summary>
    public string UseWithoutLogits() => Head == OutputHead.Classifier
        ? $"it is a classifier (Gemma2ForSequenceClassification), which scores texts and writes none. Use {nameof(GemmaModel)}.{nameof(GemmaModel.ClassifyAsync)}."
        : $"it is an embedding model (Gemma2Model), which has no output head. Use {nameof(GemmaModel)}.{nameof(GemmaModel.AsIEmbeddingGenerator)}.";

    /// <summary>Checks that the numbers are possible together.</summary>
    /// <exception cref="GemmaModelFormatException">A number is out of range; the message names it, its value and the file.</exception>
    public GemmaConfig Validate(string source)
    {
        Range(VocabularySize, 1, 1 << 24, "vocabulary size");
        Range(HiddenSize, 1, 1 << 20, "hidden size");
        Range(FeedForwardSize, 1, 1 << 22, "feed-forward size");
        Range(LayerCount, 1, 4096, "layer count");
        Range(HeadCount, 1, 4096, "attention head count");
        Range(KvHeadCount, 1, HeadCount, "key/value head count");
        Range(HeadDim, 2, 4096, "head dimension");
        Range(ContextLength, 1, 1 << 24, "context length");
        Range(SlidingWindow, 1, 1 << 24, "sliding window");
        if (HeadCount % KvHeadCount != 0)
        {
            throw Bad($"{HeadCount} attention heads cannot share {KvHeadCount} key/value heads evenly");
        }

        if (HeadDim % 2 != 0)
        {
            throw Bad($"the head dimension {HeadDim} is odd, but rotary embedding pairs its halves");
        }

        Positive(RmsNormEpsilon, "RMS norm epsilon", zero: true);
        Positive(RopeBase, "RoPE base", zero: false);
        Positive(LocalRopeBase ?? RopeBase, "RoPE base of the local layers", zero: false);
        Positive(RopeFactorOf(1), "RoPE scaling factor", zero: false);
        Positive(RopeFactorOf(0), "RoPE scaling factor of the local layers", zero: false);
        Positive(QueryScale, "query scale", zero: false);
        Positive(AttentionSoftcap, "attention soft cap", zero: true);
        Positive(FinalSoftcap, "final soft cap", zero: true);
        return this;

        void Range(int value, int low, int high, string name)
        {
            if (value < low || value > high)
            {
                throw Bad($"the {name} is {value:N0}, expected {low:N0} to {high:N0}");
            }
        }

        void Positive(float value, string name, bool zero)
        {
            if (!float.IsFinite(value) || value < 0 || (value == 0 && !zero))
            {
                throw Bad($"the {name} is {value}, expected a finite positive number");
            }
        }

        GemmaModelFormatException Bad(string what) =>
            new($"'{source}' is not a usable Gemma 2 model: {what}. The file is damaged or was converted wrongly; download or convert it again.");
    }
}
