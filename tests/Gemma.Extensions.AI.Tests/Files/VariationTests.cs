using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Training;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Files;

/// <summary>What a checkpoint may say about itself that changes the result: it is honoured, refused, or named; never passed over.</summary>
public sealed class VariationTests : IDisposable
{
    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    /// <summary>Each is valid JSON of a kind that transformers has somewhere; the result would be another.</summary>
    [Theory]
    [InlineData("use_bidirectional_attention", "true")]
    [InlineData("is_causal", "false")]
    [InlineData("attention_bias", "true")]
    [InlineData("mlp_bias", "true")]
    [InlineData("is_encoder_decoder", "true")]
    [InlineData("add_cross_attention", "true")]
    [InlineData("pruned_heads", """{"0":[1]}""")]
    [InlineData("hidden_activation", "\"gelu\"")]
    [InlineData("hidden_activation", "\"relu2\"")]
    [InlineData("quantization_config", """{"quant_method":"bitsandbytes","load_in_4bit":true}""")]
    [InlineData("compression_config", """{"format":"pack-quantized"}""")]
    [InlineData("num_attention_heads", "[4,4,4,4]")]
    [InlineData("num_key_value_heads", "[2,2,1,2]")]
    [InlineData("intermediate_size", "[512,512,256,512]")]
    [InlineData("partial_rotary_factor", "0.5")]
    [InlineData("layer_types", """["full_attention","sliding_attention","full_attention","sliding_attention"]""")]
    [InlineData("layer_types", """["sliding_attention","sliding_attention","sliding_attention","full_attention"]""")]
    [InlineData("layer_types", """["full_attention","full_attention","full_attention","full_attention"]""")]
    [InlineData("layer_types", """["sliding_attention","full_attention","sliding_attention"]""")]
    [InlineData("layer_types", """["sliding_attention","chunked_attention","sliding_attention","full_attention"]""")]
    [InlineData("rope_scaling", """{"type":"linear","factor":0}""")]
    [InlineData("rope_scaling", """{"type":"linear","factor":-2.0}""")]
    [InlineData("rope_scaling", """{"type":"linear","factor":"2"}""")]
    [InlineData("rope_scaling", """{"rope_type":"linear"}""")]
    [InlineData("rope_scaling", """{"type":"dynamic","factor":4.0}""")]
    [InlineData("rope_scaling", """{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":8192}""")]
    [InlineData("rope_scaling", """{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192}""")]
    [InlineData("rope_scaling", """{"type":"longrope","short_factor":[1.0],"long_factor":[2.0]}""")]
    [InlineData("rope_scaling", "2")]
    [InlineData("rope_parameters", """{"type":"linear"}""")]
    [InlineData("rope_parameters", """{"type":"proportional","rope_theta":10000}""")]
    [InlineData("rope_parameters", """{"full_attention":{"rope_type":"linear","factor":8.0},"sliding_attention":{"rope_type":"dynamic","factor":2.0}}""")]
    [InlineData("rope_parameters", """{"rope_type":7}""")]
    [InlineData("rope_parameters", """{"rope_theta":"10000"}""")]
    [InlineData("rope_parameters", """{"rope_theta":10000,"partial_rotary_factor":0.25}""")]
    [InlineData("rope_parameters", """{"full_attention":{"rope_theta":10000}}""")]
    [InlineData("rope_parameters", """{"full_attention":{"rope_theta":10000},"sliding_attention":{"rope_theta":10000},"chunked_attention":{}}""")]
    [InlineData("rope_parameters", """{"full_attention":{"rope_type":"yarn","factor":2},"sliding_attention":{"rope_type":"default"}}""")]
    [InlineData("rope_parameters", """{"full_attention":5,"sliding_attention":{}}""")]
    [InlineData("rope_parameters", "[]")]
    [InlineData("tie_word_embeddings", "\"no\"")]
    [InlineData("architectures", """["Gemma2ForTokenClassification"]""")]
    [InlineData("architectures", """["Gemma2BiModel"]""")]
    [InlineData("architectures", """["GemmaForCausalLM"]""")]
    public void RefusedInAConfiguration(string field, string value)
    {
        TinyCheckpoint.Write(_temp.Path, json => json[field] = JsonNode.Parse(value));
        string message = Assert.Throws<GemmaModelFormatException>(() => ModelFile.Open(_temp.Path)).Message;
        Assert.Contains(field == "architectures" ? value[2..^2] : field, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("use_bidirectional_attention", "false")]
    [InlineData("use_bidirectional_attention", "null")]
    [InlineData("hidden_activation", "\"gelu_new\"")]
    [InlineData("quantization_config", "null")]
    [InlineData("partial_rotary_factor", "1.0")]
    [InlineData("pruned_heads", "{}")]
    [InlineData("layer_types", """["sliding_attention","full_attention","sliding_attention","full_attention"]""")]
    [InlineData("rope_scaling", "null")]
    [InlineData("rope_scaling", """{"rope_type":"default"}""")]
    [InlineData("rope_scaling", """{"type":"linear","factor":1.0}""")]
    [InlineData("rope_parameters", """{"rope_theta":10000.0,"rope_type":"default"}""")]
    [InlineData("rope_parameters", """{"full_attention":{"rope_theta":10000.0,"rope_type":"default"},"sliding_attention":{"rope_type":"default"}}""")]
    [InlineData("sliding_window_pattern", "2")]
    [InlineData("sliding_window_size", "16")]
    [InlineData("id2label", """{"0":"LABEL_0","1":"LABEL_1"}""")]
    [InlineData("output_hidden_states", "true")]
    [InlineData("some_flag_that_is_off", "false")]
    public void NeutralInAConfiguration(string field, string value)
    {
        TinyCheckpoint.Write(_temp.Path, json => json[field] = JsonNode.Parse(value));
        using ModelFile file = ModelFile.Open(_temp.Path), reference = ModelFile.Open(TestData.Local("tiny"));
        Assert.Equal(reference.Config, file.Config);
        Assert.Empty(file.Warnings);
    }

    [Theory]
    [InlineData("logit_scale", "0.0625")]
    [InlineData("auto_map", """{"AutoModelForCausalLM":"modeling.MyGemma"}""")]
    [InlineData("num_experts", "8")]
    [InlineData("rope_local_base_freq", "1000.0")]
    [InlineData("hidden_act", "\"silu\"")]
    [InlineData("sliding_window_pattern", "6")]
    [InlineData("sliding_window_size", "4096")]
    [InlineData("temperature", "0.3")]
    public void NamedInAConfiguration(string field, string value)
    {
        TinyCheckpoint.Write(_temp.Path, json => json[field] = JsonNode.Parse(value));
        using ModelFile file = ModelFile.Open(_temp.Path);
        Assert.Contains($"'{field}'", Assert.Single(file.Warnings), StringComparison.Ordinal);
    }

    /// <summary>Numbers of whichever form reach the configuration.</summary>
    [Fact]
    public void HonouredInAConfiguration()
    {
        Assert.Equal((500000, (float?)null), Bases("rope_theta", "500000"));
        Assert.Equal((500000, (float?)null), Bases("rope_parameters", """{"rope_theta":500000,"rope_type":"default"}"""));
        Assert.Equal((500000, (float?)null), Bases("rope_parameters", """{"full_attention":{"rope_theta":500000},"sliding_attention":{"rope_theta":500000}}"""));
        Assert.Equal((500000, (float?)10000), Bases("rope_parameters", """{"full_attention":{"rope_theta":500000},"sliding_attention":{"rope_theta":10000}}"""));
        Assert.Equal((500000, (float?)null), Bases("rope_scaling", """{"rope_theta":500000,"rope_type":"default"}"""));
        Assert.Equal(0, Read(json => json["attn_logit_softcapping"] = null).AttentionSoftcap);
        Assert.Equal(0, Read(json => json["final_logit_softcapping"] = null).FinalSoftcap);
        Assert.Equal(50, Read(json => json.Remove("attn_logit_softcapping")).AttentionSoftcap);
        Assert.Equal(512, Read(json => json["sliding_window"] = null).SlidingWindow);
        Assert.Equal(OutputHead.Own, Read(json => json["tie_word_embeddings"] = false).Head);
        Assert.Equal(4, Read(json => json.Remove("num_key_value_heads")).KvHeadCount); // Gemma2Config's default, not the number of heads
        Assert.Equal(OutputHead.Tied, Read(json => json.Remove("architectures")).Head);

        (float, float?) Bases(string field, string value) => Read(json => json[field] = JsonNode.Parse(value)) is var c ? (c.RopeBase, c.LocalRopeBase) : default;
    }

    /// <summary>Two implementations of the forward pass agree on bases that differ by the type of layer, and both differ from one base.</summary>
    [Fact]
    public void RotaryBasesByTypeOfLayer()
    {
        int[] tokens = TinyEngine.Prompt(3, 60);
        string both = WriteBases("both", 500000, 500000), mixed = WriteBases("mixed", 500000, 10000), plain = TinyCheckpoint.Write(_temp.File("plain"), json => json["rope_theta"] = 500000);
        float[][] expected = Logits(plain), different = Logits(mixed);
        Assert.Equal(expected, Logits(both));
        Assert.True(Difference.Largest(expected, different) > 0.05f);
        Assert.True(Difference.Largest(Logits(TestData.Local("tiny")), different) > 0.05f);

        using ModelFile file = ModelFile.Open(mixed);
        TrainingModel model = ModelDirectory.Load(file);
        float[][] training = [.. new GemmaBackprop(model, 60, 60).Logits(new PackedBatch([new TrainingDocument(tokens)])).Chunk(TinyCheckpoint.Vocabulary)];
        Assert.InRange(Difference.Largest(training, different), 0, 1e-3f);

        // What one model computed is of no use to the other, though their weights are the same.
        using (ModelFile other = ModelFile.Open(both))
        {
            Assert.NotEqual(GemmaWeights.FingerprintOf(file), GemmaWeights.FingerprintOf(other));
        }

        // Both formats keep them.
        ModelConverter.Write(file, QuantizationRecipe.Get("F32"), _temp.File("mixed.gguf"), threads: 1);
        ModelDirectory.Save(model, _temp.File("saved"), bfloat16: false, File.ReadAllBytes(TestData.Local("tiny/tokenizer.model")));
        using ModelFile gguf = ModelFile.Open(_temp.File("mixed.gguf")), saved = ModelFile.Open(_temp.File("saved"));
        Assert.Equal(file.Config, gguf.Config);
        Assert.Equal(file.Config, saved.Config);

        float[][] Logits(string path)
        {
            using TinyEngine engine = new(path: path);
            return engine.Logits(tokens);
        }

        string WriteBases(string name, int global, int local) => TinyCheckpoint.Write(
            _temp.File(name), json => json["rope_parameters"] = JsonNode.Parse($$$"""{"full_attention":{"rope_theta":{{{global}}}},"sliding_attention":{"rope_theta":{{{local}}}}}"""));
    }

    /// <summary>The tiny model with a factor of 4, on 40 tokens, more than the window has.</summary>
    [Fact]
    public void LinearlyScaledProbabilitiesAreLlamaCpps()
    {
        string path = TinyCheckpoint.Write(_temp.Path, json => json["rope_scaling"] = JsonNode.Parse("""{"rope_type":"linear","factor":4.0}"""));
        using TinyEngine engine = new(path: path);
        LlamaCppGolden.Check("rope/llama.cpp.json", tokens => engine.Logits(tokens));
        using TinyEngine plain = new();
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => LlamaCppGolden.Check("rope/llama.cpp.json", tokens => plain.Logits(tokens)));
    }

