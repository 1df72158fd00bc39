using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>What becomes of the members of a request, and of requests that are none.</summary>
public class ChatRequestTests
{
    private const string Path = "v1/chat/completions";
    private const string Hello = """{"messages":[{"role":"user","content":"Hello!"}]}""";

    private static string With(string members) => Hello[..^1] + "," + members + "}";

    [Fact]
    public async Task EveryOptionReachesTheModel()
    {
        ScriptedChatClient client = new(_ => ["Hi"]);
        await using ModelServer server = await ModelServer.StartAsync(client);
        (int status, _) = await server.AskAsync(Path, With("""
            "temperature":0.5,"top_p":0.25,"top_k":7,"frequency_penalty":0.125,"presence_penalty":-0.5,"seed":12345678901,"stop":["a","b"],"max_tokens":5,"max_completion_tokens":9,
            "parallel_tool_calls":false,"tool_choice":"required","min_p":0.0625,"repeat_penalty":1.5,"logit_bias":{"7":-100,"8":2.5},"user":"u",
            "tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}},{"type":"function","function":{"name":"g"}},{"type":"web_search"}],
            "response_format":{"type":"json_schema","json_schema":{"name":"n","description":"e","schema":{"type":"object"}}},
            "store":true,"service_tier":"auto","reasoning_effort":"low","metadata":{"a":"b"},"verbosity":"low","modalities":["text"],"unheard_of":{"x":[1]}
            """));
        Assert.Equal(200, status);
        ChatOptions options = client.Calls[0].Options;
        Assert.Equal((0.5f, 0.25f, 7), (options.Temperature, options.TopP, options.TopK));
        Assert.Equal((0.125f, -0.5f, 12345678901L), (options.FrequencyPenalty, options.PresencePenalty, options.Seed));
        Assert.Equal(["a", "b"], options.StopSequences!);
        Assert.Equal(9, options.MaxOutputTokens);
        Assert.False(options.AllowMultipleToolCalls);
        Assert.Equal(ChatToolMode.RequireAny, options.ToolMode);
        Assert.Equal(["f", "g"], options.Tools!.Select(tool => tool.Name)); // a tool that is no function is left out
        AIFunctionDeclaration f = (AIFunctionDeclaration)options.Tools![0];
        Assert.Equal(("d", """{"type":"object","properties":{"x":{"type":"integer"}}}"""), (f.Description, f.JsonSchema.GetRawText()));
        ChatResponseFormatJson format = (ChatResponseFormatJson)options.ResponseFormat!;
        Assert.Equal(("n", "e", """{"type":"object"}"""), (format.SchemaName, format.SchemaDescription, format.Schema!.Value.GetRawText()));
        Assert.Equal(1.5f, options.AdditionalProperties!["repetition_penalty"]);
        Dictionary<int, float> bias = (Dictionary<int, float>)options.AdditionalProperties!["logit_bias"]!;
        Assert.Equal((float.NegativeInfinity, 2.5f), (bias[7], bias[8]));
    }

    [Theory]
    [InlineData("\"none\"", "None")]
    [InlineData("\"auto\"", "Auto")]
    [InlineData("\"required\"", "RequireAny")]
    [InlineData("null", "")]
    [InlineData("""{"type":"function","function":{"name":"g"}}""", "g")]
    [InlineData("""{"type":"function","name":"g"}""", "g")]
    [InlineData("""{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}}""", "RequireAny of g")]
    public async Task ToolChoices(string choice, string expected)
    {
        ScriptedChatClient client = new(_ => ["Hi"]);
        await using ModelServer server = await ModelServer.StartAsync(client);
        await server.AskAsync(Path, With("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"function\",\"function\":{\"name\":\"g\"}}],\"tool_choice\":" + choice));
        ChatOptions options = client.Calls[0].Options;
        string mode = options.ToolMode switch
        {
            NoneChatToolMode => "None",
            AutoChatToolMode => "Auto",
            RequiredChatToolMode { RequiredFunctionName: { } name } => name,
            RequiredChatToolMode => "RequireAny",
            _ => "",
        };
        Assert.Equal(expected, options.Tools!.Count == 1 ? $"{mode} of {options.Tools[0].Name}" : mode);
    }

