using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Benchmarks;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Tests.Files;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Lora;

/// <summary>Adapters that cannot be used are refused with the reason, and damaged ones never get further than that.</summary>
public sealed class LoraFileTests : IDisposable
{
    private static readonly GemmaConfig s_config = new()
    {
        VocabularySize = 64, HiddenSize = 32, FeedForwardSize = 48, LayerCount = 2, HeadCount = 2, KvHeadCount = 1, HeadDim = 16, ContextLength = 64, SlidingWindow = 8,
        RmsNormEpsilon = 1e-6f, RopeBase = 10000, QueryScale = 0.25f, AttentionSoftcap = 50, FinalSoftcap = 30,
    };

    private readonly TempDirectory _temp = new();
    private readonly RandomAdapter _adapter = new(s_config);

    public void Dispose() => _temp.Dispose();

    [Fact]
    public void AnyPathOfAnAdapterOpensIt()
    {
        string directory = _adapter.WritePeft(_temp.File("a"));
        foreach (string path in new[] { directory, Path.Combine(directory, "adapter_config.json"), Path.Combine(directory, "adapter_model.safetensors"), _adapter.WriteGguf(_temp.File("a.gguf")) })
        {
            using LoraFile file = LoraFile.Open(path);
            file.Check(s_config);
            Assert.Equal(_adapter.Factors.Select(f => f.Weight).Order(), file.Pairs.Keys.Order());
            Assert.All(_adapter.Factors, f =>
            {
                Assert.Equal(f.A, file.Pairs[f.Weight].ReadA());
                Assert.Equal(f.B.Select(b => b * 1.5f), file.Pairs[f.Weight].ReadScaledB());
            });
        }
    }

    [Theory]
    [InlineData("F16")]
    [InlineData("BF16")]
    [InlineData("Q8_0")]
    public void GgufAdaptersOfOtherTypesAreDecoded(string type)
    {
        using LoraFile file = LoraFile.Open(_adapter.WriteGguf(_temp.File("a.gguf"), type: Enum.Parse<TensorType>(type)));
        file.Check(s_config);
        Assert.All(_adapter.Factors, f => Assert.All(f.A.Zip(file.Pairs[f.Weight].ReadA()), pair => Assert.InRange(pair.First - pair.Second, -0.003f, 0.003f)));
    }

    /// <summary>What is in the configuration, and a word of the message.</summary>
    [Theory]
    [InlineData("use_dora", "true", "DoRA")]
    [InlineData("bias", "\"all\"", "bias")]
    [InlineData("lora_bias", "true", "lora_bias")]
    [InlineData("modules_to_save", "[\"lm_head\"]", "whole modules")]
    [InlineData("fan_in_fan_out", "true", "other way round")]
    [InlineData("layer_replication", "[[0,4],[2,6]]", "layer_replication")]
    [InlineData("trainable_token_indices", "[5]", "trainable_token_indices")]
    [InlineData("use_qalora", "true", "use_qalora")]
    [InlineData("alora_invocation_tokens", "[1,2]", "alora_invocation_tokens")]
    [InlineData("something_new", "3", "something_new")]
    [InlineData("init_lora_weights", "\"pissa\"", "base's own weights")]
    [InlineData("peft_type", "\"IA3\"", "IA3")]
    [InlineData("r", "5", "rank 4")]
    [InlineData("r", "0", "at least 1")]
    [InlineData("r", "\"four\"", "whole number")]
    [InlineData("lora_alpha", "null", "lora_alpha")]
    [InlineData("lora_alpha", "1e300", "finite")]
    [InlineData("rank_pattern", "{\"q_proj\":8}", "rank 4")]
    [InlineData("rank_pattern", "{\"(a\":8}", "linear time")]
    [InlineData("rank_pattern", "[1]", "rank_pattern")]
    [InlineData("alpha_pattern", "{\"q_proj\":\"x\"}", "alpha_pattern")]
    [InlineData("target_modules", "\"(?=x)q_proj\"", "linear time")]
    [InlineData("target_modules", "[\"q_proj\"]", "leave out")]
    [InlineData("target_modules", "\"(((x{999}){999}){999}|(a|a)*b|.*q_proj)\"", "linear time")]
    [InlineData("target_modules", "7", "target_modules")]
    [InlineData("target_modules", "null", "target_modules")]
    [InlineData("exclude_modules", "[\"q_proj\"]", "leave out")]
    [InlineData("layers_to_transform", "[0]", "leave out")]
    public void ConfigurationsThatCannotBeHonouredAreRefused(string field, string value, string word)
    {
        string path = _adapter.WritePeft(_temp.File("a"), json => json[field] = JsonNode.Parse(value));
        Refused(path, word);
    }

