using System.IO.Enumeration;
using System.Text;

namespace Gemma.Extensions.AI.Rag;

/// <summary>A document to ingest. Its bytes are read only when they are needed.</summary>
public sealed class SourceDocument
{
    private readonly Func<CancellationToken, Task<byte[]>> _read;
    private readonly Func<long?>? _length;

    /// <summary>Describes a document.</summary>
    /// <param name="id">Stable name within the collection, for example its path or URL.</param>
    /// <param name="format">How to read the bytes.</param>
    /// <param name="read">Gives the bytes.</param>
    public SourceDocument(string id, DocumentFormat format, Func<CancellationToken, Task<byte[]>> read)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(id);
        ArgumentNullException.ThrowIfNull(read);
        Id = id;
        Format = format;
        _read = read;
    }

    private SourceDocument(string id, DocumentFormat format, string path)
        : this(id, format, token => ReadFileAsync(path, token)) => _length = () => Target(path) is FileInfo { Exists: true } file ? file.Length : null;

    /// <summary>Stable name within the collection.</summary>
    public string Id { get; }

    /// <summary>Format of the bytes.</summary>
    public DocumentFormat Format { get; }

    /// <summary>Number of bytes, where it is known without reading them.</summary>
    internal long? Length => _length?.Invoke();

    /// <summary>Reads the bytes.</summary>
    public Task<byte[]> ReadAsync(CancellationToken cancellationToken = default) => _read(cancellationToken);

    /// <summary>A document that is in memory already.</summary>
    public static SourceDocument FromText(string id, string text, DocumentFormat format = DocumentFormat.Text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return new SourceDocument(id, format, _ => Task.FromResult(Encoding.UTF8.GetBytes(text)));
    }

    /// <summary>
    /// A file; null where its extension is of no known format. Pipes, sockets and devices, and links to them, are never opened: like empty files they hold
    /// no text.
    /// </summary>
    /// <param name="path">Path of the file.</param>
    /// <param name="id">Name within the collection; null takes the path.</param>
    public static SourceDocument? FromFile(string path, string? id = null)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        DocumentFormat? format = Path.GetExtension(path).ToLowerInvariant() switch
        {
            ".md" or ".markdown" => DocumentFormat.Markdown,
            ".html" or ".htm" or ".xhtml" => DocumentFormat.Html,
            ".pdf" => DocumentFormat.Pdf,
            ".txt" or ".text" or ".log" or ".rst" or ".adoc" => DocumentFormat.Text,
            _ => null,
        };
        return format is { } known ? new SourceDocument(id ?? path, known, path) : null;
    }

    /// <summary>Reads a file. Anything without a length is not opened: a pipe would block until somebody writes to it, and some devices never end.</summary>
    private static Task<byte[]> ReadFileAsync(string path, CancellationToken cancellationToken)
    {
        return Target(path) is FileInfo { Exists: true, Length: 0 } ? Task.FromResult<byte[]>([]) : File.ReadAllBytesAsync(path, cancellationToken);
    }

    private static FileSystemInfo Target(string path) => new FileInfo(path) is var file ? file.ResolveLinkTarget(returnFinalTarget: true) ?? file : file;

    /// <summary>
    /// The documents of a folder and its subfolders in ordinal order, named by their path below it with '/'. Links to files are read; links to folders
    /// are not followed, since they may lead back.
    /// </summary>
    /// <exception cref="DirectoryNotFoundException">There is no such folder.</exception>
    public static IEnumerable<SourceDocument> FromFolder(string folder)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(folder);
        EnumerationOptions options = new() { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.Hidden | FileAttributes.System, IgnoreInaccessible = true };
        return new FileSystemEnumerable<string>(folder, static (ref entry) => entry.ToSpecifiedFullPath(), options)
            {
                ShouldIncludePredicate = static (ref entry) => !entry.IsDirectory,
                ShouldRecursePredicate = static (ref entry) => new DirectoryInfo(entry.ToFullPath()).LinkTarget is null,
            }
            .Select(path => (Path: path, Id: Path.GetRelativePath(folder, path).Replace('\\', '/')))
            .OrderBy(f => f.Id, StringComparer.Ordinal)
            .Select(f => FromFile(f.Path, f.Id))
            .OfType<SourceDocument>();
    }
}

/// <summary>Format of a document's bytes.</summary>
public enum DocumentFormat
{
    /// <summary>Plain text in UTF-8, or UTF-16 with a byte order mark; what is neither is taken as Windows-1252. Blank lines separate paragraphs.</summary>
    Text,

    /// <summary>CommonMark with tables and front matter.</summary>
    Markdown,

    /// <summary>HTML. Navigation, scripts and styles are left out.</summary>
    Html,

    /// <summary>PDF that holds text. Scanned pages have none.</summary>
    Pdf,
}
