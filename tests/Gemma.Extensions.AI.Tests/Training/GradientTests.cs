using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Tests.Backends;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Training;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Training;

public sealed class GradientTests
{
    /// <summary>PyTorch's autograd over Google's implementation: every vector, and every 11th element of each matrix.</summary>
    [Fact]
    public void GradientsOfTheCheckpointEqualAutograd()
    {
        using SafetensorsFile reference = SafetensorsFile.Open(TestData.Local("tiny/gradients.safetensors"));
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"));
        TrainingModel model = ModelDirectory.Load(file);
        int[] tokens = Tokens();
        FloatBuffer gradient = new(model.Weights.Length);
        LossSums sums = new GemmaBackprop(model, tokens.Length, tokens.Length).Accumulate(
            new PackedBatch([new TrainingDocument(tokens)]), LossOptions.Label, 1f / (tokens.Length - 1), gradient);

        Assert.Equal(9.857208, sums.Loss / sums.Targets, 1e-4);
        Assert.Equal(reference.Tensors.Count, model.Parameters.Count);
        foreach (Parameter parameter in model.Parameters)
        {
            float[] expected = reference.ReadSingles(GemmaTensors.ToHuggingFace(parameter.Name));
            Span<float> actual = model.Slice(gradient, parameter);
            (int first, int step) = expected.Length == actual.Length ? (0, 1) : (3, 11);
            Assert.Equal((actual.Length - first + step - 1) / step, expected.Length);
            double difference = 0, square = 0, actualSquare = 0, dot = 0;
            for (int i = 0; i < expected.Length; i++)
            {
                float value = actual[first + i * step];
                difference += Math.Pow(value - expected[i], 2);
                square += Math.Pow(expected[i], 2);
                actualSquare += Math.Pow(value, 2);
                dot += (double)value * expected[i];
            }

            Assert.InRange(Math.Sqrt(difference / square), 0, 1e-3);
            Assert.InRange(dot / Math.Sqrt(square * actualSquare), 0.99999, 1.0001);
        }
    }

    /// <summary>Products by matrix registers, as they compute: within the same bounds.</summary>
    [Fact]
    public void GradientsByMatrixRegistersEqualAutograd()
    {
        using CountedMatrix kernels = new(new EmulatedMatrix());
        Gemm.Matrix = kernels;
        try
        {
            GradientsOfTheCheckpointEqualAutograd();
            Assert.True(kernels.Calls > 0, "no product was large enough");
        }
        finally
        {
            Gemm.Matrix = null;
        }
    }

    /// <summary>The training forward and the engine's are two implementations; each checks the other.</summary>
    [Fact]
    public void LogitsEqualTheEngines()
    {
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"));
        int[] tokens = Tokens();
        float[] mine = new GemmaBackprop(ModelDirectory.Load(file), tokens.Length, tokens.Length).Logits(new PackedBatch([new TrainingDocument(tokens)]));
        using TinyEngine tiny = new();
        float[][] engine = tiny.Logits(tokens);
        for (int i = 0; i < tokens.Length; i++)
        {
            for (int v = 0; v < file.Config.VocabularySize; v++)
            {
                Assert.InRange(MathF.Abs(engine[i][v] - mine[i * file.Config.VocabularySize + v]), 0, 1e-3f);
            }
        }
    }

    /// <summary>
    /// Central differences of the loss along random directions within each weight: what the directional derivative says must be what the loss
    /// does. Small random models with and without caps, with a teacher, with several documents.
    /// </summary>
    [Theory]
    [InlineData(0, 0, 0f)]
    [InlineData(5, 8, 0f)]
    [InlineData(5, 8, 0.6f)]
    [InlineData(0, 0, 1f)]
    [InlineData(5, 8, 0f, true)]
    [InlineData(5, 8, 0.6f, true)]
    public void GradientsEqualFiniteDifferences(float attentionCap, float finalCap, float mix, bool ownHead = false)
    {
        TrainingModel model = SmallModel(attentionCap, finalCap, ownHead, ownHead ? 300 : null);
        Assert.Equal(ownHead, model.Parameters.Any(parameter => parameter.Name == "output.weight"));
        PackedBatch batch = SmallBatch(model.Config, mix > 0);
        LossOptions loss = new(mix, mix > 0 ? 2f : 1f);
        GemmaBackprop backprop = new(model, 64, 32);
        FloatBuffer gradient = new(model.Weights.Length);
        LossSums sums = backprop.Accumulate(batch, loss, 1f, gradient);
        Assert.Equal(batch.TargetRows.Length, sums.Targets);
        AssertIsGradient(gradient, model, backprop, batch, loss);
    }

    /// <summary>Packing changes nothing: the gradient of two documents in one batch is the sum of their own.</summary>
    [Fact]
    public void PackedDocumentsDoNotSeeEachOther()
    {
        TrainingModel model = SmallModel(5, 8);
        PackedBatch both = SmallBatch(model.Config, teacher: false);
        GemmaBackprop backprop = new(model, 64, 32);
        FloatBuffer together = new(model.Weights.Length);
        FloatBuffer apart = new(model.Weights.Length);
        double loss = backprop.Accumulate(both, LossOptions.Label, 1f, together).Loss;
        foreach (TrainingDocument document in both.Documents)
        {
            loss -= backprop.Accumulate(new PackedBatch([document]), LossOptions.Label, 1f, apart).Loss;
        }

        Assert.InRange(loss, -1e-3, 1e-3);
        for (int i = 0; i < together.Length; i++)
        {
            Assert.InRange(MathF.Abs(together.Span[i] - apart.Span[i]), 0, 1e-4f * (1 + MathF.Abs(apart.Span[i])));
        }
    }

