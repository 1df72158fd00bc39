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
internal static unsafe partial class KernelChecks
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
            yield return backend => Product(backend, TensorType.Q4_K, 2, 512);
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
            yield return backend => Product(backend, type, 3, CudaFormat.Of(type).IsFloat ? 2100 : type is TensorType.Q8_0 or TensorType.Q4_0 ? 352 : 512, promptRows: 2, outputs: 300);
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
        using RandomTensors random = new(1);
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
        double[] expected = new double[Rows * columns];
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
        using RandomTensors random = new(2);
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
        using RandomTensors random = new(3);
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
        using RandomTensors random = new(4);
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
        using RandomTensors random = new(5);
        TensorView tensor = random.Create(type, outputs, columns), other = random.Create(TensorType.BF16, 3, columns);
        WeightMatrix weights = backend.LoadWeights(other, tensor);
        using Matrix x = Fill(backend, random, rows, columns, 2), y = Fill(backend, random, rows + 1, outputs + 3);
        float[] input = x.Read(0, rows).ToArray(), decoded = RandomTensors.Decode(tensor), untouched = y.Read(rows, 1).ToArray();
        backend.MatMul(x, weights, y, rows, promptRows);
        double[] activations = CudaFormat.Of(type).IsFloat || promptRows == rows ? [.. input.Select(value => (double)value)] : Rounded(input, columns), wide = [.. decoded.Select(value => (double)value)];
        double[] prompts = [.. input.Select(AsBFloat16)], numbers = [.. decoded.Select(AsBFloat16)];
        double[] expected = new double[rows * outputs];
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
        using RandomTensors random = new(7);
        const int Outputs = 5;
        foreach (int promptRows in (int[])[0, 2, 3])
        {
            const int Rows = 3;
            ForwardBatch batch = new(Rows, 2);
            if (promptRows < Rows)
            {
                batch.Add(new int[Rows - promptRows], 0, [0], [0]);
            }

            if (promptRows > 0)
            {
                batch.Add(new int[promptRows], 0, [0], [0], isPrompt: true);
            }

            backend.Begin(batch);
            const int Wide = 512;
            WeightVector norm = backend.LoadVector(random.Create(TensorType.F32, 1, columns), 1), wideNorm = backend.LoadVector(random.Create(TensorType.F32, 1, Wide), 1);
            WeightMatrix floats = backend.LoadWeights(random.Create(TensorType.BF16, Outputs, columns)), bytes = backend.LoadWeights(random.Create(TensorType.Q4_K, Outputs, Wide));
            using Matrix x = Fill(backend, random, Rows, columns), gateUp = Fill(backend, random, Rows, 2 * columns, 2), wideX = Fill(backend, random, Rows, Wide), wideGateUp = Fill(backend, random, Rows, 2 * Wide, 2);
            using Matrix residual = Fill(backend, random, Rows, columns), wideResidual = Fill(backend, random, Rows, Wide), y = backend.CreateMatrix(Rows, Outputs);
            using Matrix h = backend.CreateMatrix(Rows, columns), sum = backend.CreateMatrix(Rows, columns), ffn = backend.CreateMatrix(Rows, columns);
            using Matrix wideH = backend.CreateMatrix(Rows, Wide), wideSum = backend.CreateMatrix(Rows, Wide), wideFfn = backend.CreateMatrix(Rows, Wide);
            float[] before = residual.Read(0, Rows).ToArray(), wideBefore = wideResidual.Read(0, Rows).ToArray();
            float[][] first = Round(), second = Round(), third = Round();
            Assert.Equal(first, second);
            Assert.Equal(first, third);

            float[][] Round()
            {
                residual.Write(0, before);
                wideResidual.Write(0, wideBefore);
                backend.RmsNorm(x, norm, 0.5f, h, Rows);
                backend.RmsNorm(wideX, wideNorm, 0.5f, wideH, Rows);
                backend.AddRmsNorm(residual, x, norm, 0.5f, norm, sum, Rows);
                backend.AddRmsNorm(wideResidual, wideX, wideNorm, 0.5f, wideNorm, wideSum, Rows);
                backend.GeGlu(gateUp, ffn, Rows);
                backend.GeGlu(wideGateUp, wideFfn, Rows);
                return [Multiply(h, floats), Multiply(wideH, bytes), Multiply(sum, floats), Multiply(wideSum, bytes), Multiply(ffn, floats), Multiply(wideFfn, bytes)];
            }

            float[] Multiply(Matrix input, WeightMatrix weights)
            {
                backend.MatMul(input, weights, y, Rows, promptRows);
                return y.Read(0, Rows).ToArray();
            }
        }
    }

    private static double AsBFloat16(float value) => BitConverter.Int32BitsToSingle(HalfBits.BFloat16FromSingle(value) << 16);

    /// <summary>Activations as signed bytes with one scale for 32 of them.</summary>
    private static double[] Rounded(float[] input, int columns)
    {
        double[] result = new double[input.Length];
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
        float[] values = new float[count];
        random.Fill(values);
        return values;
    }

    private static Matrix Fill(Backend backend, RandomTensors random, int rows, int columns, float scale = 1)
    {
        Matrix matrix = backend.CreateMatrix(rows, columns);
        float[] values = new float[rows * columns];
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
