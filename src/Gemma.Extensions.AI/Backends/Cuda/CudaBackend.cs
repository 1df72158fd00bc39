using System.Collections.Concurrent;
using System.IO.Compression;
using System.Reflection;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>
/// Runs the operations on one of NVIDIA's GPUs with the kernels in Kernels/, which the driver compiles for it. Operations are launched one after another on one stream
/// and return at once. Like on the CPU, a row's result does not depend on the other rows of its batch.
/// </summary>
internal sealed partial class CudaBackend : Backend
{
    private const int NormThreads = 512, ElementThreads = 256;

    /// <summary>A step of generation with at most so many rows becomes a graph: larger ones take the GPU longer than launching them takes.</summary>
    private const int MostDeferredRows = 64;

    /// <summary>Weights of other types are unpacked in pieces of so many bytes: a piece fits the cache of every GPU.</summary>
    private const long DefaultUnpackBytes = 24 << 20;

    private readonly CudaContext _context;
    private readonly BatchTables _tables;
    private readonly HostLists _lists;
    private readonly ConcurrentQueue<ulong> _retired = new();
    private readonly List<AngleTable> _angles = [];
    private readonly List<(int Rows, int Columns)> _layerShapes = [];
    private readonly CudaScratch _spans, _inner, _unpacked;
    private readonly nint _norms, _geGlu, _softcap, _selectRows, _lowRankDown, _lowRankUp, _pack, _mergeSpans, _promptProduct, _promptProductSmall;
    private readonly LaunchPieces _pieces;
    private readonly CublasProducts? _cublas;
    private readonly long _pieceBytes, _unpackBytes;
    private ForwardBatch? _batch;
    private WeightUpload? _upload;

    /// <param name="library">The driver.</param>
    /// <param name="device">The GPU.</param>
    /// <param name="pieceBytes">About how many bytes of weights are packed and sent at a time.</param>
    /// <param name="unpackBytes">About how many bytes of weights are unpacked at a time for a prompt.</param>
    /// <param name="launchSeconds">About how long a GPU that draws a screen works without a pause.</param>
    /// <param name="cublas">A library for products of prompts; null: the kernels of this project.</param>
    /// <exception cref="GemmaDeviceException">The GPU cannot be used.</exception>
    public CudaBackend(CudaLibrary library, CudaDevice device, long pieceBytes = WeightUpload.DefaultPieceBytes, long unpackBytes = DefaultUnpackBytes, double launchSeconds = LaunchPieces.DefaultSeconds, CublasLibrary? cublas = null)
    {
        _pieceBytes = pieceBytes;
        _unpackBytes = unpackBytes;
        _context = new CudaContext(library, device, ReadKernels());
        try
        {
            _pieces = new LaunchPieces(_context, launchSeconds);
            _cublas = cublas is null ? null : new CublasProducts(cublas, _context);
            _tables = new BatchTables(_context);
            _lists = new HostLists(_context);
            (_spans, _inner, _unpacked) = (Scratch(), Scratch(), Scratch());
            _norms = _context.Kernel("norms");
            _geGlu = _context.Kernel("geglu");
            _softcap = _context.Kernel("softcap");
            _selectRows = _context.Kernel("select_rows");
            _lowRankDown = _context.Kernel("low_rank_down");
            _lowRankUp = _context.Kernel("low_rank_up");
            _pack = _context.Kernel("pack_activations");
            _mergeSpans = _context.Kernel("merge_spans");
            _promptProduct = _context.Kernel("prompt_product_128");
            _promptProductSmall = _context.Kernel("prompt_product_32");
        }
        catch
        {
            _context.Dispose();
            throw;
        }

        CudaScratch Scratch() => new(_context, "work space");
    }

    public override string Name => $"cuda:{Device.Index} ({Device.Name}){(_cublas is null ? "" : " with cuBLASLt")}";

    /// <summary>The GPU.</summary>
    public CudaDevice Device => _context.Device;

    public override int Threads => 1;

    public override string? FallbackReason => null;

    public override bool HasPromptKernels => true;

    public override bool ReadsMappedWeights => false;

    public override int? PromptRows => PromptSteps.Best(Device.Processors, _layerShapes);

    public override Exception? Failure => _context.Failure;

    public override long KvBytes => ReadMemory().FreeBytes / 2;

    public override MachineMemory ReadMemory()
    {
        (long total, long free) = _context.Memory;
        return new MachineMemory(total, free, IsContainer: false);
    }

    public override Matrix CreateMatrix(int rows, int columns) => new CudaMatrix(_context, rows, columns);