    [Theory]
    [InlineData("rope_scaling", """{"type":"linear","factor":2.0}""", 2f, null)]
    [InlineData("rope_scaling", """{"rope_type":"linear","factor":2.5}""", 2.5f, null)]
    [InlineData("rope_parameters", """{"rope_type":"linear","factor":8,"rope_theta":10000}""", 8f, null)]
    [InlineData("rope_parameters", """{"type":"linear","factor":0.5}""", 0.5f, null)]
    [InlineData("rope_parameters", """{"full_attention":{"rope_type":"linear","factor":8.0,"rope_theta":10000},"sliding_attention":{"rope_type":"default"}}""", 8f, 1f)]
    [InlineData("rope_parameters", """{"full_attention":{"rope_type":"default"},"sliding_attention":{"rope_type":"linear","factor":2.0}}""", null, 2f)]
    [InlineData("rope_parameters", """{"full_attention":{"rope_type":"linear","factor":2.0},"sliding_attention":{"rope_type":"linear","factor":2.0}}""", 2f, null)]
    public void LinearScalingOfPositions(string field, string value, float? factor, float? local)
    {
        TinyCheckpoint.Write(_temp.Path, json => json[field] = JsonNode.Parse(value));
        using ModelFile file = ModelFile.Open(_temp.Path), reference = ModelFile.Open(TestData.Local("tiny"));
        Assert.Equal(reference.Config with { RopeFactor = factor, LocalRopeFactor = local }, file.Config);
        Assert.Empty(file.Warnings);
        Assert.NotEqual(GemmaWeights.FingerprintOf(file), GemmaWeights.FingerprintOf(reference));
        Assert.Equal((local ?? factor ?? 1, factor ?? 1), (file.Config.RopeFactorOf(0), file.Config.RopeFactorOf(1)));

        // Training pass and engine are two implementations; what is saved is as it was.
        int[] tokens = TinyEngine.Prompt(3, 60);
        TrainingModel model = ModelDirectory.Load(file);
        float[][] training = [.. new GemmaBackprop(model, 60, 60).Logits(new PackedBatch([new TrainingDocument(tokens)])).Chunk(TinyCheckpoint.Vocabulary)];
        using (TinyEngine engine = new(path: _temp.Path))
        using (TinyEngine plain = new(path: TestData.Local("tiny")))
        {
            float[][] logits = engine.Logits(tokens);
            Assert.InRange(Difference.Largest(training, logits), 0, 1e-3f);
            Assert.True(Difference.Largest(plain.Logits(tokens), logits) > 0.05f);
        }

        ModelDirectory.Save(model, _temp.File("saved"), bfloat16: false, File.ReadAllBytes(TestData.Local("tiny/tokenizer.model")));
        using (ModelFile saved = ModelFile.Open(_temp.File("saved")))
        {
            Assert.Equal(file.Config, saved.Config);
        }

        if (local is not null)
        {
            Assert.Contains("one factor for all layers", Assert.Throws<GemmaModelFormatException>(() => ModelConverter.Write(file, QuantizationRecipe.Get("F32"), _temp.File("x.gguf"), threads: 1)).Message, StringComparison.Ordinal);
            return;
        }

        ModelConverter.Write(file, QuantizationRecipe.Get("F32"), _temp.File("x.gguf"), threads: 1);
        using ModelFile gguf = ModelFile.Open(_temp.File("x.gguf"));
        Assert.Equal(file.Config, gguf.Config);
        ModelConverter.Write(gguf, QuantizationRecipe.Get("Q8_0"), _temp.File("y.gguf"), threads: 1);
        using ModelFile quantized = ModelFile.Open(_temp.File("y.gguf"));
        Assert.Equal(file.Config, quantized.Config);
    }

