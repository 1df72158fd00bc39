using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>
/// For every kernel the smallest operations that take all its ways (loops that end and go on, rows and columns that do not fill a block), against double precision or the CPU's reference, with
/// bounds as tight as rounding allows. A mutation run repeats them with one instruction taken away.
/// </summary>
internal static unsafe class KernelChecks
{
    private static readonly TensorType[] s_types = [TensorType.BF16, TensorType.F16, TensorType.F32, TensorType.Q8_0, TensorType.Q4_0, TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K];

    /// <summary>The checks that a kernel is launched by.</summary>
    public static IEnumerable<Action<Backend>> Of(string kernel)
    {
        if (kernel == "norms")
        {
            yield return backend => Forms(backend, 300);
            yield return backend => Norms(backend, 700);
            yield return backend => Norms(backend, 100);
        }
        else if (kernel is "geglu" or "softcap" or "select_rows")
        {
            yield return Elements;
            yield return backend => Forms(backend, 45);
        }
        else if (kernel.StartsWith("low_rank", StringComparison.Ordinal))
        {
            yield return backend => LowRank(backend, 300);
            yield return backend => LowRank(backend, 60);
        }
        else if (kernel == "pack_activations")
        {
            yield return backend => Product(backend, TensorType.BF16, 2, 45);
            yield return backend => Product(backend, TensorType.Q8_0, 3, 160, promptRows: 1);
            yield return backend => Product(backend, TensorType.Q8_0, 2, 160);
        }
        else if (kernel.StartsWith("prompt_product_", StringComparison.Ordinal))
        {
            bool isSmall = kernel.EndsWith("_32", StringComparison.Ordinal);
            yield return backend => Product(backend, TensorType.BF16, isSmall ? 42 : 151, isSmall ? 275 : 150, promptRows: isSmall ? 41 : 150, outputs: isSmall ? 71 : 149);
            yield return backend => Product(backend, TensorType.BF16, isSmall ? 5 : 70, 20, promptRows: isSmall ? 5 : 70, outputs: 7);
        }
        else if (kernel.StartsWith("unpack_", StringComparison.Ordinal))
        {
            TensorType type = TypeOf(kernel[7..]);
            yield return backend => Product(backend, type, 3, CudaFormat.Of(type).IsFloat ? 45 : type is TensorType.Q8_0 or TensorType.Q4_0 ? 352 : 512, promptRows: 2, outputs: 300);
        }
        else if (kernel.StartsWith("prompt_attention_", StringComparison.Ordinal))
        {
            (GemmaKvCacheType type, int headDim) = KvOf(kernel);
            yield return backend => PromptAttention(backend, type, headDim, window: int.MaxValue, cap: 0);
            yield return backend => PromptAttention(backend, type, headDim, window: 101, cap: 20);
        }
        else if (kernel.StartsWith("embed_", StringComparison.Ordinal))
        {
            yield return backend => Embed(backend, TypeOf(kernel[6..]));
        }
        else if (kernel.StartsWith("product_", StringComparison.Ordinal))
        {
            TensorType type = TypeOf(kernel[8..^2]);
            bool isFloat = CudaFormat.Of(type).IsFloat;
            int rows = kernel[^1] == '1' ? 5 : 41;
            yield return backend => Product(backend, type, rows, isFloat ? 32 * 39 : 1280);
            yield return backend => Product(backend, type, kernel[^1] == '1' ? 8 : 9, isFloat ? 32 * 9 : 256);
        }
        else
        {
            (GemmaKvCacheType type, int headDim) = KvOf(kernel);
            yield return backend => Attention(backend, type, headDim, rowsEach: 3, window: int.MaxValue, cap: 0);  // too many rows to share keys out
            yield return backend => Attention(backend, type, headDim, rowsEach: 1, window: 1050, cap: 20);         // shared out
        }
    }

    private static TensorType TypeOf(string name) => s_types.Single(type => type.ToString().Equals(name, StringComparison.OrdinalIgnoreCase));

    private static (GemmaKvCacheType Type, int HeadDim) KvOf(string kernel)
    {
        string rest = kernel.Replace("rope_store_", "", StringComparison.Ordinal).Replace("prompt_", "", StringComparison.Ordinal).Replace("attention_", "", StringComparison.Ordinal);
        GemmaKvCacheType type = rest.StartsWith("bf16", StringComparison.Ordinal) ? GemmaKvCacheType.BF16 : rest.StartsWith("f16", StringComparison.Ordinal) ? GemmaKvCacheType.F16 : rest.StartsWith("q8_0", StringComparison.Ordinal) ? GemmaKvCacheType.Q8_0 : GemmaKvCacheType.F32;
        return (type, rest.EndsWith("_128", StringComparison.Ordinal) ? 128 : rest.EndsWith("_256", StringComparison.Ordinal) ? 256 : type == GemmaKvCacheType.Q8_0 ? 256 : 250);
    }

