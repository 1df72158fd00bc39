using System.Text.Json;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>Which model a name means.</summary>
public class ModelCatalogTests
{
    [Theory]
    [InlineData("gpt-4o")]
    [InlineData("scripted")]
    [InlineData("")]
    [InlineData(null)]
    public async Task WhereOneModelIsServedAnyNameMeansIt(string? name)
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        (int status, JsonElement body) = await server.AskAsync("v1/chat/completions", Ask(name));
        Assert.Equal(200, status);
        Assert.Equal("scripted", body.GetProperty("model").GetString());
    }

    [Fact]
    public async Task SeveralModelsAreToldApartByKeyAndByTheirOwnNames()
    {
        await using ModelServer server = await ModelServer.StartAsync(services =>
        {
            services.AddChatClient(new ScriptedChatClient(_ => ["unkeyed"], "plain"));
            services.AddKeyedChatClient("big", new ScriptedChatClient(_ => ["big"], "big-9b-it"));
            services.AddKeyedChatClient("small", new ScriptedChatClient(_ => ["small"], null));
        });
        foreach ((string name, string answer) in ((string, string)[])[("plain", "unkeyed"), ("big", "big"), ("BIG", "big"), ("big-9b-it", "big"), ("small", "small")])
        {
            (_, JsonElement body) = await server.AskAsync("v1/chat/completions", Ask(name));
            Assert.Equal(answer, body.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString());
        }

        (int status, JsonElement error) = await server.AskAsync("v1/chat/completions", Ask("gpt-4o"));
        Assert.Equal(404, status);
        Assert.Equal("model_not_found", error.GetProperty("error").GetProperty("code").GetString());
        Assert.Contains("plain, big, small", error.GetProperty("error").GetProperty("message").GetString(), StringComparison.Ordinal);
        (status, _) = await server.AskAsync("v1/chat/completions", Ask(null));
        Assert.Equal(400, status);

        (_, JsonElement list) = await server.GetAsync("v1/models");
        Assert.Equal(["plain", "big", "small"], list.GetProperty("data").EnumerateArray().Select(model => model.GetProperty("id").GetString()!));
        (status, JsonElement one) = await server.GetAsync("v1/models/big-9b-it");
        Assert.Equal((200, "big"), (status, one.GetProperty("id").GetString()));
        (status, _) = await server.GetAsync("v1/models/gpt-4o");
        Assert.Equal(404, status);
    }

    [Fact]
    public async Task AModelThatOnlyEmbedsDoesNotChat()
    {
        await using ModelServer server = await ModelServer.StartAsync(services =>
        {
            services.AddKeyedChatClient("chat", new ScriptedChatClient(_ => ["Hi"], "chat"));
            services.AddKeyedGemmaEmbeddingGenerator("vectors", "nano");
        });
        (int status, _) = await server.AskAsync("v1/chat/completions", Ask("gpt-4o"));
        Assert.Equal(200, status); // one model chats
        (status, _) = await server.AskAsync("v1/chat/completions", Ask("vectors"));
        Assert.Equal(404, status); // its name is known, and not a chat model's
    }

    [Fact]
    public async Task AnAdapterIsAskedForBehindAnAt()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        (int status, JsonElement error) = await server.AskAsync("v1/chat/completions", Ask("gemma2-nano@legal"));
        Assert.Equal(404, status);
        Assert.Contains("gemma2-nano", error.GetProperty("error").GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    internal static string Ask(string? model) => $$"""{{{(model is null ? "" : $"\"model\":{JsonSerializer.Serialize(model)},")}}"messages":[{"role":"user","content":"Hello!"}],"max_tokens":3}""";
}
