using System.Diagnostics;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

public sealed class SampleTests
{
    /// <summary>The sample as a user runs it, twice over one folder. The model is senseless, so only what doesn't depend on it is checked.</summary>
    [Fact]
    public async Task TheSampleReadsAFolderOnceAndAnswers()
    {
        using TempDirectory folder = new();
        await File.WriteAllTextAsync(folder.File("boiler.md"), "# Boiler\n\nThe boiler pressure must stay between one and two bar.");
        await File.WriteAllTextAsync(folder.File("broken.pdf"), "no pdf");
        string first = await RunAsync(folder.Path, TestData.Local("tiny"), "Who painted the sunflowers?");
        Assert.Contains("Stored: boiler.md (1 passages)", first, StringComparison.Ordinal);
        Assert.Contains("Failed: broken.pdf", first, StringComparison.Ordinal);
        Assert.Contains("That is not in the documents.", first, StringComparison.Ordinal);
        string second = await RunAsync(folder.Path, TestData.Local("tiny"), "Who painted the sunflowers?");
        Assert.Contains("0 documents read, 1 unchanged, 0 removed.", second, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AFolderThatIsNotThereIsSaidAtOnce()
    {
        using TempDirectory folder = new();
        (int code, _, string error) = await StartAsync(folder.File("nowhere"), TestData.Local("tiny"), "Who?");
        Assert.Equal((1, "Usage: Rag FOLDER [MODEL] [QUESTION], where FOLDER exists"), (code, error.Trim()));
    }

    private static async Task<string> RunAsync(params string[] arguments)
    {
        (int code, string output, string error) = await StartAsync(arguments);
        Assert.True(code == 0, error);
        return output;
    }

    private static async Task<(int Code, string Output, string Error)> StartAsync(params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Rag.dll"), .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output, await error);
    }
}
