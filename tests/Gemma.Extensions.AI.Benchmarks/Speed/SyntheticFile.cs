using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>
/// Model files of Gemma 2's shape with random weights and without a tokenizer, for speed: unlike <see cref="RandomModel"/> every tensor has its own bytes, so that generation reads as much
/// from memory as with a real file.
/// </summary>
internal static class SyntheticFile
{
    /// <summary>The types that files of these names mix, as llama-quantize does it.</summary>
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
        var writer = new GgufWriter();
        writer.Set("general.architecture", "gemma2");
        writer.Set("general.name", $"synthetic {mixture}");
        writer.Set("gemma2.context_length", (uint)config.ContextLength);
        writer.Set("gemma2.embedding_length", (uint)config.HiddenSize);
        writer.Set("gemma2.block_count", (uint)config.LayerCount);
        writer.Set("gemma2.feed_forward_length", (uint)config.FeedForwardSize);
        writer.Set("gemma2.attention.head_count", (uint)config.HeadCount);
        writer.Set("gemma2.attention.head_count_kv", (uint)config.KvHeadCount);
        writer.Set("gemma2.attention.key_length", (uint)config.HeadDim);
        writer.Set("gemma2.attention.value_length", (uint)config.HeadDim);
        writer.Set("gemma2.attention.layer_norm_rms_epsilon", config.RmsNormEpsilon);
        writer.Set("gemma2.attention.sliding_window", (uint)config.SlidingWindow);
        var pools = new Dictionary<TensorType, byte[]>();
        foreach ((string name, long[] shape) in GemmaTensors.Expected(config))
        {
            BlockFormat format = BlockFormat.Get(shape.Length == 1 ? TensorType.F32 : TypeOf(name, mixture, config.LayerCount));
            long bytes = format.ByteLength(shape.Aggregate(1L, (a, b) => a * b));
            writer.Add(name, format, shape, stream => Write(stream, bytes, shape.Length == 1, format, pools));
        }

        return writer;
    }

    private static TensorType TypeOf(string name, string mixture, int layers)
    {
        if (mixture is "Q8_0" or "BF16")
        {
            return Enum.Parse<TensorType>(mixture);
        }

        if (name == GemmaTensors.Embedding)
        {
            return TensorType.Q6_K;
        }

        if (mixture == "Q4_0")
        {
            return TensorType.Q4_0;
        }

        int layer = int.TryParse(name.Split('.')[1], out int number) ? number : 0;
        bool more = layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
        return more && (name.Contains("attn_v", StringComparison.Ordinal) || name.Contains("ffn_down", StringComparison.Ordinal)) ? TensorType.Q6_K : TensorType.Q4_K;
    }

    /// <summary>Norms are one, or zero above one; weights are blocks drawn once, over and over, a prime number of them so that rows differ.</summary>
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
            var random = new Random(1);
            var values = new float[Blocks * BlockFormat.SuperBlock];
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
