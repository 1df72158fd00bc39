using System.Numerics.Tensors;
using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Training;

/// <summary>The element-wise operations of Gemma 2, each forward operation with its backward beside it. All matrices are row-major float32.</summary>
internal static unsafe class Operations
{
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
            var row = new Span<float>(dTable + (long)tokens[r] * n, n);
            TensorPrimitives.MultiplyAdd(new ReadOnlySpan<float>(dy + (long)r * n, n), scale, row, row);
        }
    }

    /// <summary>y = x / rms(x) · (1 + w), row by row. x and y are [rows, n], w is [n].</summary>
    public static void RmsNorm(float* x, float* w, float epsilon, float* y, int rows, int n, float* scratch)
    {
        var gain = new Span<float>(scratch, n);
        TensorPrimitives.Add(new ReadOnlySpan<float>(w, n), 1f, gain);
        for (int r = 0; r < rows; r++)
        {
            var input = new ReadOnlySpan<float>(x + (long)r * n, n);
            var output = new Span<float>(y + (long)r * n, n);
            TensorPrimitives.Multiply(input, InverseRms(input, epsilon), output);
            TensorPrimitives.Multiply(output, gain, output);
        }
    }

    /// <summary>residualOut = residual + RmsNorm(branch): Gemma 2's norm after a branch, before it is added.</summary>
    public static void AddRmsNorm(float* residual, float* branch, float* w, float epsilon, float* residualOut, int rows, int n, float* scratch)
    {
        RmsNorm(branch, w, epsilon, residualOut, rows, n, scratch);
        long count = (long)rows * n;
        TensorPrimitives.Add(new ReadOnlySpan<float>(residual, (int)count), new ReadOnlySpan<float>(residualOut, (int)count), new Span<float>(residualOut, (int)count));
    }

    /// <summary>
    /// With x̂ = x·r, r = 1/rms(x), g = dy·(1 + w): dx = r·(g − x̂·mean(g·x̂)), dw += Σ dy·x̂.
    /// dx is overwritten, or added to where <paramref name="addToInput"/>; dw is left out where it is null. scratch holds 3n.
    /// </summary>
    public static void RmsNormBackward(float* x, float* w, float epsilon, float* dy, float* dx, float* dw, int rows, int n, bool addToInput, float* scratch)
    {
        var gain = new Span<float>(scratch, n);
        var g = new Span<float>(scratch + n, n);
        var normalised = new Span<float>(scratch + 2 * n, n);
        var weightGradient = new Span<float>(dw, dw is null ? 0 : n);
        TensorPrimitives.Add(new ReadOnlySpan<float>(w, n), 1f, gain);
        for (int r = 0; r < rows; r++)
        {
            var input = new ReadOnlySpan<float>(x + (long)r * n, n);
            var outputGradient = new ReadOnlySpan<float>(dy + (long)r * n, n);
            var inputGradient = new Span<float>(dx + (long)r * n, n);
            float inverse = InverseRms(input, epsilon);
            TensorPrimitives.Multiply(input, inverse, normalised);
            if (dw is not null)
            {
                TensorPrimitives.MultiplyAdd(outputGradient, normalised, weightGradient, weightGradient);
            }

            TensorPrimitives.Multiply(outputGradient, gain, g);
            float mean = TensorPrimitives.Dot<float>(g, normalised) / n;
            TensorPrimitives.MultiplyAdd(normalised, -mean, g, g);
            if (addToInput)
            {
                TensorPrimitives.MultiplyAdd(g, inverse, inputGradient, inputGradient);
            }
            else
            {
                TensorPrimitives.Multiply(g, inverse, inputGradient);
            }
        }
    }

    private static float InverseRms(ReadOnlySpan<float> x, float epsilon) =>
        1f / MathF.Sqrt(TensorPrimitives.SumOfSquares(x) / x.Length + epsilon);

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
                for (int i = 0; i < half; i++)
                {
                    float a = first[i], b = second[i], s = sine[i] * direction;
                    first[i] = a * cosine[i] - b * s;
                    second[i] = b * cosine[i] + a * s;
                }
            }
        }
    }

    public const float GeluSlope = 0.7978845608028654f; // √(2/π)
    public const float GeluCubic = 0.044715f;

    /// <summary>y = gelu_tanh(gate)·up; gateUp is [rows, 2n], y is [rows, n]. scratch holds n.</summary>
    public static void GeGlu(float* gateUp, float* y, int rows, int n, float* scratch)
    {
        for (int r = 0; r < rows; r++)
        {
            float* gate = gateUp + (long)r * 2 * n;
            var output = new Span<float>(y + (long)r * n, n);
            VectorMath.GeluTanh(new ReadOnlySpan<float>(gate, n), new Span<float>(scratch, n));
            TensorPrimitives.AddMultiply(new ReadOnlySpan<float>(scratch, n), 1f, new ReadOnlySpan<float>(gate, n), output);
            TensorPrimitives.Multiply(output, 0.5f, output);
            TensorPrimitives.Multiply(output, new ReadOnlySpan<float>(gate + n, n), output);
        }
    }

    /// <summary>Gradients of gate and up, overwriting dGateUp. scratch holds n.</summary>
    public static void GeGluBackward(float* gateUp, float* dy, float* dGateUp, int rows, int n, float* scratch)
    {
        for (int r = 0; r < rows; r++)
        {
            float* gate = gateUp + (long)r * 2 * n;
            float* up = gate + n;
            float* dGate = dGateUp + (long)r * 2 * n;
            float* dUp = dGate + n;
            float* d = dy + (long)r * n;
            VectorMath.GeluTanh(new ReadOnlySpan<float>(gate, n), new Span<float>(scratch, n));
            int i = 0;
            for (; i + 16 <= n; i += 16)
            {
                var g = Vector512.Load(gate + i);
                var t = Vector512.Load(scratch + i);
                var dv = Vector512.Load(d + i);
                var one = Vector512<float>.One;
                var half = (one + t) * 0.5f;
                var slope = half + g * (one - t * t) * (one + g * g * (3 * GeluCubic)) * (0.5f * GeluSlope);
                Vector512.Store(dv * Vector512.Load(up + i) * slope, dGate + i);
                Vector512.Store(dv * g * half, dUp + i);
            }

            for (; i < n; i++)
            {
                float t = scratch[i], g = gate[i];
                float half = 0.5f * (1 + t);
                dGate[i] = d[i] * up[i] * (half + 0.5f * g * (1 - t * t) * GeluSlope * (1 + 3 * GeluCubic * g * g));
                dUp[i] = d[i] * g * half;
            }
        }
    }
}
