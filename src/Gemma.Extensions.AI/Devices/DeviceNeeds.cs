using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;

namespace Gemma.Extensions.AI.Devices;

/// <summary>GPU memory that a model needs. Weights of formats without a kernel count as the bfloat16 numbers that they become.</summary>
/// <param name="LayerBytes">Weights of each layer.</param>
/// <param name="HeadBytes">The output head with the last norm.</param>
/// <param name="EmbeddingBytes">The token embeddings where they are not the head too; only a GPU that computes all layers needs them.</param>
/// <param name="KvBytes">Keys and values of all layers: of one full context, or what the options say.</param>
/// <param name="WorkBytes">Work space, and a model that guesses ahead.</param>
internal sealed record DeviceNeeds(long[] LayerBytes, long HeadBytes, long EmbeddingBytes, long KvBytes, long WorkBytes)
{
    /// <summary>For the driver's own purposes and for what grows later.</summary>
    private const long ReserveBytes = 256 << 20;

    /// <param name="file">The model.</param>
    /// <param name="contextLength">Tokens of context; null: as many as the model was trained for.</param>
    /// <param name="kvType">Storage type of keys and values.</param>
    /// <param name="kvCacheBytes">Bytes of keys and values, where they are fixed.</param>
    /// <param name="draft">A smaller model that guesses ahead, and for how many sequences at once. All of it counts, wherever the layers of the large one are.</param>
    public static DeviceNeeds Of(ModelFile file, int? contextLength, GemmaKvCacheType kvType, long? kvCacheBytes, (ModelFile File, int Sequences)? draft = null)
    {
        GemmaConfig config = file.Config;
        long[] layers = new long[config.LayerCount];
        long head = 0, embedding = 0;
        foreach (TensorView tensor in file.Tensors.Values)
        {
            CudaFormat format = CudaFormat.Of(tensor.Format.Type);
            long bytes = tensor.Shape.Count < 2 ? 4 * tensor.ElementCount : tensor.Rows * format.PlanesOf(checked((int)tensor.Columns)).Total;
            if (GemmaTensors.LayerOf(tensor.Name) is { } layer && layer < layers.Length)
            {
                layers[layer] += bytes;
            }
            else if (tensor.Name == GemmaTensors.Embedding && config.Head != OutputHead.Tied)
            {
                embedding += bytes;
            }
            else
            {
                head += bytes;
            }
        }

        MemoryAdvice advice = MemoryAdvice.For(config, 0, contextLength ?? config.ContextLength, kvType);

        // A step takes more rows than on the CPU, and products keep other forms of their input.
        long work = PromptSteps.Most / MemoryAdvice.PrefillRows * advice.ActivationBytes * 3 / 2 + ReserveBytes;
        if (draft is { } guesses)
        {
            DeviceNeeds small = Of(guesses.File, Math.Min(contextLength ?? config.ContextLength, guesses.File.Config.ContextLength), kvType, null);
            work += small.LayerBytes.Sum() + small.HeadBytes + small.EmbeddingBytes + guesses.Sequences * small.KvBytes + small.WorkBytes - ReserveBytes;
        }

        return new DeviceNeeds(layers, head, embedding, kvCacheBytes ?? advice.KvBytes, work);
    }

    /// <summary>Bytes for the last layers and the output head.</summary>
    public long BytesFor(int layers) =>
        LayerBytes[^layers..].Sum() + HeadBytes + (layers == LayerBytes.Length ? EmbeddingBytes : 0) + (long)((double)KvBytes * layers / LayerBytes.Length) + WorkBytes;

    /// <summary>The most layers that fit, with an even number left over, or all; 0 where not one does.</summary>
    public int LayersWithin(long bytes)
    {
        int all = LayerBytes.Length;
        for (int others = 0; others < all; others += 2)
        {
            if (BytesFor(all - others) <= bytes)
            {
                return all - others;
            }
        }

        return 0;
    }
}
