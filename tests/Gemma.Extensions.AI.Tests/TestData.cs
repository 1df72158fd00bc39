using Xunit;

namespace Gemma.Extensions.AI.Tests;

/// <summary>Finds the data that tests read.</summary>
internal static class TestData
{
    /// <summary>The folder of Gemma.Extensions.AI.sln.</summary>
    public static string Repository { get; } = FindRepository();

    /// <summary>Path of a golden in tests/Gemma.Extensions.AI.Tests/Data.</summary>
    public static string Local(string relative)
    {
        string path = Path.Combine(Repository, "tests", "Gemma.Extensions.AI.Tests", "Data", relative);
        Assert.True(Path.Exists(path), $"'{path}' is missing: the goldens are part of the repository.");
        return path;
    }

    /// <summary>Path of reference data beside the repository, which need not be there: the test is skipped then.</summary>
    public static string Shared(string relative)
    {
        string path = Path.Combine(Repository, "..", "shared", relative);
        Assert.SkipUnless(Path.Exists(path), $"The reference data '../shared/{relative}' is not on this machine.");
        return path;
    }

    private static string FindRepository()
    {
        for (DirectoryInfo? directory = new(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
        {
            if (File.Exists(Path.Combine(directory.FullName, "Gemma.Extensions.AI.sln")))
            {
                return directory.FullName;
            }
        }

        throw new InvalidOperationException("The tests run outside the repository.");
    }
}

/// <summary>A directory of its own for one test, deleted at the end.</summary>
internal sealed class TempDirectory : IDisposable
{
    public TempDirectory() => Path = Directory.CreateTempSubdirectory("gemma-test-").FullName;

    public string Path { get; }

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose()
    {
        try
        {
            Directory.Delete(Path, recursive: true);
        }
        catch (IOException)
        {
            // A file may still be mapped on Windows; the system clears the folder.
        }
    }
}
