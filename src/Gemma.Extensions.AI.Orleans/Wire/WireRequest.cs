using Orleans;
using Orleans.Concurrency;

namespace Gemma.Extensions.AI.Orleans.Wire;

/// <summary>
/// A call as it travels to a node. Classes, not records: what a runtime logs of a call must not show what it holds. Members are only ever added, with numbers of their own, so
/// that nodes and clients of different versions understand each other during an upgrade.
/// </summary>
[GenerateSerializer, Immutable, Alias("gemma.request")]
internal sealed class WireRequest
{
    /// <summary>One try to have the call answered by one node.</summary>
    [Id(0)]
    public Guid Attempt { get; set; }

    /// <summary>Name of the model in the cluster.</summary>
    [Id(1)]
    public string Model { get; set; } = "";

    [Id(2)]
    public WireMessage[] Messages { get; set; } = [];

    [Id(3)]
    public WireOptions Options { get; set; } = new();

    /// <summary>The caller reads the answer while it is generated.</summary>
    [Id(4)]
    public bool IsStreaming { get; set; }

    /// <summary>The node may name a better one instead of answering.</summary>
    [Id(5)]
    public bool MayRedirect { get; set; }

    /// <summary>The part of the answer that the caller has; null: nothing.</summary>
    [Id(6)]
    public WireKnown? Known { get; set; }

    /// <summary>Texts to embed; null: a conversation is answered.</summary>
    [Id(7)]
    public WireTexts? Texts { get; set; }

    /// <summary>A question to the tokenizer; null: none.</summary>
    [Id(8)]
    public WireTokenQuestion? Question { get; set; }

    /// <summary>A prompt without turns to go on from; null: the conversation is answered.</summary>
    [Id(9)]
    public WireRawPrompt? Raw { get; set; }

    /// <summary>Characters of all that is said in it.</summary>
    public long Characters => Messages.Sum(message => message.Contents.Sum(content => (content.Text?.Length ?? 0L) + (content.Json?.Length ?? 0L)))
        + (Options.Instructions?.Length ?? 0L) + (Raw?.Text?.Length ?? 0L) + (Question?.Text?.Length ?? 0L) + (Texts?.Values.Sum(text => (long)text.Length) ?? 0L);
}

/// <summary>The part of an answer that the caller has from another node.</summary>
[GenerateSerializer, Immutable, Alias("gemma.known")]
internal sealed class WireKnown
{
    /// <summary>The identity of the model where the answer began: <see cref="Nodes.ModelIdentity"/>.</summary>
    [Id(0)]
    public string Identity { get; set; } = "";

    /// <summary>The prompt in tokens: how earlier replies were spelt is known to the node that generated them alone.</summary>
    [Id(1)]
    public int[] Prompt { get; set; } = [];

    [Id(2)]
    public int[] Tokens { get; set; } = [];

    [Id(3)]
    public int Parts { get; set; }
}

[GenerateSerializer, Immutable, Alias("gemma.message")]
internal sealed class WireMessage
{
    [Id(0)]
    public string Role { get; set; } = "";

    [Id(1)]
    public WireContent[] Contents { get; set; } = [];
}

[GenerateSerializer, Immutable, Alias("gemma.content")]
internal sealed class WireContent
{
    /// <summary>Text; null: a call, or the result of one.</summary>
    [Id(0)]
    public string? Text { get; set; }

    [Id(1)]
    public string? CallId { get; set; }

    /// <summary>The function that is called; null: a result.</summary>
    [Id(2)]
    public string? Name { get; set; }

    /// <summary>Arguments as a JSON object, or a result as the JSON value that the prompt carries.</summary>
    [Id(3)]
    public string? Json { get; set; }
}

[GenerateSerializer, Immutable, Alias("gemma.texts")]
internal sealed class WireTexts
{
    [Id(0)]
    public string[] Values { get; set; } = [];

    [Id(1)]
    public int? Dimensions { get; set; }

    [Id(2)]
    public string? InputType { get; set; }

    [Id(3)]
    public int Pooling { get; set; }

    [Id(4)]
    public bool Normalize { get; set; }

    [Id(5)]
    public string QueryPrefix { get; set; } = "";

    [Id(6)]
    public string DocumentPrefix { get; set; } = "";

    [Id(7)]
    public bool? AppendEndToken { get; set; }

    [Id(8)]
    public int? MaxTokens { get; set; }

    [Id(9)]
    public string? Adapter { get; set; }

    [Id(10)]
    public bool Truncate { get; set; }
}
