using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Tests.Packages;

namespace Gemma.Extensions.AI.Tests.AheadOfTime;

/// <summary>Programs are compiled ahead of time one after the other: each takes a gigabyte and more.</summary>
[CollectionDefinition(Name)]
public sealed class AheadOfTimeCollection
{
    public const string Name = "compiled ahead of time";
}

/// <summary>A program of tests/Gemma.Extensions.AI.NAME, published with NativeAOT where clang is installed, over the libraries as they were built for the tests.</summary>
public abstract partial class PublishedProgram(string name, params string[] libraries) : IAsyncLifetime
{
    private readonly TempDirectory _folder = new();
    private string? _lacks;
    private int _exit;
    private string _said = "";

    public string Program => _folder.File($"out/{name}");

    /// <summary>Skips a test where nothing could be published; fails it where that went wrong, or with a warning.</summary>
    public void SkipOrFail()
    {
        Assert.SkipUnless(_lacks is null, _lacks ?? "");
        Assert.True(_exit == 0, _said);
        Assert.DoesNotMatch(Warning(), _said);
    }

    /// <summary>Why nothing can be published here; null if it can.</summary>
    public static string? Lacks() => !OperatingSystem.IsLinux() ? "The program is linked as on Linux." : !Find("clang") ? "clang is not installed, which NativeAOT links with (Debian: clang, zlib1g-dev)." : null;

    public static bool Find(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(folder => File.Exists(Path.Combine(folder, program)));

    public async ValueTask InitializeAsync()
    {
        _lacks = Lacks();
        if (_lacks is not null)
        {
            return;
        }

        string project = Path.Combine(TestData.Repository, "tests", $"Gemma.Extensions.AI.{name}", $"{name}.csproj");
        string folder = Directory.CreateDirectory(_folder.File("libraries")).FullName + Path.DirectorySeparatorChar;
        foreach (string library in libraries)
        {
            File.Copy(Path.Combine(AppContext.BaseDirectory, library), folder + library); // as they are now: whoever builds meanwhile writes them again
        }

        string[] settings = ["-r", RuntimeInformation.RuntimeIdentifier, "--artifacts-path", _folder.File("artifacts"), $"-p:Libraries={folder}", "-nologo"];
        (int restored, string why) = await DotnetTool.RunAsync(["restore", project, .. settings]);
        if (restored != 0)
        {
            _lacks = $"The packages of the compiler could not be restored: {why}";
            return;
        }

        (_exit, _said) = await DotnetTool.RunAsync(["publish", project, "-c", "Release", "--no-restore", .. settings, "-o", _folder.File("out")]);
    }

    public ValueTask DisposeAsync()
    {
        _folder.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <summary>A warning of trimming or of compilation ahead of time, about the libraries or what they bring.</summary>
    [GeneratedRegex(@"warning IL\d+:")]
    private static partial Regex Warning();
}
