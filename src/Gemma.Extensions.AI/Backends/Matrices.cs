using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends;

/// <summary>A float32 row-major matrix in the memory of a backend.</summary>
internal abstract class Matrix(int rows, int columns) : IDisposable
{
    public int Rows { get; } = rows;
    public int Columns { get; } = columns;

    /// <summary>
    /// Some rows as the host sees them, [rows, columns], once everything is computed that they depend on. The caller may change the numbers; they are valid until the
    /// next operation that writes this matrix and the next call.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The matrix does not have these rows.</exception>
    public abstract Span<float> Read(int firstRow, int rows);

    /// <summary>Puts numbers into rows, from the first column of the first one on.</summary>
    public abstract void Write(int firstRow, ReadOnlySpan<float> values);

    protected void CheckRows(int firstRow, int rows)
    {
        if (firstRow < 0 || rows < 0 || firstRow > Rows - rows)
        {
            throw new ArgumentOutOfRangeException(nameof(firstRow), firstRow, $"{rows:N0} rows were asked for; the matrix has {Rows:N0}.");
        }
    }

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

/// <summary>One rank-r update B · A of a tensor within a stacked weight matrix. LoRA's scale is already multiplied into B.</summary>
/// <param name="FirstRow">First row of the updated tensor in the stacked matrix.</param>
/// <param name="Rank">r.</param>
/// <param name="A">[r, columns], row-major.</param>
/// <param name="B">[rows of the tensor, r], row-major.</param>
internal sealed record LowRankPart(int FirstRow, int Rank, float[] A, float[] B)
{
    /// <exception cref="ArgumentException">A part does not fit a matrix of this shape.</exception>
    public static void Check(ReadOnlySpan<LowRankPart> parts, int rows, int columns)
    {
        foreach (LowRankPart part in parts)
        {
            if (part.Rank < 1 || part.A.Length != (long)part.Rank * columns || part.B.Length % part.Rank != 0 || part.FirstRow < 0 || part.FirstRow + part.B.Length / part.Rank > rows)
            {
                throw new ArgumentException($"Factors of rank {part.Rank:N0} with {part.A.Length:N0} and {part.B.Length:N0} elements from row {part.FirstRow:N0} on do not fit a matrix of {rows:N0} x {columns:N0}.");
            }
        }
    }
}

/// <summary>Low-rank updates of the tensors of one <see cref="WeightMatrix"/>. Immutable; freed by the garbage collector once nobody uses it.</summary>
internal abstract class LowRankMatrix(int rows, int columns)
{
    public int Rows { get; } = rows;
    public int Columns { get; } = columns;
}
