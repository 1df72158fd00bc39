using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;

namespace Gemma.Extensions.AI.Benchmarks.Server;

/// <summary>A server in a process of its own.</summary>
internal sealed class ServerProcess : IAsyncDisposable
{
    private readonly Process _process;

    private ServerProcess(Process process, Uri address)
    {
        _process = process;
        Address = address;
        Http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 100 }) { BaseAddress = address, Timeout = TimeSpan.FromMinutes(10) };
    }

    public Uri Address { get; }

    public HttpClient Http { get; }

    /// <summary>Seconds that the processor has computed for it.</summary>
    public double ProcessorSeconds
    {
        get
        {
            _process.Refresh();
            return _process.TotalProcessorTime.TotalSeconds;
        }
    }

    public static Task<ServerProcess> StartGemmaAsync(string library, params string[] arguments) => StartAsync("dotnet", port => [library, "serve", "--port", $"{port}", .. arguments]);

    /// <summary>Starts a program that listens at a port that is free now, and waits until its <c>/health</c> is well.</summary>
    public static async Task<ServerProcess> StartAsync(string program, Func<int, string[]> arguments)
    {
        using TcpListener free = new(System.Net.IPAddress.Loopback, 0);
        free.Start();
        int port = ((System.Net.IPEndPoint)free.LocalEndpoint).Port;
        free.Stop();
        Process process = Process.Start(new ProcessStartInfo(program, arguments(port)) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        Queue<string> last = new();
        process.OutputDataReceived += (_, line) => Keep(line.Data);
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        ServerProcess server = new(process, new Uri($"http://127.0.0.1:{port}/"));
        for (int i = 0; ; i++)
        {
            try
            {
                using HttpResponseMessage health = await server.Http.GetAsync("health");
                if (health.IsSuccessStatusCode)
                {
                    return server;
                }
            }
            catch (HttpRequestException) when (!process.HasExited)
            {
                // It does not listen yet.
            }

            if (process.HasExited || i > 1200)
            {
                throw new InvalidOperationException($"{program} did not start:\n{string.Join('\n', last)}");
            }

            await Task.Delay(100);
        }

        void Keep(string? line)
        {
            lock (last)
            {
                last.Enqueue(line ?? "");
                if (last.Count > 40)
                {
                    last.Dequeue();
                }
            }
        }
    }

    /// <summary>Resident bytes, when they do not change any more.</summary>
    public async Task<long> ReadSettledMemoryAsync()
    {
        long last = -1;
        for (int i = 0; i < 20; i++)
        {
            long now = ReadMemory();
            if (last >= 0 && Math.Abs(now - last) < 500_000)
            {
                return now;
            }

            last = now;
            await Task.Delay(1000);
        }

        return last;
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private long ReadMemory() => OperatingSystem.IsLinux()
        ? 1024 * long.Parse(File.ReadLines($"/proc/{_process.Id}/status").First(static line => line.StartsWith("VmRSS:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture)
        : Process.GetProcessById(_process.Id).WorkingSet64;
}
