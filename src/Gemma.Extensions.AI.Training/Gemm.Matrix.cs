using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;

namespace Gemma.Extensions.AI.Training;

// Products by matrix registers (AMX). One bfloat16 has too few bits for gradients, so each number is the sum of two, and a product three: high·high, high·low and low·high. What is
// left out is about 2^-17 of a product. A third of the registers' speed is still several times that of float32.
internal static unsafe partial class Gemm
{
    /// <summary>Smaller products are not worth packing, and float32 is more precise where few steps are added.</summary>
    private const int MinMatrixSteps = MatrixKernels.StepColumns, MinMatrixColumns = TileFormat.Rows, MinMatrixRows = TileRows;

    private const int MatrixDepth = 512;

    // Half a megabyte for each half of B, of the two megabytes of second-level cache that cores with such registers have.
    private const int MatrixPairs = 512 * 1024 / (TileFormat.Rows * sizeof(uint));

    private static readonly Lazy<MatrixKernels?> s_matrix = new(() =>
        (Environment.GetEnvironmentVariable(CpuBackendOptions.KernelVariable) is not { Length: > 0 } tier || tier == "amx-bf16") && AmxKernels.Unsupported() is null
            ? AmxKernels.TryCreate(AmxSupport.Machine, ExecutableMemory.TryCreate, out _) : null);

    [ThreadStatic]
    private static MatrixKernels? t_matrix;

    [ThreadStatic]
    private static MatrixBuffers? t_buffers;

    /// <summary>True if all products are of float32, for comparison.</summary>
    public static bool IsMatrixOff { get; set; }

    /// <summary>The kernels for matrix registers that this thread's products use; null where the machine has none or another tier is asked for.</summary>
    public static MatrixKernels? Matrix
    {
        get => IsMatrixOff ? null : t_matrix ?? s_matrix.Value;
        set => t_matrix = value;
    }

    private static void RunMatrix(MatrixKernels kernels, int m, int n, int k, Operand a, Operand b, float* c, int ldc, bool accumulate)
    {
        MatrixBuffers buffers = t_buffers ??= new MatrixBuffers();
        int depth = Even(k, MatrixDepth, MatrixKernels.StepColumns);
        int tiles = Math.Max(1, MatrixPairs / (depth / 2));
        for (int p = 0; p < k; p += depth)
        {
            int steps = Math.Min(depth, k - p);
            for (int j = 0; j < n; j += tiles * TileFormat.Rows)
            {
                int columns = Math.Min(tiles * TileFormat.Rows, n - j);
                PackPairs(buffers, b, j, columns, p, steps);
                for (int i = 0; i < m; i += MatrixKernels.MaxRows)
                {
                    int rows = Math.Min(MatrixKernels.MaxRows, m - i);
                    PackRows(buffers, a, i, rows, p, steps);
                    MultiplyRows(kernels, buffers, rows, columns, steps, c + (long)i * ldc + j, ldc, accumulate || p > 0);
                }
            }
        }
    }

    /// <summary>Up to 32 rows by the columns of B that are packed.</summary>
    private static void MultiplyRows(MatrixKernels kernels, MatrixBuffers buffers, int rows, int columns, int steps, float* c, int ldc, bool add)
    {
        int whole = columns / TileFormat.Rows, rest = columns % TileFormat.Rows;
        if (whole > 0)
        {
            Halves(kernels, buffers, rows, steps, firstTile: 0, whole, c, ldc, add);
        }

        if (rest > 0)
        {
            float* edge = stackalloc float[MatrixKernels.MaxRows * TileFormat.Rows];
            Halves(kernels, buffers, rows, steps, whole, tiles: 1, edge, TileFormat.Rows, add: false);
            for (int r = 0; r < rows; r++)
            {
                float* target = c + (long)r * ldc + whole * TileFormat.Rows;
                for (int s = 0; s < rest; s++)
                {
                    target[s] = add ? target[s] + edge[r * TileFormat.Rows + s] : edge[r * TileFormat.Rows + s];
                }
            }
        }
    }

    /// <summary>The three products of halves. The small ones come first, so that they are not rounded away one by one beside the large sums.</summary>
    private static void Halves(MatrixKernels kernels, MatrixBuffers buffers, int rows, int steps, int firstTile, int tiles, float* output, int stride, bool add)
    {
        MatrixArgs args = default;
        args.OutputStride = (long)stride * sizeof(float);
        args.Steps = MatrixKernels.Padded(steps) / MatrixKernels.StepColumns;
        args.Tiles = tiles;
        args.Accumulate = add ? 1 : 0;
        long offset = firstTile * BFloat16Pairs.TileBytes(steps);
        Product(kernels, &args, buffers.LowRows, buffers.HighPairs + offset, rows, steps, output);
        Product(kernels, &args, buffers.HighRows, buffers.LowPairs + offset, rows, steps, output);
        Product(kernels, &args, buffers.HighRows, buffers.HighPairs + offset, rows, steps, output);
    }