    [Fact]
    public async Task MessagesOfAllRolesAndFormsAreRead()
    {
        ScriptedChatClient client = new(_ => ["Hi"]);
        await using ModelServer server = await ModelServer.StartAsync(client);
        (int status, _) = await server.AskAsync(Path, """
            {"messages":[
              {"role":"developer","content":"Be brief."},{"role":"system","content":[{"type":"text","text":"Be kind."}]},
              {"role":"user","name":"ann","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
              {"role":"assistant","content":null,"refusal":null,"tool_calls":[
                {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"c2","type":"function","function":{"name":"g","arguments":""}}]},
              {"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"plain"}]},{"role":"tool","tool_call_id":"c1","content":"{\"y\":2}"},
              {"role":"assistant","content":"","audio":null},{"role":"user","content":"go on"}]}
            """);
        Assert.Equal(200, status);
        IReadOnlyList<ChatMessage> messages = client.Calls[0].Messages;
        Assert.Equal(["system", "system", "user", "assistant", "tool", "tool", "assistant", "user"], messages.Select(message => message.Role.Value));
        Assert.Equal(("ab", "ann"), (messages[2].Text, messages[2].AuthorName));
        FunctionCallContent[] calls = [.. messages[3].Contents.OfType<FunctionCallContent>()];
        Assert.Equal(["c1", "c2"], calls.Select(call => call.CallId));
        Assert.Equal(1, ((JsonElement)calls[0].Arguments!["x"]!).GetInt32());
        Assert.Empty(calls[1].Arguments!);
        FunctionResultContent[] results = [.. messages.SelectMany(message => message.Contents).OfType<FunctionResultContent>()];
        Assert.Equal(["c2", "c1"], results.Select(result => result.CallId));
        Assert.Equal("plain", results[0].Result);
        Assert.Equal(2, ((JsonElement)results[1].Result!).GetProperty("y").GetInt32()); // a value, as in process
    }

    /// <summary>Clients that put histories together themselves leave ids out or send null.</summary>
    [Fact]
    public async Task CallsAndResultsWithoutIdsBelongTogetherInTheirOrder()
    {
        ScriptedChatClient client = new(_ => ["Hi"]);
        await using ModelServer server = await ModelServer.StartAsync(client);
        (int status, _) = await server.AskAsync(Path, """
            {"messages":[{"role":"user","content":"a"},
              {"role":"assistant","tool_calls":[{"id":null,"type":"function","function":{"name":"f","arguments":{"x":1}}},{"function":{"name":"g","arguments":null}}]},
              {"role":"tool","tool_call_id":null,"content":"1"},{"role":"tool","content":"2"}]}
            """);
        Assert.Equal(200, status);
        AIContent[] contents = [.. client.Calls[0].Messages.SelectMany(message => message.Contents)];
        Assert.Equal(contents.OfType<FunctionCallContent>().Select(call => call.CallId), contents.OfType<FunctionResultContent>().Select(result => result.CallId));
        Assert.Equal(2, contents.OfType<FunctionCallContent>().Select(call => call.CallId).Distinct().Count());
    }

