namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>A lower bound on the number of different values.</summary>
/// <param name="Count">The bound, at most <see cref="Plenty"/>.</param>
/// <param name="IsExact">True if the bound is exact.</param>
/// <param name="Height">The nesting that suffices for that many of them.</param>
internal readonly record struct Cardinality(long Count, bool IsExact, int Height)
{
    /// <summary>More than an array ever holds.</summary>
    public const long Plenty = 1_000_000;
}
