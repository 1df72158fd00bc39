using Gemma.Extensions.AI.Orleans.Nodes;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>Answers go on only where the same is computed.</summary>
public class ModelIdentityTests
{
    /// <summary>The first part may have metadata alone, which many models share.</summary>
    [Fact]
    public async Task EveryPartOfASplitFileCounts()
    {
        using TempDirectory folder = new();
        string[] first = Write("a", 1, 2), same = Write("b", 1, 2), other = Write("c", 1, 3);
        Assert.Equal(await HashAsync(first[0]), await HashAsync(same[0]));
        Assert.Equal(await HashAsync(first[0]), await HashAsync(first[1]));
        Assert.NotEqual(await HashAsync(first[0]), await HashAsync(other[0]));

        string[] Write(string name, params byte[] parts)
        {
            string at = Directory.CreateDirectory(folder.File(name)).FullName;
            string[] paths = [.. parts.Select((_, i) => Path.Combine(at, $"model-{i + 1:D5}-of-{parts.Length:D5}.gguf"))];
            for (int i = 0; i < parts.Length; i++)
            {
                File.WriteAllBytes(paths[i], [parts[i]]);
            }

            return paths;
        }

        static Task<string> HashAsync(string path) => ModelIdentity.HashAsync(path, CancellationToken.None);
    }
}
