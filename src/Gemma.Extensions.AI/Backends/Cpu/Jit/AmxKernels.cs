using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>Products of prompt rows by AMX, and the tier that has them.</summary>
internal sealed unsafe class AmxKernels : MatrixKernels
{
    private readonly ExecutableMemory _code;
    private readonly delegate* unmanaged[SuppressGCTransition]<MatrixArgs*, void> _one, _two;
    private readonly byte* _configurations; // by rows

    private AmxKernels(ExecutableMemory code, int second)
    {
        _code = code;
        _one = (delegate* unmanaged[SuppressGCTransition]<MatrixArgs*, void>)code.Address;
        _two = (delegate* unmanaged[SuppressGCTransition]<MatrixArgs*, void>)(code.Address + second);
        _configurations = (byte*)NativeMemory.AlignedAlloc(64 * (MaxRows + 1), 64);
        for (int rows = 1; rows <= MaxRows; rows++)
        {
            AmxAssembler.Configure(new Span<byte>(_configurations + 64 * rows, 64), rows);
        }
    }

    /// <summary>Why the tier cannot run here: the processor lacks an instruction. Null if it can, as far as the system lets it.</summary>
    public static string? Unsupported() => JitMatMulKernels.UnsupportedBFloat16() ?? AmxSupport.Machine.Unsupported();

    /// <summary>The kernels of the tier; without AMX, and with a fallback reason, where the system refuses it or its products are wrong.</summary>
    /// <param name="support">What processor and system say.</param>
    /// <param name="allocate">Makes code executable.</param>
    public static MatMulKernels CreateTier(AmxSupport support, CodeAllocator allocate)
    {
        AmxKernels? matrix = TryCreate(support, allocate, out string? reason);
        return JitMatMulKernels.Create(allocate, bfloat16: true, matrix is null ? $"avx512-bf16 kernels: {reason}" : null, matrix);
    }

    /// <summary>The kernels alone; null with a reason where the system refuses them or their products are wrong.</summary>
    public static AmxKernels? TryCreate(AmxSupport support, CodeAllocator allocate, out string? reason)
    {
        reason = support.Refusal(allocate);
        if (reason is not null)
        {
            return null;
        }

        bool windows = OperatingSystem.IsWindows();
        if (allocate(GemmAssembler.Join([AmxAssembler.Product(two: false, windows), AmxAssembler.Product(two: true, windows)], out int[] offsets), out reason) is not { } code)
        {
            return null;
        }

        AmxKernels kernels = new(code, offsets[1]);
        if (MatrixSelfTest.Passes(kernels))
        {
            return kernels;
        }

        kernels.Dispose();
        reason = "products by AMX came out wrong on this processor; please report it";
        return null;
    }

    public override void Multiply(MatrixArgs* args, int rows)
    {
        args->Configuration = _configurations + 64 * rows;
        (rows > RegisterRows ? _two : _one)(args);
    }

    public override void Dispose()
    {
        _code.Dispose();
        NativeMemory.AlignedFree(_configurations);
    }
}
