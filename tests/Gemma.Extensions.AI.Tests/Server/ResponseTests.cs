using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using System.Security.Claims;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.OpenAI;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.Caching.Memory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>Responses: how they are kept, for whom and how long, and what their requests may hold.</summary>
public class ResponseTests
{
    private const string Path = "v1/responses";

    private static readonly DistributedCacheEntryOptions s_hour = new() { SlidingExpiration = TimeSpan.FromHours(1) };

    [Fact]
    public async Task AResponseExpiresAfterItsLastUse()
    {
        ManualClock time = new();
        await using ModelServer server = await ModelServer.StartAsync(services => services.AddSingleton<TimeProvider>(time).AddChatClient(new ScriptedChatClient(_ => ["Hi"])));
        string id = await CreateAsync(server, "\"input\":\"a\"");
        time.Advance(TimeSpan.FromHours(23));
        Assert.Equal(200, (await server.GetAsync($"{Path}/{id}")).Status);
        time.Advance(TimeSpan.FromHours(23)); // it was used
        Assert.Equal(200, (await server.AskAsync(Path, $$"""{"input":"b","previous_response_id":"{{id}}"}""")).Status);
        time.Advance(TimeSpan.FromHours(24));
        (int status, JsonElement gone) = await server.GetAsync($"{Path}/{id}");
        Assert.Equal((404, "response_not_found"), (status, gone.GetProperty("error").GetProperty("code").GetString()));
        (status, gone) = await server.AskAsync(Path, $$"""{"input":"b","previous_response_id":"{{id}}"}""");
        Assert.Equal((404, "previous_response_not_found", "previous_response_id"), (status, gone.GetProperty("error").GetProperty("code").GetString(), gone.GetProperty("error").GetProperty("param").GetString()));
    }

