using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>Checks of the kernels that store keys and values and attend to them.</summary>
internal static unsafe partial class KernelChecks
{
    /// <summary>Three sequences whose next rows lie in the first, the second and the third span of keys; everything before is in memory already.</summary>
    private static void Attention(Backend backend, GemmaKvCacheType type, int headDim, int rowsEach, int window, float cap)
    {
        const int Heads = 4, KvHeads = 2, BlockTokens = 20, Blocks = 60;
        int[] positions = [6, 301, rowsEach == 1 ? 1150 : 530];
        using CpuBackend reference = Tiers.CreateCpu("reference", 1);
        using RandomTensors random = new(6);
        KvLayout layout = new(2, KvHeads, headDim, BlockTokens, type);
        using KvPool pool = backend.CreateKvPool(layout, 3 * Blocks), expectedPool = reference.CreateKvPool(layout, 3 * Blocks);
        byte[] bytes = new byte[layout.BlockBytes];
        for (int block = 0; block < 3 * Blocks; block++)
        {
            Stored(random, bytes, type, layout.RowBytes);
            pool.WriteBlock(block, bytes);
            expectedPool.WriteBlock(block, bytes);
        }

        int rows = 3 * rowsEach, width = (Heads + 2 * KvHeads) * headDim;
        ForwardBatch batch = new(rows, 3);
        for (int i = 0; i < 3; i++)
        {
            int sequence = i;
            int[] blocks = [.. Enumerable.Range(0, Blocks).Select(b => 3 * (Blocks - 1 - b) + sequence)];
            batch.Add(new int[rowsEach], positions[i], [-1], blocks);
        }

        using Matrix qkv = Fill(backend, random, rows, width, 2), expectedQkv = reference.CreateMatrix(rows, width), y = Fill(backend, random, rows, Heads * headDim), expected = reference.CreateMatrix(rows, Heads * headDim);
        expectedQkv.Write(0, qkv.Read(0, rows));
        Run(reference, expectedPool, expectedQkv, expected);
        Run(backend, pool, qkv, y);
        // A number that is stored in fewer bits may be rounded to the other side.
        Compare([.. expected.Read(0, rows).ToArray().Select(value => (double)value)], y.Read(0, rows), type == GemmaKvCacheType.F32 ? 2e-6 : 1e-5);
        byte[] other = new byte[layout.BlockBytes];
        int different = 0, largest = 0;
        for (int block = 0; block < 3 * Blocks; block++)
        {
            pool.ReadBlock(block, bytes);
            expectedPool.ReadBlock(block, other);
            for (int i = 0; i < bytes.Length; i++)
            {
                different += bytes[i] == other[i] ? 0 : 1;
                largest = Math.Max(largest, type == GemmaKvCacheType.F32 ? 0 : Math.Abs(bytes[i] - other[i]) % 255);
            }
        }

        // Rounding may fall to the other side; in float32 the last bits differ.
        Assert.True(different <= (type == GemmaKvCacheType.F32 ? rows * KvHeads * headDim * 2 : 4 + rows * KvHeads * headDim / 100) && largest <= 1, $"{different} bytes of keys and values differ, by up to {largest}.");

        void Run(Backend on, KvPool memory, Matrix input, Matrix output)
        {
            AttentionSpec layer = new(memory, 1, false, window, Heads, KvHeads, headDim, 0.3f, cap, 10000, rowsEach == 1 && type == GemmaKvCacheType.F32 ? 2.5f : 1);
            on.Begin(batch);
            on.RopeAndStore(input, in layer, batch);
            on.Attention(input, in layer, batch, output);
        }
    }

