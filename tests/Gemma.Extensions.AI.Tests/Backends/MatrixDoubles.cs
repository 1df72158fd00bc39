using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>The kernels for AMX, interpreted: the very machine code, with memory watched. For one worker.</summary>
/// <param name="windows">Whether the code follows the calling convention of Windows.</param>
/// <param name="change">Changes machine code.</param>
internal sealed unsafe class InterpretedMatrix(bool windows = false, Func<byte[], byte[]>? change = null) : MatrixKernels
{
    private readonly MachineInterpreter[] _code =
        [.. new[] { false, true }.Select(two => AmxAssembler.Product(two, windows)).Select(code => new MachineInterpreter(change is null ? code : change(code), windows))];

    public override void Multiply(MatrixArgs* args, int rows)
    {
        byte* configuration = stackalloc byte[64];
        AmxAssembler.Configure(new Span<byte>(configuration, 64), rows);
        args->Configuration = configuration;
        int first = Math.Min(RegisterRows, rows), second = rows - first;
        long width = args->Tiles * TileFormat.Rows * sizeof(float);
        _code[second > 0 ? 1 : 0].Run(
            args,
            new(args, sizeof(MatrixArgs)),
            new(configuration, 64),
            new(args->Rows, args->Steps * args->RowsStep),
            new(args->NextRows, args->Steps * args->NextRowsStep),
            new(args->Weights, args->Tiles * args->Steps * StepColumns * TileFormat.Rows * sizeof(ushort)),
            new(args->Output, (first - 1) * args->OutputStride + width, writable: true),
            new(args->NextOutput, second > 0 ? (second - 1) * args->OutputStride + width : 0, writable: true));
    }
}

/// <summary>What the kernels for AMX do, in software: fast enough for whole models. For one worker.</summary>
internal sealed unsafe class EmulatedMatrix : MatrixKernels
{
    private const int Pairs = StepColumns / 2, Lanes = 16;

    private readonly NativeBuffer _rows = new(), _weights = new();

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Multiply(MatrixArgs* args, int rows)
    {
        long steps = args->Steps;
        float* expanded = (float*)_rows.Reserve(rows * steps * StepColumns * sizeof(float)), weights = (float*)_weights.Reserve(steps * StepColumns * Lanes * sizeof(float));
        for (int row = 0; row < rows; row++)
        {
            byte* packed = row < RegisterRows ? args->Rows + row * 64 : args->NextRows + (row - RegisterRows) * 64;
            for (long k = 0; k < steps * Pairs; k++)
            {
                BFloatTile.Expand((uint*)(packed + k / Pairs * (row < RegisterRows ? args->RowsStep : args->NextRowsStep)) + k % Pairs, 1, expanded + (row * steps * Pairs + k) * 2);
            }
        }

        for (int part = 0; part < 2 * args->Tiles; part++)
        {
            for (long k = 0; k < steps * Pairs; k++)
            {
                BFloatTile.Expand((uint*)(args->Weights + (part / 2 * steps * Pairs + k) * 128 + part % 2 * 64), Lanes, weights + k * 2 * Lanes);
            }

            for (int row = 0; row < rows; row++)
            {
                float* start = row < RegisterRows ? args->Output : args->NextOutput;
                float* output = (float*)((byte*)start + row % RegisterRows * args->OutputStride) + Lanes * part;
                Vector512<float> sum = args->Accumulate != 0 ? Vector512.Load(output) : default;
                for (long k = 0; k < steps; k++)
                {
                    sum = BFloatTile.Add(sum, expanded + (row * steps + k) * StepColumns, weights + k * StepColumns * Lanes, Pairs);
                }

                sum.Store(output);
            }
        }
    }

    public override void Dispose()
    {
        _rows.Dispose();
        _weights.Dispose();
    }
}

/// <summary>Counts calls.</summary>
internal sealed unsafe class CountedMatrix(MatrixKernels inner) : MatrixKernels
{
    public int Calls { get; private set; }

    public override void Multiply(MatrixArgs* args, int rows)
    {
        Calls++;
        inner.Multiply(args, rows);
    }

    public override void Dispose() => inner.Dispose();
}

/// <summary>The tier that has them.</summary>
internal sealed class EmulatedKernels : FloatMatMulKernels<PortableIsa>
{
    public override MatrixKernels Matrix { get; } = new EmulatedMatrix();
}
