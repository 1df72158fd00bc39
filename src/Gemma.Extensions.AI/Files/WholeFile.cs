using System.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>
/// Writes files so that a name always means a whole one: what was there before, or what is new. Whatever ends the writing (a full disk, the end of the
/// process or of the machine), the old file stays as it was.
/// </summary>
internal static class WholeFile
{
    /// <summary>Suffix of a file until it is complete. The next writer starts it over.</summary>
    public static string PartialOf(string path) => path + ".partial";

    /// <summary>Writes a file, in place of one that may be there. One at a time does so: another one is refused.</summary>
    /// <exception cref="IOException">The file cannot be written; the message of a full disk says what to do. Or it is being written already.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        WritePartial(path, PartialOf(path), write);
        Publish(PartialOf(path), path);
    }

    /// <summary>Writes a text in UTF-8.</summary>
    public static void Write(string path, string text) => Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(text)));

    /// <summary>Writes a file that others may be writing at the same time; the last one to finish stays.</summary>
    /// <exception cref="IOException">The file cannot be written; the message of a full disk says what to do.</exception>
    public static void WriteShared(string path, Action<Stream> write)
    {
        DeleteLeftOver(path);
        string partial = $"{path}.{Guid.NewGuid():N}.tmp";
        WritePartial(path, partial, write);
        Publish(partial, path);
    }

    /// <summary>Writes what is to be <paramref name="path"/> under another name, up to the disk. Nothing is left of it where that fails.</summary>
    public static void WritePartial(string path, string partial, Action<Stream> write)
    {
        FileStream file;
        try
        {
            file = new FileStream(partial, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20); // not ours to remove where another one writes it
        }
        catch (IOException e) when (DiskFull.Is(e))
        {
            throw DiskFull.At(path, e);
        }

        try
        {
            using (file)
            {
                write(file);
                file.Flush(flushToDisk: true);
            }
        }
        catch (Exception e)
        {
            File.Delete(partial);
            if (DiskFull.Is(e))
            {
                throw DiskFull.At(path, e);
            }

            throw;
        }
    }

    /// <summary>Gives a complete file its name; it is removed where that cannot be.</summary>
    public static void Publish(string partial, string path)
    {
        try
        {
            File.Move(partial, path, overwrite: true);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }

    /// <summary>Removes what killed processes left: nobody holds it, and it has not been begun just now.</summary>
    private static void DeleteLeftOver(string path)
    {
        string full = Path.GetFullPath(path), directory = Path.GetDirectoryName(full)!, name = Path.GetFileName(full);
        foreach (string file in Directory.Exists(directory) ? Directory.EnumerateFiles(directory, "*.tmp") : [])
        {
            ReadOnlySpan<char> found = Path.GetFileName(file.AsSpan());
            if (found.StartsWith(name + ".", StringComparison.Ordinal) && Guid.TryParseExact(found[(name.Length + 1)..^".tmp".Length], "N", out _)
                && DateTime.UtcNow - File.GetLastWriteTimeUtc(file) > TimeSpan.FromMinutes(1))
            {
                try
                {
                    new FileStream(file, FileMode.Open, FileAccess.ReadWrite, FileShare.None).Dispose();
                    File.Delete(file);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // Someone is writing it, or it is not ours.
                }
            }
        }
    }
}
