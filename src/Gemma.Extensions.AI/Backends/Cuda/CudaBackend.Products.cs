using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>Products with weights, and reading single rows of them.</summary>
internal sealed partial class CudaBackend
{
    private const int ProductThreads = 256, TileOutputs = 16, TileRows = 8;

    public override void Embed(WeightMatrix table, ReadOnlySpan<int> tokens, float scale, Matrix output)
    {
        var weights = (CudaWeights)table;
        CheckColumns(output, weights.Columns);
        CheckRows(tokens.Length, output, output);
        CheckIndices(tokens, weights.Rows);
        if (tokens.Length == 0)
        {
            return;
        }

        ulong list = _lists.Send(tokens);
        foreach (CudaWeightPart part in weights.Parts)
        {
            Planes planes = part.Planes;
            int chunks = part.Format.ChunksOf(weights.Columns);
            PerNumber(
                part.Embed, weights.Columns, tokens.Length, part.Format.IsFloat ? planes.Low : KernelArgument.Of(ref planes), list, Address(output), part.FirstRow, part.Rows, weights.Columns,
                part.Format.IsFloat ? 32 * chunks : chunks, scale);
        }
    }

    public override void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows, int promptRows = 0)
    {
        CheckColumns(x, weights.Columns);
        CheckColumns(output, weights.Rows);
        CheckRows(rows, x, output);
        if (rows == 0)
        {
            return;
        }

        bool split = false, quantized = false;
        foreach (CudaWeightPart part in ((CudaWeights)weights).Parts)
        {
            if (part.Format.IsFloat)
            {
                if (!split)
                {
                    Split(x, rows);
                    split = true;
                }
            }
            else if (!quantized)
            {
                Quantize(x, rows);
                quantized = true;
            }

            Multiply(part, weights, Address(output), rows);
        }
    }

    public override void AddLowRank(Matrix x, LowRankMatrix weights, Matrix output, ReadOnlySpan<int> rows, int promptRows = 0)
    {
        var update = (CudaLowRank)weights;
        CheckColumns(x, weights.Columns);
        CheckColumns(output, weights.Rows);
        CheckIndices(rows, Math.Min(x.Rows, output.Rows));
        if (rows.Length == 0)
        {
            return;
        }

        ulong list = _lists.Send(rows), inner = _inner.Reserve(4L * rows.Length * update.Rank);
        _context.Launch(_lowRankDown, (update.Rank, rows.Length, 1), 128, Address(x), list, update.A, inner, x.Columns);
        foreach (CudaLowRank.Part part in update.Parts)
        {
            PerNumber(_lowRankUp, part.Rows, rows.Length, inner, list, part.B, Address(output), update.Rank, part.FirstRank, part.Rank, part.Rows, part.FirstRow, output.Columns);
        }

        GC.KeepAlive(update); // the launches are in the stream before its memory can be retired
    }

    /// <summary>Activations as two bfloat16 numbers each, for floating-point weights.</summary>
    private void Split(Matrix x, int rows)
    {
        int padded = 32 * Blocks(x.Columns, 32);
        ulong high = _high.Reserve(2L * rows * padded), low = _low.Reserve(2L * rows * padded);
        PerNumber(_split, padded / 2, rows, Address(x), high, low, x.Columns, padded);
    }

    /// <summary>Activations as signed bytes, for integer weights.</summary>
    private void Quantize(Matrix x, int rows)
    {
        int padded = 128 * Blocks(x.Columns, 128);
        ulong bytes = _bytes.Reserve((long)rows * padded), scales = _scales.Reserve(8L * rows * padded / 32);
        PerNumber(_quantize, padded, rows, Address(x), bytes, scales, x.Columns, padded);
    }

    private void Multiply(CudaWeightPart part, WeightMatrix weights, ulong output, int rows)
    {
        int tiles = rows <= TileRows ? 1 : 4, chunks = part.Format.ChunksOf(weights.Columns);
        nint kernel = tiles == 1 ? part.One : part.Four;
        Planes planes = part.Planes;

        // Blocks that read the same weights are neighbours, so that the second finds them in the cache.
        (int, int, int) grid = (Blocks(rows, TileRows * tiles), Blocks(part.Rows, TileOutputs), 1);
        output += 4ul * (uint)part.FirstRow;
        if (part.Format.IsFloat)
        {
            _context.Launch(kernel, grid, ProductThreads, planes.Low, _high.Address, _low.Address, output, part.Rows, 32 * chunks, weights.Rows, rows);
        }
        else
        {
            _context.Launch(kernel, grid, ProductThreads, KernelArgument.Of(ref planes), _bytes.Address, _scales.Address, output, part.Rows, chunks, weights.Rows, rows);
        }
    }

    // Kernels work on addresses: a wrong shape must be caught here.
    private static void CheckColumns(Matrix matrix, int expected)
    {
        if (matrix.Columns != expected)
        {
            throw new ArgumentException($"A matrix of {matrix.Rows:N0} x {matrix.Columns:N0} was given where {expected:N0} columns are needed.");
        }
    }

    private static void CheckRows(int rows, Matrix first, Matrix second)
    {
        if (rows < 0 || rows > first.Rows || rows > second.Rows)
        {
            throw new ArgumentOutOfRangeException(nameof(rows), rows, $"The matrices have {first.Rows:N0} and {second.Rows:N0} rows.");
        }
    }

    private static void CheckIndices(ReadOnlySpan<int> indices, int count)
    {
        foreach (int index in indices)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)count, nameof(indices));
        }
    }
}
