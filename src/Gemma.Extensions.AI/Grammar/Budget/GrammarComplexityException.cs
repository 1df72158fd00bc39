namespace Gemma.Extensions.AI.Grammar.Budget;

/// <summary>A grammar takes more time or memory than it is allowed; the compilers turn it into a NotSupportedException that names the place.</summary>
internal sealed class GrammarComplexityException(string what) : NotSupportedException("The grammar is too complex: " + what + ". Simplify it, or split it into smaller ones.")
{
    public string What { get; } = what;
}
