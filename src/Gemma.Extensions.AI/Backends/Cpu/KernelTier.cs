using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.Vector;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>A set of kernels for one level of processor support.</summary>
/// <param name="Name">The name that forces the tier.</param>
/// <param name="Rationale">Why the tier is at this place in the list.</param>
/// <param name="Unsupported">Null if this machine can run the tier, otherwise the reason why not.</param>
/// <param name="Create">Makes the kernels over a pool of workers.</param>
internal sealed record KernelTier(string Name, string Rationale, Func<string?> Unsupported, Func<WorkerPool, CpuKernels> Create)
{
    /// <summary>All tiers, slowest first. The last one that the machine supports is the default.</summary>
    /// <remarks>
    /// neon-dot passes the kernel tests under emulation (qemu-user, Neoverse N1) but has not run on a real processor. avx-vnni has never run: no machine of
    /// this project has it, and QEMU does not emulate it. avx512-bf16 passes its tests on Zen 4; its machine code is also tested in an interpreter,
    /// on any processor. amx-bf16 has not run on a processor: its machine code is tested in an interpreter, and its arithmetic in software.
    /// The tiers that are assembled at run time need nothing of what a program was compiled for: ahead of time, too, the processor alone decides on them.
    /// </remarks>
    public static IReadOnlyList<KernelTier> All { get; } =
    [
        new("reference", "the oracle: weights decoded by the scalar decoders, float32 throughout", () => null, workers => new ReferenceKernels(workers)),
        new("portable", "vectors of whatever width .NET finds (SSE, NEON, AVX); weights become float32 tiles", () => null, workers => new VectorKernels(workers, new FloatMatMulKernels<PortableIsa>())),
        new("avx2", "bytes multiplied in pairs and added in 16 bits, 32 at a time", () => ProcessorSupport.Machine.Lacks(Avx2.IsSupported && Fma.IsSupported, static processor => processor.HasAvx2, "AVX2 with FMA", "x86-64-v3"), workers => new VectorKernels(workers, new Int8MatMulKernels<Avx2Isa>())),
        new("avx-vnni", "four byte products and their sum in one instruction on 256-bit registers", () => ProcessorSupport.Machine.Lacks(AvxVnni.IsSupported && Avx2.IsSupported && Fma.IsSupported, static processor => processor.HasAvxVnni, "AVX-VNNI", "x86-64-v3"), workers => new VectorKernels(workers, new Int8MatMulKernels<AvxVnniIsa>())),
        new("neon-dot", "four byte products and their sum in one instruction on 128-bit registers", () => ProcessorSupport.Machine.Lacks(Dp.IsSupported && AdvSimd.Arm64.IsSupported, static processor => processor.HasDotProduct, "Arm NEON with dot product", "dotprod"), NeonDot),
        new("avx512", "as avx2, 64 at a time", () => ProcessorSupport.Machine.Lacks(Avx512BW.IsSupported, static processor => processor.HasAvx512, "AVX-512 BW", "x86-64-v4"), workers => new VectorKernels(workers, new Int8MatMulKernels<Avx512Isa>())),
        new("avx512-vnni", "four byte products and their sum in one instruction, by kernels assembled at run time", JitMatMulKernels.Unsupported, workers => new VectorKernels(workers, JitMatMulKernels.Create(ExecutableMemory.TryCreate))),
        new(
            "avx512-bf16",
            "as avx512-vnni; weights of bfloat16 by two products and their sum in one instruction, with activations rounded to bfloat16",
            JitMatMulKernels.UnsupportedBFloat16,
            workers => new VectorKernels(workers, JitMatMulKernels.Create(ExecutableMemory.TryCreate, bfloat16: true))),
        new(
            "amx-bf16",
            "as avx512-bf16 for what is generated; prompts by matrix registers, which multiply six times as fast: weights of any format and activations are rounded to bfloat16",
            AmxKernels.Unsupported,
            workers => new VectorKernels(workers, AmxKernels.CreateTier(AmxSupport.Machine, ExecutableMemory.TryCreate))),
    ];

    /// <summary>The tier of this name, or the fastest that runs here.</summary>
    /// <exception cref="ArgumentException">The name is unknown, or the tier cannot run here.</exception>
    public static KernelTier Select(string? name)
    {
        if (string.IsNullOrWhiteSpace(name))
        {
            return All.Last(tier => tier.Unsupported() is null);
        }

        KernelTier? found = All.FirstOrDefault(tier => tier.Name.Equals(name.Trim(), StringComparison.OrdinalIgnoreCase));
        if (found is null)
        {
            throw new ArgumentException(
                $"There is no kernel tier '{name}'. Known tiers: {string.Join(", ", All.Select(tier => tier.Name))}. Remove {CpuBackendOptions.KernelVariable} to use the fastest one.");
        }

        return found.Unsupported() is { } reason
            ? throw new ArgumentException(
                $"The kernel tier '{found.Name}' cannot run here: {reason}. This machine runs: {string.Join(", ", All.Where(tier => tier.Unsupported() is null).Select(tier => tier.Name))}.")
            : found;
    }

    // The question is a constant to a compiler for another processor: a program that is compiled ahead of time for one has none of these kernels.
    private static VectorKernels NeonDot(WorkerPool workers) =>
        Dp.IsSupported ? new VectorKernels(workers, new Int8MatMulKernels<NeonDotIsa>()) : throw new PlatformNotSupportedException("There are no dot products of Arm NEON here.");
}
