using System.Diagnostics;
using System.Text.Json;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>Clients of JavaScript, run by node where it and their packages are: <c>npm install --no-package-lock --ignore-scripts</c> in tests/Gemma.Extensions.AI.Tests/Server/js.</summary>
public class JavaScriptClientTests
{
    private static string Folder => Path.Combine(TestData.Repository, "tests", "Gemma.Extensions.AI.Tests", "Server", "js");

    private static string? Node { get; } = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .SelectMany(directory => new[] { "node", "node.exe" }.Select(name => Path.Combine(directory, name))).FirstOrDefault(File.Exists);

    [Theory]
    [InlineData("openai chat", "openai")]
    [InlineData("openai chat streamed", "openai")]
    [InlineData("openai responses streamed", "openai")]
    [InlineData("ai generated", "ai")]
    [InlineData("ai streamed", "ai")]
    [InlineData("langchain", "@langchain/openai")]
    public async Task AnAgentLoopEndsWithTheRightAnswer(string client, string package)
    {
        Assert.SkipWhen(Node is null, "node is not installed.");
        Assert.SkipUnless(Directory.Exists(Path.Combine(Folder, "node_modules", package)), $"The package {package} is not installed; the comment of the class says how.");
        await using ModelServer server = await ModelServer.StartAsync(DensityAgent.Client());
        JsonElement ended = await RunAsync(Path.Combine(Folder, "openai-clients.mjs"), client, new Uri(server.Address, "v1").ToString());
        Assert.Equal(DensityAgent.Answer, ended.GetProperty("text").GetString());
        Assert.True(ended.GetProperty("usage").GetInt32() >= 10, ended.GetRawText());
    }

    internal static async Task<JsonElement> RunAsync(string script, params string[] arguments)
    {
        (int exit, string output, string complaints) = await ProgramRun.ToEndAsync(new ProcessStartInfo(Node!, [script, .. arguments]), TimeSpan.FromMinutes(5));
        Assert.True(exit == 0, complaints);
        return JsonElement.Parse(output);
    }
}
