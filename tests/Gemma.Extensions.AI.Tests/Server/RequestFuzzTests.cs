using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>Bodies that were right once: values of other kinds, members gone or doubled, bytes changed. Whatever comes is answered or refused as the client's mistake. GEMMA_FUZZ sets how many.</summary>
public class RequestFuzzTests
{
    private static readonly int s_bodies = int.TryParse(Environment.GetEnvironmentVariable("GEMMA_FUZZ"), NumberStyles.None, CultureInfo.InvariantCulture, out int bodies) ? bodies : 150;

    /// <summary>Values that a member may have instead of its own.</summary>
    private static readonly string[] s_values =
    [
        "null", "true", "false", "0", "-1", "1", "0.5", "1e400", "-1e400", "1e-400", "9223372036854775808", "2147483648", "-2147483649", "NaN", "\"\"", "\"a\"", "\"\\ud83d\"", "\"\\u0000\"", "\"2\"", "[]", "{}",
        "[null]", "[[]]", "[{}]", "{\"\":null}", "{\"type\":null}", "{\"type\":\"function\"}", "{\"type\":\"text\"}", "[1,\"a\",null]", "\"data:image/png;base64,AAAA\"", "\"5m\"", "\"-1\"", "\"@\"", "\"any@\"",
    ];

    private static readonly Dictionary<string, (string Path, string[] Bodies)> s_apis = new()
    {
        ["chat"] = ("v1/chat/completions",
        [
            """
            {"model":"any","messages":[{"role":"system","content":"Be brief."},{"role":"user","name":"ann","content":[{"type":"text","text":"Hi"}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
             {"role":"tool","tool_call_id":"c","content":"1"}],"tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,"parameters":{"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]}}}],
             "tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,"max_tokens":2}
            """,
            """
            {"model":"any","messages":[{"role":"user","content":"Hi"}],"temperature":0.5,"top_p":0.9,"top_k":5,"min_p":0.1,"n":2,"seed":3,"stop":["x"],"max_completion_tokens":2,"logprobs":true,"top_logprobs":2,"logit_bias":{"5":1},
             "frequency_penalty":0.1,"presence_penalty":0.1,"repeat_penalty":1.1,"user":"u","stream":true,"stream_options":{"include_usage":true},"metadata":{"a":"b"}}
            """,
            """{"messages":[{"role":"user","content":"Hi"}],"max_tokens":2,"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","properties":{"a":{"enum":["x",1]}},"required":["a"]}}}}""",
            """{"messages":[{"role":"user","content":"Hi"}],"max_tokens":2,"grammar":"root ::= [a-c]{1,3}"}""",
            """{"messages":[{"role":"user","content":"Hi"}],"max_tokens":2,"regex":"(yes|no)+","modalities":["text"]}""",
        ]),
        ["responses"] = ("v1/responses",
        [
            """
            {"model":"any","instructions":"Be brief.","input":[{"role":"user","content":[{"type":"input_text","text":"Hi"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"1"},
             {"type":"reasoning","id":"r","summary":[]}],"tools":[{"type":"function","name":"f","strict":true,"parameters":{"type":"object","properties":{}}},{"type":"function","function":{"name":"g"}},{"type":"web_search"}],
             "tool_choice":"auto","max_output_tokens":2,"metadata":{"a":"b"},"include":["message.output_text.logprobs"],"top_logprobs":1}
            """,
            """{"input":"Hi","max_output_tokens":2,"stream":true,"store":false,"temperature":0,"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object","properties":{"a":{"const":1}}},"strict":true}},"previous_response_id":null}""",
        ]),
        ["completions"] = ("v1/completions",
        [
            """{"model":"any","prompt":["Hi","Ho"],"max_tokens":2,"n":2,"echo":false,"logprobs":2,"stop":"x","seed":1,"temperature":0.5,"stream":true,"best_of":null,"suffix":null,"stream_options":{"include_usage":true}}""",
            """{"prompt":[2,5,6],"max_tokens":2,"echo":true}""",
        ]),
        ["embeddings"] = ("v1/embeddings", ["""{"model":"any","input":["a","b"],"encoding_format":"base64","dimensions":16,"input_type":"query","user":"u"}""", """{"input":[[2,5],[7]],"encoding_format":"float"}"""]),
        ["rerank"] = ("v1/rerank", ["""{"model":"any","query":"a","documents":["a",{"text":"b"}],"top_n":1,"return_documents":true}"""]),
        ["tokenize"] = ("v1/tokenize", ["""{"content":"a","add_special":true,"parse_special":false,"with_pieces":true}""", """{"messages":[{"role":"user","content":"Hi"}],"tools":[{"type":"function","function":{"name":"f"}}]}"""]),
        ["detokenize"] = ("v1/detokenize", ["""{"model":"any","tokens":[2,5,6]}"""]),
        ["ollama chat"] = ("api/chat",
        [
            """
            {"model":"any:latest","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi","images":[]},{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]},{"role":"tool","tool_name":"f","content":"1"}],
             "tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}}],"stream":false,"keep_alive":"5m",
             "options":{"num_predict":2,"temperature":0.5,"top_k":5,"top_p":0.9,"min_p":0.1,"seed":1,"stop":["x"],"repeat_penalty":1.1,"repeat_last_n":64,"num_ctx":128,"mirostat":0},"think":false,"logprobs":true,"top_logprobs":1}
            """,
            """{"model":"any","messages":[{"role":"user","content":"Hi"}],"options":{"num_predict":2},"format":{"type":"object","properties":{"a":{"const":1}},"required":["a"]},"keep_alive":300}""",
        ]),
        ["ollama generate"] = ("api/generate", ["""{"model":"any","prompt":"Hi","system":"s","suffix":"","template":"","context":[],"raw":false,"stream":true,"images":[],"format":"json","options":{"num_predict":2},"keep_alive":-1}"""]),
        ["ollama embed"] = ("api/embed", ["""{"model":"any","input":["a","b"],"truncate":true,"dimensions":16,"options":{},"keep_alive":"1h"}"""]),
        ["ollama show"] = ("api/show", ["""{"model":"any","verbose":true}"""]),
        ["anthropic"] = ("v1/messages",
        [
            """
            {"model":"any","max_tokens":2,"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]},
             {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"tool_use","id":"t1","name":"f","input":{"x":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"1"}],"is_error":false}]}],
             "tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{"x":{"type":"integer"}}}},{"type":"web_search_20250305","name":"web_search"}],"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true},
             "temperature":0.5,"top_p":0.9,"top_k":5,"stop_sequences":["x"],"metadata":{"user_id":"u"},"stream":true,"thinking":{"type":"disabled"}}
            """,
            """{"model":"any","max_tokens":2,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Well"}],"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"const":1}}}}}}""",
        ]),
        ["anthropic count"] = ("v1/messages/count_tokens", ["""{"model":"any","system":"s","messages":[{"role":"user","content":"Hi"}],"tools":[{"name":"f","input_schema":{"type":"object"}}]}"""]),
    };

