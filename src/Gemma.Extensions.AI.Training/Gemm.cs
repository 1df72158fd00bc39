using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Training;

/// <summary>
/// Blocked float32 matrix products C = A·B (or C += A·B) in the three layouts that a linear layer needs. As much of B as half of a second-level cache
/// holds is packed into panels of 48 columns and 192 steps (narrow ones are longer), one of which stays in the first-level cache while the rows of A pass by, eight at a time.
/// A row-major A is read in place, element by element as broadcasts; a transposed A is packed first, and so are rows a multiple of 2 KB apart, which
/// would share one cache set. Panels and tiles lie a little further apart than they are long, for the same reason. What is packed or read next is
/// fetched into the second-level cache while sums are computed: these products are short, and waiting for memory took up to a third of them.
/// </summary>
internal static unsafe partial class Gemm
{
    private const int TileRows = 8;
    private const int TileColumns = 48;
    private const int BlockDepth = 192;
    private const int BlockRows = 128;
    private const int Padding = 2; // steps between one panel or tile and the next
    private const int PackedFloats = (BlockDepth + Padding) * 768;
    private const int RowsAhead = 4 * BlockRows; // the rows of A that pass by while the next part of B is fetched
    private const int Stretch = 16; // steps of a tile between one handful of fetches and the next; many at once would hold up the sums

    [ThreadStatic]
    private static float[]? _panels;

    /// <summary>C[m,n] = A[m,k] · B[k,n]. Input gradients of a linear layer: dX = dY · W.</summary>
    public static void NN(int m, int n, int k, float* a, int lda, float* b, int ldb, float* c, int ldc, bool accumulate) =>
        Run(m, n, k, new(a, lda, 1), new(b, 1, ldb), c, ldc, accumulate);

    /// <summary>C[m,n] = A[m,k] · B[n,k]ᵀ. A linear layer: Y = X · Wᵀ with W [outputs, inputs].</summary>
    public static void NT(int m, int n, int k, float* a, int lda, float* b, int ldb, float* c, int ldc, bool accumulate) =>
        Run(m, n, k, new(a, lda, 1), new(b, ldb, 1), c, ldc, accumulate);

    /// <summary>C[m,n] = A[k,m]ᵀ · B[k,n]. Weight gradients of a linear layer: dW += dYᵀ · X.</summary>
    public static void TN(int m, int n, int k, float* a, int lda, float* b, int ldb, float* c, int ldc, bool accumulate) =>
        Run(m, n, k, new(a, 1, lda), new(b, 1, ldb), c, ldc, accumulate);

    private static void Run(int m, int n, int k, Operand a, Operand b, float* c, int ldc, bool accumulate)
    {
        if (k == 0 && !accumulate)
        {
            for (int i = 0; i < m; i++)
            {
                new Span<float>(c + (long)i * ldc, n).Clear();
            }
        }

        if (k >= MinMatrixSteps && n >= MinMatrixColumns && m >= MinMatrixRows && Matrix is { } kernels)
        {
            RunMatrix(kernels, m, n, k, a, b, c, ldc, accumulate);
            return;
        }

        float[] buffer = _panels ??= GC.AllocateUninitializedArray<float>(PackedFloats + (TileColumns / 16 * BlockDepth + Padding) * BlockRows + 16, pinned: true);
        float* panels = (float*)(((nint)Unsafe.AsPointer(ref buffer[0]) + 63) & ~63);

        // Columns and steps of B that are packed at once: all steps where they fit, so that C is passed over once.
        // A transposed A shares the caches with its packed tiles: fewer steps at a time.
        int depth = Even(k, (a.Step == 1 ? BlockDepth : 128) * TileColumns / Math.Clamp(Stride(n), 16, TileColumns), 1);
        int columns = Even(n, k > BlockDepth ? 384 : 768, TileColumns);
        int steps = depth * Math.Max(1, PackedFloats / Math.Max(1, (depth + Padding) * columns));
        for (int p = 0; p < k; p += steps)
        {
            int kc = Math.Min(steps, k - p);
            for (int j = 0; j < n; j += columns)
            {
                int nc = Math.Min(columns, n - j);
                for (int q = 0; q < kc; q += depth)
                {
                    Pack(b, j, p + q, Math.Min(depth, kc - q), nc, panels + (long)q / depth * (depth + Padding) * columns);
                }

                Ahead next = j + nc < n ? new(b, j + nc, Math.Min(columns, n - j - nc), p, kc)
                    : p + kc < k ? new(b, 0, Math.Min(columns, n), p + kc, Math.Min(steps, k - p - kc)) : default;
                Rows(m, nc, p, kc, depth, columns, a, panels, c + j, ldc, accumulate || p > 0, next);
            }
        }
    }