    private static void Norms(Backend backend, int columns)
    {
        using var random = new RandomTensors(1);
        const int Rows = 2;
        TensorView w = random.Create(TensorType.F32, 1, columns);
        WeightVector weight = backend.LoadVector(w, 1);
        float[] factors = RandomTensors.Decode(w);
        using Matrix x = Fill(backend, random, Rows, columns, 3), y = Fill(backend, random, Rows, columns), residual = Fill(backend, random, Rows, columns);
        float[] input = x.Read(0, Rows).ToArray(), before = residual.Read(0, Rows).ToArray();
        backend.RmsNorm(x, weight, 0.5f, y, Rows);
        backend.AddRmsNorm(residual, x, weight, 0.5f, Rows);
        using Matrix again = Fill(backend, random, Rows, columns), both = backend.CreateMatrix(Rows, columns), after = backend.CreateMatrix(Rows, columns);
        again.Write(0, before);
        backend.AddRmsNorm(again, x, weight, 0.5f, weight, both, Rows);
        backend.RmsNorm(residual, weight, 0.5f, after, Rows);
        Compare([.. residual.Read(0, Rows).ToArray().Select(value => (double)value)], again.Read(0, Rows), 0);
        Compare([.. after.Read(0, Rows).ToArray().Select(value => (double)value)], both.Read(0, Rows), 1e-6);
        var expected = new double[Rows * columns];
        for (int r = 0; r < Rows; r++)
        {
            double square = input.Skip(r * columns).Take(columns).Sum(value => (double)value * value) / columns;
            for (int i = 0; i < columns; i++)
            {
                expected[r * columns + i] = input[r * columns + i] / Math.Sqrt(square + 0.5) * (factors[i] + 1.0);
            }
        }

        Compare(expected, y.Read(0, Rows), 1e-6);
        Compare([.. expected.Zip(before, (sum, value) => sum + value)], residual.Read(0, Rows), 1e-6);
    }

