using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Hub;

/// <summary>Downloads the files of one model into the cache, in ranges, under locks that other tools of the hub take too, each checked before it gets its name.</summary>
internal static class HubDownloader
{
    private const int Attempts = 3;

    // What an exception says of a file that another process holds: ERROR_SHARING_VIOLATION, EWOULDBLOCK. Any other is a fault, and waiting for its end would never end.
    private const int SharingViolation = unchecked((int)0x80070020), WouldBlock = 11, WouldBlockOnMac = 35;

    /// <summary>The path of a model in the cache; downloads what is missing.</summary>
    /// <exception cref="GemmaHubException">The model cannot be downloaded; the message says why and what to do.</exception>
    public static async Task<string> EnsureAsync(HubReference reference, HubSettings settings, IProgress<GemmaDownloadProgress>? progress, CancellationToken cancellationToken)
    {
        HubCache cache = new(settings.Cache);
        string? cached = cache.Find(reference);
        if (cached is not null && (settings.Offline || !settings.Options.Refresh || reference.Url is not null))
        {
            return cached;
        }

        if (settings.Offline)
        {
            throw new GemmaHubException($"'{reference}' is not (completely) in the cache '{settings.Cache}', and the hub is offline. Run 'gemma pull {reference}' while online, or unset HF_HUB_OFFLINE.");
        }

        using HubClient client = new(settings);
        try
        {
            return reference.Url is null
                ? await PullRepositoryAsync(reference, settings, cache, client, progress, cancellationToken).ConfigureAwait(false)
                : await PullUrlAsync(reference, settings, cache, client, progress, cancellationToken).ConfigureAwait(false);
        }
        catch (IOException) when (cancellationToken.IsCancellationRequested)
        {
            // A connection may break in the moment of cancelling; then it is not tried again, and the caller's wish is what ended the download.
            throw new OperationCanceledException(cancellationToken);
        }
        catch (IOException e) when (DiskFull.Is(e))
        {
            throw new GemmaHubException($"Downloading '{reference}' into '{settings.Cache}' stopped: the disk is full. Free some room ('gemma models' shows what is there) and run the same command again, which goes on where it was; or set HF_HUB_CACHE to another disk.", e);
        }
        catch (HttpRequestException e) when (e.HttpRequestError is HttpRequestError.NameResolutionError or HttpRequestError.ConnectionError)
        {
            throw new GemmaHubException($"'{(reference.Url ?? settings.Endpoint).GetLeftPart(UriPartial.Authority)}' cannot be reached: {e.Message.TrimEnd('.')}. Check the network, a proxy (HTTPS_PROXY) and HF_ENDPOINT, and run the same command again: it goes on where it was.", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or UnauthorizedAccessException)
        {
            throw new GemmaHubException($"Downloading '{reference}' into '{settings.Cache}' failed: {e.Message} Run the same command again: it goes on where it was.", e);
        }
    }

    private static async Task<string> PullRepositoryAsync(
        HubReference reference, HubSettings settings, HubCache cache, HubClient client, IProgress<GemmaDownloadProgress>? progress, CancellationToken cancellationToken)
    {
        HubRepository repository = await client.DescribeAsync(reference, cancellationToken).ConfigureAwait(false);
        HubFile[] files = [.. reference.Select([.. repository.Files.Keys]).Select(name => repository.Files[name])];
        long total = files.Sum(f => f.Size), before = 0;
        HashSet<HubFile> present = [.. files.Where(f => cache.HoldsItself(reference.Repository, repository.Commit, f.Name, f.Size))];
        CheckRoom(cache, files.Except(present).Sum(f => Missing(cache.Blob(reference.Repository, f.ETag), f.Size)));
        foreach (HubFile file in files)
        {
            long start = before;
            before += file.Size;
            if (present.Contains(file))
            {
                progress?.Report(new GemmaDownloadProgress(file.Name, before, total) { FileCompletedBytes = file.Size, FileTotalBytes = file.Size });
                continue;
            }

            string blob = cache.Blob(reference.Repository, file.ETag);
            Uri url = client.FileUrl(reference, repository.Commit, file.Name);
            FileDownload download = new(blob, cache.Lock(reference.Repository, file.ETag), file.Size, file.IsSha256 ? Checksum.Sha256 : Checksum.GitBlob, file.ETag, url);
            Report(file.Size - Missing(blob, file.Size)); // another process may hold the file for long
            await FetchAsync(download, reference, settings, client, Report, cancellationToken).ConfigureAwait(false);
            cache.Link(reference.Repository, repository.Commit, file.Name, file.ETag);
            void Report(long done) => progress?.Report(new GemmaDownloadProgress(file.Name, start + done, total) { FileCompletedBytes = done, FileTotalBytes = file.Size });
        }

        // Last of all: until now the branch means what it meant before.
        cache.SetCommit(reference.Repository, reference.Revision, repository.Commit);
        return cache.Find(reference with { Revision = repository.Commit })
            ?? throw new GemmaHubException($"'{reference}' was downloaded but is incomplete: the repository lacks a tokenizer or shards. Take another repository.");
    }

    private static async Task<string> PullUrlAsync(
        HubReference reference, HubSettings settings, HubCache cache, HubClient client, IProgress<GemmaDownloadProgress>? progress, CancellationToken cancellationToken)
    {
        string target = cache.UrlFile(reference.Url!);
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                await FetchUrlAsync(target, reference, settings, cache, client, progress, cancellationToken).ConfigureAwait(false);
                WholeFile.WriteShared(target + ".url", stream => stream.Write(Encoding.UTF8.GetBytes(reference.Url!.GetLeftPart(UriPartial.Path))));
                return target;
            }
            catch (FileChangedException) when (attempt < Attempts)
            {
                // What was begun belongs to another version, whether or not the next answer tells the two apart.
                File.Delete(RangedDownload.JournalOf(target + FileDownload.UnfinishedSuffix));
            }
            catch (FileChangedException)
            {
                throw new GemmaHubException($"The file at '{reference}' changed while it was downloaded, {Attempts} times: its size or ETag differed between ranges. Try again when its owner is done, or take another source; several servers may disagree about it.");
            }
        }
    }

    private static async Task FetchUrlAsync(
        string target, HubReference reference, HubSettings settings, HubCache cache, HubClient client, IProgress<GemmaDownloadProgress>? progress, CancellationToken cancellationToken)
    {
        FileVersion version;
        string tag;
        using (HttpResponseMessage first = await client.SendAsync(reference.Url!, new RangeHeaderValue(0, 0), reference, cancellationToken).ConfigureAwait(false))
        {
            version = FileVersion.Of(first) is { Size: > 0 } found ? found
                : throw new GemmaHubException($"'{reference}' does not say how large the file is, or that it is empty, so it cannot be downloaded safely. Take another source.");

            // Some stores name their objects by SHA-256; then the file can be checked.
            tag = (first.Headers.TryGetValues(HubClient.LinkedTag, out IEnumerable<string>? linked) ? linked.First() : first.Headers.ETag?.Tag ?? "").Trim('"');
        }

        CheckRoom(cache, Missing(target, version.Size));
        bool hasHash = tag.Length == 64 && tag.All(char.IsAsciiHexDigitLower);
        FileDownload download = new(target, target + ".lock", version.Size, hasHash ? Checksum.Sha256 : Checksum.None, tag, reference.Url!) { Version = version };
        Report(version.Size - Missing(target, version.Size)); // another process may hold the file for long
        await FetchAsync(download, reference, settings, client, Report, cancellationToken).ConfigureAwait(false);

        void Report(long done) => progress?.Report(new GemmaDownloadProgress(Path.GetFileName(target), done, version.Size) { FileCompletedBytes = done, FileTotalBytes = version.Size, HasNoHash = !hasHash });
    }

    /// <summary>Downloads one file under a lock, checks it, and gives it its name.</summary>
    private static async Task FetchAsync(FileDownload file, HubReference reference, HubSettings settings, HubClient client, Action<long> report, CancellationToken cancellationToken)
    {
        using FileStream held = await LockAsync(file.LockPath, cancellationToken).ConfigureAwait(false);
        if (File.Exists(file.Path) && new FileInfo(file.Path).Length == file.Size)
        {
            report(file.Size);
            return;
        }

        Directory.CreateDirectory(Path.GetDirectoryName(file.Path)!);
        if (file.Version is { } version)
        {
            // What was begun of a file that has changed at its address since must not become part of the new one.
            if (File.Exists(file.VersionPath) && File.ReadAllText(file.VersionPath) != version.ToString())
            {
                File.Delete(RangedDownload.JournalOf(file.Unfinished));
            }

            File.WriteAllText(file.VersionPath, version.ToString());
        }

        for (int attempt = 1; ; attempt++)
        {
            using (RangedDownload download = new(file.Unfinished, file.Size, settings.Options, (range, token) => client.SendAsync(file.Url, range, reference, token), report, file.Version))
            {
                await download.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            string? found = await HashAsync(file, cancellationToken).ConfigureAwait(false);
            if (found is null || found == file.Hash)
            {
                File.Move(file.Unfinished, file.Path, overwrite: true);
                File.Delete(RangedDownload.JournalOf(file.Unfinished));
                File.Delete(file.VersionPath);
                return;
            }

            File.Delete(file.Unfinished);
            File.Delete(RangedDownload.JournalOf(file.Unfinished));
            if (attempt == Attempts)
            {
                throw new GemmaHubException($"'{file.Url}' was downloaded {Attempts} times and each time its hash was wrong, the last time {found}, expected {file.Hash}. Something between here and the server changes the file; check the proxy or try another network.");
            }
        }
    }

    private static async Task<string?> HashAsync(FileDownload file, CancellationToken cancellationToken)
    {
        if (file.Checksum == Checksum.None)
        {
            return null;
        }

        await using FileStream stream = new(file.Unfinished, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20, useAsync: true);
        using IncrementalHash hash = IncrementalHash.CreateHash(file.Checksum == Checksum.Sha256 ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA1);
        if (file.Checksum == Checksum.GitBlob)
        {
            hash.AppendData(Encoding.ASCII.GetBytes($"blob {stream.Length}\0"));
        }

        byte[] buffer = new byte[1 << 20];
        for (int read; (read = await stream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0;)
        {
            hash.AppendData(buffer, 0, read);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Holds the lock of a file against other processes; the hub's own tools take the same one.</summary>
    private static async Task<FileStream> LockAsync(string path, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        while (true)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException e) when (e.HResult is SharingViolation or WouldBlock or WouldBlockOnMac)
            {
                await Task.Delay(100, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Bytes that a file still takes on disk.</summary>
    private static long Missing(string path, long size) => File.Exists(path) ? 0 : size - Math.Min(size, RangedDownload.CompletedBytes(path + FileDownload.UnfinishedSuffix));

    private static void CheckRoom(HubCache cache, long bytes)
    {
        Directory.CreateDirectory(cache.Root);
        long free = new DriveInfo(cache.Root).AvailableFreeSpace;
        if (bytes > free)
        {
            throw new GemmaHubException($"The download takes {bytes:N0} bytes but only {free:N0} are free in '{cache.Root}'. Free some ('gemma models' shows what is there), or set HF_HUB_CACHE to another disk.");
        }
    }

    private enum Checksum
    {
        None,
        Sha256,
        GitBlob,
    }

    /// <summary>One file to fetch.</summary>
    private sealed record FileDownload(string Path, string LockPath, long Size, Checksum Checksum, string Hash, Uri Url)
    {
        public const string UnfinishedSuffix = ".gemma-incomplete";

        public string Unfinished => Path + UnfinishedSuffix;

        /// <summary>The version that was begun, where the path does not tell versions apart.</summary>
        public FileVersion? Version { get; init; }

        public string VersionPath => Unfinished + ".version";
    }
}
