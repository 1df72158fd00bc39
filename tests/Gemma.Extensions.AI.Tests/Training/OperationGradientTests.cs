using Gemma.Extensions.AI.Training;
using Xunit;
using static Gemma.Extensions.AI.Training.Operations;

namespace Gemma.Extensions.AI.Tests.Training;

/// <summary>
/// Every operation of the training pass against a plain float64 version of it: the forward against its values, the backward against its central
/// differences. In float64 these are good to about nine digits, so what is measured is the float32 code and not the quotient.
/// </summary>
public sealed unsafe class OperationGradientTests
{
    [Fact]
    public void Embedding()
    {
        const int Vocabulary = 5, N = 7;
        int[] tokens = [3, 0, 3, 4];
        float[] table = Random(Vocabulary * N, 1), dy = Random(tokens.Length * N, 2);
        FloatBuffer w = Buffer(table), y = new(dy.Length), d = Buffer(dy), dw = new(table.Length);
        Operations.Embed(w.Pointer, tokens, 2.5f, y.Pointer, N);
        Operations.EmbedBackward(tokens, 2.5f, d.Pointer, dw.Pointer, N);
        Check(table, v => [.. tokens.SelectMany(t => v[(t * N)..((t + 1) * N)].Select(x => 2.5 * x))], y, dy, dw);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void RmsNorm(bool addToInput)
    {
        const int Rows = 3, N = 21;
        float[] x = Random(Rows * N, 1), weight = Random(N, 2), dy = Random(Rows * N, 3), before = Random(Rows * N, 4), beforeWeight = Random(N, 5);
        FloatBuffer input = Buffer(x), w = Buffer(weight), y = new(x.Length), d = Buffer(dy), dx = Buffer(before), dw = Buffer(beforeWeight);
        Operations.RmsNorm(input.Pointer, w.Pointer, 1e-6f, y.Pointer, Rows, N);
        RmsNormBackward(input.Pointer, w.Pointer, 1e-6f, d.Pointer, dx.Pointer, dw.Pointer, Rows, N, addToInput);
        double[] w64 = Wide(weight), x64 = Wide(x);
        Check(x, v => Reference.RmsNorm(v, w64, 1e-6f), y, dy, dx, addToInput ? before : null);
        Check(weight, v => Reference.RmsNorm(x64, v, 1e-6f), y, dy, dw, beforeWeight);
    }

    /// <summary>The residual's gradient is dy itself; the branch's is that of the norm.</summary>
    [Fact]
    public void AddRmsNorm()
    {
        const int Rows = 2, N = 19;
        float[] residual = Random(Rows * N, 1), branch = Random(Rows * N, 2), weight = Random(N, 3), dy = Random(Rows * N, 4);
        FloatBuffer r = Buffer(residual), b = Buffer(branch), w = Buffer(weight), y = new(dy.Length), d = Buffer(dy), db = new(dy.Length), dw = new(N);
        Operations.AddRmsNorm(r.Pointer, b.Pointer, w.Pointer, 1e-6f, y.Pointer, Rows, N);
        RmsNormBackward(b.Pointer, w.Pointer, 1e-6f, d.Pointer, db.Pointer, dw.Pointer, Rows, N, addToInput: false);
        double[] r64 = Wide(residual), b64 = Wide(branch), w64 = Wide(weight);
        Check(branch, v => Sum(r64, Reference.RmsNorm(v, w64, 1e-6f)), y, dy, db);
        Check(weight, v => Sum(r64, Reference.RmsNorm(b64, v, 1e-6f)), y, dy, dw);
        Check(residual, v => Sum(v, Reference.RmsNorm(b64, w64, 1e-6f)), y, dy, d);

        static double[] Sum(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];
    }

    [Fact]
    public void Rope()
    {
        const int Heads = 3, HeadDim = 6, Stride = Heads * HeadDim + 4;
        int[] positions = [0, 1, 2, 0, 7];
        float[] x = Random(positions.Length * Stride, 1), dy = Random(x.Length, 2);
        FloatBuffer table = new(2 * 8 * HeadDim / 2);
        for (int p = 0; p < 8; p++)
        {
            for (int i = 0; i < HeadDim / 2; i++)
            {
                table.Span[p * HeadDim / 2 + i] = (float)Math.Cos(Reference.Angle(p, i, HeadDim));
                table.Span[(8 + p) * HeadDim / 2 + i] = (float)Math.Sin(Reference.Angle(p, i, HeadDim));
            }
        }

        FloatBuffer y = Buffer(x), dx = Buffer(dy);
        Operations.Rope(y.Pointer, Stride, Heads, HeadDim, positions, table.Pointer, 8 * HeadDim / 2, 1);
        Operations.Rope(dx.Pointer, Stride, Heads, HeadDim, positions, table.Pointer, 8 * HeadDim / 2, -1);
        Check(x, v => Reference.Rope(v, positions, Stride, Heads, HeadDim), y, dy, dx);
    }

    /// <summary>Short ones element by element; longer than a block of queries, and than the window, at random elements.</summary>
    [Theory]
    [InlineData(1, 4, 2, 6, 100, 0f)]
    [InlineData(9, 4, 2, 6, 100, 0f)]
    [InlineData(9, 4, 2, 6, 4, 3f)]
    [InlineData(9, 3, 1, 4, 1, 3f)]
    [InlineData(9, 2, 2, 18, 100, 3f)]
    [InlineData(70, 4, 2, 4, 100, 3f)]
    [InlineData(70, 4, 2, 4, 17, 3f)]
    [InlineData(131, 2, 1, 4, 65, 0f)]
    public void Attention(int length, int heads, int kvHeads, int headDim, int window, float cap)
    {
        Attention.Shape shape = new(length, heads, kvHeads, headDim, window, 0.9f, cap);
        float[] qkv = Random(length * shape.Stride, 1, 2), dy = Random(length * heads * headDim, 2);
        FloatBuffer input = Buffer(qkv), y = new(dy.Length), lse = new(heads * length), d = Buffer(dy), dQkv = new(qkv.Length);
        FloatBuffer scratch = new(Gemma.Extensions.AI.Training.Attention.ScratchSize(length, heads / kvHeads, headDim));
        Gemma.Extensions.AI.Training.Attention.Forward(shape, input.Pointer, y.Pointer, lse.Pointer, length, scratch.Pointer);
        Gemma.Extensions.AI.Training.Attention.Backward(shape, input.Pointer, y.Pointer, lse.Pointer, length, d.Pointer, dQkv.Pointer, scratch.Pointer);
        Check(qkv, v => Reference.Attention(v, shape), y, dy, dQkv, samples: 400);
    }

    /// <summary>A width beside the vector length, and values far into both tails of tanh.</summary>
    [Theory]
    [InlineData(16)]
    [InlineData(21)]
    public void GeGlu(int n)
    {
        const int Rows = 2;
        float[] gateUp = Random(Rows * 2 * n, 1, 4), dy = Random(Rows * n, 2);
        FloatBuffer input = Buffer(gateUp), y = new(dy.Length), d = Buffer(dy), dx = new(gateUp.Length);
        Operations.GeGlu(input.Pointer, y.Pointer, Rows, n);
        GeGluBackward(input.Pointer, d.Pointer, dx.Pointer, Rows, n);
        Check(gateUp, v => Reference.GeGlu(v, Rows, n), y, dy, dx);
    }

    /// <summary>Y = X·Wᵀ with the products that its gradients take.</summary>
    [Fact]
    public void Linear()
    {
        const int Rows = 9, In = 5, Out = 34;
        float[] x = Random(Rows * In, 1), weight = Random(Out * In, 2), dy = Random(Rows * Out, 3);
        FloatBuffer input = Buffer(x), w = Buffer(weight), y = new(dy.Length), d = Buffer(dy), dx = new(x.Length), dw = new(weight.Length);
        Gemm.NT(Rows, Out, In, input.Pointer, In, w.Pointer, In, y.Pointer, Out, accumulate: false);
        Gemm.NN(Rows, In, Out, d.Pointer, Out, w.Pointer, In, dx.Pointer, In, accumulate: false);
        Gemm.TN(Out, In, Rows, d.Pointer, Out, input.Pointer, In, dw.Pointer, In, accumulate: false);
        double[] x64 = Wide(x), w64 = Wide(weight);
        Check(x, v => Reference.Linear(v, w64, Rows, In, Out), y, dy, dx);
        Check(weight, v => Reference.Linear(x64, v, Rows, In, Out), y, dy, dw);
    }

    /// <summary>Final soft cap, cross entropy, and the divergence from a teacher that names all tokens or its best.</summary>
    [Theory]
    [InlineData(0f, 0f, 1f, 0)]
    [InlineData(8f, 0f, 1f, 0)]
    [InlineData(8f, 1f, 1f, 37)]
    [InlineData(8f, 1f, 2f, 37)]
    [InlineData(0f, 0.5f, 1.5f, 5)]
    [InlineData(8f, 0.7f, 2f, 5)]
    [InlineData(30f, 1f, 0.5f, 1)]
    public void HeadLosses(float cap, float mix, float temperature, int best)
    {
        const int Vocabulary = 37, Label = 11, Row = 1;
        float[] logits = Random(Vocabulary, 1, 5);
        Random random = new(2);
        int[]? ids = best is 0 or Vocabulary ? null : [.. Enumerable.Range(0, 2).SelectMany(_ => Enumerable.Range(0, Vocabulary).OrderBy(_ => random.Next()).Take(best))];
        TeacherTargets? teacher = best == 0 ? null : new TeacherTargets(best, ids, Random(2 * best, 3, 4));
        FloatBuffer y = Buffer(logits), gradient = new(Vocabulary);
        LossSums sums = HeadLoss.Row(y.Span, gradient.Span, Label, teacher, Row, new LossOptions(mix, temperature), cap, 0.25f);
        double[] q = new double[Vocabulary];
        for (int i = 0; i < best; i++)
        {
            q[ids?[Row * best + i] ?? i] = Math.Exp(teacher!.Logits[Row * best + i] / temperature);
        }

        double total = q.Sum();
        q = [.. q.Select(v => v / total)];
        Check(logits, v => [Reference.Loss(v, Label, q, cap, mix, temperature)], Buffer([(float)sums.Loss]), [0.25f], gradient);
        Assert.Equal(Reference.Loss(Wide(logits), Label, q, cap, 0, 1), sums.NegativeLogLikelihood, 1e-5);
        Check(logits, v => Reference.Cap(v, cap), y, new float[Vocabulary], new FloatBuffer(Vocabulary));
    }

    /// <summary>
    /// Compares the float32 output with the reference at <paramref name="x"/>, and the float32 gradient with the central differences of
    /// Σ dy·reference, which are what <paramref name="gradient"/> should hold on top of <paramref name="before"/>.
    /// </summary>
    private static void Check(float[] x, Func<double[], double[]> reference, FloatBuffer output, float[] dy, FloatBuffer gradient, float[]? before = null, int samples = int.MaxValue)
    {
        double[] at = Wide(x);
        Equal(reference(at), [.. output.Span.ToArray().Select(v => (double)v)], "output");
        Random random = new(9);
        int[] elements = samples >= x.Length ? [.. Enumerable.Range(0, x.Length)] : [.. Enumerable.Range(0, samples).Select(_ => random.Next(x.Length))];
        double[] expected = [.. elements.Select(i => Quotient(i) + (before?[i] ?? 0))];
        Equal(expected, [.. elements.Select(i => (double)gradient.Span[i])], "gradient");

        double Quotient(int i)
        {
            const double Step = 1e-5;
            (double here, double moved) = (at[i], 0);
            at[i] = here + Step;
            moved = Project(reference(at));
            at[i] = here - Step;
            moved -= Project(reference(at));
            at[i] = here;
            return moved / (2 * Step);
        }

        double Project(double[] y)
        {
            double sum = 0;
            for (int i = 0; i < y.Length; i++)
            {
                sum += y[i] * dy[i];
            }

            return sum;
        }
    }

    /// <summary>Sums of up to some hundred products in float32: 24 bits, less what cancellation takes.</summary>
    private static void Equal(double[] expected, double[] actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        double scale = expected.Max(Math.Abs);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(Math.Abs(actual[i] - expected[i]) <= 1e-5 * scale + 1e-7, $"{what} {i}: {actual[i]:G9}, expected {expected[i]:G9} (largest {scale:G3})");
        }
    }

