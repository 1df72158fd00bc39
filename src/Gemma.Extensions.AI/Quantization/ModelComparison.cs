using System.Numerics.Tensors;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Quantization;

/// <summary>Divergence of two models with the same vocabulary on a text.</summary>
/// <param name="Tokens">Predictions compared.</param>
/// <param name="PerplexityA">exp of the mean negative log likelihood of the first model.</param>
/// <param name="PerplexityB">The same of the second.</param>
/// <param name="MeanDivergence">Mean of KL(A ‖ B) over the positions, in nats.</param>
/// <param name="Divergence99">99th percentile of it.</param>
/// <param name="MaxDivergence">Largest of it.</param>
/// <param name="SameTop">Share of positions where both put the same token first.</param>
internal sealed record ModelComparison(
    int Tokens, double PerplexityA, double PerplexityB, double MeanDivergence, double Divergence99, double MaxDivergence, double SameTop)
{
    /// <summary>Compares next-token distributions.</summary>
    /// <param name="a">The model that counts as right.</param>
    /// <param name="b">The other.</param>
    /// <param name="windows">Pieces of a text, each beginning with bos; the logits of one piece are held in memory.</param>
    /// <param name="progress">Told the pieces done.</param>
    /// <param name="cancellationToken">Ends the comparison.</param>
    public static async Task<ModelComparison> RunAsync(
        GemmaEngine a, GemmaEngine b, IReadOnlyList<int[]> windows, IProgress<int>? progress = null, CancellationToken cancellationToken = default)
    {
        Totals totals = new();
        for (int i = 0; i < windows.Count; i++)
        {
            int[] ids = windows[i];
            Collector reference = new(ids);
            await a.EvaluateAsync(ids[..^1], reference, cancellationToken);
            await b.EvaluateAsync(ids[..^1], new Comparer(ids, reference.Rows, totals), cancellationToken);
            totals.NllA += reference.Nll;
            progress?.Report(i + 1);
        }

        return totals.Result();
    }

    /// <summary>KL(A ‖ B) of the softmax distributions of two rows of logits, in nats.</summary>
    internal static double Divergence(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double normA = TokenLogProbabilities.LogSumExp(a), normB = TokenLogProbabilities.LogSumExp(b), sum = 0;
        for (int i = 0; i < a.Length; i++)
        {
            double p = a[i] - normA;
            sum += Math.Exp(p) * (p - (b[i] - normB));
        }

        return Math.Max(0, sum);
    }

    private sealed class Collector(int[] ids) : RowReader
    {
        public List<float[]> Rows { get; } = [];
        public double Nll { get; private set; }
        public override int FirstPosition => 0;
        public override bool WantsHidden => false;

        public override void OnRow(int position, ReadOnlySpan<float> values)
        {
            Rows.Add(values.ToArray());
            Nll += TokenLogProbabilities.LogSumExp(values) - values[ids[position + 1]];
        }
    }

    private sealed class Comparer(int[] ids, List<float[]> reference, Totals totals) : RowReader
    {
        public override int FirstPosition => 0;
        public override bool WantsHidden => false;

        public override void OnRow(int position, ReadOnlySpan<float> values)
        {
            float[] expected = reference[position];
            totals.NllB += TokenLogProbabilities.LogSumExp(values) - values[ids[position + 1]];
            totals.Divergences.Add(Divergence(expected, values));
            totals.SameTop += TensorPrimitives.IndexOfMax(expected) == TensorPrimitives.IndexOfMax(values) ? 1 : 0;
        }
    }

    private sealed class Totals
    {
        public double NllA { get; set; }
        public double NllB { get; set; }
        public int SameTop { get; set; }
        public List<double> Divergences { get; } = [];

        public ModelComparison Result()
        {
            int count = Divergences.Count;
            double[] sorted = [.. Divergences.Order()];
            return new ModelComparison(count, Math.Exp(NllA / count), Math.Exp(NllB / count), sorted.Average(), sorted[(int)Math.Ceiling(0.99 * count) - 1], sorted[^1], (double)SameTop / count);
        }
    }
}
