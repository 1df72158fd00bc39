using System.Globalization;

namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>Expressions, by Jinja's order of precedence.</summary>
internal sealed class ExpressionParser(TemplateTokens tokens)
{
    private static readonly string[] s_comparisons = ["==", "!=", "<", "<=", ">", ">="];

    /// <summary>One expression, or several separated by commas, which make a list.</summary>
    public Expression Tuple(bool allowsConditional = true)
    {
        int position = tokens.Position;
        Expression first = allowsConditional ? Any() : Or();
        if (!tokens.Is(","))
        {
            return first;
        }

        List<Expression> items = [first];
        while (tokens.Take(",") && tokens.Type is not (TokenType.BlockEnd or TokenType.VariableEnd) && !tokens.Is(")"))
        {
            items.Add(allowsConditional ? Any() : Or());
        }

        return new ListLiteral(position, items, isTuple: true);
    }

    public Expression Any()
    {
        using TemplateTokens.Depth nested = tokens.Nested();
        Expression value = Or();
        while (tokens.Type == TokenType.Name && tokens.Text == "if")
        {
            int position = tokens.Next().Position;
            Expression condition = Or();
            value = new Conditional(position, condition, value, tokens.TakeName("else") ? Any() : null);
        }

        return value;
    }

    /// <summary>Filters that a block names: <c>| trim | upper</c>.</summary>
    public Func<Expression, Expression> Filters()
    {
        List<Func<Expression, Expression>> filters = [];
        while (tokens.Is("|"))
        {
            filters.Add(OneFilter());
        }

        return value => filters.Aggregate(value, static (filtered, filter) => filter(filtered));
    }

    private Expression Or()
    {
        Expression left = And();
        while (tokens.Type == TokenType.Name && tokens.Text == "or")
        {
            left = new Junction(tokens.Next().Position, isAnd: false, left, And());
        }

        return left;
    }

    private Expression And()
    {
        Expression left = Negated();
        while (tokens.Type == TokenType.Name && tokens.Text == "and")
        {
            left = new Junction(tokens.Next().Position, isAnd: true, left, Negated());
        }

        return left;
    }

    private Expression Negated()
    {
        if (tokens.Type == TokenType.Name && tokens.Text == "not")
        {
            using TemplateTokens.Depth nested = tokens.Nested();
            return new Not(tokens.Next().Position, Negated());
        }

        return Compared();
    }

    private Expression Compared()
    {
        int position = tokens.Position;
        Expression first = Sum();
        List<(string, Expression)> rest = [];
        while (Comparator() is { } name)
        {
            rest.Add((name, Sum()));
        }

        return rest.Count == 0 ? first : new Comparison(position, first, rest);
    }

    private string? Comparator()
    {
        if (tokens.Type == TokenType.Operator && s_comparisons.Contains(tokens.Text))
        {
            return tokens.Next().Text;
        }

        if (tokens.TakeName("in"))
        {
            return "in";
        }

        if (tokens.TakeName("not"))
        {
            tokens.ExpectName("in");
            return "not in";
        }

        return null;
    }

    private Expression Sum() => LeftToRight(["+", "-"], Joined);

    private Expression Joined()
    {
        Expression left = Product();
        while (tokens.Is("~"))
        {
            left = new Concatenation(tokens.Next().Position, left, Product());
        }

        return left;
    }

    private Expression Product() => LeftToRight(["*", "/", "//", "%"], static parser => parser.Signed(withFilters: true));

    private Expression LeftToRight(ReadOnlySpan<string> operators, Func<Expression> operand) => LeftToRight(operators, _ => operand());

    private Expression LeftToRight(ReadOnlySpan<string> operators, Func<ExpressionParser, Expression> operand)
    {
        Expression left = operand(this);
        while (tokens.Type == TokenType.Operator && operators.Contains(tokens.Text))
        {
            TemplateToken token = tokens.Next();
            left = new Arithmetic(token.Position, token.Text, left, operand(this));
        }

        return left;
    }

    private Expression Signed(bool withFilters)
    {
        Expression value;
        if (tokens.Is("-") || tokens.Is("+"))
        {
            using TemplateTokens.Depth nested = tokens.Nested();
            TemplateToken sign = tokens.Next();
            value = new Negation(sign.Position, Signed(withFilters: false), sign.Text == "-");
        }
        else
        {
            value = Postfixed(Primary());
            if (tokens.Is("**"))
            {
                using TemplateTokens.Depth nested = tokens.Nested();
                value = new Arithmetic(tokens.Next().Position, "**", value, Signed(withFilters: false));
            }
        }

        return withFilters ? FilteredAndTested(value) : value;
    }

    private Expression FilteredAndTested(Expression value)
    {
        while (true)
        {
            if (tokens.Is("|"))
            {
                value = OneFilter()(value);
            }
            else if (tokens.Type == TokenType.Name && tokens.Text == "is")
            {
                value = OneTest(value);
            }
            else if (tokens.Is("("))
            {
                value = new Invocation(tokens.Position, value, Arguments());
            }
            else
            {
                return value;
            }
        }
    }

    private Func<Expression, Expression> OneFilter()
    {
        tokens.Expect("|");
        TemplateToken name = tokens.Expect(TokenType.Name);
        TemplateFunction filter = TemplateFilters.Find(name.Text) ?? throw tokens.Bad(name.Position, $"the filter '{name.Text}' is not supported");
        ArgumentList arguments = tokens.Is("(") ? Arguments() : ArgumentList.None;
        return value => new Filter(name.Position, value, name.Text, filter, arguments);
    }

