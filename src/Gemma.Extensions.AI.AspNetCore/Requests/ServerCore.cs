using Gemma.Extensions.AI.AspNetCore.Models;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>What all APIs of a server share.</summary>
internal sealed class ServerCore(ModelCatalog models, IOptions<GemmaServerOptions> options, ILoggerFactory loggers)
{
    public ModelCatalog Models => models;

    public GemmaServerOptions Options => options.Value;

    public ILogger Logger { get; } = loggers.CreateLogger("Gemma.Extensions.AI.AspNetCore");

    public UnusedOptions Unused { get; } = new(loggers.CreateLogger("Gemma.Extensions.AI.AspNetCore"));

    public ForeignOptions Foreign { get; } = new(loggers.CreateLogger("Gemma.Extensions.AI.AspNetCore"));
}
