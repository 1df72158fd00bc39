namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>Statements of a template. What the subset does not have is refused by name, with its place.</summary>
internal sealed class TemplateParser
{
    private readonly TemplateTokens _tokens;
    private readonly ExpressionParser _expressions;
    private int _loops;

    private TemplateParser(string source)
    {
        _tokens = new TemplateTokens(source, new TemplateLexer(source).Read());
        _expressions = new ExpressionParser(_tokens);
    }

    /// <exception cref="TemplateException">The template is not valid, or not within the subset.</exception>
    public static List<Statement> Parse(string source)
    {
        TemplateParser parser = new(source);
        List<Statement> body = parser.Body(0);
        return parser._tokens.Type == TokenType.End ? body : throw parser._tokens.Bad($"'{parser._tokens.Text}' ends nothing that was begun");
    }

    /// <summary>Statements up to the end, or to a tag named by one of <paramref name="ends"/>; the tag's name is then the current token.</summary>
    private List<Statement> Body(int begun, params ReadOnlySpan<string> ends)
    {
        List<Statement> body = [];
        using TemplateTokens.Depth nested = _tokens.Nested();
        while (true)
        {
            TemplateToken token = _tokens.Next();
            switch (token.Type)
            {
                case TokenType.Data:
                    body.Add(new PlainText(token.Position, token.Text));
                    break;
                case TokenType.VariableBegin:
                    body.Add(new Print(token.Position, _expressions.Tuple()));
                    _tokens.Expect(TokenType.VariableEnd);
                    break;
                case TokenType.BlockBegin:
                    string name = _tokens.Type == TokenType.Name ? _tokens.Text : throw _tokens.Bad("a block has no name");
                    if (ends.Contains(name))
                    {
                        return body;
                    }

                    body.Add(Tag(_tokens.Next().Position, name));
                    break;
                default: // the end, which is not consumed
                    return ends.IsEmpty ? body : throw _tokens.Bad(begun, $"the block is not closed with '{ends[^1]}'");
            }
        }
    }

    private Statement Tag(int position, string name)
    {
        switch (name)
        {
            case "for":
                return ParseFor(position);
            case "if":
                return ParseIf(position);
            case "set":
                return ParseSet(position);
            case "macro":
                return ParseMacro(position);
            case "with":
                return ParseWith(position);
            case "generation":
                EndTag();
                return new Block(position, [], Closed(position, "endgeneration"));
            case "break" or "continue" when _loops > 0:
                EndTag();
                return new Jump(position, name == "break" ? Flow.Break : Flow.Continue);
            default:
                throw _tokens.Bad(position, name is "break" or "continue" ? $"'{name}' is outside of a loop" : $"the tag '{name}' is not supported");
        }
    }

    private void EndTag() => _tokens.Expect(TokenType.BlockEnd);

    /// <summary>A body and the tag that closes it.</summary>
    private List<Statement> Closed(int position, string end)
    {
        List<Statement> body = Body(position, end);
        _tokens.Next();
        EndTag();
        return body;
    }

    private For ParseFor(int position)
    {
        Target target = ParseTarget(allowsAttribute: false);
        _tokens.ExpectName("in");
        Expression sequence = _expressions.Tuple(allowsConditional: false);
        Expression? condition = _tokens.TakeName("if") ? _expressions.Any() : null;
        if (_tokens.TakeName("recursive"))
        {
            throw _tokens.Bad(position, "recursive loops are not supported");
        }

        EndTag();
        _loops++;
        List<Statement> body = Body(position, "else", "endfor");
        _loops--;
        List<Statement> otherwise = [];
        if (_tokens.TakeName("else"))
        {
            EndTag();
            otherwise = Body(position, "endfor");
        }

        _tokens.Next();
        EndTag();
        return new For(position, target, sequence, condition, body, otherwise);
    }

    private If ParseIf(int position)
    {
        List<(Expression?, List<Statement>)> branches = [];
        Expression? condition = _expressions.Tuple(allowsConditional: true);
        while (true)
        {
            EndTag();
            List<Statement> body = condition is null ? Body(position, "endif") : Body(position, "elif", "else", "endif");
            branches.Add((condition, body));
            string end = _tokens.Next().Text;
            if (end == "endif")
            {
                EndTag();
                return new If(position, branches);
            }

            condition = end == "elif" ? _expressions.Tuple() : null;
        }
    }

    private Statement ParseSet(int position)
    {
        Target target = ParseTarget(allowsAttribute: true);
        if (_tokens.Take("="))
        {
            Expression value = _expressions.Tuple();
            EndTag();
            return new Set(position, target, value);
        }

        Func<Expression, Expression> filters = _expressions.Filters();
        EndTag();
        return new SetBlock(position, target, InFunction(() => Closed(position, "endset")), filters);
    }

    /// <summary>A loop outside does not reach into the body: <c>break</c> would have nowhere to go.</summary>
    private List<Statement> InFunction(Func<List<Statement>> parse)
    {
        (int loops, _loops) = (_loops, 0);
        List<Statement> body = parse();
        _loops = loops;
        return body;
    }

    private Macro ParseMacro(int position)
    {
        string name = _tokens.Expect(TokenType.Name).Text;
        _tokens.Expect("(");
        List<MacroParameter> parameters = [];
        while (!_tokens.Take(")"))
        {
            if (parameters.Count > 0)
            {
                _tokens.Expect(",");
            }

            string parameter = _tokens.Expect(TokenType.Name).Text;
            parameters.Add(new MacroParameter(parameter, _tokens.Take("=") ? _expressions.Any() : null));
        }

        EndTag();
        return new Macro(position, name, parameters, InFunction(() => Closed(position, "endmacro")));
    }

    private Block ParseWith(int position)
    {
        List<(string, Expression)> variables = [];
        while (_tokens.Type != TokenType.BlockEnd)
        {
            if (variables.Count > 0)
            {
                _tokens.Expect(",");
            }

            string name = _tokens.Expect(TokenType.Name).Text;
            _tokens.Expect("=");
            variables.Add((name, _expressions.Any()));
        }

        EndTag();
        return new Block(position, variables, Closed(position, "endwith"));
    }

    private Target ParseTarget(bool allowsAttribute)
    {
        bool inParentheses = _tokens.Take("(");
        TemplateToken first = _tokens.Expect(TokenType.Name);
        List<string> names = [first.Text];
        if (allowsAttribute && _tokens.Take("."))
        {
            return new Target(first.Position, names, _tokens.Expect(TokenType.Name).Text);
        }

        bool isTuple = false;
        while (_tokens.Take(","))
        {
            isTuple = true;
            if (_tokens.Type != TokenType.Name || _tokens.Text == "in")
            {
                break;
            }

            names.Add(_tokens.Next().Text);
        }

        if (inParentheses)
        {
            _tokens.Expect(")");
        }

        return new Target(first.Position, names, IsTuple: isTuple);
    }
}
