using System.IO.MemoryMappedFiles;

namespace Gemma.Extensions.AI.Files;

/// <summary>A whole file mapped read-only into memory. Nothing is read until it is touched.</summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private byte* _data;

    /// <summary>Maps the file.</summary>
    /// <exception cref="GemmaModelFormatException">There is no such file, or it is empty.</exception>
    public MappedFile(string path)
    {
        Path = System.IO.Path.GetFullPath(path);
        var info = new FileInfo(Path);
        if (!info.Exists)
        {
            throw new GemmaModelFormatException($"There is no file '{Path}'. Check the path, or download the model with 'gemma pull'.");
        }

        // The length of a symbolic link (as in a Hugging Face cache) is that of its target.
        using var stream = new FileStream(Path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
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
