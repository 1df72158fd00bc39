using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Gbnf;

internal enum GbnfNodeKind
{
    Empty,
    Literal,
    Set,
    Reference,
    Sequence,
    Alternatives,
    Repeat,
}

/// <summary>A part of a rule as it is written.</summary>
internal sealed record GbnfNode(GbnfNodeKind Kind, GbnfNode[] Kids, string Text = "", CharSet? Set = null, int Min = 0, int Max = 0);
