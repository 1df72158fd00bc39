using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Files;
using Gemma.Extensions.AI.Tests.Hub;
using Gemma.Extensions.AI.Tests.Lora;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary><c>gemma serve</c> in this process, on a port that is free.</summary>
public sealed class ServeCommandTests
{
    [Fact]
    public async Task AllApisAnswerAndEachRequestIsALine()
    {
        await using Served server = await Served.StartAsync("--model", "small=nano", "--model", $"other={TinyModel.Path}");
        Assert.Contains("small, other", server.Greeting, StringComparison.Ordinal);
        foreach (string path in (string[])["v1/chat/completions", "chat/completions"])
        {
            JsonElement answer = await server.PostAsync(path, """{"model":"small","max_tokens":4,"messages":[{"role":"user","content":"Hello!"}]}""");
            Assert.Equal("small", answer.GetProperty("model").GetString());
        }

        foreach (string path in (string[])["v1/messages", "messages"])
        {
            Assert.Equal("message", (await server.PostAsync(path, """{"model":"other","max_tokens":4,"messages":[{"role":"user","content":"Hello!"}]}""")).GetProperty("type").GetString());
        }

        JsonElement chat = await server.PostAsync("api/chat", """{"model":"other:latest","stream":false,"options":{"num_predict":4},"messages":[{"role":"user","content":"Hello!"}]}""");
        Assert.True(chat.GetProperty("done").GetBoolean());
        Assert.Equal(["small:latest", "other:latest"], (await server.Http.GetFromJsonAsync<JsonElement>("api/tags")).GetProperty("models").EnumerateArray().Select(model => model.GetProperty("name").GetString()!));
        Assert.Contains("Ollama is running", await server.Http.GetStringAsync(""), StringComparison.Ordinal);
        JsonElement health = await server.Http.GetFromJsonAsync<JsonElement>("health");
        Assert.Equal("ok", health.GetProperty("status").GetString());
        Assert.Single(server.Errors.Split('\n'), line => line.Contains("/api/chat other: ", StringComparison.Ordinal) && line.Contains("tokens in", StringComparison.Ordinal));
        using HttpResponseMessage unknown = await server.Http.GetAsync("api/nothing");
        Assert.Equal(HttpStatusCode.NotFound, unknown.StatusCode);
        Assert.Equal(["error"], JsonElement.Parse(await unknown.Content.ReadAsStringAsync()).EnumerateObject().Select(member => member.Name)); // Ollama's form
        Assert.Equal(0, await server.StopAsync());
    }

    [Fact]
    public async Task ModelsThatNobodyUsesAreUnloaded()
    {
        await using Served server = await Served.StartAsync("--model", "nano", "--keep-alive", "0");
        await server.PostAsync("api/chat", """{"model":"nano","stream":false,"options":{"num_predict":2},"messages":[{"role":"user","content":"Hello!"}]}""");
        await Eventually.IsTrueAsync(async () => (await server.Http.GetFromJsonAsync<JsonElement>("api/ps")).GetProperty("models").GetArrayLength() == 0);
        await Eventually.IsTrueAsync(() => server.Errors.Contains("Unloaded gemma2-nano", StringComparison.Ordinal)); // said when it is done, which is after the list has forgotten the model
        Assert.Equal("load", (await server.PostAsync("api/generate", """{"model":"nano","stream":false}""")).GetProperty("done_reason").GetString());
    }

