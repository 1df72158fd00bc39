using System.IO.Compression;
using System.Reflection.Metadata;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Gemma.Extensions.AI.Tests.Packages;

/// <summary>What the packed packages ask for and carry, and that applications restore, build and run with them.</summary>
[Collection(PackageCollection.Name)]
public sealed partial class PackageTests(PackedPackages packed) : IDisposable
{
    /// <summary>What Microsoft.Extensions.AI 10.11 asks for itself.</summary>
    private static readonly Version s_floor = new(10, 0, 13);

    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void OfDotNetsOwnPackagesNoneIsWantedThatIsNewerThanMicrosoftExtensionsAIWants()
    {
        Assert.Contains("Gemma.Extensions.AI", packed.Ids);
        foreach (string id in packed.Ids)
        {
            foreach ((string name, string version) in Dependencies(id))
            {
                Assert.DoesNotContain(name, (string[])["Microsoft.Extensions.Http.Resilience", "Polly.Core", "Google.Protobuf"]);
                if (OfDotNet().IsMatch(name))
                {
                    Assert.True(Version.Parse(version) <= s_floor, $"{id} asks for {name} {version}.");
                }
            }
        }
    }

    [Fact]
    public void PackagesAskForEachOthersExactVersion()
    {
        Assert.All(packed.Ids, id => Assert.All(Dependencies(id).Where(dependency => dependency.Name.StartsWith("Gemma.", StringComparison.Ordinal)), dependency => Assert.Equal($"[{packed.Version}]", dependency.Version)));
        Assert.Contains(Dependencies("Gemma.Extensions.AI.Rag"), dependency => dependency.Name == "Gemma.Extensions.AI");
    }

    [Fact]
    public void EveryPackageSaysWhatItIsAndWhereItComesFrom()
    {
        string[] readmes = [.. packed.Ids.Select(id =>
        {
            XElement metadata = packed.Nuspec(id);
            using ZipArchive package = ZipFile.OpenRead(packed.PathOf(id));
            Assert.Equal("MIT", metadata.Element("license")!.Value);
            Assert.NotNull(package.GetEntry(metadata.Element("icon")!.Value));
            Assert.NotEmpty(metadata.Element("releaseNotes")!.Value);
            Assert.True(metadata.Element("description")!.Value.Length > 40, id);
            Assert.Equal(metadata.Element("projectUrl")!.Value, metadata.Element("repository")!.Attribute("url")!.Value);
            Assert.Matches("^[0-9a-f]{40}$", metadata.Element("repository")!.Attribute("commit")!.Value);
            using StreamReader readme = new(package.GetEntry(metadata.Element("readme")!.Value)!.Open());
            return readme.ReadToEnd();
        })];
        Assert.Equal(readmes.Length, readmes.Distinct().Count()); // each its own
    }

    [Fact]
    public void DebugSymbolsLeadToTheSourceOfTheCommit()
    {
        foreach (string id in packed.Ids.Where(id => File.Exists(packed.PathOf(id, "snupkg"))))
        {
            using ZipArchive package = ZipFile.OpenRead(packed.PathOf(id, "snupkg"));
            using MemoryStream symbols = new();
            using (Stream entry = package.Entries.Single(entry => entry.Name == id + ".pdb").Open())
            {
                entry.CopyTo(symbols);
            }

            symbols.Position = 0;
            using MetadataReaderProvider provider = MetadataReaderProvider.FromPortablePdbStream(symbols);
            MetadataReader reader = provider.GetMetadataReader();
            Guid sourceLink = new("CC110556-A091-4D38-9FEC-25AB9A351A6A");
            CustomDebugInformation information = reader.CustomDebugInformation.Select(reader.GetCustomDebugInformation).Single(found => reader.GetGuid(found.Kind) == sourceLink);
            string url = JsonElement.Parse(Encoding.UTF8.GetString(reader.GetBlobBytes(information.Value))).GetProperty("documents").EnumerateObject().First().Value.GetString()!;
            string place = new Uri(packed.Nuspec(id).Element("projectUrl")!.Value).AbsolutePath;
            Assert.Matches($"{Regex.Escape(place)}/[0-9a-f]{{40}}/\\*$", url);
        }

        Assert.True(File.Exists(packed.PathOf("Gemma.Extensions.AI", "snupkg")));
    }

