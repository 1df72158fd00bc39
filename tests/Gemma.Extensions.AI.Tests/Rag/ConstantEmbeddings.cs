using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>The same vector of two numbers for all texts; fails on purpose after some calls.</summary>
internal sealed class ConstantEmbeddings : IEmbeddingGenerator<string, Embedding<float>>
{
    private int _calls;

    public int FailAfterCalls { get; init; } = int.MaxValue;

    public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        _calls++ < FailAfterCalls ? Task.FromResult(new GeneratedEmbeddings<Embedding<float>>(values.Select(_ => new Embedding<float>(new float[] { 1, 1 })))) : throw new InvalidOperationException("stopped");

    public object? GetService(Type serviceType, object? serviceKey = null) => null;

    public void Dispose()
    {
    }
}
