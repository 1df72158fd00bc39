using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Hub;

/// <summary>A model in the cache.</summary>
/// <param name="Reference">What to write to use it.</param>
/// <param name="Revision">Commit.</param>
/// <param name="Path">File or directory to load.</param>
/// <param name="Bytes">Bytes of its files.</param>
internal sealed record CachedModel(string Reference, string Revision, string Path, long Bytes);

/// <summary>
/// The cache that all tools of the hub share: <c>models--owner--name/{blobs/ETAG, refs/REVISION, snapshots/COMMIT/FILE}</c>, where files of snapshots
/// are links to blobs.
/// </summary>
internal sealed partial class HubCache(string root)
{
    private const string FolderPrefix = "models--";
    private const string UrlFolder = "gemma-urls";

    public string Root { get; } = root;

    public string RepositoryFolder(string repository) => Path.Combine(Root, FolderPrefix + repository.Replace("/", "--", StringComparison.Ordinal));

    public string Blob(string repository, string etag) => Path.Combine(RepositoryFolder(repository), "blobs", etag);

    public string Lock(string repository, string etag) => Path.Combine(Root, ".locks", FolderPrefix + repository.Replace("/", "--", StringComparison.Ordinal), etag + ".lock");

    public string Snapshot(string repository, string commit) => Path.Combine(RepositoryFolder(repository), "snapshots", commit);

