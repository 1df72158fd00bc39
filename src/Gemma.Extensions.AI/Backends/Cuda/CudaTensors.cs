namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>A matrix in device memory. What the host reads lies in memory of its own.</summary>
internal sealed unsafe class CudaMatrix : Matrix
{
    private readonly CudaContext _context;
    private void* _mirror;
    private long _mirrorBytes;

    public CudaMatrix(CudaContext context, int rows, int columns)
        : base(rows, columns)
    {
        _context = context;
        long bytes = Math.Max(4, 4L * rows * columns);
        Address = context.Allocate(bytes, "work space");
        context.Clear(Address, bytes);
    }

    /// <summary>Row-major, without padding.</summary>
    public ulong Address { get; }

    public override Span<float> Read(int firstRow, int rows)
    {
        CheckRows(firstRow, rows);
        long bytes = 4L * rows * Columns;
        if (bytes == 0)
        {
            return [];
        }

        Reserve(bytes);
        _context.Download(_mirror, Address + (ulong)(4L * firstRow * Columns), bytes);
        _context.Wait();
        return new Span<float>(_mirror, checked(rows * Columns));
    }

    public override void Write(int firstRow, ReadOnlySpan<float> values)
    {
        CheckRows(firstRow, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(values.Length, (long)(Rows - firstRow) * Columns, nameof(values));
        if (values.Length > 0)
        {
            Reserve(4L * values.Length);
            values.CopyTo(new Span<float>(_mirror, values.Length));
            _context.Upload(Address + (ulong)(4L * firstRow * Columns), _mirror, 4L * values.Length);
            _context.Wait();
        }
    }

    public override void Dispose()
    {
        _context.FreePinned(_mirror);
        _context.Free(Address);
    }

    private void Reserve(long bytes)
    {
        if (_mirrorBytes < bytes)
        {
            _context.FreePinned(_mirror);
            _mirrorBytes = 0;
            _mirror = _context.AllocatePinned(bytes);
            _mirrorBytes = bytes;
        }
    }
}

/// <summary>Addresses of the planes of packed weights, as kernels take them.</summary>
internal struct Planes
{
    public ulong Low, High, Scales, Outer;
}

/// <summary>Rows of a stacked weight matrix that have one format.</summary>
/// <param name="Format">How they lie on the device.</param>
/// <param name="Planes">Where.</param>
/// <param name="FirstRow">First of them in the stacked matrix.</param>
/// <param name="Rows">How many.</param>
/// <param name="One">The product's kernel for up to eight rows.</param>
/// <param name="Four">That for more.</param>
/// <param name="Embed">The kernel that reads single rows.</param>
internal sealed record CudaWeightPart(CudaFormat Format, Planes Planes, int FirstRow, int Rows, nint One, nint Four, nint Embed);

internal sealed class CudaWeights(CudaWeightPart[] parts, int rows, int columns) : WeightMatrix(rows, columns)
{
    public CudaWeightPart[] Parts { get; } = parts;
}

internal sealed class CudaVector(ulong address, int length) : WeightVector(length)
{
    public ulong Address { get; } = address;
}

/// <summary>
/// Updates of a stacked matrix: the A of all parts behind one another, [ranks, columns], then each B transposed, [rank, rows of the part]. Its memory is given back by
/// the thread that computes, some time after nobody uses it any more.
/// </summary>
internal sealed class CudaLowRank(CudaBackend backend, ulong address, CudaLowRank.Part[] parts, int rank, int rows, int columns) : LowRankMatrix(rows, columns)
{
    ~CudaLowRank() => backend.Retire(A);

    public ulong A { get; } = address;

    public Part[] Parts { get; } = parts;

    /// <summary>Sum of the parts' ranks.</summary>
    public int Rank { get; } = rank;

    /// <param name="B">Address of [rank, rows].</param>
    /// <param name="FirstRank">First row of the part in A.</param>
    /// <param name="Rank">Its rank.</param>
    /// <param name="FirstRow">First row of its outputs in the stacked matrix.</param>
    /// <param name="Rows">Their number.</param>
    internal readonly record struct Part(ulong B, int FirstRank, int Rank, int FirstRow, int Rows);
}

/// <summary>Device memory that grows as needed and is never given back before the backend. What it held is lost when it grows.</summary>
internal sealed class CudaScratch(CudaContext context, string purpose)
{
    private long _bytes;

    /// <summary>Where it lies now.</summary>
    public ulong Address { get; private set; }

    public ulong Reserve(long bytes)
    {
        if (_bytes < bytes)
        {
            context.Free(Address);
            _bytes = 0;
            Address = context.Allocate(bytes, purpose);
            _bytes = bytes;
        }

        return Address;
    }
}
