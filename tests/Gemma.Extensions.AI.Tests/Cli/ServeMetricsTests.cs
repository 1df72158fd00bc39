using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Tests.Chat;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary><c>/metrics</c> of <c>gemma serve</c>, in a process of its own: what is collected is that of the process.</summary>
public sealed class ServeMetricsTests
{
    /// <summary>Two models, so that their numbers have to be told apart: a series that is there twice is none.</summary>
    [Fact]
    public async Task WhatTheEnginesDoIsCountedForEachModel()
    {
        await using Server server = await Server.StartAsync("--model", "nano", "--model", TinyModel.Path);
        Dictionary<string, (long Input, long Output)> used = [];
        foreach ((string model, int requests) in ((string, int)[])[("gemma2-nano", 3), ("tiny", 2)])
        {
            for (int i = 0; i < requests; i++)
            {
                JsonElement usage = (await server.PostAsync("v1/chat/completions", JsonSerializer.Serialize(
                    new { model, max_tokens = 4 + i, messages = new[] { new { role = "user", content = "Hello!" } } }))).GetProperty("usage");
                (long input, long output) = used.GetValueOrDefault(model);
                used[model] = (input + usage.GetProperty("prompt_tokens").GetInt64(), output + usage.GetProperty("completion_tokens").GetInt64());
            }
        }

        (await server.Http.GetAsync("v1/nothing")).Dispose();

        // An instrument is read after the other, and an answer may be sent before its last token is counted.
        PrometheusText found = await ReadAsync(
            server,
            text => text.Sum("gen_ai_server_request_duration_seconds_count") == 5 && text.Sum("gemma_engine_requests") == 0
                && text.Sum("gen_ai_server_time_per_output_token_seconds_count") == used.Values.Sum(of => of.Output) - 5);
        foreach ((string model, int requests) in ((string, int)[])[("gemma2-nano", 3), ("tiny", 2)])
        {
            (string, string) of = ("gen_ai_request_model", model);
            Assert.Equal(used[model], (found.Sum("gemma_engine_tokens_total", of, ("gen_ai_token_type", "input")), found.Sum("gemma_engine_tokens_total", of, ("gen_ai_token_type", "output"))));
            Assert.True(found.Sum("gemma_engine_tokens_total", of, ("gen_ai_token_type", "cached")) > 0); // the same prompt came again
            Assert.Equal(requests, found.Sum("gen_ai_server_time_to_first_token_seconds_count", of));
            Assert.Equal(requests, found.Sum("gen_ai_server_request_duration_seconds_count", of));
            Assert.Equal(used[model].Output - requests, found.Sum("gen_ai_server_time_per_output_token_seconds_count", of));
            Assert.Equal((0, 0), (found.Sum("gemma_engine_requests", of, ("state", "running")), found.Sum("gemma_engine_requests", of, ("state", "waiting"))));
            Assert.True(found.Sum("gemma_engine_kv_blocks", of, ("state", "cached")) > 0 && found.Sum("gemma_engine_kv_blocks", of, ("state", "free")) > 0);
            Assert.Equal(0, found.Sum("gemma_engine_preemptions_total", of));
        }

        Assert.Equal(("histogram", "counter", "gauge"), (found.TypeOf("gen_ai_server_time_to_first_token_seconds"), found.TypeOf("gemma_engine_tokens_total"), found.TypeOf("gemma_engine_requests")));
        Assert.Equal(5, found.Sum("http_server_request_duration_seconds_count", ("http_route", "/v1/chat/completions"), ("http_response_status_code", "200")));
        Assert.Equal(1, found.Sum("http_server_request_duration_seconds_count", ("http_response_status_code", "404")));
        Assert.True(found.Sum("kestrel_active_connections") >= 1);
    }

