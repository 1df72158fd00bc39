namespace Gemma.Extensions.AI.Backends.Split;

/// <summary>A matrix that lies on one of two backends at a time, and is carried to the other where an operation there needs it.</summary>
internal sealed class SplitMatrix(Matrix first, Matrix second) : Matrix(first.Rows, first.Columns)
{
    private bool _isOnSecond;

    public bool IsOnSecond => _isOnSecond;

    private Matrix Current => _isOnSecond ? second : first;

    public override Span<float> Read(int firstRow, int rows) => Current.Read(firstRow, rows);

    public override void Write(int firstRow, ReadOnlySpan<float> values) => Current.Write(firstRow, values);

    /// <summary>The matrix on a side, with what its first rows hold.</summary>
    public Matrix On(bool isSecond, int rows)
    {
        if (_isOnSecond != isSecond)
        {
            Matrix from = Current;
            _isOnSecond = isSecond;
            if (rows > 0)
            {
                Current.Write(0, from.Read(0, rows));
            }
        }

        return Current;
    }

    /// <summary>The matrix on a side, to be written from its first row on.</summary>
    public Matrix Output(bool isSecond)
    {
        _isOnSecond = isSecond;
        return Current;
    }

    public override void Dispose()
    {
        first.Dispose();
        second.Dispose();
    }
}

/// <summary>Weights of one side; of both where the embedding is the output head too.</summary>
internal sealed class SplitWeights(WeightMatrix? first, WeightMatrix? second) : WeightMatrix((first ?? second!).Rows, (first ?? second!).Columns)
{
    public WeightMatrix? First { get; } = first;
    public WeightMatrix? Second { get; } = second;
}

internal sealed class SplitVector(WeightVector inner, bool isSecond) : WeightVector(inner.Length)
{
    public WeightVector Inner { get; } = inner;
    public bool IsSecond { get; } = isSecond;
}

/// <summary>An adapter's update. It does not say which layer it is for, so both sides have it.</summary>
internal sealed class SplitLowRank(LowRankMatrix first, LowRankMatrix second) : LowRankMatrix(first.Rows, first.Columns)
{
    public LowRankMatrix First { get; } = first;
    public LowRankMatrix Second { get; } = second;
}

/// <summary>Key/value memory with each side's layers on its own device. Layers follow one another in a block, so a block's bytes are those of the first side, then those of the second.</summary>
internal sealed class SplitKvPool(KvLayout layout, int blockCount, KvPool first, KvPool second) : KvPool(layout, blockCount)
{
    public KvPool First { get; } = first;
    public KvPool Second { get; } = second;

    public override void CopyBlock(int source, int destination)
    {
        First.CopyBlock(source, destination);
        Second.CopyBlock(source, destination);
    }

    public override void ReadBlock(int block, Span<byte> destination)
    {
        int middle = (int)First.Layout.BlockBytes;
        First.ReadBlock(block, destination[..middle]);
        Second.ReadBlock(block, destination[middle..]);
    }

    public override void WriteBlock(int block, ReadOnlySpan<byte> source)
    {
        int middle = (int)First.Layout.BlockBytes;
        First.WriteBlock(block, source[..middle]);
        Second.WriteBlock(block, source[middle..]);
    }

    public override void Dispose()
    {
        First.Dispose();
        Second.Dispose();
    }
}
