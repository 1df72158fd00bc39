using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Gemma.Extensions.AI.Hosting;

/// <summary>
/// Tells how the registered models are: healthy (ready, or waiting for their first use), degraded (the queue is nearly full), or unhealthy (being
/// loaded, loading or the engine failed, or the model is shutting down).
/// </summary>
internal sealed class GemmaHealthCheck(ModelRegistry? registry) : IHealthCheck
{
    /// <summary>Fill level of the queue, as a fraction, at which a model counts as overloaded.</summary>
    private const double Overloaded = 0.8;

    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        Dictionary<string, object> data = new();
        HealthStatus worst = HealthStatus.Healthy;
        List<string> sentences = new();
        foreach (ModelReference reference in registry?.Models ?? [])
        {
            (HealthStatus status, string sentence) = Check(reference, data);
            worst = status < worst ? status : worst;
            sentences.Add(sentence);
        }

        HealthStatus reported = worst == HealthStatus.Unhealthy ? context.Registration.FailureStatus : worst;
        string description = sentences.Count == 0 ? "No Gemma model has been used yet." : string.Join(" ", sentences);
        return Task.FromResult(new HealthCheckResult(reported, description, data: data));
    }

    private static (HealthStatus Status, string Sentence) Check(ModelReference reference, Dictionary<string, object> data)
    {
        string id = reference.ModelId;
        if (reference.LoadError is { } error)
        {
            return (HealthStatus.Unhealthy, $"{id} could not be loaded: {error.Message}");
        }

        if (reference.IsLoading)
        {
            return (HealthStatus.Unhealthy, $"{id} is being loaded.");
        }

        if (reference.Loaded is not { } model)
        {
            return (HealthStatus.Healthy, $"{id} is loaded with its first use.");
        }

        Engine.EngineStatus engine = model.Engine.Status;
        data[$"{id}.running"] = engine.Running;
        data[$"{id}.waiting"] = engine.Waiting;
        data[$"{id}.kv_blocks_used"] = engine.UsedBlocks;
        data[$"{id}.kv_blocks"] = engine.Blocks;
        return engine switch
        {
            { Failed: true } => (HealthStatus.Unhealthy, $"{id} failed; the log says why."),
            { Stopping: true } => (HealthStatus.Unhealthy, $"{id} is shutting down."),
            _ when (engine.Waiting > 0 || engine.Running >= engine.MaxRunning) && engine.Waiting >= Overloaded * engine.MaxWaiting =>
                (HealthStatus.Degraded, $"{id} is overloaded: {engine.Waiting:N0} of at most {engine.MaxWaiting:N0} requests wait, {engine.Running:N0} of {engine.MaxRunning:N0} run."),
            _ => (HealthStatus.Healthy, $"{id} is ready."),
        };
    }
}
