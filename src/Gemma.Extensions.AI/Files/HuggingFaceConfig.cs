using System.Text.Json;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Files;

/// <summary>
/// Reads the numbers of a model from a checkpoint's config.json. Absent fields have the defaults of transformers' Gemma2Config. What would change the
/// result and is not implemented is refused; what is not known is named (<see cref="HuggingFaceFields"/>).
/// </summary>
internal static class HuggingFaceConfig
{
    private const int DefaultKvHeads = 4;

    /// <exception cref="GemmaModelFormatException">The configuration is damaged, or of a model that is not supported.</exception>
    public static GemmaConfig Read(JsonFile config)
    {
        OutputHead head = Head(config);
        int layers = config.RequiredInt32("num_hidden_layers");
        int heads = config.RequiredInt32("num_attention_heads");
        int hidden = config.RequiredInt32("hidden_size");
        int headDim = config.GetInt32("head_dim") ?? 256;
        int context = config.GetInt32("max_position_embeddings") ?? 8192;
        CheckVariation(config, layers);
        (RopeFrequencies rope, RopeFrequencies localRope) = HuggingFaceRope.Read(config);
        return new GemmaConfig
        {
            VocabularySize = config.GetInt32("vocab_size") ?? 256000,
            HiddenSize = hidden,
            FeedForwardSize = config.RequiredInt32("intermediate_size"),
            LayerCount = layers,
            HeadCount = heads,
            KvHeadCount = config.GetInt32("num_key_value_heads") ?? (config.Has("num_key_value_heads") ? heads : DefaultKvHeads),
            HeadDim = headDim,
            ContextLength = context,
            SlidingWindow = config.GetInt32("sliding_window") ?? (config.Has("sliding_window") ? context : 4096),
            RmsNormEpsilon = (float)(config.GetNumber("rms_norm_eps") ?? 1e-6),
            RopeBase = (float)rope.Base,
            LocalRopeBase = localRope.Base == rope.Base ? null : (float)localRope.Base,
            RopeFactor = rope.Factor == 1 ? null : (float)rope.Factor,
            LocalRopeFactor = localRope.Factor == rope.Factor ? null : (float)localRope.Factor,
            QueryScale = (float)(1 / Math.Sqrt(QueryScalar(config, layers, hidden, heads, headDim))),
            AttentionSoftcap = Cap(config, "attn_logit_softcapping", 50),
            FinalSoftcap = Cap(config, "final_logit_softcapping", 30),
            Head = head,
            LabelCount = head == OutputHead.Classifier ? ClassifierLabels.CountOf(config) : 0,
        }.Validate(config.Path);
    }

    /// <summary>True if the file names its transformers class.</summary>
    public static bool StatesArchitecture(JsonFile config) => Architecture(config) is not null;

    private static string? Architecture(JsonFile config) => config.GetStrings("architectures")?.FirstOrDefault();

    /// <summary>JSON null means no cap; absent means the default.</summary>
    private static float Cap(JsonFile config, string name, double absent) => (float)(config.GetNumber(name) ?? (config.Has(name) ? 0 : absent));

    private static double QueryScalar(JsonFile config, int layers, int hidden, int heads, int headDim)
    {
        double scalar = config.GetNumber("query_pre_attn_scalar") ?? 256;

        // The first config.json of the 9B model said 224 (hidden/heads), which was corrected to 256. Only the 27B model divides by hidden/heads.
        return layers == 42 && heads > 0 && scalar == (double)hidden / heads ? headDim : scalar;
    }

    private static OutputHead Head(JsonFile config)
    {
        string? architecture = Architecture(config);
        string? type = config.GetString("model_type");
        if ((type ?? "gemma2") != "gemma2" || (type is null && architecture?.StartsWith("Gemma2", StringComparison.Ordinal) != true))
        {
            throw new GemmaModelFormatException($"'{config.Path}' is of a model of type '{ErrorText.Printable(type ?? architecture ?? "(none stated)")}'; only 'gemma2' is supported (Gemma 2: 2B, 9B, 27B and models derived from them).");
        }

        return architecture switch
        {
            null or "Gemma2ForCausalLM" => config.GetBoolean("tie_word_embeddings") == false ? OutputHead.Own : OutputHead.Tied,
            "Gemma2ForSequenceClassification" => OutputHead.Classifier,
            "Gemma2Model" => OutputHead.None,
            _ => throw new GemmaModelFormatException(
                $"'{config.Path}' is of the architecture '{ErrorText.Printable(architecture)}'; supported are 'Gemma2ForCausalLM' (chat), 'Gemma2ForSequenceClassification' (classifiers, reward models) and 'Gemma2Model' (embeddings). What another one computes from the weights is not known here."),
        };
    }

    /// <summary>Rejects what would change the result and is not implemented, because no Gemma 2 model has it.</summary>
    private static void CheckVariation(JsonFile config, int layers)
    {
        RefuseUnless("attention_bias", false, "projections with biases are not implemented");
        RefuseUnless("mlp_bias", false, "projections with biases are not implemented");
        RefuseUnless("use_bidirectional_attention", false, "attention to later tokens is not implemented; Gemma 2 attends to earlier ones");
        RefuseUnless("is_causal", true, "attention to later tokens is not implemented; Gemma 2 attends to earlier ones");
        RefuseUnless("is_encoder_decoder", false, "Gemma 2 is a decoder");
        RefuseUnless("add_cross_attention", false, "Gemma 2 is a decoder");
        if (config.Find("hidden_activation") is { } activation && !HuggingFaceFields.IsTanhGelu(activation))
        {
            throw config.Unsupported("hidden_activation", activation, "expected 'gelu_pytorch_tanh', as in all Gemma 2 models");
        }

        foreach (string name in (ReadOnlySpan<string>)["quantization_config", "compression_config"])
        {
            if (config.Find(name) is { } quantization)
            {
                throw config.Unsupported(name, quantization, "expected an unquantised checkpoint (F32, F16 or BF16); take the original, or a GGUF file");
            }
        }

        if (config.Find("pruned_heads") is { } pruned && !JsonFile.IsOff(pruned))
        {
            throw config.Unsupported("pruned_heads", pruned, "layers with heads of their own number are not implemented");
        }

        if (config.GetStrings("layer_types") is { } types && (types.Length != layers || types.Where((type, i) => type != (GemmaConfig.IsLocal(i) ? HuggingFaceRope.Local : HuggingFaceRope.Global)).Any()))
        {
            throw config.Unsupported("layer_types", config.Find("layer_types")!.Value, $"expected {layers:N0} layers, '{HuggingFaceRope.Local}' and '{HuggingFaceRope.Global}' by turns");
        }

        void RefuseUnless(string name, bool neutral, string why)
        {
            if (config.GetBoolean(name) is { } value && value != neutral)
            {
                throw config.Unsupported(name, config.Find(name)!.Value, why);
            }
        }
    }
}
