using System.Numerics.Tensors;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu;

namespace Gemma.Extensions.AI.Training;

/// <summary>The element-wise operations of Gemma 2, each forward operation with its backward beside it. All matrices are row-major float32.</summary>
internal static unsafe class Operations
{
    public const float GeluSlope = 0.7978845608028654f; // √(2/π)
    public const float GeluCubic = 0.044715f;

    /// <summary>y[r] = scale · table[tokens[r]]: the rows of the tokens. table is [vocabulary, n], y is [tokens, n].</summary>
    public static void Embed(float* table, ReadOnlySpan<int> tokens, float scale, float* y, int n)
    {
        for (int r = 0; r < tokens.Length; r++)
        {
            TensorPrimitives.Multiply(new ReadOnlySpan<float>(table + (long)tokens[r] * n, n), scale, new Span<float>(y + (long)r * n, n));
        }
    }

    /// <summary>dTable[tokens[r]] += scale · dy[r]; a token that occurs twice gets both.</summary>
    public static void EmbedBackward(ReadOnlySpan<int> tokens, float scale, float* dy, float* dTable, int n)
    {
        for (int r = 0; r < tokens.Length; r++)
        {
            Span<float> row = new(dTable + (long)tokens[r] * n, n);
            TensorPrimitives.MultiplyAdd(new ReadOnlySpan<float>(dy + (long)r * n, n), scale, row, row);
        }
    }

    /// <summary>y = x / rms(x) · (1 + w), row by row. x and y are [rows, n], w is [n].</summary>
    public static void RmsNorm(float* x, float* w, float epsilon, float* y, int rows, int n)
    {
        for (int r = 0; r < rows; r++, x += n, y += n)
        {
            float inverse = InverseRms(TensorPrimitives.SumOfSquares(new ReadOnlySpan<float>(x, n)), n, epsilon);
            int i = 0;
            for (; i + 16 <= n; i += 16)
            {
                (Vector512.Load(x + i) * inverse * (Vector512<float>.One + Vector512.Load(w + i))).Store(y + i);
            }

            for (; i < n; i++)
            {
                y[i] = x[i] * inverse * (1 + w[i]);
            }
        }
    }

    /// <summary>residualOut = residual + RmsNorm(branch): Gemma 2's norm after a branch, before it is added.</summary>
    public static void AddRmsNorm(float* residual, float* branch, float* w, float epsilon, float* residualOut, int rows, int n)
    {
        for (int r = 0; r < rows; r++, residual += n, branch += n, residualOut += n)
        {
            RmsNorm(branch, w, epsilon, residualOut, 1, n);
            TensorPrimitives.Add(new ReadOnlySpan<float>(residual, n), new ReadOnlySpan<float>(residualOut, n), new Span<float>(residualOut, n));
        }
    }

    /// <summary>
    /// With x̂ = x·r, r = 1/rms(x), g = dy·(1 + w): dx = r·(g − x̂·mean(g·x̂)), dw += Σ dy·x̂.
    /// dx is overwritten, or added to where <paramref name="addToInput"/>; dw is left out where it is null.
    /// </summary>
    public static void RmsNormBackward(float* x, float* w, float epsilon, float* dy, float* dx, float* dw, int rows, int n, bool addToInput)
    {
        for (int r = 0; r < rows; r++, x += n, dy += n, dx += n)
        {
            Vector512<float> squares = default, products = default;
            int i = 0;
            for (; i + 16 <= n; i += 16)
            {
                Vector512<float> v = Vector512.Load(x + i);
                squares += v * v;
                products += v * Vector512.Load(dy + i) * (Vector512<float>.One + Vector512.Load(w + i));
            }

            float square = Vector512.Sum(squares), product = Vector512.Sum(products);
            for (; i < n; i++)
            {
                square += x[i] * x[i];
                product += x[i] * dy[i] * (1 + w[i]);
            }

            float inverse = InverseRms(square, n, epsilon), mean = product * inverse / n;
            for (i = 0; i + 16 <= n; i += 16)
            {
                Vector512<float> normalised = Vector512.Load(x + i) * inverse, d = Vector512.Load(dy + i);
                Vector512<float> g = (d * (Vector512<float>.One + Vector512.Load(w + i)) - normalised * mean) * inverse;
                (addToInput ? g + Vector512.Load(dx + i) : g).Store(dx + i);
                if (dw is not null)
                {
                    (Vector512.Load(dw + i) + d * normalised).Store(dw + i);
                }
            }

            for (; i < n; i++)
            {
                float normalised = x[i] * inverse, d = dy[i];
                float g = (d * (1 + w[i]) - normalised * mean) * inverse;
                dx[i] = addToInput ? dx[i] + g : g;
                if (dw is not null)
                {
                    dw[i] += d * normalised;
                }
            }
        }
    }

