using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends;

/// <summary>The attention parameters of one layer.</summary>
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
/// <param name="RopeFactor">What the frequencies are divided by.</param>
internal readonly record struct AttentionSpec(
    KvPool Pool, int PoolLayer, bool IsLocal, int Window, int Heads, int KvHeads, int HeadDim, float QueryScale, float Softcap, float RopeBase, float RopeFactor = 1);

/// <summary>
/// The seam between the model and the hardware: a dozen coarse operations on matrices. An operation on n rows uses the first n rows of each
/// matrix. Operations are called from one thread at a time; a backend spreads each over its own workers. An operation may return before it is carried out:
/// those that follow find its result, and so does the host by way of <see cref="Matrix.Read"/>.
/// </summary>
internal abstract class Backend : IDisposable
{
    /// <summary>Name of the backend with its tier, e.g. <c>cpu/avx512-vnni</c>.</summary>
    public abstract string Name { get; }

    /// <summary>Number of threads of this process that compute.</summary>
    public abstract int Threads { get; }

    /// <summary>Why slower kernels than requested are in use, for the log; null if they are not. Part of <see cref="Name"/>.</summary>
    public abstract string? FallbackReason { get; }

    /// <summary>Why the backend can compute nothing any more, e.g. a device that was lost; null as long as it can. What it was asked for since is void.</summary>
    public abstract Exception? Failure { get; }

    /// <summary>True if rows of prompts are multiplied by other kernels than generated ones, with other roundings: then a token keeps its kind for good.</summary>
    public abstract bool HasPromptKernels { get; }

    /// <summary>Maximum prompt rows per step for the loaded weights; null for the engine's default.</summary>
    public virtual int? PromptRows => null;

    /// <summary>True if weights are read from the mapped file, which must then stay mapped as long as they are used.</summary>
    public virtual bool ReadsMappedWeights => true;

    /// <summary>Bytes that keys and values may take where nothing else is said.</summary>
    public abstract long KvBytes { get; }

    /// <summary>Memory that weights, keys and values and work space can have.</summary>
    public abstract MachineMemory ReadMemory();

    /// <summary>A zeroed matrix [rows, columns].</summary>
    public abstract Matrix CreateMatrix(int rows, int columns);

    /// <summary>True if <see cref="LoadWeights"/> takes a tensor's rows interleaved (<see cref="Formats.InterleavedRows"/>), which makes generation faster.</summary>
    public virtual bool CanInterleave(TensorView tensor) => false;

    /// <summary>Stacks the rows of tensors of equal column count. The tensors' memory must stay mapped as long as the result is used, where <see cref="ReadsMappedWeights"/>.</summary>
    public abstract WeightMatrix LoadWeights(params ReadOnlySpan<TensorView> parts);

    /// <summary>A vector of weights as float32 with <paramref name="add"/> added to each (1 for checkpoints that store norms as w, 0 for 1 + w).</summary>
    public abstract WeightVector LoadVector(TensorView tensor, float add);

    /// <summary>Low-rank updates of a stacked weight matrix of this shape. The parts are copied.</summary>
    public abstract LowRankMatrix LoadLowRank(int rows, int columns, params ReadOnlySpan<LowRankPart> parts);

    /// <summary>Reserves key/value memory.</summary>
    public abstract KvPool CreateKvPool(KvLayout layout, int blockCount);

    /// <summary>Announces the batch that the operations are for, before the first of them.</summary>
    public abstract void Begin(ForwardBatch batch);

    /// <summary>Returns when everything is carried out. Faults of the device that no operation could name yet are thrown here or by <see cref="Matrix.Read"/>.</summary>
    public abstract void Wait();

    /// <summary>output[r] = table[tokens[r]] * scale.</summary>
    public abstract void Embed(WeightMatrix table, ReadOnlySpan<int> tokens, float scale, Matrix output);

    /// <summary>output[r] = x[r] / rms(x[r]) * weight.</summary>
    public abstract void RmsNorm(Matrix x, WeightVector weight, float epsilon, Matrix output, int rows);

    /// <summary>residual[r] += branch[r] / rms(branch[r]) * weight.</summary>
    public abstract void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, int rows);

    /// <summary>The same, and then output[r] = residual[r] / rms(residual[r]) * next: what stands between two products.</summary>
    public virtual void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, WeightVector next, Matrix output, int rows)
    {
        AddRmsNorm(residual, branch, weight, epsilon, rows);
        RmsNorm(residual, next, epsilon, output, rows);
    }

    /// <summary>
    /// output[r] = weights · x[r]; x is [rows, weights.Columns], output [rows, weights.Rows]. The last <paramref name="promptRows"/> rows are of prompts, the others
    /// generated: what a row is decides which kernels multiply it, never how many rows there are, so a result does not depend on the rest of the batch.
    /// </summary>
    public abstract void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows, int promptRows = 0);

    /// <summary>
    /// output[r] += weights · x[r] for the given rows, of which the last <paramref name="promptRows"/> are of prompts; a row's result does not depend on which other
    /// rows are given.
    /// </summary>
    public abstract void AddLowRank(Matrix x, LowRankMatrix weights, Matrix output, ReadOnlySpan<int> rows, int promptRows = 0);

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
