using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Tests.Backends;
using Gemma.Extensions.AI.Tests.Engine;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Lora;

/// <summary>Adapters over a shared base give what merged models give, whatever else is in the batch or the cache.</summary>
public sealed class LoraEngineTests : IDisposable
{
    private readonly TempDirectory _temp = new();
    private readonly ModelFile _base = ModelFile.Open(TestData.Local("tiny"));

    public void Dispose()
    {
        _base.Dispose();
        _temp.Dispose();
    }

    [Fact]
    public void PeftAdapterEqualsTheMergedModel()
    {
        RandomAdapter adapter = new(_base.Config);
        AssertEqualsMerged(adapter.WritePeft(_temp.File("adapter")), adapter.WriteMerged(_base, _temp.File("merged")));
    }

    [Fact]
    public void GgufAdapterEqualsTheMergedModel()
    {
        RandomAdapter adapter = new(_base.Config);
        AssertEqualsMerged(adapter.WriteGguf(_temp.File("adapter.gguf")), adapter.WriteMerged(_base, _temp.File("merged")));
    }

    [Fact]
    public void GgufAdapterWithoutAlphaIsNotScaled()
    {
        RandomAdapter adapter = new(_base.Config);
        AssertEqualsMerged(adapter.WriteGguf(_temp.File("adapter.gguf"), alpha: 0), adapter.WriteMerged(_base, _temp.File("merged"), _ => 1));
    }

    [Theory]
    [InlineData("q_proj", "v_proj")]
    [InlineData("up_proj")]
    [InlineData("k_proj", "o_proj", "gate_proj", "down_proj")]
    public void AdaptersOfSomeModulesLeaveTheOthersAlone(params string[] targets)
    {
        RandomAdapter adapter = new(_base.Config, targets: targets);
        AssertEqualsMerged(adapter.WritePeft(_temp.File("adapter")), adapter.WriteMerged(_base, _temp.File("merged")));
    }

    [Fact]
    public void RankStabilisedScaleDividesByTheRoot()
    {
        RandomAdapter adapter = new(_base.Config);
        string path = adapter.WritePeft(_temp.File("adapter"), json => json["use_rslora"] = true);
        AssertEqualsMerged(path, adapter.WriteMerged(_base, _temp.File("merged"), f => RandomAdapter.Alpha / Math.Sqrt(f.Rank)));
    }

    /// <summary>PEFT's patterns are expressions for the end of a module's name; the first that matches counts.</summary>
    [Fact]
    public void PatternsGiveModulesTheirOwnRankAndAlpha()
    {
        RandomAdapter adapter = new(_base.Config, rankOf: module => module.EndsWith("q_proj", StringComparison.Ordinal) ? 7 : module.Contains(".2.mlp.", StringComparison.Ordinal) ? 2 : 4);
        string path = adapter.WritePeft(_temp.File("adapter"), json =>
        {
            json["rank_pattern"] = new JsonObject { ["q_proj"] = 7, [@"layers\.2\.mlp\.\w+"] = 2 };
            json["alpha_pattern"] = new JsonObject { ["model.layers.1.self_attn.v_proj"] = 11.5, ["v_proj"] = 3 };
            json["target_modules"] = @"model\.layers\.\d+\.(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj";
        });
        AssertEqualsMerged(path, adapter.WriteMerged(_base, _temp.File("merged"),
            f => (f.Module == "model.layers.1.self_attn.v_proj" ? 11.5 : f.Module.EndsWith("v_proj", StringComparison.Ordinal) ? 3 : RandomAdapter.Alpha) / f.Rank));
    }

