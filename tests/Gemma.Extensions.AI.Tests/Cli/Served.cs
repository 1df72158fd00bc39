using System.Text.Json;
using Gemma.Extensions.AI.Cli;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary><c>gemma serve</c> in this process, on a port that is free.</summary>
internal sealed class Served : IAsyncDisposable
{
    private readonly Interrupts _interrupts = new();
    private readonly Lines _errors = new();
    private readonly Lines _output = new();
    private Task<int> _running = null!;

    public HttpClient Http { get; private set; } = null!;

    public string Greeting { get; private set; } = "";

    /// <summary>What was written to the error stream so far.</summary>
    public string Errors => _errors.Text;

    public static async Task<Served> StartAsync(params string[] args)
    {
        Served served = new();
        served._running = GemmaCli.RunAsync(["serve", "--port", "0", .. args], new CliInvocation(served._interrupts) { Output = served._output, Error = served._errors, IsInteractive = false });
        Task first = await Task.WhenAny(served._output.First.Task, served._running);
        Assert.True(first != served._running, served.Errors);
        served.Greeting = await served._output.First.Task;
        served.Http = new HttpClient { BaseAddress = new Uri(served.Greeting.Split(" at ")[1].Split(',')[0]), Timeout = TimeSpan.FromMinutes(2) };
        return served;
    }

    public async Task<JsonElement> PostAsync(string path, string json)
    {
        using HttpResponseMessage response = await Http.PostAsync(path, new StringContent(json, System.Text.Encoding.UTF8, "application/json"));
        string body = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, body);
        return JsonElement.Parse(body);
    }

    public async Task<int> StopAsync()
    {
        _interrupts.Raise();
        return await _running.WaitAsync(TimeSpan.FromMinutes(2));
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        Http.Dispose();
        _interrupts.Dispose();
    }

    /// <summary>Lines that are written and read by several threads.</summary>
    private sealed class Lines : StringWriter
    {
        public TaskCompletionSource<string> First { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public string Text
        {
            get
            {
                lock (First)
                {
                    return ToString();
                }
            }
        }

        public override void WriteLine(string? value)
        {
            lock (First)
            {
                base.WriteLine(value);
            }

            First.TrySetResult(value ?? "");
        }
    }
}
