using System.Net.ServerSentEvents;
using System.Text.Json;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>The wire form of chat completions: what OpenAI documents, and what clients broke on with other servers.</summary>
public class ChatCompletionTests
{
    private const string Path = "v1/chat/completions";
    private const string Hello = """{"model":"any","messages":[{"role":"user","content":"Hello!"}]}""";
    private const string HelloStream = """{"model":"any","messages":[{"role":"user","content":"Hello!"}],"stream":true}""";

    [Fact]
    public async Task TheShippedModelAnswers()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        (int status, JsonElement body) = await server.AskAsync(Path, """{"model":"nano","messages":[{"role":"user","content":"Hello! Who are you?"}],"temperature":0,"max_tokens":40}""");
        Assert.Equal(200, status);
        Assert.Equal("chat.completion", body.GetProperty("object").GetString());
        JsonElement choice = Assert.Single(body.GetProperty("choices").EnumerateArray());
        Assert.NotEmpty(choice.GetProperty("message").GetProperty("content").GetString()!);
        IChatClient inProcess = server.Services.GetRequiredService<IChatClient>();
        ChatResponse same = await inProcess.GetResponseAsync("Hello! Who are you?", new ChatOptions { Temperature = 0, MaxOutputTokens = 40 });
        Assert.Equal(same.Text, choice.GetProperty("message").GetProperty("content").GetString());
        Assert.Equal(same.Usage!.InputTokenCount, body.GetProperty("usage").GetProperty("prompt_tokens").GetInt64());
        Assert.Equal(same.Usage!.OutputTokenCount, body.GetProperty("usage").GetProperty("completion_tokens").GetInt64());
        List<SseItem<string>> events = await server.StreamAsync(Path, """{"model":"nano","messages":[{"role":"user","content":"Hello! Who are you?"}],"temperature":0,"max_tokens":40,"stream":true}""");
        Assert.Equal(same.Text, Text(events));
        Assert.Contains(server.Log.At(LogLevel.Information), line => line.Contains("tokens in", StringComparison.Ordinal) && line.Contains("gemma2-nano", StringComparison.Ordinal));
    }

    [Fact]
    public async Task AWholeAnswerHasAllMembers()
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi ", "there"]));
        (_, JsonElement body) = await server.AskAsync(Path, Hello);
        Assert.StartsWith("chatcmpl-", body.GetProperty("id").GetString());
        Assert.InRange(body.GetProperty("created").GetInt64(), 1_600_000_000, 100_000_000_000);
        Assert.Equal("scripted", body.GetProperty("model").GetString());
        Assert.Equal("""{"index":0,"message":{"role":"assistant","content":"Hi there","refusal":null},"logprobs":null,"finish_reason":"stop"}""", body.GetProperty("choices")[0].GetRawText());
        Assert.Equal("""{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":5,"audio_tokens":0},"""
            + "\"completion_tokens_details\":" + """{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}""", body.GetProperty("usage").GetRawText());
    }

    [Fact]
    public async Task AStreamIsEventsWithoutNamesThatEndWithDone()
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi ", "there"]));
        List<SseItem<string>> events = await server.StreamAsync(Path, HelloStream);
        Assert.All(events, item => Assert.Equal("message", item.EventType)); // the default: none was written
        Assert.Equal("[DONE]", events[^1].Data);
        JsonElement[] chunks = [.. events.SkipLast(1).Select(item => JsonElement.Parse(item.Data))];
        Assert.All(chunks, chunk => Assert.Equal("chat.completion.chunk", chunk.GetProperty("object").GetString()));
        Assert.Single(chunks.Select(chunk => chunk.GetProperty("id").GetString()).Distinct());
        Assert.All(chunks, chunk => Assert.False(chunk.TryGetProperty("usage", out _)));
        Assert.Equal(
            [
                """[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]""",
                """[{"index":0,"delta":{"content":"Hi "},"finish_reason":null}]""",
                """[{"index":0,"delta":{"content":"there"},"finish_reason":null}]""",
                """[{"index":0,"delta":{},"finish_reason":"stop"}]""",
            ],
            chunks.Select(chunk => chunk.GetProperty("choices").GetRawText()));
    }

    [Fact]
    public async Task UsageComesInAnEventOfItsOwnWithoutChoices()
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        List<SseItem<string>> events = await server.StreamAsync(Path, HelloStream[..^1] + ""","stream_options":{"include_usage":true}}""");
        JsonElement last = JsonElement.Parse(events[^2].Data);
        Assert.Equal("[]", last.GetProperty("choices").GetRawText());
        Assert.Equal(5, last.GetProperty("usage").GetProperty("prompt_tokens_details").GetProperty("cached_tokens").GetInt32());
    }

    /// <summary>vLLM and OpenAI refuse them there; clients set them once for all requests.</summary>
    [Theory]
    [InlineData("""{"include_usage":true}""")]
    [InlineData("""{"include_usage":true,"include_obfuscation":false}""")]
    [InlineData("{}")]
    [InlineData("null")]
    public async Task StreamOptionsAreNeverRefused(string options)
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        (int status, _) = await server.AskAsync(Path, Hello[..^1] + $$""","stream_options":{{options}}}""");
        Assert.Equal(200, status);
    }

    [Fact]
    public async Task TheFirstDeltaOfACallSaysWhatIsCalledAndLaterOnesOnlyItsIndex()
    {
        ScriptedChatClient client = new(_ =>
        [
            new FunctionCallContent("call_a", "get_weather", new Dictionary<string, object?> { ["city"] = "Paris" }),
            new FunctionCallContent("call_b", "get_time"), ChatFinishReason.ToolCalls,
        ]);
        await using ModelServer server = await ModelServer.StartAsync(client);
        List<SseItem<string>> events = await server.StreamAsync(Path, HelloStream);
        string[] deltas = [.. events.SkipLast(1).Select(item => JsonElement.Parse(item.Data).GetProperty("choices")[0].GetProperty("delta").GetRawText())];
        Assert.Equal(
            [
                """{"role":"assistant","content":""}""",
                """{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"get_weather","arguments":""}}]}""",
                """{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":\"Paris\"}"}}]}""",
                """{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"get_time","arguments":""}}]}""",
                """{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}""",
                "{}",
            ],
            deltas);
        Assert.Equal("tool_calls", JsonElement.Parse(events[^2].Data).GetProperty("choices")[0].GetProperty("finish_reason").GetString());
    }

    [Fact]
    public async Task AnErrorBeforeTheFirstPieceIsAnHonestStatus()
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => [new InvalidOperationException("secret")]));
        foreach (string body in (string[])[Hello, HelloStream])
        {
            (int status, JsonElement error) = await server.AskAsync(Path, body);
            Assert.Equal(500, status);
            Assert.Equal("server_error", error.GetProperty("error").GetProperty("type").GetString());
            Assert.Equal(["message", "type", "param", "code"], error.GetProperty("error").EnumerateObject().Select(member => member.Name));
            Assert.DoesNotContain("secret", error.GetRawText(), StringComparison.Ordinal);
        }

        Assert.Contains(server.Log.At(LogLevel.Error), line => line.Contains("secret", StringComparison.Ordinal));
    }

    [Fact]
    public async Task AnErrorInMidStreamIsAnEventAndACleanEnd()
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Well", new InvalidOperationException("secret")]));
        List<SseItem<string>> events = await server.StreamAsync(Path, HelloStream);
        Assert.Equal("[DONE]", events[^1].Data);
        JsonElement error = JsonElement.Parse(events[^2].Data);
        Assert.Equal(["error"], error.EnumerateObject().Select(member => member.Name));
        Assert.DoesNotContain("secret", error.GetRawText(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task SilenceIsFilledWithComments()
    {
        Assert.Equal(TimeSpan.FromSeconds(15), new Gemma.Extensions.AI.AspNetCore.GemmaServerOptions().HeartbeatInterval);
        TaskCompletionSource<object> first = new(), second = new();
        await using ModelServer server = await ModelServer.StartAsync(
            new ScriptedChatClient(_ => [first.Task, second.Task]), options => options.Set(o => o.HeartbeatInterval = TimeSpan.FromMilliseconds(20)));
        using HttpResponseMessage response = await server.PostAsync(Path, HelloStream); // the status comes with the first comment
        using StreamReader reader = new(await response.Content.ReadAsStreamAsync());
        Assert.Equal(": ping", await reader.ReadLineAsync());
        first.SetResult("Hi");
        string? line;
        do
        {
            line = await reader.ReadLineAsync();
        }
        while (line?.Contains("\"Hi\"", StringComparison.Ordinal) == false);
        Assert.NotNull(line);
        Assert.Equal("", await reader.ReadLineAsync());
        Assert.Equal(": ping", await reader.ReadLineAsync());
        second.SetResult(" there");
        string rest = await reader.ReadToEndAsync();
        Assert.EndsWith("data: [DONE]\n\n", rest, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(Hello)]
    [InlineData(HelloStream)]
    public async Task AClosedConnectionEndsTheAnswer(string body)
    {
        ScriptedChatClient client = new(_ => ["Hi", new TaskCompletionSource<object>().Task]);
        await using ModelServer server = await ModelServer.StartAsync(client);
        using CancellationTokenSource closed = new();
        Task<HttpResponseMessage> asking = server.PostAsync(Path, body, closed.Token);
        await Eventually.IsTrueAsync(() => client.Calls.Count > 0);

        if (body == HelloStream)
        {
            using HttpResponseMessage response = await asking;
        }
        else
        {
            await closed.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asking);
        }

        await client.Cancelled.Task.WaitAsync(TimeSpan.FromMinutes(1));
    }

    [Fact]
    public async Task OptionsThatAClientOfAnotherKindMayNotHonourAreNamedOnce()
    {
        ScriptedChatClient client = new(_ => ["Hi"]);
        await using ModelServer server = await ModelServer.StartAsync(client);
        string body = Hello[..^1] + ""","min_p":0.1,"logit_bias":{"5":-100},"logprobs":true,"grammar":"root ::= \"a\"","temperature":0.5}""";
        await server.AskAsync(Path, body);
        await server.AskAsync(Path, body);
        string line = Assert.Single(server.Log.At(LogLevel.Warning));
        Assert.Contains("min_p, logit_bias, logprobs, grammar", line, StringComparison.Ordinal);
        Assert.Equal(0.5f, client.Calls[0].Options.Temperature);
        Assert.Equal(0.1f, client.Calls[0].Options.AdditionalProperties!["min_p"]);
    }

    internal static string Text(IEnumerable<SseItem<string>> events) => string.Concat(events.Where(item => item.Data != "[DONE]")
        .SelectMany(item => JsonElement.Parse(item.Data).GetProperty("choices").EnumerateArray())
        .Select(choice => choice.GetProperty("delta").TryGetProperty("content", out JsonElement content) ? content.GetString() : ""));
}
