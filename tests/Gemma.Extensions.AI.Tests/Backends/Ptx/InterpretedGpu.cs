using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Devices;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>
/// A GPU that is not there: the functions of NVIDIA's driver, of which the kernels are interpreted. The backend runs on it unchanged, from loading the kernels on.
/// What was asked for happens as late as it may, when somebody waits for it, so that memory that is reused too early shows.
/// </summary>
internal sealed unsafe partial class InterpretedGpu : IDisposable
{
    public const int OutOfMemory = 2, InvalidValue = 1, NotFound = 500, IllegalAddress = 700, DeviceLost = 719, CaptureUnsupported = 900;

    private static readonly ConcurrentDictionary<nint, InterpretedGpu> s_gpus = new();
    private static readonly ConcurrentDictionary<string, PtxModule> s_modules = new();
    private static int s_next;

    [ThreadStatic]
    private static InterpretedGpu[]? t_machine;

    [ThreadStatic]
    private static InterpretedGpu? t_current;

    private readonly Lock _gate = new();
    private readonly List<Func<long>> _pending = [];
    private readonly Dictionary<nint, List<Func<long>>> _graphs = [];
    private readonly Dictionary<nint, long> _pinned = [];
    private List<Func<long>>? _captured;
    private int _lastGraph, _capturingThread;
    private readonly Dictionary<nint, (string Name, PtxKernel Kernel)> _functions = [];
    private PtxModule? _module;
    private int _fault;

    /// <summary>What the driver calls the device, the context and the stream alike.</summary>
    public int Handle { get; } = Interlocked.Increment(ref s_next);

    public string Name { get; init; } = "Interpreted";

    public int Capability { get; init; } = 80;

    public long TotalBytes { get; init; } = 1L << 32;

    /// <summary>Whether it draws a screen.</summary>
    public bool HasTimeLimit { get; init; }

    /// <summary>A kernel to run in place of the one of its name.</summary>
    public PtxKernel? Mutant { get; init; }

    public int DriverVersion { get; init; } = CudaLibrary.LeastDriver;

    /// <summary>Functions that the driver does not have.</summary>
    public string? Missing { get; init; }

    /// <summary>Asked before each call of a function; an error code other than 0 is what it returns.</summary>
    public Func<string, int>? Inject { get; set; }

    /// <summary>Steps after which a kernel counts as endless.</summary>
    public long StepLimit { get; init; } = PtxLaunch.DefaultLimit;

    public int Parallelism { get; init; } = 2;

    public PtxMemory Memory { get; } = new();

    /// <summary>Why the device does not work on.</summary>
    public string? Fault { get; private set; }

    /// <summary>Instructions of warps that were carried out.</summary>
    public long Steps { get; private set; }

    /// <summary>Launches by kernel that were carried out.</summary>
    public Dictionary<string, int> Launches { get; } = [];

    /// <summary>Contexts that were opened and not given back.</summary>
    public int OpenContexts { get; private set; }

    public int PinnedCount => _pinned.Count;

    /// <summary>Graphs that were made and not given back.</summary>
    public int GraphCount => _graphs.Count;

    /// <summary>The functions of graphs that were called, and launches outside of a capture, in their order.</summary>
    public List<string> Calls { get; } = [];

    private static InterpretedGpu[] Machine => t_machine ?? [];

    /// <summary>Has a model loaded on this GPU, as <see cref="GemmaOptions.Device"/> says.</summary>
    public GemmaOptions Options(string device = "cuda") => new() { Device = device, CreateBackend = options => On([this], library => DeviceChoice.Create(options, () => library)) };

    /// <summary>The backend on this GPU.</summary>
    public CudaBackend CreateBackend(double launchSeconds = LaunchPieces.DefaultSeconds, CublasLibrary? cublas = null) =>
        On([this], library => new CudaBackend(library, CudaDevice.Select(library, 0), pieceBytes: 5000, unpackBytes: 128 << 10, launchSeconds, cublas));

    /// <summary>Calls something with the driver of a machine that has these GPUs.</summary>
    public static T On<T>(InterpretedGpu[] machine, Func<CudaLibrary, T> use) => With(machine, () => use(new CudaLibrary(Export)));

