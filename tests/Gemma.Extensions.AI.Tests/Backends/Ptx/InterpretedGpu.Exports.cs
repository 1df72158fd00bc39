using System.Runtime.InteropServices;
using System.Text;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>The driver's functions, as native code calls them.</summary>
internal sealed unsafe partial class InterpretedGpu
{
    private static readonly Dictionary<string, nint> s_exports = new()
    {
        ["cuInit"] = (nint)(delegate* unmanaged<uint, int>)&Init,
        ["cuDriverGetVersion"] = (nint)(delegate* unmanaged<int*, int>)&DriverGetVersion,
        ["cuDeviceGetCount"] = (nint)(delegate* unmanaged<int*, int>)&DeviceGetCount,
        ["cuDeviceGet"] = (nint)(delegate* unmanaged<int*, int, int>)&DeviceGet,
        ["cuDeviceGetName"] = (nint)(delegate* unmanaged<byte*, int, int, int>)&DeviceGetName,
        ["cuDeviceGetAttribute"] = (nint)(delegate* unmanaged<int*, int, int, int>)&DeviceGetAttribute,
        ["cuDeviceTotalMem_v2"] = (nint)(delegate* unmanaged<nuint*, int, int>)&DeviceTotalMemory,
        ["cuDevicePrimaryCtxRetain"] = (nint)(delegate* unmanaged<nint*, int, int>)&PrimaryContextRetain,
        ["cuDevicePrimaryCtxRelease_v2"] = (nint)(delegate* unmanaged<int, int>)&PrimaryContextRelease,
        ["cuCtxSetCurrent"] = (nint)(delegate* unmanaged<nint, int>)&ContextSetCurrent,
        ["cuMemGetInfo_v2"] = (nint)(delegate* unmanaged<nuint*, nuint*, int>)&MemoryGetInfo,
        ["cuMemAlloc_v2"] = (nint)(delegate* unmanaged<ulong*, nuint, int>)&MemoryAllocate,
        ["cuMemFree_v2"] = (nint)(delegate* unmanaged<ulong, int>)&MemoryFree,
        ["cuMemHostAlloc"] = (nint)(delegate* unmanaged<void**, nuint, uint, int>)&HostAllocate,
        ["cuMemFreeHost"] = (nint)(delegate* unmanaged<void*, int>)&HostFree,
        ["cuMemcpyHtoDAsync_v2"] = (nint)(delegate* unmanaged<ulong, void*, nuint, nint, int>)&CopyToDevice,
        ["cuMemcpyDtoHAsync_v2"] = (nint)(delegate* unmanaged<void*, ulong, nuint, nint, int>)&CopyToHost,
        ["cuMemcpyDtoDAsync_v2"] = (nint)(delegate* unmanaged<ulong, ulong, nuint, nint, int>)&CopyOnDevice,
        ["cuMemsetD8Async"] = (nint)(delegate* unmanaged<ulong, byte, nuint, nint, int>)&Fill,
        ["cuStreamCreate"] = (nint)(delegate* unmanaged<nint*, uint, int>)&Create,
        ["cuStreamSynchronize"] = (nint)(delegate* unmanaged<nint, int>)&Synchronize,
        ["cuStreamDestroy_v2"] = (nint)(delegate* unmanaged<nint, int>)&Destroy,
        ["cuStreamBeginCapture_v2"] = (nint)(delegate* unmanaged<nint, int, int>)&BeginCapture,
        ["cuStreamEndCapture"] = (nint)(delegate* unmanaged<nint, nint*, int>)&EndCapture,
        ["cuGraphInstantiateWithFlags"] = (nint)(delegate* unmanaged<nint*, nint, ulong, int>)&GraphInstantiate,
        ["cuGraphLaunch"] = (nint)(delegate* unmanaged<nint, nint, int>)&GraphLaunch,
        ["cuGraphExecDestroy"] = (nint)(delegate* unmanaged<nint, int>)&GraphExecDestroy,
        ["cuGraphDestroy"] = (nint)(delegate* unmanaged<nint, int>)&GraphDestroy,
        ["cuEventCreate"] = (nint)(delegate* unmanaged<nint*, uint, int>)&Create,
        ["cuEventRecord"] = (nint)(delegate* unmanaged<nint, nint, int>)&EventRecord,
        ["cuEventSynchronize"] = (nint)(delegate* unmanaged<nint, int>)&Synchronize,
        ["cuEventDestroy_v2"] = (nint)(delegate* unmanaged<nint, int>)&Destroy,
        ["cuModuleLoadDataEx"] = (nint)(delegate* unmanaged<nint*, void*, uint, int*, void**, int>)&ModuleLoad,
        ["cuModuleUnload"] = (nint)(delegate* unmanaged<nint, int>)&Destroy,
        ["cuModuleGetFunction"] = (nint)(delegate* unmanaged<nint*, nint, byte*, int>)&ModuleGetFunction,
        ["cuLaunchKernel"] = (nint)(delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)&LaunchKernel,
        ["cuGetErrorName"] = (nint)(delegate* unmanaged<int, byte**, int>)&GetErrorName,
        ["cuGetErrorString"] = (nint)(delegate* unmanaged<int, byte**, int>)&GetErrorString,
    };

