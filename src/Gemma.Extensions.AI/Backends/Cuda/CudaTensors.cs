namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>The input layouts of products; see Packed in Kernels/elementwise.cu.</summary>
[Flags]
internal enum PackedForms
{
    None = 0,

    /// <summary>Each number rounded to bfloat16: all that products of prompts take.</summary>
    High = 1,

    /// <summary>The rest, again rounded: with it floating-point weights are multiplied for generated rows.</summary>
    Low = 2,

    /// <summary>Signed bytes with scales: with them integer weights are multiplied for generated rows.</summary>
    Bytes = 4,
}

/// <summary>The structure Packed of Kernels/elementwise.cu.</summary>
internal struct PackedArguments
{
    public ulong High, Low, Bytes, Scales;
    public int Generated, FloatColumns, ByteColumns;
}

/// <summary>
/// A matrix in device memory, with the forms of it that products take. A form that a product asked for once is from then on written by the operation that computes the matrix. What the
/// host reads lies in memory of its own.
/// </summary>
internal sealed unsafe class CudaMatrix : Matrix
{
    private readonly CudaContext _context;
    private readonly CudaScratch _high, _low, _bytes, _scales;
    private void* _mirror;
    private long _mirrorBytes;
    private PackedForms _wanted, _packed;
    private int _packedRows, _packedGenerated;

    public CudaMatrix(CudaContext context, int rows, int columns)
        : base(rows, columns)
    {
        _context = context;
        (_high, _low, _bytes, _scales) = (Scratch(), Scratch(), Scratch(), Scratch());
        long bytes = Math.Max(4, 4L * rows * columns);
        Address = context.Allocate(bytes, "work space");
        context.Clear(Address, bytes);
    }

    /// <summary>Row-major, without padding.</summary>
    public ulong Address { get; }

    public ulong High => _high.Address;

    public ulong Low => _low.Address;

    public ulong Bytes => _bytes.Address;

    public ulong Scales => _scales.Address;

    /// <summary>Columns of the forms in bfloat16 and in bytes: whole chunks of weights.</summary>
    public static (int Floats, int Bytes) PaddedColumns(int columns) => ((columns + 31) / 32 * 32, (columns + 127) / 128 * 128);

    /// <summary>The address, for an operation that changes the numbers: its forms are void.</summary>
    public ulong Overwrite()
    {
        _packed = PackedForms.None;
        return Address;
    }

    /// <summary>True if the forms are packed for this many rows, the first of which are generated.</summary>
    public bool Has(PackedForms forms, int rows, int generated) => (_packed & forms) == forms && _packedRows == rows && _packedGenerated == generated;

    /// <summary>Where to put forms for a product, which from now on are written when the matrix is computed.</summary>
    public PackedArguments Pack(PackedForms forms, int rows, int generated)
    {
        _wanted |= forms;
        (int floats, int bytes) = PaddedColumns(Columns);
        (_packed, _packedRows, _packedGenerated) = (forms, rows, generated);
        return new PackedArguments
        {
            High = forms.HasFlag(PackedForms.High) ? _high.Reserve(2L * Rows * floats) : 0,
            Low = forms.HasFlag(PackedForms.Low) ? _low.Reserve(2L * Rows * floats) : 0,
            Bytes = forms.HasFlag(PackedForms.Bytes) ? _bytes.Reserve((long)Rows * bytes) : 0,
            Scales = forms.HasFlag(PackedForms.Bytes) ? _scales.Reserve(8L * Rows * bytes / 32) : 0,
            Generated = generated,
            FloatColumns = (forms & (PackedForms.High | PackedForms.Low)) != 0 ? floats : 0,
            ByteColumns = forms.HasFlag(PackedForms.Bytes) ? bytes : 0,
        };
    }

    /// <summary>Where the operation that computes the matrix puts the forms that products asked for before.</summary>
    public PackedArguments PackWanted(int rows, int generated) => Pack(
        _wanted & ((generated < rows ? PackedForms.High : PackedForms.None) | (generated > 0 ? PackedForms.High | PackedForms.Low | PackedForms.Bytes : PackedForms.None)), rows, generated);

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
            _context.Upload(Overwrite() + (ulong)(4L * firstRow * Columns), _mirror, 4L * values.Length);
            _context.Wait();
        }
    }

    public override void Dispose()
    {
        _context.FreePinned(_mirror);
        _context.Free(Address);
        foreach (CudaScratch scratch in (ReadOnlySpan<CudaScratch>)[_high, _low, _bytes, _scales])
        {
            scratch.Release();
        }
    }

    private CudaScratch Scratch() => new(_context, "work space");

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
/// <param name="One">The kernel for up to eight generated rows.</param>
/// <param name="Four">That for more.</param>
/// <param name="Embed">The kernel that reads single rows.</param>
/// <param name="Unpack">The kernel that makes bfloat16 numbers of the weights, for prompts; 0 where they are such.</param>
internal sealed record CudaWeightPart(CudaFormat Format, Planes Planes, int FirstRow, int Rows, nint One, nint Four, nint Embed, nint Unpack);

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

/// <summary>Device memory that grows as needed. What it held is lost when it grows.</summary>
internal sealed class CudaScratch(CudaContext context, string purpose)
{
    private long _bytes;

    /// <summary>Its current address.</summary>
    public ulong Address { get; private set; }

    public ulong Reserve(long bytes)
    {
        if (_bytes < bytes)
        {
            Release();
            Address = context.Allocate(bytes, purpose);
            _bytes = bytes;
        }

        return Address;
    }

    public void Release()
    {
        context.Free(Address);
        (Address, _bytes) = (0, 0);
    }
}
