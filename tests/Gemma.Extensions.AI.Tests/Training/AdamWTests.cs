using Gemma.Extensions.AI.Training;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Training;

public sealed class AdamWTests
{
    /// <summary>Updates from the sum of three gradients, clipped or not, against the formula of Loshchilov and Hutter in double precision, weight by weight.</summary>
    [Theory]
    [InlineData(0f)]
    [InlineData(0.5f)]
    [InlineData(1e6f)]
    public void UpdatesAreThoseOfTheFormula(float clipNorm)
    {
        GemmaTrainingOptions options = new(steps: 20)
        {
            LearningRate = 0.01f, WarmupSteps = 2, WeightDecay = 0.1f, Beta1 = 0.9f, Beta2 = 0.95f, Epsilon = 1e-8f, ClipNorm = clipNorm, AverageDecay = 0.9f, Threads = 2,
        };
        TrainingModel model = GradientTests.SmallModel(5, 8);
        model.Initialize(1);
        AdamW optimizer = new(model, options);
        int count = model.Weights.Length;
        bool[] decayed = new bool[count];
        foreach (Parameter parameter in model.Parameters.Where(p => !p.IsNorm))
        {
            decayed.AsSpan(parameter.Offset, parameter.Length).Fill(true);
        }

        Assert.Contains(true, decayed);
        Assert.Contains(false, decayed);
        double[] weights = [.. model.Weights.Span.ToArray().Select(w => (double)w)], average = [.. weights], first = new double[count], second = new double[count];
        Random random = new(3);
        FloatBuffer[] gradients = [.. Enumerable.Range(0, 3).Select(_ => new FloatBuffer(count))];
        for (int step = 0; step < 6; step++)
        {
            double[] sum = new double[count];
            foreach (FloatBuffer gradient in gradients)
            {
                for (int i = 0; i < count; i++)
                {
                    gradient.Span[i] = random.NextSingle() - 0.5f;
                    sum[i] += gradient.Span[i];
                }
            }

            double norm = Math.Sqrt(sum.Sum(g => g * g)), clip = clipNorm > 0 && norm > clipNorm ? clipNorm / norm : 1, rate = options.LearningRateAt(step);
            double keep = Math.Min(0.9, (1.0 + step) / (10 + step));
            Assert.Equal(norm, optimizer.Step(gradients, step), norm * 1e-5);
            for (int i = 0; i < count; i++)
            {
                double g = sum[i] * clip;
                first[i] = 0.9 * first[i] + 0.1 * g;
                second[i] = 0.95 * second[i] + 0.05 * g * g;
                double move = first[i] / (1 - Math.Pow(0.9, step + 1)) / (Math.Sqrt(second[i] / (1 - Math.Pow(0.95, step + 1))) + 1e-8);
                weights[i] = weights[i] * (1 - (decayed[i] ? rate * 0.1 : 0)) - rate * move;
                average[i] = keep * average[i] + (1 - keep) * weights[i];
            }
        }

        // An update moves a weight by about the rate, 0.01: a thousandth of one would show.
        for (int i = 0; i < count; i++)
        {
            Assert.Equal(weights[i], model.Weights.Span[i], 1e-5);
            Assert.Equal(average[i], optimizer.Average.Span[i], 1e-5);
        }
    }
}
