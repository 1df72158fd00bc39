using Gemma.Extensions.AI.AspNetCore.Models;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>State shared by all APIs of a server.</summary>
internal sealed class ServerCore(ModelCatalog models, IOptions<GemmaServerOptions> options, ILoggerFactory loggers, IHostApplicationLifetime? lifetime = null)
{
    public ModelCatalog Models => models;

    public GemmaServerOptions Options => options.Value;

    public ILogger Logger { get; } = loggers.CreateLogger("Gemma.Extensions.AI.AspNetCore");

    public UnusedOptions Unused { get; } = new(loggers.CreateLogger("Gemma.Extensions.AI.AspNetCore"));

    /// <summary>Cancelled when the application has stopped: what outlived its connection ends then at the latest.</summary>
    public CancellationToken Stopped { get; } = lifetime?.ApplicationStopped ?? CancellationToken.None;

    public ForeignOptions Foreign { get; } = new(loggers.CreateLogger("Gemma.Extensions.AI.AspNetCore"));
}
