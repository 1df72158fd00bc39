namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>Rotation, storing of keys and values, and attention.</summary>
internal sealed partial class CudaBackend
{
    private const int MaxHeadDim = 256, AttentionThreads = 128, Span = 256;

    public override void RopeAndStore(Matrix qkv, in AttentionSpec layer, ForwardBatch batch)
    {
        CheckColumns(qkv, (layer.Heads + 2 * layer.KvHeads) * layer.HeadDim);
        CheckRows(batch.Rows, qkv, qkv);
        if (batch.Rows == 0)
        {
            return;
        }

        CudaKvPool pool = (CudaKvPool)layer.Pool;
        LayerArguments arguments = Arguments(layer, pool);
        (ulong positions, ulong offsets, ulong tables) = _tables.Of(batch, layer.IsLocal);
        _context.Launch(
            pool.StoreKernel, (batch.Rows, layer.Heads + layer.KvHeads, 1), 32 * Blocks(layer.HeadDim, 32),
            Overwrite(qkv), pool.Address, positions, offsets, tables, Angles(layer).Ensure(_tables.LastPosition), KernelArgument.Of(ref arguments));
    }

    public override void Attention(Matrix qkv, in AttentionSpec layer, ForwardBatch batch, Matrix output)
    {
        CheckColumns(qkv, (layer.Heads + 2 * layer.KvHeads) * layer.HeadDim);
        CheckColumns(output, layer.Heads * layer.HeadDim);
        CheckRows(batch.Rows, qkv, output);
        if (batch.Rows == 0)
        {
            return;
        }

        CudaKvPool pool = (CudaKvPool)layer.Pool;
        LayerArguments arguments = Arguments(layer, pool);
        (ulong positions, ulong offsets, ulong tables) = _tables.Of(batch, layer.IsLocal);

        ulong to = Overwrite(output);
        int rows = batch.Rows, last = _tables.LastPosition;
        if (pool.PromptKernel != 0 && batch.PromptRows > 0)
        {
            double operations = 4.0 * BatchTables.TileRows * KeysSeen(layer, last) * layer.Heads * layer.HeadDim;
            int most = _pieces.Rows(_tables.TileCount, operations, LaunchPieces.ProductSpeed, 1);
            for (int tile = 0; tile < _tables.TileCount; tile += most)
            {
                int count = Math.Min(most, _tables.TileCount - tile);
                _pieces.Announce(count * operations, LaunchPieces.ProductSpeed);
                _context.Launch(
                    pool.PromptKernel, (count, layer.Heads, 1), AttentionThreads,
                    Address(qkv), pool.Address, positions, offsets, tables, _tables.Tiles + (8ul * (uint)tile), to, KernelArgument.Of(ref arguments));
            }

            (rows, last) = (rows - batch.PromptRows, _tables.LastGeneratedPosition);
        }

        // Few rows with many keys would leave most of the GPU idle: spans of keys go to blocks of their own then. The numbers are the same.
        int spans = last / Span + 1;
        bool shared = rows > 0 && spans > 1 && (long)rows * layer.Heads < 4 * Device.Processors;
        ulong partial = shared ? _spans.Reserve(4L * rows * layer.Heads * spans * (2 + layer.HeadDim)) : 0;
        double each = 4.0 * KeysSeen(layer, last) * layer.Heads * layer.HeadDim;
        int together = _pieces.Rows(Math.Max(1, rows), each, LaunchPieces.AttentionSpeed, 1);
        for (int row = 0; row < rows; row += together)
        {
            int count = Math.Min(together, rows - row);
            ulong at = (ulong)row, input = Address(qkv) + (4 * at * (uint)qkv.Columns), result = to + (4 * at * (uint)output.Columns);
            _pieces.Announce(count * each, LaunchPieces.AttentionSpeed);
            _context.Launch(
                pool.AttentionKernel, (count, layer.Heads, shared ? spans : 1), AttentionThreads,
                input, pool.Address, positions + (4 * at), offsets + (4 * at), tables, result, partial, KernelArgument.Of(ref arguments));
            if (shared)
            {
                _context.Launch(_mergeSpans, (count, layer.Heads, 1), AttentionThreads, partial, positions + (4 * at), result, spans, layer.HeadDim, layer.Window);
            }
        }
    }

    private static int KeysSeen(in AttentionSpec layer, int position) => Math.Min(layer.Window, position + 1);

    private static LayerArguments Arguments(in AttentionSpec layer, CudaKvPool pool)
    {
        KvLayout layout = pool.Layout;
        long half = (long)layout.KvHeads * layout.BlockTokens * layout.RowBytes;
        return new LayerArguments
        {
            BlockBytes = layout.BlockBytes,
            Keys = 2 * layer.PoolLayer * half,
            Values = (2 * layer.PoolLayer + 1) * half,
            Heads = layer.Heads,
            KvHeads = layer.KvHeads,
            HeadDim = layer.HeadDim,
            RowBytes = layout.RowBytes,
            BlockTokens = layout.BlockTokens,
            BlockMagic = (uint)((1ul << 32) / (uint)layout.BlockTokens + 1),
            Window = layer.Window,
            Scale = layer.QueryScale,
            Cap = layer.Softcap,
        };
    }

    private AngleTable Angles(in AttentionSpec layer)
    {
        foreach (AngleTable table in _angles)
        {
            if (table.Base == layer.RopeBase && table.Factor == layer.RopeFactor && table.HeadDim == layer.HeadDim)
            {
                return table;
            }
        }

        AngleTable created = new(_context, layer.RopeBase, layer.RopeFactor, layer.HeadDim);
        _angles.Add(created);
        return created;
    }

    /// <summary>The structure Layer of Kernels/attention.cu.</summary>
    private struct LayerArguments
    {
        public long BlockBytes, Keys, Values;
        public int Heads, KvHeads, HeadDim, RowBytes, BlockTokens;
        public uint BlockMagic;
        public int Window;
        public float Scale, Cap;
    }
}
