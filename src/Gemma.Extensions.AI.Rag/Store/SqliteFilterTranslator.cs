using System.Collections;
using System.Linq.Expressions;
using System.Text;
using Microsoft.Extensions.VectorData.ProviderServices;
using Microsoft.Extensions.VectorData.ProviderServices.Filter;

namespace Gemma.Extensions.AI.Rag.Store;

/// <summary>
/// Turns a filter expression into an SQL condition that holds for the same records as the compiled expression would. Values are parameters.
/// </summary>
internal sealed class SqliteFilterTranslator : FilterTranslatorBase
{
    private readonly StringBuilder _sql = new();
    private readonly List<object> _parameters;
    private readonly Func<PropertyModel, string> _column;
    private readonly Expression _body;
    private Element? _element;
    private int _aliases;

    /// <param name="model">Properties of the record.</param>
    /// <param name="filter">The expression.</param>
    /// <param name="column">SQL of a property's column.</param>
    /// <param name="parameters">Receives the values; parameter i is named $pi.</param>
    public SqliteFilterTranslator(CollectionModel model, LambdaExpression filter, Func<PropertyModel, string> column, List<object> parameters)
    {
        _column = column;
        _parameters = parameters;
        _body = PreprocessFilter(filter, model, new FilterPreprocessingOptions());
    }

    /// <exception cref="NotSupportedException">The expression has no SQL form; the message shows the part.</exception>
    public string Translate()
    {
        Condition(_body);
        return _sql.ToString();
    }

    /// <summary>Writes an expression that is 0 or 1, never NULL: C# has no third truth value, and NOT must not meet one.</summary>
    private void Condition(Expression expression)
    {
        if (TryConstant(expression, out object? constant))
        {
            _sql.Append(constant is true ? '1' : '0');
            return;
        }

        switch (expression)
        {
            case BinaryExpression { NodeType: ExpressionType.AndAlso or ExpressionType.OrElse } logic:
                Parenthesised(logic.Left, logic.NodeType == ExpressionType.AndAlso ? " AND " : " OR ", logic.Right);
                return;

            case BinaryExpression { NodeType: ExpressionType.Equal or ExpressionType.NotEqual } equality:
                // IS and IS NOT compare NULL as C# compares null.
                _sql.Append('(');
                Value(equality.Left);
                _sql.Append(equality.NodeType == ExpressionType.Equal ? " IS " : " IS NOT ");
                Value(equality.Right);
                _sql.Append(')');
                return;

            case BinaryExpression { NodeType: ExpressionType.LessThan or ExpressionType.LessThanOrEqual or ExpressionType.GreaterThan or ExpressionType.GreaterThanOrEqual } order:
                Order(order);
                return;

            case UnaryExpression { NodeType: ExpressionType.Not } not when not.Type == typeof(bool):
                _sql.Append("(NOT ");
                Condition(not.Operand);
                _sql.Append(')');
                return;

            case UnaryExpression { NodeType: ExpressionType.Convert } convert when convert.Type == typeof(bool) || convert.Type == typeof(bool?):
                Condition(convert.Operand);
                return;

            case MethodCallExpression call when Call(call):
                return;

            // HasValue of a nullable property, before the base class would look for a property of that name.
            case MemberExpression { Member.Name: nameof(Nullable<int>.HasValue), Expression: { } inner } when Nullable.GetUnderlyingType(inner.Type) is not null:
                _sql.Append('(');
                Value(inner);
                _sql.Append(" IS NOT NULL)");
                return;

            case not null when expression.Type == typeof(bool) && TryProperty(expression, out string? column):
                _sql.Append("(ifnull(").Append(column).Append(", 0) <> 0)");
                return;
        }

        throw NotSupported(expression!);
    }

    /// <summary>A comparison with NULL is false, as C# has it.</summary>
    private void Order(BinaryExpression order)
    {
        _sql.Append("ifnull(");
        Value(order.Left);
        _sql.Append(order.NodeType switch
        {
            ExpressionType.LessThan => " < ",
            ExpressionType.LessThanOrEqual => " <= ",
            ExpressionType.GreaterThan => " > ",
            _ => " >= ",
        });
        Value(order.Right);
        _sql.Append(", 0)");
    }

    private void Parenthesised(Expression left, string op, Expression right)
    {
        _sql.Append('(');
        Condition(left);
        _sql.Append(op);
        Condition(right);
        _sql.Append(')');
    }

