using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Tests.Engine;

public sealed class SamplerTests
{
    private const int Draws = 40_000;

    public static TheoryData<float, int, float, float> Filters => new()
    {
        { 1, 0, 1, 0 },
        { 0.7f, 0, 1, 0 },
        { 2, 5, 1, 0 },
        { 1, 0, 0.8f, 0 },
        { 1.5f, 0, 0.95f, 0.05f },
        { 1, 0, 1, 0.1f },
        { 1, 12, 0.6f, 0 },
        { 0.8f, 12, 0.9f, 0.03f },
        { 1, 64, 0.95f, 0 },
        { 1, 1, 1, 0 },
        { 1, 0, 0.0001f, 0 },
        { 1, 3, 1, 1 },
    };

    [Fact]
    public void GreedyTakesTheBestAndOfEqualsTheLowest()
    {
        Sampler sampler = new(new SamplingOptions { Temperature = 0 }, 100, []);
        float[] logits = new float[100];
        logits[70] = logits[31] = 2;
        Assert.Equal(31, sampler.Sample(logits, default));
        Assert.Equal(70, sampler.Sample((float[])logits.Clone(), Mask(100, id => id is 70 or 90)));
        Assert.Equal(90, sampler.Sample((float[])logits.Clone(), Mask(100, id => id == 90)));
    }

    [Theory]
    [MemberData(nameof(Filters))]
    public void DrawsFollowTheDistribution(float temperature, int topK, float topP, float minP)
    {
        foreach (int size in new[] { 50, 64, 203 })
        {
            foreach (bool masked in new[] { false, true })
            {
                float[] logits = RandomLogits(size, size);
                Func<int, bool> allowed = masked ? id => id % 3 != 0 : _ => true;
                double[] expected = Reference(logits, allowed, temperature, topK, topP, minP);
                Sampler sampler = new(new SamplingOptions { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP, Seed = 42 }, size, []);
                int[] counts = new int[size];
                ulong[] mask = masked ? Mask(size, allowed) : [];
                float[] work = new float[size];
                for (int i = 0; i < Draws; i++)
                {
                    logits.CopyTo(work, 0);
                    counts[Draw(sampler, work, mask)]++;
                }

                AssertDistribution(expected, counts);
            }
        }
    }

    [Fact]
    public void PenaltiesAndBiasChangeTheLogitsTheyAreFor()
    {
        float[] logits = [1, 2, -1, 0.5f, 0];
        Sampler Answer(int seed) => Accepting([3, 3, 2], new(
            new SamplingOptions { Seed = seed, RepetitionPenalty = 1.5f, FrequencyPenalty = 0.25f, PresencePenalty = 0.5f, LogitBias = new Dictionary<int, float> { [4] = 1, [0] = -0.5f } },
            5, [1, 2, 1]));
        float[] adjusted = [0.5f, 2 / 1.5f, -1.5f - 0.75f, 0.5f / 1.5f - 1, 1];
        int[] counts = new int[5];
        for (int i = 0; i < Draws; i++)
        {
            counts[Answer(i).Sample((float[])logits.Clone(), default)]++;
        }

        AssertDistribution(Reference(adjusted, _ => true, 1, 0, 1, 0), counts);
    }

    [Fact]
    public void OneSeedGivesOneSequence()
    {
        int[] first = Sequence(5);
        Assert.Equal(first, Sequence(5));
        Assert.NotEqual(first, Sequence(6));
        Assert.NotEqual(Sequence(null), Sequence(null));

        static int[] Sequence(long? seed)
        {
            Sampler sampler = new(new SamplingOptions { Seed = seed }, 1000, []);
            return [.. Enumerable.Range(0, 50).Select(round => Draw(sampler, RandomLogits(1000, round), default))];
        }
    }

    [Theory]
    [InlineData(0, 1f, 0f)]
    [InlineData(64, 0.95f, 0f)]
    [InlineData(0, 0.9f, 0.01f)]
    [InlineData(100_000, 0.5f, 0f)]
    public void ALargeVocabularyKeepsWhatSortingKeeps(int topK, float topP, float minP)
    {
        const int Size = 256_000;
        foreach (float spread in new[] { 0f, 1f, 8f })
        {
            float[] logits = RandomLogits(Size, 9);
            for (int i = 0; i < Size; i++)
            {
                logits[i] = MathF.Round(logits[i] * spread * 4) / 4; // many equal ones
            }

            double[] expected = Reference(logits, _ => true, 1, topK, topP, minP);
            Sampler sampler = new(new SamplingOptions { TopK = topK, TopP = topP, MinP = minP, Seed = 3 }, Size, []);
            for (int i = 0; i < 60; i++)
            {
                int token = Draw(sampler, (float[])logits.Clone(), default);
                Assert.True(expected[token] > 0, $"spread {spread}: token {token} with logit {logits[token]} was not to be kept");
            }
        }
    }

    [Fact]
    public void OnlyAllowedTokensAreDrawnWhateverTheLogits()
    {
        Random random = new(2);
        for (int round = 0; round < 3000; round++)
        {
            int size = random.Next(1, 300);
            int only = random.Next(size);
            bool[] allowed = [.. Enumerable.Range(0, size).Select(id => id == only || random.Next(20) == 0)];
            float[] logits = RandomLogits(size, round);
            if (random.Next(4) == 0)
            {
                logits.AsSpan().Fill(float.NegativeInfinity);
            }

            Sampler sampler = new(
                new SamplingOptions { Temperature = random.Next(3), TopK = random.Next(3) * 20, TopP = random.Next(2) == 0 ? 1 : 0.5f, MinP = random.Next(2) * 0.1f }, size, []);
            Assert.True(allowed[sampler.Sample(logits, Mask(size, id => allowed[id]))]);
        }
    }

