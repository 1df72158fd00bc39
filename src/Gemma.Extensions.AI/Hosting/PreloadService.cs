using Microsoft.Extensions.Hosting;

namespace Gemma.Extensions.AI.Hosting;

/// <summary>Loads the models that ask for it while the host starts, so that the first request does not wait.</summary>
internal sealed class PreloadService(ModelRegistry registry, IEnumerable<GemmaRegistration> registrations) : IHostedService
{
    public Task StartAsync(CancellationToken cancellationToken) =>
        Task.WhenAll(registrations.Where(registration => registry.OptionsOf(registration).Preload)
            .Select(registration => Task.Run(async () => (await registry.Get(registration).LeaseAsync(cancellationToken).ConfigureAwait(false)).Dispose(), cancellationToken)));

    /// <summary>Requests that were accepted finish within the time that the host allows for its shutdown.</summary>
    public Task StopAsync(CancellationToken cancellationToken) => registry.StopAsync(cancellationToken);
}
