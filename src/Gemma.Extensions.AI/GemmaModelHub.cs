using Gemma.Extensions.AI.Hub;

namespace Gemma.Extensions.AI;

/// <summary>
/// Downloads models from the Hugging Face hub into the cache that all its tools share: what others downloaded is found, and they find ours.
/// Interrupted downloads go on where they were; a model can be loaded when all its files are there and checked.
/// </summary>
public static class GemmaModelHub
{
    /// <summary>Makes sure that a model is on this machine.</summary>
    /// <param name="reference"><c>owner/name</c>, <c>owner/name:TYPE</c> for a GGUF file, either with <c>@revision</c>, or the URL of a GGUF file; <c>hf:</c> may stand before.</param>
    /// <param name="options">Cache, token, network; null: the environment's.</param>
    /// <param name="progress">Told how far the download is; where it is an <see cref="IProgress{T}"/> of <see cref="GemmaHubRetry"/> too, also of attempts that failed and are made again.</param>
    /// <param name="cancellationToken">Stops the download; it can go on later.</param>
    /// <returns>Path for <see cref="GemmaModel.Load"/>: a GGUF file or a directory.</returns>
    /// <exception cref="ArgumentException">The reference is not understood.</exception>
    /// <exception cref="GemmaHubException">The model cannot be downloaded; the message says why and what to do.</exception>
    /// <exception cref="GemmaModelFormatException">The repository holds no model, or several.</exception>
    public static async Task<string> EnsureAsync(
        string reference, GemmaHubOptions? options = null, IProgress<GemmaDownloadProgress>? progress = null, CancellationToken cancellationToken = default) =>
        await HubDownloader.EnsureAsync(HubReference.Parse(reference), new HubSettings((options ?? new GemmaHubOptions()).Telling(progress as IProgress<GemmaHubRetry>)), progress, cancellationToken).ConfigureAwait(false);
}
