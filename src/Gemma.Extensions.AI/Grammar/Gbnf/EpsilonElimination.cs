using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Gbnf;

/// <summary>
/// Rewrites repetitions of nullable parts. Otherwise <c>x{0,10000}</c> of a nullable x would start in 10,000 places at once, and each of them would continue in as many.
/// It relies on x* and (x without the empty text)* having the same texts.
/// </summary>
internal sealed class EpsilonElimination(IReadOnlySet<Rule> nullable, Func<LexerSymbol, LexerSymbol?> withoutEmpty)
{
    private readonly Dictionary<Rule, Rule> _nonEmpty = [];
    private readonly Queue<(Rule Rule, Rule NonEmpty)> _todo = [];

    /// <summary>True if a symbol may be empty.</summary>
    public static bool IsNullable(Symbol symbol, IReadOnlySet<Rule> nullable) =>
        symbol is LexerSymbol lexer ? lexer.Lexer.IsAccepting(lexer.Lexer.Start) : symbol is RuleSymbol rule && nullable.Contains(rule.Rule);

    /// <summary>Turns a rule into the repetition of a nullable item, at most <paramref name="max"/> times (-1: no limit).</summary>
    public void Repeat(Rule rule, Symbol item, int max)
    {
        rule.Alternatives.Clear();
        rule.Alternatives.Add([]);
        if (NonEmpty(item) is { } some)
        {
            rule.Alternatives.Add(max < 0 ? [some, new RuleSymbol(rule)] : [some, .. Optional(some, max - 1)]);
        }
    }

    /// <summary>Turns runs of the same nullable part into repetitions.</summary>
    public void Shorten(Rule rule)
    {
        for (int a = 0; a < rule.Alternatives.Count; a++)
        {
            Symbol[] sequence = rule.Alternatives[a];
            List<Symbol> shorter = [];
            for (int i = 0, same; i < sequence.Length; i += same)
            {
                GrammarWork.Spend(5);
                same = 1;
                while (i + same < sequence.Length && sequence[i + same].Equals(sequence[i]) && IsNullable(sequence[i], nullable))
                {
                    same++;
                }

                if (same == 1)
                {
                    shorter.Add(sequence[i]);
                    continue;
                }

                Rule several = new($"({same} times)");
                Repeat(several, sequence[i], same);
                shorter.Add(new RuleSymbol(several));
            }

            rule.Alternatives[a] = shorter.Count < sequence.Length ? [.. shorter] : sequence;
        }
    }

    /// <summary>Builds the rules without the empty text that the repetitions need; called last.</summary>
    public void Complete()
    {
        while (_todo.TryDequeue(out (Rule Rule, Rule NonEmpty) next))
        {
            foreach (Symbol[] sequence in next.Rule.Alternatives)
            {
                // The first nonempty part, after empty ones.
                for (int i = 0; i < sequence.Length; i++)
                {
                    GrammarWork.Spend(GrammarWork.Term + (5 * (sequence.Length - i)));
                    if (NonEmpty(sequence[i]) is { } some)
                    {
                        next.NonEmpty.Alternatives.Add([some, .. sequence.AsSpan(i + 1)]);
                    }

                    if (!IsNullable(sequence[i], nullable))
                    {
                        break;
                    }
                }
            }
        }
    }

    /// <summary>(x (x (x)?)?)?: each level is one optional item.</summary>
    public static Symbol[] Optional(Symbol item, int max)
    {
        Symbol[] rest = [];
        for (int i = 0; i < max; i++)
        {
            Rule optional = new("(optional)");
            optional.Alternatives.Add([]);
            optional.Alternatives.Add([item, .. rest]);
            rest = [new RuleSymbol(optional)];
        }

        return rest;
    }

    /// <summary>A symbol without the empty text; null if nothing is left.</summary>
    private Symbol? NonEmpty(Symbol symbol)
    {
        if (!IsNullable(symbol, nullable))
        {
            return symbol;
        }

        if (symbol is LexerSymbol lexer)
        {
            return withoutEmpty(lexer);
        }

        Rule rule = ((RuleSymbol)symbol).Rule;
        if (!_nonEmpty.TryGetValue(rule, out Rule? some))
        {
            some = _nonEmpty[rule] = new Rule(rule.Name);
            _todo.Enqueue((rule, some));
        }

        return new RuleSymbol(some);
    }
}
