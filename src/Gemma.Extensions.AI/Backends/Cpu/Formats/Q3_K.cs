using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Three bits with a zero point of 4; six-bit signed scales of 16 columns.</summary>
internal static unsafe class Q3_KTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.Q3_K,
        Group = 16,
        Offset = 4,
        MaxByte = 7,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> two = Vector512.Create(0x03030303u), four = Vector512.Create(Nibbles), one = Vector512.Create(0x01010101u);
        for (int k = 0; k < columns; k += 256, rows += 110, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            // The scales start at byte 96. Reading 16 bytes there would run past the block, so they are read two bytes earlier and shifted.
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
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<uint> Center(Vector512<uint> scale) => (scale.AsSByte() - Vector512.Create((sbyte)32)).AsUInt32();
    }
}
