using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Training;

/// <summary>
/// Blocked float32 matrix products C = A·B (or C += A·B) in the three layouts that a linear layer needs. B is packed into panels of
/// 32 columns that stay in the first-level cache; a row-major A is read in place, eight rows at a time, element by element as broadcasts.
/// A transposed A is packed first, and so are rows a multiple of 2 KB apart, which would share one cache set. Panels and tiles lie a cache line
/// further apart than they are long, for the same reason.
/// </summary>
internal static unsafe class Gemm
{
    private const int TileRows = 8;
    private const int TileColumns = 32;
    private const int BlockDepth = 256;
    private const int BlockColumns = 768;
    private const int BlockRows = 128;
    private const int Padding = 2; // steps between one panel or tile and the next

    [ThreadStatic]
    private static float[]? _panels;

    /// <summary>C[m,n] = A[m,k] · B[k,n]. Input gradients of a linear layer: dX = dY · W.</summary>
    public static void NN(int m, int n, int k, float* a, int lda, float* b, int ldb, float* c, int ldc, bool accumulate) =>
        Run(m, n, k, a, lda, 1, b, ldb, 1, c, ldc, accumulate);

    /// <summary>C[m,n] = A[m,k] · B[n,k]ᵀ. A linear layer: Y = X · Wᵀ with W [outputs, inputs].</summary>
    public static void NT(int m, int n, int k, float* a, int lda, float* b, int ldb, float* c, int ldc, bool accumulate) =>
        Run(m, n, k, a, lda, 1, b, 1, ldb, c, ldc, accumulate);

    /// <summary>C[m,n] = A[k,m]ᵀ · B[k,n]. Weight gradients of a linear layer: dW += dYᵀ · X.</summary>
    public static void TN(int m, int n, int k, float* a, int lda, float* b, int ldb, float* c, int ldc, bool accumulate) =>
        Run(m, n, k, a, 1, lda, b, ldb, 1, c, ldc, accumulate);

    /// <summary>A's element (i,p) is a[i·rowA + p·stepA]; B's element (p,j) is b[p·stepB + j·columnB].</summary>
    private static void Run(int m, int n, int k, float* a, int rowA, int stepA, float* b, int stepB, int columnB, float* c, int ldc, bool accumulate)
    {
        if (k == 0 && !accumulate)
        {
            for (int i = 0; i < m; i++)
            {
                new Span<float>(c + (long)i * ldc, n).Clear();
            }
        }

        float[] buffer = _panels ??= GC.AllocateUninitializedArray<float>((BlockDepth + Padding) * (BlockColumns + BlockRows) + 16, pinned: true);
        float* panels = (float*)(((nint)Unsafe.AsPointer(ref buffer[0]) + 63) & ~63);
        int depthBlocks = (k + BlockDepth - 1) / BlockDepth;
        int depth = depthBlocks == 0 ? 0 : (k + depthBlocks - 1) / depthBlocks;
        for (int p = 0; p < k; p += depth)
        {
            int kc = Math.Min(depth, k - p);
            bool add = accumulate || p > 0;
            for (int j = 0; j < n; j += BlockColumns)
            {
                int nc = Math.Min(BlockColumns, n - j);
                Pack(b + (long)p * stepB + (long)j * columnB, stepB, columnB, kc, nc, panels);
                for (int i = 0; i < m; i += BlockRows)
                {
                    int mc = Math.Min(BlockRows, m - i);
                    float* block = a + (long)i * rowA + (long)p * stepA;
                    float* target = c + (long)i * ldc + j;
                    float* tiles = panels + (BlockDepth + Padding) * BlockColumns;
                    if (stepA != 1)
                    {
                        PackTransposed(block, stepA, kc, mc, tiles);
                        Block(tiles, 1, TileRows * (kc + Padding), TileRows, panels, kc, target, ldc, mc, nc, add);
                    }
                    else if (rowA % 512 == 0)
                    {
                        for (int r = 0; r < mc; r++)
                        {
                            new ReadOnlySpan<float>(block + (long)r * rowA, kc).CopyTo(new Span<float>(tiles + r * (kc + Padding), kc));
                        }

                        Block(tiles, kc + Padding, TileRows * (kc + Padding), 1, panels, kc, target, ldc, mc, nc, add);
                    }
                    else
                    {
                        Block(block, rowA, TileRows * rowA, 1, panels, kc, target, ldc, mc, nc, add);
                    }
                }
            }
        }
    }

