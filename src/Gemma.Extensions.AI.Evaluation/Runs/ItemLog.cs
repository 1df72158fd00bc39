using System.Text.Json;

namespace Gemma.Extensions.AI.Evaluation.Runs;

/// <summary>
/// Results of single rows as JSON Lines, written as they come: the first line says what run it is. A run that was killed goes on behind the last line that is whole; the lines of another
/// run are never taken for its own.
/// </summary>
internal sealed class ItemLog : IDisposable
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web) { NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals };
    private readonly FileStream? _file;
    private readonly Lock _lock = new();

    /// <summary>A log at a path; none where that is null.</summary>
    /// <exception cref="IOException">The file is not of this run, damaged, or cannot be written.</exception>
    public ItemLog(string? path, string run)
    {
        if (path is null)
        {
            return;
        }

        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        _file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
        try
        {
            Read(path, run);
        }
        catch
        {
            _file.Dispose();
            throw;
        }
    }

    /// <summary>Items of an earlier, interrupted run.</summary>
    public List<EvaluationItem> Items { get; } = [];

    public void Add(EvaluationItem item)
    {
        lock (_lock)
        {
            Items.Add(item);
            Write(Line(item));
        }
    }

    public void Dispose() => _file?.Dispose();

    private void Read(string path, string run)
    {
        byte[] bytes = new byte[_file!.Length];
        _file.ReadExactly(bytes);

        // A file of anything else stays as it is. Of this run's first line a process may have written a part.
        byte[] header = Line(new { run });
        int length = Math.Min(bytes.Length, header.Length);
        if (!bytes.AsSpan(0, length).SequenceEqual(header.AsSpan(0, length)))
        {
            throw new IOException($"'{path}' holds results of another model, task, data or setting, or no results at all. Choose another place for the results, or delete the file to begin again.");
        }

        int whole = bytes.AsSpan().LastIndexOf((byte)'\n') + 1;
        string[] lines = System.Text.Encoding.UTF8.GetString(bytes, 0, whole).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        for (int i = 1; i < lines.Length; i++)
        {
            Items.Add(Item(lines[i]) ?? throw new IOException($"Line {i + 1} of '{path}' is no result of a row. Delete the line, and its row is measured again; or the file, to begin again."));
        }

        _file.SetLength(whole); // what stands behind was being written when the process ended
        _file.Position = whole;
        if (lines.Length == 0)
        {
            Write(header);
        }
    }

    private static EvaluationItem? Item(string line)
    {
        try
        {
            return JsonSerializer.Deserialize<EvaluationItem>(line, s_json);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static byte[] Line<T>(T value) => [.. JsonSerializer.SerializeToUtf8Bytes(value, s_json), (byte)'\n'];

    private void Write(byte[] line)
    {
        if (_file is not null)
        {
            _file.Write(line);
            _file.Flush();
        }
    }
}
