using System.Security.Cryptography;
using System.Text;

namespace Gemma.Extensions.AI.Hub;

/// <summary>
/// A cache that the hub's JavaScript library filled file by file: each file lies in the snapshot of the commit that last changed it, and no ref says which
/// commit the branch is at. Such a model is taken together from all snapshots, of a file that lies in several the one that came last; it is loaded from a
/// folder of links.
/// </summary>
internal sealed partial class HubCache
{
    private const string GatheredFolder = "gemma-snapshots";

    private bool IsGathered(string path) => path.StartsWith(Path.Combine(Root, GatheredFolder) + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    private string? FindScattered(HubReference reference)
    {
        Dictionary<string, string> files = LatestFiles(Path.Combine(RepositoryFolder(reference.Repository), "snapshots"));
        try
        {
            IReadOnlyList<string> selected = files.Count == 0 ? [] : reference.Select(files.Keys);
            if (selected.Count == 0 || !IsComplete(selected, file => files[file]))
            {
                return null;
            }

            string first = files[selected[0]];
            string folder = selected.Select(file => SnapshotOf(files[file])).Distinct().Count() == 1 ? SnapshotOf(first) : Gather(reference.Repository, selected, files);
            return IsGguf(selected) ? Path.Combine(folder, selected[0]) : folder;
        }
        catch (Exception e) when (e is GemmaModelFormatException or IOException or UnauthorizedAccessException)
        {
            return null; // no such model, or no links can be made here
        }
    }

    /// <summary>Path by name of every file that is there, from the snapshot that it came to last.</summary>
    private static Dictionary<string, string> LatestFiles(string snapshots)
    {
        Dictionary<string, string> latest = [];
        foreach (string snapshot in Directory.Exists(snapshots) ? Directory.GetDirectories(snapshots) : [])
        {
            foreach (string file in Files(snapshot))
            {
                string path = Path.Combine(snapshot, file);
                if (File.Exists(path) && (!latest.TryGetValue(file, out string? other) || Order(other).CompareTo(Order(path)) < 0))
                {
                    latest[file] = path;
                }
            }
        }

        return latest;

        static (DateTime, string) Order(string path) => (new FileInfo(path).LastWriteTimeUtc, path);
    }

    /// <summary>A folder with links to the files, named after them, so that another choice gets another folder.</summary>
    private string Gather(string repository, IReadOnlyList<string> selected, Dictionary<string, string> files)
    {
        string choice = string.Join('\n', selected.Order(StringComparer.Ordinal).Select(file => Path.GetRelativePath(Root, files[file])));
        string folder = Path.Combine(
            Root, GatheredFolder, Path.GetFileName(RepositoryFolder(repository)), "snapshots", Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(choice)))[..40]);
        foreach (string file in selected)
        {
            string link = Path.Combine(folder, file);
            if (!File.Exists(link))
            {
                Directory.CreateDirectory(Path.GetDirectoryName(link)!);
                string temporary = $"{link}.{Environment.ProcessId}.{Guid.NewGuid():N}.tmp";
                File.CreateSymbolicLink(temporary, Path.GetRelativePath(Path.GetDirectoryName(link)!, files[file]));
                File.Move(temporary, link, overwrite: true);
            }
        }

        return folder;
    }

    private CachedModel? ScatteredModel(string repository)
    {
        HubReference reference = new(repository, null, HubReference.DefaultRevision, null);
        return Commit(repository, reference.Revision) is null && FindScattered(reference) is { } path && IsGathered(path) && Directory.Exists(path)
            ? new CachedModel(repository, Path.GetFileName(path), path, Files(path).Sum(file => Size(path, file)))
            : null;
    }

    private long RemoveScattered(CachedModel model)
    {
        long freed = 0;
        string repository = Path.Combine(Root, Path.GetFileName(Path.GetDirectoryName(Path.GetDirectoryName(model.Path)!)!));
        foreach (string file in Files(model.Path))
        {
            // The link in the snapshot, not the blob that it leads to.
            string link = Path.Combine(model.Path, file);
            FileInfo found = new(Path.GetFullPath(new FileInfo(link).LinkTarget!, Path.GetDirectoryName(link)!));
            freed += found.LinkTarget is null ? found.Length : 0;
            found.Delete();
        }

        Directory.Delete(Path.GetDirectoryName(Path.GetDirectoryName(model.Path)!)!, recursive: true);
        return freed + Tidy(repository);
    }
}
