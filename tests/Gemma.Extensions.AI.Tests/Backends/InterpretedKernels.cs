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
internal sealed unsafe class InterpretedKernels(bool bfloat16, bool windows = false, Func<byte[], byte[]>? change = null) : FloatMatMulKernels<PortableIsa>(bfloat16)
{
    private readonly Dictionary<(string, int, int, bool), MachineInterpreter?> _code = [];

    public override bool FloatOnly => false;

    public override int BytePanel => 6;

    public override int FloatPanel => 12;

    public override void Bytes(TileArgs* args, int panel, TileFormat format)
    {
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

    public override void FloatPanels(TileArgs* args, int panel) => RunTile(Code("floats", panel, 0, false, () => GemmAssembler.FloatKernel(panel, bfloat16: false, windows)), args, panel, 4 * args->Steps);

    public override void BFloat16Panels(TileArgs* args, int panel) => RunTile(Code("pairs", panel, 0, false, () => GemmAssembler.FloatKernel(panel, bfloat16: true, windows)), args, panel, 4 * args->Steps);

    public override bool CanGemv(TensorType type, int rows) => rows <= GemvAssembler.MostRows && RowCode(type, rows) is not null;

    public override void Gemv(TensorType type, GemvArgs* args)
    {
        TileFormat format = WeightFormat(type);
        long columns = args->Columns, rows = args->Count, groups = format.IsFloat ? 0 : columns / format.Group;
        args->Blocks = columns / GemvAssembler.BlockColumns(type);
        RowCode(type, args->Count)!.Run(
            args,
            new(args, sizeof(GemvArgs)),
            new(args->Weights, (GemvKernels.Rows - 1) * args->WeightStride + BlockFormat.Get(type).ByteLength(columns)),
            new(args->Activations, columns * rows * (format.IsBFloat16 ? 2 : format.IsFloat ? 4 : 1)),
            new(args->ActivationScales, format.IsFloat ? 0 : 4 * columns / 32 * rows),
            new(args->ZeroPointTerms, 4 * groups * rows),
            new(args->Scratch, GemvKernels.ScratchBytes, writable: true),
            new(args->Output, 4 * GemvKernels.Rows * rows, writable: true));
    }

    private MachineInterpreter? RowCode(TensorType type, int rows) => Code("rows", rows, (int)type, false, () => GemvAssembler.Assemble(type, rows, windows, WeightFormat(type).IsBFloat16));

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
