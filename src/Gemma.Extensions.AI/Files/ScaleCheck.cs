namespace Gemma.Extensions.AI.Files;

/// <summary>Reads all weights once, on all cores, to be sure that every scale is finite.</summary>
internal static unsafe class ScaleCheck
{
    private const long PieceBytes = 4 << 20;

    /// <exception cref="GemmaModelFormatException">A scale is NaN or infinite; the message names the tensor and the place.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static void Run(IEnumerable<TensorView> tensors, CancellationToken cancellationToken)
    {
        GemmaModelFormatException? failure = null;
        Piece[] pieces = [.. tensors.SelectMany(Pieces)];
        Parallel.For(0, pieces.Length, new ParallelOptions { CancellationToken = cancellationToken }, (i, state) =>
        {
            (TensorView tensor, long first, long count) = pieces[i];
            long bad = tensor.Format.FindNonFiniteScale(tensor.Data + first * tensor.Format.BlockBytes, count);
            if (bad >= 0)
            {
                failure = Describe(tensor, first + bad);
                state.Stop();
            }
        });

        if (failure is not null)
        {
            throw failure;
        }
    }

    private static IEnumerable<Piece> Pieces(TensorView tensor)
    {
        long blocks = tensor.ByteLength / tensor.Format.BlockBytes;
        long size = Math.Max(1, PieceBytes / tensor.Format.BlockBytes);
        for (long first = 0; first < blocks; first += size)
        {
            yield return new Piece(tensor, first, Math.Min(size, blocks - first));
        }
    }

    private static GemmaModelFormatException Describe(TensorView tensor, long block)
    {
        long row = block * tensor.Format.BlockElements / tensor.Columns;
        string what = tensor.Format.IsFloat ? "a weight" : "a scale";
        return new GemmaModelFormatException($"Tensor '{tensor.Name}' in '{tensor.Source}' has {what} that is NaN or infinite in row {row:N0} ({tensor.Format.Name} block {block:N0} of the tensor). The file is damaged or was quantised wrongly; download or convert it again.");
    }

    private sealed record Piece(TensorView Tensor, long First, long Count);
}