    [Fact]
    public void AnUnknownFieldThatIsOffIsNoReasonToRefuse()
    {
        string path = _adapter.WritePeft(_temp.File("a"), json =>
        {
            json["a_new_switch"] = false;
            json["another"] = null;
            json["a_list"] = new JsonArray();
        });
        LoraFile.Open(path).Dispose();
    }

    [Theory]
    [InlineData("base_model.model.model.embed_tokens.lora_embedding_A", "embedding")]
    [InlineData("base_model.model.lm_head.lora_A.weight", "output head")]
    [InlineData("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", "DoRA")]
    [InlineData("base_model.model.model.layers.0.input_layernorm.lora_A.weight", "projections")]
    [InlineData("base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight", "projections")]
    [InlineData("something", "something")]
    public void TensorsOfOtherKindsAreNamed(string tensor, string word) =>
        Refused(_adapter.WritePeft(_temp.File("a"), add: writer => writer.AddSingles(tensor, [4, 32], new float[128])), tensor, word);

    [Fact]
    public void AnAdapterOfAnotherBaseNamesTensorFoundAndExpected()
    {
        GemmaConfig wide = s_config with { HiddenSize = 40 };
        using (LoraFile file = LoraFile.Open(_adapter.WritePeft(_temp.File("a"))))
        {
            string message = Assert.Throws<GemmaModelFormatException>(() => file.Check(wide)).Message;
            Assert.Contains("lora_A.weight", message, StringComparison.Ordinal);
            Assert.Contains("[4, 32], expected [4, 40]", message, StringComparison.Ordinal);
            Assert.Contains("another base", message, StringComparison.Ordinal);
            Assert.Contains("the base model has 1 layers", Refusal(file, s_config with { LayerCount = 1 }), StringComparison.Ordinal);
            Assert.Contains("model.layers.2.", Refusal(file, s_config with { LayerCount = 3 }), StringComparison.Ordinal);
        }

        using LoraFile gguf = LoraFile.Open(_adapter.WriteGguf(_temp.File("a.gguf")));
        Assert.Contains("blk.0.attn_q.weight.lora_a", Refusal(gguf, wide), StringComparison.Ordinal);

        static string Refusal(LoraFile file, GemmaConfig config) => Assert.Throws<GemmaModelFormatException>(() => file.Check(config)).Message;
    }

    [Fact]
    public void FactorsThatAreMissingAreNamed()
    {
        string path = _adapter.WritePeft(_temp.File("a"), keep: f => f.Weight != "blk.1.ffn_up.weight");
        using LoraFile file = LoraFile.Open(path);
        Assert.Contains("model.layers.1.mlp.up_proj", Assert.Throws<GemmaModelFormatException>(() => file.Check(s_config)).Message, StringComparison.Ordinal);
        Refused(_adapter.WritePeft(_temp.File("b"), keep: _ => false), "none of kind A");
    }

    [Theory]
    [InlineData("general.type", "model", "is no adapter")]
    [InlineData("adapter.type", "control", "control")]
    [InlineData("general.architecture", "llama", "llama")]
    public void GgufFilesThatAreNoGemmaAdapterAreRefused(string key, string value, string word) =>
        Refused(_adapter.WriteGguf(_temp.File("a.gguf"), writer => writer.Set(key, value)), word);