    public static TheoryData<string> Apis => [.. s_apis.Keys];

    [Theory]
    [MemberData(nameof(Apis))]
    public async Task NoBodyIsTheServersErrorOrHangs(string name)
    {
        (string path, string[] bodies) = s_apis[name];
        await using ModelServer server = await ModelServer.StartAsync(
            services => services.AddGemmaChatClient(options => (options.ModelPath, options.ContextLength, options.MaxQueuedRequests) = ("nano", 128, 64))
                .ConfigureOptions(options => options.MaxOutputTokens = Math.Min(options.MaxOutputTokens ?? 2, 2)), // so that no number makes an answer long
            ApiForm.MapAll);
        foreach (string body in bodies)
        {
            int status = await StatusAsync(server, path, Encoding.UTF8.GetBytes(body));
            Assert.True(status == 200, $"{status}: {body}"); // what the changes begin with is right
        }

        Random random = new(name.Length);
        Dictionary<int, int> seen = [];
        for (int i = 0; i < s_bodies; i++)
        {
            string body = bodies[random.Next(bodies.Length)];
            byte[] changed = random.Next(3) == 0 ? ChangeBytes(Encoding.UTF8.GetBytes(body), random) : Encoding.UTF8.GetBytes(ChangeMembers(body, random));
            int status = await StatusAsync(server, path, changed);
            Assert.True(status is 200 or 400 or 404, $"{status}: {Encoding.UTF8.GetString(changed)}\n{string.Join('\n', server.Log.At(LogLevel.Error))}");
            seen[status] = seen.GetValueOrDefault(status) + 1;
        }

        Assert.Empty(server.Log.At(LogLevel.Error));
        Assert.Empty(server.Log.At(LogLevel.Critical));
        Assert.True(seen.GetValueOrDefault(400) > s_bodies / 10, string.Join(", ", seen)); // the changes do change something
        Assert.Equal(200, await StatusAsync(server, path, Encoding.UTF8.GetBytes(bodies[0])));
    }

