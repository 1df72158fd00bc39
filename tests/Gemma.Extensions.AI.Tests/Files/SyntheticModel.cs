using System.Text;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Tests.Files;

/// <summary>The smallest complete Gemma 2 model: one layer, 32 hidden, 288 tokens. Tests damage it.</summary>
internal static class SyntheticModel
{
    public static GemmaConfig Config { get; } = new()
    {
        VocabularySize = 288, HiddenSize = 32, FeedForwardSize = 64, LayerCount = 1, HeadCount = 2, KvHeadCount = 1, HeadDim = 16,
        ContextLength = 64, SlidingWindow = 8, RmsNormEpsilon = 1e-6f, RopeBase = 10000, QueryScale = 0.25f, AttentionSoftcap = 50, FinalSoftcap = 30,
    };

    /// <summary>A writer with everything declared; a test may change it before saving.</summary>
    public static GgufWriter Gguf(Func<string, long[], long[]?>? reshape = null, BlockFormat? matrixFormat = null)
    {
        GgufWriter writer = new();
        writer.Set("general.architecture", "gemma2");
        writer.Set("general.name", "synthetic");
        writer.Set("gemma2.context_length", 64u);
        writer.Set("gemma2.embedding_length", 32u);
        writer.Set("gemma2.block_count", 1u);
        writer.Set("gemma2.feed_forward_length", 64u);
        writer.Set("gemma2.attention.head_count", 2u);
        writer.Set("gemma2.attention.head_count_kv", 1u);
        writer.Set("gemma2.attention.key_length", 16u);
        writer.Set("gemma2.attention.value_length", 16u);
        writer.Set("gemma2.attention.layer_norm_rms_epsilon", 1e-6f);
        writer.Set("gemma2.attention.sliding_window", 8u);
        (byte[][] tokens, float[] scores, int[] types) = Vocabulary();
        writer.Set("tokenizer.ggml.model", "llama");
        writer.Set("tokenizer.ggml.tokens", tokens);
        writer.Set("tokenizer.ggml.scores", scores);
        writer.Set("tokenizer.ggml.token_type", types);
        writer.Set("tokenizer.ggml.bos_token_id", 2u);
        writer.Set("tokenizer.ggml.eos_token_id", 1u);
        writer.Set("tokenizer.ggml.unknown_token_id", 3u);
        writer.Set("tokenizer.ggml.padding_token_id", 0u);
        foreach ((string name, long[] shape) in GemmaTensors.Expected(Config))
        {
            if ((reshape is null ? shape : reshape(name, shape)) is { } actual)
            {
                BlockFormat format = actual.Length == 1 ? BlockFormat.Get(TensorType.F32) : matrixFormat ?? BlockFormat.Get(TensorType.Q8_0);
                byte[] bytes = new byte[format.ByteLength(actual.Aggregate(1L, (a, b) => a * b))];
                writer.Add(name, format, actual, stream => stream.Write(bytes));
            }
        }

        return writer;
    }

    public static byte[] ToBytes(this GgufWriter writer)
    {
        using MemoryStream stream = new();
        writer.Save(stream);
        return stream.ToArray();
    }

    /// <summary>Writes the model as a Hugging Face directory without a tokenizer.</summary>
    public static void WriteHuggingFace(string directory, Action<Dictionary<string, object?>>? changeConfig = null, Func<string, long[], long[]?>? reshape = null)
    {
        Dictionary<string, object?> config = new()
        {
            ["architectures"] = new[] { "Gemma2ForCausalLM" }, ["model_type"] = "gemma2", ["vocab_size"] = 288, ["hidden_size"] = 32,
            ["intermediate_size"] = 64, ["num_hidden_layers"] = 1, ["num_attention_heads"] = 2, ["num_key_value_heads"] = 1, ["head_dim"] = 16,
            ["max_position_embeddings"] = 64, ["sliding_window"] = 8, ["query_pre_attn_scalar"] = 16, ["eos_token_id"] = 1,
        };
        changeConfig?.Invoke(config);
        File.WriteAllText(Path.Combine(directory, "config.json"), System.Text.Json.JsonSerializer.Serialize(config));
        SafetensorsWriter writer = new();
        foreach ((string name, long[] shape) in GemmaTensors.Expected(Config))
        {
            if ((reshape is null ? shape : reshape(name, shape)) is { } actual)
            {
                writer.AddBFloat16(GemmaTensors.ToHuggingFace(name), actual, new float[actual.Aggregate(1L, (a, b) => a * b)]);
            }
        }

        writer.AddBFloat16("lm_head.weight", [288, 32], new float[288 * 32]);
        writer.Save(Path.Combine(directory, "model.safetensors"));
    }

    private static (byte[][] Tokens, float[] Scores, int[] Types) Vocabulary()
    {
        string[] special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"];
        List<(string Text, int Type)> tokens = new();
        tokens.AddRange(special.Select((t, i) => (t, i == 3 ? 2 : i < 3 ? 3 : 4)));
        tokens.AddRange(Enumerable.Range(0, 256).Select(b => ($"<0x{b:X2}>", 6)));
        tokens.AddRange("▁etaoinshrdlucmfwypvbgkjqxz".Take(26).Select(c => (c.ToString(), 1)));
        return ([.. tokens.Select(t => Encoding.UTF8.GetBytes(t.Text))], [.. tokens.Select((_, i) => i < 262 ? 0f : 262f - i)], [.. tokens.Select(t => t.Type)]);
    }
}
