namespace Gemma.Extensions.AI.Engine;

/// <summary>Computes many texts, or continuations of one, of a call side by side.</summary>
internal static class EngineCalls
{
    /// <summary>Texts of one call that the engine is given at a time: enough to fill its steps, few enough to leave the queue to others.</summary>
    private const int MaxAtOnce = 16;

    /// <summary>Results in the order of the texts. The call fails as a whole.</summary>
    public static async Task<TResult[]> RunAsync<TText, TResult>(IReadOnlyList<TText> texts, Func<TText, CancellationToken, Task<TResult>> compute, CancellationToken cancellationToken)
    {
        TResult[] results = new TResult[texts.Count];
        using CancellationTokenSource failed = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using SemaphoreSlim places = new(MaxAtOnce);
        await Task.WhenAll(Enumerable.Range(0, texts.Count).Select(async i =>
        {
            await places.WaitAsync(failed.Token).ConfigureAwait(false);
            try
            {
                results[i] = await compute(texts[i], failed.Token).ConfigureAwait(false);
            }
            catch
            {
                // What has not begun need not.
                await failed.CancelAsync().ConfigureAwait(false);
                throw;
            }
            finally
            {
                places.Release();
            }
        })).ConfigureAwait(false);
        return results;
    }
}
