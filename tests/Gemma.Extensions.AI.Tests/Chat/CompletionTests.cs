using System.Text.Json;
using Gemma.Extensions.AI.Files;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Raw prompts and log probabilities, against what gemma_pytorch computed in float32.</summary>
public sealed class CompletionTests(CompletionTests.Reference reference) : IClassFixture<CompletionTests.Reference>
{
    private GemmaModel Model => reference.Model;

    [Fact]
    public async Task ARawPromptIsContinuedAsTheReferenceContinuesIt()
    {
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(TestData.Local("tiny/greedy.json")));
        foreach (JsonElement run in json.RootElement.EnumerateArray())
        {
            int[] expected = [.. run.GetProperty("greedy_ids").EnumerateArray().Select(id => id.GetInt32())];
            int[] prompt = [.. run.GetProperty("prompt_ids").EnumerateArray().Select(id => id.GetInt32())];
            string text = Model.Tokenizer.Decode(expected);
            Assert.Equal(text, (await Model.CompleteAsync(prompt, TinyModel.Greedy(40), TestContext.Current.CancellationToken)).Text);
            Assert.Equal(text, (await Model.CompleteAsync(run.GetProperty("prompt").GetString()!, TinyModel.Greedy(40), TestContext.Current.CancellationToken)).Text);
        }
    }

    [Fact]
    public async Task BosIsAddedOnce()
    {
        ChatResponse without = await Model.CompleteAsync("You will", TinyModel.Greedy(1), TestContext.Current.CancellationToken);
        ChatResponse with = await Model.CompleteAsync("<bos>You will", TinyModel.Greedy(1), TestContext.Current.CancellationToken);
        Assert.Equal(without.Usage!.InputTokenCount, with.Usage!.InputTokenCount);
        Assert.Equal(without.Text, with.Text);
    }

    [Fact]
    public async Task ARawPromptKeepsToAGrammarALimitAndAStopSequence()
    {
        ChatOptions options = new() { Temperature = 3, TopK = 0, Seed = 5, MaxOutputTokens = 60, StopSequences = ["8"], RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = "[0-9]{20}" } };
        for (int seed = 0; seed < 20; seed++)
        {
            options.Seed = seed;
            ChatResponse response = await Model.CompleteAsync("Digits: ", options, TestContext.Current.CancellationToken);
            Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
            Assert.Matches("^[0-79]{0,20}$", response.Text);
        }
    }

    [Fact]
    public async Task WhatARawPromptCannotCarryIsRefused()
    {
        CancellationToken none = TestContext.Current.CancellationToken;
        await Assert.ThrowsAsync<NotSupportedException>(() => Model.CompleteAsync("a", new ChatOptions { Instructions = "Be brief." }, none));
        await Assert.ThrowsAsync<NotSupportedException>(() => Model.CompleteAsync("a", new ChatOptions { Tools = [AIFunctionFactory.Create(() => 1, "one")] }, none));
        await Assert.ThrowsAsync<ArgumentException>(() => Model.CompleteAsync("", null, none));
        await Assert.ThrowsAsync<ArgumentException>(() => Model.CompleteAsync((int[])[], null, none));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => Model.CompleteAsync((int[])[2, 1_000_000], null, none));
        await Assert.ThrowsAsync<GemmaContextLengthException>(() => Model.CompleteAsync(Enumerable.Repeat(5, 512).ToArray(), null, none));
    }

    [Fact]
    public async Task LogProbabilitiesAreThoseOfTheReference()
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.Local("tiny/expected.safetensors"));
        int[] tokens = file.ReadInt32s("tokens");
        float[][] logits = [.. file.ReadSingles("expected.logits").Chunk(1024)];
        foreach (int length in (int[])[1, 2, 17, 40, 96])
        {
            // The end of a turn is not reported, so it is kept from coming.
            float[] expected = [.. logits[length - 1]];
            Dictionary<int, float> bias = new() { [1] = float.NegativeInfinity, [9] = float.NegativeInfinity };
            ChatResponse response = await Model.CompleteAsync(tokens[..length], Options(20, GemmaLogProbabilitySource.Model, bias), TestContext.Current.CancellationToken);
            Check(expected, Assert.Single(response.GetLogProbabilities()));

            expected[1] = expected[9] = float.NegativeInfinity;
            response = await Model.CompleteAsync(tokens[..length], Options(20, GemmaLogProbabilitySource.Constrained, bias), TestContext.Current.CancellationToken);
            Check(expected, Assert.Single(response.GetLogProbabilities()));
        }

        static ChatOptions Options(int top, GemmaLogProbabilitySource source, Dictionary<int, float> bias) => new()
        {
            Temperature = 0, MaxOutputTokens = 1,
            RawRepresentationFactory = _ => new GemmaGenerationOptions { TopLogProbabilities = top, LogProbabilitySource = source, LogitBias = bias },
        };

        static void Check(float[] logits, GemmaLogProbabilities actual)
        {
            double total = Math.Log(logits.Sum(logit => Math.Exp((double)logit)));
            int[] best = [.. Enumerable.Range(0, logits.Length).OrderByDescending(id => logits[id]).Take(20)];
            Assert.Equal(20, actual.Top.Count);
            for (int i = 0; i < 20; i++)
            {
                // Where two tokens are closer than the tolerance they may change places, but not values.
                Assert.Equal(logits[best[i]] - total, actual.Top[i].LogProbability, 2e-3);
                Assert.Equal(logits[actual.Top[i].TokenId] - total, actual.Top[i].LogProbability, 2e-3);
            }

            Assert.Equal(logits[actual.Token.TokenId] - total, actual.Token.LogProbability, 2e-3);
        }
    }

    [Theory]
    [InlineData(null)]
    [InlineData(GemmaLogProbabilitySource.Model)]
    [InlineData(GemmaLogProbabilitySource.Constrained)]
    public async Task AskingForLogProbabilitiesChangesNothingElse(GemmaLogProbabilitySource? source)
    {
        string[] regexes = [null!, "(?:the answer is )?(?:red|green|blue), (?:certainly|perhaps)", "[a-c]{4}é+\\."];
        foreach (string? regex in regexes)
        {
            for (int seed = 0; seed < 6; seed++)
            {
                ChatResponse plain = await Ask(null, seed);
                ChatResponse asked = await Ask(3, seed);
                Assert.Equal(plain.Text, asked.Text);
                Assert.Equal(plain.Usage!.OutputTokenCount, asked.Usage!.OutputTokenCount);
                Assert.Empty(plain.GetLogProbabilities());
                Assert.All(plain.Messages, message => Assert.Null(message.AdditionalProperties));

                // Without a stop sequence the tokens are the whole text, byte for byte.
                IReadOnlyList<GemmaLogProbabilities> all = asked.GetLogProbabilities();
                Assert.Equal(asked.Text, Model.Tokenizer.Decode(all.Where(one => one.Token.Utf8.Length > 0).Select(one => one.Token.TokenId))); // turn markers spell nothing
                Assert.All(all, one => Assert.InRange(one.Token.LogProbability, double.MinValue, 1e-9));
                Assert.All(all, one => Assert.InRange(one.Top.Count, 1, 3));
                Assert.All(all, one => Assert.Equal(one.Top.Select(top => top.LogProbability).OrderDescending(), one.Top.Select(top => top.LogProbability)));
            }

            Task<ChatResponse> Ask(int? top, int seed) => Model.CompleteAsync("Say it: ", new ChatOptions
            {
                Temperature = 1.5f, Seed = seed, MaxOutputTokens = 24,
                RawRepresentationFactory = _ => new GemmaGenerationOptions { TopLogProbabilities = top, LogProbabilitySource = source, Regex = regex },
            }, TestContext.Current.CancellationToken);
        }
    }

    [Fact]
    public async Task WhatAGrammarForcesIsCertainUnderItAndHasTheModelsOwnProbabilityWithout()
    {
        IReadOnlyList<GemmaLogProbabilities> constrained = await Ask(GemmaLogProbabilitySource.Constrained), model = await Ask(GemmaLogProbabilitySource.Model);
        Assert.Equal(constrained.Select(one => one.Token.TokenId), model.Select(one => one.Token.TokenId));
        GemmaLogProbabilities forced = constrained[^1]; // "§" has no token of its own: the last of its bytes has no alternative
        Assert.Equal(0, forced.Token.LogProbability);
        Assert.Equal(forced.Token.TokenId, Assert.Single(forced.Top).TokenId);
        Assert.True(model[^1].Token.LogProbability < -0.1);
        Assert.Equal("§"u8.ToArray(), constrained.SelectMany(one => one.Token.Utf8.ToArray()));
        Assert.Equal("\uFFFD", forced.Token.Text);

        async Task<IReadOnlyList<GemmaLogProbabilities>> Ask(GemmaLogProbabilitySource source) => (await Model.CompleteAsync("Sign: ", new ChatOptions
        {
            Temperature = 0, RawRepresentationFactory = _ => new GemmaGenerationOptions { TopLogProbabilities = 5, LogProbabilitySource = source, Regex = "§" },
        }, TestContext.Current.CancellationToken)).GetLogProbabilities();
    }

    [Fact]
    public async Task UpdatesBringTheTokensThatAreNewAndNothingBehindAStopSequence()
    {
        ChatOptions options = new()
        {
            Temperature = 2, TopK = 0, MaxOutputTokens = 30, StopSequences = ["b", "ca"],
            RawRepresentationFactory = _ => new GemmaGenerationOptions { TopLogProbabilities = 0, Regex = "[a-c ]{1,30}" },
        };
        for (int seed = 0; seed < 20; seed++)
        {
            options.Seed = seed;
            List<ChatResponseUpdate> updates = [];
            await foreach (ChatResponseUpdate update in Model.CompleteStreamingAsync("abc", options, TestContext.Current.CancellationToken))
            {
                updates.Add(update);
            }

            ChatResponse response = updates.ToChatResponse();
            IReadOnlyList<GemmaLogProbabilities> all = response.GetLogProbabilities();
            Assert.Equal(all, updates.SelectMany(update => update.GetLogProbabilities()));
            string spelt = string.Concat(all.Select(one => one.Token.Text));
            Assert.StartsWith(response.Text, spelt, StringComparison.Ordinal);
            Assert.True(all.Count == 0 || spelt.Length - all[^1].Token.Text.Length < response.Text.Length, $"'{spelt}' goes on behind '{response.Text}'.");
            Assert.All(all, one => Assert.Empty(one.Top));
        }
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(21)]
    public async Task ANumberOfAlternativesOutOfRangeIsRefused(int top) => await Assert.ThrowsAsync<ArgumentOutOfRangeException>(
        () => Model.CompleteAsync("a", new ChatOptions { RawRepresentationFactory = _ => new GemmaGenerationOptions { TopLogProbabilities = top } }, TestContext.Current.CancellationToken));

    /// <summary>The reference model on the float32 path.</summary>
    public sealed class Reference : IDisposable
    {
        public GemmaModel Model { get; } = GemmaModel.Load(TinyModel.Path, new GemmaOptions { Kernel = "reference", KvCacheType = GemmaKvCacheType.F32 });

        public void Dispose() => Model.Dispose();
    }
}
