using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>The wire form of Ollama's API: what it documents, and what its clients depend on.</summary>
public class OllamaTests
{
    private const string Hello = """{"model":"scripted","messages":[{"role":"user","content":"Hello!"}]}""";
    private const string HelloWhole = """{"model":"scripted","messages":[{"role":"user","content":"Hello!"}],"stream":false}""";

    [Fact]
    public async Task TheShippedModelAnswersAsInProcess()
    {
        await using ModelServer server = await NanoAsync();
        const string Ask = """{"model":"gemma2-nano","messages":[{"role":"user","content":"Hello! Who are you?"}],"options":{"temperature":0,"num_predict":40}}""";
        ChatResponse same = await server.Services.GetRequiredService<IChatClient>().GetResponseAsync("Hello! Who are you?", new ChatOptions { Temperature = 0, MaxOutputTokens = 40 });
        List<JsonElement> lines = await server.LinesAsync("api/chat", Ask);
        Assert.Equal(same.Text, string.Concat(lines.Select(line => line.GetProperty("message").GetProperty("content").GetString())));
        Assert.Equal(same.Usage!.InputTokenCount, lines[^1].GetProperty("prompt_eval_count").GetInt64());
        Assert.Equal(same.Usage!.OutputTokenCount, lines[^1].GetProperty("eval_count").GetInt64());
        Assert.True(lines[^1].GetProperty("eval_duration").GetInt64() > 0);
        (int status, JsonElement whole) = await server.AskAsync("api/chat", Ask[..^1] + ",\"stream\":false}");
        Assert.Equal((200, same.Text), (status, whole.GetProperty("message").GetProperty("content").GetString()));
        List<JsonElement> generated = await server.LinesAsync("api/generate", """{"model":"gemma2-nano","prompt":"Hello! Who are you?","options":{"temperature":0,"num_predict":40}}""");
        Assert.Equal(same.Text, string.Concat(generated.Select(line => line.GetProperty("response").GetString())));
    }

    [Fact]
    public async Task ARawPromptIsContinuedAsItStands()
    {
        await using ModelServer server = await NanoAsync();
        GemmaModel model = server.Services.GetRequiredService<IChatClient>().GetService<GemmaModel>()!;
        ChatResponse same = await model.CompleteAsync("Once upon a time", new ChatOptions { Temperature = 0, MaxOutputTokens = 12 });
        (_, JsonElement answer) = await server.AskAsync("api/generate", """{"model":"nano","prompt":"Once upon a time","raw":true,"stream":false,"options":{"temperature":0,"num_predict":12}}""");
        Assert.Equal(same.Text, answer.GetProperty("response").GetString());
        Assert.Equal(same.FinishReason!.Value.Value, answer.GetProperty("done_reason").GetString());
        Assert.Equal(same.Usage!.InputTokenCount, answer.GetProperty("prompt_eval_count").GetInt64());
    }

    [Fact]
    public async Task AStreamIsALineAPieceAndALineWithTheNumbers()
    {
        await using ModelServer server = await ScriptedAsync(_ => ["Hi ", "there"]);
        List<JsonElement> lines = await server.LinesAsync("api/chat", Hello);
        Assert.Equal(["""{"role":"assistant","content":"Hi "}""", """{"role":"assistant","content":"there"}""", """{"role":"assistant","content":""}"""], lines.Select(line => line.GetProperty("message").GetRawText()));
        Assert.Equal([false, false, true], lines.Select(line => line.GetProperty("done").GetBoolean()));
        Assert.All(lines, line => Assert.Equal("scripted:latest", line.GetProperty("model").GetString()));
        Assert.All(lines, line => Assert.Equal(DateTimeKind.Utc, line.GetProperty("created_at").GetDateTime().Kind));
        Assert.All(lines.SkipLast(1), line => Assert.Equal(["model", "created_at", "message", "done"], line.EnumerateObject().Select(member => member.Name)));
        Assert.Equal("stop", lines[^1].GetProperty("done_reason").GetString());
        Assert.Equal((7, 3), (lines[^1].GetProperty("prompt_eval_count").GetInt32(), lines[^1].GetProperty("eval_count").GetInt32()));
        Assert.All((string[])["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"], name => Assert.True(lines[^1].GetProperty(name).GetInt64() >= 0));
    }

