using Anthropic;
using Anthropic.Exceptions;
using Anthropic.Models.Messages;
using Microsoft.Agents.AI;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>Anthropic's own client and what is built on it, against this server.</summary>
public class AnthropicClientTests
{
    private static readonly ChatOptions s_short = new() { MaxOutputTokens = 40 };

    [Fact]
    public async Task TheSdkCreatesStreamsAndCounts()
    {
        await using ModelServer server = await GreedyAsync();
        ChatResponse same = await server.Services.GetRequiredService<IChatClient>().GetResponseAsync("Hello! Who are you?", s_short);
        AnthropicClient client = Client(server);
        MessageCreateParams ask = new() { Model = "nano", MaxTokens = 40, Messages = [new UserMessageParam { Content = "Hello! Who are you?" }] };
        Message message = await client.Messages.Create(ask);
        message.Validate();
        Assert.Equal(same.Text, string.Concat(message.Content.Select(block => block.TryPickText(out TextBlock? text) ? text.Text : "")));
        string streamed = "";
        await foreach (RawMessageStreamEvent item in client.Messages.CreateStreaming(ask))
        {
            item.Validate();
            if (item.TryPickContentBlockDelta(out RawContentBlockDeltaEvent? delta) && delta.Delta.TryPickText(out TextDelta? text))
            {
                streamed += text.Text;
            }
        }

        Assert.Equal(same.Text, streamed);
        MessageTokensCount counted = await client.Messages.CountTokens(new MessageCountTokensParams { Model = "nano", Messages = [new UserMessageParam { Content = "Hello! Who are you?" }] });
        Assert.Equal(same.Usage!.InputTokenCount, counted.InputTokens);
    }

    [Fact]
    public async Task TheSdkReadsErrors()
    {
        await using ModelServer server = await ModelServer.StartAsync(services =>
        {
            services.AddKeyedChatClient("one", new ScriptedChatClient(_ => ["x"]));
            services.AddKeyedChatClient("two", new ScriptedChatClient(_ => ["x"]));
        }, app => app.MapAnthropic());
        AnthropicNotFoundException error = await Assert.ThrowsAsync<AnthropicNotFoundException>(
            () => Client(server).Messages.Create(new MessageCreateParams { Model = "three", MaxTokens = 1, Messages = [new UserMessageParam { Content = "x" }] }));
        Assert.Contains("one, two", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheSdkAsAChatClient()
    {
        await using ModelServer server = await GreedyAsync();
        ChatResponse same = await server.Services.GetRequiredService<IChatClient>().GetResponseAsync("Hello! Who are you?", s_short);
        using IChatClient client = Client(server).AsIChatClient("nano");
        ChatResponse response = await client.GetResponseAsync("Hello! Who are you?", s_short);
        Assert.Equal((same.Text, same.Usage!.OutputTokenCount), (response.Text, response.Usage!.OutputTokenCount));
        ChatResponse streamed = await client.GetStreamingResponseAsync("Hello! Who are you?", s_short).ToChatResponseAsync();
        Assert.Equal((same.Text, same.Usage!.OutputTokenCount), (streamed.Text, streamed.Usage!.OutputTokenCount));
        ChatResponse capped = await client.GetResponseAsync("Hello! Who are you?", new ChatOptions { MaxOutputTokens = 2 });
        Assert.Equal(ChatFinishReason.Length, capped.FinishReason);
        ChatResponse<Answer> typed = await client.GetResponseAsync<Answer>("Is it so?", new ChatOptions { MaxOutputTokens = 60 });
        Assert.True(typed.TryGetResult(out _), typed.Text);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnAgentLoopOverTheSdkEndsWithTheRightAnswer(bool isStreaming)
    {
        await using ModelServer server = await ModelServer.StartAsync(AgentScript.Client(), map: app => app.MapAnthropic());
        using IChatClient client = Client(server).AsIChatClient("agent").AsBuilder().UseFunctionInvocation().Build();
        ChatOptions options = new() { Tools = [.. AgentScript.Tools()] };
        ChatResponse response = isStreaming ? await client.GetStreamingResponseAsync(AgentScript.Question, options).ToChatResponseAsync() : await client.GetResponseAsync(AgentScript.Question, options);
        Assert.EndsWith(AgentScript.Answer, response.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AgentFrameworkOverTheSdk()
    {
        await using ModelServer server = await ModelServer.StartAsync(AgentScript.Client(), map: app => app.MapAnthropic());
        AIAgent agent = new ChatClientAgent(Client(server).AsIChatClient("agent"), instructions: "Use the tools.", tools: [.. AgentScript.Tools()]);
        Assert.EndsWith(AgentScript.Answer, (await agent.RunAsync(AgentScript.Question)).Text, StringComparison.Ordinal);
    }

    /// <summary>The shipped model, which always takes the most probable token: this client has no temperature.</summary>
    private static Task<ModelServer> GreedyAsync() => ModelServer.StartAsync(
        services => services.AddGemmaChatClient("nano").ConfigureOptions(options => options.Temperature = 0), app => app.MapAnthropic());

    private static AnthropicClient Client(ModelServer server) => new() { ApiKey = "any", BaseUrl = server.Address.ToString().TrimEnd('/'), MaxRetries = 0 };

    private sealed record Answer(bool Yes);
}
