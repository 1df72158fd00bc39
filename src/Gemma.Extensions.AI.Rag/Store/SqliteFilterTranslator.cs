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
                return;

            case UnaryExpression { NodeType: ExpressionType.Not } not when not.Type == typeof(bool):
                _sql.Append("(NOT ");
                Condition(not.Operand);
                _sql.Append(')');
                return;

            case UnaryExpression { NodeType: ExpressionType.Convert } convert when convert.Type == typeof(bool) || convert.Type == typeof(bool?):
                Condition(convert.Operand);
                return;

            case ConstantExpression { Value: bool constant }:
                _sql.Append(constant ? '1' : '0');
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
        else if (TryProperty(expression, out string? column))
        {
            _sql.Append(column);
        }
        else if (expression is UnaryExpression { NodeType: ExpressionType.Convert or ExpressionType.ConvertChecked } convert)
        {
            Value(convert.Operand);
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

    private bool Call(MethodCallExpression call)
    {
        if (call.Object is { } text && text.Type == typeof(string) && call.Arguments is [{ } argument] && argument.Type == typeof(string))
        {
            return StringCall(call.Method.Name, text, argument);
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

    /// <summary>Ordinal, as the methods without a comparison argument are not by default for StartsWith and EndsWith; stored text has no culture.</summary>
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
                _sql.Append("ifnull(substr(");
                Value(text);
                _sql.Append(", 1, length(");
                Value(argument);
                _sql.Append(")) = ");
                Value(argument);
                _sql.Append(", 0)");
                return true;
            case nameof(string.EndsWith):
                // substr(text, -0) is the whole text, so the empty string is its own case.
                _sql.Append("ifnull(length(");
                Value(argument);
                _sql.Append(") = 0 OR substr(");
                Value(text);
                _sql.Append(", -length(");
                Value(argument);
                _sql.Append(")) = ");
                Value(argument);
                _sql.Append(", 0)");
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

    private void Contains(Expression source, Expression item)
    {
        if (TryProperty(source, out string? column))
        {
            _sql.Append("EXISTS (SELECT 1 FROM json_each(").Append(column).Append(") WHERE value IS ");
            Value(item);
            _sql.Append(')');
            return;
        }

        IEnumerable? values = TryConstant(source, out object? constant) ? constant as IEnumerable
            : source is NewArrayExpression array ? array.Expressions.Select(e => TryConstant(e, out object? v) ? v : throw NotSupported(e)).ToArray()
            : null;
        if (values is null)
        {
            throw NotSupported(source);
        }

        // IS rather than IN, so that a null in the list meets a null in the record.
        _sql.Append('(');
        bool any = false;
        foreach (object? value in values)
        {
            _sql.Append(any ? " OR " : "");
            Value(item);
            _sql.Append(" IS ");
            Parameter(value);
            any = true;
        }

        _sql.Append(any ? ")" : "0)");
    }

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
            sql = SqliteValues.ToSql(value is Enum ? Convert.ToInt64(value) : value);
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
                : _column(property)
            : null;
        return column is not null;
    }

    private static bool TryConstant(Expression expression, out object? value)
    {
        switch (expression)
        {
            case ConstantExpression constant:
                value = constant.Value;
                return true;
            case QueryParameterExpression parameter:
                value = parameter.Value;
                return true;
            case UnaryExpression { NodeType: ExpressionType.Convert or ExpressionType.ConvertChecked } convert when convert.Method is null:
                return TryConstant(convert.Operand, out value);
            default:
                value = null;
                return false;
        }
    }

    private static NotSupportedException NotSupported(Expression expression) => new(
        $"The filter holds '{expression}', which has no SQL form. Supported are comparisons of properties with values, &&, ||, !, Contains, Any, StartsWith, EndsWith and HasValue.");

    private sealed record Element(ParameterExpression Parameter, string Sql);
}
