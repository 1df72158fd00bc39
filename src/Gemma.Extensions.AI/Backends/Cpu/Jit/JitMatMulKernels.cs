using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>
/// Int8 tiles by <c>vpdpbusd</c> on 512-bit registers, which .NET does not expose: four products and their sum per lane in one instruction instead of
/// the AVX-512 tier's three. The kernels are assembled when the tier is created. Six activation rows by 32 weight rows fill the
/// registers: 12 float sums, 12 integer sums, the weights, their scales and minima, and two temporaries. Conversion and
/// scaling of a finished group run beside the products of the next one. With <c>vdpbf16ps</c>, bfloat16 weights are multiplied
/// in pairs by the float32 loop with half as many steps.
/// </summary>
/// <typeparam name="TIsa">
/// What the parts in C# use: packing, unpacking, attention. Less than AVX-512 where the program was compiled ahead of time for less; where that is less than AVX2 with FMA, attention is assembled, too.
/// </typeparam>
internal sealed unsafe class JitMatMulKernels<TIsa> : FloatMatMulKernels<TIsa>
    where TIsa : struct, IVectorIsa
{
    private const int MaxRows = 6;
    private const int MaxFloat32Rows = 12;
    private const int FirstFloat = 4 * (MaxRows + 1);
    private const int FirstBFloat16 = FirstFloat + MaxFloat32Rows;
    private const int MaxStridedRows = 4;

    private readonly ExecutableMemory _code;
    private readonly delegate* unmanaged[SuppressGCTransition]<TileArgs*, void>[] _kernels;

    private readonly CodeAllocator _allocate;
    private readonly List<ExecutableMemory> _assembled = [];
    private readonly bool[] _tried = new bool[GemvKernelCount];
    private readonly delegate* unmanaged[SuppressGCTransition]<GemvArgs*, void>[] _gemvs = new delegate* unmanaged[SuppressGCTransition]<GemvArgs*, void>[GemvKernelCount];

    private JitMatMulKernels(ExecutableMemory code, int[] offsets, CodeAllocator allocate, bool bfloat16, string? fallbackReason, MatrixKernels? matrix)
        : base(bfloat16, fallbackReason)
    {
        Matrix = matrix;
        Loops = AssembledLoops.TryCreate(allocate);
        _code = code;
        _allocate = allocate;
        _kernels = new delegate* unmanaged[SuppressGCTransition]<TileArgs*, void>[offsets.Length];
        for (int i = 0; i < offsets.Length; i++)
        {
            _kernels[i] = (delegate* unmanaged[SuppressGCTransition]<TileArgs*, void>)(code.Address + offsets[i]);
        }

        foreach (TensorType type in (ReadOnlySpan<TensorType>)[TensorType.F32, TensorType.F16, TensorType.BF16])
        {
            AssembleUnpack(Formats.Get(type)); // keys, too
        }
    }

    public override MatrixKernels? Matrix { get; }

    public override VectorLoops? Loops { get; }

    public override bool UsesKvAsStored => !IsPortable;

    private static bool IsPortable => typeof(TIsa) == typeof(PortableIsa);

    private static int GemvKernelCount => (GemvArgs.MaxActivationRows + 1) * 2 * (BlockFormat.All.Max(format => (int)format.Type) + 1);

    public override ActivationLayout GemmLayout(TileFormat format) => format.Layout == TileLayout.Int8x4 ? ActivationLayout.Int8x4 : base.GemmLayout(format);

    public override int MaxPanel(ActivationLayout layout) => layout == ActivationLayout.Int8x4 ? MaxRows : MaxFloat32Rows;

    /// <summary>Assembles the unpacker of a type on first use.</summary>
    public override TileFormat? WeightFormat(TensorType type)
    {
        TileFormat? format = base.WeightFormat(type);
        AssembleUnpack(format);
        return format;
    }

    /// <summary>Assembles the kernel on first use: a model has two or three types, and most runs see few row counts.</summary>
    public override bool CanGemv(TileFormat format, int rows, bool interleaved = false)
    {
        if (LacksLookUps(format))
        {
            return rows == 1 && format.Gemv is not null && !IsPortable;
        }

        int index = IndexOf(format.Type, rows, interleaved);
        if (rows > GemvArgs.MaxActivationRows || _gemvs[index] is not null)
        {
            return rows <= GemvArgs.MaxActivationRows;
        }

        if (!_tried[index])
        {
            _tried[index] = true;
            if (Assembled(GemvAssembler.Assemble(format, rows, OperatingSystem.IsWindows(), GemvTuning.Machine, interleaved)) is { } address)
            {
                _gemvs[index] = (delegate* unmanaged[SuppressGCTransition]<GemvArgs*, void>)address;
            }
        }

        return _gemvs[index] is not null;
    }

    public override void Gemv(TileFormat format, GemvArgs* args)
    {
        if (LacksLookUps(format))
        {
            format.Gemv(args->Weights, args->WeightStride, args->Columns, args);
            return;
        }

        args->Blocks = args->Columns / format.GemvColumns;
        args->Stream = GemvAssembler.StreamBytes(format.Type, args->RowBytes);
        args->Tables = GemvTables.Of(format.Type).Address;
        _gemvs[IndexOf(format.Type, args->Count, args->WeightStride == InterleavedRows.Stride)](args);
    }

    public override bool CanInterleave(TileFormat format)
    {
        if (format.InterleavedUnpack is null && Assembled(UnpackAssembler.Assemble(format, OperatingSystem.IsWindows(), interleaved: true)) is { } address)
        {
            format.InterleavedUnpack = (delegate* unmanaged[SuppressGCTransition]<byte*, long, int, byte*, float*, void>)address;
        }

        return format.InterleavedUnpack is not null;
    }

    private static int IndexOf(TensorType type, int rows, bool interleaved) => (GemvArgs.MaxActivationRows + 1) * (2 * (int)type + (interleaved ? 1 : 0)) + rows;

    private void AssembleUnpack(TileFormat? format)
    {
        if (format is not null && format.AssembledUnpack is null && Assembled(UnpackAssembler.Assemble(format, OperatingSystem.IsWindows())) is { } address)
        {
            format.AssembledUnpack = (delegate* unmanaged[SuppressGCTransition]<byte*, long, int, byte*, float*, void>)address;
        }
    }

    /// <summary>Address of code that was made executable; null without code, or where it cannot be.</summary>
    private nint? Assembled(byte[]? code)
    {
        if (code is null || _allocate(code, out _) is not { } memory)
        {
            return null;
        }

        _assembled.Add(memory);
        return (nint)memory.Address;
    }

    private static bool LacksLookUps(TileFormat format) => !JitMatMulKernels.HasTableLookups && GemvTables.Of(format.Type).Length > 0;

    /// <summary>Assembles the kernels; null with a reason where machine code cannot be made executable.</summary>
    public static JitMatMulKernels<TIsa>? TryCreate(CodeAllocator allocate, bool bfloat16, string? fallbackReason, MatrixKernels? matrix, out string? reason)
    {
        int strided = bfloat16 ? FirstBFloat16 + MaxFloat32Rows : FirstBFloat16;
        bool windows = OperatingSystem.IsWindows();
        byte[][] kernels = new byte[IsPortable ? strided + MaxStridedRows : strided][];
        for (int i = 0; i < kernels.Length; i++)
        {
            kernels[i] = i >= strided ? GemmAssembler.StridedKernel(i - strided + 1, windows)
                : i >= FirstFloat ? GemmAssembler.FloatKernel((i - FirstFloat) % MaxFloat32Rows + 1, i >= FirstBFloat16, windows)
                : i >= 4 ? GemmAssembler.ByteKernel(i / 4, (i & 1) == 0 ? 32 : 16, (i & 2) != 0, windows) : []; // of no rows
        }

        return allocate(GemmAssembler.Join(kernels, out int[] offsets), out reason) is { } code ? new JitMatMulKernels<TIsa>(code, offsets, allocate, bfloat16, fallbackReason, matrix) : null;
    }

    public override void Gemm(ActivationLayout layout, TileArgs* args, int panel, TileFormat format)
    {
        int index = layout switch
        {
            ActivationLayout.Int8x4 => 4 * panel + (format.HasMinimum ? 2 : 0) + (format.Group == 16 ? 1 : 0),
            ActivationLayout.BFloat16x2 => FirstBFloat16 + panel - 1,
            _ => FirstFloat + panel - 1,
        };
        _kernels[index](args);
    }

    public override void GemmFloat32(TileArgs* args, int rows)
    {
        if (!IsPortable)
        {
            base.GemmFloat32(args, rows);
            return;
        }

        TileArgs part = *args;
        for (int row = 0; row < rows; row += MaxStridedRows)
        {
            int panel = Math.Min(MaxStridedRows, rows - row);
            part.Activations = args->Activations + sizeof(float) * row * args->ActivationStride;
            part.Output = args->Output + row * args->OutputStride / sizeof(float);
            _kernels[^(MaxStridedRows - panel + 1)](&part);
        }
    }

    public override void Dispose()
    {
        Matrix?.Dispose();
        Loops?.Dispose();
        _code.Dispose();
        foreach (ExecutableMemory code in _assembled)
        {
            code.Dispose();
        }
    }
}