    /// <summary>Whatever stands in a field, the file opens or is refused with a reason.</summary>
    [Fact]
    public void AnyValueOfAnyFieldIsReadOrRefused()
    {
        string[] fields =
        [
            "architectures", "rope_parameters", "rope_scaling", "layer_types", "id2label", "num_labels", "problem_type", "tie_word_embeddings", "hidden_activation", "is_causal",
            "pruned_heads", "quantization_config", "partial_rotary_factor", "pad_token_id", "num_key_value_heads", "unheard_of",
        ];
        string[] values =
        [
            "null", "true", "false", "0", "-1", "1.5", "1e99", "99999999999999999999", "\"\"", "\"default\"", "[]", "[null]", "[1]", "[\"a\"]", "{}", "{\"a\":1}", "{\"0\":null}", "{\"0\":\"a\"}",
            "{\"-1\":\"a\"}", "{\"99999999999\":\"a\"}", "{\"rope_type\":null}", "{\"rope_type\":\"linear\",\"factor\":\"2\"}", "{\"full_attention\":null,\"sliding_attention\":null}", "[[[[]]]]",
        ];
        string config = File.ReadAllText(TestData.Local("tiny/config.json"));
        foreach (bool classifier in (bool[])[false, true])
        {
            foreach (string field in fields)
            {
                foreach (string value in values)
                {
                    JsonObject json = (JsonObject)JsonNode.Parse(config)!;
                    json["architectures"] = classifier ? new JsonArray("Gemma2ForSequenceClassification") : json["architectures"]!.DeepClone();
                    json[field] = JsonNode.Parse(value);
                    using JsonFile file = JsonFile.Parse(JsonSerializer.SerializeToUtf8Bytes(json), "config.json");
                    try
                    {
                        GemmaConfig read = HuggingFaceConfig.Read(file);
                        _ = HuggingFaceFields.Unknown(file).Count();
                        _ = read.Head == OutputHead.Classifier ? ClassifierLabels.Read(file, Math.Max(1, read.LabelCount)) : null;
                    }
                    catch (GemmaModelFormatException e)
                    {
                        Assert.Contains("config.json", e.Message, StringComparison.Ordinal);
                    }
                }
            }
        }
    }