    [Fact]
    public async Task AnApplicationOnTheFloorVersionsRestoresBuildsAndRuns()
    {
        packed.PrepareFolder(_folder.Path);
        string pins = string.Concat(packed.Ids.Where(IsLibrary).Select(id => $"<PackageVersion Include=\"{id}\" Version=\"{packed.Version}\" />"));
        string[] floors =
        [
            "Configuration.Abstractions", "Configuration.Binder", "DependencyInjection", "DependencyInjection.Abstractions", "Diagnostics.HealthChecks", "Hosting", "Logging", "Logging.Abstractions",
            "Options", "Options.ConfigurationExtensions", "Primitives",
        ];
        pins += string.Concat(floors.Select(name => $"<PackageVersion Include=\"Microsoft.Extensions.{name}\" Version=\"{s_floor}\" />"));
        await File.WriteAllTextAsync(_folder.File("Directory.Packages.props"), $"""
            <Project>
              <PropertyGroup><ManagePackageVersionsCentrally>true</ManagePackageVersionsCentrally><CentralPackageTransitivePinningEnabled>true</CentralPackageTransitivePinningEnabled></PropertyGroup>
              <ItemGroup>{pins}<PackageVersion Include="Google.Protobuf" Version="3.30.2" /></ItemGroup>
            </Project>
            """);
        await WriteProjectAsync(string.Concat(packed.Ids.Where(IsLibrary).Append("Microsoft.Extensions.Hosting").Select(id => $"<PackageReference Include=\"{id}\" />"))
            + "<PackageReference Include=\"Google.Protobuf\" ExcludeAssets=\"all\" />");
        await File.WriteAllTextAsync(_folder.File("Program.cs"), """
            using Gemma.Extensions.AI.Rag;
            using Microsoft.Extensions.AI;
            using Microsoft.Extensions.DependencyInjection;
            using Microsoft.Extensions.Hosting;

            HostApplicationBuilder builder = Host.CreateApplicationBuilder(args);
            builder.Services.AddGemmaChatClient("nano");
            builder.Services.AddGemmaRag("nano", options => options.DatabasePath = Path.Combine(AppContext.BaseDirectory, "passages.db"));
            using IHost host = builder.Build();
            Console.WriteLine(await host.Services.GetRequiredService<IChatClient>().GetResponseAsync("Hello, who are you?"));
            File.WriteAllText("pump.md", "The pump is serviced in March.");
            await host.Services.GetRequiredService<DocumentIngestor>().IngestAsync([SourceDocument.FromFile("pump.md")!]);
            Console.WriteLine((await host.Services.GetRequiredService<DocumentRetriever>().SearchAsync("When is the pump serviced?", 3)).Count);
            """);

        (int exit, string said) = await PackedPackages.RestoreAsync(_folder.Path);
        Assert.True(exit == 0, said);
        using (JsonDocument assets = JsonDocument.Parse(await File.ReadAllTextAsync(_folder.File("obj/project.assets.json"))))
        {
            string[] restored = [.. assets.RootElement.GetProperty("libraries").EnumerateObject().Select(library => library.Name)];
            Assert.Contains($"Microsoft.Extensions.Options/{s_floor}", restored);
            IEnumerable<string> wantPolly = assets.RootElement.GetProperty("targets").EnumerateObject().SelectMany(target => target.Value.EnumerateObject())
                .Where(library => library.Value.TryGetProperty("dependencies", out JsonElement needs) && needs.EnumerateObject().Any(need => need.Name.StartsWith("Polly", StringComparison.Ordinal)))
                .Select(library => library.Name);
            Assert.All(wantPolly, name => Assert.True(name.StartsWith("Polly", StringComparison.Ordinal) || name.StartsWith("Microsoft.Orleans", StringComparison.Ordinal), name)); // Orleans' own runtime uses it
        }

        (exit, said) = await DotnetTool.RunAsync(_folder.Path, ["build", "--no-restore", "-v:q", "-nologo"]);
        Assert.True(exit == 0, said);
        string output = _folder.File("bin/Debug/net10.0");
        Assert.False(File.Exists(Path.Combine(output, "Google.Protobuf.dll")));
        (exit, said) = await DotnetTool.RunAsync(_folder.Path, [Path.Combine(output, "app.dll")]);
        Assert.True(exit == 0, said);
        Assert.Contains("I am gemma2-nano", said, StringComparison.Ordinal);
        Assert.Contains("\n1", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task PackagesOfTwoVersionsAreNotRestoredTogether()
    {
        packed.PrepareFolder(_folder.Path, OtherVersion("Gemma.Extensions.AI.Training", "Gemma.Extensions.AI"));
        await WriteProjectAsync($"""<PackageReference Include="Gemma.Extensions.AI.Nano" Version="{packed.Version}" /><PackageReference Include="Gemma.Extensions.AI.Training" Version="9.9.9" />""");
        (int exit, string said) = await PackedPackages.RestoreAsync(_folder.Path);
        Assert.NotEqual(0, exit);
        Assert.Contains("NU1107", said, StringComparison.Ordinal);
    }

    /// <summary>Restore only warns (NU1608) where a project asks for another version itself, and where the newer of two packages has the name that comes first.</summary>
    [Fact]
    public async Task WhereRestoreOnlyWarnsOfAnotherVersionTheProjectDoesNotBuild()
    {
        packed.PrepareFolder(_folder.Path, OtherVersion("Gemma.Extensions.AI"));
        await WriteProjectAsync($"""<PackageReference Include="Gemma.Extensions.AI" Version="9.9.9" /><PackageReference Include="Gemma.Extensions.AI.Nano" Version="{packed.Version}" />""");
        await File.WriteAllTextAsync(_folder.File("Program.cs"), "System.Console.WriteLine();");
        (int exit, string said) = await PackedPackages.RestoreAsync(_folder.Path);
        Assert.True(exit == 0, said);
        (exit, said) = await DotnetTool.RunAsync(_folder.Path, ["build", "--no-restore", "-v:q", "-nologo"]);
        Assert.NotEqual(0, exit);
        Assert.Contains("GEMMA0001", said, StringComparison.Ordinal);
        Assert.Contains($"Gemma.Extensions.AI.Nano {packed.Version}", said, StringComparison.Ordinal);
    }

    private static bool IsLibrary(string id) => !id.EndsWith(".Templates", StringComparison.Ordinal);

    private IEnumerable<(string Name, string Version)> Dependencies(string id) =>
        packed.Nuspec(id).Descendants("dependency").Select(dependency => (dependency.Attribute("id")!.Value, dependency.Attribute("version")!.Value));

    private Task WriteProjectAsync(string references) => File.WriteAllTextAsync(_folder.File("app.csproj"), $"""
        <Project Sdk="Microsoft.NET.Sdk">
          <PropertyGroup><OutputType>Exe</OutputType><TargetFramework>net10.0</TargetFramework><ImplicitUsings>enable</ImplicitUsings><Nullable>enable</Nullable></PropertyGroup>
          <ItemGroup>{references}</ItemGroup>
        </Project>
        """);

    /// <summary>A feed that also has some packages as version 9.9.9.</summary>
    private string OtherVersion(params string[] ids)
    {
        string feed = Directory.CreateDirectory(_folder.File("mixed")).FullName;
        foreach (string file in Directory.EnumerateFiles(packed.Feed, "*.nupkg"))
        {
            File.Copy(file, Path.Combine(feed, Path.GetFileName(file)));
        }

        foreach (string id in ids)
        {
            string copy = Path.Combine(feed, $"{id}.9.9.9.nupkg");
            File.Copy(packed.PathOf(id), copy);
            using ZipArchive package = ZipFile.Open(copy, ZipArchiveMode.Update);
            string nuspec;
            using (StreamReader reader = new(package.GetEntry($"{id}.nuspec")!.Open()))
            {
                nuspec = reader.ReadToEnd();
            }

            package.GetEntry($"{id}.nuspec")!.Delete();
            using StreamWriter writer = new(package.CreateEntry($"{id}.nuspec").Open());
            writer.Write(nuspec.Replace(packed.Version, "9.9.9", StringComparison.Ordinal));
        }

        return feed;
    }

    /// <summary>Packages that are released with .NET itself, whose versions applications pin together.</summary>
    [GeneratedRegex(@"^(Microsoft\.Extensions\.(?!AI|VectorData)|Microsoft\.Data\.Sqlite|System\.)")]
    private static partial Regex OfDotNet();
}

/// <summary>Tests over the packed packages, which are packed once.</summary>
[CollectionDefinition(Name)]
public sealed class PackageCollection : ICollectionFixture<PackedPackages>
{
    public const string Name = "packages";
}
