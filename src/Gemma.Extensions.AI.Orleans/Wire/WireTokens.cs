using Orleans;
using Orleans.Concurrency;

namespace Gemma.Extensions.AI.Orleans.Wire;

/// <summary>A question to a node's tokenizer. A text, tokens, or the conversation of the call.</summary>
[GenerateSerializer, Immutable, Alias("gemma.tokenquestion")]
internal sealed class WireTokenQuestion
{
    [Id(0)]
    public string? Text { get; set; }

    [Id(1)]
    public bool AddsBos { get; set; }

    [Id(2)]
    public bool ReadsMarkers { get; set; }

    [Id(3)]
    public int[]? Tokens { get; set; }

    [Id(4)]
    public bool WantsText { get; set; }

    [Id(5)]
    public bool WantsPieces { get; set; }

    [Id(6)]
    public string? Adapter { get; set; }
}

[GenerateSerializer, Immutable, Alias("gemma.tokenanswer")]
internal sealed class WireTokenAnswer
{
    [Id(0)]
    public int[] Tokens { get; set; } = [];

    [Id(1)]
    public string? Text { get; set; }

    [Id(2)]
    public string[]? Pieces { get; set; }

    [Id(3)]
    public int ContextLength { get; set; }
}

/// <summary>A prompt without turns: a text or tokens.</summary>
[GenerateSerializer, Immutable, Alias("gemma.raw")]
internal sealed class WireRawPrompt
{
    [Id(0)]
    public string? Text { get; set; }

    [Id(1)]
    public int[]? Tokens { get; set; }
}
