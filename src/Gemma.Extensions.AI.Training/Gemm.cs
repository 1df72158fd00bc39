using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Training;

/// <summary>
/// Blocked float32 matrix products C = A·B (or C += A·B) in the three layouts that a linear layer needs. As much of B as half of a second-level cache
/// holds is packed into panels of 48 columns and 192 steps (narrow ones are longer), one of which stays in the first-level cache while the rows of A pass by, eight at a time.
/// A row-major A is read in place, element by element as broadcasts; a transposed A is packed first, and so are rows a multiple of 2 KB apart, which
/// would share one cache set. Panels and tiles lie a little further apart than they are long, for the same reason. What is packed or read next is
/// fetched into the second-level cache while sums are computed: these products are short, and waiting for memory took up to a third of them.
/// </summary>
internal static unsafe class Gemm
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

    /// <summary>Rows of A or columns of B: element p of line i lies at data[i·line + p·step], and one of the two distances is 1.</summary>
    private readonly struct Operand(float* data, int line, int step)
    {
        public int Line => line;

        public int Step => step;

        public float* At(int i, int p) => data + (long)i * line + (long)p * step;
    }

    private static void Run(int m, int n, int k, Operand a, Operand b, float* c, int ldc, bool accumulate)
    {
        if (k == 0 && !accumulate)
        {
            for (int i = 0; i < m; i++)
            {
                new Span<float>(c + (long)i * ldc, n).Clear();
            }
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
        var ahead = new Fetching { Stretches = stretches, B = wide ? nextB : default };
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

    /// <summary>What is fetched ahead while a block of tiles is computed, and how many lines of it at each of the stretches that a tile's steps are cut into.</summary>
    private struct Fetching
    {
        public Ahead A, B;
        public int LinesA, LinesB, Stretches;
    }

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

    private static void Tile(float* a, int rowA, int stepA, float* panel, int stride, int kc, float* c, int ldc, int height, bool add, Fetching* ahead)
    {
        if (!Vector512.IsHardwareAccelerated)
        {
            for (int i = 0; i < height; i += 4)
            {
                for (int j = 0; j < stride; j += 16)
                {
                    Tile256(a + (long)i * rowA, rowA, stepA, panel + j, stride, kc, c + (long)i * ldc + j, ldc, Math.Min(4, height - i), add);
                }
            }
        }
        else if (stride == 48)
        {
            Tile512<Three>(a, rowA, stepA, panel, kc, c, ldc, height, add, ahead);
        }
        else if (stride == 32)
        {
            Tile512<Two>(a, rowA, stepA, panel, kc, c, ldc, height, add, ahead);
        }
        else
        {
            Tile512<One>(a, rowA, stepA, panel, kc, c, ldc, height, add, ahead);
        }
    }

    /// <summary>Columns of a panel in vectors of sixteen: known when a kernel is compiled, so that what it does not need is left out.</summary>
    private interface IWidth
    {
        static abstract int Vectors { get; }
    }

    private readonly struct One : IWidth
    {
        public static int Vectors => 1;
    }

    private readonly struct Two : IWidth
    {
        public static int Vectors => 2;
    }

    private readonly struct Three : IWidth
    {
        public static int Vectors => 3;
    }

    /// <summary>8 rows by 16, 32 or 48 columns in up to twenty-four 512-bit accumulators. Only <paramref name="height"/> rows are read and stored.</summary>
    private static void Tile512<W>(float* a, int rowA, nint stepA, float* panel, int kc, float* c, int ldc, int height, bool add, Fetching* ahead)
        where W : struct, IWidth
    {
        // Two pointers, rows 0-3 and the last four, and three distances leave registers for the loop. Where there are fewer rows, some are computed
        // twice and stored once.
        float* top = a;
        float* bottom = a + (long)Math.Max(0, height - 4) * rowA;
        nint one = Math.Min(1, height - 1) * (nint)rowA, two = Math.Min(2, height - 1) * (nint)rowA, three = Math.Min(3, height - 1) * (nint)rowA;
        Vector512<float> c00 = default, c01 = default, c02 = default, c10 = default, c11 = default, c12 = default;
        Vector512<float> c20 = default, c21 = default, c22 = default, c30 = default, c31 = default, c32 = default;
        Vector512<float> c40 = default, c41 = default, c42 = default, c50 = default, c51 = default, c52 = default;
        Vector512<float> c60 = default, c61 = default, c62 = default, c70 = default, c71 = default, c72 = default;
        int row = 0, rows = Share(TileRows, ahead->Stretches), stretch = Share(kc, ahead->Stretches) * 16 * W.Vectors;
        float* end = panel + (long)kc * 16 * W.Vectors;
        for (float* p = panel; p < end;)
        {
            float* stop = p + Math.Min(stretch, end - p);
            if (Sse.IsSupported)
            {
                // Where C is large its lines are far away; they come while the sums are computed.
                for (int last = Math.Min(row + rows, height); row < last; row++)
                {
                    for (int q = 0; q < W.Vectors; q++)
                    {
                        Sse.Prefetch0(c + (long)row * ldc + 16 * q);
                    }
                }

                ahead->A.Fetch(ahead->LinesA);
                ahead->B.Fetch(ahead->LinesB);
            }

            for (; p < stop; p += 16 * W.Vectors)
            {
                Vector512<float> b0 = Vector512.Load(p);
                Vector512<float> b1 = W.Vectors > 1 ? Vector512.Load(p + 16) : default;
                Vector512<float> b2 = W.Vectors > 2 ? Vector512.Load(p + 32) : default;
                Vector512<float> x = Vector512.Create(top[0]);
                c00 = Vector512.FusedMultiplyAdd(x, b0, c00);
                c01 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c01) : c01;
                c02 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c02) : c02;
                x = Vector512.Create(top[one]);
                c10 = Vector512.FusedMultiplyAdd(x, b0, c10);
                c11 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c11) : c11;
                c12 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c12) : c12;
                x = Vector512.Create(top[two]);
                c20 = Vector512.FusedMultiplyAdd(x, b0, c20);
                c21 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c21) : c21;
                c22 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c22) : c22;
                x = Vector512.Create(top[three]);
                c30 = Vector512.FusedMultiplyAdd(x, b0, c30);
                c31 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c31) : c31;
                c32 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c32) : c32;
                x = Vector512.Create(bottom[0]);
                c40 = Vector512.FusedMultiplyAdd(x, b0, c40);
                c41 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c41) : c41;
                c42 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c42) : c42;
                x = Vector512.Create(bottom[one]);
                c50 = Vector512.FusedMultiplyAdd(x, b0, c50);
                c51 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c51) : c51;
                c52 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c52) : c52;
                x = Vector512.Create(bottom[two]);
                c60 = Vector512.FusedMultiplyAdd(x, b0, c60);
                c61 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c61) : c61;
                c62 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c62) : c62;
                x = Vector512.Create(bottom[three]);
                c70 = Vector512.FusedMultiplyAdd(x, b0, c70);
                c71 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c71) : c71;
                c72 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c72) : c72;
                top += stepA;
                bottom += stepA;
            }
        }

        Store<W>(c, c00, c01, c02, add);
        if (height > 1) Store<W>(c + ldc, c10, c11, c12, add);
        if (height > 2) Store<W>(c + 2L * ldc, c20, c21, c22, add);
        if (height > 3) Store<W>(c + 3L * ldc, c30, c31, c32, add);
        c += (height - 4L) * ldc;
        if (height > 7) Store<W>(c, c40, c41, c42, add);
        if (height > 6) Store<W>(c + ldc, c50, c51, c52, add);
        if (height > 5) Store<W>(c + 2L * ldc, c60, c61, c62, add);
        if (height > 4) Store<W>(c + 3L * ldc, c70, c71, c72, add);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<W>(float* c, Vector512<float> low, Vector512<float> middle, Vector512<float> high, bool add)
        where W : struct, IWidth
    {
        if (add)
        {
            low += Vector512.Load(c);
            middle = W.Vectors > 1 ? middle + Vector512.Load(c + 16) : middle;
            high = W.Vectors > 2 ? high + Vector512.Load(c + 32) : high;
        }

        low.Store(c);
        if (W.Vectors > 1)
        {
            middle.Store(c + 16);
        }

        if (W.Vectors > 2)
        {
            high.Store(c + 32);
        }
    }

    /// <summary>4 rows by 16 columns in eight 256-bit accumulators, for machines without 512-bit vectors.</summary>
    internal static void Tile256(float* a, int rowA, int stepA, float* panel, int stride, int kc, float* c, int ldc, int height, bool add)
    {
        float* a0 = a;
        float* a1 = a + (long)Math.Min(1, height - 1) * rowA;
        float* a2 = a + (long)Math.Min(2, height - 1) * rowA;
        float* a3 = a + (long)Math.Min(3, height - 1) * rowA;
        Vector256<float> c00 = default, c01 = default, c10 = default, c11 = default, c20 = default, c21 = default, c30 = default, c31 = default;
        nint offset = 0;
        float* end = panel + (long)kc * stride;
        for (float* p = panel; p < end; p += stride)
        {
            Vector256<float> b0 = Vector256.Load(p);
            Vector256<float> b1 = Vector256.Load(p + 8);
            Vector256<float> x = Vector256.Create(a0[offset]);
            c00 = Vector256.FusedMultiplyAdd(x, b0, c00);
            c01 = Vector256.FusedMultiplyAdd(x, b1, c01);
            x = Vector256.Create(a1[offset]);
            c10 = Vector256.FusedMultiplyAdd(x, b0, c10);
            c11 = Vector256.FusedMultiplyAdd(x, b1, c11);
            x = Vector256.Create(a2[offset]);
            c20 = Vector256.FusedMultiplyAdd(x, b0, c20);
            c21 = Vector256.FusedMultiplyAdd(x, b1, c21);
            x = Vector256.Create(a3[offset]);
            c30 = Vector256.FusedMultiplyAdd(x, b0, c30);
            c31 = Vector256.FusedMultiplyAdd(x, b1, c31);
            offset += stepA;
        }

        Store(c, c00, c01, add);
        if (height > 1) Store(c + ldc, c10, c11, add);
        if (height > 2) Store(c + 2L * ldc, c20, c21, add);
        if (height > 3) Store(c + 3L * ldc, c30, c31, add);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, Vector256<float> low, Vector256<float> high, bool add)
    {
        if (add)
        {
            low += Vector256.Load(c);
            high += Vector256.Load(c + 8);
        }

        low.Store(c);
        high.Store(c + 8);
    }

    /// <summary>Tiles of eight rows, step by step: element (i,p) of the block, a[p·stepA + i], goes to tile i / 8 at p·8 + i % 8. Rows of A in memory order.</summary>
    private static void PackTransposed(float* a, int stepA, int kc, int mc, float* tiles)
    {
        int tile = TileRows * (kc + Padding), whole = mc / TileRows, rest = mc % TileRows;
        for (int p = 0; p < kc; p++)
        {
            float* source = a + (long)p * stepA;
            float* target = tiles + p * TileRows;
            for (int i = 0; i < whole; i++)
            {
                Vector256.Store(Vector256.Load(source + i * TileRows), target + (long)i * tile);
            }

            for (int r = 0; r < rest; r++)
            {
                target[(long)whole * tile + r] = source[whole * TileRows + r];
            }
        }
    }

    /// <summary>Panels step by step, rows of B in memory order; a panel is zero-padded to whole vectors at its right edge.</summary>
    private static void Pack(Operand b, int first, int step, int kc, int nc, float* panels)
    {
        if (b.Line != 1)
        {
            for (int j = 0, width; j < nc; j += width)
            {
                width = Width(nc - j);
                Transpose(b.At(first + j, step), b.Line, b.Step, width, kc, panels + (long)j * (kc + Padding), Stride(width));
            }

            return;
        }

        for (int p = 0; p < kc; p++)
        {
            float* source = b.At(first, step + p);
            for (int j = 0, width; j < nc; j += width)
            {
                width = Width(nc - j);
                int stride = Stride(width), s = 0;
                float* target = panels + (long)j * (kc + Padding) + p * stride;
                for (; s + 16 <= width; s += 16)
                {
                    Vector512.Store(Vector512.Load(source + j + s), target + s);
                }

                for (; s < stride; s++)
                {
                    target[s] = s < width ? source[j + s] : 0;
                }
            }
        }
    }

    /// <summary>Columns of B that are rows in memory, into one panel: squares of eight through registers.</summary>
    private static void Transpose(float* b, int row, int step, int width, int kc, float* panel, int stride)
    {
        int p = 0, vectorWidth = step == 1 && Avx.IsSupported ? width / 8 * 8 : 0;
        for (; vectorWidth > 0 && p + 8 <= kc; p += 8)
        {
            for (int s = 0; s < vectorWidth; s += 8)
            {
                Square(b + (long)s * row + p, row, panel + p * stride + s, stride);
            }
        }

        Rest(0, vectorWidth, p);
        Rest(vectorWidth, width, 0);
        for (int q = 0; width < stride && q < kc; q++)
        {
            new Span<float>(panel + q * stride + width, stride - width).Clear();
        }

        void Rest(int fromColumn, int toColumn, int fromStep)
        {
            for (int s = fromColumn; s < toColumn; s++)
            {
                for (int q = fromStep; q < kc; q++)
                {
                    panel[q * stride + s] = b[(long)s * row + (long)q * step];
                }
            }
        }
    }

    private static void Square(float* b, int row, float* target, int stride)
    {
        Vector256<float> r0 = Vector256.Load(b), r1 = Vector256.Load(b + row), r2 = Vector256.Load(b + 2L * row), r3 = Vector256.Load(b + 3L * row);
        Vector256<float> r4 = Vector256.Load(b + 4L * row), r5 = Vector256.Load(b + 5L * row), r6 = Vector256.Load(b + 6L * row), r7 = Vector256.Load(b + 7L * row);
        (r0, r1, r2, r3) = Quarter(r0, r1, r2, r3);
        (r4, r5, r6, r7) = Quarter(r4, r5, r6, r7);
        Store(target, stride, r0, r4);
        Store(target + stride, stride, r1, r5);
        Store(target + 2 * stride, stride, r2, r6);
        Store(target + 3 * stride, stride, r3, r7);

        // Lane l of r0…r3 holds columns of rows 0-3, of r4…r7 those of rows 4-7.
        static (Vector256<float>, Vector256<float>, Vector256<float>, Vector256<float>) Quarter(Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d)
        {
            Vector256<float> ab = Avx.UnpackLow(a, b), abHigh = Avx.UnpackHigh(a, b), cd = Avx.UnpackLow(c, d), cdHigh = Avx.UnpackHigh(c, d);
            return (Avx.Shuffle(ab, cd, 0x44), Avx.Shuffle(ab, cd, 0xEE), Avx.Shuffle(abHigh, cdHigh, 0x44), Avx.Shuffle(abHigh, cdHigh, 0xEE));
        }

        static void Store(float* at, int stride, Vector256<float> low, Vector256<float> high)
        {
            Avx.Permute2x128(low, high, 0x20).Store(at);
            Avx.Permute2x128(low, high, 0x31).Store(at + 4 * stride);
        }
    }
}
