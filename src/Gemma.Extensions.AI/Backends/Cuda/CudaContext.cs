using System.Text;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>
/// One model's use of a GPU: memory, a stream that runs everything in order, and the kernels. Several models can share a GPU.
/// An error that the GPU cannot recover from is kept in <see cref="Failure"/>, and everything later throws it.
/// </summary>
internal sealed unsafe class CudaContext : IDisposable
{
    private const int OutOfMemory = 2, NonBlocking = 1, WithoutTiming = 2, ErrorLog = 5, ErrorLogBytes = 6;

    [ThreadStatic]
    private static int t_current;

    private static int s_created;

    private readonly CudaLibrary _library;
    private readonly Lock _gate = new();
    private readonly Lock _streamGate = new(); // while launches become a graph no other thread may use the stream
    private readonly CudaGraphs _graphs;
    private readonly HashSet<ulong> _allocations = [];
    private readonly HashSet<nint> _pinned = [];
    private readonly Dictionary<string, nint> _kernels = [];
    private readonly int _id = Interlocked.Increment(ref s_created);
    private readonly int _device;
    private readonly nint _context;
    private nint _stream, _module;
    private bool _disposed, _defers;

    /// <exception cref="GemmaDeviceException">The GPU cannot be used.</exception>
    public CudaContext(CudaLibrary library, CudaDevice device, ReadOnlySpan<byte> ptx)
    {
        _library = library;
        _graphs = new CudaGraphs(library);
        Device = device;
        nint context, stream;
        int handle;
        Check(library.DeviceGet(&handle, device.Index), "be found");
        _device = handle;
        Check(library.PrimaryContextRetain(&context, _device), "be opened");
        _context = context;
        try
        {
            MakeCurrent();
            Check(library.StreamCreate(&stream, NonBlocking), "create a stream");
            _stream = stream;
            LoadModule(ptx);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public CudaDevice Device { get; }

    /// <summary>Why the GPU does not work on; null as long as it does.</summary>
    public GemmaDeviceException? Failure { get; private set; }

    /// <summary>Total and free bytes of device memory.</summary>
    public (long Total, long Free) Memory
    {
        get
        {
            nuint free, total;
            MakeCurrent();
            Check(_library.MemoryGetInfo(&free, &total), "say how much memory is free");
            return ((long)total, (long)free);
        }
    }

    /// <summary>The stream, for libraries.</summary>
    public nint Stream => _stream;

    /// <summary>Takes device memory.</summary>
    /// <param name="bytes">How much, at least 1.</param>
    /// <param name="purpose">What for, for the message.</param>
    /// <exception cref="GemmaMemoryException">There is not as much.</exception>
    public ulong Allocate(long bytes, string purpose)
    {
        ulong address;
        MakeCurrent();
        int code = _library.MemoryAllocate(&address, (nuint)bytes);
        if (code == OutOfMemory)
        {
            (long total, long free) = Memory;
            throw new GemmaMemoryException(
                $"{Device} has no {bytes:N0} bytes left for {purpose}: {free:N0} of {total:N0} are free, what other processes hold included. Take a shorter context, less {nameof(GemmaOptions.KvCacheBytes)}, a smaller type, or put fewer layers there ({nameof(GemmaOptions)}.{nameof(GemmaOptions.GpuLayers)}).",
                bytes, free);
        }

        Check(code, $"allocate {bytes:N0} bytes");
        lock (_gate)
        {
            _allocations.Add(address);
        }

        return address;
    }

    /// <summary>Gives device memory back once nothing uses it any more.</summary>
    public void Free(ulong address)
    {
        lock (_gate)
        {
            if (_disposed || !_allocations.Remove(address))
            {
                return;
            }
        }

        if (Failure is null)
        {
            MakeCurrent();
            Wait();
            Check(_library.MemoryFree(address), "free memory");
        }
    }

    /// <summary>Takes host memory that the GPU copies from and to by itself.</summary>
    public void* AllocatePinned(long bytes)
    {
        void* memory;
        MakeCurrent();
        int code = _library.HostAllocate(&memory, (nuint)bytes, 0);
        if (code == OutOfMemory)
        {
            throw new GemmaMemoryException($"{Device} cannot be given {bytes:N0} bytes of host memory to copy through: the system has no such memory to lock.", bytes, 0);
        }

        Check(code, $"take {bytes:N0} bytes of host memory");
        lock (_gate)
        {
            _pinned.Add((nint)memory);
        }

        return memory;
    }

    public void FreePinned(void* memory)
    {
        lock (_gate)
        {
            if (_disposed || !_pinned.Remove((nint)memory))
            {
                return;
            }
        }

        if (Failure is null)
        {
            WaitAside();
            Check(_library.HostFree(memory), "free host memory");
        }
    }

    /// <summary>Copies to the device; the host memory must not change until the copy is done.</summary>
    /// <param name="destination">Device memory.</param>
    /// <param name="source">Host memory of <see cref="AllocatePinned"/>.</param>
    /// <param name="bytes">How much.</param>
    /// <param name="ahead">Launches that are held back may come after it: nothing that was asked for before uses the destination.</param>
    public void Upload(ulong destination, void* source, long bytes, bool ahead = false)
    {
        MakeCurrent();
        if (!ahead)
        {
            Flush();
        }

        lock (_streamGate)
        {
            Check(_library.CopyToDevice(destination, source, (nuint)bytes, _stream), "copy to the device");
        }
    }

    /// <summary>Copies to the host.</summary>
    /// <param name="destination">Host memory of <see cref="AllocatePinned"/>.</param>
    /// <param name="source">Device memory.</param>
    /// <param name="bytes">How much.</param>
    /// <param name="aside">Any thread asks, for what launches that are held back do not change.</param>
    public void Download(void* destination, ulong source, long bytes, bool aside = false)
    {
        MakeCurrent();
        if (!aside)
        {
            Flush();
        }

        lock (_streamGate)
        {
            Check(_library.CopyToHost(destination, source, (nuint)bytes, _stream), "copy from the device");
        }
    }

    public void Copy(ulong destination, ulong source, long bytes)
    {
        MakeCurrent();
        Flush();
        lock (_streamGate)
        {
            Check(_library.CopyOnDevice(destination, source, (nuint)bytes, _stream), "copy");
        }
    }

    public void Clear(ulong address, long bytes)
    {
        MakeCurrent();
        Flush();
        lock (_streamGate)
        {
            Check(_library.Fill(address, 0, (nuint)bytes, _stream), "clear memory");
        }
    }

    /// <summary>Turns the collection of launches into a graph on or off; any other operation submits them.</summary>
    public void Defer(bool defers)
    {
        MakeCurrent();
        Flush();
        _defers = defers;
    }

    /// <summary>The kernel of a name.</summary>
    public nint Kernel(string name)
    {
        if (!_kernels.TryGetValue(name, out nint kernel))
        {
            MakeCurrent();
            fixed (byte* text = Encoding.UTF8.GetBytes(name + "\0"))
            {
                Check(_library.ModuleGetFunction(&kernel, _module, text), $"find the kernel '{name}'");
            }

            _kernels.Add(name, kernel);
        }

        return kernel;
    }

    public void Launch(nint kernel, (int X, int Y, int Z) grid, int threads, params ReadOnlySpan<KernelArgument> arguments)
    {
        MakeCurrent();
        if (_defers)
        {
            _graphs.Add(kernel, grid, threads, arguments);
            return;
        }

        void** places = stackalloc void*[arguments.Length];
        fixed (KernelArgument* first = arguments)
        {
            for (int i = 0; i < arguments.Length; i++)
            {
                places[i] = KernelArgument.PlaceOf(first + i);
            }

            lock (_streamGate)
            {
                Check(_library.LaunchKernel(kernel, (uint)grid.X, (uint)grid.Y, (uint)grid.Z, (uint)threads, 1, 1, 0, _stream, places, null), "launch a kernel");
            }
        }
    }

    /// <summary>Gives a library exclusive use of the stream until the result is disposed; deferred launches are submitted first.</summary>
    public Lock.Scope UseStream()
    {
        MakeCurrent();
        Flush();
        return _streamGate.EnterScope();
    }

    /// <summary>Returns when the GPU has done everything.</summary>
    public void Wait()
    {
        MakeCurrent();
        Flush();
        Check(_library.StreamSynchronize(_stream), "finish its work");
    }

    /// <summary>Returns when the copies that were asked for so far are done. Any thread may wait so, also while launches become a graph in another one, when the stream must not be asked.</summary>
    public void WaitAside()
    {
        nint mark = CreateEvent();
        try
        {
            lock (_streamGate)
            {
                Check(_library.EventRecord(mark, _stream), "record an event");
            }

            WaitFor(mark);
        }
        finally
        {
            DestroyEvent(mark);
        }
    }

    /// <summary>A mark in the stream that can be waited for.</summary>
    public nint CreateEvent()
    {
        nint created;
        MakeCurrent();
        Check(_library.EventCreate(&created, WithoutTiming), "create an event");
        return created;
    }

    public void Record(nint mark)
    {
        MakeCurrent();
        Flush();
        Check(_library.EventRecord(mark, _stream), "record an event");
    }

    public void WaitFor(nint mark)
    {
        MakeCurrent();
        Check(_library.EventSynchronize(mark), "finish its work");
    }

    public void DestroyEvent(nint mark)
    {
        if (Failure is null)
        {
            MakeCurrent();
            Check(_library.EventDestroy(mark), "destroy an event");
        }
    }

    /// <summary>Another context was made current in this thread.</summary>
    public static void Forget() => t_current = 0;

    /// <summary>Gives everything back. Of a GPU that failed the driver takes it with the context.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
        }

        // What fails here cannot be helped, and the first failure has been reported.
        _ = _library.ContextSetCurrent(_context);
        t_current = _id;
        if (_stream != 0)
        {
            _ = _library.StreamSynchronize(_stream);
        }

        _graphs.Dispose();
        foreach (ulong address in _allocations)
        {
            _ = _library.MemoryFree(address);
        }

        foreach (nint memory in _pinned)
        {
            _ = _library.HostFree((void*)memory);
        }

        if (_module != 0)
        {
            _ = _library.ModuleUnload(_module);
        }

        if (_stream != 0)
        {
            _ = _library.StreamDestroy(_stream);
        }

        _ = _library.PrimaryContextRelease(_device);
        t_current = 0;
    }

