using System.IO.MemoryMappedFiles;

namespace Gemma.Extensions.AI.Files;

/// <summary>A whole file mapped read-only into memory. Nothing is read until it is touched.</summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private byte* _data;

    /// <summary>Maps the file.</summary>
    /// <exception cref="GemmaModelFormatException">There is no such file, it may not be read, or it is empty.</exception>
    public MappedFile(string path)
    {
        Path = System.IO.Path.GetFullPath(path);
        // The length of a symbolic link (as in a Hugging Face cache) is that of its target.
        using FileStream stream = OpenRead(Path);
        Length = stream.Length;
        if (Length == 0)
        {
            throw new GemmaModelFormatException($"'{Path}' is empty. The download probably failed; run 'gemma pull' again.");
        }

        _file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        try
        {
            _view = _file.CreateViewAccessor(0, Length, MemoryMappedFileAccess.Read);
            _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _data);
            HugePages.Advise(Data, Length);
        }
        catch
        {
            _view?.Dispose();
            _file.Dispose();
            throw;
        }
    }

    /// <summary>Full path.</summary>
    public string Path { get; }

    public long Length { get; }

    /// <summary>First byte. Valid until the file is disposed.</summary>
    public byte* Data => _data + _view.PointerOffset;

    /// <summary>Where private memory lies under the mapping, after <see cref="MoveToHugePages"/>.</summary>
    public IReadOnlyList<MemoryArea> PrivateAreas { get; private set; } = [];

    /// <summary>Opens a file of a model.</summary>
    /// <exception cref="GemmaModelFormatException">There is no such file, or it may not be read.</exception>
    public static FileStream OpenRead(string path)
    {
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            string what = new FileInfo(path).LinkTarget is { } target ? $"'{path}' is a link to '{target}', where there is no file" : $"There is no file '{path}'";
            throw new GemmaModelFormatException($"{what}. Check the path, or download the model with 'gemma pull'.", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new GemmaModelFormatException($"'{path}' cannot be read: {(Directory.Exists(path) ? "it is a directory" : "this process is not permitted to")}. Check the path and the permissions of the file.", e);
        }
    }

    /// <summary>Puts private memory in pages of 2 MB under the mapping, as far as the system has any (<see cref="HugePages.Replace"/>). Returns how many bytes lie there.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public long MoveToHugePages(CancellationToken cancellationToken)
    {
        PrivateAreas = HugePages.Replace(Data, Length, cancellationToken);
        return PrivateAreas.Sum(area => (long)area.Length);
    }

    public void Dispose()
    {
        if (_data is not null)
        {
            _data = null;
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
            _file.Dispose();
        }
    }
}
