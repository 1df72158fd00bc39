using System.Diagnostics;
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
