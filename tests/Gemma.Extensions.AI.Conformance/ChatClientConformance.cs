using System.Text.Json;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Conformance;

/// <summary>
/// What a stateless <see cref="IChatClient"/> over a text model owes its callers, whoever wrote it. Derive a public class and say how to make a
/// client; nothing here knows Gemma. The model needs no sense: short greedy answers to any prompt are enough.
/// </summary>
public abstract class ChatClientConformance
{
    private const string Question = "Write a few words about rivers.";

    /// <summary>Tokens of an ordinary answer. The model must be able to answer <see cref="Question"/> with at least four.</summary>
    protected virtual int AnswerTokens => 24;

    /// <summary>Tokens of an answer that is long enough to be cancelled while it is generated.</summary>
    protected virtual int LongAnswerTokens => 200;

    /// <summary>A client ready for use. The suite disposes it.</summary>
    protected abstract IChatClient CreateClient();

    /// <summary>Options under which the model answers the same every time.</summary>
    protected virtual ChatOptions Greedy(int? maxOutputTokens = null) =>
        new() { Temperature = 0, MaxOutputTokens = maxOutputTokens ?? AnswerTokens };

    [Fact]
    public async Task StreamingGivesTheSameTextUsageAndFinishAsNotStreaming()
    {
        using IChatClient client = CreateClient();
        ChatResponse whole = await client.GetResponseAsync(Question, Greedy());
        ChatResponse streamed = await client.GetStreamingResponseAsync(Question, Greedy()).ToChatResponseAsync();

        Assert.NotEmpty(whole.Text);
        Assert.Equal(whole.Text, streamed.Text);
        Assert.Equal(whole.FinishReason, streamed.FinishReason);
        Assert.Equal(whole.ModelId, streamed.ModelId);
        Assert.Equal(whole.Usage?.InputTokenCount, streamed.Usage?.InputTokenCount);
        Assert.Equal(whole.Usage?.OutputTokenCount, streamed.Usage?.OutputTokenCount);
    }

    [Fact]
    public async Task TheStreamIsIncremental()
    {
        using IChatClient client = CreateClient();
        int updatesWithText = 0;
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(Question, Greedy()))
        {
            updatesWithText += update.Text.Length > 0 ? 1 : 0;
        }