    private static float[] Random(int length, int seed, float range = 1)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, length).Select(_ => (float)(random.NextDouble() * 2 - 1) * range)];
    }

    private static double[] Wide(float[] x) => [.. x.Select(v => (double)v)];

    private static FloatBuffer Buffer(float[] values)
    {
        FloatBuffer buffer = new(values.Length);
        values.CopyTo(buffer.Span);
        return buffer;
    }

    /// <summary>The float64 versions, as plain as they can be.</summary>
    private static class Reference
    {
        public static double[] RmsNorm(double[] x, double[] w, double epsilon)
        {
            int n = w.Length;
            double[] y = new double[x.Length];
            for (int r = 0; r < x.Length / n; r++)
            {
                double rms = Math.Sqrt(x[(r * n)..((r + 1) * n)].Sum(v => v * v) / n + epsilon);
                for (int i = 0; i < n; i++)
                {
                    y[r * n + i] = x[r * n + i] / rms * (1 + w[i]);
                }
            }

            return y;
        }

        public static double Angle(int position, int pair, int headDim) => position * Math.Pow(10000, -2.0 * pair / headDim);

        public static double[] Rope(double[] x, int[] positions, int stride, int heads, int headDim)
        {
            double[] y = [.. x];
            for (int r = 0; r < positions.Length; r++)
            {
                for (int i = 0; i < heads * headDim / 2; i++)
                {
                    int at = r * stride + i / (headDim / 2) * headDim + i % (headDim / 2), other = at + headDim / 2;
                    (double sine, double cosine) = Math.SinCos(Angle(positions[r], i % (headDim / 2), headDim));
                    (y[at], y[other]) = (x[at] * cosine - x[other] * sine, x[other] * cosine + x[at] * sine);
                }
            }

            return y;
        }

        public static double[] Attention(double[] qkv, Attention.Shape s)
        {
            double[] y = new double[s.Length * s.Heads * s.HeadDim], p = new double[s.Length];
            for (int h = 0; h < s.Heads; h++)
            {
                int q = h * s.HeadDim, k = (s.Heads + h / s.Group) * s.HeadDim, v = k + s.KvHeads * s.HeadDim;
                for (int i = 0; i < s.Length; i++)
                {
                    double sum = 0;
                    int first = Math.Max(0, i - s.Window + 1);
                    for (int j = first; j <= i; j++)
                    {
                        double score = 0;
                        for (int e = 0; e < s.HeadDim; e++)
                        {
                            score += qkv[i * s.Stride + q + e] * qkv[j * s.Stride + k + e];
                        }

                        score *= s.Scale;
                        sum += p[j] = Math.Exp(s.Cap == 0 ? score : s.Cap * Math.Tanh(score / s.Cap));
                    }

                    for (int j = first; j <= i; j++)
                    {
                        for (int e = 0; e < s.HeadDim; e++)
                        {
                            y[(i * s.Heads + h) * s.HeadDim + e] += p[j] / sum * qkv[j * s.Stride + v + e];
                        }
                    }
                }
            }

            return y;
        }

        public static double[] GeGlu(double[] gateUp, int rows, int n) =>
            [.. Enumerable.Range(0, rows * n).Select(i =>
            {
                double g = gateUp[i / n * 2 * n + i % n], up = gateUp[i / n * 2 * n + n + i % n];
                return 0.5 * g * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (g + 0.044715 * g * g * g))) * up;
            })];

        public static double[] Linear(double[] x, double[] w, int rows, int inputs, int outputs) =>
            [.. Enumerable.Range(0, rows * outputs).Select(i => Enumerable.Range(0, inputs).Sum(p => x[i / outputs * inputs + p] * w[i % outputs * inputs + p]))];

        public static double[] Cap(double[] y, double cap) => cap == 0 ? y : [.. y.Select(v => cap * Math.Tanh(v / cap))];

        /// <summary>(1 − mix)·(−log p[label]) + mix·T²·KL(q ‖ p_T).</summary>
        public static double Loss(double[] y, int label, double[] q, double cap, double mix, double temperature)
        {
            double[] z = Cap(y, cap);
            double one = Math.Log(z.Sum(v => Math.Exp(v))), softened = Math.Log(z.Sum(v => Math.Exp(v / temperature)));
            double divergence = 0;
            for (int i = 0; i < q.Length; i++)
            {
                divergence += q[i] > 0 ? q[i] * (Math.Log(q[i]) - (z[i] / temperature - softened)) : 0;
            }

            return (1 - mix) * (one - z[label]) + mix * temperature * temperature * divergence;
        }
    }
}
