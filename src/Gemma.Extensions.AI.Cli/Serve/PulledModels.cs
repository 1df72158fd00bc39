using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.Hosting;
using Gemma.Extensions.AI.Hub;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.Cli.Serve;

/// <summary>The models of the command line, and those that clients had downloaded since.</summary>
internal sealed class PulledModels(IServiceProvider provider, IServiceCollection services, Action<GemmaOptions, string> apply) : ModelCatalog(provider, services)
{
    private readonly IServiceProvider _provider = provider;
    private readonly Lock _lock = new();
    private IReadOnlyList<ServedModel> _pulled = [];

    public override IReadOnlyList<ServedModel> Models => _pulled is { Count: > 0 } pulled ? [.. base.Models, .. pulled] : base.Models;

    public override void Pulled(string reference)
    {
        string name = reference[HubReference.Prefix.Length..];
        lock (_lock)
        {
            if (Models.Any(model => string.Equals(model.Name, name, StringComparison.OrdinalIgnoreCase)))
            {
                return;
            }

            GemmaOptions options = new();
            apply(options, reference);
            ModelReference model = _provider.GetRequiredService<ModelRegistry>().Get(options);
            _pulled = [.. _pulled, new ServedModel(name, () => new GemmaChatClient(model), null)];
        }
    }
}