    private static void Product(MatrixKernels kernels, MatrixArgs* args, byte* packedRows, byte* pairs, int rows, int steps, float* output)
    {
        args->Weights = pairs;
        MatrixKernels.SetRows(args, packedRows, MatrixKernels.Padded(steps), 0, rows, 0, output);
        kernels.Multiply(args, rows);
        args->Accumulate = 1;
    }

    /// <summary>Rows of A, a[step/32][row][32] for each 16 of them, in two halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackRows(MatrixBuffers buffers, Operand a, int first, int rows, int step, int steps)
    {
        int padded = MatrixKernels.Padded(steps);
        float* floats = buffers.Floats;
        ushort* high = (ushort*)buffers.HighRows, low = (ushort*)buffers.LowRows;
        if (a.Step != 1)
        {
            Transpose(a.At(first, step), a.Step, 1, steps, rows, floats, padded);
        }

        for (int r = 0; r < rows; r++)
        {
            float* source = floats + (long)r * padded;
            if (a.Step == 1)
            {
                new ReadOnlySpan<float>(a.At(first + r, step), steps).CopyTo(new Span<float>(source, steps));
            }

            new Span<float>(source + steps, padded - steps).Clear();
            int panel = r & -MatrixKernels.RegisterRows, panelRows = Math.Min(MatrixKernels.RegisterRows, rows - panel);
            long target = (long)panel * padded + (r - panel) * MatrixKernels.StepColumns;
            for (int p = 0; p < padded; p += MatrixKernels.StepColumns, target += panelRows * MatrixKernels.StepColumns)
            {
                Vector512<float> x = Vector512.Load(source + p), y = Vector512.Load(source + p + 16);
                Vector512<uint> hx = BFloat16Rows.Round(x), hy = BFloat16Rows.Round(y);
                Vector512.Narrow(hx >> 16, hy >> 16).Store(high + target);
                Vector512.Narrow(BFloat16Rows.Round(x - Kept(hx)) >> 16, BFloat16Rows.Round(y - Kept(hy)) >> 16).Store(low + target);
            }
        }
    }

    /// <summary>Columns of B as tiles of pairs, w[step/2][32][2], in two halves. What fills up the last tile and the last step is zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackPairs(MatrixBuffers buffers, Operand b, int first, int columns, int step, int steps)
    {
        int padded = MatrixKernels.Padded(steps);
        float* floats = buffers.Floats;
        uint* high = (uint*)buffers.HighPairs, low = (uint*)buffers.LowPairs;
        for (int j = 0; j < columns; j += TileFormat.Rows)
        {
            int width = Math.Min(TileFormat.Rows, columns - j);
            if (b.Line != 1)
            {
                Transpose(b.At(first + j, step), b.Line, b.Step, width, steps, floats, TileFormat.Rows);
            }
            else
            {
                for (int p = 0; p < steps; p++)
                {
                    new ReadOnlySpan<float>(b.At(first + j, step + p), width).CopyTo(new Span<float>(floats + p * TileFormat.Rows, width));
                    new Span<float>(floats + p * TileFormat.Rows + width, TileFormat.Rows - width).Clear();
                }
            }

            new Span<float>(floats + steps * TileFormat.Rows, (padded - steps) * TileFormat.Rows).Clear();
            for (int p = 0; p < padded; p += 2)
            {
                for (int half = 0; half < TileFormat.Rows; half += 16, high += 16, low += 16)
                {
                    Vector512<float> x = Vector512.Load(floats + p * TileFormat.Rows + half), y = Vector512.Load(floats + (p + 1) * TileFormat.Rows + half);
                    Vector512<uint> hx = BFloat16Rows.Round(x), hy = BFloat16Rows.Round(y);
                    ((hx >> 16) | Kept(hy).AsUInt32()).Store(high);
                    BFloat16Rows.Pair(x - Kept(hx), y - Kept(hy)).Store(low);
                }
            }
        }
    }

    /// <summary>The bfloat16 in the upper half as float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Kept(Vector512<uint> rounded) => (rounded & Vector512.Create(0xFFFF0000u)).AsSingle();

    /// <summary>A thread's packed operands, as large as the largest block's.</summary>
    private sealed class MatrixBuffers
    {
        private const int BlockFloats = TileFormat.Rows * MatrixDepth, PairFloats = MatrixPairs * TileFormat.Rows;

        private readonly FloatBuffer _floats = new(BlockFloats), _highRows = new(BlockFloats / 2), _lowRows = new(BlockFloats / 2), _highPairs = new(PairFloats), _lowPairs = new(PairFloats);

        public float* Floats => _floats.Pointer;

        public byte* HighRows => (byte*)_highRows.Pointer;

        public byte* LowRows => (byte*)_lowRows.Pointer;

        public byte* HighPairs => (byte*)_highPairs.Pointer;

        public byte* LowPairs => (byte*)_lowPairs.Pointer;
    }
}