    [Fact]
    public async Task AWholeAnswerHasTextAndNumbersInOne()
    {
        await using ModelServer server = await ScriptedAsync(_ => ["Hi ", "there", ChatFinishReason.Length]);
        (int status, JsonElement answer) = await server.AskAsync("api/chat", HelloWhole);
        Assert.Equal(200, status);
        Assert.Equal("""{"role":"assistant","content":"Hi there"}""", answer.GetProperty("message").GetRawText());
        Assert.Equal((true, "length"), (answer.GetProperty("done").GetBoolean(), answer.GetProperty("done_reason").GetString()));
        Assert.Equal(3, answer.GetProperty("eval_count").GetInt32());
        (_, answer) = await server.AskAsync("api/generate", """{"model":"scripted","prompt":"Hello!","system":"Be brief.","stream":false}""");
        Assert.Equal("Hi there", answer.GetProperty("response").GetString());
        Assert.False(answer.TryGetProperty("message", out _));
    }

    [Fact]
    public async Task ArgumentsOfCallsAreObjects()
    {
        await using ModelServer server = await ScriptedAsync(_ =>
            [new FunctionCallContent("call_a", "get_weather", new Dictionary<string, object?> { ["city"] = "Paris" }), new FunctionCallContent("call_b", "get_time"), ChatFinishReason.ToolCalls]);
        const string First = """{"id":"call_a","function":{"index":0,"name":"get_weather","arguments":{"city":"Paris"}}}""";
        const string Second = """{"id":"call_b","function":{"index":1,"name":"get_time","arguments":{}}}""";
        List<JsonElement> lines = await server.LinesAsync("api/chat", Hello);
        Assert.Equal([$"[{First}]", $"[{Second}]"], lines.SkipLast(1).Select(line => line.GetProperty("message").GetProperty("tool_calls").GetRawText()));
        Assert.Equal("stop", lines[^1].GetProperty("done_reason").GetString()); // Ollama has no other word for it
        (_, JsonElement whole) = await server.AskAsync("api/chat", HelloWhole);
        Assert.Equal($"[{First},{Second}]", whole.GetProperty("message").GetProperty("tool_calls").GetRawText());
    }

