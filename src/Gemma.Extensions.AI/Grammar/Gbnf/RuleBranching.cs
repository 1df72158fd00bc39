using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Gbnf;

/// <summary>Counts the parse states that start where a rule, or part of one, begins.</summary>
internal sealed class RuleBranching(IReadOnlySet<Rule> nullable)
{
    /// <summary>Limit for nullable parts in a row: each of them can come first, and each one's end is followed by all later ones.</summary>
    private const int MaxInARow = 500;

    private readonly Dictionary<Rule, int> _ways = [];

    /// <exception cref="NotSupportedException">There are more than are followed.</exception>
    public void Check(IEnumerable<Rule> rules)
    {
        foreach (Rule rule in rules)
        {
            Of(rule);
            foreach (Symbol[] sequence in rule.Alternatives)
            {
                CheckRows(rule, sequence);
            }
        }
    }

    private void CheckRows(Rule rule, Symbol[] sequence)
    {
        int ways = 0, row = 0;
        foreach (Symbol symbol in sequence)
        {
            (ways, row) = (ways + Of(symbol), row + 1);
            if (row > 1 && ways > MaxInARow)
            {
                throw new NotSupportedException(
                    $"The grammar's rule '{rule.Name}' has parts in a row that may be empty, with which a text can go on in more than {MaxInARow} ways. Make some of them mandatory, or give them fewer alternatives.");
            }

            if (!EpsilonElimination.IsNullable(symbol, nullable))
            {
                (ways, row) = (0, 0);
            }
        }
    }

    private int Of(Symbol symbol) => symbol is RuleSymbol rule ? Of(rule.Rule) : 1;

    private int Of(Rule rule)
    {
        if (_ways.TryGetValue(rule, out int known))
        {
            return known;
        }

        System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
        int ways = 0;
        foreach (Symbol[] sequence in rule.Alternatives)
        {
            foreach (Symbol symbol in sequence)
            {
                GrammarWork.Spend(5);
                ways += Of(symbol);
                if (ways > ParseStateList.MaxStates)
                {
                    throw new NotSupportedException($"The grammar's rule '{rule.Name}' can begin in more than {ParseStateList.MaxStates:N0} ways. Give it fewer alternatives, or write what they have in common once.");
                }

                if (!EpsilonElimination.IsNullable(symbol, nullable))
                {
                    break;
                }
            }
        }

        return _ways[rule] = ways;
    }
}
