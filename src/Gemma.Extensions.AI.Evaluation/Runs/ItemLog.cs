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
    /// <exception cref="IOException">The file belongs to another run, or cannot be written.</exception>
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

    /// <summary>What was there.</summary>
    public List<EvaluationItem> Items { get; } = [];

    public void Add(EvaluationItem item)
    {
        lock (_lock)
        {
            Items.Add(item);
            Write(item);
        }
    }

    public void Dispose() => _file?.Dispose();

    private void Read(string path, string run)
    {
        byte[] bytes = new byte[_file!.Length];
        _file.ReadExactly(bytes);
        int whole = bytes.AsSpan().LastIndexOf((byte)'\n') + 1;
        string[] lines = System.Text.Encoding.UTF8.GetString(bytes, 0, whole).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        _file.SetLength(whole); // what stands behind was being written when the process ended
        _file.Position = whole;
        if (lines.Length == 0)
        {
            Write(new { run });
            return;
        }

        if (JsonSerializer.Deserialize<Header>(lines[0], s_json)?.Run != run)
        {
            throw new IOException($"'{path}' holds results of another model, task, data or setting. Choose another place for the results, or delete the file to begin again.");
        }

        Items.AddRange(lines.Skip(1).Select(line => JsonSerializer.Deserialize<EvaluationItem>(line, s_json)!));
    }

    private void Write<T>(T value)
    {
        if (_file is not null)
        {
            _file.Write([.. JsonSerializer.SerializeToUtf8Bytes(value, s_json), (byte)'\n']);
            _file.Flush();
        }
    }

    private sealed record Header(string? Run);
}