    /// <summary>A head of its own that equals the embedding splits the tied gradient in two: of the rows looked up, and of the head.</summary>
    [Fact]
    public void TheTiedGradientIsTheSumOfBothUses()
    {
        TrainingModel tied = SmallModel(5, 8), untied = SmallModel(5, 8, ownHead: true);
        foreach (Parameter parameter in untied.Parameters)
        {
            tied.Slice(tied.Weights, tied[parameter.Name == "output.weight" ? "token_embd.weight" : parameter.Name]).CopyTo(untied.Slice(untied.Weights, parameter));
        }

        PackedBatch batch = SmallBatch(tied.Config, teacher: false);
        FloatBuffer together = new(tied.Weights.Length), apart = new(untied.Weights.Length);
        double loss = new GemmaBackprop(tied, 64, 32).Accumulate(batch, LossOptions.Label, 1f, together).Loss;
        Assert.Equal(loss, new GemmaBackprop(untied, 64, 32).Accumulate(batch, LossOptions.Label, 1f, apart).Loss, 1e-4);
        foreach (Parameter parameter in tied.Parameters)
        {
            Span<float> expected = tied.Slice(together, parameter), actual = untied.Slice(apart, untied[parameter.Name]);
            for (int i = 0; i < expected.Length; i++)
            {
                float head = parameter.Name == "token_embd.weight" ? untied.Slice(apart, untied["output.weight"])[i] : 0;
                Assert.InRange(MathF.Abs(expected[i] - actual[i] - head), 0, 1e-4f * (1 + MathF.Abs(expected[i])));
            }
        }
    }

    /// <summary>Compares a gradient with central differences of the loss, along a random direction within each weight.</summary>
    internal static void AssertIsGradient(FloatBuffer gradient, TrainedWeights model, GemmaBackprop backprop, PackedBatch batch, LossOptions loss)
    {
        Random random = new(7);
        foreach (Parameter parameter in model.Parameters)
        {
            float[] direction = [.. Enumerable.Range(0, parameter.Length).Select(_ => (float)(random.NextDouble() * 2 - 1))];
            double expected = 0, norm = 0;
            ReadOnlySpan<float> g = model.Slice(gradient, parameter);
            for (int i = 0; i < direction.Length; i++)
            {
                expected += g[i] * (double)direction[i];
                norm += g[i] * (double)g[i];
            }

            // Float32 losses of about 100 carry an error of 1e-5 or so; the step keeps that, and the curvature, below a hundredth of the gradient.
            const float Step = 2e-3f;
            double measured = (Moved(Step) - Moved(-Step)) / (2 * Step);
            double tolerance = 0.02 * Math.Sqrt(norm) + 0.02 * Math.Abs(expected) + 0.02;
            Assert.True(Math.Abs(measured - expected) <= tolerance, $"{parameter.Name}: gradient {expected:G5}, difference quotient {measured:G5}");

            double Moved(float step)
            {
                Add(step);
                double value = backprop.Evaluate(batch, loss).Loss;
                Add(-step);
                return value;
            }

            void Add(float step)
            {
                Span<float> w = model.Slice(model.Weights, parameter);
                for (int i = 0; i < direction.Length; i++)
                {
                    w[i] += step * direction[i];
                }
            }
        }
    }

    internal static TrainingModel SmallModel(float attentionCap, float finalCap, bool ownHead = false, float? localRopeBase = null)
    {
        TrainingModel model = new(new GemmaConfig
        {
            VocabularySize = 37,
            HiddenSize = 20,
            FeedForwardSize = 24,
            LayerCount = 3,
            HeadCount = 4,
            KvHeadCount = 2,
            HeadDim = 6,
            ContextLength = 64,
            SlidingWindow = 5,
            RmsNormEpsilon = 1e-6f,
            RopeBase = 10000,
            QueryScale = 0.7f,
            AttentionSoftcap = attentionCap,
            FinalSoftcap = finalCap,
            Head = ownHead ? OutputHead.Own : OutputHead.Tied,
            LocalRopeBase = localRopeBase,
        });
        model.Initialize(3);
        Random random = new(4);
        foreach (Parameter norm in model.Parameters.Where(p => p.IsNorm))
        {
            foreach (ref float w in model.Slice(model.Weights, norm))
            {
                w = (float)(random.NextDouble() - 0.5);
            }
        }

        return model;
    }

    internal static PackedBatch SmallBatch(GemmaConfig config, bool teacher)
    {
        Random random = new(5);
        TrainingDocument[] documents = [.. new[] { 17, 9, 23 }.Select(length => new TrainingDocument(
            [.. Enumerable.Range(0, length).Select(_ => random.Next(config.VocabularySize))], [.. Enumerable.Range(0, length).Select(i => i % 3 != 1)]))];
        PackedBatch batch = new(documents);
        if (!teacher)
        {
            return batch;
        }

        const int Count = 5;
        return new PackedBatch([.. documents.Select(document =>
        {
            int[] ids = [.. Enumerable.Range(0, document.TargetCount).SelectMany(_ => Enumerable.Range(0, config.VocabularySize).OrderBy(_ => random.Next()).Take(Count))];
            float[] logits = [.. ids.Select(_ => (float)(random.NextDouble() * 6 - 3))];
            return document with { Teacher = (first, count) => new TeacherTargets(Count, ids[(first * Count)..((first + count) * Count)], logits[(first * Count)..((first + count) * Count)]) };
        })]);
    }

    private static int[] Tokens()
    {
        using SafetensorsFile expected = SafetensorsFile.Open(TestData.Local("tiny/expected.safetensors"));
        return expected.ReadInt32s("tokens");
    }
}
