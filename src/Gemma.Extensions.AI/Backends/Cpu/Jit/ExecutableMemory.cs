using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>Makes machine code executable; null with a reason if the system does not allow it.</summary>
internal delegate ExecutableMemory? CodeAllocator(ReadOnlySpan<byte> code, out string? reason);

/// <summary>Pages of machine code: mapped writable, written, then made executable and read-only. Never both at once.</summary>
internal sealed unsafe partial class ExecutableMemory : IDisposable
{
    private const int ReadWrite = 1 | 2;
    private const int ReadExecute = 1 | 4;
    private readonly nuint _bytes;
    private void* _data;

    private ExecutableMemory(void* data, nuint bytes)
    {
        _data = data;
        _bytes = bytes;
    }

    public byte* Address => (byte*)_data;

    /// <summary>Null with a reason where the system does not allow executable pages (hardened containers, SELinux execmem).</summary>
    public static ExecutableMemory? TryCreate(ReadOnlySpan<byte> code, out string? reason)
    {
        reason = null;
        nuint bytes = ((nuint)code.Length + 65535) & ~(nuint)65535;
        try
        {
            if (OperatingSystem.IsWindows())
            {
                void* data = VirtualAlloc(null, bytes, 0x3000, 0x04);
                if (data is null)
                {
                    reason = "no memory for machine code";
                    return null;
                }

                code.CopyTo(new Span<byte>(data, code.Length));
                if (VirtualProtect(data, bytes, 0x20, out _))
                {
                    return new ExecutableMemory(data, bytes);
                }

                VirtualFree(data, 0, 0x8000);
            }
            else
            {
                // MAP_PRIVATE with the system's number of MAP_ANONYMOUS.
                int flags = 0x02 | (OperatingSystem.IsLinux() ? 0x20 : 0x1000);
                void* data = Map(null, bytes, ReadWrite, flags, -1, 0);
                if (data == (void*)-1)
                {
                    reason = "no memory for machine code";
                    return null;
                }

                code.CopyTo(new Span<byte>(data, code.Length));
                if (Protect(data, bytes, ReadExecute) == 0)
                {
                    return new ExecutableMemory(data, bytes);
                }

                Unmap(data, bytes);
            }

            reason = "the system does not allow pages to be made executable";
        }
        catch (Exception exception) when (exception is DllNotFoundException or EntryPointNotFoundException)
        {
            reason = exception.Message;
        }

        return null;
    }

    public void Dispose()
    {
        void* data = _data;
        _data = null;
        if (data is null)
        {
            return;
        }

        if (OperatingSystem.IsWindows())
        {
            VirtualFree(data, 0, 0x8000);
        }
        else
        {
            Unmap(data, _bytes);
        }
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial void* Map(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Protect(void* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(void* address, nuint length);

    [LibraryImport("kernel32")]
    private static partial void* VirtualAlloc(void* address, nuint size, uint type, uint protection);

    [LibraryImport("kernel32")]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool VirtualProtect(void* address, nuint size, uint protection, out uint old);

    [LibraryImport("kernel32")]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool VirtualFree(void* address, nuint size, uint type);
}
