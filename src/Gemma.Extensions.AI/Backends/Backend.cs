using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends;

/// <summary>A float32 row-major matrix in the memory of a backend.</summary>
internal abstract class Matrix(int rows, int columns) : IDisposable
{
    public int Rows { get; } = rows;
    public int Columns { get; } = columns;

    /// <summary>The row as the host sees it. Valid until the next operation that writes this matrix.</summary>
    public abstract Span<float> Row(int row);

    public abstract void Dispose();
}

/// <summary>The weights of one linear operation: rows of one or more tensors stacked (q, k and v; gate and up). Each part keeps its own format.</summary>
internal abstract class WeightMatrix(int rows, int columns)
{
    public int Rows { get; } = rows;
    public int Columns { get; } = columns;
}

/// <summary>A float32 vector of weights (a norm).</summary>
internal abstract class WeightVector(int length)
{
    public int Length { get; } = length;
}

/// <summary>One update of rank r within a stacked weight matrix: B · A, from which LoRA's scale has been multiplied into B.</summary>
/// <param name="FirstRow">Row of the stacked matrix at which the updated tensor begins.</param>
/// <param name="Rank">r.</param>
/// <param name="A">[r, columns], row-major.</param>
/// <param name="B">[rows of the tensor, r], row-major.</param>
internal sealed record LowRankPart(int FirstRow, int Rank, float[] A, float[] B);

/// <summary>Low-rank updates of the tensors of one <see cref="WeightMatrix"/>. Immutable; freed by the garbage collector once nobody uses it.</summary>
internal abstract class LowRankMatrix(int rows, int columns)
{
    public int Rows { get; } = rows;
    public int Columns { get; } = columns;
}

/// <summary>How keys and values are stored.</summary>
internal enum KvType
{
    F16,
    BF16,
    Q8_0,
    F32,
}

/// <summary>Shape of a block of key/value memory: for each layer of the pool, for keys and then for values, [kvHeads, blockTokens, headDim].</summary>
internal readonly record struct KvLayout(int Layers, int KvHeads, int HeadDim, int BlockTokens, KvType Type)
{
    /// <summary>Bytes of one row (one head of one token). Q8_0 stores 32 values as a float16 scale and 32 signed bytes.</summary>
    public int RowBytes => Type switch
    {
        KvType.F32 => 4 * HeadDim,
        KvType.Q8_0 => HeadDim / 32 * 34,
        _ => 2 * HeadDim,
    };

    /// <summary>Bytes of one block with all its layers.</summary>
    public long BlockBytes => 2L * Layers * KvHeads * BlockTokens * RowBytes;
}

/// <summary>
/// Key/value memory in blocks of equal size. Blocks are numbered from 0; memory is reserved at construction and committed by use.
/// Who owns which block is not known here.
/// </summary>
internal abstract class KvPool(KvLayout layout, int blockCount) : IDisposable
{
    public KvLayout Layout { get; } = layout;
    public int BlockCount { get; } = blockCount;

    /// <summary>Copies a whole block (copy on write of a shared, partly filled block).</summary>
    public abstract void CopyBlock(int source, int destination);

    /// <summary>The bytes of one block, for saving to and loading from disk.</summary>
    public abstract Span<byte> Block(int block);

    public abstract void Dispose();
}

/// <summary>Consecutive rows of a batch that belong to one sequence. Row r is at position <see cref="StartPosition"/> + r.</summary>
internal struct BatchSlice
{
    /// <summary>First row of the slice in the batch.</summary>
    public int FirstRow;

    /// <summary>Rows of the slice.</summary>
    public int RowCount;

    /// <summary>Position of the first row in its sequence.</summary>
    public int StartPosition;

    /// <summary>Block numbers of the local layers' pool by position / blockTokens; -1 where a block has left the window.</summary>
    public int[] LocalBlocks;

    /// <summary>Block numbers of the global layers' pool by position / blockTokens.</summary>
    public int[] GlobalBlocks;