        Assert.True(updatesWithText > 1, $"{updatesWithText} update(s) carried text");
    }

    [Fact]
    public async Task EveryUpdateSaysWhereItBelongs()
    {
        using IChatClient client = CreateClient();
        List<ChatResponseUpdate> updates = await Collect(client.GetStreamingResponseAsync(Question, Greedy()));

        ChatResponseUpdate first = updates[0];
        Assert.False(string.IsNullOrEmpty(first.ResponseId));
        Assert.False(string.IsNullOrEmpty(first.MessageId));
        Assert.False(string.IsNullOrEmpty(first.ModelId));
        Assert.NotNull(first.CreatedAt);
        Assert.InRange(first.CreatedAt.Value, DateTimeOffset.UtcNow.AddMinutes(-10), DateTimeOffset.UtcNow.AddMinutes(1));
        Assert.All(updates, update =>
        {
            Assert.Equal(first.ResponseId, update.ResponseId);
            Assert.Equal(first.MessageId, update.MessageId);
            Assert.Equal(first.ModelId, update.ModelId);
            Assert.Equal(first.CreatedAt, update.CreatedAt);
            Assert.Equal(ChatRole.Assistant, update.Role);
        });
    }

    [Fact]
    public async Task OnlyTheLastUpdateCarriesUsageAndTheFinishReason()
    {
        using IChatClient client = CreateClient();
        List<ChatResponseUpdate> updates = await Collect(client.GetStreamingResponseAsync(Question, Greedy()));

        Assert.All(updates.SkipLast(1), update =>
        {
            Assert.Null(update.FinishReason);
            Assert.DoesNotContain(update.Contents, content => content is UsageContent);
        });
        Assert.NotNull(updates[^1].FinishReason);
        Assert.Single(updates[^1].Contents.OfType<UsageContent>());
    }

    [Fact]
    public async Task AResponseIsOneAssistantMessageWithItsIdentityAndUsage()
    {
        using IChatClient client = CreateClient();
        ChatResponse response = await client.GetResponseAsync(Question, Greedy());

        ChatMessage message = Assert.Single(response.Messages);
        Assert.Equal(ChatRole.Assistant, message.Role);
        Assert.False(string.IsNullOrEmpty(message.MessageId));
        Assert.False(string.IsNullOrEmpty(response.ResponseId));
        Assert.False(string.IsNullOrEmpty(response.ModelId));
        Assert.NotNull(response.CreatedAt);
        Assert.NotNull(response.FinishReason);
        UsageDetails usage = Assert.IsType<UsageDetails>(response.Usage);
        Assert.True(usage.InputTokenCount > 0);
        Assert.InRange(usage.OutputTokenCount!.Value, 1, AnswerTokens);
        Assert.Equal(usage.InputTokenCount + usage.OutputTokenCount, usage.TotalTokenCount);
        Assert.InRange(usage.CachedInputTokenCount ?? 0, 0, usage.InputTokenCount!.Value);
    }

    [Fact]
    public async Task ResponsesHaveIdsOfTheirOwn()
    {
        using IChatClient client = CreateClient();
        ChatResponse one = await client.GetResponseAsync(Question, Greedy(4));
        ChatResponse two = await client.GetResponseAsync(Question, Greedy(4));

        Assert.NotEqual(one.ResponseId, two.ResponseId);
        Assert.NotEqual(one.Messages[0].MessageId, two.Messages[0].MessageId);
    }

    [Fact]
    public async Task AStatelessClientNeverReturnsAConversationId()
    {
        using IChatClient client = CreateClient();
        Assert.Null((await client.GetResponseAsync(Question, Greedy(4))).ConversationId);
        Assert.All(await Collect(client.GetStreamingResponseAsync(Question, Greedy(4))), update => Assert.Null(update.ConversationId));
    }

    [Fact]
    public async Task MaxOutputTokensCutsTheAnswerAndSaysSo()
    {
        using IChatClient client = CreateClient();
        ChatResponse full = await client.GetResponseAsync(Question, Greedy());
        ChatResponse cut = await client.GetResponseAsync(Question, Greedy(3));

        Assert.Equal(ChatFinishReason.Length, cut.FinishReason);
        Assert.Equal(3, cut.Usage!.OutputTokenCount);
        Assert.StartsWith(cut.Text.TrimEnd('\uFFFD'), full.Text, StringComparison.Ordinal);
        Assert.True(cut.Text.Length < full.Text.Length);
    }

    [Fact]
    public async Task AStopSequenceEndsTheAnswerAndIsNotPartOfIt()
    {
        using IChatClient client = CreateClient();
        string full = (await client.GetResponseAsync(Question, Greedy())).Text;
        string stop = full.Substring(full.Length / 2, Math.Min(4, full.Length - full.Length / 2));
        ChatOptions options = Greedy();
        options.StopSequences = ["\u0001never in any text\u0001", stop];

        ChatResponse stopped = await client.GetResponseAsync(Question, options);
        Assert.Equal(full[..full.IndexOf(stop, StringComparison.Ordinal)], stopped.Text);
        Assert.Equal(ChatFinishReason.Stop, stopped.FinishReason);
        Assert.Equal(stopped.Text, string.Concat(await Collect(client.GetStreamingResponseAsync(Question, options))));
    }

    [Fact]
    public async Task AStopSequenceThatDoesNotComeChangesNothing()
    {
        using IChatClient client = CreateClient();
        string full = (await client.GetResponseAsync(Question, Greedy())).Text;
        ChatOptions options = Greedy();
        options.StopSequences = [full[^1] + "\u0001", "\u0001\u0002"];

        Assert.Equal(full, (await client.GetResponseAsync(Question, options)).Text);
    }

    [Fact]
    public async Task TheSameSeedGivesTheSameTextAndAnotherSeedAnother()
    {
        using IChatClient client = CreateClient();
        Task<ChatResponse> Run(long seed) =>
            client.GetResponseAsync(Question, new ChatOptions { Temperature = 1.5f, TopP = 1, Seed = seed, MaxOutputTokens = AnswerTokens });

        string one = (await Run(42)).Text;
        Assert.Equal(one, (await Run(42)).Text);
        HashSet<string> others = [(await Run(1)).Text, (await Run(2)).Text, (await Run(3)).Text, one];
        Assert.True(others.Count > 1, "four seeds gave one text");
    }

    [Fact]
    public async Task InstructionsReachTheModel()
    {
        using IChatClient client = CreateClient();
        ChatOptions options = Greedy(4);
        options.Instructions = "Answer like a sailor who has not slept for two days.";

        long? without = (await client.GetResponseAsync(Question, Greedy(4))).Usage!.InputTokenCount;
        long? with = (await client.GetResponseAsync(Question, options)).Usage!.InputTokenCount;
        Assert.True(with > without, $"{with} tokens with instructions, {without} without");
    }

    [Fact]
    public async Task AConversationGoesOnWithTheAnswerInItsHistory()
    {
        using IChatClient client = CreateClient();
        List<ChatMessage> history = [new(ChatRole.System, "Be brief."), new(ChatRole.User, Question)];
        ChatResponse first = await client.GetResponseAsync(history, Greedy());
        history.AddMessages(first);
        history.Add(new ChatMessage(ChatRole.User, "And now about lakes."));
        ChatResponse second = await client.GetResponseAsync(history, Greedy());

        Assert.NotEmpty(second.Text);
        Assert.True(second.Usage!.InputTokenCount > first.Usage!.InputTokenCount);
    }

    [Fact]
    public async Task OptionsAndMessagesAreTheCallersAndStayAsTheyAre()
    {
        using IChatClient client = CreateClient();
        ChatOptions options = Greedy(4);
        options.Instructions = "Be brief.";
        options.StopSequences = ["\u0001"];
        options.AdditionalProperties = new() { ["trace"] = "abc" };
        List<ChatMessage> messages = [new(ChatRole.User, Question)];
        string optionsBefore = JsonSerializer.Serialize(options, AIJsonUtilities.DefaultOptions);
        string messagesBefore = JsonSerializer.Serialize(messages, AIJsonUtilities.DefaultOptions);

        await client.GetResponseAsync(messages, options);
        await Collect(client.GetStreamingResponseAsync(messages, options));

        Assert.Equal(optionsBefore, JsonSerializer.Serialize(options, AIJsonUtilities.DefaultOptions));
        Assert.Equal(messagesBefore, JsonSerializer.Serialize(messages, AIJsonUtilities.DefaultOptions));
    }

    [Fact]
    public async Task NullOptionsAreFine()
    {
        using IChatClient client = CreateClient();
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(Question))
        {
            Assert.NotNull(update.ResponseId);
            break;
        }
    }

    [Fact]
    public async Task ACancelledTokenIsSeenBeforeAnyWork()
    {
        using IChatClient client = CreateClient();
        CancellationToken cancelled = new(canceled: true);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.GetResponseAsync(Question, Greedy(), cancelled));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Collect(client.GetStreamingResponseAsync(Question, Greedy(), cancelled)));
    }

    [Fact]
    public async Task CancellingBetweenUpdatesEndsTheStream()
    {
        using IChatClient client = CreateClient();
        using CancellationTokenSource source = new();
        int updates = 0;
        OperationCanceledException thrown = await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (ChatResponseUpdate _ in client.GetStreamingResponseAsync(Question, Greedy(LongAnswerTokens), source.Token))
            {
                updates++;
                source.Cancel();
            }
        });

        Assert.Equal(source.Token, thrown.CancellationToken);
        Assert.True(updates < LongAnswerTokens, $"{updates} updates came");
    }

    [Fact]
    public async Task CancellingThroughTheEnumeratorWorksToo()
    {
        using IChatClient client = CreateClient();
        using CancellationTokenSource source = new();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (ChatResponseUpdate _ in client.GetStreamingResponseAsync(Question, Greedy(LongAnswerTokens)).WithCancellation(source.Token))
            {
                source.Cancel();
            }
        });
    }

    [Fact]
    public async Task AfterACancelledOrAbandonedStreamTheClientAnswersAsBefore()
    {
        using IChatClient client = CreateClient();
        string before = (await client.GetResponseAsync(Question, Greedy())).Text;
        for (int i = 0; i < 3; i++)
        {
            await foreach (ChatResponseUpdate _ in client.GetStreamingResponseAsync(Question, Greedy(LongAnswerTokens)))
            {
                break;
            }
        }

        Assert.Equal(before, (await client.GetResponseAsync(Question, Greedy())).Text);
    }

    [Fact]
    public async Task AStreamThatIsNeverReadCostsNothing()
    {
        using IChatClient client = CreateClient();
        _ = client.GetStreamingResponseAsync(Question, Greedy(LongAnswerTokens));
        Assert.NotEmpty((await client.GetResponseAsync(Question, Greedy())).Text);
    }

    [Fact]
    public async Task ConcurrentCallsEachGetWhatTheyWouldGetAlone()
    {
        using IChatClient client = CreateClient();
        string[] questions = ["Say something about mountains.", "Count to ten.", "What is a door?", "Why is the sea salty, and since when?"];
        List<string> alone = [];
        foreach (string question in questions)
        {
            alone.Add((await client.GetResponseAsync(question, Greedy())).Text);
        }

        ChatResponse[] together = await Task.WhenAll(questions.Select(question => Task.Run(() => client.GetResponseAsync(question, Greedy()))));
        Assert.Equal(alone, together.Select(response => response.Text));
        Assert.Equal(questions.Length, together.Select(response => response.ResponseId).Distinct().Count());
    }

    [Fact]
    public async Task ACallThatIsCancelledLeavesTheOthersAlone()
    {
        using IChatClient client = CreateClient();
        string alone = (await client.GetResponseAsync(Question, Greedy())).Text;
        using CancellationTokenSource source = new();
        Task<ChatResponse>[] others = [.. Enumerable.Range(0, 3).Select(_ => client.GetResponseAsync(Question, Greedy()))];
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (ChatResponseUpdate _ in client.GetStreamingResponseAsync(Question, Greedy(LongAnswerTokens), source.Token))
            {
                source.Cancel();
            }
        });
        Assert.All(await Task.WhenAll(others), response => Assert.Equal(alone, response.Text));
    }

    [Fact]
    public async Task OneSetOfOptionsServesCallsAtTheSameTime()
    {
        using IChatClient client = CreateClient();
        ChatOptions options = Greedy();
        ChatResponse[] responses = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => client.GetResponseAsync(Question, options)));
        Assert.Single(responses.Select(response => response.Text).Distinct());
    }

    [Fact]
    public async Task AStreamMayBeReadTwice()
    {
        using IChatClient client = CreateClient();
        IAsyncEnumerable<ChatResponseUpdate> stream = client.GetStreamingResponseAsync(Question, Greedy());
        Assert.Equal(string.Concat(await Collect(stream)), string.Concat(await Collect(stream)));
    }

    [Fact]
    public void NullMessagesAreRefusedAtTheCall()
    {
        using IChatClient client = CreateClient();
        Assert.Throws<ArgumentNullException>("messages", () => { client.GetResponseAsync((IEnumerable<ChatMessage>)null!); });
        Assert.Throws<ArgumentNullException>("messages", () => { client.GetStreamingResponseAsync((IEnumerable<ChatMessage>)null!); });
    }

    [Fact]
    public void GetServiceAnswersTheClientAndItsMetadata()
    {
        using IChatClient client = CreateClient();
        ChatClientMetadata metadata = Assert.IsType<ChatClientMetadata>(client.GetService(typeof(ChatClientMetadata)));
        Assert.False(string.IsNullOrEmpty(metadata.ProviderName));
        Assert.False(string.IsNullOrEmpty(metadata.DefaultModelId));
        Assert.Same(metadata, client.GetService(typeof(ChatClientMetadata)));
        Assert.Same(client, client.GetService(typeof(IChatClient)));
        Assert.Same(client, client.GetService(client.GetType()));
    }

    [Fact]
    public void GetServiceAnswersNullWhereItHasNothing()
    {
        using IChatClient client = CreateClient();
        Assert.Null(client.GetService(typeof(ChatClientConformance)));
        Assert.Null(client.GetService(typeof(IChatClient), "a key"));
        Assert.Null(client.GetService(typeof(ChatClientMetadata), "a key"));
        Assert.Throws<ArgumentNullException>("serviceType", () => client.GetService(null!));
    }

    [Fact]
    public async Task TheMetadataNamesTheModelThatAnswers()
    {
        using IChatClient client = CreateClient();
        Assert.Equal(client.GetService<ChatClientMetadata>()!.DefaultModelId, (await client.GetResponseAsync(Question, Greedy(2))).ModelId);
    }

    [Fact]
    public async Task AskingForTheModelByItsNameIsTheSameAsNotAsking()
    {
        using IChatClient client = CreateClient();
        ChatOptions options = Greedy();
        options.ModelId = client.GetService<ChatClientMetadata>()!.DefaultModelId;
        Assert.Equal((await client.GetResponseAsync(Question, Greedy())).Text, (await client.GetResponseAsync(Question, options)).Text);
    }

    [Fact]
    public void DisposingTwiceIsHarmless()
    {
        IChatClient client = CreateClient();
        client.Dispose();
        client.Dispose();
    }

    private static async Task<List<ChatResponseUpdate>> Collect(IAsyncEnumerable<ChatResponseUpdate> stream)
    {
        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in stream)
        {
            updates.Add(update);
        }

        return updates;
    }
}
