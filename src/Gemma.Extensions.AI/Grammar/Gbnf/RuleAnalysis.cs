using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Gbnf;

/// <summary>Properties of rules that depend on each other, as least fixpoints.</summary>
internal static class RuleAnalysis
{
    /// <summary>The rules that some rules use, and those themselves.</summary>
    public static HashSet<Rule> Reachable(IEnumerable<Rule> from)
    {
        HashSet<Rule> rules = [];
        Stack<Rule> todo = new(from);
        while (todo.TryPop(out Rule? rule))
        {
            if (rules.Add(rule))
            {
                foreach (RuleSymbol symbol in rule.Alternatives.SelectMany(a => a).OfType<RuleSymbol>())
                {
                    todo.Push(symbol.Rule);
                }
            }
        }

        return rules;
    }

    /// <summary>The rules that match the empty text.</summary>
    public static HashSet<Rule> Nullable(HashSet<Rule> rules) => Fixpoint(rules, static (symbol, set) => EpsilonElimination.IsNullable(symbol, set));

    /// <summary>The rules that match a finite text.</summary>
    public static HashSet<Rule> Productive(HashSet<Rule> rules) => Fixpoint(rules, static (symbol, set) => symbol is not RuleSymbol r || set.Contains(r.Rule));

    /// <exception cref="NotSupportedException">A rule reaches itself before anything is read.</exception>
    public static void CheckLeftRecursion(HashSet<Rule> rules, HashSet<Rule> nullable)
    {
        Dictionary<Rule, int> colours = [];
        foreach (Rule rule in rules)
        {
            Visit(rule);
        }

        void Visit(Rule rule)
        {
            if (colours.TryGetValue(rule, out int colour))
            {
                if (colour == 1)
                {
                    throw new NotSupportedException($"The grammar's rule '{rule.Name}' is left-recursive. Write it with a repetition, or with the recursion at the end.");
                }

                return;
            }

            System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
            colours[rule] = 1;
            foreach (Symbol[] alternative in rule.Alternatives)
            {
                foreach (Symbol symbol in alternative)
                {
                    if (symbol is RuleSymbol r)
                    {
                        Visit(r.Rule);
                    }

                    if (!EpsilonElimination.IsNullable(symbol, nullable))
                    {
                        break;
                    }
                }
            }

            colours[rule] = 2;
        }
    }

    private static HashSet<Rule> Fixpoint(HashSet<Rule> rules, Func<Symbol, HashSet<Rule>, bool> holds)
    {
        HashSet<Rule> result = [];
        while (rules.Where(Holds).ToList() is { Count: > 0 } more)
        {
            result.UnionWith(more);
        }

        return result;

        bool Holds(Rule rule)
        {
            GrammarWork.Spend(10);
            return !result.Contains(rule) && rule.Alternatives.Any(a => a.All(s =>
            {
                GrammarWork.Spend(5);
                return holds(s, result);
            }));
        }
    }
}
