using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Gemma.Extensions.AI.Backends.Cpu;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>Reports of commands on the machine, on a file, and on a network that is not there.</summary>
public sealed class MachineCommandTests
{
    [Fact]
    public async Task DoctorTellsWhatRunsAndWhyNotMore()
    {
        using JsonDocument report = JsonDocument.Parse(await CliRun.SucceedAsync("doctor", "--json"));
        JsonElement root = report.RootElement, kernels = root.GetProperty("kernels");
        Assert.Equal(KernelTier.Select(Environment.GetEnvironmentVariable("GEMMA_KERNEL")).Name, kernels.GetProperty("chosen").GetString());
        Assert.Equal(KernelTier.All.Select(tier => (tier.Name, tier.Unsupported())), kernels.GetProperty("tiers").EnumerateArray().Select(tier => (tier.GetProperty("name").GetString()!, tier.GetProperty("reason").GetString())));
        Assert.InRange(root.GetProperty("free_bytes").GetInt64(), 1, root.GetProperty("memory_bytes").GetInt64());
        Assert.True(root.GetProperty("bandwidth_bytes_per_second") is { ValueKind: JsonValueKind.Null } or { ValueKind: JsonValueKind.Number });

        string text = await CliRun.SucceedAsync("doctor");
        foreach (string part in new[] { "processor  ", "kernels    ", "memory     ", "bandwidth  ", "GPU        ", "cache      ", "hub        " })
        {
            Assert.Contains("\n" + part, text, StringComparison.Ordinal);
        }

        Assert.All(KernelTier.All, tier => Assert.Matches($@"(?m)^    [ *] {tier.Name} +(runs|no: .+)\r?$", text));
    }

    /// <summary>The engine reads the name of a tier in either case.</summary>
    [Fact]
    public async Task DoctorMarksTheTierThatTheEnvironmentNames()
    {
        (int exit, string output, string errors) = await CliProcess.ToEndAsync(["doctor"], ("GEMMA_KERNEL", " REFERENCE"));
        Assert.True(exit == 0, errors);
        Assert.Matches(@"(?m)^kernels    reference, as GEMMA_KERNEL says\r?$", output);
        Assert.Matches(@"(?m)^    \* reference +runs\r?$", output);
    }

    [Fact]
    public async Task InspectSpeaksInWordsAndNamesTheKernels()
    {
        string text = await CliRun.SucceedAsync("inspect", TestData.Local("tiny"));
        Assert.DoesNotMatch(@"\b[A-Z][a-z]+[A-Z][a-z]+", text.Replace("HuggingFace", "", StringComparison.Ordinal));
        Assert.Matches(@"window of the local layers, tokens\s+│ 16\b", text);
        Assert.Contains("kernels on this processor", text, StringComparison.Ordinal);
        Assert.Contains(KernelTier.Select(Environment.GetEnvironmentVariable("GEMMA_KERNEL")).Name + " (", text, StringComparison.Ordinal);
    }

    /// <summary>Nothing listens there: it is said at once, tried again a little, and then explained.</summary>
    [Fact]
    public async Task AHubThatCannotBeReachedIsNamedSoon()
    {
        using TempDirectory cache = new();
        using ClosedPort port = new();
        RetryList retries = new();
        GemmaHubException error = await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync("owner/name", new GemmaHubOptions
        {
            CacheDirectory = cache.Path, Endpoint = port.Address, Offline = false, RetryDelay = TimeSpan.FromMilliseconds(1),
        }, retries));
        Assert.Equal([1, 2], retries.Retries.Select(retry => retry.Attempt));
        Assert.Contains("cannot be reached", error.Message, StringComparison.Ordinal);
        Assert.Contains("HTTPS_PROXY", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task PullShowsItsRetries()
    {
        using TempDirectory cache = new();
        using ClosedPort port = new();
        (int exit, _, string errors) = await CliProcess.ToEndAsync(["pull", "owner/name"], ("HF_ENDPOINT", port.Address.ToString()), ("HF_HUB_CACHE", cache.Path), ("HF_HUB_OFFLINE", null));
        Assert.Equal(1, exit);
        string[] lines = errors.TrimEnd().Split('\n');
        string[] again = [.. lines.Where(line => line.Contains("Trying again", StringComparison.Ordinal))];
        Assert.Equal(2, again.Length);
        Assert.Matches(@"^gemma: .+\. Trying again in [\d.]+ s \(1 of 2\)\.$", again[0]);
        Assert.Contains("cannot be reached", lines[^1], StringComparison.Ordinal);
    }

    /// <summary>A network that swallows everything gives no error; then silence itself is told.</summary>
    [Fact]
    public async Task PullTellsThatNothingAnswers()
    {
        using TempDirectory cache = new();
        using TcpListener silent = new(IPAddress.Loopback, 0);
        silent.Start(); // the system accepts connections, nobody answers
        using System.Diagnostics.Process process = CliProcess.Start(["pull", "owner/name"], ("HF_ENDPOINT", $"http://{silent.LocalEndpoint}"), ("HF_HUB_CACHE", cache.Path), ("HF_HUB_OFFLINE", null));
        try
        {
            Assert.Contains("has not answered yet", await process.StandardError.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromMinutes(2)), StringComparison.Ordinal);
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        }
    }

    /// <summary>A port at which nothing listens and, as long as this is there, nobody else can.</summary>
    private sealed class ClosedPort : IDisposable
    {
        private readonly Socket _bound = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);

        public ClosedPort() => _bound.Bind(new IPEndPoint(IPAddress.Loopback, 0));

        public Uri Address => new($"http://{_bound.LocalEndPoint}");

        public void Dispose() => _bound.Dispose();
    }

    private sealed class RetryList : IProgress<GemmaDownloadProgress>, IProgress<GemmaHubRetry>
    {
        public List<GemmaHubRetry> Retries { get; } = [];

        public void Report(GemmaDownloadProgress value) => Assert.Fail("Nothing was downloaded.");

        public void Report(GemmaHubRetry value) => Retries.Add(value);
    }
}