/// <summary>Tells which kernels can be assembled for this processor.</summary>
internal static class JitMatMulKernels
{
    /// <summary>Kernels that look weights up need VBMI, GFNI and BITALG (CPUID leaf 7, ECX bits 1, 8 and 12): Ice Lake and Zen 4 have them, Cascade Lake runs the C# kernels.</summary>
    public static bool HasTableLookups { get; } = (Avx512Vbmi.IsSupported || ProcessorSupport.Machine.CompiledAhead) && (X86Base.CpuId(7, 0).Ecx & 0x1102) == 0x1102;

    /// <summary>Why the tier cannot run here; null if it can.</summary>
    public static string? Unsupported()
    {
        if (!X86Base.X64.IsSupported || ProcessorSupport.Machine.LacksAvx512(Avx512BW.IsSupported) is not null)
        {
            return "the processor has no AVX-512 BW";
        }

        return ProcessorSupport.Machine.HasVnni ? null : "the processor has no AVX512-VNNI";
    }

    /// <summary>Why the bfloat16 kernels (or the tier at all) cannot run here; null if they can.</summary>
    public static string? UnsupportedBFloat16()
    {
        if (Unsupported() is { } reason)
        {
            return reason;
        }

        // CPUID leaf 7, subleaf 1, EAX bit 5: AVX512_BF16. EAX of subleaf 0 is the last subleaf.
        return X86Base.CpuId(7, 0).Eax >= 1 && (X86Base.CpuId(7, 1).Eax & (1 << 5)) != 0 ? null : "the processor has no AVX512-BF16";
    }

