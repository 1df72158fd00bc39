using System.Globalization;
using System.Text;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Gbnf;

/// <summary>
/// Reads grammars in GBNF (llama.cpp's notation): <c>root ::= "yes" | "no" digit{1,3}</c>, literals, character classes, <c>.</c>, groups, the
/// repetitions <c>* + ? {m} {m,} {m,n}</c>, and # comments. What is regular becomes one automaton; recursion runs on a stack. Left recursion is refused.
/// </summary>
internal sealed class GbnfParser
{
    private const int MaxLength = 200_000;
    private const int MaxDepth = 150;
    private const int MaxRepetitions = 10_000;

    private readonly string _text;
    private readonly Dictionary<string, Node> _rules = [];
    private readonly Dictionary<string, Rule> _compiled = [];
    private readonly Dictionary<string, RegexTerm?> _regular = [];
    private readonly HashSet<string> _visiting = [];
    private readonly RegexArena _arena = new();
    private readonly Dictionary<RegexTerm, LexerSymbol> _lexers = [];
    private readonly List<(Rule Rule, Symbol Item, int Max)> _repetitions = [];
    private int _pos;
    private int _depth;

    private GbnfParser(string text) => _text = text;

    private enum NodeKind
    {
        Empty,
        Literal,
        Set,
        Reference,
        Sequence,
        Alternatives,
        Repeat,
    }

    private sealed record Node(NodeKind Kind, Node[] Kids, string Text = "", CharSet? Set = null, int Min = 0, int Max = 0);

    /// <summary>The symbols of the rule <c>root</c>.</summary>
    /// <exception cref="ArgumentException">The grammar is malformed, or no text satisfies it.</exception>
    /// <exception cref="NotSupportedException">It is left-recursive or too complex.</exception>
    public static Symbol[] Parse(string text)
    {
        if (text.Length > MaxLength)
        {
            throw new NotSupportedException($"The grammar has {text.Length:N0} characters; at most {MaxLength:N0} are supported.");
        }

        using GrammarWork.Scope limits = GrammarWork.Compiling();
        try
        {
            GbnfParser parser = new(text);
            parser.ReadRules();
            if (!parser._rules.ContainsKey("root"))
            {
                throw new ArgumentException("The grammar has no rule 'root'.");
            }

            Symbol root = parser.Regular("root") is { } rx ? parser.Lexer(rx) : new RuleSymbol(parser.Compile("root"));
            parser.CheckRecursion();
            return [root];
        }
        catch (InsufficientExecutionStackException)
        {
            throw new NotSupportedException("The grammar nests too deeply.");
        }
    }

    private void ReadRules()
    {
        SkipSpace(true);
        while (_pos < _text.Length)
        {
            string name = Name();
            SkipSpace(true);
            if (string.CompareOrdinal(_text, _pos, "::=", 0, 3) != 0)
            {
                throw Bad($"expected '::=' after the rule name '{name}'");
            }

            _pos += 3;
            SkipSpace(true);
            Node body = Alternatives(false);
            if (!_rules.TryAdd(name, body))
            {
                throw Bad($"the rule '{name}' is defined twice");
            }

            SkipSpace(true);
        }

        foreach (Node body in _rules.Values)
        {
            CheckReferences(body);
        }
    }

    private void CheckReferences(Node node)
    {
        if (node.Kind == NodeKind.Reference && !_rules.ContainsKey(node.Text))
        {
            throw new ArgumentException($"The grammar refers to the rule '{node.Text}', which it does not define.");
        }

        foreach (Node kid in node.Kids)
        {
            CheckReferences(kid);
        }
    }

    private Node Alternatives(bool nested)
    {
        if (++_depth > MaxDepth)
        {
            throw new NotSupportedException($"The grammar nests deeper than {MaxDepth} groups.");
        }

        List<Node> alternatives = [Sequence(nested)];
        while (true)
        {
            int before = _pos;
            SkipSpace(true);
            if (_pos >= _text.Length || _text[_pos] != '|')
            {
                _pos = before;
                break;
            }

            _pos++;
            SkipSpace(true);
            alternatives.Add(Sequence(nested));
        }

        _depth--;
        return alternatives.Count == 1 ? alternatives[0] : new Node(NodeKind.Alternatives, [.. alternatives]);
    }

