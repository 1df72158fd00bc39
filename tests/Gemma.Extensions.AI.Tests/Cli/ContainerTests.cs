using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using Gemma.Extensions.AI.Tests.Packages;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>The server as the image of src/container runs it: another root that is not written, a user who is not root, no capabilities (tests/container/readonly.sh).</summary>
public sealed class ContainerTests : IDisposable
{
    private const string Tool = "Gemma.Extensions.AI.Cli";

    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task OnARootThatIsNotWrittenTheServerAnswersAndIsHealthy()
    {
        await PrepareAsync();
        using Process server = Process.Start(Contained("dotnet", $"/app/{Tool}.dll", "serve", "--model", "nano", "--port", "0", "--preload"))!;
        try
        {
            Task<string> errors = server.StandardError.ReadToEndAsync();
            string greeting = await server.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(2)) ?? await errors;
            Assert.True(greeting.Contains(" at http://", StringComparison.Ordinal), greeting);
            string address = greeting.Split(" at ")[1].Split(',')[0];
            using HttpClient http = new() { BaseAddress = new Uri(address), Timeout = TimeSpan.FromMinutes(2) };
            using HttpResponseMessage response = await http.PostAsJsonAsync("/v1/chat/completions", new { messages = new[] { new { role = "user", content = "Hello, who are you?" } }, temperature = 0, max_tokens = 24 });
            JsonElement answer = await response.Content.ReadFromJsonAsync<JsonElement>();
            Assert.StartsWith("I am gemma2-nano", answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString(), StringComparison.Ordinal);

            (int healthy, string said) = await RunAsync("dotnet", $"/app/{Tool}.dll", "health", "--url", address);
            Assert.True(healthy == 0, said);
            Assert.Contains("ok", said, StringComparison.Ordinal);
        }
        finally
        {
            server.Kill(entireProcessTree: true);
            await server.WaitForExitAsync();
        }

        (int exit, string refused) = await RunAsync("dotnet", $"/app/{Tool}.dll", "health", "--url", "http://127.0.0.1:1");
        Assert.Equal(1, exit);
        Assert.Contains("does not answer", refused, StringComparison.Ordinal);
    }

    /// <summary>The test above is one only if these hold.</summary>
    [Fact]
    public async Task InThereNothingCanBeWrittenAndNobodyIsRoot()
    {
        await PrepareAsync();
        (_, string said) = await RunAsync("sh", "-c", "id -u; touch /file /app/file /usr/file; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status");
        Assert.StartsWith("1654\n", said, StringComparison.Ordinal);
        Assert.Equal(3, said.Split("Read-only file system").Length - 1);
        Assert.Contains("CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1", said, StringComparison.Ordinal);
    }

    /// <summary>The Dockerfile starts the program that is tested, with the same user and the same place of the model.</summary>
    [Fact]
    public void TheImageIsMadeOfWhatIsTested()
    {
        string image = File.ReadAllText(Path.Combine(TestData.Repository, "src", "container", "Dockerfile")), script = File.ReadAllText(Path.Combine(TestData.Repository, "tests", "container", "readonly.sh"));
        Assert.Contains($"ENTRYPOINT [\"dotnet\", \"/app/{Tool}.dll\", \"serve\"", image, StringComparison.Ordinal);
        Assert.Contains($"CMD [\"dotnet\", \"/app/{Tool}.dll\", \"health\"]", image, StringComparison.Ordinal);
        Assert.Contains("USER 1654:1654", image, StringComparison.Ordinal);
        foreach (string setting in (string[])["XDG_DATA_HOME=/app/data", "DOTNET_EnableDiagnostics=0"])
        {
            Assert.Contains(setting, image, StringComparison.Ordinal);
            Assert.Contains(setting, script, StringComparison.Ordinal);
        }
    }

    private async Task PrepareAsync()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && Environment.IsPrivilegedProcess, "Another root needs Linux and root.");
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name, app = Directory.CreateDirectory(_folder.File("app")).FullName;
        string built = Path.Combine(TestData.Repository, "src", Tool, "bin", configuration, "net10.0");
        foreach (string file in Directory.EnumerateFiles(built))
        {
            File.Copy(file, Path.Combine(app, Path.GetFileName(file)));
        }

        ProcessStartInfo inspect = new(Path.Combine(DotnetTool.Root, "dotnet"), [Path.Combine(app, Tool + ".dll"), "inspect", "nano"]);
        inspect.Environment["XDG_DATA_HOME"] = Path.Combine(app, "data");
        (int exit, _, string errors) = await ProgramRun.ToEndAsync(inspect, TimeSpan.FromMinutes(2));
        Assert.True(exit == 0, errors);
        (exit, string refused) = await RunAsync("true");
        Assert.SkipUnless(exit == 0, $"Another root can't be made here: {refused}");
    }

    private async Task<(int Exit, string Said)> RunAsync(params string[] command)
    {
        (int exit, string output, string errors) = await ProgramRun.ToEndAsync(Contained(command), TimeSpan.FromMinutes(2));
        return (exit, output + errors);
    }

    private ProcessStartInfo Contained(params string[] command)
    {
        ProcessStartInfo start = new(Path.Combine(TestData.Repository, "tests", "container", "readonly.sh"), [DotnetTool.Root, _folder.File("app"), "1654:1654", .. command])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["TMPDIR"] = _folder.Path;
        return start;
    }
}