    /// <summary>The kernels, with whatever instructions the rest of this program was compiled for.</summary>
    /// <inheritdoc cref="Create{TIsa}"/>
    public static MatMulKernels Create(CodeAllocator allocate, bool bfloat16 = false, string? fallbackReason = null, MatrixKernels? matrix = null) =>
        Avx512BW.IsSupported ? Create<Avx512Isa>(allocate, bfloat16, fallbackReason, matrix)
        : Avx2.IsSupported && Fma.IsSupported ? Create<Avx2Isa>(allocate, bfloat16, fallbackReason, matrix)
        : Create<PortableIsa>(allocate, bfloat16, fallbackReason, matrix);

    /// <summary>
    /// The kernels, or those in C# with a fallback reason if machine code cannot be made executable. The bfloat16 kernels have run on one kind of
    /// processor only (Zen 4), so they must pass a self test; if they fail, bfloat16 is multiplied as float32.
    /// </summary>
    /// <param name="allocate">Makes code executable.</param>
    /// <param name="bfloat16">True to multiply bfloat16 weights in pairs.</param>
    /// <param name="fallbackReason">Why these kernels are not those that were asked for.</param>
    /// <param name="matrix">Kernels for the rows of prompts, which become this object's; let go where it falls back on others.</param>
    public static MatMulKernels Create<TIsa>(CodeAllocator allocate, bool bfloat16 = false, string? fallbackReason = null, MatrixKernels? matrix = null)
        where TIsa : struct, IVectorIsa
    {
        JitMatMulKernels<TIsa>? kernels = JitMatMulKernels<TIsa>.TryCreate(allocate, bfloat16, fallbackReason, matrix, out string? reason);
        if (kernels is null)
        {
            matrix?.Dispose();
            return typeof(TIsa) == typeof(Avx512Isa) ? new Int8MatMulKernels<Avx512Isa>($"avx512 kernels: {reason}")
                : typeof(TIsa) == typeof(Avx2Isa) ? new Int8MatMulKernels<Avx2Isa>($"avx2 kernels: {reason}")
                : new FloatMatMulKernels<PortableIsa>(fallbackReason: $"portable kernels: {reason}");
        }

        if (!bfloat16 || BFloat16SelfTest.Passes(kernels))
        {
            return kernels;
        }

        kernels.Dispose();
        return Create<TIsa>(allocate, bfloat16: false, "avx512-vnni kernels: dot products of bfloat16 came out wrong on this processor; please report it");
    }
}
