using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>Products with weights, and reading single rows of them.</summary>
internal sealed partial class CudaBackend
{
    private const int ProductThreads = 256, TileOutputs = 16, TileRows = 8, PromptThreads = 128;

    /// <summary>Up to so many rows of a prompt take small tiles.</summary>
    private const int SmallPrompt = 64;

    /// <summary>Rows of weights that are unpacked at a time: a grid has no more.</summary>
    private const int MostUnpackedRows = 65_408;

    public override void Embed(WeightMatrix table, ReadOnlySpan<int> tokens, float scale, Matrix output)
    {
        CudaWeights weights = (CudaWeights)table;
        CheckColumns(output, weights.Columns);
        CheckRows(tokens.Length, output, output);
        CheckIndices(tokens, weights.Rows);
        if (tokens.Length == 0)
        {
            return;
        }

        ulong list = _lists.Send(tokens), to = Overwrite(output);
        foreach (CudaWeightPart part in weights.Parts)
        {
            Planes planes = part.Planes;
            int chunks = part.Format.ChunksOf(weights.Columns);
            PerNumber(
                part.Embed, weights.Columns, tokens.Length, part.Format.IsFloat ? planes.Low : KernelArgument.Of(ref planes), list, to, part.FirstRow, part.Rows, weights.Columns,
                part.Format.IsFloat ? 32 * chunks : chunks, scale);
        }
    }

