using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.Caching.Memory;
using Microsoft.Extensions.Options;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>What others put around the client gets everything it needs from it.</summary>
public sealed class MiddlewareTests
{
    private static readonly AIFunctionDeclaration s_pick = AIFunctionFactory.CreateDeclaration(
        "pick", "Picks.", JsonElement.Parse("""{"type":"object","properties":{"n":{"type":"integer","minimum":0,"maximum":9},"colour":{"enum":["red","green"]}},"required":["n","colour"]}"""));

    private static ChatOptions Options() => new()
    {
        Instructions = "Be brief.", Tools = [s_pick], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false, Temperature = 1, Seed = 3, MaxOutputTokens = 120,
    };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ACallSurvivesADistributedCache(bool streaming)
    {
        int asked = 0;
        IDistributedCache cache = new MemoryDistributedCache(Microsoft.Extensions.Options.Options.Create(new MemoryDistributedCacheOptions()));
        using IChatClient client = TinyModel.Client().AsBuilder().UseDistributedCache(cache).ConfigureOptions(_ => asked++).Build();
        Task<ChatResponse> Ask() => streaming ? client.GetStreamingResponseAsync("Hello", Options()).ToChatResponseAsync() : client.GetResponseAsync("Hello", Options());
        ChatResponse first = await Ask(), second = await Ask();

        Assert.Equal(1, asked);
        FunctionCallContent call = Assert.Single(first.Messages[0].Contents.OfType<FunctionCallContent>()), cached = Assert.Single(second.Messages[0].Contents.OfType<FunctionCallContent>());
        Assert.Equal((call.CallId, call.Name, JsonSerializer.Serialize(call.Arguments)), (cached.CallId, cached.Name, JsonSerializer.Serialize(cached.Arguments)));
        Assert.Equal((first.ResponseId, first.ModelId, first.FinishReason, first.CreatedAt), (second.ResponseId, second.ModelId, second.FinishReason, second.CreatedAt));
        Assert.Equal(first.Usage!.TotalTokenCount, second.Usage!.TotalTokenCount);
    }

    [Fact]
    public async Task TelemetryShowsCallsAndTextsWhereThatIsWanted()
    {
        ConcurrentQueue<Activity> ended = new();
        using ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name == "middleware-test",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = ended.Enqueue,
        };
        ActivitySource.AddActivityListener(listener);
        using IChatClient client = TinyModel.Client().AsBuilder().UseOpenTelemetry(sourceName: "middleware-test", configure: telemetry => telemetry.EnableSensitiveData = true).Build();
        ChatResponse response = await client.GetStreamingResponseAsync("Hello", Options()).ToChatResponseAsync();

        Activity activity = Assert.Single(ended);
        string? Tag(string name) => activity.GetTagItem(name)?.ToString();
        Assert.Equal("gemma", Tag("gen_ai.provider.name"));
        Assert.Equal("tiny", Tag("gen_ai.response.model"));
        Assert.Equal(response.Usage!.InputTokenCount, activity.GetTagItem("gen_ai.usage.input_tokens") is { } tokens ? Convert.ToInt64(tokens) : null);
        Assert.Contains("Hello", Tag("gen_ai.input.messages"), StringComparison.Ordinal);
        Assert.Contains("Be brief.", Tag("gen_ai.system_instructions"), StringComparison.Ordinal);
        Assert.Contains("\"pick\"", Tag("gen_ai.output.messages"), StringComparison.Ordinal);
    }
}