    /// <summary>Calls something on a machine that has these GPUs.</summary>
    public static T With<T>(InterpretedGpu[] machine, Func<T> use)
    {
        InterpretedGpu[]? before = t_machine;
        t_machine = machine;
        try
        {
            return use();
        }
        finally
        {
            t_machine = before;
        }
    }

    public void Dispose()
    {
        Memory.Dispose();
        foreach (nint memory in _pinned.Keys)
        {
            NativeMemory.AlignedFree((void*)memory);
        }
    }

    /// <summary>Runs a function on the GPU that is current in this thread.</summary>
    private static int Call(string function, Func<InterpretedGpu, int> body) => t_current is { } gpu ? gpu.Enter(function, body) : 201;

    /// <summary>Runs a function, unless the device is at fault or the test wants it to fail.</summary>
    private int Enter(string function, Func<InterpretedGpu, int> body)
    {
        lock (_gate)
        {
            if (_fault != 0)
            {
                return _fault;
            }

            if (function.Contains("Graph", StringComparison.Ordinal) || function.Contains("Capture", StringComparison.Ordinal) || function == "cuLaunchKernel")
            {
                Calls.Add(function);
            }
            else if (_captured is not null && (Environment.CurrentManagedThreadId == _capturingThread || function.StartsWith("cuMemcpy", StringComparison.Ordinal) || function is "cuMemsetD8Async" or "cuEventRecord"))
            {
                return CaptureUnsupported; // what the thread asks or what uses the stream cannot be part of a graph
            }

            if (Inject?.Invoke(function) is { } code and not 0)
            {
                _captured = function == "cuStreamEndCapture" ? null : _captured; // that ends it, well or not
                _fault = code is >= IllegalAddress and < CaptureUnsupported ? code : 0; // the context is lost
                return code;
            }

            try
            {
                return body(this);
            }
            catch (Exception exception)
            {
                Fault = exception.Message;
                return _fault = IllegalAddress;
            }
        }
    }

    /// <summary>Does what was asked for.</summary>
    private int Drain()
    {
        foreach (Func<long> work in _pending)
        {
            Steps += work();
        }

        _pending.Clear();
        return 0;
    }

    private int Later(Action work)
    {
        _pending.Add(() =>
        {
            work();
            return 0;
        });
        return 0;
    }

    private void CheckPinned(void* memory, nuint bytes)
    {
        if (!_pinned.Any(allocation => (nint)memory >= allocation.Key && (nint)memory + (nint)bytes <= allocation.Key + (nint)allocation.Value))
        {
            throw new PtxException($"a copy of {bytes} bytes uses host memory that is not locked.");
        }
    }

    private void CheckDevice(ulong address, nuint bytes)
    {
        if (!Memory.Contains(address, bytes))
        {
            throw new PtxException($"a copy uses {bytes} bytes at {address:x}, where there is no allocation.");
        }
    }

    private int Launch(nint function, (uint X, uint Y, uint Z) grid, int threads, void** arguments)
    {
        (string name, PtxKernel kernel) = _functions[function];
        byte[] parameters = new byte[kernel.ParameterBytes];
        for (int i = 0; i < kernel.Parameters.Length; i++)
        {
            new ReadOnlySpan<byte>(arguments[i], kernel.Parameters[i].Size).CopyTo(parameters.AsSpan(kernel.Parameters[i].Offset));
        }

        (_captured ?? _pending).Add(() =>
        {
            Launches[name] = Launches.GetValueOrDefault(name) + 1;
            return PtxLaunch.Run(kernel, Memory, parameters, grid, threads, StepLimit, Parallelism);
        });
        return 0;
    }

    private int BeginCapture()
    {
        if (_captured is not null)
        {
            return InvalidValue;
        }

        _captured = [];
        _capturingThread = Environment.CurrentManagedThreadId;
        return 0;
    }

    private int EndCapture(out nint graph)
    {
        graph = _lastGraph += 2;
        if (_captured is null)
        {
            return InvalidValue;
        }

        _graphs[graph] = _captured;
        _captured = null;
        return 0;
    }
}