    /// <summary>Updates of the adapter that the sequence runs with, as the forward pass numbers them; null for the base model.</summary>
    public LowRankMatrix?[]? Adapter;
}

/// <summary>The rows of a batch that run with one adapter.</summary>
internal struct AdapterGroup
{
    public LowRankMatrix?[] Adapter;

    /// <summary>Where the numbers of the rows begin in the list of all groups' rows.</summary>
    public int Start;

    /// <summary>Rows of the group.</summary>
    public int Count;
}

/// <summary>What one forward pass works on: rows of one or more sequences. Reused between steps, so that a step allocates nothing.</summary>
internal sealed class ForwardBatch(int maxRows, int maxSlices)
{
    private readonly AdapterGroup[] _groups = new AdapterGroup[maxSlices];
    private readonly int[] _groupRows = new int[maxRows];
    private bool _hasAdapters;

    public int[] Tokens { get; } = new int[maxRows];
    public BatchSlice[] Slices { get; } = new BatchSlice[maxSlices];
    public int Rows { get; private set; }
    public int SliceCount { get; private set; }

    public int MaxRows => Tokens.Length;
    public int MaxSlices => Slices.Length;

    public ReadOnlySpan<BatchSlice> ActiveSlices => Slices.AsSpan(0, SliceCount);

    public void Clear()
    {
        Rows = 0;
        SliceCount = 0;
        _hasAdapters = false;
    }

    /// <summary>Adds consecutive tokens of one sequence.</summary>
    public void Add(ReadOnlySpan<int> tokens, int startPosition, int[] localBlocks, int[] globalBlocks, LowRankMatrix?[]? adapter = null)
    {
        tokens.CopyTo(Tokens.AsSpan(Rows));
        Slices[SliceCount++] = new BatchSlice
        {
            FirstRow = Rows,
            RowCount = tokens.Length,
            StartPosition = startPosition,
            LocalBlocks = localBlocks,
            GlobalBlocks = globalBlocks,
            Adapter = adapter,
        };
        Rows += tokens.Length;
        _hasAdapters |= adapter is not null;
    }

    /// <summary>The adapters of the batch, each once; valid until the batch changes. Their rows need not lie together.</summary>
    public ReadOnlySpan<AdapterGroup> GroupByAdapter()
    {
        int groups = 0, rows = 0;
        for (int i = 0; _hasAdapters && i < SliceCount; i++)
        {
            if (Slices[i].Adapter is { } adapter && !Contains(_groups.AsSpan(0, groups), adapter))
            {
                int start = rows;
                for (int j = i; j < SliceCount; j++)
                {
                    for (int r = 0; r < Slices[j].RowCount && Slices[j].Adapter == adapter; r++)
                    {
                        _groupRows[rows++] = Slices[j].FirstRow + r;
                    }
                }

                _groups[groups++] = new AdapterGroup { Adapter = adapter, Start = start, Count = rows - start };
            }
        }

        return _groups.AsSpan(0, groups);

        static bool Contains(ReadOnlySpan<AdapterGroup> groups, LowRankMatrix?[] adapter)
        {
            foreach (ref readonly AdapterGroup group in groups)
            {
                if (group.Adapter == adapter)
                {
                    return true;
                }
            }

            return false;
        }
    }

    /// <summary>The numbers of a group's rows, ascending.</summary>
    public ReadOnlySpan<int> RowsOf(in AdapterGroup group) => _groupRows.AsSpan(group.Start, group.Count);
}