    private static void Elements(Backend backend)
    {
        using var random = new RandomTensors(2);
        const int Rows = 3, Columns = 300;
        using Matrix gateUp = Fill(backend, random, Rows, 2 * Columns, 2), y = Fill(backend, random, Rows, Columns), x = Fill(backend, random, Rows, Columns, 20), chosen = Fill(backend, random, 2, Columns);
        float[] input = gateUp.Read(0, Rows).ToArray(), values = x.Read(0, Rows).ToArray();
        backend.GeGlu(gateUp, y, Rows);
        backend.SelectRows(x, [2, 0], chosen);
        backend.Softcap(x, 10, Rows - 1);
        Compare(
            [.. Enumerable.Range(0, Rows * Columns).Select(i =>
            {
                double gate = input[i / Columns * 2 * Columns + i % Columns], up = input[i / Columns * 2 * Columns + Columns + i % Columns];
                return gate / 2 * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (gate + 0.044715 * gate * gate * gate))) * up;
            })], y.Read(0, Rows), 1e-6);
        Compare([.. values.Skip(2 * Columns).Concat(values.Take(Columns)).Select(value => (double)value)], chosen.Read(0, 2), 0);
        Compare([.. values.Select((value, i) => i < (Rows - 1) * Columns ? 10 * Math.Tanh(value / 10.0) : value)], x.Read(0, Rows), 1e-6);
    }

    private static void LowRank(Backend backend, int columns)
    {
        using var random = new RandomTensors(3);
        const int Outputs = 280, Rows = 4;
        float[] a = Numbers(random, 6 * columns), b = Numbers(random, 270 * 6), a2 = Numbers(random, columns), b2 = Numbers(random, 10);
        LowRankMatrix update = backend.LoadLowRank(Outputs, columns, new LowRankPart(0, 6, a, b), new LowRankPart(270, 1, a2, b2));
        using Matrix x = Fill(backend, random, Rows, columns), y = Fill(backend, random, Rows, Outputs);
        float[] input = x.Read(0, Rows).ToArray();
        double[] expected = [.. y.Read(0, Rows).ToArray().Select(value => (double)value)];
        backend.AddLowRank(x, update, y, [1, 3]);
        foreach (int r in (int[])[1, 3])
        {
            for (int n = 0; n < Outputs; n++)
            {
                for (int j = 0; j < (n < 270 ? 6 : 1); j++)
                {
                    double inner = Enumerable.Range(0, columns).Sum(i => (double)input[r * columns + i] * (n < 270 ? a[j * columns + i] : a2[i]));
                    expected[r * Outputs + n] += inner * (n < 270 ? b[n * 6 + j] : b2[n - 270]);
                }
            }
        }

        Compare(expected, y.Read(0, Rows), 1e-6);
    }

    private static void Embed(Backend backend, TensorType type)
    {
        using var random = new RandomTensors(4);
        int columns = CudaFormat.Of(type).IsFloat ? 300 : 512;
        TensorView first = random.Create(type, 5, columns), second = random.Create(type == TensorType.F32 ? TensorType.F16 : TensorType.F32, 3, columns), third = random.Create(type, 2, columns);
        WeightMatrix table = backend.LoadWeights(first, second, third);
        int[] tokens = [7, 4, 9, 0, 8];
        using Matrix y = Fill(backend, random, 5, columns);
        backend.Embed(table, tokens, 3.5f, y);
        float[] decoded = [.. RandomTensors.Decode(first), .. RandomTensors.Decode(second), .. RandomTensors.Decode(third)];
        Compare([.. tokens.SelectMany(token => decoded.Skip(token * columns).Take(columns)).Select(value => (double)(value * 3.5f))], y.Read(0, 5), 0);
    }

    /// <summary>The last rows are a prompt's.</summary>
    private static void Product(Backend backend, TensorType type, int rows, int columns, int promptRows = 0, int outputs = 37)
    {
        using var random = new RandomTensors(5);
        TensorView tensor = random.Create(type, outputs, columns), other = random.Create(TensorType.BF16, 3, columns);
        WeightMatrix weights = backend.LoadWeights(other, tensor);
        using Matrix x = Fill(backend, random, rows, columns, 2), y = Fill(backend, random, rows + 1, outputs + 3);
        float[] input = x.Read(0, rows).ToArray(), decoded = RandomTensors.Decode(tensor), untouched = y.Read(rows, 1).ToArray();
        backend.MatMul(x, weights, y, rows, promptRows);
        double[] activations = CudaFormat.Of(type).IsFloat || promptRows == rows ? [.. input.Select(value => (double)value)] : Rounded(input, columns), wide = [.. decoded.Select(value => (double)value)];
        double[] prompts = [.. input.Select(AsBFloat16)], numbers = [.. decoded.Select(AsBFloat16)];
        var expected = new double[rows * outputs];
        for (int r = 0; r < rows; r++)
        {
            bool isPrompt = r >= rows - promptRows;
            ReadOnlySpan<double> left = (isPrompt ? prompts : activations).AsSpan(r * columns, columns);
            for (int n = 0; n < outputs; n++)
            {
                expected[r * outputs + n] = System.Numerics.Tensors.TensorPrimitives.Dot(left, (isPrompt ? numbers : wide).AsSpan(n * columns, columns));
            }
        }

        float[] actual = y.Read(0, rows + 1).ToArray();
        Compare(expected, [.. Enumerable.Range(0, rows).SelectMany(r => actual.Skip(r * (outputs + 3) + 3).Take(outputs))], type switch { TensorType.BF16 => 5e-6, TensorType.F16 => 2e-5, TensorType.F32 => 4e-5, _ => 1e-6 });
        Compare([.. untouched.Select(value => (double)value)], actual[(rows * (outputs + 3))..], 0);
    }

    /// <summary>
    /// What norms and GeGLU write for the products that follow: the first time a product packs its input itself, then the operation before it does. The products are the same bit for bit,
    /// of generated rows as of a prompt's.
    /// </summary>
    private static void Forms(Backend backend, int columns)
    {
        using var random = new RandomTensors(7);
        const int Outputs = 5;
        foreach (int promptRows in (int[])[0, 2, 3])
        {
            const int Rows = 3;
            var batch = new ForwardBatch(Rows, 2);
            if (promptRows < Rows)
            {
                batch.Add(new int[Rows - promptRows], 0, [0], [0]);
            }

            if (promptRows > 0)
            {
                batch.Add(new int[promptRows], 0, [0], [0], isPrompt: true);
            }

            backend.Begin(batch);
            WeightVector norm = backend.LoadVector(random.Create(TensorType.F32, 1, columns), 1);
            WeightMatrix floats = backend.LoadWeights(random.Create(TensorType.BF16, Outputs, columns)), bytes = backend.LoadWeights(random.Create(TensorType.Q8_0, Outputs, 32 * ((columns + 31) / 32)));
            using Matrix x = Fill(backend, random, Rows, columns), gateUp = Fill(backend, random, Rows, 2 * columns, 2), wide = Fill(backend, random, Rows, 64 * ((columns + 31) / 32), 2);
            using Matrix h = backend.CreateMatrix(Rows, columns), ffn = backend.CreateMatrix(Rows, columns), wider = backend.CreateMatrix(Rows, bytes.Columns), y = backend.CreateMatrix(Rows, Outputs);
            float[][] first = Round(), second = Round(), third = Round();
            Assert.Equal(first, second);
            Assert.Equal(first, third);

            float[][] Round()
            {
                backend.RmsNorm(x, norm, 0.5f, h, Rows);
                float[] normed = Multiply(h, floats);
                backend.GeGlu(gateUp, ffn, Rows);
                float[] gated = Multiply(ffn, floats);
                backend.GeGlu(wide, wider, Rows);
                return [normed, gated, Multiply(wider, bytes), Multiply(wider, bytes)];
            }

            float[] Multiply(Matrix input, WeightMatrix weights)
            {
                backend.MatMul(input, weights, y, Rows, promptRows);
                return y.Read(0, Rows).ToArray();
            }
        }
    }

    /// <summary>Three sequences whose next rows lie in the first, the second and the third span of keys; everything before is in memory already.</summary>
    private static void Attention(Backend backend, GemmaKvCacheType type, int headDim, int rowsEach, int window, float cap)
    {
        const int Heads = 4, KvHeads = 2, BlockTokens = 20, Blocks = 60;
        int[] positions = [6, 301, rowsEach == 1 ? 1150 : 530];
        using CpuBackend reference = Tiers.CreateCpu("reference", 1);
        using var random = new RandomTensors(6);
        var layout = new KvLayout(2, KvHeads, headDim, BlockTokens, type);
        using KvPool pool = backend.CreateKvPool(layout, 3 * Blocks), expectedPool = reference.CreateKvPool(layout, 3 * Blocks);
        byte[] bytes = new byte[layout.BlockBytes];
        for (int block = 0; block < 3 * Blocks; block++)
        {
            Stored(random, bytes, type, layout.RowBytes);
            pool.WriteBlock(block, bytes);
            expectedPool.WriteBlock(block, bytes);
        }

        int rows = 3 * rowsEach, width = (Heads + 2 * KvHeads) * headDim;
        var batch = new ForwardBatch(rows, 3);
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
            var layer = new AttentionSpec(memory, 1, false, window, Heads, KvHeads, headDim, 0.3f, cap, 10000, rowsEach == 1 && type == GemmaKvCacheType.F32 ? 2.5f : 1);
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
        using var random = new RandomTensors(8);
        var layout = new KvLayout(2, KvHeads, headDim, BlockTokens, type);
        using KvPool pool = backend.CreateKvPool(layout, 3 * Blocks);
        byte[] bytes = new byte[layout.BlockBytes], poison = [.. Enumerable.Repeat((byte)0xFF, bytes.Length)];
        int rows = sequences.Sum(sequence => sequence.Rows), width = (Heads + 2 * KvHeads) * headDim;
        var batch = new ForwardBatch(rows, 3);
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
        var layer = new AttentionSpec(pool, 1, false, window, Heads, KvHeads, headDim, 0.2f, cap, 10000);
        backend.Begin(batch);
        backend.RopeAndStore(qkv, in layer, batch);
        backend.Attention(qkv, in layer, batch, y);
        float[] queries = qkv.Read(0, rows).ToArray();
        var expected = new double[rows * Heads * headDim];
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
            var result = new double[headDim];
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

    private static double AsBFloat16(float value) => BitConverter.Int32BitsToSingle(HalfBits.BFloat16FromSingle(value) << 16);

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

    /// <summary>Activations as signed bytes with one scale for 32 of them.</summary>
    private static double[] Rounded(float[] input, int columns)
    {
        var result = new double[input.Length];
        for (int row = 0; row < input.Length; row += columns)
        {
            for (int start = row; start < row + columns; start += 32)
            {
                float scale = input.AsSpan(start, 32).ToArray().Max(Math.Abs) / 127f;
                for (int i = start; i < start + 32; i++)
                {
                    result[i] = scale > 0 ? scale * (double)MathF.Round(input[i] / scale) : 0;
                }
            }
        }

        return result;
    }

    private static float[] Numbers(RandomTensors random, int count)
    {
        var values = new float[count];
        random.Fill(values);
        return values;
    }

    private static Matrix Fill(Backend backend, RandomTensors random, int rows, int columns, float scale = 1)
    {
        Matrix matrix = backend.CreateMatrix(rows, columns);
        var values = new float[rows * columns];
        random.Fill(values, scale);
        matrix.Write(0, values);
        return matrix;
    }

    /// <summary>Bounds are relative to the largest number.</summary>
    private static void Compare(double[] expected, ReadOnlySpan<float> actual, double bound)
    {
        Assert.Equal(expected.Length, actual.Length);
        double largest = expected.Max(Math.Abs);
        for (int i = 0; i < expected.Length; i++)
        {
            if (!(Math.Abs(expected[i] - actual[i]) <= bound * largest))
            {
                Assert.Fail($"[{i}]: {actual[i]}, expected {expected[i]} ± {bound * largest}.");
            }
        }
    }
}