    /// <summary>Several at once, prompts and single tokens in one batch, on every tier: each request's text is the one that it gets alone, to the last bit.</summary>
    [Theory, MemberData(nameof(Tiers.Native), MemberType = typeof(Tiers))]
    public void RequestsOfDifferentAdaptersRunTogether(string tier)
    {
        Tiers.Create(tier).Dispose(); // skips where the machine lacks it
        string[] paths = [.. new[] { 1, 2, 3 }.Select(seed => new RandomAdapter(_base.Config, seed, rank: 3 + seed).WritePeft(_temp.File($"{seed}")))];
        using TinyEngine tiny = new(TinyEngine.Exact with { PrefixCache = false, PrefillChunk = 48 }, tier);
        LoraWeights?[] adapters = [null, .. paths.Select(tiny.Adapter)];
        int[][] prompts = [.. Enumerable.Range(0, 12).Select(i => TinyEngine.Prompt(i % 3, 20 + 7 * i))];
        int[][] alone = [.. prompts.Select((prompt, i) => Done(tiny.Start(prompt, 20, adapter: adapters[i % 4])))];
        Generation[] together = [.. prompts.Select((prompt, i) => tiny.Start(prompt, 20, adapter: adapters[i % 4]))];
        Assert.Equal(alone, together.Select(Done));
        Assert.True(alone.Select(tokens => string.Join(' ', tokens)).Distinct().Count() >= 9, "The adapters should change what is said.");

        int[] same = TinyEngine.Prompt(77, 30);
        float[][][] logits = [.. adapters.Select(adapter => tiny.Logits(same, adapter: adapter))];
        for (int i = 1; i < logits.Length; i++)
        {
            Assert.InRange(Difference.Largest(logits[0], logits[i]), 0.1f, 100);
        }

        static int[] Done(Generation generation)
        {
            Assert.Null(generation.Result.Error);
            return generation.Tokens;
        }
    }

    /// <summary>What one adapter computed must not serve another, nor the base; what it computed itself must.</summary>
    [Fact]
    public void PrefixesAreSharedWithinAnAdapterOnly()
    {
        int[] prompt = TinyEngine.Prompt(5, 100);
        using TinyEngine tiny = new(TinyEngine.Exact with { PrefillChunk = 64 });
        string path = new RandomAdapter(_base.Config, 1).WritePeft(_temp.File("1"));
        LoraWeights?[] adapters = [null, tiny.Adapter(path), tiny.Adapter(new RandomAdapter(_base.Config, 2).WritePeft(_temp.File("2"))), tiny.Adapter(path)];
        foreach (LoraWeights? adapter in adapters)
        {
            float[][] first = tiny.Logits(prompt, out int cached, prompt.Length - 1, adapter);
            Assert.Equal(0, cached);
            float[][] second = tiny.Logits(prompt, out cached, prompt.Length - 1, adapter);
            Assert.Equal(prompt.Length - 1, cached);
            Assert.InRange(Difference.Largest(first, second), 0, 1e-4f);
            using TinyEngine cold = new(TinyEngine.Exact with { PrefixCache = false });
            Assert.InRange(Difference.Largest(cold.Logits(prompt, prompt.Length - 1, adapter), first), 0, 1e-4f);
        }

        EngineTests.AssertNothingHeld(tiny);
    }

    /// <summary>Short memory: blocks of all adapters compete for one budget, sequences are preempted, and every text stays right.</summary>
    [Fact]
    public void EvictionAndPreemptionKeepAdaptersApart()
    {
        string[] paths = [.. new[] { 1, 2 }.Select(seed => new RandomAdapter(_base.Config, seed).WritePeft(_temp.File($"{seed}")))];
        using TinyEngine cold = new(TinyEngine.Exact with { PrefixCache = false, SpeculativeTokens = 0 });
        using TinyEngine tiny = new(EngineTests.Small(blocks: 16));
        LoraWeights?[] adapters = [null, .. paths.Select(tiny.Adapter)];
        Random random = new(3);
        (int[] Prompt, LoraWeights? Adapter)[] requests = [.. Enumerable.Range(0, 12).Select(i => ((int[])[.. TinyEngine.Prompt(0, 60)[..random.Next(20, 61)], .. TinyEngine.Prompt(i, random.Next(2, 20))], adapters[random.Next(3)]))];
        int[][] expected = [.. requests.Select(r => cold.Start(r.Prompt, 100, adapter: r.Adapter)).Select(Tokens)];
        Assert.Equal(expected, requests.Select(r => tiny.Start(r.Prompt, 100, adapter: r.Adapter)).ToArray().Select(Tokens));
        Assert.True(tiny.Engine.Status.Preemptions > 0, "The test is meant to run out of memory.");
        EngineTests.AssertNothingHeld(tiny);

        static int[] Tokens(Generation generation)
        {
            Assert.Null(generation.Result.Error);
            return generation.Tokens;
        }
    }

    private void AssertEqualsMerged(string adapter, string merged)
    {
        int[] tokens = TinyEngine.Prompt(3, 60);
        using TinyEngine tiny = new();
        float[][] adapted = tiny.Logits(tokens, adapter: tiny.Adapter(adapter));
        using TinyEngine whole = new(path: merged);
        Assert.InRange(Difference.Largest(whole.Logits(tokens), adapted), 0, 1e-3f);
        Assert.InRange(Difference.Largest(tiny.Logits(tokens), adapted), 0.1f, 100);
    }
}