    /// <summary>Writes a column or a parameter.</summary>
    private void Value(Expression expression)
    {
        if (TryConstant(expression, out object? constant))
        {
            Parameter(constant);
        }
        else if (expression is UnaryExpression { NodeType: ExpressionType.Convert or ExpressionType.ConvertChecked } convert && IsWidening(convert))
        {
            Value(convert.Operand);
        }
        else if (TryProperty(expression, out string? column))
        {
            _sql.Append(column);
        }
        else if (expression is MemberExpression { Member.Name: "Value", Expression: { } nullable } && Nullable.GetUnderlyingType(nullable.Type) is not null)
        {
            Value(nullable);
        }
        else if (expression.Type == typeof(bool))
        {
            Condition(expression);
        }
        else
        {
            throw NotSupported(expression);
        }
    }

    /// <summary>Conversions that C# adds to compare (byte as int, int as int?), which SQLite's numbers don't need.</summary>
    private static bool IsWidening(UnaryExpression convert)
    {
        Type from = Plain(convert.Operand.Type), to = Plain(convert.Type);
        return from != typeof(object) && (from == to || Rank(from) is > 0 and { } rank && rank < Rank(to));

        // C# compares enumerations as the integers that they are stored as.
        static Type Plain(Type type) => (Nullable.GetUnderlyingType(type) ?? type) is { IsEnum: true } named ? Enum.GetUnderlyingType(named) : Nullable.GetUnderlyingType(type) ?? type;

        static int Rank(Type type) => Type.GetTypeCode(type) switch
        {
            TypeCode.Byte => 1,
            TypeCode.Int16 => 2,
            TypeCode.Int32 => 3,
            TypeCode.Int64 => 4,
            TypeCode.Single => 5,
            TypeCode.Double => 6,
            _ => 0,
        };
    }

    private bool Call(MethodCallExpression call)
    {
        if (call.Object is { } text && text.Type == typeof(string) && call.Arguments is [{ } argument, ..] && argument.Type == typeof(string) &&
            (call.Arguments.Count == 1 || (call.Arguments.Count == 2 && TryConstant(call.Arguments[1], out object? comparison) && comparison is StringComparison.Ordinal)))
        {
            return StringCall(call.Method.Name, text, argument);
        }

        if (call.Object is { } set && call.Method.Name == nameof(HashSet<int>.Contains) && call.Arguments is [{ } member] && TryConstant(set, out object? members) && IsOrdinarySet(members))
        {
            Contains(set, member);
            return true;
        }

        if (call.Method.DeclaringType == typeof(string) && call.Method.Name == nameof(string.IsNullOrEmpty))
        {
            _sql.Append("(ifnull(");
            Value(call.Arguments[0]);
            _sql.Append(", '') = '')");
            return true;
        }

        if (TryMatchContains(call, out Expression? source, out Expression? item))
        {
            Contains(source, item);
            return true;
        }

        if (call.Method is { Name: nameof(Enumerable.Any) } && call.Method.DeclaringType == typeof(Enumerable) &&
            call.Arguments is [{ } list, LambdaExpression predicate] && TryProperty(list, out string? column))
        {
            Any(column, predicate);
            return true;
        }

        return false;
    }

    /// <summary>Compared by code point: stored text has no culture.</summary>
    private bool StringCall(string method, Expression text, Expression argument)
    {
        switch (method)
        {
            case nameof(string.Contains):
                _sql.Append("ifnull(instr(");
                Value(text);
                _sql.Append(", ");
                Value(argument);
                _sql.Append(") > 0, 0)");
                return true;
            case nameof(string.StartsWith):
                Affix(text, argument, "1, ");
                return true;
            case nameof(string.EndsWith):
                Affix(text, argument, "-");
                return true;
            case nameof(string.Equals):
                _sql.Append('(');
                Value(text);
                _sql.Append(" IS ");
                Value(argument);
                _sql.Append(')');
                return true;
            default:
                return false;
        }
    }

    /// <summary>Compares bytes of UTF-8: length() of text ends at a NUL character.</summary>
    private void Affix(Expression text, Expression argument, string position)
    {
        // substr(text, -0) is the whole text, so the empty string is its own case.
        _sql.Append("ifnull(length(CAST(");
        Value(argument);
        _sql.Append(" AS BLOB)) = 0 OR substr(CAST(");
        Value(text);
        _sql.Append(" AS BLOB), ").Append(position).Append("length(CAST(");
        Value(argument);
        _sql.Append(" AS BLOB))) = CAST(");
        Value(argument);
        _sql.Append(" AS BLOB), 0)");
    }

