using System.Numerics.Tensors;
using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Training;

/// <summary>AdamW (Loshchilov and Hutter) over the flat weight vector, with a running average of the weights beside it.</summary>
internal sealed class AdamW
{
    private const int PieceLength = 1 << 14;

    private readonly TrainedWeights _model;
    private readonly GemmaTrainingOptions _options;
    private readonly Piece[] _pieces;

    public AdamW(TrainedWeights model, GemmaTrainingOptions options)
    {
        _model = model;
        _options = options;
        _pieces = [.. model.Parameters.SelectMany(Cut)];
        First = new FloatBuffer(model.Weights.Length);
        Second = new FloatBuffer(model.Weights.Length);
        Average = new FloatBuffer(model.Weights.Length);
        model.Weights.Span.CopyTo(Average.Span);
    }

    /// <summary>Running mean of the gradient.</summary>
    public FloatBuffer First { get; }

    /// <summary>Running mean of the squared gradient.</summary>
    public FloatBuffer Second { get; }

    /// <summary>Exponential moving average of the weights: what is evaluated and exported.</summary>
    public FloatBuffer Average { get; }

    /// <summary>One update from the sum of some gradients, which is clipped to the configured norm first. Returns the norm before clipping.</summary>
    /// <param name="gradients">Gradients, laid out like the weights; the first one receives the sum.</param>
    /// <param name="step">Updates done before this one.</param>
    public float Step(IReadOnlyList<FloatBuffer> gradients, int step)
    {
        // Pieces are the same for any number of threads, and so are the sums over them.
        double[] squares = new double[_pieces.Length];
        InParallel(i => squares[i] = Gather(gradients, _pieces[i]));
        float norm = (float)Math.Sqrt(squares.Sum());
        if (!float.IsFinite(norm))
        {
            throw new InvalidOperationException($"The gradient of step {step:N0} is not finite. Lower the learning rate or the clipping norm and resume from the last checkpoint.");
        }

        float clip = _options.ClipNorm > 0 && norm > _options.ClipNorm ? _options.ClipNorm / norm : 1;
        InParallel(i => Update(gradients[0], _pieces[i], clip, step));
        return norm;
    }

    private void InParallel(Action<int> action) => Parallel.For(0, _pieces.Length, new ParallelOptions { MaxDegreeOfParallelism = _options.ThreadCount }, action);

    /// <summary>Sums the gradients of a piece in their order, and returns the sum's squared norm.</summary>
    private static double Gather(IReadOnlyList<FloatBuffer> gradients, Piece piece)
    {
        Span<float> sum = gradients[0].Span.Slice(piece.Offset, piece.Count);
        for (int i = 1; i < gradients.Count; i++)
        {
            TensorPrimitives.Add(sum, gradients[i].Span.Slice(piece.Offset, piece.Count), sum);
        }

        return TensorPrimitives.SumOfSquares<float>(sum);
    }

    /// <summary>w ← w·(1 − rate·decay) − rate · (m / c1) / (√(v / c2) + ε), with m and v the running means.</summary>
    private unsafe void Update(FloatBuffer gradient, Piece piece, float clip, int step)
    {
        float rate = _options.LearningRateAt(step), beta1 = _options.Beta1, beta2 = _options.Beta2, epsilon = _options.Epsilon;
        float move = -rate / (1 - MathF.Pow(beta1, step + 1)), correction = 1 / (1 - MathF.Pow(beta2, step + 1));
        float shrink = piece.Decayed ? 1 - rate * _options.WeightDecay : 1;

        // While young, the average forgets faster, so that the random start does not stay in it.
        float keep = Math.Min(_options.AverageDecay, (1f + step) / (10f + step));
        float* g = gradient.Pointer + piece.Offset, m = First.Pointer + piece.Offset, v = Second.Pointer + piece.Offset;
        float* w = _model.Weights.Pointer + piece.Offset, average = Average.Pointer + piece.Offset;
        int i = 0;
        for (; i + 16 <= piece.Count; i += 16)
        {
            Vector512<float> x = Vector512.Load(g + i) * clip;
            Vector512<float> first = Vector512.Load(m + i) * beta1 + x * (1 - beta1), second = Vector512.Load(v + i) * beta2 + x * x * (1 - beta2);
            Vector512<float> weight = Vector512.Load(w + i) * shrink + first / (Vector512.Sqrt(second * correction) + Vector512.Create(epsilon)) * move;
            first.Store(m + i);
            second.Store(v + i);
            weight.Store(w + i);
            Vector512<float> mean = Vector512.Load(average + i);
            (mean + (weight - mean) * (1 - keep)).Store(average + i);
        }

        for (; i < piece.Count; i++)
        {
            float x = g[i] * clip;
            m[i] = m[i] * beta1 + x * (1 - beta1);
            v[i] = v[i] * beta2 + x * x * (1 - beta2);
            w[i] = w[i] * shrink + m[i] / (MathF.Sqrt(v[i] * correction) + epsilon) * move;
            average[i] += (w[i] - average[i]) * (1 - keep);
        }
    }

    private static IEnumerable<Piece> Cut(Parameter parameter)
    {
        for (int start = 0; start < parameter.Length; start += PieceLength)
        {
            yield return new Piece(parameter.Offset + start, Math.Min(PieceLength, parameter.Length - start), !parameter.IsNorm);
        }
    }

    /// <summary>Weights that one thread takes at a time, all decayed or none.</summary>
    private readonly record struct Piece(int Offset, int Count, bool Decayed);
}
