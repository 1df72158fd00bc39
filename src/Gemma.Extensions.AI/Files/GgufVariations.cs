using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Files;

/// <summary>
/// The metadata of GGUF that would change what a Gemma 2 model computes. llama.cpp's keys are either honoured, or refused where they are not neutral;
/// keys of the architecture that are not known are named.
/// </summary>
internal static class GgufVariations
{
    private const string Prefix = "gemma2.";
    private const string PoolingType = Prefix + "pooling_type";
    private const string RopeFactors = "rope_freqs.weight";

    /// <summary>Values of <c>pooling_type</c>: none, and the one that makes a reranker; those between are of embedding models.</summary>
    public const int LastTokenPooling = 3, RankPooling = 4;
    private const int NoPooling = 0;

    /// <summary>Keys that are read into the configuration, or say nothing about the result.</summary>
    private static readonly HashSet<string> s_known =
    [
        "context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count", "attention.head_count_kv", "attention.key_length",
        "attention.value_length", "attention.layer_norm_rms_epsilon", "attention.sliding_window", "attention.sliding_window_pattern", "attn_logit_softcapping",
        "final_logit_softcapping", "rope.freq_base", "rope.freq_base_swa", "pooling_type", "classifier.output_labels", "classifier.problem_type",
        "rope.scaling.original_context_length", "rope.scaling.finetuned", "tensor_data_layout",
    ];

    /// <summary>Keys whose number has to be neutral.</summary>
    private static readonly (string Key, Func<double, GemmaConfig, bool> IsNeutral, string Expected)[] s_numbers =
    [
        ("vocab_size", (x, c) => x == c.VocabularySize, "the number of rows of the embedding"),
        ("embedding_length_out", (x, c) => x == c.HiddenSize, "the embedding length"),
        ("embedding_length_per_layer_input", (x, _) => x == 0, "none"),
        ("rope.dimension_count", (x, c) => x == c.HeadDim, "the size of a head, all of which Gemma 2 rotates"),
        ("rope.dimension_count_swa", (x, c) => x == c.HeadDim, "the size of a head, all of which Gemma 2 rotates"),
        ("rope.scaling.attn_factor", (x, _) => x == 1, "1"),
        ("rope.scaling.alpha", (x, _) => x is 0 or 1, "none"),
        ("attention.key_length_swa", (x, c) => x == c.HeadDim, "the size of a head"),
        ("attention.value_length_swa", (x, c) => x == c.HeadDim, "the size of a head"),
        ("attention.scale", (x, c) => x == 0 || Math.Abs(x - c.QueryScale) <= 1e-4 * c.QueryScale, "1/√(size of a head), 1/√(hidden/heads) for the 27B model"),
        ("attention.output_scale", (x, _) => x is 0 or 1, "1"),
        ("attention.value_scale", (x, _) => x is 0 or 1, "1"),
        ("attention.temperature_scale", (x, _) => x == 0, "none"),
        ("attention.temperature_length", (x, _) => x == 0, "none"),
        ("attention.max_alibi_bias", (x, _) => x == 0, "none"),
        ("attention.clamp_kqv", (x, _) => x == 0, "none"),
        ("attention.shared_kv_layers", (x, _) => x == 0, "none"),
        ("attention.q_lora_rank", (x, _) => x == 0, "none"),
        ("attention.kv_lora_rank", (x, _) => x == 0, "none"),
        ("embedding_scale", (x, c) => x is 0 or 1 || Math.Abs(x - c.EmbeddingScale) <= 1e-4 * c.EmbeddingScale, "√(embedding length)"),
        ("residual_scale", (x, _) => x is 0 or 1, "1"),
        ("logit_scale", (x, _) => x is 0 or 1, "1"),
        ("router_logit_softcapping", (x, _) => x == 0, "none"),
        ("expert_count", (x, _) => x == 0, "none"),
        ("expert_used_count", (x, _) => x == 0, "none"),
        ("expert_shared_count", (x, _) => x == 0, "none"),
        ("nextn_predict_layers", (x, _) => x == 0, "none"),
        ("num_loops", (x, _) => x is 0 or 1, "1"),
    ];

    private static readonly (string Key, bool Neutral)[] s_flags = [("attention.causal", true), ("use_parallel_residual", false), ("swin_norm", false)];

    /// <summary>True if the file was made for embeddings: it then has no head, though its tensors are those of a tied model.</summary>
    public static bool IsEmbeddingModel(GgufMetadata metadata) => metadata.GetInt32(PoolingType) is > NoPooling and < RankPooling;

    /// <summary>Checks that a reranker has scores.</summary>
    /// <exception cref="GemmaModelFormatException">It has none, or the pooling is of an unknown kind.</exception>
    public static void CheckPooling(GgufMetadata metadata, GemmaConfig config)
    {
        if (metadata.GetInt32(PoolingType) is { } pooling && (pooling is < -1 or > RankPooling || (pooling == RankPooling && config.Head != OutputHead.Classifier)))
        {
            throw Refused(metadata, PoolingType, $"{pooling}", $"-1 to {RankPooling}, and {RankPooling} for a classifier, with a tensor '{GemmaTensors.Classifier}'");
        }
    }

