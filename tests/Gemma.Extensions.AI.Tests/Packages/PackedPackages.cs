using System.IO.Compression;
using System.Xml.Linq;

namespace Gemma.Extensions.AI.Tests.Packages;

/// <summary>The project's packages, packed once for all tests from what was built for them, with a version that no other run has.</summary>
public sealed class PackedPackages : IAsyncLifetime
{
    private readonly TempDirectory _folder = new();

    /// <summary>The version of all packages.</summary>
    public string Version { get; } = $"0.1.0-t{Guid.NewGuid():N}"[..18];

    /// <summary>Folder of the packages.</summary>
    public string Feed => _folder.File("feed");

    /// <summary>Ids of the packages, in order.</summary>
    public IEnumerable<string> Ids => Directory.EnumerateFiles(Feed, $"*.{Version}.nupkg").Select(file => Path.GetFileName(file)[..^(Version.Length + ".nupkg".Length + 1)]).Order(StringComparer.Ordinal);

    public async ValueTask InitializeAsync()
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        string project = _folder.File("pack.proj");
        await File.WriteAllTextAsync(project, $"""
            <Project>
              <ItemGroup><Packed Include="{TestData.Repository}/src/*/*.csproj" Exclude="{TestData.Repository}/src/*/*.Recipe.csproj;{TestData.Repository}/src/*/*.Cli.csproj" /></ItemGroup>
              <Target Name="Pack">
                <MSBuild Projects="@(Packed)" Targets="Pack" BuildInParallel="true" Properties="NoBuild=true;Configuration={configuration};Version={Version};PackageOutputPath={Feed};NuspecOutputPath={_folder.File("nuspec")}/" />
              </Target>
            </Project>
            """);
        (int exit, string said) = await DotnetTool.RunAsync("msbuild", project, "-t:Pack", "-v:q", "-nologo");
        Assert.True(exit == 0, said);
    }

    public ValueTask DisposeAsync()
    {
        _folder.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <summary>Path of a package, or of its symbols with the extension <c>snupkg</c>.</summary>
    public string PathOf(string id, string extension = "nupkg") => Path.Combine(Feed, $"{id}.{Version}.{extension}");

    /// <summary>The description of a package.</summary>
    public XElement Nuspec(string id)
    {
        using ZipArchive package = ZipFile.OpenRead(PathOf(id));
        using Stream stream = package.GetEntry($"{id}.nuspec")!.Open();
        XElement root = XDocument.Load(stream).Root!;
        foreach (XElement element in root.DescendantsAndSelf())
        {
            element.Name = element.Name.LocalName;
        }

        return root.Element("metadata")!;
    }

    /// <summary>
    /// Makes a folder whose projects find the packages here, other packages on this machine or where its settings say, and keep what they restore to themselves.
    /// </summary>
    public void PrepareFolder(string folder, string? feed = null)
    {
        string cache = Environment.GetEnvironmentVariable("NUGET_PACKAGES") ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        Directory.CreateDirectory(cache);
        File.WriteAllText(Path.Combine(folder, "nuget.config"), $"""
            <configuration>
              <config><add key="globalPackagesFolder" value="{Path.Combine(folder, "packages")}" /></config>
              <packageSources><add key="packed" value="{feed ?? Feed}" /></packageSources>
              <fallbackPackageFolders><add key="machine" value="{cache}" /></fallbackPackageFolders>
            </configuration>
            """);
    }

    /// <summary>Restores a project; skips the test where packages of others can't be had.</summary>
    public static async Task<(int Exit, string Output)> RestoreAsync(string folder)
    {
        (int exit, string said) = await DotnetTool.RunAsync(folder, ["restore", "-v:q", "-nologo"]);
        Assert.SkipWhen(exit != 0 && (said.Contains("NU1301", StringComparison.Ordinal) || said.Contains("NU1101", StringComparison.Ordinal)), $"Packages of others can't be restored here: {said}");
        return (exit, said);
    }
}