    /// <summary>A generated row and two prompts that begin in the middle of a tile; what none of their rows may see is NaN or not there at all.</summary>
    private static void PromptAttention(Backend backend, GemmaKvCacheType type, int headDim, int window, float cap)
    {
        const int Heads = 4, KvHeads = 2, BlockTokens = 20, Blocks = 20;
        (int Position, int Rows)[] sequences = [(40, 1), (6, 70), (290, 45)];
        using RandomTensors random = new(8);
        KvLayout layout = new(2, KvHeads, headDim, BlockTokens, type);
        using KvPool pool = backend.CreateKvPool(layout, 3 * Blocks);
        byte[] bytes = new byte[layout.BlockBytes], poison = [.. Enumerable.Repeat((byte)0xFF, bytes.Length)];
        int rows = sequences.Sum(sequence => sequence.Rows), width = (Heads + 2 * KvHeads) * headDim;
        ForwardBatch batch = new(rows, 3);
        int[][] tables = new int[3][];
        for (int i = 0; i < 3; i++)
        {
            (int position, int count) = sequences[i];
            tables[i] = [.. Enumerable.Range(0, Blocks).Select(b => (long)(b + 1) * BlockTokens <= (long)position - window + 1 ? -1 : 3 * (Blocks - 1 - b) + i)];
            for (int b = 0; b < Blocks; b++)
            {
                Stored(random, bytes, type, layout.RowBytes);
                pool.WriteBlock(3 * (Blocks - 1 - b) + i, b * BlockTokens >= position ? poison : bytes);
            }

            batch.Add(new int[count], position, [-1], tables[i], isPrompt: i > 0);
        }

        using Matrix qkv = Fill(backend, random, rows, width, 2), y = Fill(backend, random, rows, Heads * headDim);
        AttentionSpec layer = new(pool, 1, false, window, Heads, KvHeads, headDim, 0.2f, cap, 10000);
        backend.Begin(batch);
        backend.RopeAndStore(qkv, in layer, batch);
        backend.Attention(qkv, in layer, batch, y);
        float[] queries = qkv.Read(0, rows).ToArray();
        double[] expected = new double[rows * Heads * headDim];
        for (int i = 0, row = 0; i < 3; i++)
        {
            byte[][] blocks = [.. tables[i].Select(Read)];
            for (int r = 0; r < sequences[i].Rows; r++, row++)
            {
                for (int head = 0; head < Heads; head++)
                {
                    double[] q = [.. queries.AsSpan(row * width + head * headDim, headDim).ToArray().Select(value => i == 0 ? value * layer.QueryScale : type == GemmaKvCacheType.F16 ? (double)(Half)(value * layer.QueryScale) : AsBFloat16(value * layer.QueryScale))];
                    Attend(blocks, q, sequences[i].Position + r, head / (Heads / KvHeads)).CopyTo(expected, (row * Heads + head) * headDim);
                }
            }
        }

        // The weights of values are rounded too.
        Compare(expected, y.Read(0, rows), type == GemmaKvCacheType.F16 ? 3e-4 : 2.5e-3);

        byte[] Read(int block)
        {
            byte[] read = new byte[layout.BlockBytes];
            if (block >= 0)
            {
                pool.ReadBlock(block, read);
            }

            return read;
        }

        double[] Attend(byte[][] blocks, double[] q, int position, int kvHead)
        {
            int first = (int)Math.Max(0, (long)position - window + 1);
            double[] scores = [.. Enumerable.Range(first, position - first + 1).Select(key => System.Numerics.Tensors.TensorPrimitives.Dot<double>(q, Row(key, 2))).Select(score => cap > 0 ? cap * Math.Tanh(score / cap) : score)];
            double largest = scores.Max(), sum = scores.Sum(score => Math.Exp(score - largest));
            double[] result = new double[headDim];
            for (int key = first; key <= position; key++)
            {
                double[] value = Row(key, 3);
                double weight = Math.Exp(scores[key - first] - largest) / sum;
                for (int d = 0; d < headDim; d++)
                {
                    result[d] += weight * value[d];
                }
            }

            return result;

            double[] Row(int key, int part) // the second layer's keys are part 2 of a block, its values part 3
            {
                ReadOnlySpan<ushort> row = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ushort>(
                    blocks[key / BlockTokens].AsSpan(((part * KvHeads + kvHead) * BlockTokens + key % BlockTokens) * layout.RowBytes, layout.RowBytes));
                return [.. row.ToArray().Select(bits => type == GemmaKvCacheType.F16 ? (double)BitConverter.UInt16BitsToHalf(bits) : BitConverter.Int32BitsToSingle(bits << 16))];
            }
        }
    }

    /// <summary>Keys and values of ordinary size in every type.</summary>
    private static void Stored(RandomTensors random, byte[] bytes, GemmaKvCacheType type, int rowBytes)
    {
        float[] values = Numbers(random, bytes.Length / 2);
        fixed (byte* data = bytes)
        {
            for (int i = 0; i < bytes.Length / 2; i++)
            {
                switch (type)
                {
                    case GemmaKvCacheType.F32:
                        ((float*)data)[i / 2] = values[i];
                        break;
                    case GemmaKvCacheType.F16:
                        ((Half*)data)[i] = (Half)values[i];
                        break;
                    case GemmaKvCacheType.BF16:
                        ((ushort*)data)[i] = HalfBits.BFloat16FromSingle(values[i]);
                        break;
                    default:
                        *(ushort*)(data + 2 * i) = i % 17 == 0 ? BitConverter.HalfToUInt16Bits((Half)(0.005f + Math.Abs(values[i]) / 100)) : (ushort)(values[i] * 20_000);
                        break;
                }
            }
        }
    }
}