    /// <summary>The status, where a stream that has an error in it counts as what the error is. Whatever is answered is whole and JSON.</summary>
    private static async Task<int> StatusAsync(ModelServer server, string path, byte[] body)
    {
        using ByteArrayContent content = new(body);
        content.Headers.ContentType = new("application/json");
        using HttpResponseMessage response = await server.Http.PostAsync(path, content).WaitAsync(TimeSpan.FromMinutes(1));
        string text = await response.Content.ReadAsStringAsync().WaitAsync(TimeSpan.FromMinutes(1));
        string[] pieces = response.Content.Headers.ContentType?.MediaType switch
        {
            "text/event-stream" => [.. text.Split('\n').Where(static line => line.StartsWith("data: ", StringComparison.Ordinal) && line != "data: [DONE]").Select(static line => line[6..])],
            "application/x-ndjson" => text.TrimEnd('\n').Split('\n'),
            _ => [text],
        };
        foreach (string piece in pieces)
        {
            JsonElement parsed = JsonElement.Parse(piece);
            if (response.IsSuccessStatusCode && parsed.ValueKind == JsonValueKind.Object && parsed.TryGetProperty("error", out JsonElement error) && error.ValueKind != JsonValueKind.Null)
            {
                return error.GetRawText().Contains("invalid_request", StringComparison.Ordinal) || path.StartsWith("api/", StringComparison.Ordinal) ? 400 : 500;
            }
        }

        return (int)response.StatusCode;
    }

    private static byte[] ChangeBytes(byte[] body, Random random)
    {
        List<byte> bytes = [.. body];
        for (int i = random.Next(1, 4); i > 0 && bytes.Count > 0; i--)
        {
            int at = random.Next(bytes.Count);
            switch (random.Next(4))
            {
                case 0:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 1:
                    bytes.RemoveAt(at);
                    break;
                case 2:
                    bytes.Insert(at, (byte)"\"{}[],:0\\u"[random.Next(10)]);
                    break;
                default:
                    bytes.RemoveRange(at, Math.Min(bytes.Count - at, random.Next(20)));
                    break;
            }
        }

        return [.. bytes];
    }

    /// <summary>A member or item is gone, doubled, or has another value.</summary>
    private static string ChangeMembers(string body, Random random)
    {
        const string Mark = "\"@mark@\"";
        JsonNode root = JsonNode.Parse(body)!;
        for (int i = random.Next(1, 4); i > 0; i--)
        {
            List<JsonNode> all = [];
            Collect(root, all);
            if (all.Count == 0)
            {
                break;
            }

            JsonNode place = all[random.Next(all.Count)];
            if (place.Parent is JsonObject parent)
            {
                string name = place.GetPropertyName();
                _ = random.Next(5) == 0 ? parent.Remove(name) : Set(() => parent[random.Next(8) == 0 ? $"{name}x" : name] = "@mark@");
            }
            else if (place.Parent is JsonArray list)
            {
                int at = place.GetElementIndex();
                switch (random.Next(3))
                {
                    case 0:
                        list.RemoveAt(at);
                        break;
                    case 1:
                        list.Insert(at, place.DeepClone());
                        break;
                    default:
                        list[at] = "@mark@";
                        break;
                }
            }
        }

        StringBuilder text = new(root.ToJsonString());
        while (text.ToString().IndexOf(Mark, StringComparison.Ordinal) is >= 0 and int found)
        {
            text.Remove(found, Mark.Length).Insert(found, s_values[random.Next(s_values.Length)]);
        }

        return text.ToString();

        static bool Set(Action set)
        {
            set();
            return true;
        }
    }

    private static void Collect(JsonNode? node, List<JsonNode> all)
    {
        foreach (JsonNode? child in node switch { JsonObject members => members.Select(static member => member.Value), JsonArray items => items, _ => [] })
        {
            if (child is not null)
            {
                all.Add(child);
                Collect(child, all);
            }
        }
    }
}
