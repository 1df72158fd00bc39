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

    /// <summary>Weights that were moved have the same bytes at the same addresses, also for those who read them meanwhile, and no longer belong to the file.</summary>
    [Fact]
    public void MovingToHugePagesKeepsBytesAndAddressesWhileOthersRead()
    {
        Assert.SkipWhen(HugePages.Unsupported() is not null, $"No huge pages: {HugePages.Unsupported()}.");
        string path = Path.GetTempFileName();
        try
        {
            byte[] content = new byte[(2 * HugePages.Piece) + (5 * HugePages.Size) + 12345];
            new Random(1).NextBytes(content);
            File.WriteAllBytes(path, content);
            using MappedFile file = new(path);
            byte* data = file.Data;
            bool stop = false, differs = false;
            Thread reader = new(() =>
            {
                while (!Volatile.Read(ref stop))
                {
                    differs |= !new ReadOnlySpan<byte>(data, content.Length).SequenceEqual(content);
                }
            });
            reader.Start();
            long moved;
            try
            {
                moved = file.MoveToHugePages(TestContext.Current.CancellationToken);
            }
            finally
            {
                Volatile.Write(ref stop, true);
                reader.Join();
            }

            Assert.False(differs, "A reader saw other bytes while they were moved.");
            Assert.True(data == file.Data);
            Assert.True(new ReadOnlySpan<byte>(data, content.Length).SequenceEqual(content));
            Assert.InRange(moved, content.Length - (2 * HugePages.Size), content.Length);

            // What was moved is the process's own: the file may change under it, as far as only the ends show it.
            using (FileStream change = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete))
            {
                change.Write(new byte[content.Length]);
            }

            int middle = content.Length / 2;
            Assert.Equal(content.AsSpan(middle, 4096), new ReadOnlySpan<byte>(data + middle, 4096));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void MovingStopsWhenItIsCancelledAndTheFileStaysReadable()
    {
        Assert.SkipWhen(HugePages.Unsupported() is not null, $"No huge pages: {HugePages.Unsupported()}.");
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, [.. Enumerable.Repeat((byte)7, 3 * HugePages.Size)]);
            using MappedFile file = new(path);
            Assert.ThrowsAny<OperationCanceledException>(() => file.MoveToHugePages(new CancellationToken(canceled: true)));
            Assert.Equal(7, file.Data[file.Length - 1]);
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>A file without a whole page of 2 MB has nothing to move.</summary>
    [Fact]
    public void SmallFilesStayMapped()
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, [1, 2, 3]);
            using MappedFile file = new(path);
            Assert.Equal(0, file.MoveToHugePages(CancellationToken.None));
            Assert.Equal(3, file.Data[2]);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
