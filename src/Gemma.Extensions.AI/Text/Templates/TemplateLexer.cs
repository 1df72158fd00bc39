using System.Text;

namespace Gemma.Extensions.AI.Text.Templates;

internal enum TokenType
{
    Data,
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End,
}

internal readonly record struct TemplateToken(TokenType Type, string Text, int Position);

/// <summary>
/// Splits a template into text and the tokens of its tags, with white space as Jinja treats it when <c>trim_blocks</c> and <c>lstrip_blocks</c> are set: the first
/// line break behind a block or comment is dropped, and so is the indentation in front of one.
/// </summary>
internal sealed class TemplateLexer(string source)
{
    private static readonly string[] s_operators =
        ["**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"];

    private readonly List<TemplateToken> _tokens = [];
    private int _at;

    public List<TemplateToken> Read()
    {
        while (_at < source.Length)
        {
            int open = NextTag(_at);
            char kind = open < 0 ? '\0' : source[open + 1];
            AddData(open < 0 ? source.Length : open, kind);
            if (open < 0)
            {
                break;
            }

            _at = open + 2;
            if (_at < source.Length && source[_at] is '-' or '+')
            {
                _at++;
            }

            if (kind == '#')
            {
                SkipComment(open);
            }
            else if (kind == '{')
            {
                ReadTag(open, TokenType.VariableBegin, TokenType.VariableEnd, "}}");
            }
            else if (!TryReadRaw(open))
            {
                ReadTag(open, TokenType.BlockBegin, TokenType.BlockEnd, "%}");
            }
        }

        _tokens.Add(new(TokenType.End, "", source.Length));
        return _tokens;
    }

    private int NextTag(int from)
    {
        for (int at = source.IndexOf('{', from); at >= 0 && at + 1 < source.Length; at = source.IndexOf('{', at + 1))
        {
            if (source[at + 1] is '{' or '%' or '#')
            {
                return at;
            }
        }

        return -1;
    }

    /// <summary>Adds the text up to a tag, without the white space that the tag takes away.</summary>
    private void AddData(int end, char kind)
    {
        ReadOnlySpan<char> data = source.AsSpan(_at, end - _at);
        char sign = kind != '\0' && end + 2 < source.Length ? source[end + 2] : '\0';
        if (kind != '\0' && sign == '-')
        {
            data = data.TrimEnd();
        }
        else if (kind is '%' or '#' && sign != '+')
        {
            int line = data.LastIndexOf('\n') + 1;
            bool begins = line > 0 || _at == 0 || source[_at - 1] == '\n';
            if (begins && data[line..].IsWhiteSpace())
            {
                data = data[..line];
            }
        }

        if (!data.IsEmpty)
        {
            _tokens.Add(new(TokenType.Data, data.ToString(), _at));
        }
    }

    private void SkipComment(int open)
    {
        int end = source.IndexOf("#}", _at, StringComparison.Ordinal);
        if (end < 0)
        {
            throw Bad(open, "a comment that begins with {# does not end with #}");
        }

        AfterBlock(end + 2, source[end - 1]);
    }

    /// <summary>Goes on behind a block or comment: <c>-</c> takes all white space away, <c>+</c> none, otherwise one line break goes.</summary>
    private void AfterBlock(int at, char sign)
    {
        if (sign == '-')
        {
            while (at < source.Length && char.IsWhiteSpace(source[at]))
            {
                at++;
            }
        }
        else if (sign != '+' && at < source.Length && source[at] == '\n')
        {
            at++;
        }

        _at = at;
    }

    private bool TryReadRaw(int open)
    {
        int at = SkipSpace(_at);
        if (string.CompareOrdinal(source, at, "raw", 0, 3) != 0)
        {
            return false;
        }

        at = SkipSpace(at + 3);
        bool strips = at < source.Length && source[at] == '-';
        at += strips ? 1 : 0;
        if (string.CompareOrdinal(source, at, "%}", 0, 2) != 0)
        {
            return false;
        }

        at += 2;
        _at = strips ? SkipSpace(at) : at;
        for (int end = source.IndexOf("{%", _at, StringComparison.Ordinal); end >= 0; end = source.IndexOf("{%", end + 2, StringComparison.Ordinal))
        {
            int name = end + 2;
            name = SkipSpace(name < source.Length && source[name] is '-' or '+' ? name + 1 : name);
            if (string.CompareOrdinal(source, name, "endraw", 0, 6) != 0)
            {
                continue;
            }

            int close = SkipSpace(name + 6);
            char sign = close < source.Length && source[close] is '-' or '+' ? source[close++] : '\0';
            if (string.CompareOrdinal(source, close, "%}", 0, 2) == 0)
            {
                AddData(end, '%');
                AfterBlock(close + 2, sign);
                return true;
            }
        }

        throw Bad(open, "a raw block does not end with {% endraw %}");
    }

    private int SkipSpace(int at)
    {
        while (at < source.Length && char.IsWhiteSpace(source[at]))
        {
            at++;
        }

        return at;
    }

