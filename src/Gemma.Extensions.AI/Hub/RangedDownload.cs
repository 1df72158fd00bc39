using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Gemma.Extensions.AI.Hub;

/// <summary>
/// One file, fetched in ranges on several connections. The ranges that are complete are noted beside the unfinished file, always after their bytes, so
/// that a download goes on where it was, however it ended.
/// </summary>
internal sealed class RangedDownload : IDisposable
{
    private const int HeaderBytes = 16;
    private readonly Func<RangeHeaderValue?, CancellationToken, Task<HttpResponseMessage>> _open;
    private readonly GemmaHubOptions _options;
    private readonly Action<long> _report;
    private readonly Lock _versionLock = new();
    private readonly SafeFileHandle _data;
    private readonly SafeFileHandle _journal;
    private readonly byte[] _done;
    private readonly long _size;
    private FileVersion? _version; // of all answers so far
    private long _completed;

    /// <param name="path">Path of the unfinished file.</param>
    /// <param name="size">Bytes of the whole file.</param>
    /// <param name="options">Connections, ranges, patience.</param>
    /// <param name="open">Opens the file or a range of it.</param>
    /// <param name="report">Told the bytes that are there.</param>
    /// <param name="version">What every answer must say of itself; null: its size alone.</param>
    public RangedDownload(
        string path, long size, GemmaHubOptions options, Func<RangeHeaderValue?, CancellationToken, Task<HttpResponseMessage>> open, Action<long> report, FileVersion? version = null)
    {
        (_size, _options, _open, _report, _version) = (size, options, open, report, version);

        // The caller holds the file's lock; other processes may look at the notes to see how much is missing.
        _data = File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite);
        _journal = File.OpenHandle(JournalOf(path), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite);
        _done = new byte[(size + options.RangeBytes - 1) / options.RangeBytes];
        ReadJournal();
        _completed = Enumerable.Range(0, _done.Length).Where(i => _done[i] != 0).Sum(i => (long)Length(i));
    }

    /// <summary>Bytes of an unfinished file that are there, as far as its notes tell.</summary>
    public static long CompletedBytes(string path)
    {
        try
        {
            using SafeFileHandle journal = File.OpenHandle(JournalOf(path), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            byte[] notes = new byte[RandomAccess.GetLength(journal)];
            int read = RandomAccess.Read(journal, notes, 0);
            if (read <= HeaderBytes)
            {
                return 0;
            }

            ReadOnlySpan<long> header = MemoryMarshal.Cast<byte, long>(notes.AsSpan(0, HeaderBytes));
            return Math.Min(header[0], notes.AsSpan(HeaderBytes, read - HeaderBytes).Count((byte)1) * header[1]);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return 0;
        }
    }

    /// <summary>Path of the notes on an unfinished file.</summary>
    public static string JournalOf(string path) => path + ".ranges";

    /// <summary>Fetches what is missing.</summary>
    /// <exception cref="IOException">The connection failed more often than retries allow, or the disk is full.</exception>
    /// <exception cref="GemmaHubException">The server refuses, or sends another file.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        _report(_completed);
        ConcurrentQueue<int> missing = new(Enumerable.Range(0, _done.Length).Where(i => _done[i] == 0));
        try
        {
            using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            Task[] workers = [.. Enumerable.Range(0, Math.Min(_options.Connections, missing.Count)).Select(_ => WorkAsync(missing, stop))];
            await Task.WhenAll(workers).ConfigureAwait(false);
        }
        catch (RangeIgnoredException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            await HubPatience.RunAsync(_options, FetchWholeAsync, cancellationToken).ConfigureAwait(false);
        }
    }

    public void Dispose()
    {
        _data.Dispose();
        _journal.Dispose();
    }

    private async Task WorkAsync(ConcurrentQueue<int> missing, CancellationTokenSource stop)
    {
        try
        {
            while (missing.TryDequeue(out int index))
            {
                stop.Token.ThrowIfCancellationRequested();
                long from = (long)index * _options.RangeBytes, at = from, end = from + Length(index);
                at = await HubPatience.RunAsync(_options, token => FetchAsync(at, end, p => at = p, token), stop.Token).ConfigureAwait(false);
                Complete(index);
            }
        }
        catch
        {
            await stop.CancelAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Fetches bytes from…end; <paramref name="moved"/> learns each position reached, so that a retry goes on there.</summary>
    private async Task<long> FetchAsync(long from, long end, Action<long> moved, CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _open(new RangeHeaderValue(from, end - 1), cancellationToken).ConfigureAwait(false);
        CheckVersion(response);
        if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
        {
            throw new GemmaHubException($"The server says that the file has no bytes {from}-{end - 1} (its length is {FileVersion.Of(response)?.Size.ToString(CultureInfo.InvariantCulture) ?? "not told"}), expected {_size}. It has changed, or a proxy in between is wrong; try again later.");
        }

        if (response.StatusCode != HttpStatusCode.PartialContent)
        {
            throw new RangeIgnoredException();
        }

        ContentRangeHeaderValue? range = response.Content.Headers.ContentRange;
        if (range is null || !range.Unit.Equals("bytes", StringComparison.OrdinalIgnoreCase) || range.From != from || (range.HasLength && range.Length != _size))
        {
            throw new IOException($"The server sent the range '{range}' of the file, expected {from}-{end - 1} of {_size}.");
        }

        long at = await CopyAsync(response, from, end, moved, cancellationToken).ConfigureAwait(false);
        return at == end ? at : throw new IOException($"The connection ended at byte {at:N0}, expected {end:N0}.");
    }

    private void CheckVersion(HttpResponseMessage response)
    {
        lock (_versionLock)
        {
            _version = _version?.Checked(response);
        }
    }

    /// <summary>For servers that ignore ranges: the file from its first byte.</summary>
    private async Task<long> FetchWholeAsync(CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _open(null, cancellationToken).ConfigureAwait(false);
        CheckVersion(response);
        if (response.StatusCode == HttpStatusCode.PartialContent)
        {
            throw new IOException($"The server sends the range '{response.Content.Headers.ContentRange}' of the file, which was asked for as a whole.");
        }

        if (response.Content.Headers.ContentLength is { } length && length != _size)
        {
            throw new IOException($"The server sends {length:N0} bytes, expected {_size:N0}.");
        }

        _completed = 0;
        int next = 0;
        long at = await CopyAsync(response, 0, _size, position =>
        {
            for (; next < _done.Length && (long)next * _options.RangeBytes + Length(next) <= position; next++)
            {
                Complete(next);
            }
        }, cancellationToken).ConfigureAwait(false);
        return at == _size ? at : throw new IOException($"The connection ended at byte {at:N0}, expected {_size:N0}.");
    }

    private async Task<long> CopyAsync(HttpResponseMessage response, long at, long end, Action<long> moved, CancellationToken cancellationToken)
    {
        using PatientReader body = await PatientReader.OpenAsync(response, _options, cancellationToken).ConfigureAwait(false);
        byte[] buffer = new byte[64 << 10];
        int read;
        while (at < end && (read = await body.ReadAsync(buffer.AsMemory(0, (int)Math.Min(buffer.Length, end - at))).ConfigureAwait(false)) > 0)
        {
            await RandomAccess.WriteAsync(_data, buffer.AsMemory(0, read), at, cancellationToken).ConfigureAwait(false);
            moved(at += read);
        }

        return end != _size || response.StatusCode == HttpStatusCode.PartialContent || at < end || await body.ReadAsync(buffer).ConfigureAwait(false) == 0
            ? at
            : throw new IOException($"The server sends more than the {_size:N0} bytes that the file has.");
    }

    private int Length(int index) => (int)Math.Min(_options.RangeBytes, _size - (long)index * _options.RangeBytes);

    private void Complete(int index)
    {
        _done[index] = 1;
        RandomAccess.Write(_journal, [1], HeaderBytes + index);
        _report(Interlocked.Add(ref _completed, Length(index)));
    }

    /// <summary>Takes the notes over if they are of this file with these ranges; begins anew otherwise.</summary>
    private void ReadJournal()
    {
        Span<long> header = [_size, _options.RangeBytes];
        Span<long> found = [0, 0];
        RandomAccess.Read(_journal, MemoryMarshal.AsBytes(found), 0);
        if (found.SequenceEqual(header) && RandomAccess.GetLength(_data) == _size)
        {
            RandomAccess.Read(_journal, _done, HeaderBytes);
            return;
        }

        RandomAccess.SetLength(_journal, 0);
        RandomAccess.SetLength(_data, 0);
        RandomAccess.SetLength(_data, _size);
        RandomAccess.Write(_journal, MemoryMarshal.AsBytes(header), 0);
    }

    private sealed class RangeIgnoredException : Exception;
}