    [Theory]
    [InlineData("model.layers.0.self_attn.q_proj.bias", true)]
    [InlineData("model.layers.1.self_attn.q_norm.weight", true)]
    [InlineData("model.layers.2.mlp.down_proj.weight_scale", true)]
    [InlineData("model.layers.3.self_attn.q_proj.lora_A.weight", true)]
    [InlineData("model.layers.4.mlp.down_proj.weight", true)]
    [InlineData("model.norm.bias", true)]
    [InlineData("model.embed_positions.weight", true)]
    [InlineData("lm_head.bias", true)]
    [InlineData("score.bias", true)]
    [InlineData("model.layers.0.self_attn.rotary_emb.inv_freq", false)]
    [InlineData("v_head.summary.weight", false)]
    [InlineData("score.weight", false)]
    [InlineData("position_ids", false)]
    public void TensorsThatNothingReads(string name, bool refused)
    {
        TinyCheckpoint.Write(_temp.Path, null, new Dictionary<string, (long[], float[])> { [name] = ([2], [1, 2]) });
        if (refused)
        {
            Assert.Contains(name.Contains("layers.4", StringComparison.Ordinal) ? "blk.4.ffn_down.weight" : name, Assert.Throws<GemmaModelFormatException>(() => ModelFile.Open(_temp.Path)).Message, StringComparison.Ordinal);
            return;
        }

        using ModelFile file = ModelFile.Open(_temp.Path), reference = ModelFile.Open(TestData.Local("tiny"));
        Assert.Contains($"'{name}'", Assert.Single(file.Warnings), StringComparison.Ordinal);
        Assert.Equal(reference.Tensors.Keys.Order(), file.Tensors.Keys.Order());
    }