    private void ReadTag(int open, TokenType begin, TokenType end, string close)
    {
        _tokens.Add(new(begin, "", open));
        int depth = 0;
        while (true)
        {
            _at = SkipSpace(_at);
            if (_at >= source.Length)
            {
                throw Bad(open, $"a tag does not end with {close}");
            }

            if (depth == 0 && TryEnd(end, close))
            {
                return;
            }

            char next = source[_at];
            if (char.IsLetter(next) || next == '_')
            {
                ReadWhile(TokenType.Name, static c => char.IsLetterOrDigit(c) || c == '_');
            }
            else if (char.IsAsciiDigit(next))
            {
                ReadNumber();
            }
            else if (next is '"' or '\'')
            {
                ReadString(next);
            }
            else
            {
                depth += ReadOperator();
            }
        }
    }

    private bool TryEnd(TokenType end, string close)
    {
        char sign = source[_at] is '-' or '+' ? source[_at] : '\0';
        int at = _at + (sign == '\0' ? 0 : 1);
        if (string.CompareOrdinal(source, at, close, 0, 2) != 0 || (sign == '+' && end == TokenType.VariableEnd))
        {
            return false;
        }

        _tokens.Add(new(end, "", _at));
        if (end == TokenType.BlockEnd || sign == '-')
        {
            AfterBlock(at + 2, sign);
        }
        else
        {
            _at = at + 2;
        }

        return true;
    }

    private void ReadWhile(TokenType type, Func<char, bool> belongs)
    {
        int start = _at;
        while (_at < source.Length && belongs(source[_at]))
        {
            _at++;
        }

        _tokens.Add(new(type, source[start.._at], start));
    }

    private void ReadNumber()
    {
        int start = _at;
        TokenType type = TokenType.Integer;
        Digits();
        if (_at + 1 < source.Length && source[_at] == '.' && char.IsAsciiDigit(source[_at + 1]))
        {
            type = TokenType.Float;
            _at++;
            Digits();
        }

        if (_at < source.Length && source[_at] is 'e' or 'E')
        {
            int exponent = _at + 1;
            exponent += exponent < source.Length && source[exponent] is '-' or '+' ? 1 : 0;
            if (exponent < source.Length && char.IsAsciiDigit(source[exponent]))
            {
                type = TokenType.Float;
                _at = exponent;
                Digits();
            }
        }

        _tokens.Add(new(type, source[start.._at].Replace("_", "", StringComparison.Ordinal), start));

        void Digits()
        {
            while (_at < source.Length && (char.IsAsciiDigit(source[_at]) || (source[_at] == '_' && _at + 1 < source.Length && char.IsAsciiDigit(source[_at + 1]))))
            {
                _at++;
            }
        }
    }

    private void ReadString(char quote)
    {
        int start = _at++;
        StringBuilder text = new();
        while (_at < source.Length && source[_at] != quote)
        {
            if (source[_at] == '\\' && _at + 1 < source.Length)
            {
                ReadEscape(text);
            }
            else
            {
                text.Append(source[_at++]);
            }
        }

        if (_at++ >= source.Length)
        {
            throw Bad(start, "a string does not end");
        }

        _tokens.Add(new(TokenType.String, text.ToString(), start));
    }

    /// <summary>The escapes of Python's strings; an unknown one stands for itself.</summary>
    private void ReadEscape(StringBuilder text)
    {
        int start = _at;
        char kind = source[_at + 1];
        _at += 2;
        switch (kind)
        {
            case 'n':
                text.Append('\n');
                break;
            case 't':
                text.Append('\t');
                break;
            case 'r':
                text.Append('\r');
                break;
            case 'b':
                text.Append('\b');
                break;
            case 'f':
                text.Append('\f');
                break;
            case 'v':
                text.Append('\v');
                break;
            case 'a':
                text.Append('\a');
                break;
            case '0':
                text.Append('\0');
                break;
            case '\\' or '\'' or '"':
                text.Append(kind);
                break;
            case '\n':
                break;
            case 'x' or 'u' or 'U':
                int digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
                if (_at + digits > source.Length || !uint.TryParse(source.AsSpan(_at, digits), System.Globalization.NumberStyles.AllowHexSpecifier, null, out uint code) || code > 0x10FFFF)
                {
                    throw Bad(start, $"\\{kind} is not followed by {digits} hexadecimal digits of a character");
                }

                text.Append(code > 0xFFFF ? char.ConvertFromUtf32((int)code) : ((char)code).ToString());
                _at += digits;
                break;
            default:
                text.Append('\\').Append(kind);
                break;
        }
    }

    /// <summary>Returns how the depth of brackets changes.</summary>
    private int ReadOperator()
    {
        foreach (string known in s_operators)
        {
            if (string.CompareOrdinal(source, _at, known, 0, known.Length) == 0)
            {
                _tokens.Add(new(TokenType.Operator, known, _at));
                _at += known.Length;
                return known is "(" or "[" or "{" ? 1 : known is ")" or "]" or "}" ? -1 : 0;
            }
        }

        throw Bad(_at, $"unexpected character '{source[_at]}'");
    }

    private TemplateException Bad(int position, string message) => TemplateException.At(source, position, TemplateFault.Unsupported, message);
}