    private static readonly nint s_name = Marshal.StringToCoTaskMemUTF8("CUDA_ERROR");

    private static nint Export(string name) => Machine.Any(gpu => gpu.Missing == name) ? 0 : s_exports[name];

    [UnmanagedCallersOnly]
    private static int Init(uint flags) => Machine.Length == 0 ? 100 : Machine[0].Enter("cuInit", _ => 0);

    [UnmanagedCallersOnly]
    private static int DriverGetVersion(int* version)
    {
        *version = Machine.Length == 0 ? 12040 : Machine[0].DriverVersion;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int DeviceGetCount(int* count)
    {
        *count = Machine.Length;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int DeviceGet(int* device, int ordinal)
    {
        if (ordinal >= Machine.Length)
        {
            return 101;
        }

        s_gpus[Machine[ordinal].Handle] = Machine[ordinal];
        *device = Machine[ordinal].Handle;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int DeviceGetName(byte* name, int length, int device)
    {
        byte[] text = Encoding.UTF8.GetBytes(s_gpus[device].Name + "\0");
        text.CopyTo(new Span<byte>(name, length));
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int DeviceGetAttribute(int* value, int attribute, int device)
    {
        int capability = s_gpus[device].Capability;
        *value = attribute switch { 75 => capability / 10, 76 => capability % 10, 16 => 4, 17 => s_gpus[device].HasTimeLimit ? 1 : 0, _ => -1 };
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int DeviceTotalMemory(nuint* bytes, int device)
    {
        *bytes = (nuint)s_gpus[device].TotalBytes;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int PrimaryContextRetain(nint* context, int device)
    {
        *context = device;
        return s_gpus[device].Enter("cuDevicePrimaryCtxRetain", gpu =>
        {
            gpu.OpenContexts++;
            gpu.Memory.Limit = gpu.TotalBytes;
            return 0;
        });
    }

    [UnmanagedCallersOnly]
    private static int PrimaryContextRelease(int device)
    {
        if (--s_gpus[device].OpenContexts == 0)
        {
            s_gpus.TryRemove(device, out _);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static int ContextSetCurrent(nint context)
    {
        t_current = s_gpus[context];
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int MemoryGetInfo(nuint* free, nuint* total) => Call("cuMemGetInfo_v2", gpu =>
    {
        *total = (nuint)gpu.TotalBytes;
        *free = (nuint)(gpu.TotalBytes - gpu.Memory.Used);
        return 0;
    });

    [UnmanagedCallersOnly]
    private static int MemoryAllocate(ulong* address, nuint bytes) => Call("cuMemAlloc_v2", gpu =>
    {
        *address = bytes == 0 ? 0 : gpu.Memory.Allocate((long)bytes);
        return bytes == 0 ? InvalidValue : *address == 0 ? OutOfMemory : 0;
    });

    [UnmanagedCallersOnly]
    private static int MemoryFree(ulong address) => Call("cuMemFree_v2", gpu => gpu.Drain() + (gpu.Memory.Free(address) ? 0 : InvalidValue));

    [UnmanagedCallersOnly]
    private static int HostAllocate(void** memory, nuint bytes, uint flags) => Call("cuMemHostAlloc", gpu =>
    {
        *memory = NativeMemory.AlignedAlloc(bytes, 256);
        NativeMemory.Fill(*memory, bytes, 0xFF);
        gpu._pinned.Add((nint)(*memory), (long)bytes);
        return 0;
    });

    [UnmanagedCallersOnly]
    private static int HostFree(void* memory) => Call("cuMemFreeHost", gpu =>
    {
        gpu.Drain();
        if (!gpu._pinned.Remove((nint)memory))
        {
            return InvalidValue;
        }

        NativeMemory.AlignedFree(memory);
        return 0;
    });

    [UnmanagedCallersOnly]
    private static int CopyToDevice(ulong destination, void* source, nuint bytes, nint stream) => Call("cuMemcpyHtoDAsync_v2", gpu =>
    {
        gpu.CheckPinned(source, bytes);
        gpu.CheckDevice(destination, bytes);
        return gpu.Later(() => Buffer.MemoryCopy(source, (void*)destination, bytes, bytes));
    });

    [UnmanagedCallersOnly]
    private static int CopyToHost(void* destination, ulong source, nuint bytes, nint stream) => Call("cuMemcpyDtoHAsync_v2", gpu =>
    {
        gpu.CheckPinned(destination, bytes);
        gpu.CheckDevice(source, bytes);
        return gpu.Later(() => Buffer.MemoryCopy((void*)source, destination, bytes, bytes));
    });

    [UnmanagedCallersOnly]
    private static int CopyOnDevice(ulong destination, ulong source, nuint bytes, nint stream) => Call("cuMemcpyDtoDAsync_v2", gpu =>
    {
        gpu.CheckDevice(source, bytes);
        gpu.CheckDevice(destination, bytes);
        return gpu.Later(() => Buffer.MemoryCopy((void*)source, (void*)destination, bytes, bytes));
    });

    [UnmanagedCallersOnly]
    private static int Fill(ulong address, byte value, nuint bytes, nint stream) => Call("cuMemsetD8Async", gpu =>
    {
        gpu.CheckDevice(address, bytes);
        return gpu.Later(() => NativeMemory.Fill((void*)address, bytes, value));
    });

    /// <summary>A stream or an event: there is one stream a GPU, and it is behind when any event is waited for.</summary>
    [UnmanagedCallersOnly]
    private static int Create(nint* handle, uint flags) => Call("create", gpu =>
    {
        *handle = gpu.Handle;
        return 0;
    });

    [UnmanagedCallersOnly]
    private static int Synchronize(nint handle) => Call("synchronize", gpu => gpu.Drain());

    [UnmanagedCallersOnly]
    private static int Destroy(nint handle) => Call("destroy", gpu => gpu.Drain());

    [UnmanagedCallersOnly]
    private static int EventRecord(nint handle, nint stream) => Call("cuEventRecord", _ => 0);

    [UnmanagedCallersOnly]
    private static int ModuleLoad(nint* module, void* image, uint count, int* options, void** values) => Call("cuModuleLoadDataEx", gpu =>
    {
        *module = gpu.Handle;
        gpu._module = s_modules.GetOrAdd(Marshal.PtrToStringUTF8((nint)image)!, PtxModule.Parse);
        return 0;
    });

    [UnmanagedCallersOnly]
    private static int ModuleGetFunction(nint* function, nint module, byte* name) => Call("cuModuleGetFunction", gpu =>
    {
        string text = Marshal.PtrToStringUTF8((nint)name)!;
        if (!gpu._module!.Kernels.TryGetValue(text, out PtxKernel? kernel))
        {
            return NotFound;
        }

        kernel = gpu.Mutant?.Name == text ? gpu.Mutant : kernel;
        *function = gpu._functions.Count + 1;
        gpu._functions.Add(*function, (text, kernel));
        return 0;
    });

    [UnmanagedCallersOnly]
    private static int LaunchKernel(
        nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint sharedBytes, nint stream, void** arguments, void** extra) =>
        Call("cuLaunchKernel", gpu => blockY == 1 && blockZ == 1 && sharedBytes == 0 ? gpu.Launch(function, (gridX, gridY, gridZ), (int)blockX, arguments) : InvalidValue);

    [UnmanagedCallersOnly]
    private static int BeginCapture(nint stream, int mode) => Call("cuStreamBeginCapture_v2", gpu => gpu.BeginCapture());

    [UnmanagedCallersOnly]
    private static int EndCapture(nint stream, nint* graph) => Call("cuStreamEndCapture", gpu => gpu.EndCapture(out *graph));

    [UnmanagedCallersOnly]
    private static int GraphInstantiate(nint* executable, nint graph, ulong flags) => Call("cuGraphInstantiateWithFlags", gpu =>
    {
        *executable = graph + 1;
        return gpu._graphs.TryGetValue(graph, out List<Func<long>>? work) && gpu._graphs.TryAdd(graph + 1, work) ? 0 : InvalidValue;
    });

    [UnmanagedCallersOnly]
    private static int GraphLaunch(nint executable, nint stream) => Call("cuGraphLaunch", gpu =>
    {
        gpu._pending.AddRange(gpu._graphs[executable]);
        return 0;
    });

    [UnmanagedCallersOnly]
    private static int GraphExecDestroy(nint executable) => Call("cuGraphExecDestroy", gpu => gpu.Drain() + (gpu._graphs.Remove(executable) ? 0 : InvalidValue));

    [UnmanagedCallersOnly]
    private static int GraphDestroy(nint graph) => Call("cuGraphDestroy", gpu => gpu._graphs.Remove(graph) ? 0 : InvalidValue);

    [UnmanagedCallersOnly]
    private static int GetErrorName(int code, byte** text)
    {
        *text = (byte*)s_name;
        return 0;
    }

    /// <summary>In place of the driver's text: what the interpreter found. The memory is never given back, like that of the driver's texts.</summary>
    [UnmanagedCallersOnly]
    private static int GetErrorString(int code, byte** text)
    {
        *text = (byte*)Marshal.StringToCoTaskMemUTF8(t_current?.Fault ?? $"code {code}");
        return 0;
    }
}
