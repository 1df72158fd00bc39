using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Jit;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>
/// Instructions of the processor, and those that this program was compiled for. Where code is compiled at run time, .NET's <c>IsSupported</c> is both. A program that was compiled ahead of time has the
/// instructions of its baseline, and those that .NET chooses to check for, whatever the processor has: there the processor is asked.
/// </summary>
/// <param name="CompiledAhead">True if the program was compiled ahead of time.</param>
/// <param name="CpuId">EAX, EBX, ECX and EDX of a leaf and subleaf.</param>
/// <param name="EnabledState">Reads the register state that the system saves: XCR0.</param>
/// <param name="HasDotProduct">True if the processor has Arm's dot product (FEAT_DotProd).</param>
internal sealed partial record ProcessorSupport(bool CompiledAhead, Func<int, int, (int Eax, int Ebx, int Ecx, int Edx)> CpuId, AmxSupport.StateReader EnabledState, bool HasDotProduct)
{
    /// <summary>Bits of XCR0: registers of 256 bits; with masks and the rest of the registers of 512 bits.</summary>
    private const ulong AvxState = 0b110, Avx512State = 0b1110_0110;

    /// <summary>Leaf 7, EBX: AVX-512 F (16), DQ (17), CD (28), BW (30), VL (31).</summary>
    private const int Avx512Features = (1 << 16) | (1 << 17) | (1 << 28) | (1 << 30) | (1 << 31);

    private readonly Lazy<ulong> _state = new(() => (CpuId(1, 0).Ecx & (1 << 27)) != 0 && EnabledState(ExecutableMemory.TryCreate, out _) is { } state ? state : 0);

    /// <summary>This machine and this program.</summary>
    public static ProcessorSupport Machine { get; } = new(!RuntimeFeature.IsDynamicCodeSupported, AmxSupport.Machine.CpuId, AmxSupport.Machine.EnabledState, ReadDotProduct());

    /// <summary>AVX2 and FMA: leaf 7, EBX bit 5; leaf 1, ECX bit 12.</summary>
    public bool HasAvx2 => (Leaf7(0).Ebx & (1 << 5)) != 0 && (CpuId(1, 0).Ecx & (1 << 12)) != 0 && (_state.Value & AvxState) == AvxState;

    /// <summary>AVX-VNNI: leaf 7, subleaf 1, EAX bit 4.</summary>
    public bool HasAvxVnni => HasAvx2 && (Leaf7(1).Eax & (1 << 4)) != 0;

    /// <summary>The parts of AVX-512 that processors since Skylake-SP have.</summary>
    public bool HasAvx512 => (Leaf7(0).Ebx & Avx512Features) == Avx512Features && (_state.Value & Avx512State) == Avx512State;

    /// <summary>AVX512_VNNI: leaf 7, ECX bit 11. Its kernels are assembled at run time, and need <see cref="HasAvx512"/>, too.</summary>
    public bool HasVnni => (Leaf7(0).Ecx & (1 << 11)) != 0;

    /// <summary>Why code in C# cannot use instructions of a set; null if it can.</summary>
    /// <param name="compiled">What .NET says of the set.</param>
    /// <param name="has">What the processor says; asked only where the program was compiled ahead of time.</param>
    /// <param name="set">The set.</param>
    /// <param name="setting">The least <c>IlcInstructionSet</c> that compiles it in.</param>
    public string? Lacks(bool compiled, Func<ProcessorSupport, bool> has, string set, string setting) =>
        compiled ? null : CompiledAhead && has(this) ? Without(set, setting) : $"the processor has no {set}";

    /// <summary>Why AVX-512 that is assembled at run time cannot run, which does not depend on what this program was compiled for; null if it can.</summary>
    /// <param name="compiled">What .NET says of AVX-512; where it compiles at run time, it has the last word.</param>
    public string? LacksAvx512(bool compiled) => compiled || (CompiledAhead && HasAvx512) ? null : "the processor has no AVX-512 BW";

    /// <summary>Names instructions of the processor that the compiled code does not use though they would make it faster, with the cure; null if there are none.</summary>
    /// <remarks>AVX-512 in C# matters only where the processor lacks AVX512-VNNI: kernels for that are assembled, and with AVX2 around them they run as fast as compiled at run time.</remarks>
    /// <param name="avx2">True if .NET uses AVX2 and FMA for all vectors, not only where they are asked for by name (as it does for IlcInstructionSet avx).</param>
    /// <param name="avx512">What .NET says of AVX-512.</param>
    /// <param name="dotProduct">What .NET says of Arm's dot product.</param>
    public string? Reduced(bool avx2, bool avx512, bool dotProduct) =>
        !CompiledAhead ? null
            : HasAvx512 && !HasVnni && !avx512 ? Without(avx2 ? "AVX-512" : "AVX2 and AVX-512", "x86-64-v4")
            : HasAvx2 && !avx2 ? Without("AVX2 and FMA", "x86-64-v3")
            : HasDotProduct && !dotProduct ? Without("Arm NEON with dot product", "dotprod")
            : null;

    /// <summary>The same for this program on this machine.</summary>
    public static string? ReducedHere() => Machine.Reduced(Avx2.IsSupported && Fma.IsSupported && Vector256.IsHardwareAccelerated, Avx512BW.IsSupported, Dp.IsSupported);

    /// <param name="auxiliary">The vector that Linux gives a program at its start: pairs of numbers of 64 bits.</param>
    /// <returns>True if bit 20 (ASIMDDP) of entry 16 (AT_HWCAP) is set.</returns>
    internal static bool ContainsDotProduct(ReadOnlySpan<byte> auxiliary)
    {
        for (; auxiliary.Length >= 16; auxiliary = auxiliary[16..])
        {
            if (BinaryPrimitives.ReadUInt64LittleEndian(auxiliary) == 16)
            {
                return (BinaryPrimitives.ReadUInt64LittleEndian(auxiliary[8..]) & (1 << 20)) != 0;
            }
        }

        return false;
    }

    private static bool ReadDotProduct()
    {
        if (RuntimeInformation.ProcessArchitecture != Architecture.Arm64)
        {
            return false;
        }

        if (OperatingSystem.IsWindows())
        {
            return IsProcessorFeaturePresent(43); // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
        }

        try
        {
            return OperatingSystem.IsMacOS() || (OperatingSystem.IsLinux() && ContainsDotProduct(File.ReadAllBytes("/proc/self/auxv"))); // every Mac with an Arm processor has it
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static string Without(string set, string setting) => $"this program was compiled ahead of time without {set}, which the processor has; {Cure(setting)}";

    private static string Cure(string setting) => $"<IlcInstructionSet>{setting}</IlcInstructionSet> in its project compiles it in (see the guide on ahead-of-time compilation)";

    private (int Eax, int Ebx, int Ecx, int Edx) Leaf7(int subleaf) => CpuId(0, 0).Eax >= 7 && (subleaf == 0 || CpuId(7, 0).Eax >= subleaf) ? CpuId(7, subleaf) : default;

    [LibraryImport("kernel32")]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool IsProcessorFeaturePresent(uint feature);
}