    public override void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows, int promptRows = 0)
    {
        CheckColumns(x, weights.Columns);
        CheckColumns(output, weights.Rows);
        CheckRows(rows, x, output);
        CheckPromptRows(promptRows, rows);
        if (rows == 0)
        {
            return;
        }

        CudaMatrix input = (CudaMatrix)x;
        int generated = rows - promptRows;
        PackedForms forms = promptRows > 0 ? PackedForms.High : PackedForms.None;
        foreach (CudaWeightPart part in ((CudaWeights)weights).Parts)
        {
            forms |= generated == 0 ? PackedForms.None : part.Format.IsFloat ? PackedForms.High | PackedForms.Low : PackedForms.Bytes;
        }

        if (!input.Has(forms, rows, generated))
        {
            PackedArguments packed = input.Pack(forms, rows, generated);
            PerNumber(_pack, Math.Max(packed.FloatColumns, packed.ByteColumns), rows, input.Address, KernelArgument.Of(ref packed), x.Columns);
        }

        ulong to = Overwrite(output);
        foreach (CudaWeightPart part in ((CudaWeights)weights).Parts)
        {
            if (generated > 0)
            {
                Multiply(part, input, weights, to, generated);
            }

            if (promptRows > 0)
            {
                MultiplyPrompt(part, input, weights, to, generated, promptRows);
            }
        }
    }

    public override void AddLowRank(Matrix x, LowRankMatrix weights, Matrix output, ReadOnlySpan<int> rows, int promptRows = 0)
    {
        CudaLowRank update = (CudaLowRank)weights;
        CheckColumns(x, weights.Columns);
        CheckColumns(output, weights.Rows);
        CheckIndices(rows, Math.Min(x.Rows, output.Rows));
        if (rows.Length == 0)
        {
            return;
        }

        ulong list = _lists.Send(rows), inner = _inner.Reserve(4L * rows.Length * update.Rank), to = Overwrite(output);
        _context.Launch(_lowRankDown, (update.Rank, rows.Length, 1), 128, Address(x), list, update.A, inner, x.Columns);
        foreach (CudaLowRank.Part part in update.Parts)
        {
            PerNumber(_lowRankUp, part.Rows, rows.Length, inner, list, part.B, to, update.Rank, part.FirstRank, part.Rank, part.Rows, part.FirstRow, output.Columns);
        }

        GC.KeepAlive(update); // the launches are in the stream before its memory can be retired
    }

    /// <summary>The first rows, which are generated.</summary>
    private void Multiply(CudaWeightPart part, CudaMatrix x, WeightMatrix weights, ulong output, int rows)
    {
        int tiles = rows <= TileRows ? 1 : 4, chunks = part.Format.ChunksOf(weights.Columns);
        (int floats, int bytes) = CudaMatrix.PaddedColumns(weights.Columns);
        nint kernel = tiles == 1 ? part.One : part.Four;
        Planes planes = part.Planes;
        double operations = 4.0 * part.Rows * weights.Columns;
        int most = _pieces.Rows(rows, operations, LaunchPieces.ProductSpeed, TileRows * tiles);
        for (int row = 0; row < rows; row += most)
        {
            int count = Math.Min(most, rows - row);
            _pieces.Announce(count * operations, LaunchPieces.ProductSpeed);

            // Blocks that read the same weights are neighbours, so that the second finds them in the cache.
            (int, int, int) grid = (Blocks(count, TileRows * tiles), Blocks(part.Rows, TileOutputs), 1);
            ulong at = (ulong)row, to = output + (4ul * ((at * (uint)weights.Rows) + (uint)part.FirstRow));
            if (part.Format.IsFloat)
            {
                _context.Launch(kernel, grid, ProductThreads, planes.Low, x.High + (2 * at * (uint)floats), x.Low + (2 * at * (uint)floats), to, part.Rows, 32 * chunks, weights.Rows, count);
            }
            else
            {
                _context.Launch(
                    kernel, grid, ProductThreads, KernelArgument.Of(ref planes), x.Bytes + (at * (uint)bytes), x.Scales + (at * (uint)bytes / 4), to, part.Rows, chunks, weights.Rows, count);
            }
        }
    }

    /// <summary>The rows from <paramref name="first"/> on, which are a prompt's. Weights of other types become bfloat16 numbers a piece at a time, which then is in the GPU's cache.</summary>
    private void MultiplyPrompt(CudaWeightPart part, CudaMatrix x, WeightMatrix weights, ulong output, int first, int rows)
    {
        int padded = CudaMatrix.PaddedColumns(weights.Columns).Floats;
        int most = part.Unpack == 0 ? part.Rows : Math.Min(part.Rows, (int)Math.Clamp(_unpackBytes / (2L * padded) / 128 * 128, 128, MostUnpackedRows));
        for (int weightRow = 0; weightRow < part.Rows; weightRow += most)
        {
            int count = Math.Min(most, part.Rows - weightRow);
            ulong numbers = part.Unpack == 0 ? part.Planes.Low : Unpack(part, weights.Columns, weightRow, count, most);
            double operations = 2.0 * count * padded;
            int together = _pieces.Rows(rows, operations, LaunchPieces.ProductSpeed, 128);
            for (int row = 0; row < rows; row += together)
            {
                int xCount = Math.Min(together, rows - row);
                ulong at = (ulong)(first + row), to = output + (4ul * ((at * (uint)weights.Rows) + (uint)(part.FirstRow + weightRow)));
                _pieces.Announce(xCount * operations, LaunchPieces.ProductSpeed);
                CublasProducts.Shape shape = new(count, padded, weights.Rows);
                ulong input = x.High + (2 * at * (uint)padded);
                if (_cublas is null || !TryLibrary(_cublas, numbers, input, to, shape, xCount))
                {
                    MultiplyTiles(numbers, input, to, shape, xCount);
                }
            }
        }
    }

    private bool TryLibrary(CublasProducts products, ulong weights, ulong x, ulong output, CublasProducts.Shape shape, int rows) =>
        products.TryMultiply(weights, x, output, shape, rows, (trial, trialRows) => MultiplyTiles(weights, weights, trial, shape, trialRows));

    private void MultiplyTiles(ulong weights, ulong x, ulong output, CublasProducts.Shape shape, int rows)
    {
        (nint kernel, int xRows, int weightRows) = rows <= SmallPrompt ? (_promptProductSmall, 32, 64) : (_promptProduct, 128, 128);
        _context.Launch(kernel, (Blocks(rows, xRows), Blocks(shape.WeightRows, weightRows), 1), PromptThreads, weights, x, output, shape.WeightRows, shape.Columns, shape.OutputColumns, rows);
    }

    /// <summary>Some rows of weights as bfloat16 numbers, until the next are unpacked.</summary>
    private ulong Unpack(CudaWeightPart part, int columns, int row, int count, int most)
    {
        int padded = CudaMatrix.PaddedColumns(columns).Floats, chunks = part.Format.ChunksOf(columns);
        ulong numbers = _unpacked.Reserve(2L * most * padded);
        Planes planes = part.Planes;
        if (part.Format.IsFloat)
        {
            PerNumber(part.Unpack, padded / 8, count, planes.Low, numbers, row, padded);
        }
        else
        {
            PerNumber(part.Unpack, 4 * chunks, count, KernelArgument.Of(ref planes), numbers, row, chunks, padded);
        }

        return numbers;
    }

    private static void CheckPromptRows(int promptRows, int rows)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(promptRows);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(promptRows, rows);
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