    /// <summary>Results name their function, or nothing at all, or an id where the client has one.</summary>
    [Fact]
    public async Task ResultsOfToolsFindTheirCalls()
    {
        ScriptedChatClient client = new(_ => ["ok"]);
        await using ModelServer server = await ModelServer.StartAsync(client, map: app => app.MapOllama());
        (int status, JsonElement error) = await server.AskAsync("api/chat", """
            {"model":"scripted","stream":false,"messages":[
              {"role":"user","content":"Go"},
              {"role":"assistant","content":"","tool_calls":[{"function":{"name":"a","arguments":{"x":1}}},{"function":{"name":"b","arguments":{}}},{"id":"mine","function":{"name":"c","arguments":{}}}]},
              {"role":"tool","tool_call_id":"mine","content":"third"},
              {"role":"tool","tool_name":"b","content":"{\"n\":2}"},
              {"role":"tool","content":"first"}]}
            """);
        Assert.True(status == 200, error.GetRawText());
        IReadOnlyList<ChatMessage> messages = client.Calls[0].Messages;
        FunctionCallContent[] calls = [.. messages[1].Contents.OfType<FunctionCallContent>()];
        FunctionResultContent[] results = [.. messages.Skip(2).SelectMany(message => message.Contents).OfType<FunctionResultContent>()];
        Assert.Equal(["a", "b", "c"], calls.Select(call => call.Name));
        Assert.Equal([calls[2].CallId, calls[1].CallId, calls[0].CallId], results.Select(result => result.CallId));
        Assert.Equal(2, ((JsonElement)results[1].Result!).GetProperty("n").GetInt32());
        (status, error) = await server.AskAsync("api/chat", """{"model":"scripted","messages":[{"role":"tool","content":"of nothing"}]}""");
        Assert.Equal(400, status);
        Assert.Contains("no call before it", error.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task OptionsAreHonoured()
    {
        ScriptedChatClient client = new(_ => ["ok"]);
        await using ModelServer server = await ModelServer.StartAsync(client, map: app => app.MapOllama());
        await server.AskAsync("api/chat", HelloWhole[..^1] + """
            ,"options":{"num_predict":128.0,"temperature":0.25,"top_k":40,"top_p":0.9,"min_p":0.05,"seed":7,"stop":["\n","END"],"repeat_penalty":1.1,"presence_penalty":0.5,"frequency_penalty":0.25,
             "mirostat":0,"typical_p":1.0,"num_ctx":4096,"num_thread":8},
             "tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}}],"format":{"type":"object","properties":{}}}
            """);
        ChatOptions options = client.Calls[0].Options;
        Assert.Equal((128, 0.25f, 40, 0.9f, 7L), (options.MaxOutputTokens, options.Temperature, options.TopK, options.TopP, options.Seed));
        Assert.Equal((0.5f, 0.25f), (options.PresencePenalty, options.FrequencyPenalty));
        Assert.Equal(["\n", "END"], options.StopSequences!);
        Assert.Equal((0.05f, 1.1f), ((float)options.AdditionalProperties!["min_p"]!, (float)options.AdditionalProperties["repetition_penalty"]!));
        Assert.Equal("f", Assert.Single(options.Tools!).Name);
        Assert.IsType<ChatResponseFormatJson>(options.ResponseFormat);
        Assert.Contains(server.Log.At(LogLevel.Warning), line => line.Contains("num_ctx, num_thread", StringComparison.Ordinal));
        await server.AskAsync("api/chat", HelloWhole[..^1] + ""","options":{"num_predict":-1,"seed":-1,"repeat_penalty":1.1,"presence_penalty":1,"repeat_last_n":0,"num_ctx":1},"format":"json"}""");
        options = client.Calls[1].Options;
        Assert.Equal((null, null, null), (options.MaxOutputTokens, options.Seed, options.PresencePenalty));
        Assert.Null(options.AdditionalProperties);
        Assert.Single(server.Log.At(LogLevel.Warning), line => line.Contains("num_ctx", StringComparison.Ordinal)); // once
    }

    [Theory]
    [InlineData(""","options":{"temperature":"hot"}}""", "temperature")]
    [InlineData(""","options":{"top_k":1.5}}""", "top_k")]
    [InlineData(""","options":{"stop":[1]}}""", "stop")]
    [InlineData(""","options":{"mirostat":2}}""", "mirostat")]
    [InlineData(""","options":{"typical_p":0.5}}""", "typical_p")]
    [InlineData(""","format":"xml"}""", "format")]
    [InlineData(""","keep_alive":"soon"}""", "keep_alive")]
    [InlineData(""","think":true}""", "does not support thinking")]
    [InlineData(""","tools":[{"type":"web"}]}""", "tools[0]")]
    [InlineData(""","top_logprobs":21}""", "top_logprobs")]
    [InlineData(""","messages":[{"role":"wizard","content":"x"}]}""", "wizard")]
    [InlineData(""","messages":[{"role":"user","content":"x","images":["?"]}]}""", "base64")]
    [InlineData(""","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":[1]}}]}]}""", "arguments")]
    public async Task WhatCannotBeReadIsRefusedInOllamasForm(string rest, string named)
    {
        await using ModelServer server = await ScriptedAsync(_ => ["ok"]);
        (int status, JsonElement error) = await server.AskAsync("api/chat", HelloWhole[..^1] + rest);
        Assert.Equal(400, status);
        Assert.Equal(["error"], error.EnumerateObject().Select(member => member.Name));
        Assert.Contains(named, error.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"suffix\":\"x\"")]
    [InlineData("\"template\":\"{{ .Prompt }}\"")]
    [InlineData("\"context\":[1,2]")]
    [InlineData("\"raw\":true,\"system\":\"x\"")]
    [InlineData("\"raw\":true")] // of a client that is no Gemma model
    public async Task WhatGenerateCannotDoIsRefused(string member)
    {
        await using ModelServer server = await ScriptedAsync(_ => ["ok"]);
        (int status, JsonElement error) = await server.AskAsync("api/generate", $$"""{"model":"scripted","prompt":"x",{{member}}}""");
        Assert.Equal(400, status);
        Assert.NotEmpty(error.GetProperty("error").GetString()!);
    }

    [Fact]
    public async Task ErrorsHaveOllamasFormWhereverTheyComeFrom()
    {
        await using ModelServer server = await ModelServer.StartAsync(services =>
        {
            services.AddKeyedChatClient("fails", new ScriptedChatClient(_ => [new InvalidOperationException("secret")]));
            services.AddKeyedChatClient("breaks", new ScriptedChatClient(_ => ["Well", new InvalidOperationException("secret")]));
            services.AddKeyedChatClient("full", new ScriptedChatClient(_ => [new GemmaOverloadedException("Too many requests wait.")]));
            services.AddGemmaServer(options => options.MaxRequestBodySize = 1000);
        }, app => app.MapOllama());
        await AssertAsync(404, """{"model":"other","messages":[{"role":"user","content":"x"}]}""", "fails, breaks, full");
        await AssertAsync(400, "{\"model\":", "not the JSON");
        await AssertAsync(400, """{"model":3}""", "$.model");
        await AssertAsync(413, $$"""{"model":"fails","messages":[{"role":"user","content":"{{new string('x', 2000)}}"}]}""", "1,000 bytes");
        await AssertAsync(429, """{"model":"full","messages":[{"role":"user","content":"x"}]}""", "Too many requests");
        await AssertAsync(400, $$"""{"model":"full","format":{{string.Concat(Enumerable.Repeat("{\"a\":", 150))}}1{{new string('}', 150)}}}""", "not the JSON"); // deep
        await AssertAsync(500, """{"model":"fails","messages":[{"role":"user","content":"x"}]}""", "The server had an error");
        List<JsonElement> lines = await server.LinesAsync("api/chat", """{"model":"breaks","messages":[{"role":"user","content":"x"}]}""");
        Assert.Equal(2, lines.Count);
        Assert.Equal(["error"], lines[1].EnumerateObject().Select(member => member.Name));
        Assert.DoesNotContain("secret", lines[1].GetRawText(), StringComparison.Ordinal);

        async Task AssertAsync(int expected, string body, string words)
        {
            (int status, JsonElement error) = await server.AskAsync("api/chat", body);
            Assert.Equal(expected, status);
            Assert.Equal(["error"], error.EnumerateObject().Select(member => member.Name));
            Assert.Contains(words, error.GetProperty("error").GetString(), StringComparison.Ordinal);
            Assert.DoesNotContain("secret", error.GetRawText(), StringComparison.Ordinal);
        }
    }

    /// <summary>Clients read each line as JSON: an empty one breaks them.</summary>
    [Fact]
    public async Task SilenceIsFilledWithPiecesWithoutText()
    {
        TaskCompletionSource<object> first = new();
        await using ModelServer server = await ModelServer.StartAsync(
            new ScriptedChatClient(_ => [first.Task]), options => options.Set(o => o.HeartbeatInterval = TimeSpan.FromMilliseconds(20)), app => app.MapOllama());
        using HttpResponseMessage response = await server.PostAsync("api/chat", Hello);
        using StreamReader reader = new(await response.Content.ReadAsStreamAsync());
        JsonElement line = JsonElement.Parse((await reader.ReadLineAsync())!);
        Assert.Equal(("", false), (line.GetProperty("message").GetProperty("content").GetString(), line.GetProperty("done").GetBoolean()));
        first.SetResult("Hi");
        string[] rest = (await reader.ReadToEndAsync()).TrimEnd('\n').Split('\n');
        Assert.Equal("Hi", string.Concat(rest.Select(text => JsonElement.Parse(text).GetProperty("message").GetProperty("content").GetString())));
    }

    [Fact]
    public async Task AClosedConnectionEndsTheAnswer()
    {
        ScriptedChatClient client = new(_ => ["Hi", new TaskCompletionSource<object>().Task]);
        await using ModelServer server = await ModelServer.StartAsync(client, map: app => app.MapOllama());
        (await server.PostAsync("api/chat", Hello)).Dispose();
        await client.Cancelled.Task.WaitAsync(TimeSpan.FromMinutes(1));
    }

    /// <summary>Ollama's own examples send no content type; a page of another site cannot send another one than that without asking first, and has to say where it is from.</summary>
    [Fact]
    public async Task ABodyNeedsNoContentTypeUnlessAPageSendsIt()
    {
        await using ModelServer server = await ScriptedAsync(_ => ["ok"]);
        foreach ((string? origin, int expected) in ((string?, int)[])[(null, 200), ("https://evil.example", 415)])
        {
            using HttpRequestMessage request = new(HttpMethod.Post, "api/chat") { Content = new StringContent(HelloWhole, Encoding.UTF8, "application/x-www-form-urlencoded") };
            if (origin is not null)
            {
                request.Headers.Add("Origin", origin);
            }

            using HttpResponseMessage response = await server.Http.SendAsync(request);
            Assert.Equal(expected, (int)response.StatusCode);
        }
    }

    [Fact]
    public async Task LogProbabilitiesComeWithTheirText()
    {
        await using ModelServer server = await NanoAsync();
        List<JsonElement> lines = await server.LinesAsync("api/chat", """{"model":"nano","messages":[{"role":"user","content":"Hello! Who are you?"}],"options":{"temperature":0,"num_predict":8},"logprobs":true,"top_logprobs":2}""");
        JsonElement[] tokens = [.. lines.SelectMany(line => line.TryGetProperty("logprobs", out JsonElement values) ? values.EnumerateArray().ToArray() : [])];
        Assert.NotEmpty(tokens);
        Assert.Equal(string.Concat(lines.Select(line => line.GetProperty("message").GetProperty("content").GetString())), string.Concat(tokens.Select(token => token.GetProperty("token").GetString())));
        Assert.All(tokens, token => Assert.True(token.GetProperty("logprob").GetDouble() <= 0 && token.GetProperty("top_logprobs").GetArrayLength() <= 2));
    }

    [Fact]
    public async Task GemmaRefusesImagesAndOtherClientsSeeThem()
    {
        const string Ask = """{"model":"MODEL","stream":false,"messages":[{"role":"user","content":"What is it?","images":["iVBORw0KGgo="]}]}""";
        await using ModelServer nano = await NanoAsync();
        (int status, JsonElement error) = await nano.AskAsync("api/chat", Ask);
        Assert.Equal(400, status);
        Assert.Contains("image", error.GetProperty("error").GetString(), StringComparison.OrdinalIgnoreCase);
        ScriptedChatClient client = new(_ => ["A picture"]);
        await using ModelServer other = await ModelServer.StartAsync(client, map: app => app.MapOllama());
        await other.AskAsync("api/chat", Ask);
        Assert.Equal("image/png", Assert.Single(client.Calls[0].Messages[0].Contents.OfType<DataContent>()).MediaType);
    }

    private static Task<ModelServer> NanoAsync() => ModelServer.StartNanoAsync(map: app => app.MapOllama());

    private static Task<ModelServer> ScriptedAsync(Func<IReadOnlyList<ChatMessage>, IEnumerable<object>> script) => ModelServer.StartAsync(new ScriptedChatClient(script), map: app => app.MapOllama());
}