    [Fact]
    public async Task ALastMessageOfTheAssistantIsContinued()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        (_, JsonElement whole) = await server.AskAsync(Path, """{"messages":[{"role":"user","content":"Hello! Who are you?"}],"temperature":0,"max_tokens":40}""");
        string text = Content(whole);
        string beginning = text[..(text.Length / 2)];
        beginning = beginning[..beginning.LastIndexOf(' ')];
        (_, JsonElement rest) = await server.AskAsync(Path, $$"""{"messages":[{"role":"user","content":"Hello! Who are you?"},{"role":"assistant","content":{{JsonSerializer.Serialize(beginning)}}}],"temperature":0,"max_tokens":40}""");
        Assert.StartsWith(text[beginning.Length..], Content(rest), StringComparison.Ordinal);
    }

    [Fact]
    public async Task SeveralAnswersDrawBySeedsOfTheirOwnAndCostOnePrompt()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        string body = """{"messages":[{"role":"user","content":"Tell me something."}],"temperature":1.5,"top_k":0,"top_p":1,"max_tokens":12,"n":3,"seed":5}""";
        (_, JsonElement first) = await server.AskAsync(Path, body);
        (_, JsonElement second) = await server.AskAsync(Path, body);
        string[] texts = [.. first.GetProperty("choices").EnumerateArray().Select(choice => choice.GetProperty("message").GetProperty("content").GetString()!)];
        Assert.Equal([0, 1, 2], first.GetProperty("choices").EnumerateArray().Select(choice => choice.GetProperty("index").GetInt32()));
        Assert.True(texts.Distinct().Count() > 1, string.Join(" | ", texts));
        Assert.Equal(texts, second.GetProperty("choices").EnumerateArray().Select(choice => choice.GetProperty("message").GetProperty("content").GetString()!));
        Assert.True(first.GetProperty("usage").GetProperty("completion_tokens").GetInt32() > 12);
        (_, JsonElement one) = await server.AskAsync(Path, body.Replace("\"n\":3,", ""));
        Assert.Equal(one.GetProperty("usage").GetProperty("prompt_tokens").GetInt32(), first.GetProperty("usage").GetProperty("prompt_tokens").GetInt32());
        Assert.Equal(texts[0], Content(one));

        string[] streamed = ["", "", ""];
        foreach (string data in (await server.StreamAsync(Path, body[..^1] + ",\"stream\":true}")).Select(item => item.Data).Where(data => data != "[DONE]"))
        {
            foreach (JsonElement choice in JsonElement.Parse(data).GetProperty("choices").EnumerateArray())
            {
                streamed[choice.GetProperty("index").GetInt32()] += choice.GetProperty("delta").TryGetProperty("content", out JsonElement content) ? content.GetString() : "";
            }
        }

        Assert.Equal(texts, streamed);
    }

    [Theory]
    [InlineData("\"regex\":\"(yes|no){3}\"", "^(yes|no){3}$")]
    [InlineData("\"grammar\":\"root ::= \\\"ab\\\" [0-9] [0-9]\"", "^ab[0-9][0-9]$")]
    [InlineData("\"response_format\":{\"type\":\"json_object\"},\"max_tokens\":300", @"^\s*\{")]
    [InlineData("\"stop\":\"e\"", "^[^e]*$")]
    public async Task TheFormOfAnAnswerIsKeptTo(string members, string expected)
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        (int status, JsonElement body) = await server.AskAsync(Path, With(members + ",\"temperature\":1"));
        Assert.Equal(200, status);
        Assert.Matches(expected, Content(body));
    }

    /// <summary>Values are compared, not letters: a drawn answer may spell 1 as 1.0, or a name with escapes.</summary>
    [Fact]
    public async Task ASchemaBesideJsonModeIsKeptTo()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        (int status, JsonElement body) = await server.AskAsync(Path, With("""
            "temperature":1,"response_format":{"type":"json_object","schema":{"type":"object","properties":{"a":{"const":1}},"required":["a"],"additionalProperties":false}}
            """));
        Assert.Equal(200, status);
        Assert.True(JsonElement.DeepEquals(JsonElement.Parse("""{"a":1}"""), JsonElement.Parse(Content(body)!)), Content(body));
    }

    [Fact]
    public async Task TheCallerIsTheUserOfWhoeverAsks()
    {
        List<string?> callers = [];
        await using ModelServer server = await ModelServer.StartNanoAsync(services => services.AddSingleton(callers), app =>
        {
            app.Use((http, next) =>
            {
                if (http.Request.Headers["x-name"] is [{ } name])
                {
                    http.User = new System.Security.Claims.ClaimsPrincipal(new System.Security.Claims.ClaimsIdentity([new(System.Security.Claims.ClaimTypes.NameIdentifier, name)], "test"));
                }

                callers.Add(Gemma.Extensions.AI.AspNetCore.Http.Caller.Of(http, "ann"));
                callers.Add(Gemma.Extensions.AI.AspNetCore.Http.Caller.Of(http));
                return next(http);
            });
            app.MapOpenAI();
        });
        (await server.Http.GetAsync("v1/models")).Dispose();
        server.Http.DefaultRequestHeaders.Add("x-name", "key-1");
        (await server.Http.GetAsync("v1/models")).Dispose();
        Assert.Equal(["127.0.0.1/ann", "127.0.0.1", "key-1/ann", "key-1"], callers);
    }

    [Theory]
    [InlineData("{", 400, null)]
    [InlineData("[]", 400, null)]
    [InlineData("null", 400, null)]
    [InlineData("", 400, null)]
    [InlineData("{}", 400, "messages")]
    [InlineData("""{"messages":[]}""", 400, "messages")]
    [InlineData("""{"messages":[null]}""", 400, "messages[0].role")]
    [InlineData("""{"messages":[{"content":"a"}]}""", 400, "messages[0].role")]
    [InlineData("""{"messages":[{"role":"wizard","content":"a"}]}""", 400, "messages[0].role")]
    [InlineData("""{"messages":[{"role":"user"}]}""", 400, "messages[0].content")]
    [InlineData("""{"messages":[{"role":"user","content":5}]}""", 400, "messages[0].content")]
    [InlineData("""{"messages":[{"role":"user","content":[{"type":"video"}]}]}""", 400, "messages[0].content[0].type")]
    [InlineData("""{"messages":[{"role":"tool","content":"a"}]}""", 400, "messages[0].tool_call_id")]
    [InlineData("""{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}]}""", 400, "messages[0].tool_calls[0].function.arguments")]
    [InlineData("""{"messages":[{"role":"user","content":"\ud83d"}]}""", 400, null)]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"temperature":"hot"}""", 400, "temperature")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"n":0}""", 400, "n")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"n":100000}""", 400, "n")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"top_logprobs":5}""", 400, "top_logprobs")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"logprobs":true,"top_logprobs":21}""", 400, "top_logprobs")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"logit_bias":{"x":1}}""", 400, "logit_bias")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"logit_bias":{"1":101}}""", 400, "logit_bias")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"tool_choice":"maybe"}""", 400, "tool_choice")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"tool_choice":{"type":"function","function":{"name":"f"}}}""", 400, "tool_choice")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{}}]}""", 400, "tools[0].function")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"yaml"}}""", 400, "response_format.type")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema"}}""", 400, "response_format.json_schema.schema")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"functions":[]}""", 400, "functions")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"modalities":["audio"]}""", 400, "modalities")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}],"stop":[1]}""", 400, "stop")]
    public async Task WhatIsNoRequestIsRefusedWithThePlace(string body, int expected, string? parameter)
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        (int status, JsonElement answer) = await server.AskAsync(Path, body);
        JsonElement error = answer.GetProperty("error");
        Assert.Equal((expected, "invalid_request_error"), (status, error.GetProperty("type").GetString()));
        Assert.Equal(parameter, parameter is null ? null : error.GetProperty("param").GetString());
        Assert.DoesNotContain("System.", error.GetProperty("message").GetString(), StringComparison.Ordinal);
        (status, _) = await server.AskAsync(Path, Hello);
        Assert.Equal(200, status);
    }

    [Theory]
    [InlineData("\"temperature\":-1")]
    [InlineData("\"top_p\":2")]
    [InlineData("\"max_tokens\":0")]
    [InlineData("\"regex\":\"(\"")]
    [InlineData("\"grammar\":\"root = \"")]
    [InlineData("\"logit_bias\":{\"99999999\":1}")]
    public async Task WhatTheModelRefusesIsTheClientsError(string members)
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        foreach (string stream in (string[])["false", "true"])
        {
            (int status, JsonElement answer) = await server.AskAsync(Path, With($"{members},\"stream\":{stream}"));
            Assert.Equal(400, status);
            string message = answer.GetProperty("error").GetProperty("message").GetString()!;
            Assert.DoesNotContain("(Parameter", message, StringComparison.Ordinal);
            Assert.DoesNotContain("Actual value", message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task AStrictSchemaThatCannotBeEnforcedIsRefusedAndAnotherIsKeptToAsFarAsItCanBe()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        string schema = """{"type":"object","properties":{"a":{"const":1},"b":{"type":"array","maxItems":1,"items":{"const":2},"uniqueItems":true,"contains":{"pattern":"(a)\\1"}}},"required":["a"]}""";
        string body = With("\"max_tokens\":60,\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"strict\":true,\"schema\":" + schema + "}}");
        (int status, JsonElement refused) = await server.AskAsync(Path, body);
        Assert.Equal(400, status);
        Assert.Contains("/properties/b", refused.GetRawText(), StringComparison.Ordinal);
        (status, JsonElement answer) = await server.AskAsync(Path, body.Replace("true", "false"));
        Assert.Equal(200, status);
        Assert.Equal(1, JsonElement.Parse(Content(answer)).GetProperty("a").GetInt32());
    }

    [Fact]
    public async Task AConversationOverTheContextIs400WithOpenAIsCode()
    {
        await using ModelServer server = await ModelServer.StartAsync(services => services.AddGemmaChatClient(options =>
        {
            options.ModelPath = "nano";
            options.ContextLength = 64;
        }));
        (int status, JsonElement answer) = await server.AskAsync(Path, $$"""{"messages":[{"role":"user","content":"{{string.Join(' ', Enumerable.Repeat("river", 200))}}"}]}""");
        Assert.Equal((400, "context_length_exceeded"), (status, answer.GetProperty("error").GetProperty("code").GetString()));
    }

    [Fact]
    public async Task AFullQueueIs429AndSaysWhenToComeBack()
    {
        await using ModelServer server = await ModelServer.StartAsync(services => services.AddGemmaChatClient(options =>
        {
            options.ModelPath = "nano";
            options.MaxConcurrentRequests = 1;
            options.MaxQueuedRequests = 1;
        }));
        using CancellationTokenSource enough = new();
        string endless = With("\"stream\":true,\"regex\":\"[a-z ]{5000}\"");
        using HttpResponseMessage running = await server.PostAsync(Path, endless, enough.Token);
        Task<HttpResponseMessage> waiting = server.PostAsync(Path, endless, enough.Token);
        GemmaModel model = server.Services.GetRequiredService<IChatClient>().GetService<GemmaModel>()!;
        await Eventually.IsTrueAsync(() => model.Engine.Status is { Running: 1, Waiting: 1 });
        HttpResponseMessage refused = await server.PostAsync(Path, With("\"max_tokens\":1"), enough.Token);
        Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
        Assert.InRange(int.Parse(refused.Headers.GetValues("Retry-After").Single(), CultureInfo.InvariantCulture), 1, 60);
        Assert.Equal("rate_limit_error", JsonElement.Parse(await refused.Content.ReadAsStringAsync()).GetProperty("error").GetProperty("type").GetString());
        refused.Dispose();
        await enough.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ABodyOverTheLimitIs413(bool chunked)
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]), options => options.Set(o => o.MaxRequestBodySize = 1000));
        using HttpRequestMessage request = new(HttpMethod.Post, Path) { Content = new StringContent(With($"\"user\":\"{new string('x', 2000)}\""), Encoding.UTF8, "application/json") };
        request.Headers.TransferEncodingChunked = chunked;
        using HttpResponseMessage response = await server.Http.SendAsync(request);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, response.StatusCode);
        (int status, _) = await server.AskAsync(Path, Hello);
        Assert.Equal(200, status);
    }

    [Theory]
    [InlineData(100, 200)]
    [InlineData(200, 400)]
    [InlineData(100_000, 400)]
    public async Task DeepJsonIsRefused(int depth, int expected)
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        string deep = new string('[', depth) + new string(']', depth);
        (int status, _) = await server.AskAsync(Path, With($"\"metadata\":{deep}"));
        Assert.Equal(expected, status);
        (status, _) = await server.AskAsync(Path, With("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"x\":" + deep + "}}}]"));
        Assert.Equal(expected, status);
    }

    [Fact]
    public async Task ABodyThatDoesNotComeIs408()
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]), options => options.Set(o => o.RequestBodyTimeout = TimeSpan.FromMilliseconds(100)));
        using TcpClient tcp = new(server.Address.Host, server.Address.Port);
        await tcp.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"POST /{Path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"));
        using StreamReader reader = new(tcp.GetStream());
        Assert.Equal("HTTP/1.1 408 Request Timeout", await reader.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(1)));
    }

    [Fact]
    public async Task AClientThatDoesNotReadIsCutOff()
    {
        string much = new('x', 100_000);
        ScriptedChatClient client = new(_ => Enumerable.Repeat<object>(Task.FromResult<object>(much), 1000)); // without a wait between them
        await using ModelServer server = await ModelServer.StartAsync(client, options => options.Set(o => o.SlowClientTimeout = TimeSpan.FromMilliseconds(200)));
        using TcpClient tcp = new(server.Address.Host, server.Address.Port);
        byte[] body = Encoding.UTF8.GetBytes(With("\"stream\":true"));
        await tcp.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"POST /{Path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\n\r\n"));
        await tcp.GetStream().WriteAsync(body);
        await client.Cancelled.Task.WaitAsync(TimeSpan.FromMinutes(1));
    }

    [Theory]
    [InlineData("text/plain", 415)]
    [InlineData("application/x-www-form-urlencoded", 415)]
    [InlineData("application/json; charset=utf-8", 200)]
    [InlineData("application/vnd.api+json", 200)]
    public async Task OnlyJsonIsRead(string contentType, int expected)
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        using StringContent content = new(Hello);
        content.Headers.ContentType = System.Net.Http.Headers.MediaTypeHeaderValue.Parse(contentType);
        using HttpResponseMessage response = await server.Http.PostAsync(Path, content);
        Assert.Equal(expected, (int)response.StatusCode);
    }

    [Theory]
    [InlineData("stop", "stop")]
    [InlineData("length", "length")]
    [InlineData("tool_calls", "tool_calls")]
    [InlineData("content_filter", "content_filter")]
    [InlineData("eos", "stop")]
    [InlineData("max_turns", "stop")]
    public async Task OnlyFinishReasonsThatOpenAIHas(string said, string expected)
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi", new ChatFinishReason(said)]));
        (_, JsonElement body) = await server.AskAsync(Path, Hello);
        Assert.Equal(expected, body.GetProperty("choices")[0].GetProperty("finish_reason").GetString());
        string last = (await server.StreamAsync(Path, With("\"stream\":true")))[^2].Data;
        Assert.Equal(expected, JsonElement.Parse(last).GetProperty("choices")[0].GetProperty("finish_reason").GetString());
    }

    private static string Content(JsonElement completion) => completion.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!;
}
