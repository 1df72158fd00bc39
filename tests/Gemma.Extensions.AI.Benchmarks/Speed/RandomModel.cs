using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>
/// Random weights of Gemma 2's shape, for speed. All tensors share one piece of host memory, so that a backend with memory of its own can be measured where there is no room for a file;
/// a backend that uses weights in place reads the same bytes for all.
/// </summary>
internal sealed unsafe class RandomModel : IDisposable
{
    private readonly BlockFormat _format;
    private readonly byte* _data;

    public RandomModel(string shape, TensorType type)
    {
        Config = ConfigOf(shape);
        _format = BlockFormat.Get(type);
        long bytes = Math.Max(_format.ByteLength((long)Config.VocabularySize * Config.HiddenSize), 4L * Config.HiddenSize);
        _data = (byte*)NativeMemory.AllocZeroed((nuint)bytes);
        Parallel.For(0, (bytes + (1 << 20) - 1) >> 20, piece =>
        {
            var random = new Random((int)piece);
            float[] values = new float[BlockFormat.SuperBlock];
            byte* end = _data + Math.Min(bytes, (piece + 1) << 20);
            long first = ((piece << 20) + _format.ByteLength(BlockFormat.SuperBlock) - 1) / _format.ByteLength(BlockFormat.SuperBlock);
            for (byte* at = _data + first * _format.ByteLength(BlockFormat.SuperBlock); at + _format.ByteLength(BlockFormat.SuperBlock) <= end; at += _format.ByteLength(BlockFormat.SuperBlock))
            {
                if (first++ % 16 == 0)
                {
                    // Encoding takes its time: fifteen of sixteen blocks repeat one.
                    for (int i = 0; i < values.Length; i++)
                    {
                        values[i] = 0.05f * (random.NextSingle() - 0.5f);
                    }

                    fixed (float* source = values)
                    {
                        _format.Encode(source, at, values.Length, null);
                    }
                }
                else
                {
                    long block = _format.ByteLength(BlockFormat.SuperBlock);
                    if (at - block >= _data + (piece << 20))
                    {
                        Buffer.MemoryCopy(at - block, at, block, block);
                    }
                }
            }
        });
    }

    public GemmaConfig Config { get; }

    /// <summary>The configuration of "2b", "9b" or "27b".</summary>
    public static GemmaConfig ConfigOf(string shape) => shape.ToLowerInvariant() switch
    {
        "2b" => Shape(26, 2304, 9216, 8, 4, 256, 256),
        "9b" => Shape(42, 3584, 14336, 16, 8, 256, 256),
        "27b" => Shape(46, 4608, 36864, 32, 16, 128, 144),
        _ => throw new ArgumentException($"'{shape}' is not 2b, 9b or 27b."),
    };

    public GemmaWeights Load(Backend backend)
    {
        int hidden = Config.HiddenSize, queries = Config.QuerySize, kv = Config.KvSize, wide = Config.FeedForwardSize;
        WeightMatrix embedding = backend.LoadWeights(Tensor("token_embd.weight", Config.VocabularySize, hidden));
        return new GemmaWeights
        {
            Embedding = embedding,
            Head = embedding,
            OutputNorm = Norm(),
            Fingerprint = new byte[32],
            Layers = [.. Enumerable.Range(0, Config.LayerCount).Select(i => new LayerWeights
            {
                AttentionNorm = Norm(),
                Qkv = backend.LoadWeights(Tensor($"blk.{i}.attn_q.weight", queries, hidden), Tensor($"blk.{i}.attn_k.weight", kv, hidden), Tensor($"blk.{i}.attn_v.weight", kv, hidden)),
                AttentionOutput = backend.LoadWeights(Tensor($"blk.{i}.attn_output.weight", hidden, queries)),
                PostAttentionNorm = Norm(),
                FeedForwardNorm = Norm(),
                GateUp = backend.LoadWeights(Tensor($"blk.{i}.ffn_gate.weight", wide, hidden), Tensor($"blk.{i}.ffn_up.weight", wide, hidden)),
                Down = backend.LoadWeights(Tensor($"blk.{i}.ffn_down.weight", hidden, wide)),
                PostFeedForwardNorm = Norm(),
            })],
        };

        TensorView Tensor(string name, int rows, int columns) => new(name, _format, [rows, columns], _data, _format.ByteLength((long)rows * columns), "random");

        WeightVector Norm() => backend.LoadVector(new TensorView("norm", BlockFormat.Get(TensorType.F32), [hidden], Zeros(hidden), 4L * hidden, "random"), 1);
    }

    public void Dispose()
    {
        NativeMemory.Free(_data);
        NativeMemory.Free(_zeros);
    }

    private byte* _zeros;

    /// <summary>Norms of 1 + 0.</summary>
    private byte* Zeros(int count) => _zeros is null ? _zeros = (byte*)NativeMemory.AllocZeroed((nuint)(4L * count)) : _zeros;

    private static GemmaConfig Shape(int layers, int hidden, int feedForward, int heads, int kvHeads, int headDim, int queryScalar) => new()
    {
        VocabularySize = 256_000,
        HiddenSize = hidden,
        FeedForwardSize = feedForward,
        LayerCount = layers,
        HeadCount = heads,
        KvHeadCount = kvHeads,
        HeadDim = headDim,
        ContextLength = 8192,
        SlidingWindow = 4096,
        RmsNormEpsilon = 1e-6f,
        RopeBase = 10_000,
        QueryScale = 1 / MathF.Sqrt(queryScalar),
        AttentionSoftcap = 50,
        FinalSoftcap = 30,
    };
}
