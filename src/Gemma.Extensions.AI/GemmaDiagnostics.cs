namespace Gemma.Extensions.AI;

/// <summary>Names of the library's traces and metrics.</summary>
public static class GemmaDiagnostics
{
    /// <summary>Name of the meter and of the activity source: <c>metrics.AddMeter(GemmaDiagnostics.Name)</c>, <c>tracing.AddSource(GemmaDiagnostics.Name)</c>.</summary>
    public const string Name = "Gemma.Extensions.AI";
}