    [Theory]
    [InlineData("rope.scaling.type", "yarn")]
    [InlineData("rope.scaling.type", "longrope")]
    [InlineData("rope.scaling.factor", -4f)]
    [InlineData("rope.scale_linear", -2f)]
    [InlineData("rope.scaling.attn_factor", 0.5f)]
    [InlineData("rope.dimension_count", 8u)]
    [InlineData("rope.dimension_count_swa", 8u)]
    [InlineData("attention.scale", 0.1f)]
    [InlineData("attention.causal", false)]
    [InlineData("attention.clamp_kqv", 8f)]
    [InlineData("attention.max_alibi_bias", 8f)]
    [InlineData("attention.key_length_swa", 32u)]
    [InlineData("attention.sliding_window_pattern", 6u)]
    [InlineData("attention.sliding_window_pattern", 1u)]
    [InlineData("attention.shared_kv_layers", 1u)]
    [InlineData("embedding_length_out", 64u)]
    [InlineData("embedding_scale", 12f)]
    [InlineData("residual_scale", 0.22f)]
    [InlineData("logit_scale", 0.0625f)]
    [InlineData("expert_count", 8u)]
    [InlineData("expert_used_count", 2u)]
    [InlineData("nextn_predict_layers", 1u)]
    [InlineData("vocab_size", 300u)]
    [InlineData("hidden_activation", "silu")]
    [InlineData("use_parallel_residual", true)]
    [InlineData("pooling_type", 4u)]
    [InlineData("pooling_type", 9u)]
    [InlineData("expert_count", "eight")]
    public void RefusedInGguf(string key, object value) =>
        Assert.Contains("gemma2." + key, Assert.Throws<GemmaModelFormatException>(() => OpenGguf(Set(key, value))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("rope.scaling.type", "none")]
    [InlineData("rope.scaling.type", "linear")]
    [InlineData("rope.scaling.factor", 1f)]
    [InlineData("rope.scaling.original_context_length", 64u)]
    [InlineData("rope.dimension_count", 16u)]
    [InlineData("attention.scale", 0.25f)]
    [InlineData("attention.causal", true)]
    [InlineData("attention.sliding_window_pattern", 2u)]
    [InlineData("embedding_length_out", 32u)]
    [InlineData("expert_count", 0u)]
    [InlineData("vocab_size", 288u)]
    [InlineData("pooling_type", 0u)]
    [InlineData("rope.freq_base_swa", 10000f)]
    public void NeutralInGguf(string key, object value)
    {
        using ModelFile file = OpenGguf(Set(key, value));
        Assert.Equal(SyntheticModel.Config, file.Config);
        Assert.Empty(file.Warnings);
    }

    [Fact]
    public void NamedAndHonouredInGguf()
    {
        using (ModelFile file = OpenGguf(Set("something.new", 3u)))
        {
            Assert.Contains("gemma2.something.new", Assert.Single(file.Warnings), StringComparison.Ordinal);
        }

        using (ModelFile file = OpenGguf(Set("rope.freq_base_swa", 500f)))
        {
            Assert.Equal(500, file.Config.LocalRopeBase);
        }

        foreach (string key in (string[])["rope.scaling.factor", "rope.scale_linear"])
        {
            using ModelFile file = OpenGguf(Set(key, 4f)); // Without a kind it is linear.
            Assert.Equal(4, file.Config.RopeFactor);
            Assert.Empty(file.Warnings);
        }

        // The newer key counts, and 0 means 1 in it.
        using (ModelFile file = OpenGguf(writer =>
        {
            writer.Set("gemma2.rope.scaling.factor", 0f);
            writer.Set("gemma2.rope.scale_linear", 4f);
        }))
        {
            Assert.Equal(SyntheticModel.Config, file.Config);
        }

        using (ModelFile file = OpenGguf(Set("pooling_type", 1u)))
        {
            Assert.Equal(OutputHead.None, file.Config.Head);
        }

        // "none" switches a factor off.
        using (ModelFile file = OpenGguf(writer =>
        {
            writer.Set("gemma2.rope.scaling.type", "none");
            writer.Set("gemma2.rope.scaling.factor", 4f);
        }))
        {
            Assert.Equal(SyntheticModel.Config, file.Config);
        }
    }

    [Fact]
    public void NumbersByLayerInGguf()
    {
        using (ModelFile file = OpenGguf(writer => writer.Set("gemma2.attention.head_count_kv", new[] { 1 })))
        {
            Assert.Equal(SyntheticModel.Config, file.Config);
        }

        Assert.Contains("head_count_kv", Assert.Throws<GemmaModelFormatException>(() => OpenGguf(writer => writer.Set("gemma2.attention.head_count_kv", new[] { 1, 2 }))).Message, StringComparison.Ordinal);
        Assert.Contains("feed_forward_length", Assert.Throws<GemmaModelFormatException>(() => OpenGguf(writer => writer.Set("gemma2.feed_forward_length", new[] { 64, 32 }))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("rope_freqs.weight", 1f, false)]
    [InlineData("rope_freqs.weight", 1.5f, true)]
    [InlineData("output.bias", 0f, true)]
    [InlineData("output_norm.bias", 0f, true)]
    [InlineData("rope_factors_long.weight", 1f, true)]
    [InlineData("blk.0.attn_q.bias", 0f, true)]
    [InlineData("dense_2.weight", 1f, true)]
    public void TensorsThatNothingReadsInGguf(string name, float value, bool refused)
    {
        BlockFormat f32 = BlockFormat.Get(TensorType.F32);
        byte[] bytes = [.. Enumerable.Repeat(BitConverter.GetBytes(value), 8).SelectMany(b => b)];
        void Add(GgufWriter writer) => writer.Add(name, f32, [8], stream => stream.Write(bytes));
        if (refused)
        {
            Assert.Contains(name, Assert.Throws<GemmaModelFormatException>(() => OpenGguf(Add)).Message, StringComparison.Ordinal);
            return;
        }

        using ModelFile file = OpenGguf(Add);
        Assert.Contains(name, Assert.Single(file.Warnings), StringComparison.Ordinal);
        Assert.DoesNotContain(name, file.Tensors.Keys);
    }

    private static Action<GgufWriter> Set(string key, object value) => writer =>
    {
        switch (value)
        {
            case uint number: writer.Set("gemma2." + key, number); break;
            case float number: writer.Set("gemma2." + key, number); break;
            case bool flag: writer.Set("gemma2." + key, flag); break;
            default: writer.Set("gemma2." + key, Convert.ToString(value, CultureInfo.InvariantCulture)!); break;
        }
    };

    private ModelFile OpenGguf(Action<GgufWriter> change)
    {
        GgufWriter writer = SyntheticModel.Gguf();
        change(writer);
        File.WriteAllBytes(_temp.File("model.gguf"), writer.ToBytes());
        return ModelFile.Open(_temp.File("model.gguf"));
    }

    private static GemmaConfig Read(Action<JsonObject> change)
    {
        JsonObject json = (JsonObject)JsonNode.Parse(File.ReadAllText(TestData.Local("tiny/config.json")))!;
        change(json);
        using JsonFile file = JsonFile.Parse(JsonSerializer.SerializeToUtf8Bytes(json), "config.json");
        return HuggingFaceConfig.Read(file);
    }
}
