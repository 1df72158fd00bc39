using System.Diagnostics;
using System.Text.Json;
using Gemma.Extensions.AI.ClusterBenchmarks;
using Gemma.Extensions.AI.Tests.Chat;

namespace Gemma.Extensions.AI.Tests.Samples;

/// <summary>Each sample runs as it is, as a process: on the tests' random model it must end well, on gemma2-nano it must also
/// choose the right tool and give a typed answer. The sample that a newcomer runs first is asserted in full.</summary>
public sealed class SampleTests
{
    [Theory]
    [InlineData("SemanticKernelAgent", "> What is the weather in Paris?")]
    [InlineData("McpAgent", "Tools of the server: get_price, get_stock")]
    public async Task ASampleRunsOnAnyModel(string sample, string expected) => Assert.Contains(expected, await RunAsync(sample, TinyModel.Path));

    [Theory]
    [InlineData("SemanticKernelAgent", "[get_weather([city, ")]
    [InlineData("AgentFramework", "The weather in Paris is sunny, 20 degrees.")]
    [InlineData("AgentFramework", "The weather in Rome is sunny, 19 degrees.")]
    [InlineData("AgentFramework", "Person { Name = Anna Berg, Age = 31, City = Oslo }")]
    [InlineData("McpAgent", "[get_price([product, ")]
    [InlineData("StructuredExtraction", "Person { Name = ")]
    public async Task ASampleDoesWhatItShowsOnNano(string sample, string expected) => Assert.Contains(expected, await RunAsync(sample, "nano"));

    /// <summary>A folder of one document, asked by an argument and then at the terminal: the second run reads nothing anew.</summary>
    [Fact]
    public async Task TheRagSampleAnswersWithItsSources()
    {
        using TempDirectory folder = new();
        File.WriteAllText(folder.File("pump.md"), "# Pump\n\nThe price of the pump is 120 euros. The warranty of the pump is 24 months.\n");
        const string Question = "How long is the warranty of the pump?";
        (int exit, string output, string errors) = await ProgramRun.ToEndAsync(new ProcessStartInfo("dotnet", [Program("Rag"), folder.Path, "nano", Question]), TimeSpan.FromMinutes(2));
        Assert.True(exit == 0, errors);
        Assert.Contains("1 documents read, 0 unchanged", output, StringComparison.Ordinal);
        Assert.Matches(@"(?m)^24.*\[1\].*\n  \[1\] pump\.md", output);
        (exit, string again, errors) = await ProgramRun.ToEndAsync(new ProcessStartInfo("dotnet", [Program("Rag"), folder.Path, "nano"]), TimeSpan.FromMinutes(2), Question + "\n");
        Assert.True(exit == 0, errors);
        Assert.Contains("0 documents read, 1 unchanged", again, StringComparison.Ordinal);
        Assert.Contains(output.Split('\n').Single(line => line.StartsWith("24", StringComparison.Ordinal)), again, StringComparison.Ordinal);
    }

    /// <summary>A node and a conversation of two turns, as in two terminals.</summary>
    [Fact]
    public async Task TheClusterSampleConverses()
    {
        (int silo, int gateway) = (ClusterProcesses.FreePort(), ClusterProcesses.FreePort());
        using Process node = Process.Start(Start(["node", "0"]))!;
        try
        {
            Task<string> errors = node.StandardError.ReadToEndAsync();
            using CancellationTokenSource late = new(TimeSpan.FromMinutes(2));
            List<string> said = [];
            while (said is not [.., "Node 0 serves."])
            {
                said.Add(await node.StandardOutput.ReadLineAsync(late.Token) ?? throw new InvalidOperationException($"The node ended: {string.Join('\n', said)}{await errors}"));
            }

            Task<string> rest = node.StandardOutput.ReadToEndAsync(late.Token); // so that its log never blocks it
            using Process client = Process.Start(Start([]))!;
            Task<string> output = client.StandardOutput.ReadToEndAsync(late.Token), problems = client.StandardError.ReadToEndAsync(late.Token);
            await client.StandardInput.WriteAsync("Hello, who are you?\nThank you.\n\n");
            client.StandardInput.Close();
            try
            {
                await client.WaitForExitAsync(late.Token);
            }
            finally
            {
                if (!client.HasExited)
                {
                    client.Kill(entireProcessTree: true);
                }
            }

            Assert.Equal((0, ""), (client.ExitCode, await problems));
            string[] turns = (await output).Split("> ");
            Assert.Equal(4, turns.Length);
            Assert.Contains("I am gemma2-nano", turns[1], StringComparison.Ordinal);
            Assert.All(turns[1..3], answer => Assert.NotEqual("", answer.Trim()));
        }
        finally
        {
            node.Kill(entireProcessTree: true);
        }

        ProcessStartInfo Start(string[] arguments)
        {
            ProcessStartInfo start = new("dotnet", [Program("Cluster"), .. arguments]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
            (start.Environment["SiloPort"], start.Environment["GatewayPort"], start.Environment["GEMMA_MODEL"]) = ($"{silo}", $"{gateway}", "nano");
            start.Environment.Remove("ConnectionStrings__redis");
            start.Environment.Remove("ConnectionStrings__postgresql");
            return start;
        }
    }

    /// <summary>Aspire writes down what it would start; its orchestrator, which starts it, is not needed for that.</summary>
    [Theory]
    [InlineData("redis")]
    [InlineData("postgresql")]
    public async Task TheAppHostOfTheClusterHasThreeNodes(string store)
    {
        using TempDirectory folder = new();
        ProcessStartInfo start = new("dotnet", [Program("ClusterAppHost"), "--operation", "publish", "--publisher", "manifest", "--output-path", folder.File("manifest.json")]);
        start.Environment.Remove("ConnectionStrings__redis");
        start.Environment.Remove("ConnectionStrings__postgresql");
        start.Environment[$"ConnectionStrings__{store}"] = "Host=10.0.0.5";
        (int exit, string output, string errors) = await ProgramRun.ToEndAsync(start, TimeSpan.FromMinutes(2));
        Assert.True(exit == 0, output + errors);
        JsonElement resources = JsonElement.Parse(File.ReadAllText(folder.File("manifest.json"))).GetProperty("resources");
        Assert.Equal([store, "node0", "node1", "node2"], resources.EnumerateObject().Select(resource => resource.Name));
        for (int number = 0; number < 3; number++)
        {
            JsonElement node = resources.GetProperty($"node{number}");
            Assert.EndsWith("samples/Cluster/Cluster.csproj", node.GetProperty("path").GetString(), StringComparison.Ordinal);
            Assert.Equal(["node", $"{number}"], node.GetProperty("args").EnumerateArray().Select(argument => argument.GetString()!));
            Assert.Equal($"{{{store}.connectionString}}", node.GetProperty("env").GetProperty($"ConnectionStrings__{store}").GetString());
        }
    }

    private static string Program(string sample)
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        return Path.Combine(TestData.Repository, "samples", sample, "bin", configuration, "net10.0", $"{sample}.dll");
    }

    private static async Task<string> RunAsync(string sample, string model)
    {
        ProcessStartInfo start = new("dotnet", [Program(sample)]);
        start.Environment["GEMMA_MODEL"] = model;
        (int exit, string output, string errors) = await ProgramRun.ToEndAsync(start, TimeSpan.FromMinutes(2));
        Assert.True(exit == 0, $"{sample} ended with {exit}: {errors}");
        return output;
    }
}
