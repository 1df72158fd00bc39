namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>Key/value memory of the device. Blocks have the bytes that they have in the CPU's, so that files of prompts serve both.</summary>
internal sealed unsafe class CudaKvPool : KvPool
{
    private readonly CudaContext _context;
    private readonly Lock _gate = new();
    private void* _staging;
    private bool _disposed;

    public CudaKvPool(CudaContext context, KvLayout layout, int blockCount)
        : base(layout, blockCount)
    {
        _context = context;
        long bytes = Math.Max(1, layout.BlockBytes * blockCount);
        Address = context.Allocate(bytes, "keys and values");
        context.Clear(Address, bytes);
        StoreKernel = context.Kernel($"rope_store_{TypeName}");
        bool isTiled = layout.Type is GemmaKvCacheType.F16 or GemmaKvCacheType.BF16 && layout.HeadDim is 128 or 256;
        AttentionKernel = context.Kernel(isTiled ? $"attention_{TypeName}_{layout.HeadDim}" : $"attention_{TypeName}");
        PromptKernel = isTiled ? context.Kernel($"prompt_attention_{TypeName}_{layout.HeadDim}") : 0;
    }

    public ulong Address { get; }

    public nint StoreKernel { get; }

    public nint AttentionKernel { get; }

    /// <summary>Attention of prompts' rows; 0 where they take the kernel of the others.</summary>
    public nint PromptKernel { get; }

    private string TypeName => Layout.Type switch
    {
        GemmaKvCacheType.F16 => "f16",
        GemmaKvCacheType.BF16 => "bf16",
        GemmaKvCacheType.Q8_0 => "q8_0",
        _ => "f32",
    };

    public override void CopyBlock(int source, int destination) => _context.Copy(AddressOf(destination), AddressOf(source), Layout.BlockBytes);

    public override void ReadBlock(int block, Span<byte> destination)
    {
        ulong address = AddressOf(block);
        lock (_gate)
        {
            byte* staging = Staging();
            _context.Download(staging, address, Layout.BlockBytes, aside: true);
            _context.WaitAside();
            new ReadOnlySpan<byte>(staging, (int)Layout.BlockBytes).CopyTo(destination);
        }
    }

    public override void WriteBlock(int block, ReadOnlySpan<byte> source)
    {
        ulong address = AddressOf(block);
        lock (_gate)
        {
            byte* staging = Staging();
            source.CopyTo(new Span<byte>(staging, (int)Layout.BlockBytes));
            _context.Upload(address, staging, Layout.BlockBytes);
            _context.Wait();
        }
    }

    public override void Dispose()
    {
        lock (_gate)
        {
            if (!_disposed)
            {
                _disposed = true;
                _context.FreePinned(_staging);
                _context.Free(Address);
            }
        }
    }

    private byte* Staging()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return (byte*)(_staging = _staging is null ? _context.AllocatePinned(Layout.BlockBytes) : _staging);
    }

    private ulong AddressOf(int block)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)block, (uint)BlockCount, nameof(block));
        return Address + (ulong)(block * Layout.BlockBytes);
    }
}
