using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Tests.Packages;

/// <summary>The program that runs these tests, whatever stands first in PATH, as a command. No build server serves it, which others could hold up, stop, or be held up by.</summary>
internal static class DotnetTool
{
    /// <summary>Folder of the program.</summary>
    public static string Root { get; } = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", ".."));

    /// <summary>Runs <c>dotnet</c> with arguments; output and errors together.</summary>
    public static Task<(int Exit, string Output)> RunAsync(params string[] arguments) => RunAsync(null, arguments);

    /// <inheritdoc cref="RunAsync(string[])"/>
    public static async Task<(int Exit, string Output)> RunAsync(string? folder, string[] arguments)
    {
        ProcessStartInfo start = new(Path.Combine(Root, "dotnet"), arguments) { WorkingDirectory = folder ?? AppContext.BaseDirectory };
        foreach ((string name, string value) in (ReadOnlySpan<(string, string)>)[
            ("MSBUILDDISABLENODEREUSE", "1"), ("UseSharedCompilation", "false"), ("UseRazorBuildServer", "false"), ("DOTNET_CLI_USE_MSBUILD_SERVER", "0"), ("DOTNET_CLI_TELEMETRY_OPTOUT", "1"), ("DOTNET_NOLOGO", "1")])
        {
            start.Environment[name] = value;
        }

        (int exit, string output, string errors) = await ProgramRun.ToEndAsync(start, TimeSpan.FromMinutes(10));
        return (exit, output + errors);
    }
}
