using System.Diagnostics;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Tests.Server;

namespace Gemma.Extensions.AI.Tests.AheadOfTime;

/// <summary>The server of tests/Gemma.Extensions.AI.AotServer, for the oldest processors: it answers as the one that is compiled at run time.</summary>
[Collection(AheadOfTimeCollection.Name)]
public sealed class ServerTests(ServerTests.Server server) : IClassFixture<ServerTests.Server>
{
    [Fact]
    public async Task PublishedAheadOfTimeTheServerAnswersByAllApis()
    {
        server.SkipOrFail();
        using Process process = Process.Start(new ProcessStartInfo(server.Program) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        Task<string> log = Task.FromResult("");
        try
        {
            Task<string> complaints = process.StandardError.ReadToEndAsync();
            Task<string?> first = process.StandardOutput.ReadLineAsync();
            if (await Task.WhenAny(first, Task.Delay(TimeSpan.FromMinutes(2))) != first)
            {
                process.Kill(); // both streams end, and the test fails with what was said
            }

            string address = await first ?? $"It ended without an address: {await complaints}";
            Assert.True(Uri.TryCreate(address, UriKind.Absolute, out Uri? uri), address);
            log = process.StandardOutput.ReadToEndAsync();
            using HttpClient http = new() { BaseAddress = uri, Timeout = TimeSpan.FromMinutes(2) };
            await using ModelServer same = await ModelServer.StartNanoAsync(map: ApiForm.MapAll);
            HashSet<string> answers = [];
            foreach (ApiForm api in ApiForm.All)
            {
                answers.Add(api.Read(await PostAsync(http, api.Path, api.Body("nano", "Hello! Who are you?", 24, false))));
                string streamed = await (await http.PostAsync(api.Path, Json(api.Body("nano", "Hello! Who are you?", 24, true)))).Content.ReadAsStringAsync();
                Assert.Contains(api.Name switch { "OpenAI" => "data: [DONE]", "Responses" => "event: response.", "Ollama" => "\"done\":true", _ => "event: message_stop" }, streamed, StringComparison.Ordinal);
            }

            Assert.NotEmpty(Assert.Single(answers)); // one model, whichever API; its kernels are not those that are compiled at run time, whose last bits differ
            await CallsAndSchemasAsync(http);
            await OtherEndpointsAsync(http, same);
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync();
        }

        // It was compiled for the oldest processor; where this one has more, the log says so, with the cure.
        Assert.Equal(ProcessorSupport.Machine.HasAvx2, (await log).Contains("compiled ahead of time without AVX2", StringComparison.Ordinal));
        Assert.Equal(ProcessorSupport.Machine.HasAvx2, (await log).Contains("<IlcInstructionSet>", StringComparison.Ordinal));
    }

    /// <summary>A processor of 2008, emulated: without AVX, and without being told of what it lacks.</summary>
    [Fact]
    public async Task OnAProcessorWithoutAvxTheProgramStartsAndAnswers()
    {
        server.SkipOrFail();
        Assert.SkipUnless(RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.X64 && PublishedProgram.Find("qemu-x86_64"), "qemu-x86_64 is not installed, which emulates an old processor (Debian: qemu-user).");
        using Process process = Process.Start(new ProcessStartInfo("qemu-x86_64", ["-cpu", "Nehalem", server.Program]) { RedirectStandardOutput = true })!;
        Task<string> log;
        try
        {
            string? address = await process.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(5));
            Assert.True(Uri.TryCreate(address, UriKind.Absolute, out Uri? uri), address);
            log = process.StandardOutput.ReadToEndAsync();
            using HttpClient http = new() { BaseAddress = uri, Timeout = TimeSpan.FromMinutes(5) };
            JsonElement answer = await PostAsync(http, "v1/chat/completions", """{"messages":[{"role":"user","content":"Hello, who are you?"}],"temperature":0,"max_tokens":3}""");
            Assert.StartsWith("I am", answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString(), StringComparison.Ordinal);
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync();
        }

        Assert.DoesNotContain("compiled ahead of time", await log, StringComparison.Ordinal);
    }

