using System.Text.Json;
using Microsoft.Agents.AI;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using OllamaSharp;
using OllamaSharp.Models;
using OllamaSharp.Models.Chat;
using Xunit;
using ChatRole = Microsoft.Extensions.AI.ChatRole;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>OllamaSharp and what is built on it, against this server.</summary>
public class OllamaClientTests
{
    [Fact]
    public async Task OllamaSharpListsShowsAndLoads()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(map: app => app.MapOllama());
        using OllamaApiClient client = new(server.Address, "gemma2-nano");
        Assert.NotEmpty(await client.GetVersionAsync());
        Assert.Equal("gemma2-nano:latest", Assert.Single(await client.ListLocalModelsAsync()).Name);
        ShowModelResponse shown = await client.ShowModelAsync("gemma2-nano");
        Assert.Equal("gemma2", shown.Info.Architecture);
        Assert.Empty(await client.ListRunningModelsAsync());
        await foreach (GenerateResponseStream? _ in client.GenerateAsync(new GenerateRequest { Model = "gemma2-nano", KeepAlive = "5m" })) // without a prompt: load it
        {
        }

        Assert.Equal("gemma2-nano:latest", Assert.Single(await client.ListRunningModelsAsync()).Name);
        await client.RequestModelUnloadAsync("gemma2-nano");
        Assert.Empty(await client.ListRunningModelsAsync());
    }

    [Fact]
    public async Task OllamaSharpChatsGeneratesAndEmbeds()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(map: app => app.MapOllama());
        IChatClient inProcess = server.Services.GetRequiredService<IChatClient>();
        string same = (await inProcess.GetResponseAsync("Hello! Who are you?", new ChatOptions { Temperature = 0, MaxOutputTokens = 40 })).Text;
        using OllamaApiClient client = new(server.Address, "gemma2-nano");
        RequestOptions options = new() { Temperature = 0, NumPredict = 40 };
        string chat = "";
        await foreach (string piece in new OllamaSharp.Chat(client) { Options = options }.SendAsync("Hello! Who are you?"))
        {
            chat += piece;
        }

        Assert.Equal(same, chat);
        string generated = "";
        GenerateDoneResponseStream? done = null;
        await foreach (GenerateResponseStream? piece in client.GenerateAsync(new GenerateRequest { Prompt = "Hello! Who are you?", Options = options }))
        {
            generated += piece!.Response;
            done = piece as GenerateDoneResponseStream;
        }

        Assert.Equal(same, generated);
        Assert.True(done is { EvalCount: > 0, PromptEvalCount: > 0, EvalDuration: > 0 });
        EmbedResponse embedded = await client.EmbedAsync(new EmbedRequest { Input = ["one", "two"] });
        Assert.Equal(2, embedded.Embeddings.Count);
    }

    [Fact]
    public async Task OllamaSharpAsAChatClient()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(map: app => app.MapOllama());
        IChatClient inProcess = server.Services.GetRequiredService<IChatClient>();
        ChatOptions options = new() { Temperature = 0, MaxOutputTokens = 40 };
        ChatResponse same = await inProcess.GetResponseAsync("Hello! Who are you?", options);
        using IChatClient client = new OllamaApiClient(server.Address, "gemma2-nano");
        ChatResponse response = await client.GetResponseAsync("Hello! Who are you?", options);
        Assert.Equal((same.Text, same.Usage!.OutputTokenCount), (response.Text, response.Usage!.OutputTokenCount));
        Assert.Equal(same.Text, (await client.GetStreamingResponseAsync("Hello! Who are you?", options).ToChatResponseAsync()).Text);
        ChatResponse<Answer> typed = await client.GetResponseAsync<Answer>("Is it so?", new ChatOptions { Temperature = 0, MaxOutputTokens = 60 });
        Assert.True(typed.TryGetResult(out _), typed.Text);
        ChatResponse capped = await client.GetResponseAsync("Hello! Who are you?", new ChatOptions { MaxOutputTokens = 2 });
        Assert.Equal(ChatFinishReason.Length, capped.FinishReason);
        Exception error = await Assert.ThrowsAnyAsync<Exception>(() => client.GetResponseAsync("x", new ChatOptions { Temperature = -5 }));
        Assert.Contains("emperature", error.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnAgentLoopOverOllamaSharpEndsWithTheRightAnswer(bool isStreaming)
    {
        await using ModelServer server = await ModelServer.StartAsync(AgentScript.Client(), map: app => app.MapOllama());
        using IChatClient client = ((IChatClient)new OllamaApiClient(server.Address, "agent")).AsBuilder().UseFunctionInvocation().Build();
        ChatOptions options = new() { Tools = [.. AgentScript.Tools()] };
        ChatResponse response = isStreaming ? await client.GetStreamingResponseAsync(AgentScript.Question, options).ToChatResponseAsync() : await client.GetResponseAsync(AgentScript.Question, options);
        Assert.EndsWith(AgentScript.Answer, response.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AgentFrameworkOverOllamaSharp()
    {
        await using ModelServer server = await ModelServer.StartAsync(AgentScript.Client(), map: app => app.MapOllama());
        using OllamaApiClient client = new(server.Address, "agent");
        AIAgent agent = new ChatClientAgent(client, instructions: "Use the tools.", tools: [.. AgentScript.Tools()]);
        Assert.EndsWith(AgentScript.Answer, (await agent.RunAsync(AgentScript.Question)).Text, StringComparison.Ordinal);
    }

    private sealed record Answer(bool Yes);
}
