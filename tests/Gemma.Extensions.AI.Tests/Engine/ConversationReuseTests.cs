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
        using var model = GemmaModel.Load(TestData.Local("tiny"));
        using var client = model.AsIChatClient();
        // Random weights at a high temperature spell words as no tokenizer would.
        var options = new ChatOptions { Temperature = 1.5f, TopK = 0, TopP = 1, Seed = 5, MaxOutputTokens = 40 };
        List<ChatMessage> messages = [new(ChatRole.System, "Be brief."), new(ChatRole.User, "Tell me something.")];
        var first = await client.GetResponseAsync(messages, options);
        messages.AddRange(first.Messages);
        messages.Add(new(ChatRole.User, "More."));
        var second = await client.GetResponseAsync(messages, options);
        long known = first.Usage!.InputTokenCount!.Value + first.Usage.OutputTokenCount!.Value;
        Assert.InRange(second.Usage!.CachedInputTokenCount!.Value, known - 2, known);
    }

    [Fact]
    public async Task ToolRoundsComputeEachTokenAboutOnce()
    {
        using var model = GemmaModel.Load(TestData.Local("tiny"));
        using var client = model.AsIChatClient();
        var tool = AIFunctionFactory.CreateDeclaration("f", "Picks.", JsonElement.Parse(
            """{"type":"object","properties":{"a":{"enum":["b","c"]}},"required":["a"],"additionalProperties":false}"""));
        var options = new ChatOptions { Tools = [tool], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false, Temperature = 1, TopK = 0, TopP = 1, Seed = 5 };
        List<ChatMessage> messages = [new(ChatRole.User, "Go.")];
        long computed = 0;
        long distinct = 0;
        int rounds = 0;
        for (; distinct < 390; rounds++) // as many as the context of 512 tokens holds
        {
            var response = await client.GetResponseAsync(messages, options);
            computed += response.Usage!.InputTokenCount!.Value - response.Usage.CachedInputTokenCount!.Value;
            distinct = response.Usage.InputTokenCount.Value;
            messages.AddRange(response.Messages);
            var call = Assert.Single(response.Messages[0].Contents.OfType<FunctionCallContent>());
            messages.Add(new(ChatRole.Tool, [new FunctionResultContent(call.CallId, rounds)]));
        }

        Assert.InRange(rounds, 3, 6);
        Assert.InRange(computed, 1, 1.15 * distinct);
    }

    [Fact]
    public async Task SavedSystemPromptIsWarmAfterARestart()
    {
        using var directory = new TempDirectory();
        string path = directory.File("system.cache");
        ChatMessage system = new(ChatRole.System, "You answer questions about rivers, and about nothing else, in one sentence that a child understands.");
        var options = new ChatOptions { Temperature = 0, MaxOutputTokens = 4 };
        using (var first = GemmaModel.Load(TestData.Local("tiny")))
        {
            await first.SavePromptCacheAsync(path, [system]);
        }

        using var second = GemmaModel.Load(TestData.Local("tiny"));
        int saved = await second.LoadPromptCacheAsync(path);
        using var client = second.AsIChatClient();
        var response = await client.GetResponseAsync([system, new(ChatRole.User, "Which is the longest?")], options);
        Assert.InRange(response.Usage!.CachedInputTokenCount!.Value, saved - 1, saved);
    }

    [Fact]
    public void MemoryForgetsTheLeastRecentlyUsed()
    {
        var memory = new ReplyMemory(capacity: 10);
        memory.Remember("a", [1, 2, 3, 4]);
        memory.Remember("b", [1, 2, 3, 4]);
        Assert.NotNull(memory.Find("a"));
        memory.Remember("c", [1, 2, 3, 4]);
        Assert.Null(memory.Find("b"));
        Assert.Equal([1, 2, 3, 4], memory.Find("a")!);
        memory.Remember("d", new int[11]);
        Assert.Null(memory.Find("d"));
    }

    [Fact]
    public void DraftModelGivesTheSameAnswers()
    {
        using var plain = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Kernel = "reference" });
        using var guessing = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Kernel = "reference", DraftModelPath = TestData.Local("gguf/tiny-Q4_0.gguf") });
        var options = new ChatOptions { Temperature = 0.7f, Seed = 3, MaxOutputTokens = 30 };
        string Answer(GemmaModel model) => model.AsIChatClient().GetResponseAsync("Hello", options).GetAwaiter().GetResult().Text;
        Assert.Equal(Answer(plain), Answer(guessing));
    }
}