    /// <summary>The driver compiles the kernels for this GPU, and keeps the result in a cache of its own on disk.</summary>
    private void LoadModule(ReadOnlySpan<byte> ptx)
    {
        const int LogBytes = 4096;
        byte* log = stackalloc byte[LogBytes];
        log[0] = 0;
        int* options = stackalloc int[2] { ErrorLog, ErrorLogBytes };
        void** values = stackalloc void*[2] { log, (void*)LogBytes };
        nint module;
        byte[] text = [.. ptx, 0];
        fixed (byte* image = text)
        {
            int code = _library.ModuleLoad(&module, image, 2, options, values);
            ReadOnlySpan<byte> message = new(log, LogBytes);
            string details = Encoding.UTF8.GetString(message[..Math.Max(0, message.IndexOf((byte)0))]).Trim();
            Check(code, details.Length == 0 ? "load the kernels" : $"load the kernels ({details})");
        }

        _module = module;
    }

    private void MakeCurrent()
    {
        if (Failure is { } failure)
        {
            throw failure;
        }

        if (t_current != _id)
        {
            Check(_library.ContextSetCurrent(_context), "be used from this thread");
            t_current = _id;
        }
    }

    /// <summary>Carries out what is held back.</summary>
    private void Flush()
    {
        if (_graphs.Count > 0)
        {
            lock (_streamGate)
            {
                Check(_graphs.Flush(_stream), "launch the kernels of a step");
            }
        }
    }

    /// <summary>
    /// Throws what a code means. A kernel's fault shows at the call after it, whichever that is, and the context is lost then; only too large a request is over with
    /// the call that made it.
    /// </summary>
    private void Check(int code, string what)
    {
        if (code == 0)
        {
            return;
        }

        GemmaDeviceException exception = new($"{Device} could not {what}: {_library.Describe(code)}. Load the model again; if it comes back, run it on the CPU ({nameof(GemmaOptions)}.{nameof(GemmaOptions.Device)}).");
        if (code != OutOfMemory)
        {
            Failure ??= exception;
        }

        throw exception;
    }
}