    public override WeightMatrix LoadWeights(params ReadOnlySpan<TensorView> parts)
    {
        int columns = checked((int)parts[0].Columns), rows = 0;
        List<CudaWeightPart> loaded = new();
        foreach (TensorView tensor in parts)
        {
            if (tensor.Columns != columns)
            {
                throw new ArgumentException($"'{tensor.Name}' has {tensor.Columns:N0} columns, but it is stacked on '{parts[0].Name}' with {columns:N0}.");
            }
        }

        _upload ??= new WeightUpload(_context, _pieceBytes);
        for (int first = 0; first < parts.Length;)
        {
            // Neighbours of one format are multiplied by one launch.
            CudaFormat format = CudaFormat.Of(parts[first].Format.Type);
            int end = first + 1;
            while (end < parts.Length && CudaFormat.Of(parts[end].Format.Type).Kernel == format.Kernel && CudaFormat.Of(parts[end].Format.Type).HasKernel == format.HasKernel)
            {
                end++;
            }

            int count = 0;
            foreach (TensorView tensor in parts[first..end])
            {
                count += checked((int)tensor.Rows);
            }

            Planes planes = _upload.Send(format, parts[first..end], columns);
            loaded.Add(new CudaWeightPart(
                format, planes, rows, count,
                _context.Kernel($"product_{format.Kernel}_1"), _context.Kernel($"product_{format.Kernel}_4"), _context.Kernel($"embed_{format.Kernel}"),
                format.Kernel == "bf16" ? 0 : _context.Kernel($"unpack_{format.Kernel}")));
            rows += count;
            first = end;
        }

        if (GemmaTensors.LayerOf(parts[0].Name) is not null)
        {
            _layerShapes.Add((rows, columns));
        }

        return new CudaWeights([.. loaded], rows, columns);
    }

    public override unsafe WeightVector LoadVector(TensorView tensor, float add)
    {
        int length = checked((int)tensor.ElementCount);
        ulong address = _context.Allocate(Math.Max(4, 4L * length), $"'{tensor.Name}'");
        float* staging = (float*)_context.AllocatePinned(Math.Max(4, 4L * length));
        tensor.Format.Decode(tensor.Data, staging, length);
        for (int i = 0; i < length; i++)
        {
            staging[i] += add;
        }

        _context.Upload(address, staging, 4L * length);
        _context.FreePinned(staging);
        return new CudaVector(address, length);
    }

    public override unsafe LowRankMatrix LoadLowRank(int rows, int columns, params ReadOnlySpan<LowRankPart> parts)
    {
        LowRankPart.Check(parts, rows, columns);
        long numbers = 0;
        foreach (LowRankPart part in parts)
        {
            numbers += part.A.Length + part.B.Length;
        }

        ulong address = _context.Allocate(4 * numbers, "an adapter");
        float* staging = (float*)_context.AllocatePinned(4 * numbers), next = staging;
        CudaLowRank.Part[] loaded = new CudaLowRank.Part[parts.Length];
        int rank = 0;
        foreach (LowRankPart part in parts)
        {
            part.A.CopyTo(new Span<float>(next, part.A.Length));
            next += part.A.Length;
            rank += part.Rank;
        }

        for (int i = 0, firstRank = 0; i < parts.Length; i++)
        {
            LowRankPart part = parts[i];
            int outputs = part.B.Length / part.Rank;
            loaded[i] = new CudaLowRank.Part(address + (ulong)((byte*)next - (byte*)staging), firstRank, part.Rank, part.FirstRow, outputs);
            for (int n = 0; n < outputs; n++)
            {
                for (int j = 0; j < part.Rank; j++)
                {
                    next[(long)j * outputs + n] = part.B[(long)n * part.Rank + j];
                }
            }

            next += part.B.Length;
            firstRank += part.Rank;
        }

        _context.Upload(address, staging, 4 * numbers, ahead: true); // adapters are loaded while the engine computes
        _context.FreePinned(staging);
        return new CudaLowRank(this, address, loaded, rank, rows, columns);
    }

    public override KvPool CreateKvPool(KvLayout layout, int blockCount)
    {
        layout.Check();
        return layout.HeadDim <= MaxHeadDim && layout.BlockTokens > 1
            ? new CudaKvPool(_context, layout, blockCount)
            : throw new ArgumentException($"Heads of {layout.HeadDim} numbers in blocks of {layout.BlockTokens} tokens do not run on a GPU: at most {MaxHeadDim} numbers and at least 2 tokens are supported.");
    }

    /// <summary>Memory that nothing uses any more; given back before the next pass. Called by finalisers.</summary>
    public void Retire(ulong address) => _retired.Enqueue(address);