/// <summary>What attention needs to know about a layer.</summary>
/// <param name="Pool">Memory that holds the keys and values of the layer.</param>
/// <param name="PoolLayer">Index of the layer within its pool.</param>
/// <param name="IsLocal">Which block table of the slices to use.</param>
/// <param name="Window">Query i sees key j iff i - j &lt; Window; int.MaxValue in global layers.</param>
/// <param name="Heads">Query heads.</param>
/// <param name="KvHeads">Key/value heads; Heads / KvHeads query heads share one.</param>
/// <param name="HeadDim">Elements of one head.</param>
/// <param name="QueryScale">Factor on q·k.</param>
/// <param name="Softcap">cap·tanh(score/cap); 0: none.</param>
/// <param name="RopeBase">Base of the rotary frequencies.</param>
internal readonly record struct AttentionSpec(
    KvPool Pool, int PoolLayer, bool IsLocal, int Window, int Heads, int KvHeads, int HeadDim, float QueryScale, float Softcap, float RopeBase);

/// <summary>
/// The seam between the model and the hardware: a dozen coarse operations on matrices. The first rows of each matrix are used, as many as the
/// operation says. Operations are called from one thread at a time; a backend spreads each over its own workers.
/// </summary>
internal abstract class Backend : IDisposable
{
    /// <summary>Name of the backend with its tier, e.g. <c>cpu/avx512-vnni</c>.</summary>
    public abstract string Name { get; }

    /// <summary>A zeroed matrix [rows, columns].</summary>
    public abstract Matrix CreateMatrix(int rows, int columns);

    /// <summary>Stacks the rows of tensors of equal column count. The tensors' memory must stay mapped as long as the result is used.</summary>
    public abstract WeightMatrix LoadWeights(params ReadOnlySpan<TensorView> parts);

    /// <summary>A vector of weights as float32 with <paramref name="add"/> added to each (1 for checkpoints that store norms as w, 0 for 1 + w).</summary>
    public abstract WeightVector LoadVector(TensorView tensor, float add);

    /// <summary>Low-rank updates of a stacked weight matrix of this shape. The parts are copied.</summary>
    public abstract LowRankMatrix LoadLowRank(int rows, int columns, params ReadOnlySpan<LowRankPart> parts);

    /// <summary>Reserves key/value memory.</summary>
    public abstract KvPool CreateKvPool(KvLayout layout, int blockCount);

    /// <summary>output[r] = table[tokens[r]] * scale.</summary>
    public abstract void Embed(WeightMatrix table, ReadOnlySpan<int> tokens, float scale, Matrix output);

    /// <summary>output[r] = x[r] / rms(x[r]) * weight.</summary>
    public abstract void RmsNorm(Matrix x, WeightVector weight, float epsilon, Matrix output, int rows);

    /// <summary>residual[r] += branch[r] / rms(branch[r]) * weight.</summary>
    public abstract void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, int rows);

    /// <summary>output[r] = weights · x[r]; x is [rows, weights.Columns], output [rows, weights.Rows].</summary>
    public abstract void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows);

    /// <summary>output[r] += weights · x[r] for the given rows; each row's result is independent of which others are given.</summary>
    public abstract void AddLowRank(Matrix x, LowRankMatrix weights, Matrix output, ReadOnlySpan<int> rows);

    /// <summary>Rotates q and k of qkv [rows, (heads + 2·kvHeads)·headDim] (q in place) and stores k and v at their positions.</summary>
    public abstract void RopeAndStore(Matrix qkv, in AttentionSpec layer, ForwardBatch batch);

    /// <summary>output[r] = attention of the rotated q in qkv[r] over the stored keys and values of its sequence; output is [rows, heads·headDim].</summary>
    public abstract void Attention(Matrix qkv, in AttentionSpec layer, ForwardBatch batch, Matrix output);

    /// <summary>output[r] = gelu_tanh(gateUp[r, ..n]) * gateUp[r, n..]; n = output.Columns.</summary>
    public abstract void GeGlu(Matrix gateUp, Matrix output, int rows);

    /// <summary>output[i] = x[rows[i]].</summary>
    public abstract void SelectRows(Matrix x, ReadOnlySpan<int> rows, Matrix output);

    /// <summary>x = cap·tanh(x/cap), in place.</summary>
    public abstract void Softcap(Matrix x, float cap, int rows);

    public abstract void Dispose();
}