    private Node Sequence(bool nested)
    {
        List<Node> items = [];
        while (true)
        {
            SkipSpace(nested);
            if (_pos >= _text.Length || _text[_pos] is '|' or ')' or '\n' or '\r')
            {
                break;
            }

            Node item = Item();
            while (_pos < _text.Length && _text[_pos] is '*' or '+' or '?' or '{')
            {
                (int min, int max) = Quantifier();
                item = new Node(NodeKind.Repeat, [item], Min: min, Max: max);
            }

            items.Add(item);
        }

        return items.Count switch { 0 => new Node(NodeKind.Empty, []), 1 => items[0], _ => new Node(NodeKind.Sequence, [.. items]) };
    }

    private (int Min, int Max) Quantifier()
    {
        char c = _text[_pos++];
        switch (c)
        {
            case '*': return (0, -1);
            case '+': return (1, -1);
            case '?': return (0, 1);
        }

        int end = _text.IndexOf('}', _pos);
        string[] bounds = end < 0 ? [] : _text[_pos..end].Split(',');
        if (bounds.Length is 0 or > 2 || !int.TryParse(bounds[0].Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out int min))
        {
            throw Bad("a malformed repetition; write {m}, {m,} or {m,n}");
        }

        int max = min;
        if (bounds.Length == 2 && bounds[1].Trim().Length == 0)
        {
            max = -1;
        }
        else if (bounds.Length == 2 && (!int.TryParse(bounds[1].Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out max) || max < min))
        {
            throw Bad("a malformed repetition; write {m}, {m,} or {m,n}");
        }

        if (Math.Max(min, max) > MaxRepetitions)
        {
            throw new NotSupportedException($"The grammar repeats something {Math.Max(min, max):N0} times; at most {MaxRepetitions:N0} are supported.");
        }

        _pos = end + 1;
        return (min, max);
    }

    private Node Item()
    {
        switch (_text[_pos])
        {
            case '"':
                return Literal();
            case '[':
                return Class();
            case '.':
                _pos++;
                return new Node(NodeKind.Set, [], Set: CharSet.Any);
            case '(':
                _pos++;
                SkipSpace(true);
                Node inner = Alternatives(true);
                SkipSpace(true);
                if (_pos >= _text.Length || _text[_pos] != ')')
                {
                    throw Bad("expected ')'");
                }

                _pos++;
                return inner;
            default:
                return new Node(NodeKind.Reference, [], Name());
        }
    }

    private Node Literal()
    {
        _pos++;
        StringBuilder literal = new();
        while (true)
        {
            if (_pos >= _text.Length || _text[_pos] == '\n')
            {
                throw Bad("an unfinished literal");
            }

            if (_text[_pos] == '"')
            {
                _pos++;
                return literal.Length == 0 ? new Node(NodeKind.Empty, []) : new Node(NodeKind.Literal, [], literal.ToString());
            }

            literal.Append(char.ConvertFromUtf32(Character()));
        }
    }

    private Node Class()
    {
        _pos++;
        bool negated = _pos < _text.Length && _text[_pos] == '^';
        _pos += negated ? 1 : 0;
        List<(int, int)> ranges = [];
        while (true)
        {
            if (_pos >= _text.Length)
            {
                throw Bad("an unfinished character class");
            }

            if (_text[_pos] == ']')
            {
                _pos++;
                break;
            }

            int lo = Character(), hi = lo;
            if (_pos + 1 < _text.Length && _text[_pos] == '-' && _text[_pos + 1] != ']')
            {
                _pos++;
                hi = Character();
                if (hi < lo)
                {
                    throw Bad("a character range out of order");
                }
            }

            ranges.Add((lo, hi));
        }

        CharSet set = CharSet.FromRanges(ranges);
        return new Node(NodeKind.Set, [], Set: negated ? set.Complement() : set);
    }

    private int Character()
    {
        if (_text[_pos] != '\\')
        {
            if (!char.IsSurrogate(_text[_pos]))
            {
                return _text[_pos++];
            }

            if (!char.IsSurrogatePair(_text, _pos))
            {
                throw Bad("an unpaired surrogate");
            }

            _pos += 2;
            return char.ConvertToUtf32(_text, _pos - 2);
        }

        if (++_pos >= _text.Length)
        {
            throw Bad("a lone backslash");
        }

        char c = _text[_pos++];
        return c switch
        {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'x' => Hex(2),
            'u' => Hex(4),
            'U' => Hex(8),
            '"' or '\\' or '[' or ']' or '-' or '^' or '\'' or '/' => c,
            _ => throw Bad($"the unknown escape '\\{c}'"),
        };
    }

