using System.Globalization;
using System.Text;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Gbnf;

/// <summary>
/// Reads grammars in GBNF (llama.cpp's notation): <c>root ::= "yes" | "no" digit{1,3}</c>, literals, character classes, <c>.</c>, groups, the
/// repetitions <c>* + ? {m} {m,} {m,n}</c>, and # comments.
/// </summary>
internal sealed class GbnfParser
{
    private const int MaxLength = 200_000;
    private const int MaxDepth = 150;
    private const int MaxRepetitions = 10_000;

    private readonly string _text;
    private readonly Dictionary<string, GbnfNode> _rules = [];
    private int _pos;
    private int _depth;

    private GbnfParser(string text) => _text = text;

    /// <summary>The rules by their names, <c>root</c> among them.</summary>
    /// <exception cref="ArgumentException">The grammar is malformed.</exception>
    /// <exception cref="NotSupportedException">It is too long, nests too deeply, or repeats something too often.</exception>
    public static IReadOnlyDictionary<string, GbnfNode> Parse(string text)
    {
        if (text.Length > MaxLength)
        {
            throw new NotSupportedException($"The grammar has {text.Length:N0} characters; at most {MaxLength:N0} are supported.");
        }

        GbnfParser parser = new(text);
        parser.ReadRules();
        return parser._rules.ContainsKey("root") ? parser._rules : throw new ArgumentException("The grammar has no rule 'root'.");
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
            GbnfNode body = Alternatives(false);
            if (!_rules.TryAdd(name, body))
            {
                throw Bad($"the rule '{name}' is defined twice");
            }

            SkipSpace(true);
        }

        foreach (GbnfNode body in _rules.Values)
        {
            CheckReferences(body);
        }
    }

    private void CheckReferences(GbnfNode node)
    {
        if (node.Kind == GbnfNodeKind.Reference && !_rules.ContainsKey(node.Text))
        {
            throw new ArgumentException($"The grammar refers to the rule '{node.Text}', which it does not define.");
        }

        foreach (GbnfNode kid in node.Kids)
        {
            CheckReferences(kid);
        }
    }

    private GbnfNode Alternatives(bool nested)
    {
        if (++_depth > MaxDepth)
        {
            throw new NotSupportedException($"The grammar nests deeper than {MaxDepth} groups.");
        }

        List<GbnfNode> alternatives = [Sequence(nested)];
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
        return alternatives.Count == 1 ? alternatives[0] : new GbnfNode(GbnfNodeKind.Alternatives, [.. alternatives]);
    }

    private GbnfNode Sequence(bool nested)
    {
        List<GbnfNode> items = [];
        while (true)
        {
            SkipSpace(nested);
            if (_pos >= _text.Length || _text[_pos] is '|' or ')' or '\n' or '\r')
            {
                break;
            }

            GbnfNode item = Item();
            while (_pos < _text.Length && _text[_pos] is '*' or '+' or '?' or '{')
            {
                (int min, int max) = Quantifier();
                item = new GbnfNode(GbnfNodeKind.Repeat, [item], Min: min, Max: max);
            }

            items.Add(item);
        }

        return items.Count switch { 0 => new GbnfNode(GbnfNodeKind.Empty, []), 1 => items[0], _ => new GbnfNode(GbnfNodeKind.Sequence, [.. items]) };
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

    private GbnfNode Item()
    {
        switch (_text[_pos])
        {
            case '"':
                return Literal();
            case '[':
                return Class();
            case '.':
                _pos++;
                return new GbnfNode(GbnfNodeKind.Set, [], Set: CharSet.Any);
            case '(':
                _pos++;
                SkipSpace(true);
                GbnfNode inner = Alternatives(true);
                SkipSpace(true);
                if (_pos >= _text.Length || _text[_pos] != ')')
                {
                    throw Bad("expected ')'");
                }

                _pos++;
                return inner;
            default:
                return new GbnfNode(GbnfNodeKind.Reference, [], Name());
        }
    }

    private GbnfNode Literal()
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
                return literal.Length == 0 ? new GbnfNode(GbnfNodeKind.Empty, []) : new GbnfNode(GbnfNodeKind.Literal, [], literal.ToString());
            }

            literal.Append(char.ConvertFromUtf32(Character()));
        }
    }

    private GbnfNode Class()
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
        return new GbnfNode(GbnfNodeKind.Set, [], Set: negated ? set.Complement() : set);
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
}
