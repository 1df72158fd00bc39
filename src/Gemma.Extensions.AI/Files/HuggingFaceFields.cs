using System.Text.Json;

namespace Gemma.Extensions.AI.Files;

/// <summary>The fields of a config.json: those that are read, those that say nothing about what the model computes, and the rest, which is named.</summary>
internal static class HuggingFaceFields
{
    /// <summary>Fields that are honoured, or refused where they are not at their default.</summary>
    private static readonly HashSet<string> s_read =
    [
        "architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
        "hidden_activation", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "rope_theta", "rope_parameters", "rope_scaling", "partial_rotary_factor",
        "attention_bias", "mlp_bias", "query_pre_attn_scalar", "sliding_window", "layer_types", "final_logit_softcapping", "attn_logit_softcapping",
        "use_bidirectional_attention", "is_causal", "is_encoder_decoder", "add_cross_attention", "pruned_heads", "quantization_config", "compression_config",
        "id2label", "num_labels", "problem_type", "eos_token_id", "pad_token_id",
    ];

    /// <summary>
    /// Fields without influence on what is computed here: of training, of the format, and of how transformers runs a model. The beginning of sequence is the
    /// tokenizer's.
    /// </summary>
    private static readonly HashSet<string> s_descriptive =
    [
        "transformers_version", "torch_dtype", "dtype", "_name_or_path", "name_or_path", "_commit_hash", "tokenizer_class", "label2id", "finetuning_task", "task_specific_params",
        "use_cache", "cache_implementation", "initializer_range", "attention_dropout", "hidden_dropout", "classifier_dropout", "bos_token_id", "unk_token_id", "sep_token_id", "decoder_start_token_id",
        "attn_implementation", "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal", "_flash_attn_2_enabled", "_experts_implementation", "chunk_size_feed_forward",
        "output_attentions", "output_hidden_states", "return_dict", "use_return_dict", "torchscript", "use_bfloat16", "is_decoder", "pretraining_tp", "keys_to_ignore_at_inference",
        "unsloth_version", "unsloth_fixed",
    ];

    /// <summary>Names of the one activation that Gemma 2 has, x·Φ(x) by way of tanh.</summary>
    public static bool IsTanhGelu(JsonElement activation) =>
        activation.ValueKind == JsonValueKind.String && activation.GetString() is "gelu_pytorch_tanh" or "gelu_tanh" or "gelu_new" or "gelu_python_tanh";

    /// <summary>A sentence for every field that is neither known nor off.</summary>
    public static IEnumerable<string> Unknown(JsonFile config) =>
        from field in config.Root.EnumerateObject()
        where !s_read.Contains(field.Name) && !s_descriptive.Contains(field.Name) && !JsonFile.IsOff(field.Value) && !RepeatsWhatIsRead(config, field)
        select $"'{config.Path}': '{ErrorText.Printable(field.Name)}' is {ErrorText.Printable(field.Value.GetRawText())}, which is not known here and is not used.";

    /// <summary>Fields that transformers does not read either, which some checkpoints carry with the value that the model has anyway.</summary>
    private static bool RepeatsWhatIsRead(JsonFile config, JsonProperty field) => field.Name switch
    {
        "hidden_act" => IsTanhGelu(field.Value),
        "sliding_window_size" => config.Find("sliding_window") is { } window && window.GetRawText() == field.Value.GetRawText(),
        "sliding_window_pattern" or "_sliding_window_pattern" => field.Value.GetRawText() == "2",
        _ => false,
    };
}
