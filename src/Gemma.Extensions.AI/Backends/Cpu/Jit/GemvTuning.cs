using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>Differences between processors with AVX-512 that change how GEMV is assembled. Products are the same bit for bit.</summary>
/// <param name="NoGaloisField">True if the processor lacks GFNI.</param>
/// <param name="OneProductACycle">True if one <c>vpdpbusd</c> issues per cycle and one operand from memory with it, false if two products do.</param>
internal readonly record struct GemvTuning(bool NoGaloisField, bool OneProductACycle)
{
    // "Auth", the beginning of AMD's name in EBX of leaf 0.
    private const int Amd = 0x68747541;

    /// <summary>This machine's.</summary>
    public static GemvTuning Machine { get; } = X86Base.IsSupported ? new((X86Base.CpuId(7, 0).Ecx & 1 << 8) == 0, X86Base.CpuId(0, 0).Ebx == Amd) : default;
}
