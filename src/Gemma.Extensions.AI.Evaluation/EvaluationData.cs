using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Evaluation.Data;

namespace Gemma.Extensions.AI.Evaluation;

/// <summary>
/// Data sets as files that you have: JSON Lines (<c>.jsonl</c>), a JSON list (<c>.json</c>), CSV with a header (<c>.csv</c>) or Parquet (<c>.parquet</c>), one row a question. Nothing is downloaded.
/// </summary>
public sealed class EvaluationData
{
    private static readonly string[] s_extensions = [".jsonl", ".json", ".csv", ".parquet"];
    private readonly string _path;
    private readonly string? _examples;

    private EvaluationData(string path, string? examples) => (_path, _examples) = (path, examples);

    /// <summary>Data of a file, whose rows are those of the split that is measured, or of a folder with a file a split: <c>test.jsonl</c>, <c>train-00000-of-00001.parquet</c>, also in a folder <c>data</c> or of the split's name.</summary>
    /// <param name="path">A file or folder.</param>
    /// <param name="examples">A file or folder for examples in the prompt; null: the same.</param>
    /// <exception cref="FileNotFoundException">There is no such file or folder.</exception>
    public static EvaluationData Open(string path, string? examples = null)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        foreach (string given in examples is null ? (string[])[path] : [path, examples])
        {
            if (!Path.Exists(given))
            {
                throw new FileNotFoundException($"There is no data at '{given}': give a file (JSON Lines, JSON, CSV, Parquet), or a folder with one a split.", given);
            }
        }

        return new EvaluationData(path, examples);
    }

    /// <summary>The files of a split, in the order in which they are read.</summary>
    /// <exception cref="FileNotFoundException">There are none.</exception>
    internal IReadOnlyList<string> FilesOf(string split, bool areExamples)
    {
        string path = areExamples ? _examples ?? _path : _path;
        if (File.Exists(path))
        {
            return !areExamples || _examples is not null ? [path]
                : throw new FileNotFoundException($"The task takes examples from the split '{split}', but the data is one file, '{path}', with the questions. Give a folder, or the examples' file beside it.", path);
        }

        foreach (string folder in (string[])[path, Path.Combine(path, "data"), Path.Combine(path, split)])
        {
            string[] files = !Directory.Exists(folder) ? [] : [.. Directory.EnumerateFiles(folder).Where(file => Belongs(Path.GetFileName(file), split, folder != path && Path.GetFileName(folder) == split)).Order(StringComparer.Ordinal)];
            if (files.Length > 0)
            {
                return files;
            }
        }

        throw new FileNotFoundException($"'{path}' has no file of the split '{split}': expected '{split}' with one of the endings {string.Join(", ", s_extensions)}, or its parts '{split}-00000-of-00001.parquet'.", path);
    }

    /// <summary>The rows of files.</summary>
    /// <exception cref="FormatException">A file is damaged; says where.</exception>
    internal static async Task<List<JsonObject>> ReadAsync(IEnumerable<string> files, CancellationToken cancellationToken)
    {
        List<JsonObject> rows = [];
        foreach (string file in files)
        {
            rows.AddRange(Path.GetExtension(file).ToUpperInvariant() switch
            {
                ".CSV" => CsvRows.Read(await File.ReadAllTextAsync(file, cancellationToken).ConfigureAwait(false), file),
                ".PARQUET" => await ParquetRows.ReadAsync(file, cancellationToken).ConfigureAwait(false),
                ".JSON" => JsonRows.ReadList(await File.ReadAllTextAsync(file, cancellationToken).ConfigureAwait(false), file),
                _ => JsonRows.ReadLines(await File.ReadAllTextAsync(file, cancellationToken).ConfigureAwait(false), file),
            });
        }

        return rows;
    }

    private static bool Belongs(string name, string split, bool any)
    {
        string stem = Path.GetFileNameWithoutExtension(name);
        return s_extensions.Contains(Path.GetExtension(name).ToLowerInvariant()) && (any || stem == split || stem.StartsWith(split + "-", StringComparison.Ordinal));
    }
}