    /// <summary>Checks every key of the architecture.</summary>
    /// <exception cref="GemmaModelFormatException">A key asks for what is not implemented.</exception>
    public static void Check(GgufMetadata metadata, GemmaConfig config, List<string> warnings)
    {
        CheckLayerTypes(metadata);
        foreach ((string name, Func<double, GemmaConfig, bool> isNeutral, string expected) in s_numbers)
        {
            if (metadata.GetNumber(Prefix + name) is { } number && !isNeutral(number, config))
            {
                throw Refused(metadata, Prefix + name, $"{number}", expected);
            }
        }

        foreach ((string name, bool neutral) in s_flags)
        {
            if (metadata.GetBoolean(Prefix + name) is { } flag && flag != neutral)
            {
                throw Refused(metadata, Prefix + name, flag ? "true" : "false", neutral ? "true" : "false");
            }
        }

        if (metadata.GetString(Prefix + "hidden_activation") is { } activation and not ("gelu_pytorch_tanh" or "gelu_tanh" or "gelu_new" or "geglu"))
        {
            throw Refused(metadata, Prefix + "hidden_activation", $"'{ErrorText.Printable(activation)}'", "'gelu_pytorch_tanh'");
        }

        foreach (string key in metadata.Values.Keys.Where(key => key.StartsWith(Prefix, StringComparison.Ordinal) && !IsKnown(key[Prefix.Length..])))
        {
            warnings.Add($"'{metadata.Source}': the metadata '{ErrorText.Printable(key)}' is not known here and is not used.");
        }
    }

    /// <summary>Factors on the rotary frequencies that are all 1 change nothing. Others stay among the tensors, which are then refused.</summary>
    public static void DropNeutralRopeFactors(Dictionary<string, TensorView> tensors, List<string> warnings)
    {
        if (tensors.TryGetValue(RopeFactors, out TensorView? factors) && Enumerable.Range(0, (int)Math.Min(factors.Rows, int.MaxValue)).All(IsNeutral))
        {
            tensors.Remove(RopeFactors);
            warnings.Add($"'{factors.Source}' holds the tensor '{RopeFactors}', which is not used: it is 1 everywhere.");
        }

        bool IsNeutral(int row)
        {
            float[] values = new float[factors.Columns];
            factors.DecodeRow(row, values);
            return !values.AsSpan().ContainsAnyExcept(1f);
        }
    }

    /// <summary>
    /// Divisor of the positions in all layers; null for none. As in llama.cpp, a factor without a kind scales linearly, kind "none" turns scaling off, 0
    /// means 1, and the older key counts only without the newer.
    /// </summary>
    /// <exception cref="GemmaModelFormatException">The frequencies are scaled in another way.</exception>
    public static float? RopeFactor(GgufMetadata metadata)
    {
        const string Kind = Prefix + "rope.scaling.type";
        string kind = metadata.GetString(Kind) ?? "linear";
        if (kind is not ("none" or "linear"))
        {
            throw Refused(metadata, Kind, $"'{ErrorText.Printable(kind)}'", "'none' or 'linear'");
        }

        foreach (string key in (ReadOnlySpan<string>)[Prefix + "rope.scaling.factor", Prefix + "rope.scale_linear"])
        {
            if (metadata.GetNumber(key) is { } factor)
            {
                return kind == "none" || factor is 0 or 1 ? null : factor > 0 ? (float)factor : throw Refused(metadata, key, $"{factor}", "a number above 0");
            }
        }

        return null;
    }

    /// <summary>A number says that of every so many layers the last is global; an array says of each layer whether it is local.</summary>
    private static void CheckLayerTypes(GgufMetadata metadata)
    {
        const string Key = Prefix + "attention.sliding_window_pattern";
        bool isArray = metadata.Values.TryGetValue(Key, out GgufValue value) && value.Type == GgufType.Array;
        bool[]? pattern = isArray ? metadata.GetBooleans(Key) : null;
        int? period = isArray ? null : metadata.GetInt32(Key);
        if (period is not (null or 2) || pattern?.Where((local, layer) => local != GemmaConfig.IsLocal(layer)).Any() == true)
        {
            throw Refused(metadata, Key, pattern is null ? $"{period}" : ErrorText.Printable($"[{string.Join(", ", pattern)}]"), "2: local and global layers by turns");
        }
    }

    private static bool IsKnown(string name) =>
        s_known.Contains(name) || s_numbers.Any(number => number.Key == name) || s_flags.Any(flag => flag.Key == name) || name.StartsWith("rope.scal", StringComparison.Ordinal) || name == "hidden_activation";

    private static GemmaModelFormatException Refused(GgufMetadata metadata, string key, string found, string expected) =>
        new($"'{metadata.Source}': '{key}' is {found}, which is not supported; expected {expected}. The results would be wrong, so the model is not opened; take another file of it.");
}
