using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Attention;

/// <summary>The keys and values of one head of one sequence that some query rows look at: positions from <paramref name="begin"/> to before <paramref name="end"/>.</summary>
internal readonly unsafe struct KvView(in AttentionSpec layer, in BatchSlice slice, int kvHead, int begin, int end, TileFormats formats)
{
    private const int Keys = TileFormat.Rows;

    private readonly CpuKvPool _pool = (CpuKvPool)layer.Pool;
    private readonly int[] _blocks = layer.IsLocal ? slice.LocalBlocks : slice.GlobalBlocks;
    private readonly int _layer = layer.PoolLayer;

    /// <summary>Where a key or value is stored.</summary>
    public byte* Stored(int position, bool values)
    {
        int tokens = _pool.Layout.BlockTokens;
        return _pool.Head(_blocks[position / tokens], _layer, values, kvHead) + (long)(position % tokens) * _pool.Layout.RowBytes;
    }

    /// <summary>A key or value as float32; zeros where no query looks.</summary>
    public void LoadRow(int position, bool values, float* target)
    {
        if (position < begin || position >= end)
        {
            new Span<float>(target, _pool.Layout.HeadDim).Clear();
        }
        else
        {
            KvRows.Load(Stored(position, values), target, _pool.Layout.HeadDim, _pool.Layout.Type);
        }
    }

    /// <summary>32 keys as a float tile [headDim][32]; zeros where no query looks, for 16 of them or more.</summary>
    /// <param name="first">Position of the first key.</param>
    /// <param name="tile">Receives the tile.</param>
    /// <param name="row">Memory for one key.</param>
    public void LoadKeys(int first, float* tile, float* row)
    {
        KvLayout layout = _pool.Layout;
        TensorType? type = layout.Type switch { GemmaKvCacheType.F16 => TensorType.F16, GemmaKvCacheType.BF16 => TensorType.BF16, GemmaKvCacheType.F32 => TensorType.F32, _ => null };
        bool whole = layout.BlockTokens % 16 == 0 && layout.HeadDim % 8 == 0;
        for (int i = 0; i < Keys; i += 16)
        {
            if (first + i >= end || first + i + 16 <= begin)
            {
                for (int d = 0; d < layout.HeadDim; d++)
                {
                    Vector512<float>.Zero.Store(tile + d * Keys + i);
                }
            }
            else if (whole && type is not null)
            {
                formats.Get(type.Value).UnpackRows(Stored(first + i, values: false), layout.RowBytes, layout.HeadDim, (byte*)(tile + i), null);
            }
            else
            {
                for (int j = i; j < i + 16; j++)
                {
                    LoadRow(first + j, values: false, row);
                    for (int d = 0; d < layout.HeadDim; d++)
                    {
                        tile[d * Keys + j] = row[d];
                    }
                }
            }
        }
    }
}
