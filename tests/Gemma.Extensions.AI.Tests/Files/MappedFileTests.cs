using System.Globalization;
using Gemma.Extensions.AI.Files;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Files;

public sealed unsafe class MappedFileTests
{
    /// <summary>Linux is asked to read a model in pieces of 2 MB: the flag "hg" of the mapping.</summary>
    [Fact]
    public void LargeFilesAreMappedByHugePagesWhereThereAreAny()
    {
        Assert.SkipUnless(Directory.Exists("/sys/kernel/mm/transparent_hugepage"), "The system has no transparent huge pages.");
        string path = Path.GetTempFileName();
        try
        {
            using (FileStream stream = File.OpenWrite(path))
            {
                stream.SetLength((HugePages.Size * 2) + 1000);
            }

            using MappedFile file = new(path);
            Assert.Equal(0, file.Data[file.Length - 1]);
            string begin = ((nint)file.Data).ToString("x", CultureInfo.InvariantCulture) + "-";
            string flags = File.ReadLines("/proc/self/smaps").SkipWhile(line => !line.TrimStart('0').StartsWith(begin, StringComparison.Ordinal)).First(line => line.StartsWith("VmFlags:", StringComparison.Ordinal));
            Assert.Contains(" hg", flags, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
