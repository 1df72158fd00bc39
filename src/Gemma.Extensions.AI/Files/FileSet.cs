namespace Gemma.Extensions.AI.Files;

/// <summary>
/// Files of a directory that mean something together only, such as weights with their configuration and vocabulary. They are replaced as one: all are
/// written before the first gets its name, and the main file, which a reader needs first, exists only while all others belong to it.
/// </summary>
internal sealed class FileSet(string directory)
{
    private readonly List<(string Path, byte[]? Bytes)> _others = [];

    /// <summary>Adds a file; nothing happens to one that holds these bytes already.</summary>
    public void Add(string name, byte[] bytes)
    {
        string path = Path.Combine(directory, name);
        if (!File.Exists(path) || new FileInfo(path).LinkTarget is not null || new FileInfo(path).Length != bytes.Length || !File.ReadAllBytes(path).AsSpan().SequenceEqual(bytes))
        {
            _others.Add((path, bytes));
        }
    }

    /// <summary>Has a file removed that is of another set.</summary>
    public void Remove(string name)
    {
        if (File.Exists(Path.Combine(directory, name)))
        {
            _others.Add((Path.Combine(directory, name), null));
        }
    }

    /// <summary>Writes the main file and all that was added, in a directory that is created where missing.</summary>
    /// <exception cref="IOException">The files cannot be written; those that were there are as before. The message of a full disk says what to do.</exception>
    public void Save(string name, Action<Stream> write)
    {
        Directory.CreateDirectory(directory);
        string main = Path.Combine(directory, name);
        List<string> partials = [];
        try
        {
            foreach ((string path, byte[]? bytes) in _others.Where(other => other.Bytes is not null).Append((main, null)))
            {
                WholeFile.WritePartial(path, WholeFile.PartialOf(path), bytes is null ? write : stream => stream.Write(bytes));
                partials.Add(WholeFile.PartialOf(path));
            }
        }
        catch
        {
            partials.ForEach(File.Delete);
            throw;
        }

        if (_others.Count > 0)
        {
            File.Delete(main); // from here to the end there is no model, rather than the old weights with a new vocabulary
        }

        foreach ((string path, byte[]? bytes) in _others)
        {
            if (bytes is null)
            {
                File.Delete(path);
            }
            else
            {
                WholeFile.Publish(WholeFile.PartialOf(path), path);
            }
        }

        WholeFile.Publish(WholeFile.PartialOf(main), main);
    }
}
