using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Files;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

public class GenerationSettingsTests
{
    public static TheoryData<object> Quarters => [0.25, 0.25f, 0.25m, "0.25", (Half)0.25f, Json("0.25"), Json("\"0.25\"")];

    public static TheoryData<object> Biases =>
    [
        new Dictionary<int, float> { [7] = -2.5f, [8] = 1 },
        new Dictionary<string, object> { ["7"] = "-2.5", ["8"] = 1 },
        Json("""{"7": -2.5, "8": 1}"""),
        """{"7": -2.5, "8": "1"}""",
    ];

    public static TheoryData<string, ChatOptions> BadOptions => new()
    {
        { "Temperature", new() { Temperature = -0.1f } },
        { "Temperature", new() { Temperature = float.NaN } },
        { "TopP", new() { TopP = 1.1f } },
        { "TopK", new() { TopK = -1 } },
        { "MaxOutputTokens", new() { MaxOutputTokens = 0 } },
        { "FrequencyPenalty", new() { FrequencyPenalty = float.PositiveInfinity } },
        { "PresencePenalty", new() { PresencePenalty = float.NaN } },
        { "stop sequence", new() { StopSequences = [""] } },
    };

    private static GenerationSettings Resolve(ChatOptions? options = null, GemmaGenerationOptions? raw = null, GenerationDefaults? defaults = null) =>
        GenerationSettings.Resolve(options, raw, defaults ?? new GenerationDefaults(), vocabularySize: 1000);

    private static ChatOptions Extra(string name, object? value) => new() { AdditionalProperties = new() { [name] = value } };

    [Fact]
    public void WithoutAnythingItIsGooglesRecommendation()
    {
        GenerationSettings settings = Resolve();
        Assert.Equal((1f, 64, 0.95f), (settings.Sampling.Temperature, settings.Sampling.TopK, settings.Sampling.TopP));
        Assert.Equal(int.MaxValue, settings.MaxOutputTokens);
        Assert.Empty(settings.StopSequences);
    }

    [Fact]
    public void TheStrongestSourceWinsMemberByMember()
    {
        GenerationDefaults defaults = new() { Temperature = 0.1f, TopK = 11, TopP = 0.11f };
        ChatOptions options = new() { Temperature = 0.2f, TopK = 22, MaxOutputTokens = 5, Seed = 6, StopSequences = ["a"], FrequencyPenalty = 0.5f, PresencePenalty = 0.25f };
        GemmaGenerationOptions raw = new() { Temperature = 0.3f, Seed = 7 };

        GenerationSettings settings = Resolve(options, raw, defaults);
        Assert.Equal(0.3f, settings.Sampling.Temperature);
        Assert.Equal(22, settings.Sampling.TopK);
        Assert.Equal(0.11f, settings.Sampling.TopP);
        Assert.Equal(7, settings.Sampling.Seed);
        Assert.Equal(0.5f, settings.Sampling.FrequencyPenalty);
        Assert.Equal(0.25f, settings.Sampling.PresencePenalty);
        Assert.Equal(5, settings.MaxOutputTokens);
        Assert.Equal(["a"], settings.StopSequences);
    }

    [Theory]
    [MemberData(nameof(Quarters))]
    public void NumbersArriveInManyShapes(object quarter)
    {
        Assert.Equal(0.25f, Resolve(Extra("min_p", quarter)).Sampling.MinP);
        Assert.Equal(0.25f, Resolve(Extra("repetition_penalty", quarter)).Sampling.RepetitionPenalty);
    }

    [Theory]
    [MemberData(nameof(Biases))]
    public void ALogitBiasArrivesInManyShapes(object bias)
    {
        IReadOnlyDictionary<int, float> read = Resolve(Extra("logit_bias", bias)).Sampling.LogitBias!;
        Assert.Equal(2, read.Count);
        Assert.Equal(-2.5f, read[7]);
        Assert.Equal(1, read[8]);
    }

    [Theory]
    [InlineData("min_p", "a lot")]
    [InlineData("min_p", true)]
    [InlineData("min_p", 2.0)]
    [InlineData("min_p", double.NaN)]
    [InlineData("repetition_penalty", 0)]
    [InlineData("logit_bias", 3)]
    [InlineData("logit_bias", "{")]
    [InlineData("logit_bias", "[1]")]
    [InlineData("logit_bias", """{"1000": 1}""")]
    [InlineData("logit_bias", """{"-1": 1}""")]
    [InlineData("logit_bias", """{"word": 1}""")]
    [InlineData("logit_bias", """{"1": null}""")]
    public void ABadPropertyIsNamed(string name, object value)
    {
        ArgumentException thrown = Assert.ThrowsAny<ArgumentException>(() => Resolve(Extra(name, value)));
        Assert.Contains(name, thrown.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(BadOptions))]
    public void ABadOptionIsNamed(string name, ChatOptions options)
    {
        Assert.Contains(name, Assert.ThrowsAny<ArgumentException>(() => Resolve(options)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NothingAsJSONIsNothingAndNodesAreJSON()
    {
        ChatOptions options = new() { AdditionalProperties = new() { ["min_p"] = Json("null"), ["repetition_penalty"] = null, ["logit_bias"] = Json("null"), ["adapter"] = Json("null") } };
        GenerationSettings settings = Resolve(options);
        Assert.Equal((0f, 1f), (settings.Sampling.MinP, settings.Sampling.RepetitionPenalty));
        Assert.Null(settings.Sampling.LogitBias);
        Assert.Null(settings.Adapter);
        options = new() { AdditionalProperties = new() { ["min_p"] = JsonValue.Create(0.25), ["logit_bias"] = new JsonObject { ["7"] = 1.5 }, ["adapter"] = JsonValue.Create("legal") } };
        settings = Resolve(options);
        Assert.Equal((0.25f, 1.5f, "legal"), (settings.Sampling.MinP, settings.Sampling.LogitBias![7], settings.Adapter));
    }

    [Fact]
    public void PropertiesOfOthersAreLeftAlone()
    {
        Assert.Equal(0, Resolve(Extra("trace_id", new object())).Sampling.MinP);
        Assert.Equal(0, Resolve(Extra("min_p", null)).Sampling.MinP);
    }

    private static JsonElement Json(string text) => JsonDocument.Parse(text).RootElement.Clone();
}
