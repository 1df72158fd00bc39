using System.Text;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>One of NVIDIA's GPUs.</summary>
/// <param name="Index">Its number, as in <c>cuda:1</c>.</param>
/// <param name="Name">As the driver names it.</param>
/// <param name="Capability">Compute capability, ten times: 80 for 8.0.</param>
/// <param name="Processors">Streaming multiprocessors.</param>
/// <param name="TotalBytes">Its memory.</param>
/// <param name="HasTimeLimit">Whether the system ends kernels that take too long, as it does where the GPU draws a screen.</param>
internal sealed record CudaDevice(int Index, string Name, int Capability, int Processors, long TotalBytes, bool HasTimeLimit)
{
    /// <summary>The least compute capability that the kernels run on: tensor cores with bfloat16.</summary>
    public const int LeastCapability = 80;

    private const int MajorAttribute = 75, MinorAttribute = 76, ProcessorsAttribute = 16, TimeLimitAttribute = 17;

    public bool IsSupported => Capability >= LeastCapability;

    /// <summary>The GPUs that the driver shows to this process.</summary>
    /// <exception cref="GemmaDeviceException">The driver does not answer.</exception>
    public static unsafe CudaDevice[] All(CudaLibrary library)
    {
        int count = 0;
        Check(library, library.DeviceGetCount(&count));
        CudaDevice[] devices = new CudaDevice[count];
        byte* name = stackalloc byte[256];
        for (int i = 0; i < count; i++)
        {
            int device, major, minor, processors, timeLimit;
            nuint bytes;
            Check(library, library.DeviceGet(&device, i));
            Check(library, library.DeviceGetName(name, 255, device));
            Check(library, library.DeviceGetAttribute(&major, MajorAttribute, device));
            Check(library, library.DeviceGetAttribute(&minor, MinorAttribute, device));
            Check(library, library.DeviceGetAttribute(&processors, ProcessorsAttribute, device));
            Check(library, library.DeviceGetAttribute(&timeLimit, TimeLimitAttribute, device));
            Check(library, library.DeviceTotalMemory(&bytes, device));
            ReadOnlySpan<byte> text = new(name, 256);
            devices[i] = new CudaDevice(i, Encoding.UTF8.GetString(text[..text.IndexOf((byte)0)]), 10 * major + minor, processors, (long)bytes, timeLimit != 0);
        }

        return devices;
    }

    /// <summary>The GPU of a number, or the first one that can be used.</summary>
    /// <exception cref="GemmaDeviceException">There is none; the message says what was found.</exception>
    public static CudaDevice Select(CudaLibrary library, int? index)
    {
        CudaDevice[] devices = All(library);
        CudaDevice? chosen = index is { } number ? devices.ElementAtOrDefault(number) : devices.FirstOrDefault(device => device.IsSupported);
        string found = devices.Length == 0 ? "none" : string.Join(", ", devices.Select(device => device.ToString()));
        return chosen is { IsSupported: true } ? chosen
            : throw new GemmaDeviceException(
                chosen is not null ? $"{chosen} cannot be used: compute capability {LeastCapability / 10}.{LeastCapability % 10} or later is needed."
                : index is not null ? $"There is no GPU cuda:{index}; found: {found}."
                : $"There is no GPU of compute capability {LeastCapability / 10}.{LeastCapability % 10} or later; found: {found}.");
    }

    /// <summary>Free bytes of its memory.</summary>
    /// <exception cref="GemmaDeviceException">The GPU does not answer.</exception>
    public unsafe long ReadFreeBytes(CudaLibrary library)
    {
        int handle;
        nint context;
        nuint free, total;
        Check(library, library.DeviceGet(&handle, Index));
        Check(library, library.PrimaryContextRetain(&context, handle));
        try
        {
            Check(library, library.ContextSetCurrent(context));
            Check(library, library.MemoryGetInfo(&free, &total));
            return (long)free;
        }
        finally
        {
            _ = library.PrimaryContextRelease(handle);
            CudaContext.Forget();
        }
    }

    public override string ToString() => $"cuda:{Index} ({Name}, compute capability {Capability / 10}.{Capability % 10})";

    private static void Check(CudaLibrary library, int code)
    {
        if (code != 0)
        {
            throw new GemmaDeviceException($"NVIDIA's driver does not list its GPUs: {library.Describe(code)}.");
        }
    }
}
