using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>The unpackers: 16 rows each, block by block. The layouts of the blocks are those of the formats' decoders, against which these are tested.</summary>
internal static unsafe class TileUnpack<TIsa>
    where TIsa : struct, ITileIsa
{
    private const int ByteStep = 4 * TileFormat.Rows;
    private const uint Nibbles = 0x0F0F0F0F;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void F32(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        for (int k = 0; k < columns; k += 4, rows += 16, tile += 4 * ByteStep)
        {
            TIsa.Transpose(rows, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            Put(tile, 0, d0);
            Put(tile, 1, d1);
            Put(tile, 2, d2);
            Put(tile, 3, d3);
        }
    }

    /// <summary>A pair is a dword, transposed as a float32 is.</summary>
    public static void BFloat16Pairs(byte* rows, long stride, int columns, byte* tile, float* scales) => F32(rows, stride, columns / 2, tile, scales);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void BF16(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        Vector512<uint> high = Vector512.Create(0xFFFF0000u);
        for (int k = 0; k < columns; k += 8, rows += 16, tile += 8 * ByteStep)
        {
            TIsa.Transpose(rows, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            Put(tile, 0, d0 << 16);
            Put(tile, 1, d0 & high);
            Put(tile, 2, d1 << 16);
            Put(tile, 3, d1 & high);
            Put(tile, 4, d2 << 16);
            Put(tile, 5, d2 & high);
            Put(tile, 6, d3 << 16);
            Put(tile, 7, d3 & high);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void F16(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        for (int k = 0; k < columns; k += 8, rows += 16, tile += 8 * ByteStep)
        {
            TIsa.Transpose(rows, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            Put(tile, 0, LowHalf(d0).AsUInt32());
            Put(tile, 1, HighHalf(d0).AsUInt32());
            Put(tile, 2, LowHalf(d1).AsUInt32());
            Put(tile, 3, HighHalf(d1).AsUInt32());
            Put(tile, 4, LowHalf(d2).AsUInt32());
            Put(tile, 5, HighHalf(d2).AsUInt32());
            Put(tile, 6, LowHalf(d3).AsUInt32());
            Put(tile, 7, HighHalf(d3).AsUInt32());
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q8_0(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        Vector512<uint> sign = Vector512.Create(0x80808080u);
        for (int k = 0; k < columns; k += 32, rows += 34, tile += 8 * ByteStep, scales += TileFormat.Rows)
        {
            LowHalf(First(rows, stride)).Store(scales);
            for (int h = 0; h < 2; h++)
            {
                TIsa.Transpose(rows + 2 + 16 * h, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                Put(tile, 4 * h, d0 ^ sign);
                Put(tile, 4 * h + 1, d1 ^ sign);
                Put(tile, 4 * h + 2, d2 ^ sign);
                Put(tile, 4 * h + 3, d3 ^ sign);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q4_0(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        for (int k = 0; k < columns; k += 32, rows += 18, tile += 8 * ByteStep, scales += TileFormat.Rows)
        {
            LowHalf(First(rows, stride)).Store(scales);
            TIsa.Transpose(rows + 2, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            PutNibbles(tile, 0, 4, d0, d1, d2, d3);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q4_1(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        for (int k = 0; k < columns; k += 32, rows += 20, tile += 8 * ByteStep, scales += 2 * TileFormat.Rows)
        {
            ScaleAndAddend(First(rows, stride), scales);
            TIsa.Transpose(rows + 4, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            PutNibbles(tile, 0, 4, d0, d1, d2, d3);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q5_0(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        for (int k = 0; k < columns; k += 32, rows += 22, tile += 8 * ByteStep, scales += TileFormat.Rows)
        {
            LowHalf(First(rows, stride)).Store(scales);
            PutFiveBits(rows + 6, stride, First(rows + 2, stride), tile);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q5_1(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        for (int k = 0; k < columns; k += 32, rows += 24, tile += 8 * ByteStep, scales += 2 * TileFormat.Rows)
        {
            ScaleAndAddend(First(rows, stride), scales);
            PutFiveBits(rows + 8, stride, First(rows + 4, stride), tile);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q2_K(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        Vector512<uint> two = Vector512.Create(0x03030303u), four = Vector512.Create(Nibbles);
        for (int k = 0; k < columns; k += 256, rows += 84, tile += 64 * ByteStep, scales += 32 * TileFormat.Rows)
        {
            Vector512<uint> both = Last(rows + 68, stride);
            Vector512<float> d = LowHalf(both), dmin = HighHalf(both);
            TIsa.Transpose(rows, stride, out Vector512<uint> s0, out Vector512<uint> s1, out Vector512<uint> s2, out Vector512<uint> s3);
            PutScales(scales, 2 * TileFormat.Rows, d, s0 & four, s1 & four, s2 & four, s3 & four);
            PutScales(scales + TileFormat.Rows, 2 * TileFormat.Rows, dmin, (s0 >> 4) & four, (s1 >> 4) & four, (s2 >> 4) & four, (s3 >> 4) & four);
            for (int part = 0; part < 4; part++)
            {
                TIsa.Transpose(rows + 16 + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                byte* target = tile + ((part >> 1) * 32 + (part & 1) * 4) * ByteStep;
                for (int j = 0; j < 4; j++)
                {
                    Put(target, 8 * j, (d0 >> (2 * j)) & two);
                    Put(target, 8 * j + 1, (d1 >> (2 * j)) & two);
                    Put(target, 8 * j + 2, (d2 >> (2 * j)) & two);
                    Put(target, 8 * j + 3, (d3 >> (2 * j)) & two);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q3_K(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        Vector512<uint> two = Vector512.Create(0x03030303u), four = Vector512.Create(Nibbles), one = Vector512.Create(0x01010101u);
        for (int k = 0; k < columns; k += 256, rows += 110, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            // The scales start at byte 96; 16 bytes from there would reach past the block, so they are read two bytes earlier and shifted.
            TIsa.Transpose(rows + 94, stride, out Vector512<uint> w0, out Vector512<uint> w1, out Vector512<uint> w2, out Vector512<uint> w3);
            Vector512<uint> a = (w0 >> 16) | (w1 << 16), b = (w1 >> 16) | (w2 << 16), c = (w2 >> 16) | (w3 << 16);
            PutSignedScales(
                scales,
                HighHalf(w3),
                Center((a & four) | ((c & two) << 4)),
                Center((b & four) | (((c >> 2) & two) << 4)),
                Center(((a >> 4) & four) | (((c >> 4) & two) << 4)),
                Center(((b >> 4) & four) | (((c >> 6) & two) << 4)));
            for (int part = 0; part < 4; part++)
            {
                TIsa.Transpose(rows + 16 * (part & 1), stride, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
                TIsa.Transpose(rows + 32 + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                byte* target = tile + ((part >> 1) * 32 + (part & 1) * 4) * ByteStep;
                for (int j = 0; j < 4; j++)
                {
                    int bit = 4 * (part >> 1) + j;
                    Put(target, 8 * j, ((d0 >> (2 * j)) & two) | (((h0 >> bit) & one) << 2));
                    Put(target, 8 * j + 1, ((d1 >> (2 * j)) & two) | (((h1 >> bit) & one) << 2));
                    Put(target, 8 * j + 2, ((d2 >> (2 * j)) & two) | (((h2 >> bit) & one) << 2));
                    Put(target, 8 * j + 3, ((d3 >> (2 * j)) & two) | (((h3 >> bit) & one) << 2));
                }
            }
        }

        // Bytes 0 to 63 less 32, as signed bytes.
        static Vector512<uint> Center(Vector512<uint> scale) => (scale.AsSByte() - Vector512.Create((sbyte)32)).AsUInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q4_K(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        for (int k = 0; k < columns; k += 256, rows += 144, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            SixBitScales(rows, stride, scales);
            for (int part = 0; part < 4; part++)
            {
                for (int h = 0; h < 2; h++)
                {
                    TIsa.Transpose(rows + 16 + 32 * part + 16 * h, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                    PutNibbles(tile + (16 * part + 4 * h) * ByteStep, 0, 8, d0, d1, d2, d3);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q5_K(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        Vector512<uint> four = Vector512.Create(Nibbles), one = Vector512.Create(0x01010101u);
        for (int k = 0; k < columns; k += 256, rows += 176, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            SixBitScales(rows, stride, scales);
            for (int h = 0; h < 2; h++)
            {
                TIsa.Transpose(rows + 16 + 16 * h, stride, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
                for (int part = 0; part < 4; part++)
                {
                    TIsa.Transpose(rows + 48 + 32 * part + 16 * h, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                    byte* target = tile + (16 * part + 4 * h) * ByteStep;
                    int low = 2 * part, high = 2 * part + 1;
                    Put(target, 0, (d0 & four) | (((h0 >> low) & one) << 4));
                    Put(target, 1, (d1 & four) | (((h1 >> low) & one) << 4));
                    Put(target, 2, (d2 & four) | (((h2 >> low) & one) << 4));
                    Put(target, 3, (d3 & four) | (((h3 >> low) & one) << 4));
                    Put(target, 8, ((d0 >> 4) & four) | (((h0 >> high) & one) << 4));
                    Put(target, 9, ((d1 >> 4) & four) | (((h1 >> high) & one) << 4));
                    Put(target, 10, ((d2 >> 4) & four) | (((h2 >> high) & one) << 4));
                    Put(target, 11, ((d3 >> 4) & four) | (((h3 >> high) & one) << 4));
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q6_K(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        for (int k = 0; k < columns; k += 256, rows += 210, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            TIsa.Transpose(rows + 192, stride, out Vector512<uint> s0, out Vector512<uint> s1, out Vector512<uint> s2, out Vector512<uint> s3);
            PutSignedScales(scales, HighHalf(Last(rows + 194, stride)), s0, s1, s2, s3);
            for (int part = 0; part < 4; part++)
            {
                byte* low = rows + 64 * (part >> 1) + 16 * (part & 1);
                TIsa.Transpose(rows + 128 + 16 * part, stride, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
                TIsa.Transpose(low, stride, out Vector512<uint> a0, out Vector512<uint> a1, out Vector512<uint> a2, out Vector512<uint> a3);
                TIsa.Transpose(low + 32, stride, out Vector512<uint> b0, out Vector512<uint> b1, out Vector512<uint> b2, out Vector512<uint> b3);
                byte* target = tile + ((part >> 1) * 32 + (part & 1) * 4) * ByteStep;
                PutSixBits(target, 0, a0, b0, h0);
                PutSixBits(target, 1, a1, b1, h1);
                PutSixBits(target, 2, a2, b2, h2);
                PutSixBits(target, 3, a3, b3, h3);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void IQ4_NL(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        for (int k = 0; k < columns; k += 32, rows += 18, tile += 8 * ByteStep, scales += TileFormat.Rows)
        {
            LowHalf(First(rows, stride)).Store(scales);
            PutCodes(rows + 2, stride, tile);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void IQ4_XS(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        Vector512<uint> four = Vector512.Create(15u), two = Vector512.Create(3u);
        for (int k = 0; k < columns; k += 256, rows += 136, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            TIsa.Transpose(rows, stride, out Vector512<uint> head, out Vector512<uint> low, out _, out _);
            Vector512<float> d = LowHalf(head);
            for (int group = 0; group < 8; group++)
            {
                Vector512<uint> scale = ((low >> (4 * group)) & four) | (((head >> (16 + 2 * group)) & two) << 4);
                (d * Vector512.ConvertToSingle(scale.AsInt32() - Vector512.Create(32))).Store(scales + group * TileFormat.Rows);
                PutCodes(rows + 8 + 16 * group, stride, tile + 8 * group * ByteStep);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(byte* tile, int step, Vector512<uint> value) => value.Store((uint*)(tile + step * ByteStep));

    /// <summary>First dword of each row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> First(byte* rows, long stride)
    {
        TIsa.Transpose(rows, stride, out Vector512<uint> d0, out _, out _, out _);
        return d0;
    }

    /// <summary>Fourth dword of each row: for what stands at the end of a block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Last(byte* rows, long stride)
    {
        TIsa.Transpose(rows, stride, out _, out _, out _, out Vector512<uint> d3);
        return d3;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutNibbles(byte* tile, int low, int high, Vector512<uint> d0, Vector512<uint> d1, Vector512<uint> d2, Vector512<uint> d3)
    {
        Vector512<uint> mask = Vector512.Create(Nibbles);
        Put(tile, low, d0 & mask);
        Put(tile, low + 1, d1 & mask);
        Put(tile, low + 2, d2 & mask);
        Put(tile, low + 3, d3 & mask);
        Put(tile, high, (d0 >> 4) & mask);
        Put(tile, high + 1, (d1 >> 4) & mask);
        Put(tile, high + 2, (d2 >> 4) & mask);
        Put(tile, high + 3, (d3 >> 4) & mask);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutCodes(byte* rows, long stride, byte* tile)
    {
        // The code book of IQ4_NL and IQ4_XS, plus 128.
        Vector128<byte> codes = Vector128.Create((byte)1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241);
        Vector512<uint> mask = Vector512.Create(Nibbles);
        TIsa.Transpose(rows, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
        Put(tile, 0, TIsa.Lookup(codes, d0 & mask));
        Put(tile, 1, TIsa.Lookup(codes, d1 & mask));
        Put(tile, 2, TIsa.Lookup(codes, d2 & mask));
        Put(tile, 3, TIsa.Lookup(codes, d3 & mask));
        Put(tile, 4, TIsa.Lookup(codes, (d0 >> 4) & mask));
        Put(tile, 5, TIsa.Lookup(codes, (d1 >> 4) & mask));
        Put(tile, 6, TIsa.Lookup(codes, (d2 >> 4) & mask));
        Put(tile, 7, TIsa.Lookup(codes, (d3 >> 4) & mask));
    }

    /// <summary>32 nibbles with a fifth bit each from a dword a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutFiveBits(byte* nibbles, long stride, Vector512<uint> fifth, byte* tile)
    {
        Vector512<uint> mask = Vector512.Create(Nibbles);
        TIsa.Transpose(nibbles, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
        Put(tile, 0, (d0 & mask) | Spread(fifth));
        Put(tile, 1, (d1 & mask) | Spread(fifth >> 4));
        Put(tile, 2, (d2 & mask) | Spread(fifth >> 8));
        Put(tile, 3, (d3 & mask) | Spread(fifth >> 12));
        Put(tile, 4, ((d0 >> 4) & mask) | Spread(fifth >> 16));
        Put(tile, 5, ((d1 >> 4) & mask) | Spread(fifth >> 20));
        Put(tile, 6, ((d2 >> 4) & mask) | Spread(fifth >> 24));
        Put(tile, 7, ((d3 >> 4) & mask) | Spread(fifth >> 28));

        // Bits 0 to 3 become bit 4 of bytes 0 to 3.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<uint> Spread(Vector512<uint> bits)
        {
            Vector512<uint> x = bits & Vector512.Create(15u);
            x |= (x << 7) | (x << 14) | (x << 21);
            return (x & Vector512.Create(0x01010101u)) << 4;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutSixBits(byte* tile, int step, Vector512<uint> a, Vector512<uint> b, Vector512<uint> h)
    {
        Vector512<uint> four = Vector512.Create(Nibbles), top = Vector512.Create(0x30303030u);
        Put(tile, step, (a & four) | ((h << 4) & top));
        Put(tile, step + 8, (b & four) | ((h << 2) & top));
        Put(tile, step + 16, ((a >> 4) & four) | (h & top));
        Put(tile, step + 24, ((b >> 4) & four) | ((h >> 2) & top));
    }

    /// <summary>x = scale·q + addend: the addend is a negative minimum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ScaleAndAddend(Vector512<uint> both, float* scales)
    {
        LowHalf(both).Store(scales);
        (-HighHalf(both)).Store(scales + TileFormat.Rows);
    }

    /// <summary>Scales and minima of the eight groups of Q4_K and Q5_K.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SixBitScales(byte* rows, long stride, float* scales)
    {
        TIsa.Transpose(rows, stride, out Vector512<uint> both, out Vector512<uint> s, out Vector512<uint> m, out Vector512<uint> high);
        Vector512<float> d = LowHalf(both), dmin = HighHalf(both);
        TileScales.SixBits(ref s, ref m, high, out Vector512<uint> laterScales, out Vector512<uint> laterMinima);
        PutFour(scales, 2 * TileFormat.Rows, d, s);
        PutFour(scales + 8 * TileFormat.Rows, 2 * TileFormat.Rows, d, laterScales);
        PutFour(scales + TileFormat.Rows, 2 * TileFormat.Rows, dmin, m);
        PutFour(scales + 9 * TileFormat.Rows, 2 * TileFormat.Rows, dmin, laterMinima);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutScales(float* scales, int step, Vector512<float> d, Vector512<uint> s0, Vector512<uint> s1, Vector512<uint> s2, Vector512<uint> s3)
    {
        PutFour(scales, step, d, s0);
        PutFour(scales + 4 * step, step, d, s1);
        PutFour(scales + 8 * step, step, d, s2);
        PutFour(scales + 12 * step, step, d, s3);
    }

    /// <summary>d times the four unsigned bytes of each dword.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutFour(float* scales, int step, Vector512<float> d, Vector512<uint> bytes)
    {
        Vector512<uint> low = Vector512.Create(255u);
        (d * Vector512.ConvertToSingle((bytes & low).AsInt32())).Store(scales);
        (d * Vector512.ConvertToSingle(((bytes >> 8) & low).AsInt32())).Store(scales + step);
        (d * Vector512.ConvertToSingle(((bytes >> 16) & low).AsInt32())).Store(scales + 2 * step);
        (d * Vector512.ConvertToSingle((bytes >> 24).AsInt32())).Store(scales + 3 * step);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutSignedScales(float* scales, Vector512<float> d, Vector512<uint> s0, Vector512<uint> s1, Vector512<uint> s2, Vector512<uint> s3)
    {
        PutSignedFour(scales, d, s0);
        PutSignedFour(scales + 4 * TileFormat.Rows, d, s1);
        PutSignedFour(scales + 8 * TileFormat.Rows, d, s2);
        PutSignedFour(scales + 12 * TileFormat.Rows, d, s3);
    }

    /// <summary>d times the four signed bytes of each dword.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutSignedFour(float* scales, Vector512<float> d, Vector512<uint> bytes)
    {
        Vector512<int> s = bytes.AsInt32();
        (d * Vector512.ConvertToSingle((s << 24) >> 24)).Store(scales);
        (d * Vector512.ConvertToSingle((s << 16) >> 24)).Store(scales + TileFormat.Rows);
        (d * Vector512.ConvertToSingle((s << 8) >> 24)).Store(scales + 2 * TileFormat.Rows);
        (d * Vector512.ConvertToSingle(s >> 24)).Store(scales + 3 * TileFormat.Rows);
    }
}

/// <summary>What the scales of several formats have in common.</summary>
internal static class TileScales
{
    /// <summary>The six-bit scales and minima of Q4_K and Q5_K: those of groups 0 to 3 in place, those of groups 4 to 7 apart, a byte each.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SixBits(ref Vector512<uint> s, ref Vector512<uint> m, Vector512<uint> high, out Vector512<uint> laterScales, out Vector512<uint> laterMinima)
    {
        Vector512<uint> six = Vector512.Create(0x3F3F3F3Fu), four = Vector512.Create(0x0F0F0F0Fu), top = Vector512.Create(0x30303030u);
        laterScales = (high & four) | ((s >> 2) & top);
        laterMinima = ((high >> 4) & four) | ((m >> 2) & top);
        s &= six;
        m &= six;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LowHalf(Vector512<uint> value) => FromHalf(value & Vector512.Create(0x7FFFu), value << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> HighHalf(Vector512<uint> value) => FromHalf((value >> 16) & Vector512.Create(0x7FFFu), value);

    // Exact for finite numbers (files are checked for others when they are loaded). Subnormal halves, which are common among scales, go by way of
    // integers: processors may take a slow path to multiply subnormal floats (its share here was not measured apart).
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> FromHalf(Vector512<uint> magnitude, Vector512<uint> sign)
    {
        Vector512<uint> normal = (magnitude << 13) + Vector512.Create(112u << 23);
        Vector512<uint> subnormal = (Vector512.ConvertToSingle(magnitude.AsInt32()) * Vector512.Create(1f / (1 << 24))).AsUInt32();
        Vector512<uint> value = Vector512.ConditionalSelect(Vector512.LessThan(magnitude.AsInt32(), Vector512.Create(0x400)).AsUInt32(), subnormal, normal);
        return (value | (sign & Vector512.Create(0x80000000u))).AsSingle();
    }
}
