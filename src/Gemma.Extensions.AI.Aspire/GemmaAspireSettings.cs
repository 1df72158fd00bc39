namespace Gemma.Extensions.AI.Aspire;

/// <summary>Settings of the integration: what it adds beside the client. Read from the configuration sections <c>Aspire:Gemma</c> and <c>Aspire:Gemma:{name}</c>.</summary>
public sealed class GemmaAspireSettings
{
    /// <summary>The model and its options: a path, or <c>Model=PATH;ContextLength=4096</c>. Read from <c>ConnectionStrings:{name}</c>.</summary>
    public string? ConnectionString { get; set; }

    /// <summary>True to add no health check.</summary>
    public bool DisableHealthChecks { get; set; }

    /// <summary>True to record no traces.</summary>
    public bool DisableTracing { get; set; }

    /// <summary>True to export no metrics.</summary>
    public bool DisableMetrics { get; set; }
}
