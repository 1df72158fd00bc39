using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>
/// The functions of NVIDIA's display driver (<c>libcuda.so.1</c>, <c>nvcuda.dll</c>) that the backend calls, by the names of the CUDA driver API. Found when they are
/// first needed, so that nothing depends on the driver where there is none; no toolkit is needed.
/// </summary>
internal sealed unsafe class CudaLibrary
{
    /// <summary>The oldest driver interface that reads the kernels: CUDA 11.8, drivers from 520 on.</summary>
    public const int LeastDriver = 11080;

    private const string Upgrade = "Install a display driver of version 520 or later.";

    public readonly delegate* unmanaged<uint, int> Init;
    public readonly delegate* unmanaged<int*, int> DriverGetVersion;
    public readonly delegate* unmanaged<int*, int> DeviceGetCount;
    public readonly delegate* unmanaged<int*, int, int> DeviceGet;
    public readonly delegate* unmanaged<byte*, int, int, int> DeviceGetName;
    public readonly delegate* unmanaged<int*, int, int, int> DeviceGetAttribute;
    public readonly delegate* unmanaged<nuint*, int, int> DeviceTotalMemory;
    public readonly delegate* unmanaged<nint*, int, int> PrimaryContextRetain;
    public readonly delegate* unmanaged<int, int> PrimaryContextRelease;
    public readonly delegate* unmanaged<nint, int> ContextSetCurrent;
    public readonly delegate* unmanaged<nuint*, nuint*, int> MemoryGetInfo;
    public readonly delegate* unmanaged<ulong*, nuint, int> MemoryAllocate;
    public readonly delegate* unmanaged<ulong, int> MemoryFree;
    public readonly delegate* unmanaged<void**, nuint, uint, int> HostAllocate;
    public readonly delegate* unmanaged<void*, int> HostFree;
    public readonly delegate* unmanaged<ulong, void*, nuint, nint, int> CopyToDevice;
    public readonly delegate* unmanaged<void*, ulong, nuint, nint, int> CopyToHost;
    public readonly delegate* unmanaged<ulong, ulong, nuint, nint, int> CopyOnDevice;
    public readonly delegate* unmanaged<ulong, byte, nuint, nint, int> Fill;
    public readonly delegate* unmanaged<nint*, uint, int> StreamCreate;
    public readonly delegate* unmanaged<nint, int> StreamSynchronize;
    public readonly delegate* unmanaged<nint, int> StreamDestroy;
    public readonly delegate* unmanaged<nint, int, int> StreamBeginCapture;
    public readonly delegate* unmanaged<nint, nint*, int> StreamEndCapture;
    public readonly delegate* unmanaged<nint*, nint, ulong, int> GraphInstantiate;
    public readonly delegate* unmanaged<nint, nint, int> GraphLaunch;
    public readonly delegate* unmanaged<nint, int> GraphExecDestroy;
    public readonly delegate* unmanaged<nint, int> GraphDestroy;
    public readonly delegate* unmanaged<nint*, uint, int> EventCreate;
    public readonly delegate* unmanaged<nint, nint, int> EventRecord;
    public readonly delegate* unmanaged<nint, int> EventSynchronize;
    public readonly delegate* unmanaged<nint, int> EventDestroy;
    public readonly delegate* unmanaged<nint*, void*, uint, int*, void**, int> ModuleLoad;
    public readonly delegate* unmanaged<nint, int> ModuleUnload;
    public readonly delegate* unmanaged<nint*, nint, byte*, int> ModuleGetFunction;
    public readonly delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int> LaunchKernel;
    public readonly delegate* unmanaged<int, byte**, int> GetErrorName;
    public readonly delegate* unmanaged<int, byte**, int> GetErrorString;

    private static readonly Lock s_gate = new();
    private static CudaLibrary? s_loaded;