    private static float InverseRms(float sumOfSquares, int n, float epsilon) => 1f / MathF.Sqrt(sumOfSquares / n + epsilon);

    /// <summary>Rotates pairs (i, i + headDim/2) of each head by position · base^(−2i/headDim); <paramref name="direction"/> −1 is the backward.</summary>
    /// <param name="x">First head of the first row.</param>
    /// <param name="stride">Floats from one row to the next.</param>
    /// <param name="heads">Adjacent heads to rotate.</param>
    /// <param name="headDim">Elements of one head.</param>
    /// <param name="positions">Position of each row in its document.</param>
    /// <param name="table">Cosines [positions, headDim/2] followed at <paramref name="sineOffset"/> by sines.</param>
    /// <param name="sineOffset">Floats from the cosines to the sines.</param>
    /// <param name="direction">1 forward, −1 backward.</param>
    public static void Rope(float* x, int stride, int heads, int headDim, ReadOnlySpan<int> positions, float* table, int sineOffset, float direction)
    {
        int half = headDim / 2;
        for (int r = 0; r < positions.Length; r++)
        {
            float* cosine = table + (long)positions[r] * half;
            float* sine = cosine + sineOffset;
            for (int h = 0; h < heads; h++)
            {
                float* first = x + (long)r * stride + h * headDim;
                float* second = first + half;
                int i = 0;
                for (; i + 16 <= half; i += 16)
                {
                    Vector512<float> a = Vector512.Load(first + i), b = Vector512.Load(second + i), c = Vector512.Load(cosine + i), s = Vector512.Load(sine + i) * direction;
                    (a * c - b * s).Store(first + i);
                    (b * c + a * s).Store(second + i);
                }

                for (; i < half; i++)
                {
                    float a = first[i], b = second[i], s = sine[i] * direction;
                    first[i] = a * cosine[i] - b * s;
                    second[i] = b * cosine[i] + a * s;
                }
            }
        }
    }

    /// <summary>y = gelu_tanh(gate)·up; gateUp is [rows, 2n], y is [rows, n].</summary>
    public static void GeGlu(float* gateUp, float* y, int rows, int n)
    {
        for (int r = 0; r < rows; r++, gateUp += 2 * n, y += n)
        {
            int i = 0;
            for (; i + 16 <= n; i += 16)
            {
                (VectorMath.Gelu(Vector512.Load(gateUp + i)) * Vector512.Load(gateUp + n + i)).Store(y + i);
            }

            for (; i < n; i++)
            {
                y[i] = 0.5f * gateUp[i] * (1 + GeluTanh(gateUp[i])) * gateUp[n + i];
            }
        }
    }

    private static float GeluTanh(float g) => MathF.Tanh(GeluSlope * (g + GeluCubic * g * g * g));

    /// <summary>Gradients of gate and up, overwriting dGateUp.</summary>
    public static void GeGluBackward(float* gateUp, float* dy, float* dGateUp, int rows, int n)
    {
        for (int r = 0; r < rows; r++)
        {
            float* gate = gateUp + (long)r * 2 * n;
            float* up = gate + n;
            float* dGate = dGateUp + (long)r * 2 * n;
            float* dUp = dGate + n;
            float* d = dy + (long)r * n;
            int i = 0;
            for (; i + 16 <= n; i += 16)
            {
                Vector512<float> g = Vector512.Load(gate + i);
                Vector512<float> t = GradientMath.GeluTanh(g);
                Vector512<float> dv = Vector512.Load(d + i);
                Vector512<float> one = Vector512<float>.One;
                Vector512<float> half = (one + t) * 0.5f;
                Vector512<float> slope = half + g * (one - t * t) * (one + g * g * (3 * GeluCubic)) * (0.5f * GeluSlope);
                Vector512.Store(dv * Vector512.Load(up + i) * slope, dGate + i);
                Vector512.Store(dv * g * half, dUp + i);
            }

            for (; i < n; i++)
            {
                float g = gate[i], t = GeluTanh(g);
                float half = 0.5f * (1 + t);
                dGate[i] = d[i] * up[i] * (half + 0.5f * g * (1 - t * t) * GeluSlope * (1 + 3 * GeluCubic * g * g));
                dUp[i] = d[i] * g * half;
            }
        }
    }
}
