using Orleans;
using Orleans.Concurrency;

namespace Gemma.Extensions.AI.Orleans.Wire;

/// <summary>The parts of an answer since the last batch; without any it is a heartbeat.</summary>
[GenerateSerializer, Immutable, Alias("gemma.batch")]
internal sealed class WireBatch
{
    [Id(0)]
    public WireState State { get; set; }

    /// <summary>The silo of the node.</summary>
    [Id(1)]
    public string Node { get; set; } = "";

    /// <summary>The silo of the better one where the state is <see cref="WireState.Elsewhere"/>.</summary>
    [Id(8)]
    public string? Better { get; set; }

    [Id(2)]
    public WirePart[] Parts { get; set; } = [];

    /// <summary>The identity of the node's model; with the first part.</summary>
    [Id(3)]
    public string? Identity { get; set; }

    /// <summary>The prompt in tokens; with the first part.</summary>
    [Id(4)]
    public int[]? Prompt { get; set; }

    [Id(5)]
    public WireFault? Fault { get; set; }

    [Id(6)]
    public WireVectors? Vectors { get; set; }

    /// <summary>1 for the first of an attempt.</summary>
    [Id(7)]
    public int Sequence { get; set; }

    [Id(9)]
    public WireTokenAnswer? Answer { get; set; }
}

[GenerateSerializer, Alias("gemma.state")]
internal enum WireState
{
    /// <summary>More will come.</summary>
    Running,

    /// <summary>The last part was the end.</summary>
    Done,

    /// <summary>The call failed and would fail anywhere, or nobody knows better.</summary>
    Failed,

    /// <summary>The node names a better one.</summary>
    Elsewhere,

    /// <summary>The node lets go of the answer: it is being drained, or its model failed.</summary>
    LetGo,

    /// <summary>The node has nothing of the attempt any more: it took the caller for gone.</summary>
    Gone,

    /// <summary>The node does not serve the model, or not as the answer began.</summary>
    NotServed,

    /// <summary>The node's queue is full.</summary>
    Full,
}

/// <summary>One piece of an answer, with the tokens that are new with it.</summary>
[GenerateSerializer, Immutable, Alias("gemma.part")]
internal sealed class WirePart
{
    [Id(0)]
    public string? Text { get; set; }

    [Id(1)]
    public string? CallId { get; set; }

    [Id(2)]
    public string? CallName { get; set; }

    /// <summary>Arguments of the call as a JSON object.</summary>
    [Id(3)]
    public string? CallArguments { get; set; }

    [Id(4)]
    public int[] Tokens { get; set; } = [];

    [Id(5)]
    public WireTokenChances[]? LogProbabilities { get; set; }

    [Id(6)]
    public WireEnd? End { get; set; }
}

[GenerateSerializer, Immutable, Alias("gemma.end")]
internal sealed class WireEnd
{
    [Id(0)]
    public string Finish { get; set; } = "";

    [Id(1)]
    public string? StopSequence { get; set; }

    [Id(2)]
    public long InputTokens { get; set; }

    [Id(3)]
    public long OutputTokens { get; set; }

    [Id(4)]
    public long CachedTokens { get; set; }
}

/// <summary>A token with what else was likely at its place; the first is the token itself.</summary>
[GenerateSerializer, Immutable, Alias("gemma.chances")]
internal sealed class WireTokenChances
{
    [Id(0)]
    public int[] Ids { get; set; } = [];

    [Id(1)]
    public byte[][] Utf8 { get; set; } = [];

    [Id(2)]
    public double[] Values { get; set; } = [];
}

[GenerateSerializer, Immutable, Alias("gemma.vectors")]
internal sealed class WireVectors
{
    [Id(0)]
    public float[][] Values { get; set; } = [];

    [Id(1)]
    public long InputTokens { get; set; }
}

/// <summary>An exception of a node, by what it means.</summary>
[GenerateSerializer, Immutable, Alias("gemma.fault")]
internal sealed class WireFault
{
    [Id(0)]
    public WireFaultKind Kind { get; set; }

    [Id(1)]
    public string Message { get; set; } = "";

    [Id(2)]
    public string? Parameter { get; set; }

    [Id(3)]
    public long First { get; set; }

    [Id(4)]
    public long Second { get; set; }
}

[GenerateSerializer, Alias("gemma.faultkind")]
internal enum WireFaultKind
{
    Other,
    Argument,
    ArgumentRange,
    NotSupported,
    ContextLength,
    KvCache,
    Format,
    Timeout,
    Diverged,
}
