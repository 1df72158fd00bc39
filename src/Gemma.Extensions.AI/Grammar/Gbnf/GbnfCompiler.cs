using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Gbnf;

/// <summary>Compiles grammars in GBNF to rules: what is regular becomes one automaton, recursion runs on a stack. Left recursion is refused.</summary>
internal sealed class GbnfCompiler
{
    private readonly IReadOnlyDictionary<string, GbnfNode> _rules;
    private readonly Dictionary<string, Rule> _compiled = [];
    private readonly Dictionary<string, RegexTerm?> _regular = [];
    private readonly HashSet<string> _visiting = [];
    private readonly RegexArena _arena = new();
    private readonly Dictionary<RegexTerm, LexerSymbol> _lexers = [];
    private readonly List<(Rule Rule, Symbol Item, int Max)> _repetitions = [];

    private GbnfCompiler(IReadOnlyDictionary<string, GbnfNode> rules) => _rules = rules;

    /// <summary>The symbols of the rule <c>root</c>.</summary>
    /// <exception cref="ArgumentException">The grammar is malformed, or no text satisfies it.</exception>
    /// <exception cref="NotSupportedException">It is left-recursive or too complex.</exception>
    public static Symbol[] Compile(string text)
    {
        using GrammarWork.Scope limits = GrammarWork.Compiling();
        try
        {
            GbnfCompiler compiler = new(GbnfParser.Parse(text));
            Symbol root = compiler.Regular("root") is { } rx ? compiler.Lexer(rx) : new RuleSymbol(compiler.RuleOf("root"));
            compiler.CheckRecursion();
            return [root];
        }
        catch (InsufficientExecutionStackException)
        {
            throw new NotSupportedException("The grammar nests too deeply.");
        }
    }

    /// <summary>The expression of a rule that does not reach itself; null for a recursive one.</summary>
    private RegexTerm? Regular(string name)
    {
        if (_regular.TryGetValue(name, out RegexTerm? known))
        {
            return known;
        }

        if (!_visiting.Add(name))
        {
            return null;
        }

        System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
        RegexTerm? result = Regular(_rules[name]);
        _visiting.Remove(name);
        return _regular[name] = result; // Null is final: the rule is part of a cycle.
    }

    private RegexTerm? Regular(GbnfNode node)
    {
        switch (node.Kind)
        {
            case GbnfNodeKind.Empty:
                return _arena.Epsilon;
            case GbnfNodeKind.Literal:
                return _arena.Literal(node.Text);
            case GbnfNodeKind.Set:
                return _arena.Set(node.Set!);
            case GbnfNodeKind.Reference:
                return Regular(node.Text);
        }

        RegexTerm[] kids = new RegexTerm[node.Kids.Length];
        for (int i = 0; i < kids.Length; i++)
        {
            if (Regular(node.Kids[i]) is not { } kid)
            {
                return null;
            }

            kids[i] = kid;
        }

        return node.Kind switch
        {
            GbnfNodeKind.Sequence => _arena.Concat(kids),
            GbnfNodeKind.Alternatives => _arena.Alt(kids),
            _ => _arena.Repeat(kids[0], node.Min, node.Max),
        };
    }

    private Rule RuleOf(string name)
    {
        if (_compiled.TryGetValue(name, out Rule? rule))
        {
            return rule;
        }

        rule = _compiled[name] = new Rule(name);
        AddAlternatives(_rules[name], rule);
        return rule;
    }

    private void AddAlternatives(GbnfNode node, Rule rule)
    {
        foreach (GbnfNode alternative in node.Kind == GbnfNodeKind.Alternatives ? node.Kids : [node])
        {
            if (Symbols(alternative) is { } symbols)
            {
                rule.Alternatives.Add(symbols);
            }
        }
    }

    /// <summary>The symbols of a sequence, with neighbouring regular parts merged; null where no text matches.</summary>
    private Symbol[]? Symbols(GbnfNode node)
    {
        System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
        List<Symbol> symbols = [];
        RegexTerm pending = _arena.Epsilon;
        bool dead = false;
        foreach (GbnfNode item in node.Kind == GbnfNodeKind.Sequence ? node.Kids : [node])
        {
            if (Regular(item) is { } rx)
            {
                pending = _arena.Concat(pending, rx);
                continue;
            }

            Flush();
            symbols.Add(new RuleSymbol(item.Kind == GbnfNodeKind.Reference ? RuleOf(item.Text) : item.Kind == GbnfNodeKind.Repeat ? Repetition(item) : Group(item)));
        }

        Flush();
        return dead ? null : [.. symbols];

        void Flush()
        {
            dead |= pending == _arena.Empty;
            if (pending != _arena.Epsilon && !dead)
            {
                symbols.Add(Lexer(pending));
            }

            pending = _arena.Epsilon;
        }
    }

    private Rule Group(GbnfNode node)
    {
        Rule rule = new("(group)");
        AddAlternatives(node, rule);
        return rule;
    }

    private Rule Repetition(GbnfNode node)
    {
        Symbol item = new RuleSymbol(Group(node.Kids[0]));
        Rule rule = new("(repetition)");
        if (node.Max < 0)
        {
            rule.Alternatives.Add([]);
            rule.Alternatives.Add([item, new RuleSymbol(rule)]);
        }
        else
        {
            rule.Alternatives.Add(EpsilonElimination.Optional(item, node.Max - node.Min));
        }

        Rule full = node.Min == 0 ? rule : new Rule("(repetition)");
        if (node.Min > 0)
        {
            full.Alternatives.Add([.. Enumerable.Repeat(item, node.Min), new RuleSymbol(rule)]);
        }

        _repetitions.Add((full, item, node.Max));
        return full;
    }

    private LexerSymbol Lexer(RegexTerm rx)
    {
        if (!_arena.IsLive(rx))
        {
            throw new ArgumentException("No text satisfies the grammar.");
        }

        return _lexers.TryGetValue(rx, out LexerSymbol? symbol) ? symbol : _lexers[rx] = new LexerSymbol(new RegexLexer(_arena, rx, CharSpelling.Raw));
    }

    /// <summary>Refuses endless rules, left recursion and rules that start too many parse states; rewrites repetitions of nullable parts on the way.</summary>
    private void CheckRecursion()
    {
        HashSet<Rule> rules = RuleAnalysis.Reachable(_compiled.Values), nullable = RuleAnalysis.Nullable(rules);
        HashSet<Rule> productive = RuleAnalysis.Productive(rules);
        if (rules.FirstOrDefault(r => !productive.Contains(r)) is { } endless)
        {
            throw new ArgumentException($"The grammar's rule '{endless.Name}' never ends: every alternative needs itself.");
        }

        EpsilonElimination empty = new(nullable, lexer => _arena.And(((RegexLexer)lexer.Lexer)[lexer.Lexer.Start].Term, _arena.Not(_arena.Epsilon)) is var some && _arena.IsLive(some) ? Lexer(some) : null);
        foreach (Rule rule in rules)
        {
            empty.Shorten(rule);
        }

        foreach ((Rule rule, Symbol item, int max) in _repetitions.Where(r => EpsilonElimination.IsNullable(r.Item, nullable)))
        {
            empty.Repeat(rule, item, max);
        }

        empty.Complete();
        rules = RuleAnalysis.Reachable(_compiled.Values);
        nullable = RuleAnalysis.Nullable(rules);
        RuleAnalysis.CheckLeftRecursion(rules, nullable);
        new RuleBranching(nullable).Check(rules);
    }
}
