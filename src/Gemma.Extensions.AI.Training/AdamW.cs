using System.Numerics.Tensors;

namespace Gemma.Extensions.AI.Training;

/// <summary>AdamW (Loshchilov and Hutter) over the flat weight vector, with a running average of the weights beside it.</summary>
internal sealed class AdamW
{
    private readonly TrainedWeights _model;
    private readonly TrainingOptions _options;

    public AdamW(TrainedWeights model, TrainingOptions options)
    {
        _model = model;
        _options = options;
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

    /// <summary>One update from the mean gradient, which is clipped to the configured norm first. Returns the norm before clipping.</summary>
    /// <param name="gradient">Gradient, laid out like the weights; scaled in place.</param>
    /// <param name="step">Updates done before this one.</param>
    public float Step(FloatBuffer gradient, int step)
    {
        float norm = TensorPrimitives.Norm<float>(gradient.Span);
        if (!float.IsFinite(norm))
        {
            throw new InvalidOperationException($"The gradient of step {step:N0} is not finite. Lower the learning rate or the clipping norm and resume from the last checkpoint.");
        }

        if (_options.ClipNorm > 0 && norm > _options.ClipNorm)
        {
            TensorPrimitives.Multiply(gradient.Span, _options.ClipNorm / norm, gradient.Span);
        }

        float rate = _options.LearningRateAt(step);
        float firstCorrection = 1 - MathF.Pow(_options.Beta1, step + 1);
        float secondCorrection = 1 - MathF.Pow(_options.Beta2, step + 1);
        float[] scratch = System.Buffers.ArrayPool<float>.Shared.Rent(4096);
        foreach (Parameter parameter in _model.Parameters)
        {
            float decay = parameter.IsNorm ? 0 : _options.WeightDecay;
            for (int start = 0; start < parameter.Length; start += 4096)
            {
                int count = Math.Min(4096, parameter.Length - start);
                int at = parameter.Offset + start;
                Span<float> g = gradient.Span.Slice(at, count), w = _model.Weights.Span.Slice(at, count), t = scratch.AsSpan(0, count);
                Span<float> m = First.Span.Slice(at, count), v = Second.Span.Slice(at, count);
                TensorPrimitives.Multiply(g, 1 - _options.Beta1, t);
                TensorPrimitives.MultiplyAdd(m, _options.Beta1, t, m);
                TensorPrimitives.Multiply(g, g, t);
                TensorPrimitives.Multiply(t, 1 - _options.Beta2, t);
                TensorPrimitives.MultiplyAdd(v, _options.Beta2, t, v);

                // w ← w·(1 − rate·decay) − rate · (m / c1) / (√(v / c2) + ε)
                TensorPrimitives.Multiply(v, 1 / secondCorrection, t);
                TensorPrimitives.Sqrt<float>(t, t);
                TensorPrimitives.Add(t, _options.Epsilon, t);
                TensorPrimitives.Divide(m, t, t);
                TensorPrimitives.Multiply(w, 1 - rate * decay, w);
                TensorPrimitives.MultiplyAdd(t, -rate / firstCorrection, w, w);
            }
        }

        System.Buffers.ArrayPool<float>.Shared.Return(scratch);

        // While young, the average forgets faster, so that the random start does not stay in it.
        float keep = Math.Min(_options.AverageDecay, (1f + step) / (10f + step));
        TensorPrimitives.Lerp(_model.Weights.Span, Average.Span, keep, Average.Span);
        return norm;
    }
}
