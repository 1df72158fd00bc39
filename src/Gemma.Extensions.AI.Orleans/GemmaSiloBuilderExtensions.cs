using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans.Runtime;
using Orleans.Runtime.Hosting;

namespace Orleans.Hosting;

/// <summary>Makes silos nodes of a cluster that serves Gemma models.</summary>
public static class GemmaSiloBuilderExtensions
{
    /// <summary>
    /// Has this silo serve models, or route calls to silos that do: every silo of the cluster needs it. Models are loaded while the silo starts, and running calls are handed over
    /// before it stops.
    /// </summary>
    /// <param name="silo">The silo.</param>
    /// <param name="configure">Says which models; without any, the silo only routes.</param>
    public static ISiloBuilder AddGemmaNode(this ISiloBuilder silo, Action<GemmaNodeOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(silo);
        OptionsBuilder<GemmaNodeOptions> options = silo.Services.AddOptions<GemmaNodeOptions>().ValidateOnStart();
        if (configure is not null)
        {
            options.Configure(configure);
        }

        if (silo.Services.Any(service => service.ServiceType == typeof(GemmaNode)))
        {
            return silo;
        }

        silo.Services.AddSingleton<IValidateOptions<GemmaNodeOptions>, ValidateNodeOptions>();
        silo.Services.TryAddSingleton(NodeTimes.Default);
        silo.Services.AddSingleton(services => new SiloName(services.GetRequiredService<ILocalSiloDetails>().SiloAddress.ToParsableString()));
        silo.Services.AddSingleton(services => new ClusterView(services.GetRequiredService<IOptions<GemmaNodeOptions>>()));
        silo.Services.AddSingleton<NodeModels>();
        silo.Services.AddSingleton<NodeJobs>();
        silo.Services.AddSingleton(services => new GemmaNode(
            services.GetRequiredService<NodeModels>(), services.GetRequiredService<NodeJobs>(), services.GetRequiredService<ClusterView>(), services.GetRequiredService<SiloName>(),
            services.GetRequiredService<IOptions<GemmaNodeOptions>>(), services.GetRequiredService<ILogger<GemmaNode>>()));
        silo.Services.AddSingleton<NodeService>();
        silo.Services.AddSingleton<ILifecycleParticipant<ISiloLifecycle>>(services => services.GetRequiredService<NodeService>());
        silo.AddPlacementDirector<NodePlacement, NodePlacementDirector>();
        silo.AddGrainDirectory(NoDirectory.Name, (_, _) => new NoDirectory());
        return silo;
    }

    private sealed class ValidateNodeOptions : IValidateOptions<GemmaNodeOptions>
    {
        public ValidateOptionsResult Validate(string? name, GemmaNodeOptions options) =>
            string.Join(" ", options.Validate()) is { Length: > 0 } problems ? ValidateOptionsResult.Fail(problems) : ValidateOptionsResult.Success;
    }
}