    [Fact]
    public void GgufAdaptersMayLackNothing()
    {
        Refused(_adapter.WriteGguf(_temp.File("a.gguf"), writer => writer.Remove("adapter.lora.alpha")), "adapter.lora.alpha");
        Refused(_adapter.WriteGguf(_temp.File("a.gguf"), alpha: float.NaN), "NaN");
        Refused(_adapter.WriteGguf(_temp.File("a.gguf"), writer => writer.Add("blk.0.attn_norm.weight.lora_a", BlockFormat.Get(TensorType.F32), [4, 32], stream => stream.Write(new byte[512]))), "attn_norm");
        Refused(_adapter.WriteGguf(_temp.File("a.gguf"), writer => writer.Set("adapter.alora.invocation_tokens", [1, 2])), "activated");
    }

    [Fact]
    public void NumbersThatAreNotFiniteAreRefused()
    {
        _adapter.Factors[3].B[17] = float.PositiveInfinity;
        using LoraFile file = LoraFile.Open(_adapter.WritePeft(_temp.File("a")));
        string message = Assert.Throws<GemmaModelFormatException>(() => file.Pairs[_adapter.Factors[3].Weight].ReadScaledB()).Message;
        Assert.Contains("row 4", message, StringComparison.Ordinal);
    }

    [Fact]
    public void PathsWithoutAnAdapterSayWhatIsExpected()
    {
        Refused(_temp.File("nothing"), "There is no adapter");
        Refused(_temp.Path, "adapter_config.json");
        Directory.CreateDirectory(_temp.File("pickled"));
        File.WriteAllText(_temp.File("pickled/adapter_config.json"), "{}");
        Refused(_temp.File("pickled"), "adapter_model.bin");
        Refused(TestData.Local("gguf/tiny-Q8_0.gguf"), "is no adapter");
    }

    /// <summary>And the other way round: an adapter is no model.</summary>
    [Fact]
    public void AnAdapterIsNotOpenedAsAModel()
    {
        foreach (string path in new[] { _adapter.WritePeft(_temp.File("a")), _adapter.WriteGguf(_temp.File("a.gguf")) })
        {
            Assert.Contains("adapter, not a model", Assert.Throws<GemmaModelFormatException>(() => ModelFile.Open(path)).Message, StringComparison.Ordinal);
        }
    }

    /// <summary>Mutated and cut adapters are accepted, or refused with the one exception; none takes long or much memory.</summary>
    [Theory]
    [InlineData("adapter_config.json", 1500, 700)]
    [InlineData("adapter_model.safetensors", 1500, 3500)]
    [InlineData("a.gguf", 3000, 3500)]
    public void DamagedFilesAreRefused(string name, int count, int headerBytes)
    {
        _adapter.WritePeft(_temp.Path);
        _adapter.WriteGguf(_temp.File("a.gguf"));
        string target = _temp.File(name);
        byte[] valid = File.ReadAllBytes(target);
        Random random = new(11);
        int refused = 0;
        for (int i = 0; i < count; i++)
        {
            File.WriteAllBytes(target, Mutation.Apply(valid, headerBytes, random));
            long before = GC.GetAllocatedBytesForCurrentThread();
            double start = ProcessorTime.Microseconds();
            try
            {
                using LoraFile file = LoraFile.Open(name == "a.gguf" ? target : _temp.Path);
                file.Check(s_config);
                foreach (LoraPair pair in file.Pairs.Values)
                {
                    Assert.Equal(pair.A.ElementCount, pair.ReadA().Length);
                    Assert.Equal(pair.B.ElementCount, pair.ReadScaledB().Length);
                }
            }
            catch (GemmaModelFormatException e)
            {
                refused++;
                Assert.NotEmpty(e.Message);
            }

            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 16 << 20);
            Assert.InRange(ProcessorTime.Microseconds() - start, 0, 10e6);
        }

        Assert.InRange(refused, count / 10, count);
    }

    private static void Refused(string path, params string[] words)
    {
        string message = Assert.Throws<GemmaModelFormatException>(() => LoraFile.Open(path)).Message;
        Assert.All(words, word => Assert.Contains(word, message, StringComparison.Ordinal));
    }
}
