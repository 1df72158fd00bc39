using Orleans;
using Orleans.Concurrency;

namespace Gemma.Extensions.AI.Orleans.Wire;

/// <summary>The options of a call. Where Gemma's own terms and those of the abstractions both have an option, what is set here is the one that wins.</summary>
[GenerateSerializer, Immutable, Alias("gemma.options")]
internal sealed class WireOptions
{
    [Id(0)]
    public string? Instructions { get; set; }

    [Id(1)]
    public string? ModelId { get; set; }

    [Id(2)]
    public float? Temperature { get; set; }

    [Id(3)]
    public int? TopK { get; set; }

    [Id(4)]
    public float? TopP { get; set; }

    [Id(5)]
    public float? MinP { get; set; }

    [Id(6)]
    public float? FrequencyPenalty { get; set; }

    [Id(7)]
    public float? PresencePenalty { get; set; }

    [Id(8)]
    public float? RepetitionPenalty { get; set; }

    [Id(9)]
    public Dictionary<int, float>? LogitBias { get; set; }

    /// <summary>Always set: an answer that goes on elsewhere goes on with it.</summary>
    [Id(10)]
    public long Seed { get; set; }

    [Id(11)]
    public int? TopLogProbabilities { get; set; }

    [Id(12)]
    public int? LogProbabilitySource { get; set; }

    [Id(13)]
    public int? MaxOutputTokens { get; set; }

    [Id(14)]
    public string[]? StopSequences { get; set; }

    [Id(15)]
    public string? Adapter { get; set; }

    [Id(16)]
    public int? Priority { get; set; }

    [Id(17)]
    public string? Caller { get; set; }

    [Id(18)]
    public TimeSpan? Timeout { get; set; }

    [Id(19)]
    public string? Regex { get; set; }

    [Id(20)]
    public string? Grammar { get; set; }

    [Id(21)]
    public bool? LenientSchemas { get; set; }

    [Id(22)]
    public bool? Rfc3339Times { get; set; }

    [Id(23)]
    public int? PropertyOrder { get; set; }

    [Id(24)]
    public WireFormat Format { get; set; }

    /// <summary>The schema of a JSON answer, completed by the type that it is read as.</summary>
    [Id(25)]
    public string? Schema { get; set; }

    [Id(26)]
    public WireTool[] Tools { get; set; } = [];

    [Id(27)]
    public WireToolMode ToolMode { get; set; }

    [Id(28)]
    public string? RequiredFunction { get; set; }

    [Id(29)]
    public bool? AllowMultipleToolCalls { get; set; }

    [Id(30)]
    public int? MaxStringLength { get; set; }

    public WireOptions Copy() => (WireOptions)MemberwiseClone();
}

[GenerateSerializer, Alias("gemma.format")]
internal enum WireFormat
{
    None,
    Text,
    Json,
    Schema,
}

[GenerateSerializer, Alias("gemma.toolmode")]
internal enum WireToolMode
{
    Unset,
    None,
    Auto,
    Required,
}

/// <summary>The description of a function, which stays with the caller.</summary>
[GenerateSerializer, Immutable, Alias("gemma.tool")]
internal sealed class WireTool
{
    [Id(0)]
    public string Name { get; set; } = "";

    [Id(1)]
    public string Description { get; set; } = "";

    [Id(2)]
    public string? Schema { get; set; }

    /// <summary>The schema completed by the types of the parameters; null where it is the same.</summary>
    [Id(3)]
    public string? EnforcedSchema { get; set; }
}
