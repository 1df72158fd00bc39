using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Training;

// Packing of A into tiles and of B into panels.
internal static unsafe partial class Gemm
{
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