    [Fact]
    public void ExtremeLogitsAreDrawnAndBrokenOnesRefused()
    {
        Sampler sampler = new(new SamplingOptions { Temperature = 0.01f, Seed = 1 }, 4, []);
        Assert.Equal(2, sampler.Sample([-1e30f, 0, 3e38f, 1e30f], default));
        Assert.Equal(1, sampler.Sample([0, float.PositiveInfinity, 0, 0], default));
        Assert.Equal(3, sampler.Sample([float.NegativeInfinity, float.NegativeInfinity, float.NegativeInfinity, 0], default));
        Assert.Throws<GemmaException>(() => sampler.Sample([0, float.NaN, 0, 0], default));
    }

    [Fact]
    public void SamplingDoesNotAllocate()
    {
        float[] logits = RandomLogits(5000, 1);
        float[] work = new float[5000];
        ulong[] mask = Mask(5000, id => id % 2 == 0);
        foreach (SamplingOptions options in new SamplingOptions[]
        {
            new() { Temperature = 0 }, new(), new() { TopK = 64, TopP = 0.95f }, new() { TopP = 0.9f, MinP = 0.05f, FrequencyPenalty = 1, RepetitionPenalty = 1.1f },
        })
        {
            Sampler sampler = new(options, 5000, [1, 2, 3]);
            Run(sampler);
            long before = GC.GetAllocatedBytesForCurrentThread();
            Run(sampler);
            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        void Run(Sampler sampler)
        {
            for (int i = 0; i < 20; i++)
            {
                logits.CopyTo(work, 0);
                sampler.Accept(sampler.Sample(work, mask));
            }
        }
    }

    [Fact]
    public void AnAnswerGoesOnBehindKnownTokensAsItWouldHave()
    {
        SamplingOptions options = new() { Seed = 77, Temperature = 1.3f, FrequencyPenalty = 0.4f, RepetitionPenalty = 1.2f };
        ulong[] forced = Mask(1000, id => id == 5);
        Sampler whole = new(options, 1000, [1, 2]);
        int[] answer = [.. Enumerable.Range(0, 40).Select(Next(whole))];
        for (int known = 0; known < answer.Length; known += 7)
        {
            // Forced tokens are known without being drawn, here every fourth.
            Sampler other = Accepting(answer[..known], new Sampler(options, 1000, [1, 2]));
            Assert.Equal(answer[known..], Enumerable.Range(known, answer.Length - known).Select(Next(other)));
        }

        Func<int, int> Next(Sampler sampler) => place => Draw(sampler, RandomLogits(1000, place), place % 4 == 3 ? forced : default);
    }

    /// <summary>Draws a token and goes on behind it.</summary>
    private static int Draw(Sampler sampler, Span<float> logits, ReadOnlySpan<ulong> mask)
    {
        int token = sampler.Sample(logits, mask);
        sampler.Accept(token);
        return token;
    }

    private static Sampler Accepting(int[] tokens, Sampler sampler)
    {
        Array.ForEach(tokens, sampler.Accept);
        return sampler;
    }

    /// <summary>By the definition: sort, cut, normalise.</summary>
    private static double[] Reference(float[] logits, Func<int, bool> allowed, float temperature, int topK, float topP, float minP)
    {
        int[] order = [.. Enumerable.Range(0, logits.Length).Where(allowed).OrderByDescending(id => logits[id]).ThenBy(id => id)];
        if (topK > 0)
        {
            order = order[..Math.Min(topK, order.Length)];
        }

        double best = logits[order[0]];
        double[] weights = [.. order.Select(id => Math.Exp((logits[id] - best) / temperature))];
        double total = weights.Sum();
        int kept = 0;
        for (double sum = 0; kept < weights.Length && (topP >= 1 || kept == 0 || sum < topP * total); kept++)
        {
            sum += weights[kept];
        }

        while (minP > 0 && weights[kept - 1] < minP)
        {
            kept--;
        }

        total = weights.Take(kept).Sum();
        double[] probabilities = new double[logits.Length];
        for (int i = 0; i < kept; i++)
        {
            probabilities[order[i]] = weights[i] / total;
        }

        return probabilities;
    }

    /// <summary>
    /// Nothing improbable was drawn, and chi-square over the tokens expected at least 5 times is below its mean plus 6 standard deviations
    /// (seeds are fixed, so this passes or fails for good).
    /// </summary>
    private static void AssertDistribution(double[] expected, int[] counts)
    {
        int draws = counts.Sum();
        double chiSquare = 0;
        int cells = 0;
        for (int id = 0; id < expected.Length; id++)
        {
            double mean = expected[id] * draws;
            if (expected[id] == 0)
            {
                Assert.Equal(0, counts[id]);
            }
            else if (mean >= 5)
            {
                chiSquare += (counts[id] - mean) * (counts[id] - mean) / mean;
                cells++;
            }
        }

        int freedom = Math.Max(1, cells - 1);
        Assert.True(chiSquare < freedom + 6 * Math.Sqrt(2 * freedom), $"chi-square {chiSquare:F1} of {freedom} degrees of freedom");
    }

    private static float[] RandomLogits(int size, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, size).Select(_ => (float)(2 * (random.NextDouble() + random.NextDouble() + random.NextDouble()) - 3))];
    }

    private static ulong[] Mask(int size, Func<int, bool> allowed)
    {
        ulong[] mask = new ulong[(size + 63) / 64];
        for (int id = 0; id < size; id++)
        {
            mask[id >> 6] |= allowed(id) ? 1UL << (id & 63) : 0;
        }

        return mask;
    }
}
