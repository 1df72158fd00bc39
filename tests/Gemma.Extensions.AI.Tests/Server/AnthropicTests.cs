using System.Net.ServerSentEvents;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>The wire form of Anthropic's Messages API: what it documents, and what its clients depend on.</summary>
public class AnthropicTests
{
    private const string Path = "v1/messages";
    private const string Hello = """{"model":"any","max_tokens":100,"messages":[{"role":"user","content":"Hello!"}]}""";
    private const string HelloStream = """{"model":"any","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"Hello!"}]}""";
    private const string Tools = ""","tools":[{"name":"a","description":"d","input_schema":{"type":"object","properties":{"x":{"type":"integer"}}}},{"type":"custom","name":"b","input_schema":{"type":"object"}},{"type":"web_search_20250305","name":"web_search"}]""";

    [Fact]
    public async Task TheShippedModelAnswersAsInProcess()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(map: app => app.MapAnthropic());
        IChatClient inProcess = server.Services.GetRequiredService<IChatClient>();
        ChatMessage[] conversation = [new(ChatRole.System, "You are Gemma."), new(ChatRole.User, "Hello! Who are you?")];
        ChatResponse same = await inProcess.GetResponseAsync(conversation, new ChatOptions { Temperature = 0, MaxOutputTokens = 40 });
        const string Ask = """{"model":"nano","max_tokens":40,"temperature":0,"system":"You are Gemma.","messages":[{"role":"user","content":[{"type":"text","text":"Hello! Who are you?","cache_control":{"type":"ephemeral"}}]}]}""";
        (int status, JsonElement answer) = await server.AskAsync(Path, Ask);
        Assert.Equal(200, status);
        Assert.Equal(same.Text, answer.GetProperty("content")[0].GetProperty("text").GetString());
        JsonElement usage = answer.GetProperty("usage");
        Assert.Equal(same.Usage!.InputTokenCount, usage.GetProperty("input_tokens").GetInt64() + usage.GetProperty("cache_read_input_tokens").GetInt64());
        Assert.Equal(same.Usage!.OutputTokenCount, usage.GetProperty("output_tokens").GetInt64());
        (status, JsonElement counted) = await server.AskAsync($"{Path}/count_tokens", Ask.Replace("\"max_tokens\":40,", "", StringComparison.Ordinal));
        Assert.Equal((200, $$"""{"input_tokens":{{same.Usage.InputTokenCount}}}"""), (status, counted.GetRawText()));
        List<SseItem<string>> events = await server.StreamAsync(Path, Ask[..^1] + ",\"stream\":true}");
        Assert.Equal(same.Text, Text(events));
    }

    [Fact]
    public async Task AMessageHasAllMembers()
    {
        await using ModelServer server = await ScriptedAsync(_ => ["Hi ", "there"]);
        using HttpResponseMessage response = await server.PostAsync(Path, Hello);
        Assert.StartsWith("req_", response.Headers.GetValues("request-id").Single(), StringComparison.Ordinal);
        JsonElement body = JsonElement.Parse(await response.Content.ReadAsStringAsync());
        Assert.StartsWith("msg_", body.GetProperty("id").GetString(), StringComparison.Ordinal);
        Assert.Equal(["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"], body.EnumerateObject().Select(member => member.Name));
        Assert.Equal(("message", "assistant", "scripted", "end_turn"), (Member("type"), Member("role"), Member("model"), Member("stop_reason")));
        Assert.Equal("""[{"type":"text","text":"Hi there"}]""", body.GetProperty("content").GetRawText());
        Assert.Equal(JsonValueKind.Null, body.GetProperty("stop_sequence").ValueKind);
        Assert.Equal("""{"input_tokens":2,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":3}""", body.GetProperty("usage").GetRawText()); // seven were read, five of them from the cache

        string? Member(string name) => body.GetProperty(name).GetString();
    }

    [Fact]
    public async Task AStreamHasAllEventsInOrder()
    {
        await using ModelServer server = await ScriptedAsync(_ =>
        [
            "Hi ", "there", new FunctionCallContent("call_a", "a", new Dictionary<string, object?> { ["x"] = 1 }), new FunctionCallContent("call_b", "b"), ChatFinishReason.ToolCalls,
        ]);
        List<SseItem<string>> events = await server.StreamAsync(Path, HelloStream);
        Assert.All(events, item => Assert.Equal(item.EventType, JsonElement.Parse(item.Data).GetProperty("type").GetString()));
        Assert.Equal(
            [
                "message_start",
                """content_block_start {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}""",
                """content_block_delta {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi "}}""",
                """content_block_delta {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"there"}}""",
                """content_block_stop {"type":"content_block_stop","index":0}""",
                """content_block_start {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"call_a","name":"a","input":{}}}""",
                """content_block_delta {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"x\":1}"}}""",
                """content_block_stop {"type":"content_block_stop","index":1}""",
                """content_block_start {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"call_b","name":"b","input":{}}}""",
                """content_block_delta {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}""",
                """content_block_stop {"type":"content_block_stop","index":2}""",
                """message_delta {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":2,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":3}}""",
                """message_stop {"type":"message_stop"}""",
            ],
            events.Select((item, i) => i == 0 ? item.EventType : $"{item.EventType} {item.Data}"));
        JsonElement message = JsonElement.Parse(events[0].Data).GetProperty("message");
        Assert.Equal(("[]", JsonValueKind.Null), (message.GetProperty("content").GetRawText(), message.GetProperty("stop_reason").ValueKind));
        (_, JsonElement whole) = await server.AskAsync(Path, Hello);
        Assert.Equal("""[{"type":"text","text":"Hi there"},{"type":"tool_use","id":"call_a","name":"a","input":{"x":1}},{"type":"tool_use","id":"call_b","name":"b","input":{}}]""", whole.GetProperty("content").GetRawText());
    }

    [Fact]
    public async Task AnEmptyAnswerIsAWholeStreamToo()
    {
        await using ModelServer server = await ScriptedAsync(_ => []);
        Assert.Equal(["message_start", "message_delta", "message_stop"], (await server.StreamAsync(Path, HelloStream)).Select(item => item.EventType));
        (_, JsonElement whole) = await server.AskAsync(Path, Hello);
        Assert.Equal("[]", whole.GetProperty("content").GetRawText());
    }

    [Fact]
    public async Task AStopSequenceIsNamed()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(map: app => app.MapAnthropic());
        string text = (await server.Services.GetRequiredService<IChatClient>().GetResponseAsync("Hello! Who are you?", new ChatOptions { Temperature = 0, MaxOutputTokens = 40 })).Text;
        string stop = text[5..8];
        string ask = $$"""{"model":"nano","max_tokens":40,"temperature":0,"stop_sequences":["never said",{{JsonSerializer.Serialize(stop)}}],"messages":[{"role":"user","content":"Hello! Who are you?"}]}""";
        (_, JsonElement answer) = await server.AskAsync(Path, ask);
        Assert.Equal(("stop_sequence", stop), (answer.GetProperty("stop_reason").GetString(), answer.GetProperty("stop_sequence").GetString()));
        Assert.Equal(text[..text.IndexOf(stop, StringComparison.Ordinal)], answer.GetProperty("content")[0].GetProperty("text").GetString());
        List<SseItem<string>> events = await server.StreamAsync(Path, ask[..^1] + ",\"stream\":true}");
        Assert.Equal($$"""{"stop_reason":"stop_sequence","stop_sequence":{{JsonSerializer.Serialize(stop)}}}""", JsonElement.Parse(events[^2].Data).GetProperty("delta").GetRawText());
        (_, answer) = await server.AskAsync(Path, """{"model":"nano","max_tokens":2,"messages":[{"role":"user","content":"Hello!"}]}""");
        Assert.Equal("max_tokens", answer.GetProperty("stop_reason").GetString());
    }

    [Fact]
    public async Task RequestsAreReadWhole()
    {
        ScriptedChatClient client = new(_ => ["ok"]);
        await using ModelServer server = await ModelServer.StartAsync(client, map: app => app.MapAnthropic());
        (int status, JsonElement error) = await server.AskAsync(Path, """
            {"model":"any","max_tokens":9,"temperature":0.5,"top_p":0.9,"top_k":5,"stop_sequences":["X"],"metadata":{"user_id":"u1"},"thinking":{"type":"enabled","budget_tokens":1024},
             "system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}},{"type":"text","text":" Be kind."}],
             "messages":[
              {"role":"user","content":"Go"},
              {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"Well"},{"type":"tool_use","id":"t1","name":"a","input":{"x":1}},{"type":"tool_use","id":"t2","name":"b","input":{}},{"type":"tool_use","id":"t3","name":"b","input":{}}]},
              {"role":"user","content":[
                {"type":"tool_result","tool_use_id":"t1","content":"{\"n\":2}"},
                {"type":"tool_result","tool_use_id":"t2","content":[{"type":"text","text":"no such"},{"type":"text","text":" thing"}],"is_error":true},
                {"type":"tool_result","tool_use_id":"t3"},
                {"type":"document","title":"Notes","source":{"type":"text","media_type":"text/plain","data":"the notes"}},
                {"type":"text","text":"And now?"}]},
              {"role":"system","content":"Hurry."}]
            """ + Tools + ""","tool_choice":{"type":"auto","disable_parallel_tool_use":true}}""");
        Assert.True(status == 200, error.GetRawText());
        (IReadOnlyList<ChatMessage> messages, ChatOptions options) = client.Calls[0];
        Assert.Equal([ChatRole.System, ChatRole.User, ChatRole.Assistant, ChatRole.Tool, ChatRole.User, ChatRole.System], messages.Select(message => message.Role));
        Assert.Equal("Be brief. Be kind.", messages[0].Text);
        Assert.Equal("Well", messages[2].Text);
        Assert.Equal(["t1", "t2", "t3"], messages[2].Contents.OfType<FunctionCallContent>().Select(call => call.CallId));
        FunctionResultContent[] results = [.. messages[3].Contents.Cast<FunctionResultContent>()];
        Assert.Equal(2, ((JsonElement)results[0].Result!).GetProperty("n").GetInt32());
        Assert.Equal("no such thing", results[1].Result);
        Assert.NotNull(results[1].Exception);
        Assert.Equal("", results[2].Result);
        Assert.Equal("Notes\nthe notesAnd now?", messages[4].Text);
        Assert.Equal((9, 0.5f, 0.9f, 5), (options.MaxOutputTokens, options.Temperature, options.TopP, options.TopK));
        Assert.Equal(["X"], options.StopSequences!);
        Assert.Equal(["a", "b"], options.Tools!.Select(tool => tool.Name)); // what Anthropic itself runs is left out
        Assert.Equal((ChatToolMode.Auto, false), (options.ToolMode!, options.AllowMultipleToolCalls));
        Assert.Contains(server.Log.At(LogLevel.Warning), line => line.Contains("thinking", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ToolChoicesAreHonoured()
    {
        ScriptedChatClient client = new(_ => ["ok"]);
        await using ModelServer server = await ModelServer.StartAsync(client, map: app => app.MapAnthropic());
        (string Choice, ChatToolMode? Mode)[] cases =
        [
            ("""{"type":"auto"}""", ChatToolMode.Auto), ("""{"type":"any"}""", ChatToolMode.RequireAny), ("""{"type":"none"}""", ChatToolMode.None),
            ("""{"type":"tool","name":"b"}""", ChatToolMode.RequireSpecific("b")), ("null", null),
        ];
        foreach ((string choice, ChatToolMode? mode) in cases)
        {
            (int status, _) = await server.AskAsync(Path, Hello[..^1] + Tools + $$""","tool_choice":{{choice}}}""");
            Assert.Equal(200, status);
            Assert.Equal(mode, client.Calls[^1].Options.ToolMode);
        }

        await server.AskAsync(Path, Hello[..^1] + ""","output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{}}}}}""");
        Assert.IsType<ChatResponseFormatJson>(client.Calls[^1].Options.ResponseFormat);
    }

    /// <summary>What the engine promises holds over HTTP: a required call comes, whatever the weights.</summary>
    [Fact]
    public async Task ARequiredCallComes()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(map: app => app.MapAnthropic());
        (int status, JsonElement answer) = await server.AskAsync(Path, Hello[..^1] + Tools.Replace("\"x\":{\"type\":\"integer\"}}", "\"x\":{\"type\":\"boolean\"}},\"required\":[\"x\"]", StringComparison.Ordinal)
            + ""","tool_choice":{"type":"tool","name":"a","disable_parallel_tool_use":true}}""");
        Assert.True(status == 200, answer.GetRawText());
        JsonElement call = answer.GetProperty("content").EnumerateArray().Single(block => block.GetProperty("type").GetString() == "tool_use");
        Assert.Equal("a", call.GetProperty("name").GetString());
        Assert.Contains(call.GetProperty("input").GetProperty("x").ValueKind, (JsonValueKind[])[JsonValueKind.True, JsonValueKind.False]);
        Assert.Equal("tool_use", answer.GetProperty("stop_reason").GetString());
    }

    [Theory]
    [InlineData("""{"model":"any","messages":[{"role":"user","content":"x"}]}""", "max_tokens")]
    [InlineData("""{"model":"any","max_tokens":5}""", "messages")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[]}""", "messages")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[{"role":"tool","content":"x"}]}""", "'tool'")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[{"role":"user","content":5}]}""", "messages.0.content")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[{"role":"user","content":[{"type":"hologram"}]}]}""", "hologram")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[{"role":"user","content":[{"text":"x"}]}]}""", "type")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"?"}}]}]}""", "base64")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":[]}]}]}""", "input")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[{"role":"user","content":[{"type":"tool_result","content":"x"}]}]}""", "tool_use_id")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f"}],"tool_choice":{"type":"tool","name":"g"}}""", "'g'")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"maybe"}}""", "maybe")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[{"role":"user","content":"x"}],"tools":[{"description":"f"}]}""", "name")]
    [InlineData("""{"model":"any","max_tokens":5,"messages":[{"role":"user","content":"x"}],"output_format":{"type":"xml"}}""", "xml")]
    [InlineData("""{"model":"any","max_tokens":"many","messages":[]}""", "max_tokens")]
    [InlineData("[1]", "expected")]
    public async Task WhatCannotBeReadIsRefusedInAnthropicsForm(string body, string named)
    {
        await using ModelServer server = await ScriptedAsync(_ => ["ok"]);
        (int status, JsonElement error) = await server.AskAsync(Path, body);
        Assert.Equal(400, status);
        AssertError(error, "invalid_request_error", named);
    }

    [Fact]
    public async Task ErrorsHaveAnthropicsFormWhereverTheyComeFrom()
    {
        await using ModelServer server = await ModelServer.StartAsync(services =>
        {
            services.AddKeyedChatClient("fails", new ScriptedChatClient(_ => [new InvalidOperationException("secret")]));
            services.AddKeyedChatClient("breaks", new ScriptedChatClient(_ => ["Well", new InvalidOperationException("secret")]));
            services.AddKeyedChatClient("slow", new ScriptedChatClient(_ => [new TimeoutException("secret")]));
            services.AddKeyedChatClient("full", new ScriptedChatClient(_ => [new GemmaOverloadedException("Too many requests wait.")]));
            services.AddGemmaServer(options => options.MaxRequestBodySize = 1000);
        }, app => app.MapAnthropic());
        (int Status, string Model, string Type)[] cases = [(404, "other", "not_found_error"), (500, "fails", "api_error"), (503, "slow", "overloaded_error"), (429, "full", "rate_limit_error")];
        foreach ((int expected, string model, string type) in cases)
        {
            using HttpResponseMessage response = await server.PostAsync(Path, Hello.Replace("any", model, StringComparison.Ordinal));
            Assert.Equal(expected, (int)response.StatusCode);
            AssertError(JsonElement.Parse(await response.Content.ReadAsStringAsync()), type, "");
            Assert.Equal(expected is 503 or 429, response.Headers.RetryAfter is not null);
        }

        (int status, JsonElement error) = await server.AskAsync(Path, Hello.Replace("Hello!", new string('x', 2000), StringComparison.Ordinal));
        Assert.Equal(413, status);
        AssertError(error, "request_too_large", "1,000 bytes");
        List<SseItem<string>> events = await server.StreamAsync(Path, HelloStream.Replace("any", "breaks", StringComparison.Ordinal));
        Assert.Equal("error", events[^1].EventType);
        AssertError(JsonElement.Parse(events[^1].Data), "api_error", "");
    }

    /// <summary>Anthropic's clients know pings, and expect the beginning of the message before them.</summary>
    [Fact]
    public async Task SilenceIsFilledWithPings()
    {
        TaskCompletionSource<object> first = new();
        await using ModelServer server = await ModelServer.StartAsync(
            new ScriptedChatClient(_ => [first.Task]), options => options.Set(o => o.HeartbeatInterval = TimeSpan.FromMilliseconds(20)), app => app.MapAnthropic());
        using HttpResponseMessage response = await server.PostAsync(Path, HelloStream);
        await using Stream body = await response.Content.ReadAsStreamAsync();
        List<string> names = [];
        await foreach (SseItem<string> item in SseParser.Create(body).EnumerateAsync())
        {
            names.Add(item.EventType);
            if (names.Count == 3)
            {
                Assert.Equal(["message_start", "ping", "ping"], names);
                Assert.Equal("""{"type":"ping"}""", item.Data);
                first.SetResult("Hi");
            }
        }

        Assert.Equal(["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"], names.Where(name => name != "ping"));
    }

    [Fact]
    public async Task AClosedConnectionEndsTheAnswer()
    {
        ScriptedChatClient client = new(_ => ["Hi", new TaskCompletionSource<object>().Task]);
        await using ModelServer server = await ModelServer.StartAsync(client, map: app => app.MapAnthropic());
        (await server.PostAsync(Path, HelloStream)).Dispose();
        await client.Cancelled.Task.WaitAsync(TimeSpan.FromMinutes(1));
    }

    [Fact]
    public async Task ImagesAreRefusedByGemmaAndTokensOfOtherModelsAreNotCounted()
    {
        const string Ask = """{"model":"any","max_tokens":9,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}]}]}""";
        await using ModelServer nano = await ModelServer.StartNanoAsync(map: app => app.MapAnthropic());
        (int status, JsonElement error) = await nano.AskAsync(Path, Ask);
        Assert.Equal(400, status);
        AssertError(error, "invalid_request_error", "image");
        ScriptedChatClient client = new(_ => ["A picture"]);
        await using ModelServer other = await ModelServer.StartAsync(client, map: app => app.MapAnthropic());
        (status, _) = await other.AskAsync(Path, Ask);
        Assert.Equal((200, "image/png"), (status, Assert.Single(client.Calls[0].Messages[0].Contents.OfType<DataContent>()).MediaType));
        (status, error) = await other.AskAsync($"{Path}/count_tokens", Hello);
        Assert.Equal(400, status);
        AssertError(error, "invalid_request_error", "no Gemma model");
    }

    private static void AssertError(JsonElement body, string type, string named)
    {
        Assert.Equal(["type", "error"], body.EnumerateObject().Select(member => member.Name));
        Assert.Equal(("error", type), (body.GetProperty("type").GetString(), body.GetProperty("error").GetProperty("type").GetString()));
        Assert.Contains(named, body.GetProperty("error").GetProperty("message").GetString(), StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("secret", body.GetRawText(), StringComparison.Ordinal);
    }

    private static string Text(IEnumerable<SseItem<string>> events) => string.Concat(events.Where(item => item.EventType == "content_block_delta")
        .Select(item => JsonElement.Parse(item.Data).GetProperty("delta").GetProperty("text").GetString()));

    private static Task<ModelServer> ScriptedAsync(Func<IReadOnlyList<ChatMessage>, IEnumerable<object>> script) => ModelServer.StartAsync(new ScriptedChatClient(script), map: app => app.MapAnthropic());
}