    /// <summary>Grammars, calls and refusals: what is read and written by generated code.</summary>
    private static async Task CallsAndSchemasAsync(HttpClient http)
    {
        JsonElement called = await PostAsync(http, "v1/chat/completions", """
            {"messages":[{"role":"user","content":"Which city?"}],"tool_choice":"required","parallel_tool_calls":false,"logprobs":true,"top_logprobs":1,
             "tools":[{"type":"function","function":{"name":"pick","parameters":{"type":"object","properties":{"city":{"enum":["Paris","Rome"]}},"required":["city"]}}}]}
            """);
        JsonElement call = called.GetProperty("choices")[0].GetProperty("message").GetProperty("tool_calls")[0].GetProperty("function");
        Assert.Contains(JsonElement.Parse(call.GetProperty("arguments").GetString()!).GetProperty("city").GetString(), (string[])["Paris", "Rome"]);
        JsonElement formed = await PostAsync(http, "api/chat", """{"model":"nano","stream":false,"messages":[{"role":"user","content":"Hi"}],"format":{"type":"object","properties":{"a":{"const":1}},"required":["a"]}}""");
        Assert.Equal(1, JsonElement.Parse(formed.GetProperty("message").GetProperty("content").GetString()!).GetProperty("a").GetInt32());
        using HttpResponseMessage refused = await http.PostAsync("v1/messages", Json("{}"));
        Assert.Equal(400, (int)refused.StatusCode);
        Assert.Equal("error", JsonElement.Parse(await refused.Content.ReadAsStringAsync()).GetProperty("type").GetString());
    }

    private static async Task OtherEndpointsAsync(HttpClient http, ModelServer same)
    {
        const string Embedded = """{"model":"nano","input":["A cat"]}""";
        (_, JsonElement expected) = await same.AskAsync("v1/embeddings", Embedded);
        float[] one = Vector(expected), other = Vector(await PostAsync(http, "v1/embeddings", Embedded));
        Assert.True(one.Zip(other, (a, b) => a * b).Sum() > 0.999f); // of other kernels, perhaps
        Assert.Equal("gemma2-nano", (await http.GetFromJsonAsync<JsonElement>("v1/models")).GetProperty("data")[0].GetProperty("id").GetString());
        Assert.Equal("gguf", (await PostAsync(http, "api/show", """{"model":"nano"}""")).GetProperty("details").GetProperty("format").GetString());
        JsonElement created = await PostAsync(http, "v1/responses", """{"input":"Hi","max_output_tokens":4}""");
        JsonElement followed = await PostAsync(http, "v1/responses", $$"""{"input":"And?","max_output_tokens":4,"previous_response_id":"{{created.GetProperty("id").GetString()}}"}""");
        Assert.Equal(created.GetProperty("id").GetString(), followed.GetProperty("previous_response_id").GetString());
        Assert.StartsWith("3.1", (await http.GetFromJsonAsync<JsonElement>("v1/openapi.json")).GetProperty("openapi").GetString(), StringComparison.Ordinal);

        static float[] Vector(JsonElement answer) => [.. answer.GetProperty("data")[0].GetProperty("embedding").EnumerateArray().Select(number => number.GetSingle())];
    }

    private static StringContent Json(string body) => new(body, Encoding.UTF8, "application/json");

    private static async Task<JsonElement> PostAsync(HttpClient http, string path, string body)
    {
        using HttpResponseMessage response = await http.PostAsync(path, Json(body));
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, $"{path}: {text}");
        return JsonElement.Parse(text);
    }

    /// <summary>Published once for all tests.</summary>
    public sealed class Server() : PublishedProgram("AotServer", "Gemma.Extensions.AI.dll", "Gemma.Extensions.AI.AspNetCore.dll", "Gemma.Extensions.AI.Nano.dll");
}
