using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Backends.Split;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Devices;

/// <summary>Decides what a model runs on: a GPU, the CPU, or both.</summary>
internal static class DeviceChoice
{
    /// <summary>Makes the backend that the options ask for, before anything is known of the model.</summary>
    /// <exception cref="GemmaDeviceException">A GPU was asked for and cannot be used.</exception>
    public static Backend Create(GemmaOptions options) => Create(options, CudaLibrary.Load, CublasLibrary.TryLoad);

    /// <inheritdoc cref="Create(GemmaOptions)"/>
    internal static Backend Create(GemmaOptions options, Func<CudaLibrary> load, Func<CublasLibrary?>? loadCublas = null)
    {
        DeviceSetting.TryParse(options.Device, out DeviceSetting setting);
        if (!setting.UsesCuda)
        {
            return Cpu(options, null);
        }

        try
        {
            CudaLibrary library = load();
            return new CudaBackend(library, CudaDevice.Select(library, setting.Index), cublas: loadCublas?.Invoke());
        }
        catch (GemmaDeviceException exception) when (setting.IsAuto)
        {
            return Cpu(options, exception.Message);
        }
    }

    /// <summary>
    /// Looks whether a model fits the GPU. Where it does not, the CPU takes all of it (<c>auto</c>) or those layers for which there is no room.
    /// </summary>
    /// <returns>The backend to use; the one that was given, or another, and then that one is disposed or part of it.</returns>
    /// <exception cref="GemmaMemoryException">Not as many layers fit as were asked for, or none.</exception>
    public static Backend Fit(Backend backend, GemmaOptions options, ModelFile file, GemmaKvCacheType kvType, (ModelFile File, int Sequences)? draft = null)
    {
        if (backend is not CudaBackend cuda)
        {
            return backend;
        }

        DeviceSetting.TryParse(options.Device, out DeviceSetting setting);
        DeviceNeeds needs = DeviceNeeds.Of(file, options.ContextLength, kvType, options.KvCacheBytes, draft);
        int all = file.Config.LayerCount, fitting = needs.LayersWithin(cuda.ReadMemory().FreeBytes);
        int wanted = Math.Min(options.GpuLayers ?? (setting.IsAuto ? all : Math.Max(2 - all % 2, fitting)), all);
        wanted -= (all - wanted) % 2; // the CPU's part is even
        if (wanted <= fitting && wanted > 0)
        {
            return wanted == all ? cuda : new SplitBackend(Cpu(options, null), cuda, all - wanted, all, file.Config.Head == OutputHead.Tied);
        }

        string reason = wanted < 1
            ? $"{cuda.Device} was given no layers: of the {all} layers the CPU takes an even number, so at least {2 - all % 2} are needed ({nameof(GemmaOptions)}.{nameof(GemmaOptions.GpuLayers)})"
            : $"'{file.Path}' needs {Gigabytes(needs.BytesFor(wanted))} of {cuda.Device} for {(wanted == all ? "all" : $"{wanted} of")} {all} layers, keys and values and work space; {Gigabytes(cuda.ReadMemory().FreeBytes)} are free, enough for {fitting} layers";
        long needed = wanted < 1 ? 0 : needs.BytesFor(wanted), free = cuda.ReadMemory().FreeBytes;
        backend.Dispose();
        return setting.IsAuto && options.GpuLayers is null
            ? Cpu(options, reason)
            : throw new GemmaMemoryException($"{reason}. Take a smaller type, a shorter context or fewer {nameof(GemmaOptions.GpuLayers)}, or run it on the CPU ({nameof(GemmaOptions)}.{nameof(GemmaOptions.Device)}).", needed, free);
    }

    /// <summary>The device that <c>auto</c> would take for a model, with the reason if that is not a GPU.</summary>
    public static (string Device, string? Reason) Explain(ModelFile file, int contextLength, Func<CudaLibrary>? load = null)
    {
        try
        {
            CudaLibrary library = (load ?? CudaLibrary.Load)();
            CudaDevice device = CudaDevice.Select(library, null);
            DeviceNeeds needs = DeviceNeeds.Of(file, contextLength, GemmaKvCacheType.F16, null);
            long needed = needs.BytesFor(file.Config.LayerCount), free = device.ReadFreeBytes(library);
            return needed <= free ? (device.ToString(), null) : ("cpu", $"{device} has {Gigabytes(free)} free, {Gigabytes(needed)} are needed; {needs.LayersWithin(free)} of {file.Config.LayerCount} layers fit");
        }
        catch (GemmaDeviceException exception)
        {
            return ("cpu", exception.Message);
        }
    }

    private static CpuBackend Cpu(GemmaOptions options, string? reason) => CpuBackend.Create(new CpuBackendOptions { Threads = options.Threads, Kernel = options.Kernel, Reason = reason });

    private static string Gigabytes(long bytes) => bytes >= 100_000_000 ? $"{bytes / 1e9:F1} GB" : $"{bytes / 1e6:F1} MB";
}