    /// <summary>Path of the file of a URL.</summary>
    public string UrlFile(Uri url)
    {
        string hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(url.GetLeftPart(UriPartial.Query))))[..16];
        return Path.Combine(Root, UrlFolder, hash, SafeName(Uri.UnescapeDataString(url.Segments[^1])));
    }

    /// <summary>Path to load if the whole model is in the cache; null otherwise.</summary>
    public string? Find(HubReference reference)
    {
        if (reference.Url is { } url)
        {
            return File.Exists(UrlFile(url)) ? UrlFile(url) : null;
        }

        return Commit(reference.Repository, reference.Revision) is { } commit
            ? Directory.Exists(Snapshot(reference.Repository, commit)) ? TryComplete(Snapshot(reference.Repository, commit), reference) : null
            : reference.Revision == HubReference.DefaultRevision ? FindScattered(reference) : null;
    }

    /// <summary>Commit of a branch, tag or commit as far as the cache knows.</summary>
    public string? Commit(string repository, string revision)
    {
        string file = Path.Combine(RepositoryFolder(repository), "refs", revision);
        return File.Exists(file) && File.ReadAllText(file).Trim() is { Length: > 0 and < 100 } commit && commit.All(char.IsAsciiLetterOrDigit) ? commit
            : Directory.Exists(Snapshot(repository, revision)) ? revision : null;
    }

    /// <summary>Remembers the commit of a branch or tag.</summary>
    public void SetCommit(string repository, string revision, string commit)
    {
        if (revision != commit)
        {
            string file = Path.Combine(RepositoryFolder(repository), "refs", revision);
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            WholeFile.WriteShared(file, stream => stream.Write(Encoding.ASCII.GetBytes(commit)));
        }
    }

    /// <summary>Makes a blob appear as a file of a snapshot.</summary>
    public void Link(string repository, string commit, string file, string etag)
    {
        string link = Path.Combine(Snapshot(repository, commit), file), blob = Blob(repository, etag);
        Directory.CreateDirectory(Path.GetDirectoryName(link)!);
        string target = Path.GetRelativePath(Path.GetDirectoryName(link)!, blob), temporary = $"{link}.{Environment.ProcessId}.{Guid.NewGuid():N}.tmp";
        try
        {
            File.CreateSymbolicLink(temporary, target);
            File.Move(temporary, link, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException && File.Exists(blob))
        {
            // Without links (Windows without the right to make them, file systems that know none) the file itself goes into the snapshot, as the hub's own tools do.
            if (File.Exists(temporary))
            {
                File.Delete(temporary);
            }

            File.Move(blob, link, overwrite: true);
        }
    }

    /// <summary>True if a file of a snapshot is there without a blob, because links could not be made.</summary>
    public bool HoldsItself(string repository, string commit, string file, long size) =>
        new FileInfo(Path.Combine(Snapshot(repository, commit), file)) is { Exists: true, LinkTarget: null } found && found.Length == size;

    /// <summary>Every complete model, by reference.</summary>
    public IReadOnlyList<CachedModel> List()
    {
        List<CachedModel> models = new();
        foreach (string folder in Directory.Exists(Root) ? Directory.EnumerateDirectories(Root, FolderPrefix + "*") : [])
        {
            string repository = Path.GetFileName(folder)[FolderPrefix.Length..].Replace("--", "/", StringComparison.Ordinal);
            string snapshots = Path.Combine(folder, "snapshots");
            int before = models.Count;
            foreach (string snapshot in Directory.Exists(snapshots) ? Directory.EnumerateDirectories(snapshots) : [])
            {
                models.AddRange(ModelsOf(repository, snapshot));
            }

            if (models.Count == before && ScatteredModel(repository) is { } scattered)
            {
                models.Add(scattered);
            }
        }

        string urls = Path.Combine(Root, UrlFolder);
        foreach (string file in Directory.Exists(urls) ? Directory.EnumerateFiles(urls, "*.gguf", SearchOption.AllDirectories) : [])
        {
            models.Add(new CachedModel(File.Exists(file + ".url") ? File.ReadAllText(file + ".url") : file, "", file, Size(urls, file)));
        }

        return [.. models.OrderBy(m => m.Reference, StringComparer.Ordinal)];
    }

    /// <summary>Removes models that <see cref="List"/> gave; blobs that nothing else links to go too. Returns the bytes freed.</summary>
    public long Remove(CachedModel model)
    {
        if (model.Revision.Length == 0)
        {
            Directory.Delete(Path.GetDirectoryName(model.Path)!, recursive: true);
            return model.Bytes;
        }

        if (IsGathered(model.Path))
        {
            return RemoveScattered(model);
        }

        string snapshot = Directory.Exists(model.Path) ? model.Path : SnapshotOf(model.Path);
        long freed = 0;
        foreach (string file in Directory.Exists(model.Path) ? Files(snapshot) : Parts(snapshot, Path.GetRelativePath(snapshot, model.Path)))
        {
            FileInfo found = new(Path.Combine(snapshot, file));
            freed += found.LinkTarget is null ? found.Length : 0;
            found.Delete();
        }

        return freed + Tidy(Path.GetDirectoryName(Path.GetDirectoryName(snapshot)!)!);
    }

    /// <summary>Deletes blobs without links, and folders of repositories that are empty then. Returns the bytes freed.</summary>
    private static long Tidy(string folder)
    {
        foreach (string snapshot in Directory.GetDirectories(Path.Combine(folder, "snapshots")))
        {
            DeleteEmpty(snapshot);
        }

        long freed = DeleteUnlinked(folder);
        if (!Directory.EnumerateDirectories(Path.Combine(folder, "snapshots")).Any())
        {
            Directory.Delete(folder, recursive: true);
        }

        return freed;
    }

    private static string? Complete(string snapshot, HubReference reference)
    {
        string[] files = [.. Files(snapshot).Where(f => File.Exists(Path.Combine(snapshot, f)))];
        IReadOnlyList<string> selected = reference.Select(files);
        return !IsComplete(selected, file => Path.Combine(snapshot, file)) ? null : IsGguf(selected) ? Path.Combine(snapshot, selected[0]) : snapshot;
    }

    private static bool IsGguf(IReadOnlyList<string> selected) => selected[0].EndsWith(".gguf", StringComparison.OrdinalIgnoreCase);

    /// <summary>True if no file of the model is missing.</summary>
    private static bool IsComplete(IReadOnlyList<string> selected, Func<string, string> pathOf) => IsGguf(selected)
        ? HasAllParts(selected)
        : (selected.Contains("tokenizer.model") || selected.Contains("tokenizer.json")) && (selected.Contains("model.safetensors") || HasAllShards(selected, pathOf));

    private static bool HasAllParts(IReadOnlyList<string> parts)
    {
        int at = parts[0].LastIndexOf("-of-", StringComparison.Ordinal);
        return at < 0 || !int.TryParse(parts[0].AsSpan(at + 4, Math.Min(5, parts[0].Length - at - 4)), out int count) || parts.Count == count;
    }

    private static bool HasAllShards(IReadOnlyList<string> files, Func<string, string> pathOf)
    {
        if (!files.Contains("model.safetensors.index.json"))
        {
            return false;
        }

        try
        {
            using JsonDocument index = JsonDocument.Parse(File.ReadAllBytes(pathOf("model.safetensors.index.json")));
            return index.RootElement.GetProperty("weight_map").EnumerateObject().Select(e => e.Value.GetString()!).Distinct().All(files.Contains);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return false;
        }
    }

    private static IEnumerable<CachedModel> ModelsOf(string repository, string snapshot)
    {
        string commit = Path.GetFileName(snapshot);
        string[] files = [.. Files(snapshot)];
        HubReference whole = new(repository, null, commit, null);
        if (files.Contains("config.json") && TryComplete(snapshot, whole) is { } directory && Directory.Exists(directory))
        {
            yield return new CachedModel(repository, commit, directory, files.Sum(f => Size(snapshot, f)));
        }

        foreach (string first in files.Where(f => f.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase) && Gemma.Extensions.AI.Files.GgufFile.IsFirstOrOnly(f)))
        {
            string[] parts = [.. Parts(snapshot, first)];
            if (HasAllParts(parts))
            {
                yield return new CachedModel($"{repository}:{Path.GetFileName(first)}", commit, Path.Combine(snapshot, first), parts.Sum(f => Size(snapshot, f)));
            }
        }
    }

    private static string? TryComplete(string snapshot, HubReference reference)
    {
        try
        {
            return Complete(snapshot, reference);
        }
        catch (GemmaModelFormatException)
        {
            return null;
        }
    }

    private static IEnumerable<string> Parts(string snapshot, string first)
    {
        int at = first.LastIndexOf("-00001-of-", StringComparison.Ordinal);
        return at < 0 ? [first] : Files(snapshot).Where(f => f.StartsWith(first[..at] + "-", StringComparison.Ordinal) && f.EndsWith(first[(at + 6)..], StringComparison.Ordinal));
    }

    private static IEnumerable<string> Files(string snapshot) =>
        Directory.EnumerateFiles(snapshot, "*", SearchOption.AllDirectories).Where(f => !f.EndsWith(".tmp", StringComparison.Ordinal)).Select(f => Path.GetRelativePath(snapshot, f).Replace('\\', '/'));

    private static long Size(string snapshot, string file)
    {
        FileInfo info = new(Path.Combine(snapshot, file));
        return info.ResolveLinkTarget(returnFinalTarget: true) is FileInfo target ? target.Exists ? target.Length : 0 : info.Length;
    }

    private static string SnapshotOf(string file)
    {
        for (DirectoryInfo directory = new FileInfo(file).Directory!; ; directory = directory.Parent!)
        {
            if (directory.Parent?.Name == "snapshots")
            {
                return directory.FullName;
            }
        }
    }

    private static void DeleteEmpty(string directory)
    {
        foreach (string child in Directory.GetDirectories(directory))
        {
            DeleteEmpty(child);
        }

        if (!Directory.EnumerateFileSystemEntries(directory).Any())
        {
            Directory.Delete(directory);
        }
    }

    private static long DeleteUnlinked(string folder)
    {
        string blobs = Path.Combine(folder, "blobs");
        if (!Directory.Exists(blobs))
        {
            return 0;
        }

        HashSet<string> linked = [.. Directory.EnumerateFiles(Path.Combine(folder, "snapshots"), "*", SearchOption.AllDirectories)
            .Select(f => new FileInfo(f).LinkTarget).OfType<string>().Select(Path.GetFileName).OfType<string>()];
        long freed = 0;
        foreach (FileInfo blob in new DirectoryInfo(blobs).GetFiles().Where(b => !linked.Contains(b.Name) && !b.Name.Contains("incomplete", StringComparison.Ordinal)))
        {
            freed += blob.Length;
            blob.Delete();
        }

        return freed;
    }

    private static string SafeName(string name)
    {
        string clean = string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' ? c : '_')).TrimStart('.');
        return clean.Length is > 0 and < 200 ? clean : "model.gguf";
    }
}
