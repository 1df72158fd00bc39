using System.Runtime.CompilerServices;
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
internal sealed record ProcessorSupport(bool CompiledAhead, Func<int, int, (int Eax, int Ebx, int Ecx, int Edx)> CpuId, AmxSupport.StateReader EnabledState)
{
    /// <summary>Bits of XCR0: registers of 256 bits; with masks and the rest of the registers of 512 bits.</summary>
    private const ulong AvxState = 0b110, Avx512State = 0b1110_0110;

    /// <summary>Leaf 7, EBX: AVX-512 F (16), DQ (17), CD (28), BW (30), VL (31).</summary>
    private const int Avx512Features = (1 << 16) | (1 << 17) | (1 << 28) | (1 << 30) | (1 << 31);

    private readonly Lazy<ulong> _state = new(() => (CpuId(1, 0).Ecx & (1 << 27)) != 0 && EnabledState(ExecutableMemory.TryCreate, out _) is { } state ? state : 0);

    /// <summary>This machine and this program.</summary>
    public static ProcessorSupport Machine { get; } = new(!RuntimeFeature.IsDynamicCodeSupported, AmxSupport.Machine.CpuId, AmxSupport.Machine.EnabledState);

    /// <summary>AVX2 and FMA: leaf 7, EBX bit 5; leaf 1, ECX bit 12.</summary>
    public bool HasAvx2 => (Leaf7(0).Ebx & (1 << 5)) != 0 && (CpuId(1, 0).Ecx & (1 << 12)) != 0 && (_state.Value & AvxState) == AvxState;

    /// <summary>AVX-VNNI: leaf 7, subleaf 1, EAX bit 4.</summary>
    public bool HasAvxVnni => HasAvx2 && (Leaf7(1).Eax & (1 << 4)) != 0;

    /// <summary>The parts of AVX-512 that processors since Skylake-SP have.</summary>
    public bool HasAvx512 => (Leaf7(0).Ebx & Avx512Features) == Avx512Features && (_state.Value & Avx512State) == Avx512State;

    /// <summary>Why code in C# cannot use instructions of a set; null if it can.</summary>
    /// <param name="compiled">What .NET says of the set.</param>
    /// <param name="has">What the processor says.</param>
    /// <param name="set">The set.</param>
    /// <param name="setting">The least <c>IlcInstructionSet</c> that compiles it in.</param>
    public string? Lacks(bool compiled, bool has, string set, string setting) =>
        compiled ? null : CompiledAhead && has ? $"this program was compiled ahead of time without {set}, which the processor has; {Cure(setting)}" : $"the processor has no {set}";

    /// <summary>Why AVX-512 that is assembled at run time cannot run, which does not depend on what this program was compiled for; null if it can.</summary>
    /// <param name="compiled">What .NET says of AVX-512; where it compiles at run time, it has the last word.</param>
    public string? LacksAvx512(bool compiled) => compiled || (CompiledAhead && HasAvx512) ? null : "the processor has no AVX-512 BW";

    /// <summary>Names instructions of the processor that the compiled code does not use, with the cure; null if there are none.</summary>
    /// <param name="avx2">What .NET says of AVX2.</param>
    /// <param name="avx512">What .NET says of AVX-512.</param>
    public string? Reduced(bool avx2, bool avx512) =>
        !CompiledAhead ? null
            : HasAvx2 && !avx2 ? $"this program was compiled ahead of time without AVX2{(HasAvx512 ? " and AVX-512" : "")}, which the processor has; {Cure(HasAvx512 ? "native" : "avx")}"
            : HasAvx512 && !avx512 ? $"this program was compiled ahead of time without AVX-512, which the processor has; {Cure("native")}"
            : null;

    /// <summary>The same for this program on this machine.</summary>
    public static string? ReducedHere() => Machine.Reduced(Avx2.IsSupported && Fma.IsSupported, Avx512BW.IsSupported);

    private static string Cure(string setting) => $"<IlcInstructionSet>{setting}</IlcInstructionSet> in its project compiles it in (see the guide on ahead-of-time compilation)";

    private (int Eax, int Ebx, int Ecx, int Edx) Leaf7(int subleaf) => CpuId(0, 0).Eax >= 7 && (subleaf == 0 || CpuId(7, 0).Eax >= subleaf) ? CpuId(7, subleaf) : default;
}