    private Test OneTest(Expression value)
    {
        tokens.ExpectName("is");
        bool negated = tokens.TakeName("not");
        TemplateToken name = tokens.Expect(TokenType.Name);
        Func<TemplateCall, bool> test = TemplateTests.Find(name.Text) ?? throw tokens.Bad(name.Position, $"the test '{name.Text}' is not supported");
        ArgumentList arguments = ArgumentList.None;
        if (tokens.Is("("))
        {
            arguments = Arguments();
        }
        else if (tokens.Type is TokenType.String or TokenType.Integer or TokenType.Float || tokens.Is("[") || tokens.Is("{")
            || (tokens.Type == TokenType.Name && tokens.Text is not ("else" or "or" or "and" or "is" or "if" or "in" or "not")))
        {
            arguments = new ArgumentList([Postfixed(Primary())], []);
        }

        return new Test(name.Position, value, name.Text, test, arguments, negated);
    }

    private Expression Postfixed(Expression value)
    {
        while (true)
        {
            int position = tokens.Position;
            if (tokens.Take("."))
            {
                TemplateToken name = tokens.Type == TokenType.Integer ? tokens.Next() : tokens.Expect(TokenType.Name);
                object key = name.Type == TokenType.Integer ? Integer(name) : new TemplateText(name.Text);
                value = new Member(position, value, new Literal(name.Position, key), isAttribute: true);
            }
            else if (tokens.Take("["))
            {
                value = Subscript(position, value);
            }
            else if (tokens.Is("("))
            {
                value = new Invocation(position, value, Arguments());
            }
            else
            {
                return value;
            }
        }
    }

    private Expression Subscript(int position, Expression value)
    {
        Expression? first = tokens.Is(":") ? null : Any();
        if (first is not null && tokens.Take("]"))
        {
            return new Member(position, value, first, isAttribute: false);
        }

        tokens.Expect(":");
        Expression? end = tokens.Is(":") || tokens.Is("]") ? null : Any();
        Expression? step = tokens.Take(":") && !tokens.Is("]") ? Any() : null;
        tokens.Expect("]");
        return new Slice(position, value, first, end, step);
    }

    private ArgumentList Arguments()
    {
        tokens.Expect("(");
        List<Expression> positional = [];
        List<(string, Expression)> named = [];
        while (!tokens.Take(")"))
        {
            if (positional.Count + named.Count > 0)
            {
                tokens.Expect(",");
                if (tokens.Take(")"))
                {
                    break;
                }
            }

            if (tokens.Is("*") || tokens.Is("**"))
            {
                throw tokens.Bad("arguments that are spread with '*' are not supported");
            }

            Expression value = Any();
            if (tokens.Take("="))
            {
                named.Add(((value as Variable ?? throw tokens.Bad("the name of an argument is expected in front of '='")).Name, Any()));
            }
            else if (named.Count == 0)
            {
                positional.Add(value);
            }
            else
            {
                throw tokens.Bad("an argument without a name follows one with a name");
            }
        }

        return new ArgumentList(positional, named);
    }

    private Expression Primary()
    {
        using TemplateTokens.Depth nested = tokens.Nested();
        TemplateToken token = tokens.Next();
        switch (token.Type)
        {
            case TokenType.Name:
                return token.Text switch
                {
                    "true" or "True" => new Literal(token.Position, true),
                    "false" or "False" => new Literal(token.Position, false),
                    "none" or "None" => new Literal(token.Position, null),
                    _ => new Variable(token.Position, token.Text),
                };
            case TokenType.String:
                List<string> parts = [token.Text];
                while (tokens.Type == TokenType.String)
                {
                    parts.Add(tokens.Next().Text);
                }

                return new Literal(token.Position, new TemplateText(string.Concat(parts)));
            case TokenType.Integer:
                return new Literal(token.Position, Integer(token));
            case TokenType.Float:
                return new Literal(token.Position, double.Parse(token.Text, NumberStyles.Float, CultureInfo.InvariantCulture));
            case TokenType.Operator when token.Text == "(":
                if (tokens.Take(")"))
                {
                    return new ListLiteral(token.Position, [], isTuple: true);
                }

                Expression inner = Tuple();
                tokens.Expect(")");
                return inner;
            case TokenType.Operator when token.Text == "[":
                return new ListLiteral(token.Position, Sequence("]", Any));
            case TokenType.Operator when token.Text == "{":
                return new MappingLiteral(token.Position, Sequence("}", () =>
                {
                    Expression key = Any();
                    tokens.Expect(":");
                    return (key, Any());
                }));
            default:
                throw tokens.Bad(token.Position, $"found {TemplateTokens.Show(token)}, expected a value");
        }
    }

    private List<T> Sequence<T>(string end, Func<T> item)
    {
        List<T> items = [];
        while (!tokens.Take(end))
        {
            if (items.Count > 0)
            {
                tokens.Expect(",");
                if (tokens.Take(end))
                {
                    break;
                }
            }

            items.Add(item());
        }

        return items;
    }

    private long Integer(TemplateToken token) =>
        long.TryParse(token.Text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : throw tokens.Bad(token.Position, $"the number {token.Text} is too large");
}