    /// <summary>All rows of C over the columns and steps of B that are packed.</summary>
    private static void Rows(int m, int nc, int first, int kc, int depth, int columns, Operand a, float* panels, float* c, int ldc, bool add, Ahead nextB)
    {
        int rows = Even(m, BlockRows, TileRows);
        int blocks = (kc + depth - 1) / depth;

        // In a narrow product too little is computed with a line to hide its way here.
        bool wide = nc >= 2 * TileColumns && Sse.IsSupported;
        int stretches = wide ? Math.Max(1, Math.Min(depth, kc) / Stretch) : 1;
        Fetching ahead = new() { Stretches = stretches, B = wide ? nextB : default };
        int linesB = Share(nextB.Lines, Tiles(Math.Min(m, RowsAhead), nc) * blocks * stretches);
        float* tiles = panels + PackedFloats;
        for (int i = 0; i < m; i += rows)
        {
            int mc = Math.Min(rows, m - i);
            for (int p = 0; p < kc; p += depth)
            {
                int steps = Math.Min(depth, kc - p);
                float* panel = panels + (long)p / depth * (depth + Padding) * columns;
                ahead.A = !wide ? default : p + steps < kc ? new(a, i, mc, first + p + steps, Math.Min(depth, kc - p - steps))
                    : i + mc < m ? new(a, i + mc, Math.Min(rows, m - i - mc), first, Math.Min(depth, kc)) : default;
                ahead.LinesA = Share(ahead.A.Lines, Tiles(mc, nc) * stretches);
                ahead.LinesB = i + RowsAhead >= m ? linesB : 0;
                bool sum = add || p > 0;
                if (a.Step != 1)
                {
                    PackTransposed(a.At(i, first + p), a.Step, steps, mc, tiles);
                    Block(tiles, 1, TileRows * (steps + Padding), TileRows, panel, steps, c + (long)i * ldc, ldc, mc, nc, sum, &ahead);
                }
                else if (a.Line % 512 == 0)
                {
                    for (int r = 0; r < mc; r++)
                    {
                        new ReadOnlySpan<float>(a.At(i + r, first + p), steps).CopyTo(new Span<float>(tiles + r * (steps + Padding), steps));
                    }

                    Block(tiles, steps + Padding, TileRows * (steps + Padding), 1, panel, steps, c + (long)i * ldc, ldc, mc, nc, sum, &ahead);
                }
                else
                {
                    Block(a.At(i, first + p), a.Line, TileRows * a.Line, 1, panel, steps, c + (long)i * ldc, ldc, mc, nc, sum, &ahead);
                }
            }
        }
    }

    /// <summary>Length of blocks of at most <paramref name="block"/> (in whole units) that divide a length evenly.</summary>
    private static int Even(int length, int block, int unit)
    {
        int count = Math.Max(1, (length + block - 1) / block);
        return ((length + count - 1) / count + unit - 1) / unit * unit;
    }

    private static int Tiles(int rows, int columns) => ((rows + TileRows - 1) / TileRows) * ((columns + TileColumns - 1) / TileColumns);

    private static int Share(int lines, int parts) => (lines + parts - 1) / parts;

    private static void Block(float* a, int rowA, int tileA, int stepA, float* panels, int kc, float* c, int ldc, int mc, int nc, bool add, Fetching* ahead)
    {
        float* edge = stackalloc float[TileRows * TileColumns];
        for (int j = 0, width; j < nc; j += width)
        {
            float* panel = panels + (long)j * (kc + Padding);
            width = Width(nc - j);
            int stride = Stride(width);
            for (int i = 0; i < mc; i += TileRows)
            {
                int height = Math.Min(TileRows, mc - i);
                float* source = a + (long)(i / TileRows) * tileA;
                float* tileC = c + (long)i * ldc + j;
                if (width == stride)
                {
                    Tile(source, rowA, stepA, panel, stride, kc, tileC, ldc, height, add, ahead);
                    continue;
                }

                Tile(source, rowA, stepA, panel, stride, kc, edge, TileColumns, height, add: false, ahead);
                for (int r = 0; r < height; r++)
                {
                    for (int s = 0; s < width; s++)
                    {
                        float value = edge[r * TileColumns + s];
                        tileC[(long)r * ldc + s] = add ? tileC[(long)r * ldc + s] + value : value;
                    }
                }
            }
        }
    }

    /// <summary>Columns of the next panel: 48, but two of 32 rather than one of 48 and a slow one of 16 at the end.</summary>
    private static int Width(int rest) => rest is > TileColumns and <= TileColumns + 16 ? 32 : Math.Min(TileColumns, rest);

    /// <summary>Floats from one step of a panel to the next: its columns in whole vectors.</summary>
    private static int Stride(int width) => (width + 15) & ~15;

    /// <summary>Rows of A or columns of B: element p of line i lies at data[i·line + p·step], and one of the two distances is 1.</summary>
    private readonly struct Operand(float* data, int line, int step)
    {
        public int Line => line;

        public int Step => step;

        public float* At(int i, int p) => data + (long)i * line + (long)p * step;
    }

    /// <summary>Cache lines of an operand that are wanted next, a few at a time.</summary>
    private struct Ahead
    {
        private readonly nint _width, _stride;
        private byte* _row;
        private nint _at;
        private int _rows;

        public Ahead(Operand x, int line, int lines, int step, int steps)
        {
            _row = (byte*)x.At(line, step);
            (_rows, _width, _stride) = x.Step == 1 ? (lines, (nint)steps * 4, (nint)x.Line * 4) : (steps, (nint)lines * 4, (nint)x.Step * 4);
        }

        public readonly int Lines => _rows * (int)((_width + 63) / 64);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Fetch(int lines)
        {
            byte* row = _row;
            nint at = _at;
            int rows = _rows;
            for (; lines > 0 && rows > 0; lines--)
            {
                Sse.Prefetch1(row + at);
                at += 64;
                if (at >= _width)
                {
                    at = 0;
                    row += _stride;
                    rows--;
                }
            }

            _row = row;
            _at = at;
            _rows = rows;
        }
    }

    /// <summary>Cache lines to prefetch while a block of tiles is computed, and how many in each stretch of a tile's steps.</summary>
    private struct Fetching
    {
        public Ahead A, B;
        public int LinesA, LinesB, Stretches;
    }
}
