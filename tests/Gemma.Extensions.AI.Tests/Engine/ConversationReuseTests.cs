using System.Text.Json;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>What the model generated is found in the prefix cache when the next call brings it back as messages, however the model spelt it.</summary>
public sealed class ConversationReuseTests
{
    [Fact]
    public async Task NextTurnOfAChatComputesOnlyWhatIsNew()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"));
        using IChatClient client = model.AsIChatClient();
        // Random weights at a high temperature spell words as no tokenizer would.
        ChatOptions options = new() { Temperature = 1.5f, TopK = 0, TopP = 1, Seed = 5, MaxOutputTokens = 40 };
        List<ChatMessage> messages = [new(ChatRole.System, "Be brief."), new(ChatRole.User, "Tell me something.")];
        ChatResponse first = await client.GetResponseAsync(messages, options);
        messages.AddRange(first.Messages);
        messages.Add(new(ChatRole.User, "More."));
        ChatResponse second = await client.GetResponseAsync(messages, options);
        long known = first.Usage!.InputTokenCount!.Value + first.Usage.OutputTokenCount!.Value;
        Assert.InRange(second.Usage!.CachedInputTokenCount!.Value, known - 2, known);
    }

    [Fact]
    public async Task ToolRoundsComputeEachTokenAboutOnce()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"));
        using IChatClient client = model.AsIChatClient();
        AIFunctionDeclaration tool = AIFunctionFactory.CreateDeclaration("f", "Picks.", JsonElement.Parse(
            """{"type":"object","properties":{"a":{"enum":["b","c"]}},"required":["a"],"additionalProperties":false}"""));
        ChatOptions options = new() { Tools = [tool], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false, Temperature = 1, TopK = 0, TopP = 1, Seed = 5 };
        List<ChatMessage> messages = [new(ChatRole.User, "Go.")];
        long computed = 0;
        long distinct = 0;
        int rounds = 0;
        for (; distinct < 390; rounds++) // as many as the context of 512 tokens holds
        {
            ChatResponse response = await client.GetResponseAsync(messages, options);
            computed += response.Usage!.InputTokenCount!.Value - response.Usage.CachedInputTokenCount!.Value;
            distinct = response.Usage.InputTokenCount.Value;
            messages.AddRange(response.Messages);
            FunctionCallContent call = Assert.Single(response.Messages[0].Contents.OfType<FunctionCallContent>());
            messages.Add(new(ChatRole.Tool, [new FunctionResultContent(call.CallId, rounds)]));
        }

        Assert.InRange(rounds, 3, 6);
        Assert.InRange(computed, 1, 1.15 * distinct);
    }

    [Fact]
    public async Task SavedSystemPromptIsWarmAfterARestart()
    {
        using TempDirectory directory = new();
        string path = directory.File("system.cache");
        ChatMessage system = new(ChatRole.System, "You answer questions about rivers, and about nothing else, in one sentence that a child understands.");
        ChatOptions options = new() { Temperature = 0, MaxOutputTokens = 4 };
        using (GemmaModel first = GemmaModel.Load(TestData.Local("tiny")))
        {
            await first.SavePromptCacheAsync(path, [system]);
        }

        using GemmaModel second = GemmaModel.Load(TestData.Local("tiny"));
        int saved = await second.LoadPromptCacheAsync(path);
        using IChatClient client = second.AsIChatClient();
        ChatResponse response = await client.GetResponseAsync([system, new(ChatRole.User, "Which is the longest?")], options);
        Assert.InRange(response.Usage!.CachedInputTokenCount!.Value, saved - 1, saved);
    }

    /// <summary>Six rounds are required here: each asks for a call, is answered, and begins with everything before it.</summary>
    [Fact]
    public async Task SixToolRoundsWithNanoComputeEachTokenAboutOnce()
    {
        using GemmaModel model = GemmaModel.Load("nano");
        using IChatClient client = model.AsIChatClient();
        AIFunctionDeclaration tool = AIFunctionFactory.CreateDeclaration("get_temperature", "Gets the temperature of a room.", JsonElement.Parse(
            """{"type":"object","properties":{"room":{"enum":["kitchen","cellar","attic"]},"unit":{"enum":["celsius","fahrenheit"]}},"required":["room","unit"],"additionalProperties":false}"""));
        ChatOptions options = new() { Tools = [tool], ToolMode = ChatToolMode.RequireSpecific("get_temperature"), AllowMultipleToolCalls = false, Temperature = 1, Seed = 5 };
        List<ChatMessage> messages = [new(ChatRole.System, "You look after a house."), new(ChatRole.User, "How warm are the rooms?")];
        long computed = 0;
        long distinct = 0;
        for (int round = 0; round < 6; round++)
        {
            ChatResponse response = await client.GetResponseAsync(messages, options);
            computed += response.Usage!.InputTokenCount!.Value - response.Usage.CachedInputTokenCount!.Value;
            distinct = response.Usage.InputTokenCount.Value;
            messages.AddRange(response.Messages);
            FunctionCallContent call = Assert.Single(response.Messages[0].Contents.OfType<FunctionCallContent>());
            Assert.Equal("get_temperature", call.Name);
            messages.Add(new(ChatRole.Tool, [new FunctionResultContent(call.CallId, new { degrees = 15 + round })]));
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{computed} computed, {distinct} distinct");
        Assert.InRange(computed, 1, 1.15 * distinct);
    }

    /// <summary>The same words in another conversation are spelt by the tokenizer, whatever the model generated before.</summary>
    [Fact]
    public async Task AReplyDoesNotChangeTheTokensOfOtherConversations()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"));
        using IChatClient client = model.AsIChatClient();
        ChatOptions options = new() { Temperature = 1.5f, TopK = 0, TopP = 1, Seed = 5, MaxOutputTokens = 40 };
        ChatMessage question = new(ChatRole.User, "Tell me something.");
        ChatMessage more = new(ChatRole.User, "More.");
        ChatMessage reply = (await client.GetResponseAsync([question], options)).Messages[0];

        ChatMessage[] same = [question, reply, more];
        int[] spelt = ChatTemplate.Render(model.ChatFormat, same, null, model.Replies).Tokens;
        Assert.NotEqual(ChatTemplate.Render(model.Tokenizer, same), spelt); // the model's own tokens
        Assert.Equal(model.Tokenizer.Decode(ChatTemplate.Render(model.Tokenizer, same)), model.Tokenizer.Decode(spelt), ignoreWhiteSpaceDifferences: true, ignoreLineEndingDifferences: true);

        ChatMessage[] other = [new(ChatRole.User, "Tell me something else."), reply, more];
        Assert.Equal(ChatTemplate.Render(model.Tokenizer, other), ChatTemplate.Render(model.ChatFormat, other, null, model.Replies).Tokens);
    }

    [Fact]
    public void WithoutThePrefixCacheNothingIsRemembered()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { PrefixCache = false });
        Assert.Null(model.Replies);
    }

    [Fact]
    public void MemoryForgetsTheLeastRecentlyUsed()
    {
        int[] prompt = [2, 7, 8];
        ReplyTokenCache memory = new(capacity: 2 * ReplyTokenCache.Overhead + 10);
        memory.Remember(prompt, 2, "a", [1, 2, 3, 4]);
        memory.Remember(prompt, 2, "b", [1, 2, 3, 4]);
        Assert.NotNull(Find(prompt, "a"));
        Assert.Null(Find([2, 7, 9], "a"));
        Assert.Null(Find([2, 7], "a"));
        memory.Remember(prompt, 2, "c", [1, 2, 3, 4]);
        Assert.Null(Find(prompt, "b"));
        Assert.Equal([1, 2, 3, 4], Find(prompt, "a")!);
        memory.Remember(prompt, 2, "d", new int[2 * ReplyTokenCache.Overhead]);
        Assert.Null(Find(prompt, "d"));
        memory.Remember(prompt, 2, "a", [5]);
        Assert.Equal([5], Find(prompt, "a")!);

        int[]? Find(int[] read, string text)
        {
            using ReplyTokenCache.Reader reader = memory.Read();
            return reader.Find(read, 2, text);
        }
    }

    [Fact]
    public void DraftModelGivesTheSameAnswers()
    {
        using GemmaModel plain = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Kernel = "reference" });
        using GemmaModel guessing = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Kernel = "reference", DraftModelPath = TestData.Local("gguf/tiny-Q4_0.gguf") });
        ChatOptions options = new() { Temperature = 0.7f, Seed = 3, MaxOutputTokens = 30 };
        Assert.Equal(Answer(plain, options), Answer(guessing, options));

        // A grammar masks both models, and the draft model guesses along it.
        ChatOptions json = new()
        {
            Temperature = 0.7f,
            Seed = 3,
            MaxOutputTokens = 120,
            ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse(
                """{"type":"object","properties":{"city":{"type":"string","maxLength":12},"days":{"type":"integer","minimum":1,"maximum":9}},"required":["city","days"],"additionalProperties":false}""")),
        };
        string answer = Answer(plain, json);
        Assert.Equal(answer, Answer(guessing, json));
        Assert.StartsWith("{", answer.TrimStart(), StringComparison.Ordinal);

        static string Answer(GemmaModel model, ChatOptions options) => model.AsIChatClient().GetResponseAsync("Hello", options).GetAwaiter().GetResult().Text;
    }
}