    private void Contains(Expression source, Expression item)
    {
        if (TryProperty(source, out string? column))
        {
            _sql.Append("EXISTS (SELECT 1 FROM json_each(").Append(column).Append(") WHERE value IS ");
            Value(item);
            _sql.Append(')');
            return;
        }

        if (!TryConstant(source, out object? constant) || constant is not IEnumerable values)
        {
            throw NotSupported(source);
        }

        // A chain of IS would be too deep for SQLite from a thousand values on; a null in the list meets a null in the record.
        _sql.Append("(ifnull(");
        Value(item);
        _sql.Append(" IN (");
        bool any = false, hasNull = false;
        foreach (object? value in values)
        {
            if (value is null)
            {
                hasNull = true;
                continue;
            }

            _sql.Append(any ? ", " : "");
            Parameter(value);
            any = true;
        }

        _sql.Append("), 0)");
        if (hasNull)
        {
            _sql.Append(" OR ");
            Value(item);
            _sql.Append(" IS NULL");
        }

        _sql.Append(')');
    }

    /// <summary>A set asks its comparer, and stored text has none but the ordinal one.</summary>
    private static bool IsOrdinarySet(object? set) => set switch
    {
        HashSet<string> texts => texts.Comparer.Equals(EqualityComparer<string>.Default) || texts.Comparer.Equals(StringComparer.Ordinal),
        HashSet<int> numbers => numbers.Comparer.Equals(EqualityComparer<int>.Default),
        HashSet<long> numbers => numbers.Comparer.Equals(EqualityComparer<long>.Default),
        HashSet<Guid> ids => ids.Comparer.Equals(EqualityComparer<Guid>.Default),
        _ => false,
    };

    private void Any(string column, LambdaExpression predicate)
    {
        if (_element is not null)
        {
            throw NotSupported(predicate);
        }

        string alias = $"e{_aliases++}";
        _element = new Element(predicate.Parameters[0], $"{alias}.value");
        _sql.Append("EXISTS (SELECT 1 FROM json_each(").Append(column).Append(") AS ").Append(alias).Append(" WHERE ");
        Condition(predicate.Body);
        _sql.Append(')');
        _element = null;
    }

    private void Parameter(object? value)
    {
        if (value is null)
        {
            _sql.Append("NULL");
            return;
        }

        object sql;
        try
        {
            sql = SqliteValues.ToSql(value is DateTime date ? DateTime.SpecifyKind(date, DateTimeKind.Unspecified) : value);
        }
        catch (ArgumentException error)
        {
            throw new NotSupportedException($"The filter compares with a value that the store has no form for: {error.Message}", error);
        }

        _sql.Append("$p").Append(_parameters.Count);
        _parameters.Add(sql);
    }

    private bool TryProperty(Expression expression, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out string? column)
    {
        if (_element is { } element && expression == element.Parameter)
        {
            column = element.Sql;
            return true;
        }

        column = TryBindProperty(expression, out PropertyModel? property)
            ? property is VectorPropertyModel
                ? throw new NotSupportedException($"The filter uses the vector '{property.ModelName}'. Filters compare keys and data; vectors are searched with SearchAsync.")
                // C# compares the clocks of two dates and not their kinds, which stand behind the 27 characters of the clock.
                : (Nullable.GetUnderlyingType(property.Type) ?? property.Type) == typeof(DateTime) ? $"substr({_column(property)}, 1, 27)"
                : _column(property)
            : null;
        return column is not null;
    }

    /// <summary>The value of an expression that doesn't depend on the record: a constant, a captured variable, or what is computed from such.</summary>
    private static bool TryConstant(Expression expression, out object? value)
    {
        value = null;
        if (expression is ConstantExpression constant)
        {
            value = constant.Value;
            return true;
        }

        Inliner inliner = new();
        Expression closed = inliner.Visit(expression);
        if (inliner.DependsOnParameter)
        {
            return false;
        }

        value = closed is ConstantExpression inlined
            ? inlined.Value
            : Expression.Lambda<Func<object?>>(Expression.Convert(closed, typeof(object))).Compile(preferInterpretation: true)();
        return true;
    }

    private static NotSupportedException NotSupported(Expression expression) => new(
        $"The filter holds '{expression}', which has no SQL form. Supported are comparisons of properties with values, &&, ||, !, Contains, Any, StartsWith, EndsWith, IsNullOrEmpty and HasValue.");

    /// <summary>Puts the values of captured variables in, and notices the record.</summary>
    private sealed class Inliner : ExpressionVisitor
    {
        private readonly HashSet<ParameterExpression> _own = [];

        public bool DependsOnParameter { get; private set; }

        protected override Expression VisitLambda<T>(Expression<T> node)
        {
            _own.UnionWith(node.Parameters); // of a function within the expression: list.Select(x => …)
            return base.VisitLambda(node);
        }

        protected override Expression VisitParameter(ParameterExpression node)
        {
            DependsOnParameter |= !_own.Contains(node);
            return node;
        }

        protected override Expression VisitExtension(Expression node) =>
            node is QueryParameterExpression parameter ? Expression.Constant(parameter.Value, parameter.Type) : base.VisitExtension(node);
    }

    private sealed record Element(ParameterExpression Parameter, string Sql);
}