    [Fact]
    public async Task ThoseNotUsedForTheLongestTimeMakeRoom()
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]), options => options.Set(o => o.StoredResponsesBytes = 40_000));
        string text = new('x', 8_000);
        List<string> ids = [];
        for (int i = 0; i < 12; i++)
        {
            ids.Add(await CreateAsync(server, $"\"input\":\"{text}\""));
            Assert.Equal(200, (await server.GetAsync($"{Path}/{ids[0]}")).Status); // in use all the time
            Assert.Equal(200, (await server.GetAsync($"{Path}/{ids[^1]}")).Status); // what is new is kept
        }

        int[] found = [.. await Task.WhenAll(ids.Select(async id => (await server.GetAsync($"{Path}/{id}")).Status))];
        Assert.Equal([200, .. Enumerable.Repeat(404, 8), 200, 200, 200], found); // four of somewhat over 8,000 bytes
    }

    [Fact]
    public void TheMemoryHoldsNoMoreThanItsBound()
    {
        ManualClock time = new();
        ResponseMemory memory = new(1000, time, NullLogger.Instance);
        Random random = new(7);
        Dictionary<string, byte[]> kept = [];
        for (int i = 0; i < 2000; i++)
        {
            string key = $"{random.Next(40)}";
            switch (random.Next(4))
            {
                case 0:
                    memory.Remove(key);
                    kept.Remove(key);
                    break;
                case 1:
                    byte[]? value = memory.Get(key);
                    Assert.True(value is null || value == kept[key]); // what is there is what was put there last
                    break;
                default:
                    memory.Set(key, kept[key] = new byte[random.Next(300)], s_hour);
                    Assert.Same(kept[key], memory.Get(key));
                    break;
            }

            Assert.InRange(memory.Bytes, 0, 1000);
        }

        memory.Set("large", new byte[1001], s_hour);
        Assert.Null(memory.Get("large"));
        time.Advance(TimeSpan.FromHours(1));
        memory.Set("last", new byte[10], s_hour);
        Assert.Equal(10, memory.Bytes); // what has expired is gone with the next that comes
    }

    /// <summary>The answer comes, but none can follow it: the log says why.</summary>
    [Fact]
    public async Task AResponseThatIsLargerThanTheMemoryIsNamedInTheLogOnce()
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]), options => options.Set(o => o.StoredResponsesBytes = 4_000));
        string text = new('x', 8_000), small = await CreateAsync(server, "\"input\":\"a\"");
        Assert.Empty(server.Log.At(LogLevel.Warning));
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal(404, (await server.GetAsync($"{Path}/{await CreateAsync(server, $"\"input\":\"{text}\"")}")).Status);
        }

        Assert.Contains("StoredResponsesBytes is 4000", Assert.Single(server.Log.At(LogLevel.Warning)), StringComparison.Ordinal);
        Assert.Equal(200, (await server.GetAsync($"{Path}/{small}")).Status); // it did not have to make room
    }

    /// <summary>As deep as a request may be: what is kept stands a level deeper.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task WhatIsSaidBackIsKeptHoweverDeepItIs(bool streams)
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        string deep = string.Concat(Enumerable.Repeat("{\"a\":", 127)) + "1" + new string('}', 127), body = $$"""{"input":"a","metadata":{{deep}},"stream":{{(streams ? "true" : "false")}}}""";
        JsonElement created = streams ? JsonElement.Parse((await server.StreamAsync(Path, body))[^1].Data, new JsonDocumentOptions { MaxDepth = 200 }).GetProperty("response") : (await server.AskAsync(Path, body)).Body;
        (int status, JsonElement kept) = await server.GetAsync($"{Path}/{created.GetProperty("id").GetString()}");
        Assert.Equal((200, deep), (status, kept.GetProperty("metadata").GetRawText()));
        Assert.Equal(200, (await server.AskAsync(Path, $$"""{"input":"b","previous_response_id":"{{created.GetProperty("id").GetString()}}"}""")).Status);
        Assert.Empty(server.Log.At(LogLevel.Error));
    }

    /// <summary>Clients go on as soon as they have read that a response is complete, without waiting for the end of the stream.</summary>
    [Fact]
    public async Task AStreamedResponseIsKeptBeforeItIsSaidToBeComplete()
    {
        await using ModelServer server = await ModelServer.StartAsync(services => services.AddSingleton<IDistributedCache>(new HinderedCache(() => Task.Delay(200))).AddChatClient(new ScriptedChatClient(_ => ["Hi"])));
        using HttpResponseMessage response = await server.PostAsync(Path, """{"input":"a","stream":true}""");
        int ends = 0;
        await foreach (SseItem<string> item in SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync())
        {
            if (item.EventType == "response.completed")
            {
                string id = JsonElement.Parse(item.Data).GetProperty("response").GetProperty("id").GetString()!;
                Assert.Equal(200, (await server.AskAsync(Path, $$"""{"input":"b","previous_response_id":"{{id}}"}""")).Status);
                ends++;
            }
        }

        Assert.Equal(1, ends);
    }

    /// <summary>Of an answer that was sent in part no other status can be said any more: its end says it.</summary>
    [Fact]
    public async Task AStreamedResponseThatCannotBeKeptFails()
    {
        await using ModelServer server = await ModelServer.StartAsync(services => services.AddSingleton<IDistributedCache>(new HinderedCache(() => throw new IOException("The disk is full."))).AddChatClient(new ScriptedChatClient(_ => ["Hi"])));
        using HttpResponseMessage response = await server.PostAsync(Path, """{"input":"a","stream":true}""");
        List<string> types = [];
        await foreach (SseItem<string> item in SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync())
        {
            types.Add(item.EventType);
        }

        Assert.Contains("response.output_text.done", types);
        Assert.DoesNotContain("response.completed", types);
        Assert.Equal(["error", "response.failed"], types[^2..]);
        Assert.Contains(server.Log.At(LogLevel.Error), line => line.Contains("The disk is full.", StringComparison.Ordinal));
        (int status, _) = await server.AskAsync(Path, """{"input":"a"}""");
        Assert.Equal(500, status);
    }

    /// <summary>What asks in the background is gone by then, so the log is the only place to say it.</summary>
    [Fact]
    public async Task ABackgroundResponseThatCannotBeKeptIsAnErrorInTheLog()
    {
        await using ModelServer server = await ModelServer.StartAsync(services => services.AddSingleton<IDistributedCache>(new HinderedCache(() => throw new IOException("The disk is full."))).AddChatClient(new ScriptedChatClient(_ => ["Hi"])));
        string id = await CreateAsync(server, "\"input\":\"a\",\"background\":true");
        await Eventually.IsTrueAsync(() => server.Log.At(LogLevel.Error).Any(line => line.Contains("The disk is full.", StringComparison.Ordinal)));
        await Eventually.IsTrueAsync(async () => (await server.GetAsync($"{Path}/{id}")).Status == 404); // it has ended
    }

    /// <summary>A response in the background ends with the application at the latest: nothing of those that have ended may hang on that.</summary>
    [Fact]
    public void AResponseThatHasEndedIsNotHeldByTheApplication()
    {
        using CancellationTokenSource application = new();
        WeakReference held = Run(application.Token);
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        Assert.False(held.IsAlive);
        application.Cancel();

        [MethodImpl(MethodImplOptions.NoInlining)]
        static WeakReference Run(CancellationToken stopped)
        {
            object listener = new();
            RunningResponse running = new("key", null!, stopped, static () => { });
            running.Token.Register(static listener => GC.KeepAlive(listener), listener); // as an answer would, for as long as its token lives
            running.Dispose();
            return new(listener);
        }
    }

    /// <summary>The application's own cache, where it has one.</summary>
    [Fact]
    public async Task TheApplicationsCacheIsUsed()
    {
        MemoryDistributedCache cache = new(Options.Create(new MemoryDistributedCacheOptions()));
        string id;
        await using (ModelServer server = await StartAsync())
        {
            id = await CreateAsync(server, "\"input\":\"a\"");
        }

        await using ModelServer another = await StartAsync(); // another process would do
        Assert.Equal(200, (await another.AskAsync(Path, $$"""{"input":"b","previous_response_id":"{{id}}"}""")).Status);

        Task<ModelServer> StartAsync() => ModelServer.StartAsync(services => services.AddSingleton<IDistributedCache>(cache).AddChatClient(new ScriptedChatClient(_ => ["Hi"])));
    }

    /// <summary>Nothing that leads to a response finds another caller's, also where a name is put together so that it could pass for another's.</summary>
    [Fact]
    public async Task CallersFindOnlyTheirOwn()
    {
        TaskCompletionSource<object> never = new();
        ScriptedChatClient client = new(conversation => conversation[^1].Text == "wait" ? ["Well", never.Task] : ["Hi"]);
        await using ModelServer server = await ModelServer.StartAsync(services => services.AddChatClient(client), app =>
        {
            app.Use((http, next) =>
            {
                if (http.Request.Headers["x-name"] is [{ } name])
                {
                    http.User = new ClaimsPrincipal(new ClaimsIdentity([new(ClaimTypes.NameIdentifier, name)], "test"));
                }

                return next(http);
            });
            app.MapOpenAI();
        });
        foreach ((string owner, string? other) in ((string, string?)[])[("ann", "bob"), ("ann", null), ("ann:x", "ann"), ("", "ann")])
        {
            As(owner);
            string kept = await CreateAsync(server, "\"input\":\"a\""), running = await CreateAsync(server, "\"input\":\"wait\",\"background\":true");
            As(other);
            foreach (string id in (string[])[kept, running, $"x:{kept}", $"ann:{kept}", $":{kept}"])
            {
                foreach ((HttpMethod method, string path) in ((HttpMethod, string)[])[(HttpMethod.Get, ""), (HttpMethod.Delete, ""), (HttpMethod.Post, "/cancel"), (HttpMethod.Get, "/input_items")])
                {
                    using HttpRequestMessage request = new(method, $"{Path}/{id}{path}") { Content = method == HttpMethod.Post ? new StringContent("{}", Encoding.UTF8, "application/json") : null };
                    using HttpResponseMessage response = await server.Http.SendAsync(request);
                    Assert.Equal(404, (int)response.StatusCode);
                }

                Assert.Equal(404, (await server.AskAsync(Path, $$"""{"input":"b","previous_response_id":"{{id}}"}""")).Status);
                Assert.Equal(404, (await server.AskAsync($"{Path}/input_tokens", $$"""{"input":"b","previous_response_id":"{{id}}"}""")).Status);
            }

            As(owner);
            Assert.Equal(200, (await server.GetAsync($"{Path}/{kept}")).Status);
            (int status, JsonElement cancelled) = await server.AskAsync($"{Path}/{running}/cancel", "{}");
            Assert.Equal((200, "cancelled"), (status, cancelled.GetProperty("status").GetString()));
        }

        void As(string? name)
        {
            server.Http.DefaultRequestHeaders.Remove("x-name");
            if (name is not null)
            {
                server.Http.DefaultRequestHeaders.Add("x-name", name);
            }
        }
    }

    [Fact]
    public async Task WhatIsNotToBeStoredIsNot()
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        Assert.Equal(404, (await server.GetAsync($"{Path}/{await CreateAsync(server, "\"input\":\"a\",\"store\":false")}")).Status);
    }

    /// <summary>Functions flat, as this API has them, and nested, as chat completions have them; what OpenAI itself runs is left out.</summary>
    [Theory]
    [InlineData("""{"type":"function","name":"f","description":"d","strict":STRICT,"parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}""")]
    [InlineData("""{"type":"function","function":{"name":"f","description":"d","strict":STRICT,"parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}}""")]
    public async Task FunctionsAreReadFlatAndNested(string tool)
    {
        ScriptedChatClient client = new(_ => ["Hi"]);
        await using ModelServer server = await ModelServer.StartAsync(client);
        string tools = $$"""[{"type":"web_search"},{{tool}},{"type":"file_search","vector_store_ids":["v"]},{"type":"mcp","server_label":"m","server_url":"https://mcp.example"},{"type":"code_interpreter","container":{"type":"auto"} },{"type":"function","name":"g"}]""".Replace("STRICT", "false", StringComparison.Ordinal);
        foreach ((string choice, ChatToolMode? mode) in ((string, ChatToolMode?)[])
            [("\"auto\"", ChatToolMode.Auto), ("\"required\"", ChatToolMode.RequireAny), ("\"none\"", ChatToolMode.None), ("null", null),
            ("""{"type":"function","name":"f"}""", ChatToolMode.RequireSpecific("f")), ("""{"type":"function","function":{"name":"f"}}""", ChatToolMode.RequireSpecific("f"))])
        {
            (int status, JsonElement body) = await server.AskAsync(Path, $$"""{"input":"a","tools":{{tools}},"tool_choice":{{choice}},"parallel_tool_calls":false}""");
            Assert.True(status == 200, body.GetRawText());
            ChatOptions options = client.Calls[^1].Options;
            Assert.Equal(["f", "g"], options.Tools!.Select(found => found.Name));
            AIFunctionDeclaration f = (AIFunctionDeclaration)options.Tools![0];
            Assert.Equal(("d", """{"type":"object","properties":{"x":{"type":"integer"}}}"""), (f.Description, f.JsonSchema.GetRawText()));
            Assert.Equal((mode, false), (options.ToolMode, options.AllowMultipleToolCalls));
            Assert.True(JsonElement.DeepEquals(JsonElement.Parse(tools), body.GetProperty("tools")), body.GetRawText()); // said back as they came
        }
    }

    /// <summary>What is strict is enforced in full, in either form: by the shipped model, which has no say.</summary>
    [Theory]
    [InlineData("""{"type":"function","name":"pick","strict":true,"parameters":SCHEMA}""")]
    [InlineData("""{"type":"function","function":{"name":"pick","strict":true,"parameters":SCHEMA}}""")]
    public async Task ARequiredCallComesAndWhatCannotBeEnforcedIsRefused(string tool)
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        (int status, JsonElement body) = await AskAsync("""{"type":"object","properties":{"city":{"enum":["Paris","Rome"]}},"required":["city"],"additionalProperties":false}""");
        Assert.True(status == 200, body.GetRawText());
        JsonElement call = body.GetProperty("output").EnumerateArray().Single(item => item.GetProperty("type").GetString() == "function_call");
        Assert.Equal(("pick", "completed"), (call.GetProperty("name").GetString(), call.GetProperty("status").GetString()));
        Assert.Contains(JsonElement.Parse(call.GetProperty("arguments").GetString()!).GetProperty("city").GetString(), (string[])["Paris", "Rome"]);
        (status, body) = await AskAsync("""{"type":"object","properties":{"city":{"type":"string","pattern":"(a)\\1"}}}""");
        Assert.Equal(400, status);
        Assert.Contains("/properties/city", body.GetRawText(), StringComparison.Ordinal);

        Task<(int Status, JsonElement Body)> AskAsync(string schema) => server.AskAsync(
            Path, $$"""{"input":"Which city?","tool_choice":"required","parallel_tool_calls":false,"tools":[{{tool.Replace("SCHEMA", schema, StringComparison.Ordinal)}}]}""");
    }

    [Theory]
    [InlineData("""{"type":"text"}""", null)]
    [InlineData("""{"type":"json_object"}""", @"^\s*\{")]
    [InlineData("""{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object","properties":{"a":{"const":1}},"required":["a"],"additionalProperties":false}}""", @"^\s*\{\s*""a""\s*:\s*1")]
    public async Task TheFormatOfTheTextIsKeptTo(string format, string? expected)
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        (int status, JsonElement body) = await server.AskAsync(Path, $$"""{"input":"Tell me something.","temperature":0,"max_output_tokens":200,"text":{"format":{{format}}} }""");
        Assert.True(status == 200, body.GetRawText());
        Assert.Matches(expected ?? ".", body.GetProperty("output")[0].GetProperty("content")[0].GetProperty("text").GetString()!);
        Assert.True(JsonElement.DeepEquals(JsonElement.Parse(format), body.GetProperty("text").GetProperty("format")), body.GetProperty("text").GetRawText());
        JsonElement usage = body.GetProperty("usage");
        Assert.True(usage.GetProperty("input_tokens_details").TryGetProperty("cached_tokens", out _) && usage.GetProperty("output_tokens_details").TryGetProperty("reasoning_tokens", out _));
    }

    [Theory]
    [InlineData("""{"input":"a","text":{"format":{"type":"yaml"}}}""", "text.format.type")]
    [InlineData("""{"input":"a","text":{"format":{"type":"json_schema","name":"n"}}}""", "text.format.schema")]
    [InlineData("""{"input":"a","tools":[5]}""", "tools[0]")]
    [InlineData("""{"input":"a","tools":[{"type":"function"}]}""", "tools[0]")]
    [InlineData("""{"input":"a","tool_choice":{"type":"function","name":"f"}}""", "tool_choice")]
    [InlineData("""{"input":"a","conversation":"conv_1"}""", "conversation")]
    [InlineData("""{"input":"a","prompt":{"id":"p"}}""", "prompt")]
    [InlineData("""{"input":"a","background":true,"stream":true}""", "background")]
    [InlineData("""{"input":"a","background":true,"store":false}""", "background")]
    [InlineData("""{"input":[{"type":"item_reference","id":"msg_1"}]}""", "input[0]")]
    [InlineData("""{"input":[{"type":"function_call_output","output":"a"}]}""", "input[0].call_id")]
    [InlineData("""{"input":[{"type":"unheard_of"}]}""", "input[0].type")]
    [InlineData("""{"input":[]}""", "input")]
    [InlineData("""{}""", "input")]
    public async Task WhatIsNoRequestIsRefusedWithThePlace(string body, string parameter)
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        (int status, JsonElement answer) = await server.AskAsync(Path, body);
        Assert.Equal((400, parameter), (status, answer.GetProperty("error").GetProperty("param").GetString()));
    }

    [Fact]
    public async Task ResultsOfCallsAreReadAndWhatOthersRanIsLeftOut()
    {
        ScriptedChatClient client = new(_ => ["Hi"]);
        await using ModelServer server = await ModelServer.StartAsync(client);
        (int status, JsonElement body) = await server.AskAsync(Path, """
            {"input":[{"role":"user","content":[{"type":"input_text","text":"a"}]},{"type":"reasoning","id":"rs_1","summary":[]},{"type":"web_search_call","id":"ws_1","status":"completed"},
              {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"x\":1}"},{"type":"function_call","call_id":"c2","name":"g","arguments":""},
              {"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"plain"}]},{"type":"function_call_output","call_id":"c1","output":"{\"y\":2}"}]}
            """);
        Assert.True(status == 200, body.GetRawText());
        IReadOnlyList<ChatMessage> messages = client.Calls[0].Messages;
        Assert.Equal(["user", "assistant", "tool", "tool"], messages.Select(message => message.Role.Value)); // both calls are one message, as they were generated
        Assert.Equal(["c1", "c2"], messages[1].Contents.OfType<FunctionCallContent>().Select(call => call.CallId));
        FunctionResultContent[] results = [.. messages.SelectMany(message => message.Contents).OfType<FunctionResultContent>()];
        Assert.Equal(("c2", "plain"), (results[0].CallId, results[0].Result));
        Assert.Equal(2, ((JsonElement)results[1].Result!).GetProperty("y").GetInt32());
    }

    [Fact]
    public async Task AStreamedResponseIsCancelledByItsId()
    {
        ScriptedChatClient client = new(_ => ["Well", new TaskCompletionSource<object>().Task]);
        await using ModelServer server = await ModelServer.StartAsync(client);
        using HttpResponseMessage streamed = await server.PostAsync(Path, """{"input":"a","stream":true}""");
        List<(string Type, JsonElement Data)> events = [];
        await foreach (SseItem<string> item in SseParser.Create(await streamed.Content.ReadAsStreamAsync()).EnumerateAsync())
        {
            events.Add((item.EventType, JsonElement.Parse(item.Data)));
            if (item.EventType == "response.output_text.delta")
            {
                string id = events[0].Data.GetProperty("response").GetProperty("id").GetString()!;
                Assert.Equal("in_progress", (await server.GetAsync($"{Path}/{id}")).Body.GetProperty("status").GetString());
                (int status, JsonElement cancelled) = await server.AskAsync($"{Path}/{id}/cancel", "{}");
                Assert.Equal((200, "cancelled"), (status, cancelled.GetProperty("status").GetString()));
                Assert.Equal("cancelled", (await server.GetAsync($"{Path}/{id}")).Body.GetProperty("status").GetString()); // and it is kept
            }
        }

        Assert.Equal(Enumerable.Range(0, events.Count), events.Select(item => item.Data.GetProperty("sequence_number").GetInt32()));
        Assert.Equal(("response.incomplete", "cancelled"), (events[^1].Type, events[^1].Data.GetProperty("response").GetProperty("status").GetString()));
        await client.Cancelled.Task.WaitAsync(TimeSpan.FromMinutes(1));
    }

    private static async Task<string> CreateAsync(ModelServer server, string members)
    {
        (int status, JsonElement body) = await server.AskAsync(Path, $"{{{members}}}");
        Assert.True(status == 200, body.GetRawText());
        return body.GetProperty("id").GetString()!;
    }

    /// <summary>A cache in memory that something comes before whenever it is to keep a value.</summary>
    private sealed class HinderedCache(Func<Task> beforeSet) : IDistributedCache
    {
        private readonly MemoryDistributedCache _cache = new(Options.Create(new MemoryDistributedCacheOptions()));

        public byte[]? Get(string key) => _cache.Get(key);

        public Task<byte[]?> GetAsync(string key, CancellationToken token = default) => _cache.GetAsync(key, token);

        public void Set(string key, byte[] value, DistributedCacheEntryOptions options) => throw new NotSupportedException();

        public async Task SetAsync(string key, byte[] value, DistributedCacheEntryOptions options, CancellationToken token = default)
        {
            await beforeSet();
            await _cache.SetAsync(key, value, options, token);
        }

        public void Refresh(string key) => _cache.Refresh(key);

        public Task RefreshAsync(string key, CancellationToken token = default) => _cache.RefreshAsync(key, token);

        public void Remove(string key) => _cache.Remove(key);

        public Task RemoveAsync(string key, CancellationToken token = default) => _cache.RemoveAsync(key, token);
    }
}
