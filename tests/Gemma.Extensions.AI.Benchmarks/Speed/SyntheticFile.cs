using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>
/// Model files of Gemma 2's shape with random weights and without a tokenizer, for speed: unlike <see cref="RandomModel"/> every tensor has its own bytes, so that generation reads as much
/// from memory as with a real file.
/// </summary>
internal static class SyntheticFile
{
    /// <summary>The mixtures that are measured.</summary>
    public static IReadOnlyList<string> Mixtures { get; } = ["Q4_K_M", "Q4_0", "Q8_0", "BF16"];

    /// <summary>The path of such a file, which is made if it is missing.</summary>
    public static string Ensure(string directory, string shape, string mixture)
    {
        string path = Path.Combine(directory, $"synthetic-{shape}-{mixture}.gguf");
        if (!File.Exists(path))
        {
            Directory.CreateDirectory(directory);
            Create(RandomModel.ConfigOf(shape), mixture).Save(path);
        }

        return path;
    }

    private static GgufWriter Create(GemmaConfig config, string mixture)
    {
        GgufWriter writer = new();
        writer.Set("general.architecture", "gemma2");
        writer.Set("general.name", $"synthetic {mixture}");
        ModelConverter.DescribeShape(writer, config);
        QuantizationRecipe recipe = QuantizationRecipe.Get(mixture);
        Dictionary<TensorType, byte[]> pools = new();
        foreach ((string name, long[] shape) in GemmaTensors.Expected(config))
        {
            BlockFormat format = recipe.FormatOf(name, shape, config);
            long bytes = format.ByteLength(shape.Aggregate(1L, (a, b) => a * b));
            writer.Add(name, format, shape, stream => Write(stream, bytes, shape.Length == 1, format, pools));
        }

        return writer;
    }

    /// <summary>Norms are one; weights are blocks drawn once, over and over, a prime number of them so that rows differ.</summary>
    private static unsafe void Write(Stream stream, long bytes, bool norm, BlockFormat format, Dictionary<TensorType, byte[]> pools)
    {
        if (norm)
        {
            for (long i = 0; i < bytes; i += sizeof(float))
            {
                stream.Write(BitConverter.GetBytes(1f));
            }

            return;
        }

        const int Blocks = 4093;
        if (!pools.TryGetValue(format.Type, out byte[]? pool))
        {
            Random random = new(1);
            float[] values = new float[Blocks * BlockFormat.SuperBlock];
            foreach (ref float value in values.AsSpan())
            {
                value = 0.02f * (random.NextSingle() + random.NextSingle() + random.NextSingle() + random.NextSingle() - 2) * 1.7f;
            }

            pools[format.Type] = pool = new byte[format.ByteLength(values.Length)];
            fixed (float* source = values)
            fixed (byte* target = pool)
            {
                format.Encode(source, target, values.Length, null);
            }
        }

        for (long left = bytes; left > 0; left -= pool.Length)
        {
            stream.Write(pool.AsSpan(0, (int)Math.Min(left, pool.Length)));
        }
    }
}
