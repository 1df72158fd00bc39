using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>AMX support of processor and operating system. The system saves the eight kilobytes of tile registers only for a process that has asked for them.</summary>
/// <param name="CpuId">EAX, EBX, ECX and EDX of a leaf and subleaf.</param>
/// <param name="EnabledState">The register state that the system saves: XCR0. Null with a reason where it cannot be read.</param>
/// <param name="Request">Asks the system for tile state. Null if it is granted, otherwise the reason.</param>
internal sealed unsafe partial record AmxSupport(Func<int, int, (int Eax, int Ebx, int Ecx, int Edx)> CpuId, AmxSupport.StateReader EnabledState, Func<string?> Request)
{
    /// <summary>Bits 17 and 18 of XCR0: shapes and contents of tiles.</summary>
    private const ulong TileState = 3UL << 17;

    private const long ArchPrctl = 158, RequestPermission = 0x1023, TileData = 18;

    /// <summary>This machine.</summary>
    public static AmxSupport Machine { get; } = new((leaf, subleaf) => X86Base.IsSupported ? X86Base.CpuId(leaf, subleaf) : default, ReadEnabledState, AskSystem);

    /// <summary>Why the processor has no tiles for bfloat16, or hides them (a hypervisor); null if it has them.</summary>
    public string? Unsupported()
    {
        // Leaf 7, EDX bit 24: AMX-TILE, bit 22: AMX-BF16.
        int features = CpuId(0, 0).Eax >= 0x1D ? CpuId(7, 0).Edx : 0;
        if ((features & (1 << 24)) == 0 || (features & (1 << 22)) == 0)
        {
            return "the processor has no AMX with bfloat16";
        }

        // Leaf 1D, palette 1: bytes of a tile and of all, bytes of a row and number of tiles, rows of a tile.
        (int tile, int row, int rows, _) = CpuId(0x1D, 1);
        return tile == (1024 << 16 | 8192) && row == (8 << 16 | 64) && (rows & 0xFFFF) == 16 ? null : "the processor's tiles are not eight of 16 rows of 64 bytes";
    }

    /// <summary>Why the tiles cannot be used though the processor has them; null if they can, from now on and in all threads.</summary>
    public string? Refusal(CodeAllocator allocate)
    {
        // Leaf 1, ECX bit 27: OSXSAVE, without which XCR0 cannot be read.
        if ((CpuId(1, 0).Ecx & (1 << 27)) == 0)
        {
            return "the system does not save extended registers (XSAVE is off)";
        }

        if (EnabledState(allocate, out string? reason) is not { } enabled)
        {
            return reason;
        }

        return (enabled & TileState) == TileState ? Request() : "the system does not save AMX tiles (XCR0 bits 17 and 18)";
    }

    private static ulong? ReadEnabledState(CodeAllocator allocate, out string? reason)
    {
        // xor ecx, ecx; xgetbv; shl rdx, 32; or rax, rdx; ret
        using ExecutableMemory? code = allocate([0x31, 0xC9, 0x0F, 0x01, 0xD0, 0x48, 0xC1, 0xE2, 0x20, 0x48, 0x09, 0xD0, 0xC3], out reason);
        return code is null ? null : ((delegate* unmanaged[SuppressGCTransition]<ulong>)code.Address)();
    }

    private static string? AskSystem()
    {
        try
        {
            if (OperatingSystem.IsLinux())
            {
                if (SystemCall(ArchPrctl, RequestPermission, TileData) == 0)
                {
                    return null;
                }

                int error = Marshal.GetLastPInvokeError();
                return $"the system refused tile state ({(error == 28 ? "the signal stack of a thread is too small for it" : $"arch_prctl, error {error}")})";
            }

            if (OperatingSystem.IsWindows())
            {
                return EnableProcessOptionalXStateFeatures(TileState) ? null : $"the system refused tile state (EnableProcessOptionalXStateFeatures, error {Marshal.GetLastPInvokeError()})";
            }

            return "this system is not known to grant tile state";
        }
        catch (EntryPointNotFoundException)
        {
            return "this version of the system does not grant tile state";
        }
    }

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial long SystemCall(long number, long first, long second);

    [LibraryImport("kernel32", SetLastError = true)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool EnableProcessOptionalXStateFeatures(ulong features);

    internal delegate ulong? StateReader(CodeAllocator allocate, out string? reason);
}
