using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Model;

/// <summary>The weights of one layer. Projections that read the same input are stacked, so that each input is read once.</summary>
internal sealed class LayerWeights
{
    public required WeightVector AttentionNorm { get; init; }       // [hidden]
    public required WeightMatrix Qkv { get; init; }                 // [(heads + 2·kvHeads)·headDim, hidden]
    public required WeightMatrix AttentionOutput { get; init; }     // [hidden, heads·headDim]
    public required WeightVector PostAttentionNorm { get; init; }   // [hidden]
    public required WeightVector FeedForwardNorm { get; init; }     // [hidden]
    public required WeightMatrix GateUp { get; init; }              // [2·ffn, hidden]
    public required WeightMatrix Down { get; init; }                // [hidden, ffn]
    public required WeightVector PostFeedForwardNorm { get; init; } // [hidden]
}

/// <summary>The weights of a model as a backend holds them. Immutable, shared by every request.</summary>
internal sealed class GemmaWeights
{
    private const int SampleBytes = 1024;

    /// <summary>Token embeddings [vocabulary, hidden].</summary>
    public required WeightMatrix Embedding { get; init; }

    /// <summary>Output head [vocabulary, hidden]: the embedding itself where the two are tied; null for a model that predicts no tokens.</summary>
    public required WeightMatrix? Head { get; init; }

    public required LayerWeights[] Layers { get; init; }

    /// <summary>Norm before the output head [hidden].</summary>
    public required WeightVector OutputNorm { get; init; }

    /// <summary>Tells models apart: a hash over the numbers of the configuration, and the shape and parts of the bytes of every tensor [32 bytes].</summary>
    public required byte[] Fingerprint { get; init; }

    /// <summary>Hands every tensor of the file to the backend. The file must stay open as long as the weights are used.</summary>
    /// <exception cref="GemmaModelFormatException">A tensor is missing.</exception>
    public static GemmaWeights Load(ModelFile file, Backend backend, IProgress<double>? progress = null, CancellationToken cancellationToken = default)
    {
        float normOffset = file.NormsIncludeOne ? 0 : 1;
        WeightMatrix embedding = backend.LoadWeights(Tensor("token_embd.weight"));
        LayerWeights[] layers = new LayerWeights[file.Config.LayerCount];
        for (int i = 0; i < layers.Length; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            layers[i] = LoadLayer($"blk.{i}.");
            progress?.Report((i + 1.0) / layers.Length);
        }

        WeightMatrix? head = file.Config.Head switch
        {
            OutputHead.Tied => embedding,
            OutputHead.Own => backend.LoadWeights(Tensor(GemmaTensors.Output)),
            _ => null,
        };
        return new GemmaWeights { Embedding = embedding, Head = head, Layers = layers, OutputNorm = Norm("output_norm.weight"), Fingerprint = FingerprintOf(file) };

        LayerWeights LoadLayer(string prefix) => new()
        {
            AttentionNorm = Norm(prefix + "attn_norm.weight"),
            Qkv = backend.LoadWeights(Tensor(prefix + "attn_q.weight"), Tensor(prefix + "attn_k.weight"), Tensor(prefix + "attn_v.weight")),
            AttentionOutput = backend.LoadWeights(Tensor(prefix + "attn_output.weight")),
            PostAttentionNorm = Norm(prefix + "post_attention_norm.weight"),
            FeedForwardNorm = Norm(prefix + "ffn_norm.weight"),
            GateUp = backend.LoadWeights(Tensor(prefix + "ffn_gate.weight"), Tensor(prefix + "ffn_up.weight")),
            Down = backend.LoadWeights(Tensor(prefix + "ffn_down.weight")),
            PostFeedForwardNorm = Norm(prefix + "post_ffw_norm.weight"),
        };

        WeightVector Norm(string name) => backend.LoadVector(Tensor(name), normOffset);

        TensorView Tensor(string name) => file.Tensors.TryGetValue(name, out TensorView? tensor)
            ? tensor
            : throw new GemmaModelFormatException(
                $"'{file.Path}' has no tensor '{name}', which a Gemma 2 model of {file.Config.LayerCount} layers needs. The file is damaged or was converted wrongly; download or convert it again.");
    }

    /// <summary><see cref="Fingerprint"/> of the weights of a file.</summary>
    public static byte[] FingerprintOf(ModelFile file)
    {
        byte[] sample = new byte[SampleBytes];
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(JsonSerializer.SerializeToUtf8Bytes(file.Config, ConfigJson.Default.GemmaConfig)); // the same weights with another rotary base are another model
        foreach (TensorView tensor in file.Tensors.Values.OrderBy(tensor => tensor.Name, StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{tensor.Name} {tensor.Format.Name} {string.Join(',', tensor.Shape)};"));
            int length = (int)Math.Min(SampleBytes, tensor.ByteLength);
            foreach (long start in (ReadOnlySpan<long>)[0, (tensor.ByteLength - length) / 2, tensor.ByteLength - length])
            {
                tensor.CopyBytes(start, sample.AsSpan(0, length));
                hash.AppendData(sample, 0, length);
            }
        }

        return hash.GetHashAndReset();
    }
}

/// <summary>The numbers of a model as JSON, for its fingerprint.</summary>
[JsonSerializable(typeof(GemmaConfig))]
internal sealed partial class ConfigJson : JsonSerializerContext;
