using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>Bytes of a weight row in each plane of its format (Kernels/formats.cuh).</summary>
internal readonly record struct RowPlanes(long Low, long High, long Scales, long Outer)
{
    public long Total => Low + High + Scales + Outer;
}

/// <summary>
/// Layout of a weight format on the device. Formats with kernels keep their numbers and scales bit for bit, only reordered: the data that a lane of a product needs of
/// 128 columns lies together. All others are rounded to bfloat16 when they are loaded.
/// </summary>
/// <param name="Type">Type in the file.</param>
/// <param name="Kernel">Name in the kernels: <c>product_q4_k_1</c>.</param>
/// <param name="ElementBytes">Bytes of a plain number; 0 where numbers are packed.</param>
/// <param name="HasKernel">True if the weights stay as they are in the file.</param>
internal sealed record CudaFormat(TensorType Type, string Kernel, int ElementBytes, bool HasKernel)
{
    /// <summary>Columns that a product takes at once; rows are padded to whole ones with zeros.</summary>
    public int Chunk => IsFloat ? 32 : 128;

    public bool IsFloat => ElementBytes > 0;

    public static CudaFormat Of(TensorType type) => type switch
    {
        TensorType.F32 => new(type, "f32", 4, true),
        TensorType.F16 => new(type, "f16", 2, true),
        TensorType.BF16 => new(type, "bf16", 2, true),
        TensorType.Q8_0 => new(type, "q8_0", 0, true),
        TensorType.Q4_0 => new(type, "q4_0", 0, true),
        TensorType.Q4_K => new(type, "q4_k", 0, true),
        TensorType.Q5_K => new(type, "q5_k", 0, true),
        TensorType.Q6_K => new(type, "q6_k", 0, true),
        _ => new(type, "bf16", 2, false),
    };

    /// <summary>Chunks of a row.</summary>
    public int ChunksOf(int columns) => (columns + Chunk - 1) / Chunk;

    public RowPlanes PlanesOf(int columns)
    {
        long chunks = ChunksOf(columns);
        return Type switch
        {
            _ when IsFloat => new RowPlanes(chunks * 32 * ElementBytes, 0, 0, 0),
            TensorType.Q8_0 => new RowPlanes(chunks * 128, 0, chunks * 8, 0),
            TensorType.Q5_K => new RowPlanes(chunks * 64, chunks * 16, chunks * 8, 0),
            TensorType.Q6_K => new RowPlanes(chunks * 64, chunks * 32, chunks * 8, chunks),
            _ => new RowPlanes(chunks * 64, 0, chunks * 8, 0),
        };
    }
}
