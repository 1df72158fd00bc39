using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Files;

/// <summary>Reads the numbers of a model from a checkpoint's config.json. Absent fields have the defaults of transformers' Gemma2Config.</summary>
internal static class HuggingFaceConfig
{
    /// <exception cref="GemmaModelFormatException">The configuration is damaged, or of a model that is not supported.</exception>
    public static GemmaConfig Read(JsonFile config)
    {
        CheckArchitecture(config);
        int layers = config.RequiredInt32("num_hidden_layers");
        int heads = config.RequiredInt32("num_attention_heads");
        int hidden = config.RequiredInt32("hidden_size");
        int headDim = config.GetInt32("head_dim") ?? 256;
        int context = config.GetInt32("max_position_embeddings") ?? 8192;
        CheckVariation(config, layers);
        return new GemmaConfig
        {
            VocabularySize = config.GetInt32("vocab_size") ?? 256000,
            HiddenSize = hidden,
            FeedForwardSize = config.RequiredInt32("intermediate_size"),
            LayerCount = layers,
            HeadCount = heads,
            KvHeadCount = config.GetInt32("num_key_value_heads") ?? heads,
            HeadDim = headDim,
            ContextLength = context,
            SlidingWindow = config.GetInt32("sliding_window") ?? (config.Has("sliding_window") ? context : 4096),
            RmsNormEpsilon = (float)(config.GetNumber("rms_norm_eps") ?? 1e-6),
            RopeBase = (float)RopeBase(config),
            QueryScale = (float)(1 / Math.Sqrt(QueryScalar(config, layers, hidden, heads, headDim))),
            AttentionSoftcap = Cap(config, "attn_logit_softcapping", 50),
            FinalSoftcap = Cap(config, "final_logit_softcapping", 30),
        }.Validate(config.Path);
    }

    /// <summary>JSON null means no cap; absent means the default.</summary>
    private static float Cap(JsonFile config, string name, double absent) => (float)(config.GetNumber(name) ?? (config.Has(name) ? 0 : absent));

    private static double QueryScalar(JsonFile config, int layers, int hidden, int heads, int headDim)
    {
        double scalar = config.GetNumber("query_pre_attn_scalar") ?? 256;

        // The first config.json of the 9B model said 224 (hidden/heads), which was corrected to 256. Only the 27B model divides by hidden/heads.
        return layers == 42 && heads > 0 && scalar == (double)hidden / heads ? headDim : scalar;
    }

    private static double RopeBase(JsonFile config)
    {
        if (config.Find("rope_parameters") is { ValueKind: System.Text.Json.JsonValueKind.Object } parameters)
        {
            // transformers 5 writes { "rope_theta": 10000.0, "rope_type": "default" }.
            if (parameters.TryGetProperty("rope_type", out var type) && type.ValueKind == System.Text.Json.JsonValueKind.String && !type.ValueEquals("default"))
            {
                throw config.Wrong("rope_parameters", parameters, "the default kind, which all Gemma 2 models have");
            }

            if (parameters.TryGetProperty("rope_theta", out var theta) && theta.ValueKind == System.Text.Json.JsonValueKind.Number && theta.TryGetDouble(out double value))
            {
                return value;
            }
        }

        return config.GetNumber("rope_theta") ?? 10000;
    }

    private static void CheckArchitecture(JsonFile config)
    {
        string? architecture = config.GetStrings("architectures")?.FirstOrDefault();
        string? type = config.GetString("model_type");
        if ((type ?? "gemma2") != "gemma2" || (type is null && architecture?.StartsWith("Gemma2", StringComparison.Ordinal) != true))
        {
            throw new GemmaModelFormatException($"'{config.Path}' is of a model of type '{type ?? architecture ?? "(none stated)"}'; only 'gemma2' is supported (Gemma 2: 2B, 9B, 27B and models derived from them).");
        }
    }

    /// <summary>Rejects what would change the result and is not implemented, because no Gemma 2 model has it.</summary>
    private static void CheckVariation(JsonFile config, int layers)
    {
        if (config.Find("rope_scaling") is { } scaling)
        {
            throw config.Wrong("rope_scaling", scaling, "none, as in all Gemma 2 models");
        }

        if (config.GetBoolean("attention_bias") == true)
        {
            throw config.Wrong("attention_bias", config.Find("attention_bias")!.Value, "false, as in all Gemma 2 models");
        }

        if (config.GetString("hidden_activation") is { } activation and not ("gelu_pytorch_tanh" or "gelu_tanh"))
        {
            throw config.Wrong("hidden_activation", config.Find("hidden_activation")!.Value, $"'gelu_pytorch_tanh', not '{activation}'");
        }

        if (config.Find("quantization_config") is { } quantization)
        {
            throw config.Wrong("quantization_config", quantization, "an unquantised checkpoint (F32, F16 or BF16); take the original, or a GGUF file");
        }

        if (config.GetStrings("layer_types") is { } types && (types.Length != layers || types.Where((t, i) => t != (GemmaConfig.IsLocal(i) ? "sliding_attention" : "full_attention")).Any()))
        {
            throw config.Wrong("layer_types", config.Find("layer_types")!.Value, $"{layers} layers, sliding_attention and full_attention by turns");
        }
    }
}