    /// <summary>As /health: whoever reaches the server may read them, in either of Prometheus's formats, but no page of another site.</summary>
    [Fact]
    public async Task NoKeyIsNeeded()
    {
        await using (Server server = await Server.StartAsync("--model", "nano", "--api-key", "secret"))
        {
            Assert.Equal(HttpStatusCode.Unauthorized, (await server.Http.GetAsync("v1/models")).StatusCode);
            await ReadAsync(server, _ => true);
            using HttpRequestMessage open = new(HttpMethod.Get, "metrics");
            open.Headers.TryAddWithoutValidation("Accept", "application/openmetrics-text;version=1.0.0");
            using HttpResponseMessage response = await server.Http.SendAsync(open);
            Assert.Equal("application/openmetrics-text", response.Content.Headers.ContentType!.MediaType);
            Assert.EndsWith("# EOF\n", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        await using Server keyless = await Server.StartAsync("--model", "nano");
        foreach ((string name, string value) in ((string, string)[])[("Host", "evil.example"), ("Origin", "https://evil.example")])
        {
            using HttpRequestMessage request = new(HttpMethod.Get, "metrics");
            request.Headers.TryAddWithoutValidation(name, value);
            Assert.Equal(HttpStatusCode.Forbidden, (await keyless.Http.SendAsync(request)).StatusCode);
        }
    }

    /// <summary>A model that was unloaded and loaded again is counted under one name, once.</summary>
    [Fact]
    public async Task AModelThatComesAndGoesIsOneSeries()
    {
        await using Server server = await Server.StartAsync("--model", "nano", "--keep-alive", "0");
        for (int i = 0; i < 3; i++)
        {
            await server.PostAsync("v1/chat/completions", """{"max_tokens":2,"messages":[{"role":"user","content":"Hello!"}]}""");
            await Eventually.IsTrueAsync(async () => (await server.Http.GetFromJsonAsync<JsonElement>("api/ps")).GetProperty("models").GetArrayLength() == 0);
        }

        await ReadAsync(server, text => text.Samples.Any(sample => sample.Name == "gen_ai_server_request_duration_seconds_count"));
    }

    /// <summary>The exporter answers for a moment with what it said last.</summary>
    private static async Task<PrometheusText> ReadAsync(Server server, Func<PrometheusText, bool> isComplete)
    {
        for (int i = 0; ; i++)
        {
            using HttpRequestMessage request = new(HttpMethod.Get, "metrics");
            request.Headers.TryAddWithoutValidation("Accept", "text/plain;version=0.0.4");
            using HttpResponseMessage response = await server.Http.SendAsync(request);
            string text = await response.Content.ReadAsStringAsync();
            Assert.True(response.StatusCode == HttpStatusCode.OK && response.Content.Headers.ContentType?.MediaType == "text/plain", text);
            PrometheusText parsed = PrometheusText.Parse(text);
            if (isComplete(parsed))
            {
                return parsed;
            }

            Assert.True(i < 600, text);
            await Task.Delay(50);
        }
    }

    private sealed class Server(Process process, Uri address) : IAsyncDisposable
    {
        public HttpClient Http { get; } = new() { BaseAddress = address, Timeout = TimeSpan.FromMinutes(2) };

        public static async Task<Server> StartAsync(params string[] args)
        {
            Process process = CliProcess.Start(["serve", "--port", "0", .. args]);
            string greeting = await process.StandardOutput.ReadLineAsync() ?? await process.StandardError.ReadToEndAsync();
            Assert.Contains(" at ", greeting, StringComparison.Ordinal);
            process.ErrorDataReceived += static (_, _) => { };
            process.BeginErrorReadLine();
            return new Server(process, new Uri(greeting.Split(" at ")[1].Split(',')[0]));
        }

        public async Task<JsonElement> PostAsync(string path, string json)
        {
            using HttpResponseMessage response = await Http.PostAsync(path, new StringContent(json, Encoding.UTF8, "application/json"));
            string body = await response.Content.ReadAsStringAsync();
            Assert.True(response.IsSuccessStatusCode, body);
            return JsonElement.Parse(body);
        }

        public async ValueTask DisposeAsync()
        {
            Http.Dispose();
            process.Kill();
            await process.WaitForExitAsync();
            process.Dispose();
        }
    }
}
