using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>
/// The kernels of <see cref="JitMatMulKernels"/>, interpreted: every product of <see cref="TiledMatMul"/> runs the very machine code, on any
/// processor and with memory watched. For one worker.
/// </summary>
/// <param name="bfloat16">As for <see cref="JitMatMulKernels.Create"/>.</param>
/// <param name="windows">Whether the code follows the calling convention of Windows.</param>
/// <param name="change">Changes machine code.</param>
/// <param name="matrix">As for <see cref="JitMatMulKernels.Create"/>.</param>
internal sealed unsafe class InterpretedKernels(bool bfloat16, bool windows = false, Func<byte[], byte[]>? change = null, MatrixKernels? matrix = null) : FloatMatMulKernels<PortableIsa>(bfloat16)
{
    private readonly Dictionary<(string, int, int, bool), MachineInterpreter?> _code = [];

    public override MatrixKernels? Matrix => matrix;

    /// <summary>Receives what kernels of few rows prefetch, as the interpreter says.</summary>
    public HashSet<ulong>? Prefetched { get; set; }

    public override ActivationLayout GemmLayout(TileFormat format) => format.Layout == TileLayout.Int8x4 ? ActivationLayout.Int8x4 : base.GemmLayout(format);

    public override int MaxPanel(ActivationLayout layout) => layout == ActivationLayout.Int8x4 ? 6 : 12;

    public override void Gemm(ActivationLayout layout, TileArgs* args, int panel, TileFormat format)
    {
        if (layout != ActivationLayout.Int8x4)
        {
            bool bfloat16 = layout == ActivationLayout.BFloat16x2;
            RunTile(Code(layout.ToString(), panel, 0, false, () => GemmAssembler.FloatKernel(panel, bfloat16, windows)), args, panel, 4 * args->Steps);
            return;
        }

        long groups = 32 / format.Group * args->Steps;
        RunTile(
            Code("bytes", panel, format.Group, format.HasMinimum, () => GemmAssembler.ByteKernel(panel, format.Group, format.HasMinimum, windows)),
            args,
            panel,
            32 * args->Steps,
            new(args->Scales, groups * format.ScaleStride * sizeof(float)),
            new(args->ActivationScales, 4 * args->Steps * panel),
            new(args->ZeroPointTerms, 4 * groups * panel));
    }

    public override bool CanGemv(TileFormat format, int rows, bool interleaved = false) => rows <= GemvArgs.MaxActivationRows && RowCode(format, rows, interleaved) is not null;

    public override void Gemv(TileFormat format, GemvArgs* args)
    {
        ActivationLayout layout = GemmLayout(format).ForGemv();
        bool interleaved = args->WeightStride == InterleavedRows.Stride;
        long columns = args->Columns, rows = args->Count, groups = layout.IsInt8() ? columns / format.Group : 0, rowBytes = BlockFormat.Get(format.Type).ByteLength(columns);
        args->Blocks = columns / format.GemvColumns;
        GemvTables tables = GemvTables.Of(format.Type);
        args->Tables = tables.Address;
        args->Stream = GemvAssembler.StreamBytes(format.Type, rowBytes);
        MachineInterpreter code = RowCode(format, args->Count, interleaved)!;
        code.Prefetched = Prefetched;
        code.Run(
            args,
            new(args, sizeof(GemvArgs)),
            new(args->Weights, interleaved ? GemvArgs.WeightRows * rowBytes : (GemvArgs.WeightRows - 1) * args->WeightStride + rowBytes),
            new(args->Activations, columns * rows * layout.BytesPerColumn()),
            new(args->ActivationScales, layout.IsInt8() ? 4 * columns / 32 * rows : 0),
            new(args->ZeroPointTerms, 4 * groups * rows),
            new(tables.Address, tables.Length),
            new(args->Scratch, GemvArgs.ScratchBytes, writable: true),
            new(args->Output, 4 * GemvArgs.WeightRows * rows, writable: true));
    }

    private MachineInterpreter? RowCode(TileFormat format, int rows, bool interleaved) =>
        Code(interleaved ? "interleaved rows" : "rows", rows, (int)format.Type, false, () => GemvAssembler.Assemble(format, rows, windows, interleaved: interleaved));

    /// <param name="rowBytes">Bytes that a row takes in the weights, and in the activations.</param>
    private static void RunTile(MachineInterpreter? code, TileArgs* args, int panel, long rowBytes, MachineInterpreter.Span scales = default, MachineInterpreter.Span activationScales = default, MachineInterpreter.Span terms = default) =>
        code!.Run(
            args,
            new(args, sizeof(TileArgs)),
            new(args->Weights, rowBytes * TileFormat.Rows),
            new(args->Activations, rowBytes * panel),
            new(args->Output, (panel - 1) * args->OutputStride + TileFormat.Rows * sizeof(float), writable: true),
            scales,
            activationScales,
            terms);

    private MachineInterpreter? Code(string kind, int rows, int variant, bool minimum, Func<byte[]?> assemble)
    {
        if (!_code.TryGetValue((kind, rows, variant, minimum), out MachineInterpreter? found))
        {
            byte[]? code = assemble();
            _code[(kind, rows, variant, minimum)] = found = code is null ? null : new MachineInterpreter(change is null ? code : change(code), windows);
        }

        return found;
    }
}
