using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Training;

/// <summary>Weights in from any model file, and out as a Hugging Face directory.</summary>
internal static class ModelDirectory
{
    /// <summary>The weights of a model as float32; quantised formats are decoded.</summary>
    public static TrainingModel Load(ModelFile file)
    {
        TrainingModel model = new(file.Config);
        foreach (Parameter parameter in model.Parameters)
        {
            TensorView tensor = file.Tensors[parameter.Name];
            Span<float> target = model.Slice(model.Weights, parameter);
            for (int row = 0; row < parameter.Rows; row++)
            {
                tensor.DecodeRow(row, target.Slice(row * parameter.Columns, parameter.Columns));
            }

            if (parameter.IsNorm && file.NormsIncludeOne)
            {
                System.Numerics.Tensors.TensorPrimitives.Subtract(target, 1f, target);
            }
        }

        return model;
    }

    /// <summary>Writes config.json, model.safetensors and, where given, tokenizer.model; generation_config.json only where there is none yet, for that of the model at the start may name more. A directory that could be read before holds the old model or the new one.</summary>
    /// <param name="model">The weights.</param>
    /// <param name="directory">Created where missing; files of these names are replaced.</param>
    /// <param name="bfloat16">Round to bfloat16 (half the size) instead of keeping float32.</param>
    /// <param name="tokenizer">Bytes of the SentencePiece model.</param>
    /// <param name="beside">From <see cref="TokenizerFiles.ReadBeside"/>; null: those files stay as they are.</param>
    public static void Save(TrainingModel model, string directory, bool bfloat16, ReadOnlySpan<byte> tokenizer, IReadOnlyDictionary<string, byte[]?>? beside = null)
    {
        SafetensorsWriter writer = new();
        writer.Metadata["format"] = "pt";
        foreach (Parameter parameter in model.Parameters)
        {
            string name = GemmaTensors.ToHuggingFace(parameter.Name);
            long[] shape = parameter.IsNorm ? [parameter.Columns] : [parameter.Rows, parameter.Columns];
            float[] values = model.Slice(model.Weights, parameter).ToArray();
            if (bfloat16)
            {
                writer.AddBFloat16(name, shape, values);
            }
            else
            {
                writer.AddSingles(name, shape, values);
            }
        }

        FileSet files = new(directory);
        files.Add("config.json", Encoding.UTF8.GetBytes(Config(model.Config, bfloat16)));
        foreach ((string name, byte[]? bytes) in beside ?? new Dictionary<string, byte[]?>())
        {
            if (bytes is not null)
            {
                files.Add(name, bytes);
            }
            else if (name != HuggingFaceModelFile.GenerationName || tokenizer.IsEmpty)
            {
                files.Remove(name);
            }
        }

        if (!tokenizer.IsEmpty)
        {
            files.Add(TokenizerFiles.ModelName, tokenizer.ToArray());
            bool hasGeneration = beside is not null && beside.TryGetValue(HuggingFaceModelFile.GenerationName, out byte[]? generation)
                ? generation is not null : File.Exists(Path.Combine(directory, HuggingFaceModelFile.GenerationName));
            if (!hasGeneration)
            {
                GemmaTokenizer ids = GemmaTokenizer.FromSentencePiece(tokenizer, directory);
                string ends = string.Join(',', new[] { ids.EosId, ids.EndOfTurnId }.Where(id => id >= 0));
                files.Add(HuggingFaceModelFile.GenerationName, Encoding.UTF8.GetBytes($"{{\"eos_token_id\":[{ends}]}}"));
            }
        }

        files.Save("model.safetensors", writer.Save);
    }

    private static string Config(GemmaConfig c, bool bfloat16)
    {
        JsonObject json = new()
        {
            ["architectures"] = new JsonArray("Gemma2ForCausalLM"),
            ["model_type"] = "gemma2",
            ["vocab_size"] = c.VocabularySize,
            ["hidden_size"] = c.HiddenSize,
            ["intermediate_size"] = c.FeedForwardSize,
            ["num_hidden_layers"] = c.LayerCount,
            ["num_attention_heads"] = c.HeadCount,
            ["num_key_value_heads"] = c.KvHeadCount,
            ["head_dim"] = c.HeadDim,
            ["hidden_activation"] = "gelu_pytorch_tanh",
            ["max_position_embeddings"] = c.ContextLength,
            ["sliding_window"] = c.SlidingWindow,
            ["rms_norm_eps"] = (double)(decimal)c.RmsNormEpsilon,
            ["query_pre_attn_scalar"] = (double)(decimal)(1 / (c.QueryScale * c.QueryScale)),
            ["attn_logit_softcapping"] = Cap(c.AttentionSoftcap),
            ["final_logit_softcapping"] = Cap(c.FinalSoftcap),
            ["tie_word_embeddings"] = c.Head == OutputHead.Tied,
            ["bos_token_id"] = 2,
            ["eos_token_id"] = 1,
            ["pad_token_id"] = 0,
            ["torch_dtype"] = bfloat16 ? "bfloat16" : "float32",
        };
        if (c.LocalRopeBase is not null || c.LocalRopeFactor is not null)
        {
            json["rope_parameters"] = new JsonObject { [HuggingFaceRope.Global] = Rope(1), [HuggingFaceRope.Local] = Rope(0) };
        }
        else
        {
            json["rope_theta"] = c.RopeBase;
            if (c.RopeFactor is { } factor)
            {
                json["rope_scaling"] = new JsonObject { ["rope_type"] = "linear", ["factor"] = factor };
            }
        }

        return json.ToJsonString(new JsonSerializerOptions { WriteIndented = true });

        static JsonNode? Cap(float cap) => cap > 0 ? JsonValue.Create(cap) : null; // 0 would be divided by

        JsonObject Rope(int layer) => c.RopeFactorOf(layer) is var factor and not 1
            ? new() { ["rope_type"] = "linear", ["factor"] = factor, ["rope_theta"] = c.RopeBaseOf(layer) }
            : new() { ["rope_type"] = "default", ["rope_theta"] = c.RopeBaseOf(layer) };
    }
}
