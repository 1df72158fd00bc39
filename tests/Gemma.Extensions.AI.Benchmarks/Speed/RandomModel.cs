using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>
/// Random weights of Gemma 2's shape, for speed. All tensors of a format share one piece of host memory, so that a backend with memory of its own can be measured where there is no room for a file;
/// a backend that uses weights in place reads the same bytes for all.
/// </summary>
internal sealed unsafe class RandomModel : IDisposable
{
    private readonly Func<string, long[], BlockFormat> _formatOf;
    private readonly Dictionary<TensorType, nint> _data = [];
    private byte* _zeros;

    /// <param name="shape">2b, 9b, 27b, or tiny.</param>
    /// <param name="type">A type of model files (<c>Q4_K_M</c>), or of all tensors (<c>Q4_K</c>).</param>
    public RandomModel(string shape, string type)
    {
        Config = ConfigOf(shape);
        BlockFormat? uniform = QuantizationRecipe.All.Any(recipe => recipe.Name.Equals(type, StringComparison.OrdinalIgnoreCase)) ? null : BlockFormat.Get(Enum.Parse<TensorType>(type, ignoreCase: true));
        _formatOf = uniform is null ? (name, dimensions) => QuantizationRecipe.Get(type).FormatOf(name, dimensions, Config) : (_, _) => uniform;
        Dictionary<TensorType, long> sizes = new();
        foreach ((string name, long[] dimensions) in GemmaTensors.Expected(Config).Where(tensor => tensor.Shape.Length == 2))
        {
            BlockFormat format = _formatOf(name, dimensions);
            long bytes = format.ByteLength(dimensions[0] * dimensions[1]);
            sizes[format.Type] = Math.Max(sizes.GetValueOrDefault(format.Type), bytes);
            WeightBytes += bytes;
        }

        foreach ((TensorType key, long bytes) in sizes)
        {
            _data.Add(key, (nint)Fill(BlockFormat.Get(key), bytes));
        }
    }

    /// <summary>Bytes of all matrices: what a token reads.</summary>
    public long WeightBytes { get; }

    public GemmaConfig Config { get; }

    private static byte* Fill(BlockFormat format, long bytes)
    {
        byte* data = (byte*)NativeMemory.AllocZeroed((nuint)bytes);
        long block = format.ByteLength(BlockFormat.SuperBlock);
        Parallel.For(0, (bytes + (1 << 20) - 1) >> 20, piece =>
        {
            Random random = new((int)piece);
            float[] values = new float[BlockFormat.SuperBlock];
            byte* end = data + Math.Min(bytes, (piece + 1) << 20);
            long first = ((piece << 20) + block - 1) / block;
            for (byte* at = data + first * block; at + block <= end; at += block)
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
                        format.Encode(source, at, values.Length, null);
                    }
                }
                else if (at - block >= data + (piece << 20))
                {
                    Buffer.MemoryCopy(at - block, at, block, block);
                }
            }
        });
        return data;
    }

    /// <summary>The configuration of "2b", "9b", "27b" or, to try things out, "tiny".</summary>
    public static GemmaConfig ConfigOf(string shape) => shape.ToLowerInvariant() switch
    {
        "2b" => Shape(26, 2304, 9216, 8, 4, 256, 256),
        "9b" => Shape(42, 3584, 14336, 16, 8, 256, 256),
        "27b" => Shape(46, 4608, 36864, 32, 16, 128, 144),
        "tiny" => Shape(2, 256, 512, 4, 2, 128, 128) with { VocabularySize = 2048 },
        _ => throw new ArgumentException($"'{shape}' is not 2b, 9b, 27b or tiny."),
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

        TensorView Tensor(string name, int rows, int columns)
        {
            BlockFormat format = _formatOf(name, [rows, columns]);
            return new TensorView(name, format, [rows, columns], (byte*)_data[format.Type], format.ByteLength((long)rows * columns), "random");
        }

        WeightVector Norm() => backend.LoadVector(new TensorView("norm", BlockFormat.Get(TensorType.F32), [hidden], Zeros(hidden), 4L * hidden, "random"), 1);
    }

    public void Dispose()
    {
        foreach (nint data in _data.Values)
        {
            NativeMemory.Free((void*)data);
        }

        NativeMemory.Free(_zeros);
    }

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
