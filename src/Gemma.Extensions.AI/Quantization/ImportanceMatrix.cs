using System.Text;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Quantization;

/// <summary>
/// Mean squares of what each weight matrix is multiplied with, by input column: errors of columns that see large inputs count more. Stored as
/// llama.cpp stores it (GGUF with <c>NAME.in_sum2</c> and <c>NAME.counts</c>, and what was read in <c>imatrix.*</c>), so that files can be exchanged;
/// its older files (<c>imatrix.dat</c>, no GGUF) are read too.
/// </summary>
internal sealed class ImportanceMatrix
{
    private const string Sums = ".in_sum2";
    private const string Counts = ".counts";
    private readonly Dictionary<string, (float[] Sums, float Count)> _entries = new(StringComparer.Ordinal);
    private string _source = "the importance matrix";

    /// <summary>Matrices that the collection saw.</summary>
    public IReadOnlyCollection<string> Names => _entries.Keys;

    /// <summary>Adds the input of a matrix, row by row.</summary>
    public void Add(string name, ReadOnlySpan<float> input)
    {
        (float[] sums, float count) = _entries.TryGetValue(name, out (float[] Sums, float Count) entry) ? entry : (new float[input.Length], 0);
        for (int i = 0; i < sums.Length; i++)
        {
            sums[i] += input[i] * input[i];
        }

        _entries[name] = (sums, count + 1);
    }

    /// <summary>Mean squares by column; null for a matrix that was not seen.</summary>
    public float[]? For(string name)
    {
        if (!_entries.TryGetValue(name, out (float[] Sums, float Count) entry) || entry.Count <= 0)
        {
            return null;
        }

        // Columns that no input reached still have to be stored somehow.
        float mean = entry.Sums.Sum() / entry.Sums.Length;
        return [.. entry.Sums.Select(s => Math.Max(s, 1e-6f * mean) / entry.Count)];
    }

    /// <exception cref="GemmaModelFormatException">The matrix belongs to another model.</exception>
    public void Check(GemmaConfig config)
    {
        foreach ((string name, long[] shape) in GemmaTensors.Expected(config).Where(t => t.Shape.Length == 2))
        {
            if (_entries.TryGetValue(name, out (float[] Sums, float Count) entry) && entry.Sums.Length != shape[^1])
            {
                throw new GemmaModelFormatException($"'{_source}' has {entry.Sums.Length:N0} columns for '{name}', the model {shape[^1]:N0}. It belongs to another model; collect one with 'gemma imatrix'.");
            }
        }

        if (_entries.Count == 0)
        {
            throw new GemmaModelFormatException($"'{_source}' holds no importance of any matrix. Collect one with 'gemma imatrix'.");
        }
    }

    /// <summary>Writes the matrix.</summary>
    /// <param name="path">The file; replaced if it exists.</param>
    /// <param name="dataset">Name of the text that was read.</param>
    /// <param name="chunks">Windows of it.</param>
    /// <param name="chunkTokens">Tokens of a window.</param>
    public void Save(string path, string dataset, int chunks, int chunkTokens)
    {
        GgufWriter writer = new();
        writer.Set("general.type", "imatrix");
        writer.Set("imatrix.datasets", [Encoding.UTF8.GetBytes(dataset)]);
        writer.Set("imatrix.chunk_count", (uint)chunks);
        writer.Set("imatrix.chunk_size", (uint)chunkTokens);
        foreach ((string name, (float[] sums, float count)) in _entries)
        {
            BlockFormat f32 = BlockFormat.Get(TensorType.F32);
            writer.Add(name + Sums, f32, [1, sums.Length], s => s.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes(sums.AsSpan())));
            writer.Add(name + Counts, f32, [1, 1], s => s.Write(BitConverter.GetBytes(count)));
        }

        writer.Save(path);
    }

    /// <summary>Reads a matrix of either kind.</summary>
    /// <exception cref="GemmaModelFormatException">The file is not an importance matrix.</exception>
    public static ImportanceMatrix Load(string path)
    {
        ImportanceMatrix matrix = new() { _source = path };
        if (LegacyImatrix.Is(path))
        {
            foreach ((string name, float[] sums, float count) in LegacyImatrix.Read(path))
            {
                matrix.Put(path, name, sums, count);
            }

            return matrix;
        }

        using GgufFile file = GgufFile.Open(path);
        foreach (TensorView sums in file.Tensors.Values.Where(t => t.Name.EndsWith(Sums, StringComparison.Ordinal)))
        {
            string name = sums.Name[..^Sums.Length];
            if (sums.Rows != 1 || !file.Tensors.TryGetValue(name + Counts, out TensorView? counts) || counts.ElementCount != 1)
            {
                throw new GemmaModelFormatException($"'{path}' holds no valid importance of '{name}'. Collect one with 'gemma imatrix'.");
            }

            float[] values = new float[sums.Columns];
            float[] count = new float[1];
            sums.DecodeRow(0, values);
            counts.DecodeRow(0, count);
            matrix.Put(path, name, values, count[0]);
        }

        return matrix._entries.Count > 0 ? matrix : throw new GemmaModelFormatException($"'{path}' is a GGUF file but no importance matrix. Collect one with 'gemma imatrix'.");
    }

    private void Put(string path, string name, float[] sums, float count)
    {
        _entries[name] = sums.All(v => v >= 0 && float.IsFinite(v)) && count > 0 && float.IsFinite(count)
            ? (sums, count)
            : throw new GemmaModelFormatException($"'{path}' holds an importance of '{name}' that is negative or not finite. Collect one with 'gemma imatrix'.");
    }
}
