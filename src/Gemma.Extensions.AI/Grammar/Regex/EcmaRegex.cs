using System.Globalization;
using System.Runtime.CompilerServices;

namespace Gemma.Extensions.AI.Grammar.Regex;

/// <summary>
/// Parses ECMA-262 regular expressions (as in JSON Schema's pattern) into <see cref="RegexTerm"/>s over Unicode scalar values.
/// Look-behind and back-references are not supported.
/// </summary>
internal sealed class EcmaRegex
{
    private const int MaxPatternLength = 20_000;
    private const int MaxDepth = 150;

    private static readonly CharSet s_digit = CharSet.Range('0', '9');
    internal static readonly CharSet Word = CharSet.FromRanges([('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')]);
    private static readonly CharSet s_space = CharSet.FromRanges([(9, 13), (' ', ' '), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)]);
    private static readonly CharSet s_dot = CharSet.FromRanges([('\n', '\n'), ('\r', '\r'), (0x2028, 0x2029)]).Complement();

    private readonly string _pattern;
    private int _pos;
    private int _depth;
    private bool _dependsOnUnicode;

    private EcmaRegex(string pattern) => _pattern = pattern;

    /// <summary>The texts that contain a match of the pattern (JSON Schema's search), or that it matches as a whole.</summary>
    /// <exception cref="FormatException">The pattern is malformed.</exception>
    /// <exception cref="NotSupportedException">The pattern uses a construct that an automaton cannot decide.</exception>
    public static RegexTerm Compile(RegexArena arena, string pattern, bool wholeText = false)
    {
        if (pattern.Length > MaxPatternLength)
        {
            throw new NotSupportedException($"the pattern has {pattern.Length:N0} characters; at most {MaxPatternLength:N0} are supported");
        }

        EcmaRegex parser = new(pattern);
        EcmaNode node = parser.Alternatives();
        if (parser._pos < pattern.Length)
        {
            throw parser.Bad("unmatched ')'");
        }

        if (parser._dependsOnUnicode)
        {
            arena.Exclude(UnicodeProperties.Unsure);
        }

        return EcmaRegexBuilder.Build(arena, node, wholeText);
    }

    private EcmaNode Alternatives()
    {
        if (++_depth > MaxDepth)
        {
            throw new NotSupportedException($"the pattern nests deeper than {MaxDepth} groups");
        }

        List<EcmaNode> alternatives = [Sequence()];
        while (_pos < _pattern.Length && _pattern[_pos] == '|')
        {
            _pos++;
            alternatives.Add(Sequence());
        }

        _depth--;
        return alternatives.Count == 1 ? alternatives[0] : new EcmaNode(EcmaNodeKind.Alternatives, [.. alternatives]);
    }

    private EcmaNode Sequence()
    {
        List<EcmaNode> items = [];
        while (_pos < _pattern.Length && _pattern[_pos] is not ('|' or ')'))
        {
            EcmaNode item = Atom();
            if (TryQuantifier(out int min, out int max))
            {
                if (item.Kind is EcmaNodeKind.Start or EcmaNodeKind.End or EcmaNodeKind.Boundary or EcmaNodeKind.NotBoundary)
                {
                    throw Bad("nothing to repeat");
                }

                item = new EcmaNode(EcmaNodeKind.Repeat, [item], Min: min, Max: max);
                if (At("?"))
                {
                    _pos++; // Lazy: the same texts.
                }
                else if (At("+"))
                {
                    throw new NotSupportedException("possessive quantifiers are not ECMA-262");
                }

                if (TryQuantifier(out _, out _))
                {
                    throw Bad("nothing to repeat");
                }
            }

            items.Add(item);
        }

        return items.Count == 1 ? items[0] : new EcmaNode(EcmaNodeKind.Sequence, [.. items]);
    }

    private bool TryQuantifier(out int min, out int max)
    {
        (min, max) = (0, -1);
        if (_pos >= _pattern.Length)
        {
            return false;
        }

        switch (_pattern[_pos])
        {
            case '*':
                _pos++;
                return true;
            case '+':
                _pos++;
                min = 1;
                return true;
            case '?':
                _pos++;
                max = 1;
                return true;
            case '{':
                int end = _pattern.IndexOf('}', _pos);
                if (end < 0)
                {
                    return false;
                }

                string[] bounds = _pattern[(_pos + 1)..end].Split(',');
                if (bounds.Length > 2 || bounds[0].Length == 0 || bounds.Any(b => b.Any(c => !char.IsAsciiDigit(c))))
                {
                    return false;
                }

                min = Bound(bounds[0]);
                max = bounds.Length == 1 ? min : bounds[1].Length == 0 ? -1 : Bound(bounds[1]);
                if (max >= 0 && max < min)
                {
                    throw Bad($"the quantifier {{{min},{max}}} is out of order");
                }

                _pos = end + 1;
                return true;
            default:
                return false;
        }
    }

    private int Bound(string digits) => digits.Length <= 9 ? int.Parse(digits, CultureInfo.InvariantCulture) : throw new NotSupportedException($"the repetition count {digits} is too large");

    private EcmaNode Atom()
    {
        char c = _pattern[_pos];
        switch (c)
        {
            case '^':
                _pos++;
                return new EcmaNode(EcmaNodeKind.Start, []);
            case '$':
                _pos++;
                return new EcmaNode(EcmaNodeKind.End, []);
            case '.':
                _pos++;
                return SetNode(s_dot);
            case '[':
                return SetNode(Class());
            case '(':
                return Group();
            case '\\':
                _pos++;
                return Escape();
            case '*' or '+' or '?':
            case '{' when TryQuantifier(out _, out _):
                throw Bad("nothing to repeat");
            default:
                return SetNode(CharSet.Of(Scalar()));
        }
    }

    private EcmaNode Group()
    {
        _pos++;
        EcmaNodeKind? look = null;
        if (At("?:"))
        {
            _pos += 2;
        }
        else if (At("?=") || At("?!"))
        {
            look = _pattern[_pos + 1] == '=' ? EcmaNodeKind.LookAhead : EcmaNodeKind.NegativeLookAhead;
            _pos += 2;
        }
        else if (At("?<=") || At("?<!"))
        {
            throw new NotSupportedException("look-behind is not supported");
        }
        else if (At("?<"))
        {
            int end = _pattern.IndexOf('>', _pos);
            _pos = end < 0 ? throw Bad("an unfinished group name") : end + 1;
        }
        else if (At("?"))
        {
            throw new NotSupportedException($"the group '(?{(_pos + 1 < _pattern.Length ? _pattern[_pos + 1] : ' ')}' is not supported (flags are not ECMA-262)");
        }

        EcmaNode inner = Alternatives();
        if (_pos >= _pattern.Length)
        {
            throw Bad("an unclosed group");
        }

        _pos++;
        return look is { } kind ? new EcmaNode(kind, [inner]) : inner.Kind is EcmaNodeKind.Set ? inner : new EcmaNode(EcmaNodeKind.Sequence, [inner]); // (^)* may be repeated, ^* not.
    }

    private bool At(string text) => string.CompareOrdinal(_pattern, _pos, text, 0, text.Length) == 0;

    private EcmaNode Escape()
    {
        if (_pos >= _pattern.Length)
        {
            throw Bad("a lone backslash at the end");
        }

        char c = _pattern[_pos];
        if (c is 'b' or 'B')
        {
            _pos++;
            return new EcmaNode(c == 'b' ? EcmaNodeKind.Boundary : EcmaNodeKind.NotBoundary, []);
        }

        if (c is 'A' or 'Z' or 'z' or 'G')
        {
            throw new NotSupportedException($"'\\{c}' is not ECMA-262");
        }

        if (c is >= '1' and <= '9' or 'k')
        {
            throw new NotSupportedException("back-references are not supported");
        }

        return SetNode(EscapedSet());
    }

    /// <summary>The set of an escape whose backslash has been read.</summary>
    private CharSet EscapedSet()
    {
        char c = _pattern[_pos++];
        switch (c)
        {
            case 'd': return s_digit;
            case 'D': return s_digit.Complement();
            case 'w': return Word;
            case 'W': return Word.Complement();
            case 's': return s_space;
            case 'S': return s_space.Complement();
            case 't': return CharSet.Of('\t');
            case 'n': return CharSet.Of('\n');
            case 'r': return CharSet.Of('\r');
            case 'f': return CharSet.Of('\f');
            case 'v': return CharSet.Of('\v');
            case '0': return _pos < _pattern.Length && char.IsAsciiDigit(_pattern[_pos]) ? throw new NotSupportedException("octal escapes are not supported") : CharSet.Of(0);
            case 'p' or 'P':
                CharSet set = Property();
                return c == 'p' ? set : set.Complement();
            case 'x':
                return CharSet.Of(Hex(2));
            case 'u':
                if (_pos < _pattern.Length && _pattern[_pos] == '{')
                {
                    int end = _pattern.IndexOf('}', _pos);
                    if (end < 0 || !int.TryParse(_pattern.AsSpan(_pos + 1, end - _pos - 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int scalar) || scalar > CharSet.MaxChar)
                    {
                        throw Bad("a malformed \\u{…}");
                    }

                    _pos = end + 1;
                    return CharSet.Of(scalar);
                }

                int unit = Hex(4);
                if (char.IsHighSurrogate((char)unit) && At("\\u"))
                {
                    _pos += 2;
                    int low = Hex(4);
                    return char.IsLowSurrogate((char)low) ? CharSet.Of(char.ConvertToUtf32((char)unit, (char)low)) : throw Bad("an unpaired surrogate");
                }

                return CharSet.Of(unit);
            case 'c':
                return _pos < _pattern.Length && char.IsAsciiLetter(_pattern[_pos]) ? CharSet.Of(_pattern[_pos++] % 32) : throw Bad("a malformed \\c");
            default:
                if (char.IsAsciiLetterOrDigit(c))
                {
                    throw new NotSupportedException($"the escape '\\{c}' is not ECMA-262");
                }

                _pos--;
                return CharSet.Of(Scalar());
        }
    }

    private int Hex(int digits)
    {
        if (_pos + digits > _pattern.Length || !int.TryParse(_pattern.AsSpan(_pos, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value))
        {
            throw Bad("a malformed hexadecimal escape");
        }

        _pos += digits;
        return value;
    }

    private CharSet Class()
    {
        _pos++;
        bool negated = _pos < _pattern.Length && _pattern[_pos] == '^';
        if (negated)
        {
            _pos++;
        }

        List<(int, int)> ranges = [];
        while (true)
        {
            if (_pos >= _pattern.Length)
            {
                throw Bad("an unclosed character class");
            }

            if (_pattern[_pos] == ']')
            {
                _pos++;
                break;
            }

            CharSet first = ClassAtom();
            if (_pos + 1 < _pattern.Length && _pattern[_pos] == '-' && _pattern[_pos + 1] != ']' && first.Ranges is [int lo, int lo2] && lo == lo2)
            {
                int dash = _pos++;
                CharSet second = ClassAtom();
                if (second.Ranges is [int hi, int hi2] && hi == hi2)
                {
                    if (hi < lo)
                    {
                        throw Bad("a character range out of order");
                    }

                    ranges.Add((lo, hi));
                    continue;
                }

                _pos = dash; // [\w-\d] style: the dash is a character.
            }

            ranges.AddRange(first.Pairs());
            if (_pos + 1 < _pattern.Length && _pattern[_pos] == '-' && _pattern[_pos + 1] != ']')
            {
                _pos++; // [\w-z] style: the dash is a character, and so is what follows it.
                ranges.Add(('-', '-'));
                ranges.AddRange(ClassAtom().Pairs());
            }
        }

        CharSet set = CharSet.FromRanges(ranges);
        return negated ? set.Complement() : set;
    }

    private CharSet ClassAtom()
    {
        if (_pattern[_pos] != '\\')
        {
            return CharSet.Of(Scalar());
        }

        _pos++;
        if (_pos >= _pattern.Length)
        {
            throw Bad("an unclosed character class");
        }

        if (_pattern[_pos] == 'b')
        {
            _pos++;
            return CharSet.Of('\b');
        }

        return EscapedSet();
    }

    private CharSet Property()
    {
        int end = _pos < _pattern.Length && _pattern[_pos] == '{' ? _pattern.IndexOf('}', _pos) : -1;
        if (end < 0)
        {
            throw new NotSupportedException("a '\\p' without braces is not supported");
        }

        string name = _pattern[(_pos + 1)..end];
        _pos = end + 1;
        _dependsOnUnicode |= !UnicodeProperties.IsStable(name);
        return UnicodeProperties.TryGet(name) ?? throw new NotSupportedException($"ECMA-262 has no Unicode property '{name}' (names are case-sensitive)");
    }

    private int Scalar()
    {
        if (char.IsHighSurrogate(_pattern[_pos]) && _pos + 1 < _pattern.Length && char.IsLowSurrogate(_pattern[_pos + 1]))
        {
            _pos += 2;
            return char.ConvertToUtf32(_pattern[_pos - 2], _pattern[_pos - 1]);
        }

        return _pattern[_pos++];
    }

    private static EcmaNode SetNode(CharSet set) => new(EcmaNodeKind.Set, [], set);

    private FormatException Bad(string what) => new($"the pattern has {what} at character {_pos}");
}
