namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>How many different values there are, at least.</summary>
/// <param name="Count">How many, up to <see cref="Plenty"/>.</param>
/// <param name="IsExact">Whether there are no more.</param>
/// <param name="Height">How many objects and arrays are open at a time in some of them, at most.</param>
internal readonly record struct Cardinality(long Count, bool IsExact, int Height)
{
    /// <summary>More than an array ever holds.</summary>
    public const long Plenty = 1_000_000;
}
