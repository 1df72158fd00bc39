using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>One API of the server, as tests ask it that hold for all of them.</summary>
/// <param name="Name">What the test is listed as.</param>
/// <param name="Path">The endpoint that answers a conversation.</param>
/// <param name="Body">A request of it: the model, the text, most tokens, whether it streams.</param>
/// <param name="Read">The text of a whole answer.</param>
/// <param name="Error">The message of an error, after a look at its form.</param>
internal sealed record ApiForm(string Name, string Path, Func<string, string, int, bool, string> Body, Func<JsonElement, string> Read, Func<JsonElement, string> Error)
{
    public static IReadOnlyList<ApiForm> All { get; } =
    [
        new("OpenAI", "v1/chat/completions", Chat, static answer => answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!, OpenAIError),
        new("Responses", "v1/responses",
            static (model, text, tokens, streams) => JsonSerializer.Serialize(new { model, input = text, max_output_tokens = tokens, temperature = 0, stream = streams }),
            static answer => answer.GetProperty("output")[0].GetProperty("content")[0].GetProperty("text").GetString()!, OpenAIError),
        new("Ollama", "api/chat",
            static (model, text, tokens, streams) => JsonSerializer.Serialize(new { model, messages = new[] { new { role = "user", content = text } }, stream = streams, options = new { num_predict = tokens, temperature = 0 } }),
            static answer => answer.GetProperty("message").GetProperty("content").GetString()!,
            static error =>
            {
                Assert.Equal(["error"], error.EnumerateObject().Select(static member => member.Name));
                return error.GetProperty("error").GetString()!;
            }),
        new("Anthropic", "v1/messages", Chat, static answer => answer.GetProperty("content")[0].GetProperty("text").GetString()!,
            static error =>
            {
                Assert.Equal("error", error.GetProperty("type").GetString());
                Assert.EndsWith("_error", error.GetProperty("error").GetProperty("type").GetString()!.Replace("request_too_large", "size_error", StringComparison.Ordinal), StringComparison.Ordinal);
                return error.GetProperty("error").GetProperty("message").GetString()!;
            }),
    ];

    public static TheoryData<string> Names => [.. All.Select(static api => api.Name)];

    public static ApiForm Of(string name) => All.Single(api => api.Name == name);

    public static void MapAll(WebApplication app) => MapAll((IEndpointRouteBuilder)app);

    /// <summary>Maps all APIs onto a group of routes.</summary>
    public static void MapAll(IEndpointRouteBuilder routes)
    {
        routes.MapOpenAI();
        routes.MapOllama();
        routes.MapAnthropic();
    }

    private static string Chat(string model, string text, int tokens, bool streams) =>
        JsonSerializer.Serialize(new { model, messages = new[] { new { role = "user", content = text } }, max_tokens = tokens, temperature = 0, stream = streams });

    private static string OpenAIError(JsonElement error)
    {
        Assert.Equal(["message", "type", "param", "code"], error.GetProperty("error").EnumerateObject().Select(static member => member.Name));
        return error.GetProperty("error").GetProperty("message").GetString()!;
    }
}
