using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.ML.Tokenizers;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>What is Gemma's own, beyond the conformance suite.</summary>
public class GemmaChatClientTests
{
    [Fact]
    public async Task AnotherModelIdIsAnErrorThatNamesBoth()
    {
        using IChatClient client = TinyModel.Client();
        ArgumentException thrown = await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("Hello", new ChatOptions { ModelId = "gpt-4o" }));
        Assert.Contains("gpt-4o", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("'tiny'", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task APromptLongerThanTheContextIsRefusedWithBothNumbers()
    {
        using IChatClient client = TinyModel.Client();
        GemmaContextLengthException thrown = await Assert.ThrowsAsync<GemmaContextLengthException>(
            () => client.GetResponseAsync(string.Concat(Enumerable.Repeat("Zebra quokka. ", 300))));
        Assert.Equal(512, thrown.ContextTokens);
        Assert.True(thrown.PromptTokens > 512);
    }

    [Fact]
    public async Task TheEndOfTheContextEndsTheAnswerWithLength()
    {
        using IChatClient client = TinyModel.Client();
        ChatResponse response = await client.GetResponseAsync("Hello", new ChatOptions { Temperature = 0, RawRepresentationFactory = _ => NeverEnding() });
        Assert.Equal(ChatFinishReason.Length, response.FinishReason);
        Assert.Equal(512, response.Usage!.TotalTokenCount);
    }

    /// <summary>Whatever is asked of a disposed model is an exception; reading its unmapped file ended the process.</summary>
    [Theory]
    [InlineData("tiny")]
    [InlineData("gguf/tiny-Q8_0.gguf")]
    public async Task ADisposedModelRefusesEverything(string path)
    {
        GemmaModel model = GemmaModel.Load(TestData.Local(path));
        IChatClient chat = model.AsIChatClient();
        IEmbeddingGenerator<string, Embedding<float>> embeddings = model.AsIEmbeddingGenerator();
        model.Dispose();
        model.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => chat.GetResponseAsync("Hello"));
        await Assert.ThrowsAnyAsync<Exception>(() => chat.GetResponseAsync("Hello", new ChatOptions { ModelId = "another" }));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => chat.GetResponseAsync("Hello", new ChatOptions { ResponseFormat = ChatResponseFormat.Json }));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => embeddings.GenerateAsync(["Hello"]));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => model.ScoreAsync("Hello", ["a"]));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => model.SavePromptCacheAsync("never.cache", [new ChatMessage(ChatRole.System, "x")]));
        Assert.Equal(path.StartsWith("gguf", StringComparison.Ordinal) ? "tiny-Q8_0" : "tiny", chat.GetService<ChatClientMetadata>()!.DefaultModelId);
        Assert.NotNull(embeddings.GetService<EmbeddingGeneratorMetadata>());
        Assert.Equal("Hello", model.Tokenizer.Decode(model.Tokenizer.EncodeToIds("Hello")));
    }

    [Fact]
    public async Task ATimeLimitIsCheckedAndMayBeInfinite()
    {
        using IChatClient client = TinyModel.Client();
        ChatOptions With(TimeSpan limit) => new() { MaxOutputTokens = 3, RawRepresentationFactory = _ => new GemmaGenerationOptions { Timeout = limit } };
        Assert.Equal(3, (await client.GetResponseAsync("Hello", With(Timeout.InfiniteTimeSpan))).Usage!.OutputTokenCount);
        Assert.Equal(3, (await client.GetResponseAsync("Hello", With(TimeSpan.MaxValue))).Usage!.OutputTokenCount);
        foreach (TimeSpan wrong in (TimeSpan[])[TimeSpan.Zero, TimeSpan.FromSeconds(-3), TimeSpan.MinValue])
        {
            Assert.Equal("Timeout", (await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => client.GetResponseAsync("Hello", With(wrong)))).ParamName);
        }
    }

    [Fact]
    public async Task TheRawOptionsWinOverTheCommonOnes()
    {
        using IChatClient client = TinyModel.Client();
        ChatOptions options = new() { Temperature = 2, MaxOutputTokens = 50, RawRepresentationFactory = _ => new GemmaGenerationOptions { Temperature = 0, MaxOutputTokens = 5 } };
        ChatResponse raw = await client.GetResponseAsync("Hello", options);
        Assert.Equal((await client.GetResponseAsync("Hello", TinyModel.Greedy(5))).Text, raw.Text);
        Assert.Equal(5, raw.Usage!.OutputTokenCount);
    }

    [Fact]
    public async Task ARawRepresentationOfAnotherProviderIsLeftAlone()
    {
        using IChatClient client = TinyModel.Client();
        ChatOptions options = TinyModel.Greedy();
        options.RawRepresentationFactory = _ => "someone else's";
        Assert.Equal((await client.GetResponseAsync("Hello", TinyModel.Greedy())).Text, (await client.GetResponseAsync("Hello", options)).Text);
    }

    [Fact]
    public async Task ALogitBiasForbidsAToken()
    {
        using IChatClient client = TinyModel.Client();
        int first = await FirstTokenAsync(client, TinyModel.Greedy(1));
        ChatOptions options = TinyModel.Greedy(1);
        options.AdditionalProperties = new() { ["logit_bias"] = $$"""{"{{first}}": -100}""" };
        Assert.NotEqual(first, await FirstTokenAsync(client, options));
    }

    [Fact]
    public async Task InstructionsAndASystemMessageAreTheSame()
    {
        using IChatClient client = TinyModel.Client();
        ChatOptions options = TinyModel.Greedy();
        options.Instructions = "Speak as a pirate.";
        ChatResponse instructed = await client.GetResponseAsync("Hello", options);
        ChatResponse system = await client.GetResponseAsync([new(ChatRole.System, "Speak as a pirate."), new(ChatRole.User, "Hello")], TinyModel.Greedy());
        Assert.Equal(system.Text, instructed.Text);
        Assert.Equal(system.Usage!.InputTokenCount, instructed.Usage!.InputTokenCount);
    }

    [Fact]
    public async Task AnEmptyConversationIsRefused()
    {
        using IChatClient client = TinyModel.Client();
        Assert.Contains("empty", (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync([]))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AnImageIsRefusedByName()
    {
        using IChatClient client = TinyModel.Client();
        ChatMessage message = new(ChatRole.User, [new TextContent("What is this?"), new DataContent(new byte[] { 1, 2, 3 }, "image/png")]);
        Assert.Contains("image/png", (await Assert.ThrowsAsync<NotSupportedException>(() => client.GetResponseAsync([message]))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ServicesAreAnswered()
    {
        using IChatClient client = TinyModel.Client();
        ChatClientMetadata metadata = client.GetService<ChatClientMetadata>()!;
        Assert.Equal(("gemma", "tiny"), (metadata.ProviderName, metadata.DefaultModelId));
        Assert.Equal(TinyModel.Path, metadata.ProviderUri!.LocalPath);
        Assert.Same(TinyModel.Model, client.GetService<GemmaModel>());
        Assert.Same(TinyModel.Model.Tokenizer, client.GetService<GemmaTokenizer>());
        Assert.Same(TinyModel.Model.Tokenizer, client.GetService<Tokenizer>());
        Assert.Null(client.GetService<GemmaModel>("key"));
    }

    [Fact]
    public async Task ASecondTurnReadsOnlyWhatIsNew()
    {
        using GemmaModel model = GemmaModel.Load(TinyModel.Path);
        using IChatClient client = model.AsIChatClient();
        List<ChatMessage> history = [new(ChatRole.User, string.Concat(Enumerable.Repeat("The river runs. ", 15)))];
        ChatResponse first = await client.GetResponseAsync(history, TinyModel.Greedy());
        Assert.Equal(0, first.Usage!.CachedInputTokenCount);
        history.AddMessages(first);
        history.Add(new ChatMessage(ChatRole.User, "More."));
        ChatResponse second = await client.GetResponseAsync(history, TinyModel.Greedy());
        Assert.InRange(second.Usage!.CachedInputTokenCount!.Value, first.Usage.InputTokenCount!.Value / 2, second.Usage.InputTokenCount!.Value);
    }

    [Fact]
    public async Task ADisposedModelSaysSoAndEndsWhatRuns()
    {
        GemmaModel model = GemmaModel.Load(TinyModel.Path);
        IChatClient client = model.AsIChatClient();
        await Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            await foreach (ChatResponseUpdate _ in client.GetStreamingResponseAsync("Hello", new ChatOptions { RawRepresentationFactory = _ => NeverEnding() }))
            {
                model.Dispose();
            }
        });
        await Assert.ThrowsAsync<ObjectDisposedException>(() => client.GetResponseAsync("Hello"));
    }

    [Fact]
    public async Task ARequestPastItsTimeFailsWithTimeoutException()
    {
        using IChatClient client = TinyModel.Client();
        GemmaGenerationOptions raw = NeverEnding();
        raw.Timeout = TimeSpan.FromMilliseconds(1);
        await Assert.ThrowsAsync<TimeoutException>(() => client.GetResponseAsync("Hello", new ChatOptions { RawRepresentationFactory = _ => raw }));
    }

    [Fact]
    public async Task ATimeLimitHoldsWhileTheGrammarIsCompiled()
    {
        // Whether any text is left takes tens of thousands of states to decide: more than a grammar may take, and much more than a millisecond.
        const string Hostile = "^(?=[ab]*a[ab]{18}$)(?![ab]*(?:a[ab]{18}|b[ab]{17})$)[ab]*$";
        using IChatClient client = TinyModel.Client();
        ChatOptions With(TimeSpan? limit, string regex) => new() { MaxOutputTokens = 3, RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = regex, Timeout = limit } };
        for (int i = 0; i < 2; i++)
        {
            TimeoutException late = await Assert.ThrowsAsync<TimeoutException>(() => client.GetResponseAsync("Hello", With(TimeSpan.FromMilliseconds(1), Hostile)));
            Assert.Contains("00:00:00.001", late.Message);
            Assert.Contains("compiled", late.Message);
        }

        // That it was not finished in time says nothing of the grammar; that it is too much is remembered, and said at once.
        await Assert.ThrowsAnyAsync<NotSupportedException>(() => client.GetResponseAsync("Hello", With(null, Hostile)));
        await Assert.ThrowsAnyAsync<NotSupportedException>(() => client.GetResponseAsync("Hello", With(TimeSpan.FromMilliseconds(1), Hostile)));
        Assert.Matches("^[ab]{1,3}$", (await client.GetResponseAsync("Hello", With(TimeSpan.FromDays(100), "^[ab]{1,3}$"))).Text);
    }

    [Fact]
    public async Task ACallerWhoCancelsIsNotToldOfATimeLimit()
    {
        using IChatClient client = TinyModel.Client();
        using CancellationTokenSource cancelled = new();
        ChatOptions options = new() { RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = "^(?=[ab]*a[ab]{17}$)(?![ab]*(?:a[ab]{17}|b[ab]{16})$)[ab]*$", Timeout = TimeSpan.FromHours(1) } };
        Task<ChatResponse> answer = client.GetResponseAsync("Hello", options, cancelled.Token);
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => answer);
    }

    [Fact]
    public async Task TheSmallestTemperatureIsGreedy()
    {
        using IChatClient client = TinyModel.Client();
        ChatOptions options = TinyModel.Greedy();
        options.Temperature = float.Epsilon;
        Assert.Equal((await client.GetResponseAsync("Hello", TinyModel.Greedy())).Text, (await client.GetResponseAsync("Hello", options)).Text);
    }

    [Fact]
    public async Task NullInAConversationIsRefusedInWords()
    {
        using IChatClient client = TinyModel.Client();
        Assert.Contains("null", (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync([new(ChatRole.User, "a"), null!]))).Message, StringComparison.Ordinal);
        Assert.Contains("'user'", (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync([new(ChatRole.User, [null!])]))).Message, StringComparison.Ordinal);
        Assert.Contains("Tools", (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("a", new ChatOptions { Tools = [null!] }))).Message, StringComparison.Ordinal);
        Assert.Contains("ResponseFormat", (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("a", new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(default(System.Text.Json.JsonElement)) }))).Message, StringComparison.Ordinal);
    }

    /// <summary>Keeps the model from ending its answer by itself.</summary>
    private static GemmaGenerationOptions NeverEnding() => new() { LogitBias = new Dictionary<int, float> { [1] = -1000, [9] = -1000 } };

    private static async Task<int> FirstTokenAsync(IChatClient client, ChatOptions options)
    {
        string text = (await client.GetResponseAsync("Hello", options)).Text;
        List<int> ids = [];
        TinyModel.Model.Tokenizer.Encode(text, ids, matchSpecial: false);
        return ids[0];
    }
}