    [Fact]
    public async Task ThePageIsServedToEverybodyAndModelsToThoseWithAKey()
    {
        using TempDirectory folder = new();
        File.WriteAllText(folder.File("keys.txt"), "# two of us\nfirst\n\n second \n");
        await using Served server = await Served.StartAsync("--model", "nano", "--web", "--api-key-file", folder.File("keys.txt"), "--api-key", "third");
        Assert.Contains("<title>Gemma chat</title>", await server.Http.GetStringAsync(""), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await server.Http.GetAsync("health")).StatusCode);
        foreach (string path in (string[])["v1/models", "models", "api/tags"])
        {
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.Http.GetAsync(path)).StatusCode);
            foreach (string key in (string[])["first", "second", "third"])
            {
                using HttpRequestMessage request = new(HttpMethod.Get, path);
                request.Headers.Authorization = new("Bearer", key);
                Assert.Equal(HttpStatusCode.OK, (await server.Http.SendAsync(request)).StatusCode);
            }
        }

        // Refused in the form of each API.
        Assert.Equal("authentication_error", (await RefusedAsync("v1/messages")).GetProperty("error").GetProperty("type").GetString());
        Assert.Contains("key", (await RefusedAsync("api/chat")).GetProperty("error").GetString(), StringComparison.Ordinal);
        using HttpRequestMessage asked = new(HttpMethod.Post, "v1/messages") { Content = JsonContent.Create(new { max_tokens = 2, messages = new[] { new { role = "user", content = "Hi" } } }) };
        asked.Headers.Add("x-api-key", "second"); // where Anthropic's clients have it
        Assert.Equal(HttpStatusCode.OK, (await server.Http.SendAsync(asked)).StatusCode);

        async Task<JsonElement> RefusedAsync(string path)
        {
            using HttpResponseMessage response = await server.Http.PostAsync(path, JsonContent.Create(new { }));
            Assert.Equal(HttpStatusCode.Unauthorized, response.StatusCode);
            return JsonElement.Parse(await response.Content.ReadAsStringAsync());
        }
    }

    /// <summary>A model that a client had downloaded is served from then on, under the name that the client knows.</summary>
    [Fact]
    public async Task AModelThatWasPulledIsServed()
    {
        await using LoopbackHub hub = await LoopbackHub.StartAsync();
        hub.Add("model-Q4_0.gguf", SyntheticModel.Gguf().ToBytes());
        using TempDirectory cache = new();
        using Process process = CliProcess.Start(["serve", "--model", "nano", "--port", "0", "--allow-pull"], ("HF_HUB_CACHE", cache.Path), ("HF_ENDPOINT", hub.Address.ToString()), ("HF_HUB_OFFLINE", null));
        try
        {
            string greeting = await process.StandardOutput.ReadLineAsync() ?? await process.StandardError.ReadToEndAsync();
            Assert.Contains(" at ", greeting, StringComparison.Ordinal);
            using HttpClient http = new() { BaseAddress = new Uri(greeting.Split(" at ")[1].Split(',')[0]), Timeout = TimeSpan.FromMinutes(2) };
            using HttpResponseMessage pulled = await http.PostAsync("api/pull", new StringContent("""{"model":"hf.co/owner/model:Q4_0"}"""));
            Assert.EndsWith("{\"status\":\"success\"}\n", await pulled.Content.ReadAsStringAsync(), StringComparison.Ordinal);
            JsonElement tags = await http.GetFromJsonAsync<JsonElement>("api/tags");
            Assert.Equal(["gemma2-nano:latest", "owner/model:Q4_0"], tags.GetProperty("models").EnumerateArray().Select(model => model.GetProperty("name").GetString()!));
            using HttpResponseMessage shown = await http.PostAsync("api/show", new StringContent("""{"model":"owner/model:Q4_0"}"""));
            Assert.NotEqual("unknown", JsonElement.Parse(await shown.Content.ReadAsStringAsync()).GetProperty("details").GetProperty("quantization_level").GetString());
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync();
        }
    }

    /// <summary>A stop lets an answer finish that has begun.</summary>
    [Fact]
    public async Task AStopDrains()
    {
        await using Served server = await Served.StartAsync("--model", "nano", "--kernel", "reference", "--threads", "1");
        using HttpRequestMessage request = new(HttpMethod.Post, "v1/chat/completions")
        {
            Content = JsonContent.Create(new { messages = new[] { new { role = "user", content = "Hello!" } }, max_tokens = 200, regex = "[a-z ]{150,300}", stream = true }),
        };
        using HttpResponseMessage response = await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Task<int> stopped = server.StopAsync();
        string body = await response.Content.ReadAsStringAsync();
        Assert.EndsWith("data: [DONE]\n\n", body, StringComparison.Ordinal);
        Assert.DoesNotContain("\"error\"", body, StringComparison.Ordinal);
        Assert.Equal(0, await stopped);
    }

    /// <summary>Adapters of the command line, for one model and for one of several.</summary>
    [Fact]
    public async Task AdaptersAreServedBehindTheirModel()
    {
        using TempDirectory folder = new();
        string legal, support;
        using (ModelFile file = ModelFile.Open(TinyModel.Path))
        {
            legal = new RandomAdapter(file.Config, 1).WritePeft(folder.File("legal"));
            support = new RandomAdapter(file.Config, 2).WriteGguf(folder.File("support=2.gguf"));
        }

        string[] answers = new string[3];
        await using (Served one = await Served.StartAsync("--model", $"base={TinyModel.Path}", "--kernel", "reference", "--lora", $"legal={legal}", "--lora", $"support={support}"))
        {
            foreach ((int i, string model) in ((string[])["base", "base@legal", "base@support"]).Index())
            {
                answers[i] = await SayAsync(one, model);
            }

            Assert.Equal(3, answers.Distinct().Count());
            using HttpResponseMessage unknown = await one.Http.PostAsync("v1/chat/completions", JsonContent.Create(new { model = "base@none", messages = new[] { new { role = "user", content = "Hi" } } }));
            Assert.Equal(HttpStatusCode.NotFound, unknown.StatusCode);
            Assert.Contains("base, base@legal, base@support", await unknown.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        await using Served several = await Served.StartAsync("--model", "nano", "--model", $"base={TinyModel.Path}", "--kernel", "reference", "--lora", $"base@legal={legal}");
        Assert.Equal(["gemma2-nano", "base", "base@legal"], (await several.Http.GetFromJsonAsync<JsonElement>("v1/models")).GetProperty("data").EnumerateArray().Select(model => model.GetProperty("id").GetString()!));
        Assert.Equal(answers[1], await SayAsync(several, "base@legal"));

        static async Task<string> SayAsync(Served server, string model)
        {
            JsonElement answer = await server.PostAsync("v1/chat/completions", JsonSerializer.Serialize(new { model, max_tokens = 24, temperature = 0, messages = new[] { new { role = "user", content = "Hello there, who are you?" } } }));
            Assert.Equal(model, answer.GetProperty("model").GetString());
            return answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!;
        }
    }

    [Theory]
    [InlineData("expected NAME=PATH", "--lora", "legal")]
    [InlineData("expected NAME=PATH", "--lora", "legal=")]
    [InlineData("expected NAME=PATH", "--lora", "=legal")]
    [InlineData("where there is nothing", "--lora", "legal=/nowhere")]
    [InlineData("Two adapters of 'gemma2-nano' are named 'B'", "--lora", "b=/", "--lora", "B=/")]
    [InlineData("no model is named 'other'. Models: gemma2-nano", "--lora", "other@b=/")]
    [InlineData("MODEL@b=/", "--model", "a=nano", "--model", "c=nano", "--lora", "b=/")]
    [InlineData("with --api-key", "--host", "0.0.0.0")]
    [InlineData("expected a time", "--keep-alive", "soon")]
    [InlineData("expected bytes", "--memory", "lots")]
    [InlineData("does not exist", "--model", "/nowhere.gguf")]
    [InlineData("Two models are named", "--model", "a=nano", "--model", "A=nano")]
    [InlineData("The origin", "--cors", "example.org")]
    [InlineData("blank", "--api-key", " ")]
    public async Task WhatCannotBeServedIsRefused(string expected, params string[] args)
    {
        StringWriter error = new();
        using Interrupts interrupts = new();
        int exit = await GemmaCli.RunAsync(["serve", "--port", "0", .. args], new CliInvocation(interrupts) { Output = new StringWriter(), Error = error, IsInteractive = false });
        Assert.Equal(1, exit);
        Assert.Contains(expected, error.ToString(), StringComparison.Ordinal);
    }
}
