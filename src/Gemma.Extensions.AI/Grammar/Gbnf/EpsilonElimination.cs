using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Gbnf;

/// <summary>
/// Rewrites rules so that parts that may be empty are not read empty one after another: without it <c>x{0,10000}</c> of an x that may be empty begins in 10,000
/// places at once, and each of them goes on in as many. A repetition of x has the texts of the repetition of those of x that are not empty.
/// </summary>
internal sealed class EpsilonElimination(IReadOnlySet<Rule> nullable, Func<LexerSymbol, LexerSymbol?> withoutEmpty)
{
    private readonly Dictionary<Rule, Rule> _nonEmpty = [];
    private readonly Queue<(Rule Rule, Rule NonEmpty)> _todo = [];

    /// <summary>Whether a symbol may be empty.</summary>
    public static bool IsNullable(Symbol symbol, IReadOnlySet<Rule> nullable) =>
        symbol is LexerSymbol lexer ? lexer.Lexer.IsAccepting(lexer.Lexer.Start) : symbol is RuleSymbol rule && nullable.Contains(rule.Rule);

    /// <summary>Makes a rule the repetition of an item that may be empty, at most <paramref name="max"/> times (-1: no limit).</summary>
    public void Repeat(Rule rule, Symbol item, int max)
    {
        rule.Alternatives.Clear();
        rule.Alternatives.Add([]);
        if (NonEmpty(item) is { } some)
        {
            rule.Alternatives.Add(max < 0 ? [some, new RuleSymbol(rule)] : [some, .. Optional(some, max - 1)]);
        }
    }

    /// <summary>Makes several of one part in a row, which may be empty, a repetition.</summary>
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

    /// <summary>Makes the rules without an empty text that repetitions need; after all of those have been made.</summary>
    public void Complete()
    {
        while (_todo.TryDequeue(out (Rule Rule, Rule NonEmpty) next))
        {
            foreach (Symbol[] sequence in next.Rule.Alternatives)
            {
                // The first part that is not empty, after others that are.
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

    /// <summary>A symbol without its empty text; null where it has no other.</summary>
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