    private int Hex(int digits)
    {
        if (_pos + digits > _text.Length || !int.TryParse(_text.AsSpan(_pos, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value) || !Rune.IsValid(value))
        {
            throw Bad("a malformed hexadecimal escape");
        }

        _pos += digits;
        return value;
    }

    private string Name()
    {
        int start = _pos;
        while (_pos < _text.Length && (char.IsAsciiLetterOrDigit(_text[_pos]) || _text[_pos] is '-' or '_'))
        {
            _pos++;
        }

        return _pos > start ? _text[start.._pos] : throw Bad($"unexpected '{_text[_pos]}'");
    }

    private void SkipSpace(bool newlines)
    {
        while (_pos < _text.Length)
        {
            char c = _text[_pos];
            if (c == '#')
            {
                while (_pos < _text.Length && _text[_pos] is not ('\n' or '\r'))
                {
                    _pos++;
                }
            }
            else if (c is ' ' or '\t' || (newlines && c is '\n' or '\r'))
            {
                _pos++;
            }
            else
            {
                return;
            }
        }
    }

    private ArgumentException Bad(string what) => new($"The grammar is malformed in line {_text.AsSpan(0, Math.Min(_pos, _text.Length)).Count('\n') + 1}: {what}.");

    /// <summary>A rule that does not reach itself, as an expression; null for a recursive one.</summary>
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
        return _regular[name] = result; // Null is right for good: the rule reaches one that reaches it.
    }

    private RegexTerm? Regular(Node node)
    {
        switch (node.Kind)
        {
            case NodeKind.Empty:
                return _arena.Epsilon;
            case NodeKind.Literal:
                return _arena.Literal(node.Text);
            case NodeKind.Set:
                return _arena.Set(node.Set!);
            case NodeKind.Reference:
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
            NodeKind.Sequence => _arena.Concat(kids),
            NodeKind.Alternatives => _arena.Alt(kids),
            _ => _arena.Repeat(kids[0], node.Min, node.Max),
        };
    }

    private Rule Compile(string name)
    {
        if (_compiled.TryGetValue(name, out Rule? rule))
        {
            return rule;
        }

        rule = _compiled[name] = new Rule(name);
        AddAlternatives(_rules[name], rule);
        return rule;
    }

    private void AddAlternatives(Node node, Rule rule)
    {
        foreach (Node alternative in node.Kind == NodeKind.Alternatives ? node.Kids : [node])
        {
            if (Symbols(alternative) is { } symbols)
            {
                rule.Alternatives.Add(symbols);
            }
        }
    }

    /// <summary>The symbols of a sequence, neighbouring regular parts as one; null where no text matches.</summary>
    private Symbol[]? Symbols(Node node)
    {
        System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
        List<Symbol> symbols = [];
        RegexTerm pending = _arena.Epsilon;
        bool dead = false;
        foreach (Node item in node.Kind == NodeKind.Sequence ? node.Kids : [node])
        {
            if (Regular(item) is { } rx)
            {
                pending = _arena.Concat(pending, rx);
                continue;
            }

            Flush();
            symbols.Add(new RuleSymbol(item.Kind == NodeKind.Reference ? Compile(item.Text) : item.Kind == NodeKind.Repeat ? Repetition(item) : Group(item)));
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

    private Rule Group(Node node)
    {
        Rule rule = new("(group)");
        AddAlternatives(node, rule);
        return rule;
    }

    private Rule Repetition(Node node)
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

    /// <summary>Refuses rules that never end, that reach themselves before reading anything, and that go on in too many ways; on the way, parts that may be empty are rewritten.</summary>
    private void CheckRecursion()
    {
        HashSet<Rule> rules = Reachable(), nullable = Nullable(rules);
        HashSet<Rule> productive = Fixpoint(rules, static (symbol, set) => symbol is not RuleSymbol r || set.Contains(r.Rule));
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
        rules = Reachable();
        nullable = Nullable(rules);
        CheckLeftRecursion(rules, nullable);
        new RuleBranching(nullable).Check(rules);
    }

    /// <summary>The rules that are used.</summary>
    private HashSet<Rule> Reachable()
    {
        HashSet<Rule> rules = [];
        Stack<Rule> todo = new(_compiled.Values);
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

    private static HashSet<Rule> Nullable(HashSet<Rule> rules) => Fixpoint(rules, static (symbol, set) => EpsilonElimination.IsNullable(symbol, set));

    private static void CheckLeftRecursion(HashSet<Rule> rules, HashSet<Rule> nullable)
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