    public override void Begin(ForwardBatch batch)
    {
        _upload?.Dispose();
        _upload = null;
        while (_retired.TryDequeue(out ulong address))
        {
            _context.Free(address);
        }

        _batch = batch;
        _lists.Clear();
        _tables.Send(batch);
        _context.Defer(batch.PromptRows == 0 && batch.Rows <= MostDeferredRows);
    }

    public override void Wait() => _context.Wait();

    public override void RmsNorm(Matrix x, WeightVector weight, float epsilon, Matrix output, int rows)
    {
        CheckColumns(x, weight.Length);
        CheckColumns(output, weight.Length);
        CheckRows(rows, x, output);
        Norms(x, 0, 0, weight, output, epsilon, rows);
    }

    public override void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, int rows)
    {
        CheckColumns(residual, weight.Length);
        CheckColumns(branch, weight.Length);
        CheckRows(rows, residual, branch);
        Norms(residual, Address(branch), ((CudaVector)weight).Address, null, null, epsilon, rows);
    }

    public override void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, WeightVector next, Matrix output, int rows)
    {
        CheckColumns(residual, weight.Length);
        CheckColumns(branch, weight.Length);
        CheckColumns(output, weight.Length);
        CheckColumns(residual, next.Length);
        CheckRows(rows, residual, branch);
        CheckRows(rows, residual, output);
        Norms(residual, Address(branch), ((CudaVector)weight).Address, next, output, epsilon, rows);
    }

    public override void GeGlu(Matrix gateUp, Matrix output, int rows)
    {
        CheckColumns(gateUp, 2 * output.Columns);
        CheckRows(rows, gateUp, output);
        ulong to = Overwrite(output);
        PackedArguments packed = ((CudaMatrix)output).PackWanted(rows, Generated(rows));
        PerNumber(_geGlu, Width(output.Columns, packed), rows, Address(gateUp), to, KernelArgument.Of(ref packed), output.Columns);
    }

    public override void Softcap(Matrix x, float cap, int rows)
    {
        CheckRows(rows, x, x);
        PerNumber(_softcap, x.Columns, rows, Overwrite(x), cap, x.Columns);
    }

    public override void SelectRows(Matrix x, ReadOnlySpan<int> rows, Matrix output)
    {
        CheckColumns(output, x.Columns);
        CheckRows(rows.Length, output, output);
        CheckIndices(rows, x.Rows);
        if (rows.Length > 0)
        {
            PerNumber(_selectRows, x.Columns, rows.Length, Address(x), _lists.Send(rows), Overwrite(output), x.Columns);
        }
    }

    public override void Dispose()
    {
        _angles.ForEach(table => table.Dispose());
        _angles.Clear();
        _cublas?.Dispose();
        _context.Dispose();
    }

    /// <summary>x += norm(branch) · weight, where there is a branch, and then output = norm(x) · next, where there is an output.</summary>
    private void Norms(Matrix x, ulong branch, ulong weight, WeightVector? next, Matrix? output, float epsilon, int rows)
    {
        if (rows == 0)
        {
            return;
        }

        ulong to = output is null ? 0 : Overwrite(output), from = branch == 0 ? Address(x) : Overwrite(x);
        PackedArguments packed = output is null ? default : ((CudaMatrix)output).PackWanted(rows, Generated(rows));
        _context.Launch(
            _norms, (rows, 1, 1), NormThreads, from, branch, weight, next is null ? 0ul : ((CudaVector)next).Address, to, KernelArgument.Of(ref packed), x.Columns, epsilon);
    }

    /// <summary>Number of generated rows in a pass; they come first.</summary>
    private int Generated(int rows) => _batch is { } batch && batch.Rows == rows ? rows - batch.PromptRows : rows;

    /// <summary>Columns with those behind the last that forms have, whole warps.</summary>
    private static int Width(int columns, in PackedArguments packed) => Math.Max(32 * Blocks(columns, 32), Math.Max(packed.FloatColumns, packed.ByteColumns));

    /// <summary>Launches a kernel with one thread for each number of some rows.</summary>
    private void PerNumber(nint kernel, int columns, int rows, params ReadOnlySpan<KernelArgument> arguments)
    {
        if (rows > 0)
        {
            _context.Launch(kernel, (Blocks(columns, ElementThreads), rows, 1), ElementThreads, arguments);
        }
    }

    private static int Blocks(int count, int each) => (count + each - 1) / each;

    private static ulong Address(Matrix matrix) => ((CudaMatrix)matrix).Address;

    private static ulong Overwrite(Matrix matrix) => ((CudaMatrix)matrix).Overwrite();

    private static byte[] ReadKernels()
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream("gemma.ptx.gz")!;
        using GZipStream kernels = new(stream, CompressionMode.Decompress);
        using MemoryStream text = new();
        kernels.CopyTo(text);
        return text.ToArray();
    }
}
