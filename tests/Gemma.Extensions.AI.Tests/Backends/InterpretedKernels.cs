using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>
/// The kernels of <see cref="AssembledTileKernels"/>, interpreted: every product of <see cref="TileMatMul"/> runs the very machine code, on any
/// processor and with memory watched. For one worker.
/// </summary>
/// <param name="pairs">As for <see cref="AssembledTileKernels.Create"/>.</param>
/// <param name="windows">Whether the code follows the calling convention of Windows.</param>
/// <param name="change">Changes machine code.</param>
internal sealed unsafe class InterpretedKernels(bool pairs, bool windows = false, Func<byte[], byte[]>? change = null) : FloatTileKernels<PortableIsa>(pairs)
{
    private readonly Dictionary<(string, int, int, bool), MachineInterpreter?> _code = [];

    public override bool FloatOnly => false;

    public override int BytePanel => 6;

    public override int FloatPanel => 12;

    public override void Bytes(TileArgs* args, int panel, TileFormat format)
    {
        long groups = 32 / format.Group * args->Steps;
        RunTile(
            Code("bytes", panel, format.Group, format.HasMinimum, () => AssembledTileKernels.ByteKernel(panel, format.Group, format.HasMinimum, windows)),
            args,
            panel,
            32 * args->Steps,
            new(args->Scales, groups * format.ScaleStride * sizeof(float)),
            new(args->ActivationScales, 4 * args->Steps * panel),
            new(args->Terms, 4 * groups * panel));
    }

    public override void FloatPanels(TileArgs* args, int panel) => RunTile(Code("floats", panel, 0, false, () => AssembledTileKernels.FloatKernel(panel, pairs: false, windows)), args, panel, 4 * args->Steps);

    public override void PairPanels(TileArgs* args, int panel) => RunTile(Code("pairs", panel, 0, false, () => AssembledTileKernels.FloatKernel(panel, pairs: true, windows)), args, panel, 4 * args->Steps);

    public override bool CanDotRows(TensorType type, int rows) => rows <= RowDotAssembler.MostRows && RowCode(type, rows) is not null;

    public override void DotRows(TensorType type, RowDotArgs* args)
    {
        TileFormat format = WeightFormat(type);
        long columns = args->Columns, rows = args->Count, groups = format.IsFloat ? 0 : columns / format.Group;
        args->Blocks = columns / RowDotAssembler.BlockColumns(type);
        RowCode(type, args->Count)!.Run(
            args,
            new(args, sizeof(RowDotArgs)),
            new(args->Weights, (RowDot.Rows - 1) * args->WeightStride + BlockFormat.Get(type).ByteLength(columns)),
            new(args->Activations, columns * rows * (format.IsPairs ? 2 : format.IsFloat ? 4 : 1)),
            new(args->ActivationScales, format.IsFloat ? 0 : 4 * columns / 32 * rows),
            new(args->Terms, 4 * groups * rows),
            new(args->Scratch, RowDot.ScratchBytes, writable: true),
            new(args->Output, 4 * RowDot.Rows * rows, writable: true));
    }

    private MachineInterpreter? RowCode(TensorType type, int rows) => Code("rows", rows, (int)type, false, () => RowDotAssembler.Assemble(type, rows, windows, WeightFormat(type).IsPairs));

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
