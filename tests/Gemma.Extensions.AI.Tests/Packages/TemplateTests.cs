using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Tests.Packages;

/// <summary>The templates of the packed package: installed, created, restored from the packed packages, built and run.</summary>
[Collection(PackageCollection.Name)]
public sealed partial class TemplateTests(PackedPackages packed) : IDisposable
{
    private const string Package = "Gemma.Extensions.AI.Templates";

    /// <summary>Far more than a program needs on a busy machine: it is there so that nothing hangs.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(2);

    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task EachTemplateMakesAProgramThatBuildsAndAnswers()
    {
        string[] hive = ["--debug:custom-hive", _folder.File("hive")];
        await SucceedsAsync(["new", "install", packed.PathOf(Package), .. hive]);
        foreach ((string template, string name) in ((string, string)[])[("gemma-console", "Agent"), ("gemma-webchat", "Page"), ("gemma-rag", "Answers")])
        {
            await SucceedsAsync(["new", template, "-n", name, "-o", name, .. hive]);
            Assert.Contains($"Version=\"{packed.Version}\"", await File.ReadAllTextAsync(_folder.File($"{name}/{name}.csproj")), StringComparison.Ordinal);
        }

        packed.PrepareFolder(_folder.Path);
        await File.WriteAllTextAsync(_folder.File("all.slnx"), $"<Solution>{string.Concat(((string[])["Agent", "Page", "Answers"]).Select(name => $"<Project Path=\"{name}/{name}.csproj\" />"))}</Solution>");
        (int restored, string why) = await PackedPackages.RestoreAsync(_folder.Path);
        Assert.True(restored == 0, why);
        await SucceedsAsync(["build", "all.slnx", "--no-restore", "-v:q", "-nologo", "-warnaserror"]);

        await AgentAnswersAsync();
        await PageAnswersAsync();
        await DocumentsAnswerAsync();
    }

    private async Task AgentAnswersAsync()
    {
        (int exit, string said, string errors) = await ProgramRun.ToEndAsync(Program("Agent"), s_limit, "What is the weather in Paris?\n\n");
        Assert.True(exit == 0, errors);
        Assert.Contains("20 degrees", said, StringComparison.Ordinal);
    }

    private async Task PageAnswersAsync()
    {
        using Process page = Process.Start(Program("Page"))!;
        try
        {
            using HttpClient http = await ListeningAsync(page);
            Assert.StartsWith("I am gemma2-nano", await http.GetStringAsync("/hello"), StringComparison.Ordinal);
            Assert.Contains("<html", await http.GetStringAsync("/"), StringComparison.Ordinal);
            Assert.Equal("Healthy", await http.GetStringAsync("/health"));
            JsonElement answer = await (await http.PostAsJsonAsync("/v1/chat/completions", new { messages = new[] { new { role = "user", content = "Hello, who are you?" } }, temperature = 0, max_tokens = 24 })).Content.ReadFromJsonAsync<JsonElement>();
            Assert.StartsWith("I am gemma2-nano", answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString(), StringComparison.Ordinal);
        }
        finally
        {
            page.Kill();
        }
    }

    private async Task DocumentsAnswerAsync()
    {
        using Process service = Process.Start(Program("Answers"))!;
        try
        {
            using HttpClient http = await ListeningAsync(service, "documents read");
            JsonElement answer = await (await http.PostAsJsonAsync("/ask", new { question = "How long is the warranty of the pump?" })).Content.ReadFromJsonAsync<JsonElement>();
            Assert.Contains("24", answer.GetProperty("answer").GetString(), StringComparison.Ordinal);
            Assert.Contains("pump.md", answer.GetProperty("sources")[0].GetString(), StringComparison.Ordinal);
            Assert.Equal(400, (int)(await http.PostAsJsonAsync("/ask", new { question = " " })).StatusCode);
        }
        finally
        {
            service.Kill();
        }
    }

    private async Task SucceedsAsync(string[] arguments)
    {
        (int exit, string said) = await DotnetTool.RunAsync(_folder.Path, arguments);
        Assert.True(exit == 0, $"dotnet {string.Join(' ', arguments)}: {said}");
    }

    private ProcessStartInfo Program(string name)
    {
        ProcessStartInfo start = new(_folder.File($"{name}/bin/Debug/net10.0/{name}"))
        {
            WorkingDirectory = _folder.File(name),
            RedirectStandardOutput = true,
        };
        start.Environment["DOTNET_ROOT"] = DotnetTool.Root;
        start.Environment["ASPNETCORE_URLS"] = "http://127.0.0.1:0";
        return start;
    }

    /// <summary>Waits for the line with the address, and for another.</summary>
    private static async Task<HttpClient> ListeningAsync(Process process, string? also = null)
    {
        string? address = null;
        bool seen = also is null;
        while (address is null || !seen)
        {
            string line = await process.StandardOutput.ReadLineAsync().WaitAsync(s_limit) ?? throw new InvalidOperationException("The program ended before it listened.");
            address ??= Listening().Match(line) is { Success: true } match ? match.Groups[1].Value : null;
            seen |= also is not null && line.Contains(also, StringComparison.Ordinal);
        }

        _ = process.StandardOutput.ReadToEndAsync();
        return new HttpClient { BaseAddress = new Uri(address), Timeout = s_limit };
    }

    [GeneratedRegex("Now listening on: (http://[0-9.:]+)")]
    private static partial Regex Listening();
}
