using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Text;
using Gemma.Extensions.AI.ClusterBenchmarks;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Tests.Cli;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Hosting;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary><c>gemma serve --cluster</c> as a process of its own, killed as by <c>kill -9</c> in the middle of answers.</summary>
public class KilledGatewayTests
{
    private const int Streams = 8, Tokens = 3900;

    [Fact]
    public async Task ItsStreamsBreakTheNodeStopsWorkingForItAndAnotherGatewayGoesOn()
    {
        using TempDirectory folder = new();
        string name = $"{Guid.NewGuid():N}.gguf"; // its tokens are counted by it
        File.Copy(Path.Combine(TestData.Repository, "src", "Gemma.Extensions.AI.Nano", "gemma2-nano.gguf"), folder.File(name));
        using FinishedRequests finished = new(Path.GetFileNameWithoutExtension(name));
        int port = ClusterProcesses.FreePort();
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        builder.UseOrleans(silo => silo.UseLocalhostClustering(ClusterProcesses.FreePort(), port).AddGemmaNode(options => options.AddModel("small", folder.File(name)).Threads = 1));
        using IHost host = builder.Build();
        await host.StartAsync();
        GemmaNode node = host.Services.GetRequiredService<GemmaNode>();
        string[] arguments = ["--cluster", $"localhost:{port}", "--model", "small", "--cluster-wait", "2m"];
        ProcessStartInfo command = CliProcess.Command(["serve", "--port", "0", .. arguments]);
        (command.RedirectStandardOutput, command.RedirectStandardError) = (true, true);
        using Process gateway = Process.Start(command)!;
        string greeting = await gateway.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) ?? await gateway.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        Assert.Contains(" at ", greeting, StringComparison.Ordinal);
        using HttpClient http = new() { BaseAddress = new Uri(greeting.Split(" at ")[1].Split(',')[0]), Timeout = TimeSpan.FromMinutes(2) };
        Stream[] streams = await Task.WhenAll(Enumerable.Range(0, Streams).Select(_ => BeginAsync(http)));
        Assert.Equal(Streams, node.RunningCalls);

        gateway.Kill();
        await gateway.WaitForExitAsync(TestContext.Current.CancellationToken);
        foreach (Stream stream in streams)
        {
            await Assert.ThrowsAnyAsync<IOException>(() => stream.CopyToAsync(Stream.Null, TestContext.Current.CancellationToken)); // not an answer that seems to be whole
        }

        await Eventually.IsTrueAsync(() => node.RunningCalls == 0);
        await Eventually.IsTrueAsync(() => finished.Tokens.Count == Streams);
        Assert.All(finished.Tokens, tokens => Assert.InRange(tokens, 1, Tokens - 1)); // nobody waited for the rest, and it was not worked out

        await using (Served second = await Served.StartAsync(arguments))
        {
            await second.PostAsync("v1/chat/completions", """{"model":"small","max_tokens":4,"messages":[{"role":"user","content":"Hello"}]}""");
        }

        await host.StopAsync();
    }

    /// <summary>Asks for a long answer, and returns the rest of it once it has begun.</summary>
    private static async Task<Stream> BeginAsync(HttpClient http)
    {
        HttpRequestMessage request = new(HttpMethod.Post, "v1/chat/completions")
        {
            Content = new StringContent($$"""{"model":"small","stream":true,"regex":"[a-z ]{20000}","max_tokens":{{Tokens}},"messages":[{"role":"user","content":"Hello"}]}""", Encoding.UTF8, "application/json"),
        };
        HttpResponseMessage response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.True(response.IsSuccessStatusCode, $"{response.StatusCode}");
        Stream stream = await response.Content.ReadAsStreamAsync();
        Assert.NotEqual(0, await stream.ReadAsync(new byte[16]));
        return stream;
    }

    /// <summary>How many tokens each finished request of a model had generated.</summary>
    private sealed class FinishedRequests : IDisposable
    {
        private readonly MeterListener _listener = new();

        public FinishedRequests(string model)
        {
            _listener.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Name == "gemma.engine.tokens" && instrument.Meter.Tags!.Any(tag => tag.Value is string of && of.Contains(model, StringComparison.Ordinal)))
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            };
            _listener.SetMeasurementEventCallback<long>((_, count, tags, _) =>
            {
                if (tags[0].Value is "output")
                {
                    Tokens.Enqueue(count);
                }
            });
            _listener.Start();
        }

        public ConcurrentQueue<long> Tokens { get; } = new();

        public void Dispose() => _listener.Dispose();
    }
}
