using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>
/// Puts a weight row into the order of its planes (Kernels/formats.cuh), four numbers at a time: columns 4 q + i of word w of group b of a chunk of 128. Places are given in words of 32 bits.
/// </summary>
internal static unsafe class WeightPacking
{
    private const int NibbleWords = 16, ByteWords = 32, FifthWords = 4, UpperWords = 8;

    /// <param name="format">The device's format.</param>
    /// <param name="source">The row as in the file.</param>
    /// <param name="sourceFormat">The file's format.</param>
    /// <param name="columns">Columns of the row.</param>
    /// <param name="low">Receives the first plane, and so on; what the row does not fill becomes zero.</param>
    /// <param name="high">The second plane.</param>
    /// <param name="scales">The third plane.</param>
    /// <param name="outer">The fourth plane.</param>
    public static void Pack(CudaFormat format, byte* source, BlockFormat sourceFormat, int columns, byte* low, byte* high, byte* scales, byte* outer)
    {
        RowPlanes planes = format.PlanesOf(columns);
        if (format.IsFloat)
        {
            if (format.HasKernel)
            {
                int bytes = columns * format.ElementBytes;
                Buffer.MemoryCopy(source, low, planes.Low, bytes);
                new Span<byte>(low + bytes, (int)planes.Low - bytes).Clear();
            }
            else
            {
                Round(source, sourceFormat, columns, (ushort*)low, (int)(planes.Low / 2));
            }

            return;
        }

        new Span<byte>(low, (int)planes.Low).Clear();
        new Span<byte>(high, (int)planes.High).Clear();
        new Span<byte>(scales, (int)planes.Scales).Clear();
        int blocks = columns / sourceFormat.BlockElements;
        for (int block = 0; block < blocks; block++, source += sourceFormat.BlockBytes)
        {
            switch (format.Type)
            {
                case TensorType.Q8_0:
                    ((ushort*)scales)[block] = *(ushort*)source;
                    PackBytes((uint*)(source + 2), (uint*)low, block);
                    break;
                case TensorType.Q4_0:
                    ((ushort*)scales)[block] = *(ushort*)source;
                    for (int q = 0; q < 4; q++)
                    {
                        // Both halves of the group lie in one word already.
                        *Nibbles((uint*)low, block, q) = Word(source + 2 + 4 * q);
                    }

                    break;
                case TensorType.Q4_K:
                    Buffer.MemoryCopy(source, scales + 16 * block, 16, 16);
                    PackNibbles(source + 16, (uint*)low, block);
                    break;
                case TensorType.Q5_K:
                    Buffer.MemoryCopy(source, scales + 16 * block, 16, 16);
                    PackFifths(source + 16, (uint*)high, block);
                    PackNibbles(source + 48, (uint*)low, block);
                    break;
                default:
                    Buffer.MemoryCopy(source + 192, scales + 16 * block, 16, 16);
                    ((ushort*)outer)[block] = *(ushort*)(source + 208);
                    PackSixBits(source, (uint*)low, (uint*)high, block);
                    break;
            }
        }
    }

    private static void Round(byte* source, BlockFormat format, int columns, ushort* destination, int paddedColumns)
    {
        float[] row = System.Buffers.ArrayPool<float>.Shared.Rent(columns);
        fixed (float* values = row)
        {
            format.Decode(source, values, columns);
        }

        for (int i = 0; i < paddedColumns; i++)
        {
            destination[i] = i < columns ? HalfBits.BFloat16FromSingle(row[i]) : (ushort)0;
        }

        System.Buffers.ArrayPool<float>.Shared.Return(row);
    }

    /// <summary>The word of lane q of a group of 32 columns, counted through the row.</summary>
    private static uint* Nibbles(uint* low, int group, int q) => low + group / 4 * NibbleWords + 4 * q + group % 4;

    private static uint Word(byte* source) => *(uint*)source;

    private static void PackBytes(uint* source, uint* low, int group)
    {
        for (int t = 0; t < 8; t++)
        {
            low[group / 4 * ByteWords + 8 * (t & 3) + 2 * (group % 4) + (t >> 2)] = source[t];
        }
    }

    /// <summary>Q4_K and Q5_K: groups 2 p and 2 p + 1 are the low and high nibbles of 32 bytes.</summary>
    private static void PackNibbles(byte* source, uint* low, int block)
    {
        for (int pair = 0; pair < 4; pair++)
        {
            for (int t = 0; t < 8; t++)
            {
                uint bytes = Word(source + 32 * pair + 4 * t);
                int group = 8 * block + 2 * pair, shift = 4 * (t >> 2);
                *Nibbles(low, group, t & 3) |= (bytes & 0x0F0F0F0F) << shift;
                *Nibbles(low, group + 1, t & 3) |= (bytes >> 4 & 0x0F0F0F0F) << shift;
            }
        }
    }

    /// <summary>Q5_K: bit g of byte j is the fifth bit of column j of group g.</summary>
    private static void PackFifths(byte* source, uint* high, int block)
    {
        for (int t = 0; t < 8; t++)
        {
            uint bytes = Word(source + 4 * t);
            for (int g = 0; g < 8; g++)
            {
                high[(2 * block + g / 4) * FifthWords + (t & 3)] |= (bytes >> g & 0x01010101) << (g % 4 + (t < 4 ? 4 : 0));
            }
        }
    }

    /// <summary>Q6_K: eight runs of 32 columns; see the format.</summary>
    private static void PackSixBits(byte* source, uint* low, uint* high, int block)
    {
        for (int run = 0; run < 8; run++)
        {
            int group = 8 * block + run, lowShift = run % 4 / 2 * 4, highShift = run % 4 * 2;
            for (int t = 0; t < 8; t++)
            {
                uint nibbles = Word(source + run / 4 * 64 + run % 2 * 32 + 4 * t) >> lowShift & 0x0F0F0F0F;
                uint upper = Word(source + 128 + run / 4 * 32 + 4 * t) >> highShift & 0x03030303;
                *Nibbles(low, group, t & 3) |= nibbles << (4 * (t >> 2));
                high[group / 4 * UpperWords + 2 * (t & 3) + (group % 4 >> 1)] |= upper << ((t < 4 ? 4 : 0) + 2 * (group & 1));
            }
        }
    }
}