    /// <param name="export">Address of a function by its name; 0 where the library does not have it.</param>
    /// <exception cref="GemmaDeviceException">A function is missing, the driver cannot be started or is too old.</exception>
    internal CudaLibrary(Func<string, nint> export)
    {
        Init = (delegate* unmanaged<uint, int>)Find("cuInit");
        DriverGetVersion = (delegate* unmanaged<int*, int>)Find("cuDriverGetVersion");
        DeviceGetCount = (delegate* unmanaged<int*, int>)Find("cuDeviceGetCount");
        DeviceGet = (delegate* unmanaged<int*, int, int>)Find("cuDeviceGet");
        DeviceGetName = (delegate* unmanaged<byte*, int, int, int>)Find("cuDeviceGetName");
        DeviceGetAttribute = (delegate* unmanaged<int*, int, int, int>)Find("cuDeviceGetAttribute");
        DeviceTotalMemory = (delegate* unmanaged<nuint*, int, int>)Find("cuDeviceTotalMem_v2");
        PrimaryContextRetain = (delegate* unmanaged<nint*, int, int>)Find("cuDevicePrimaryCtxRetain");
        PrimaryContextRelease = (delegate* unmanaged<int, int>)Find("cuDevicePrimaryCtxRelease_v2");
        ContextSetCurrent = (delegate* unmanaged<nint, int>)Find("cuCtxSetCurrent");
        MemoryGetInfo = (delegate* unmanaged<nuint*, nuint*, int>)Find("cuMemGetInfo_v2");
        MemoryAllocate = (delegate* unmanaged<ulong*, nuint, int>)Find("cuMemAlloc_v2");
        MemoryFree = (delegate* unmanaged<ulong, int>)Find("cuMemFree_v2");
        HostAllocate = (delegate* unmanaged<void**, nuint, uint, int>)Find("cuMemHostAlloc");
        HostFree = (delegate* unmanaged<void*, int>)Find("cuMemFreeHost");
        CopyToDevice = (delegate* unmanaged<ulong, void*, nuint, nint, int>)Find("cuMemcpyHtoDAsync_v2");
        CopyToHost = (delegate* unmanaged<void*, ulong, nuint, nint, int>)Find("cuMemcpyDtoHAsync_v2");
        CopyOnDevice = (delegate* unmanaged<ulong, ulong, nuint, nint, int>)Find("cuMemcpyDtoDAsync_v2");
        Fill = (delegate* unmanaged<ulong, byte, nuint, nint, int>)Find("cuMemsetD8Async");
        StreamCreate = (delegate* unmanaged<nint*, uint, int>)Find("cuStreamCreate");
        StreamSynchronize = (delegate* unmanaged<nint, int>)Find("cuStreamSynchronize");
        StreamDestroy = (delegate* unmanaged<nint, int>)Find("cuStreamDestroy_v2");
        StreamBeginCapture = (delegate* unmanaged<nint, int, int>)Find("cuStreamBeginCapture_v2");
        StreamEndCapture = (delegate* unmanaged<nint, nint*, int>)Find("cuStreamEndCapture");
        GraphInstantiate = (delegate* unmanaged<nint*, nint, ulong, int>)Find("cuGraphInstantiateWithFlags");
        GraphLaunch = (delegate* unmanaged<nint, nint, int>)Find("cuGraphLaunch");
        GraphExecDestroy = (delegate* unmanaged<nint, int>)Find("cuGraphExecDestroy");
        GraphDestroy = (delegate* unmanaged<nint, int>)Find("cuGraphDestroy");
        EventCreate = (delegate* unmanaged<nint*, uint, int>)Find("cuEventCreate");
        EventRecord = (delegate* unmanaged<nint, nint, int>)Find("cuEventRecord");
        EventSynchronize = (delegate* unmanaged<nint, int>)Find("cuEventSynchronize");
        EventDestroy = (delegate* unmanaged<nint, int>)Find("cuEventDestroy_v2");
        ModuleLoad = (delegate* unmanaged<nint*, void*, uint, int*, void**, int>)Find("cuModuleLoadDataEx");
        ModuleUnload = (delegate* unmanaged<nint, int>)Find("cuModuleUnload");
        ModuleGetFunction = (delegate* unmanaged<nint*, nint, byte*, int>)Find("cuModuleGetFunction");
        LaunchKernel = (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)Find("cuLaunchKernel");
        GetErrorName = (delegate* unmanaged<int, byte**, int>)Find("cuGetErrorName");
        GetErrorString = (delegate* unmanaged<int, byte**, int>)Find("cuGetErrorString");
        Start();

        nint Find(string name) => export(name) is var address and not 0
            ? address
            : throw new GemmaDeviceException($"NVIDIA's driver has no function '{name}': it is too old. {Upgrade}");
    }

    /// <summary>The driver of this machine.</summary>
    /// <exception cref="GemmaDeviceException">There is none, or none that can be used.</exception>
    public static CudaLibrary Load()
    {
        lock (s_gate)
        {
            return s_loaded ??= Open();
        }
    }

    /// <summary>The meaning of an error code, e.g. <c>CUDA_ERROR_OUT_OF_MEMORY (2), out of memory</c>.</summary>
    public string Describe(int code)
    {
        byte* name = null, text = null;
        _ = GetErrorName(code, &name);
        _ = GetErrorString(code, &text);
        return $"{Marshal.PtrToStringUTF8((nint)name) ?? "error"} ({code}){(text is null ? "" : $", {Marshal.PtrToStringUTF8((nint)text)}")}";
    }

    private static CudaLibrary Open()
    {
        string name = OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1";
        return NativeLibrary.TryLoad(name, out nint library)
            ? new CudaLibrary(function => NativeLibrary.TryGetExport(library, function, out nint address) ? address : 0)
            : throw new GemmaDeviceException($"NVIDIA's driver is not installed: '{name}' cannot be loaded.");
    }

    /// <exception cref="GemmaDeviceException">The driver is too old, or cannot be used.</exception>
    private void Start()
    {
        int version = 0;
        if (DriverGetVersion(&version) is var code and not 0)
        {
            throw new GemmaDeviceException($"NVIDIA's driver does not say its version: {Describe(code)}. {Upgrade}");
        }

        if (version < LeastDriver)
        {
            throw new GemmaDeviceException($"NVIDIA's driver supports CUDA {version / 1000}.{version % 1000 / 10}, but {LeastDriver / 1000}.{LeastDriver % 1000 / 10} or later is needed. {Upgrade}");
        }

        if (Init(0) is var started and not 0)
        {
            throw new GemmaDeviceException($"NVIDIA's driver cannot be used: {Describe(started)}.");
        }
    }
}
