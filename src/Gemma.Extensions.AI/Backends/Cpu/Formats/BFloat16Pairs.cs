using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Tiles of any format as pairs of bfloat16, <c>w[column/2][32][2]</c>: the operand of matrix registers. Weights are rounded to nearest, ties away from zero.</summary>
internal static unsafe class BFloat16Pairs
{
    /// <summary>Columns that are unpacked at a time: the tile and its scales stay in L1 beside their pairs.</summary>
    private const int ChunkColumns = 256;

    private const int FloatColumns = ChunkColumns / 2;

    /// <summary>A chunk and its scales: 256 columns of bytes with two floats for 16 of them, or 128 columns of floats.</summary>
    public const int ScratchBytes = FloatColumns * TileFormat.Rows * sizeof(float);

    private const int ScalesAt = ChunkColumns * TileFormat.Rows;

    /// <summary>Bytes of a tile of some columns.</summary>
    public static long TileBytes(int columns) => (long)MatrixKernels.Padded(columns) * TileFormat.Rows * sizeof(ushort);

    /// <summary>Unpacks 32 weight rows. Columns that fill up a step are zero.</summary>
    /// <param name="format">Format of the rows.</param>
    /// <param name="data">The first column of the first row.</param>
    /// <param name="rowBytes">Bytes of a row.</param>
    /// <param name="stride">Bytes from a row to the next; <see cref="InterleavedRows.Stride"/> for rows that lie among each other.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="scratch"><see cref="ScratchBytes"/>.</param>
    /// <param name="target">Receives <see cref="TileBytes"/>.</param>
    public static void Unpack(TileFormat format, byte* data, long rowBytes, long stride, int columns, byte* scratch, byte* target)
    {
        byte* lower = data + InterleavedRows.Count * rowBytes;
        if (format.Layout == TileLayout.BFloat16x2)
        {
            format.UnpackRows(data, stride, columns, target, null);
            format.UnpackRows(lower, stride, columns, target + 64, null);
        }
        else
        {
            int chunk = format.Layout == TileLayout.Float32 ? FloatColumns : ChunkColumns;
            float* scales = (float*)(scratch + ScalesAt);
            for (int k = 0; k < columns; k += chunk)
            {
                int count = Math.Min(chunk, columns - k);
                long offset = BlockFormat.Get(format.Type).ByteLength(k) * (stride == InterleavedRows.Stride ? InterleavedRows.Count : 1);
                format.UnpackRows(data + offset, stride, count, scratch, scales);
                format.UnpackRows(lower + offset, stride, count, scratch + 64, scales + 16);
                byte* pairs = target + (long)k * TileFormat.Rows * sizeof(ushort);
                if (format.Layout == TileLayout.Float32)
                {
                    FromFloats((float*)scratch, count, pairs);
                }
                else
                {
                    FromBytes(format, scratch, scales, count, pairs);
                }
            }
        }

        new Span<byte>(target + (long)columns * TileFormat.Rows * sizeof(ushort), (MatrixKernels.Padded(columns) - columns) * TileFormat.Rows * sizeof(ushort)).Clear();
    }

    /// <summary>Floats w[column][32].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void FromFloats(float* tile, int columns, byte* pairs)
    {
        for (int k = 0; k < columns; k += 2, tile += 2 * TileFormat.Rows, pairs += 2 * 64)
        {
            Pair(Vector512.Load(tile), Vector512.Load(tile + TileFormat.Rows)).Store((uint*)pairs);
            Pair(Vector512.Load(tile + 16), Vector512.Load(tile + TileFormat.Rows + 16)).Store((uint*)(pairs + 64));
        }
    }

    /// <summary>scale·(q - offset) - minimum, with offset and minimum folded into one addend: scale·offset is exact, since an offset is a power of two or small.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FromBytes(TileFormat format, byte* tile, float* scales, int columns, byte* pairs)
    {
        int steps = format.Group / 4, scaleStride = format.ScaleStride;
        bool minimum = format.HasMinimum;
        Vector512<float> offset = Vector512.Create((float)format.Offset);
        Vector512<int> low = Vector512.Create(255);
        for (int k = 0; k < columns; k += format.Group, scales += scaleStride)
        {
            Vector512<float> s0 = Vector512.Load(scales), s1 = Vector512.Load(scales + 16);
            Vector512<float> a0 = minimum ? -Vector512.Load(scales + TileFormat.Rows) : -(s0 * offset);
            Vector512<float> a1 = minimum ? -Vector512.Load(scales + TileFormat.Rows + 16) : -(s1 * offset);
            for (int step = 0; step < steps; step++, tile += 4 * TileFormat.Rows, pairs += 4 * 64)
            {
                Vector512<int> q = Vector512.Load((int*)tile);
                Pair(Weight(q & low, s0, a0), Weight((q >> 8) & low, s0, a0)).Store((uint*)pairs);
                Pair(Weight((q >> 16) & low, s0, a0), Weight((q >>> 24), s0, a0)).Store((uint*)(pairs + 128));
                q = Vector512.Load((int*)(tile + 64));
                Pair(Weight(q & low, s1, a1), Weight((q >> 8) & low, s1, a1)).Store((uint*)(pairs + 64));
                Pair(Weight((q >> 16) & low, s1, a1), Weight((q >>> 24), s1, a1)).Store((uint*)(pairs + 192));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Weight(Vector512<int> q, Vector512<float> scale, Vector512<float> addend) =>
        Vector512.MultiplyAddEstimate(Vector512.ConvertToSingle(q), scale, addend);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Pair(Vector512<float> first, Vector512<float> second)
    {
        Vector512<uint> half = Vector512.Create(0x8000u);
        return ((first.AsUInt32() + half) >> 16) | ((second.AsUInt32() + half) & Vector512.Create(0xFFFF0000u));
    }
}
