using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Model;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Engine;

/// <summary>Runs any number of requests on one model: a thread of its own takes one step after another, each with rows of many sequences.</summary>
internal sealed class GemmaEngine : IDisposable
{
    /// <summary>Starts the engine. The weights and the backend belong to the caller and must outlive it.</summary>
    public GemmaEngine(GemmaConfig config, GemmaWeights weights, Backend backend, EngineOptions options, ILogger? logger = null)
    {
        ContextLength = Math.Min(options.ContextLength ?? config.ContextLength, config.ContextLength);
    }

    /// <summary>Most tokens of one sequence.</summary>
    public int ContextLength { get; }

    /// <summary>Queues a request and returns at once; everything else is told to its sink on the engine's thread.</summary>
    /// <exception cref="GemmaContextLengthException">The prompt is longer than the context.</exception>
    /// <exception cref="GemmaKvCacheException">The request needs more key/value memory than there is in total.</exception>
    /// <exception cref="GemmaOverloadedException">Too many requests wait already, or the engine is stopping.</exception>
    /// <exception cref="ObjectDisposedException">The engine was disposed.</exception>
    public void Submit(GenerationRequest request) => throw new NotImplementedException();

    /// <summary>Computes a prompt for its logits or hidden states without generating.</summary>
    public Task<GenerationResult> EvaluateAsync(int[] tokens, RowReader reader, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <summary>Refuses new requests, lets the accepted ones finish for at most <paramref name="drain"/>, then cancels the rest.</summary>
    public Task StopAsync(TimeSpan drain) => throw new NotImplementedException();

    public void Dispose()
    {
    }
}