    private static void Block(float* a, int rowA, int tileA, int stepA, float* panels, int kc, float* c, int ldc, int mc, int nc, bool add)
    {
        float* edge = stackalloc float[TileRows * TileColumns];
        for (int j = 0; j < nc; j += TileColumns)
        {
            float* panel = panels + (long)j * (kc + Padding);
            int width = Math.Min(TileColumns, nc - j);
            for (int i = 0; i < mc; i += TileRows)
            {
                int height = Math.Min(TileRows, mc - i);
                float* source = a + (long)(i / TileRows) * tileA;
                float* tileC = c + (long)i * ldc + j;
                if (width == TileColumns)
                {
                    Tile(source, rowA, stepA, panel, kc, tileC, ldc, height, add);
                    continue;
                }

                Tile(source, rowA, stepA, panel, kc, edge, TileColumns, height, add: false);
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

    private static void Tile(float* a, int rowA, int stepA, float* panel, int kc, float* c, int ldc, int height, bool add)
    {
        if (Vector512.IsHardwareAccelerated)
        {
            Tile512(a, rowA, stepA, panel, kc, c, ldc, height, add);
            return;
        }

        for (int i = 0; i < height; i += 4)
        {
            for (int j = 0; j < TileColumns; j += 16)
            {
                Tile256(a + (long)i * rowA, rowA, stepA, panel + j, kc, c + (long)i * ldc + j, ldc, Math.Min(4, height - i), add);
            }
        }
    }

    /// <summary>8 rows by 32 columns in sixteen 512-bit accumulators. Rows beyond <paramref name="height"/> repeat the last one and are not stored.</summary>
    private static void Tile512(float* a, int rowA, int stepA, float* panel, int kc, float* c, int ldc, int height, bool add)
    {
        float* a0 = a;
        float* a1 = a + (long)Math.Min(1, height - 1) * rowA;
        float* a2 = a + (long)Math.Min(2, height - 1) * rowA;
        float* a3 = a + (long)Math.Min(3, height - 1) * rowA;
        float* a4 = a + (long)Math.Min(4, height - 1) * rowA;
        float* a5 = a + (long)Math.Min(5, height - 1) * rowA;
        float* a6 = a + (long)Math.Min(6, height - 1) * rowA;
        float* a7 = a + (long)Math.Min(7, height - 1) * rowA;
        Vector512<float> c00 = default, c01 = default, c10 = default, c11 = default, c20 = default, c21 = default, c30 = default, c31 = default;
        Vector512<float> c40 = default, c41 = default, c50 = default, c51 = default, c60 = default, c61 = default, c70 = default, c71 = default;
        if (Sse.IsSupported)
        {
            // Where C is large its lines are far away; they come while the sums are computed.
            for (int r = 0; r < height; r++)
            {
                Sse.Prefetch0(c + (long)r * ldc);
                Sse.Prefetch0(c + (long)r * ldc + 16);
            }
        }

        nint offset = 0;
        float* end = panel + (long)kc * TileColumns;
        for (float* p = panel; p < end; p += TileColumns)
        {
            Vector512<float> b0 = Vector512.Load(p);
            Vector512<float> b1 = Vector512.Load(p + 16);
            Vector512<float> x = Vector512.Create(a0[offset]);
            c00 = Vector512.FusedMultiplyAdd(x, b0, c00);
            c01 = Vector512.FusedMultiplyAdd(x, b1, c01);
            x = Vector512.Create(a1[offset]);
            c10 = Vector512.FusedMultiplyAdd(x, b0, c10);
            c11 = Vector512.FusedMultiplyAdd(x, b1, c11);
            x = Vector512.Create(a2[offset]);
            c20 = Vector512.FusedMultiplyAdd(x, b0, c20);
            c21 = Vector512.FusedMultiplyAdd(x, b1, c21);
            x = Vector512.Create(a3[offset]);
            c30 = Vector512.FusedMultiplyAdd(x, b0, c30);
            c31 = Vector512.FusedMultiplyAdd(x, b1, c31);
            x = Vector512.Create(a4[offset]);
            c40 = Vector512.FusedMultiplyAdd(x, b0, c40);
            c41 = Vector512.FusedMultiplyAdd(x, b1, c41);
            x = Vector512.Create(a5[offset]);
            c50 = Vector512.FusedMultiplyAdd(x, b0, c50);
            c51 = Vector512.FusedMultiplyAdd(x, b1, c51);
            x = Vector512.Create(a6[offset]);
            c60 = Vector512.FusedMultiplyAdd(x, b0, c60);
            c61 = Vector512.FusedMultiplyAdd(x, b1, c61);
            x = Vector512.Create(a7[offset]);
            c70 = Vector512.FusedMultiplyAdd(x, b0, c70);
            c71 = Vector512.FusedMultiplyAdd(x, b1, c71);
            offset += stepA;
        }

        Store(c, c00, c01, add);
        if (height > 1) Store(c + ldc, c10, c11, add);
        if (height > 2) Store(c + 2L * ldc, c20, c21, add);
        if (height > 3) Store(c + 3L * ldc, c30, c31, add);
        if (height > 4) Store(c + 4L * ldc, c40, c41, add);
        if (height > 5) Store(c + 5L * ldc, c50, c51, add);
        if (height > 6) Store(c + 6L * ldc, c60, c61, add);
        if (height > 7) Store(c + 7L * ldc, c70, c71, add);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, Vector512<float> low, Vector512<float> high, bool add)
    {
        if (add)
        {
            low += Vector512.Load(c);
            high += Vector512.Load(c + 16);
        }

        low.Store(c);
        high.Store(c + 16);
    }

    /// <summary>4 rows by 16 columns in eight 256-bit accumulators, for machines without 512-bit vectors.</summary>
    internal static void Tile256(float* a, int rowA, int stepA, float* panel, int kc, float* c, int ldc, int height, bool add)
    {
        float* a0 = a;
        float* a1 = a + (long)Math.Min(1, height - 1) * rowA;
        float* a2 = a + (long)Math.Min(2, height - 1) * rowA;
        float* a3 = a + (long)Math.Min(3, height - 1) * rowA;
        Vector256<float> c00 = default, c01 = default, c10 = default, c11 = default, c20 = default, c21 = default, c30 = default, c31 = default;
        nint offset = 0;
        float* end = panel + (long)kc * TileColumns;
        for (float* p = panel; p < end; p += TileColumns)
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

    /// <summary>Panels of 32 columns, step by step, zero-padded at the right edge.</summary>
    private static void Pack(float* b, int stepB, int columnB, int kc, int nc, float* panels)
    {
        int panel = TileColumns * (kc + Padding), whole = nc / TileColumns, rest = nc % TileColumns;
        float* last = panels + (long)whole * panel;
        if (rest > 0)
        {
            new Span<float>(last, kc * TileColumns).Clear();
        }

        if (columnB != 1)
        {
            for (int j = 0; j < nc; j += TileColumns)
            {
                Transpose(b + (long)j * columnB, columnB, stepB, Math.Min(TileColumns, nc - j), kc, panels + (long)(j / TileColumns) * panel);
            }

            return;
        }

        for (int p = 0; p < kc; p++)
        {
            float* source = b + (long)p * stepB;
            float* target = panels + p * TileColumns;
            for (int j = 0; j < whole; j++)
            {
                Vector512.Store(Vector512.Load(source + j * TileColumns), target + (long)j * panel);
                Vector512.Store(Vector512.Load(source + j * TileColumns + 16), target + (long)j * panel + 16);
            }

            new ReadOnlySpan<float>(source + whole * TileColumns, rest).CopyTo(new Span<float>(last + p * TileColumns, rest));
        }
    }

    /// <summary>Columns of B that are rows in memory, into one panel: squares of eight through registers.</summary>
    private static void Transpose(float* b, int row, int step, int width, int kc, float* panel)
    {
        int p = 0, vectorWidth = step == 1 && Avx.IsSupported ? width / 8 * 8 : 0;
        for (; vectorWidth > 0 && p + 8 <= kc; p += 8)
        {
            for (int s = 0; s < vectorWidth; s += 8)
            {
                Square(b + (long)s * row + p, row, panel + p * TileColumns + s);
            }
        }

        Rest(0, vectorWidth, p);
        Rest(vectorWidth, width, 0);

        void Rest(int fromColumn, int toColumn, int fromStep)
        {
            for (int s = fromColumn; s < toColumn; s++)
            {
                for (int q = fromStep; q < kc; q++)
                {
                    panel[q * TileColumns + s] = b[(long)s * row + (long)q * step];
                }
            }
        }
    }

    private static void Square(float* b, int row, float* target)
    {
        Vector256<float> r0 = Vector256.Load(b), r1 = Vector256.Load(b + row), r2 = Vector256.Load(b + 2L * row), r3 = Vector256.Load(b + 3L * row);
        Vector256<float> r4 = Vector256.Load(b + 4L * row), r5 = Vector256.Load(b + 5L * row), r6 = Vector256.Load(b + 6L * row), r7 = Vector256.Load(b + 7L * row);
        (r0, r1, r2, r3) = Quarter(r0, r1, r2, r3);
        (r4, r5, r6, r7) = Quarter(r4, r5, r6, r7);
        Store(target, r0, r4);
        Store(target + TileColumns, r1, r5);
        Store(target + 2 * TileColumns, r2, r6);
        Store(target + 3 * TileColumns, r3, r7);

        // Lane l of r0…r3 holds columns of rows 0-3, of r4…r7 those of rows 4-7.
        static (Vector256<float>, Vector256<float>, Vector256<float>, Vector256<float>) Quarter(Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d)
        {
            Vector256<float> ab = Avx.UnpackLow(a, b), abHigh = Avx.UnpackHigh(a, b), cd = Avx.UnpackLow(c, d), cdHigh = Avx.UnpackHigh(c, d);
            return (Avx.Shuffle(ab, cd, 0x44), Avx.Shuffle(ab, cd, 0xEE), Avx.Shuffle(abHigh, cdHigh, 0x44), Avx.Shuffle(abHigh, cdHigh, 0xEE));
        }

        static void Store(float* at, Vector256<float> low, Vector256<float> high)
        {
            Avx.Permute2x128(low, high, 0x20).Store(at);
            Avx.Permute2x128(low, high, 0x31).Store(at + 4 * TileColumns);
        }
    }
}
