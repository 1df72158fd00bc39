using System.Numerics.Tensors;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Conformance;

/// <summary>
/// What an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/> of text owes its callers, whoever wrote it. Derive a public class and say how to
/// make a generator; the model needs no sense.
/// </summary>
public abstract class EmbeddingGeneratorConformance
{
    private static readonly string[] s_texts = ["A river runs to the sea.", "Grüße, 世界 🌍", "", "x", string.Join(' ', Enumerable.Repeat("many words", 40))];

    /// <summary>A text that is longer than the model reads; null where nothing is.</summary>
    protected abstract string? TooLong { get; }

    /// <summary>Largest difference between two computations of one text: batches may round differently.</summary>
    protected virtual float Tolerance => 2e-3f;

    /// <summary>A generator ready for use. The suite disposes it.</summary>
    protected abstract IEmbeddingGenerator<string, Embedding<float>> CreateGenerator();

    [Fact]
    public async Task EveryTextHasAFiniteVectorOfOneLengthInOrder()
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = CreateGenerator();
        GeneratedEmbeddings<Embedding<float>> all = await generator.GenerateAsync(s_texts);
        Assert.Equal(s_texts.Length, all.Count);
        Assert.Single(all.Select(e => e.Vector.Length).Distinct());
        Assert.All(all, e => Assert.True(TensorPrimitives.IsFiniteAll(e.Vector.Span)));
        for (int i = 0; i < s_texts.Length; i++)
        {
            Close(all[i], await generator.GenerateAsync(s_texts[i]));
        }

        Assert.True(Distance(all[0], all[1]) > Tolerance, "Two texts have the same vector.");
    }

    [Fact]
    public async Task VectorsHaveLengthOne()
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = CreateGenerator();
        Assert.All(await generator.GenerateAsync(s_texts), e => Assert.Equal(1, TensorPrimitives.Norm(e.Vector.Span), 1e-4));
    }

    [Fact]
    public async Task NoTextsGiveNoVectors()
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = CreateGenerator();
        Assert.Empty(await generator.GenerateAsync(Array.Empty<string>()));
        await Assert.ThrowsAsync<ArgumentNullException>(() => generator.GenerateAsync((IEnumerable<string>)null!));
        await Assert.ThrowsAnyAsync<ArgumentException>(() => generator.GenerateAsync(["a", null!]));
    }

    [Fact]
    public async Task FewerDimensionsAreTheFirstOnesNormalisedAgain()
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = CreateGenerator();
        Embedding<float> whole = await generator.GenerateAsync(s_texts[0]);
        int half = whole.Vector.Length / 2;
        Embedding<float> part = await generator.GenerateAsync(s_texts[0], new EmbeddingGenerationOptions { Dimensions = half });
        Assert.Equal(half, part.Vector.Length);
        Assert.Equal(1, TensorPrimitives.Norm(part.Vector.Span), 1e-4);
        Assert.Equal(1, TensorPrimitives.CosineSimilarity(part.Vector.Span, whole.Vector.Span[..half]), 1e-3);
        foreach (int wrong in (int[])[0, -1, whole.Vector.Length + 1])
        {
            await Assert.ThrowsAnyAsync<ArgumentException>(() => generator.GenerateAsync(s_texts, new EmbeddingGenerationOptions { Dimensions = wrong }));
        }
    }

    [Fact]
    public async Task UsageAndModelAreReported()
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = CreateGenerator();
        GeneratedEmbeddings<Embedding<float>> one = await generator.GenerateAsync([s_texts[0]]);
        GeneratedEmbeddings<Embedding<float>> two = await generator.GenerateAsync([s_texts[0], s_texts[0]]);
        Assert.True(one.Usage!.InputTokenCount > 0);
        Assert.Equal(2 * one.Usage.InputTokenCount, two.Usage!.InputTokenCount);
        Assert.Equal(one.Usage.InputTokenCount, one.Usage.TotalTokenCount);
        Assert.NotNull(one[0].ModelId);
        Assert.NotNull(one[0].CreatedAt);
        await Assert.ThrowsAnyAsync<ArgumentException>(() => generator.GenerateAsync(s_texts, new EmbeddingGenerationOptions { ModelId = "some-other-model" }));
    }

    [Fact]
    public async Task ATextThatIsTooLongIsRefusedAndTheNextCallWorks()
    {
        Assert.SkipWhen(TooLong is null, "the model reads texts of any length");
        using IEmbeddingGenerator<string, Embedding<float>> generator = CreateGenerator();
        await Assert.ThrowsAnyAsync<Exception>(() => generator.GenerateAsync(["short", TooLong]));
        Assert.Single(await generator.GenerateAsync(["short"]));
    }

    [Fact]
    public async Task OptionsAreNotChanged()
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = CreateGenerator();
        EmbeddingGenerationOptions options = new() { AdditionalProperties = new AdditionalPropertiesDictionary { ["someone"] = "else's" } };
        await generator.GenerateAsync(s_texts, options);
        Assert.Null(options.Dimensions);
        Assert.Null(options.ModelId);
        Assert.Equal("someone", Assert.Single(options.AdditionalProperties).Key);
    }

    [Fact]
    public async Task ConcurrentCallsGiveWhatSingleCallsGive()
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = CreateGenerator();
        GeneratedEmbeddings<Embedding<float>> expected = await generator.GenerateAsync(s_texts);
        GeneratedEmbeddings<Embedding<float>>[] many = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => generator.GenerateAsync(s_texts)));
        Assert.All(many, result => Assert.All(result.Zip(expected), pair => Close(pair.First, pair.Second)));
    }

    [Fact]
    public async Task CancellingEndsTheCallAndLeavesTheGeneratorUsable()
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = CreateGenerator();
        using CancellationTokenSource cancelled = new();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => generator.GenerateAsync(s_texts, cancellationToken: cancelled.Token));
        using CancellationTokenSource soon = new();
        Task<GeneratedEmbeddings<Embedding<float>>> running = generator.GenerateAsync(Enumerable.Repeat(s_texts[4], 400), cancellationToken: soon.Token);
        await soon.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        Assert.Single(await generator.GenerateAsync(["again"]));
    }

    [Fact]
    public void ServicesAreAnswered()
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = CreateGenerator();
        EmbeddingGeneratorMetadata? metadata = generator.GetService<EmbeddingGeneratorMetadata>();
        Assert.NotNull(metadata?.ProviderName);
        Assert.NotNull(metadata.DefaultModelId);
        Assert.Same(generator, generator.GetService(generator.GetType()));
        Assert.Null(generator.GetService(typeof(EmbeddingGeneratorMetadata), "key"));
        Assert.Throws<ArgumentNullException>(() => generator.GetService(null!));
    }

    private static float Distance(Embedding<float> a, Embedding<float> b) => TensorPrimitives.Distance(a.Vector.Span, b.Vector.Span);

    private void Close(Embedding<float> a, Embedding<float> b) => Assert.InRange(Distance(a, b), 0, Tolerance);
}
