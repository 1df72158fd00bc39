namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>A part of a tag that has a value.</summary>
internal abstract class Expression(int position)
{
    public int Position { get; } = position;

    public object? Evaluate(TemplateContext context)
    {
        context.Step(Position);
        return Compute(context);
    }

    protected abstract object? Compute(TemplateContext context);
}

internal sealed class Literal(int position, object? value) : Expression(position)
{
    protected override object? Compute(TemplateContext context) => value;
}

internal sealed class Variable(int position, string name) : Expression(position)
{
    public string Name { get; } = name;

    protected override object? Compute(TemplateContext context) =>
        context.Scope.TryGet(Name, out object? value) ? value : TemplateFunctions.Find(Name) is { } function ? function : new TemplateUndefined($"'{Name}'");
}

internal sealed class ListLiteral(int position, List<Expression> items, bool isTuple = false) : Expression(position)
{
    protected override object? Compute(TemplateContext context)
    {
        List<object?> values = items.ConvertAll(item => item.Evaluate(context));
        return isTuple ? new TemplateTuple(values) : values;
    }
}

internal sealed class MappingLiteral(int position, List<(Expression Key, Expression Value)> pairs) : Expression(position)
{
    protected override object? Compute(TemplateContext context)
    {
        TemplateMapping mapping = new();
        foreach ((Expression key, Expression value) in pairs)
        {
            mapping[(key.Evaluate(context) as TemplateText ?? throw context.Unsupported("a key of a mapping is not a string")).Value] = value.Evaluate(context);
        }

        return mapping;
    }
}

internal sealed class Conditional(int position, Expression condition, Expression then, Expression? otherwise) : Expression(position)
{
    protected override object? Compute(TemplateContext context) =>
        TemplateValues.IsTrue(condition.Evaluate(context)) ? then.Evaluate(context) : otherwise is null ? new TemplateUndefined("a condition without else") : otherwise.Evaluate(context);
}

/// <summary><c>and</c>, <c>or</c>: the value of the operand that decides.</summary>
internal sealed class Junction(int position, bool isAnd, Expression left, Expression right) : Expression(position)
{
    protected override object? Compute(TemplateContext context)
    {
        object? first = left.Evaluate(context);
        return TemplateValues.IsTrue(first) == isAnd ? right.Evaluate(context) : first;
    }
}

internal sealed class Not(int position, Expression operand) : Expression(position)
{
    protected override object? Compute(TemplateContext context) => !TemplateValues.IsTrue(operand.Evaluate(context));
}

/// <summary>A chain of comparisons, each of which must hold.</summary>
internal sealed class Comparison(int position, Expression first, List<(string Operator, Expression Operand)> rest) : Expression(position)
{
    protected override object? Compute(TemplateContext context)
    {
        object? left = first.Evaluate(context);
        foreach ((string name, Expression operand) in rest)
        {
            object? right = operand.Evaluate(context);
            bool holds = name switch
            {
                "==" => TemplateValues.AreEqual(context, left, right),
                "!=" => !TemplateValues.AreEqual(context, left, right),
                "<" => TemplateValues.Compare(context, left, right) < 0,
                "<=" => TemplateValues.Compare(context, left, right) <= 0,
                ">" => TemplateValues.Compare(context, left, right) > 0,
                ">=" => TemplateValues.Compare(context, left, right) >= 0,
                "in" => TemplateValues.Contains(context, right, left),
                _ => !TemplateValues.Contains(context, right, left),
            };
            if (!holds)
            {
                return false;
            }

            left = right;
        }

        return true;
    }
}

internal sealed class Negation(int position, Expression operand, bool isMinus) : Expression(position)
{
    protected override object? Compute(TemplateContext context) => operand.Evaluate(context) switch
    {
        long number => (object)(isMinus ? unchecked(-number) : number),
        double number => isMinus ? -number : number,
        bool truth => truth ? (isMinus ? -1L : 1L) : 0L,
        var other => throw context.Failed($"{TemplateValues.TypeName(other)} is not a number"),
    };
}

/// <summary>The text of both operands.</summary>
internal sealed class Concatenation(int position, Expression left, Expression right) : Expression(position)
{
    protected override object? Compute(TemplateContext context) =>
        Join(context, TemplateValues.Print(context, left.Evaluate(context)), TemplateValues.Print(context, right.Evaluate(context)));

    public static TemplateText Join(TemplateContext context, TemplateText first, TemplateText second)
    {
        context.Spend(first.Length + second.Length);
        TemplateTextBuilder text = new();
        text.Append(first);
        text.Append(second);
        return text.ToText();
    }
}

internal sealed class Arithmetic(int position, string name, Expression left, Expression right) : Expression(position)
{
    protected override object? Compute(TemplateContext context)
    {
        object? a = left.Evaluate(context);
        object? b = right.Evaluate(context);
        switch (name)
        {
            case "+" when a is TemplateText first && b is TemplateText second:
                return Concatenation.Join(context, first, second);
            case "+" when a is List<object?> first && b is List<object?> second:
                context.Spend(first.Count + second.Count);
                return (List<object?>)[.. first, .. second];
            case "*" when a is TemplateText or List<object?> && b is long or bool:
                return Repeat(context, a, (long)TemplateValues.Number(b)!);
            case "*" when b is TemplateText or List<object?> && a is long or bool:
                return Repeat(context, b, (long)TemplateValues.Number(a)!);
        }

        if (TemplateValues.Number(a) is not { } x || TemplateValues.Number(b) is not { } y)
        {
            throw context.Failed($"'{name}' does not go with {TemplateValues.TypeName(a)} and {TemplateValues.TypeName(b)}");
        }

        try
        {
            return a is double || b is double || name == "/" ? OfDoubles(context, x, y) : OfIntegers(context, Whole(a), Whole(b));
        }
        catch (OverflowException)
        {
            throw context.Failed("a number is too large");
        }
    }

    private static long Whole(object? value) => value is bool truth ? truth ? 1 : 0 : (long)value!;

    private object OfIntegers(TemplateContext context, long x, long y)
    {
        switch (name)
        {
            case "+":
                return checked(x + y);
            case "-":
                return checked(x - y);
            case "*":
                return checked(x * y);
            case "//" or "%" when y == 0:
                throw context.Failed("division by zero");
            case "//" or "%" when y == -1:
                return name == "%" ? 0L : checked(-x);
            case "//":
                return (x / y) - (x % y != 0 && x % y < 0 != y < 0 ? 1 : 0);
            case "%":
                return x % y != 0 && x % y < 0 != y < 0 ? (x % y) + y : x % y;
            default:
                return y < 0 ? OfDoubles(context, x, y) : Power(x, y);
        }
    }

    private static object Power(long x, long y)
    {
        long result = 1;
        for (long factor = x; y > 0; y >>= 1)
        {
            result = (y & 1) != 0 ? checked(result * factor) : result;
            factor = y > 1 ? checked(factor * factor) : factor;
        }

        return result;
    }

    private object OfDoubles(TemplateContext context, double x, double y) => name switch
    {
        "+" => x + y,
        "-" => x - y,
        "*" => x * y,
        _ when y == 0 && name != "**" => throw context.Failed("division by zero"),
        "/" => x / y,
        "//" => Math.Floor(x / y),
        "%" => x - (y * Math.Floor(x / y)),
        _ => Math.Pow(x, y),
    };

    private static object Repeat(TemplateContext context, object value, long times)
    {
        times = Math.Max(0, times);
        int length = value is TemplateText text ? text.Length : ((List<object?>)value).Count;
        context.Spend(times > 0 && length > long.MaxValue / times ? -1 : times * length);
        if (value is List<object?> list)
        {
            return Enumerable.Repeat(list, length == 0 ? 0 : (int)times).SelectMany(static items => items).ToList();
        }

        TemplateTextBuilder repeated = new();
        for (long i = 0; i < (length == 0 ? 0 : times); i++)
        {
            repeated.Append((TemplateText)value);
        }

        return repeated.ToText();
    }
}

/// <summary><c>value.name</c> and <c>value['name']</c>.</summary>
internal sealed class Member(int position, Expression target, Expression key, bool isAttribute) : Expression(position)
{
    protected override object? Compute(TemplateContext context)
    {
        object? value = target.Evaluate(context);
        object? index = key.Evaluate(context);
        return index is TemplateText name ? Named(context, value, name.Value) : At(context, value, index);
    }

    /// <summary>Attributes hide the items of a mapping that is asked with a point, and the other way round.</summary>
    private object? Named(TemplateContext context, object? value, string name)
    {
        if (value is TemplateUndefined undefined)
        {
            throw context.Failed($"{undefined.What} is not defined, so it has no '{name}'");
        }

        TemplateFunction? method = TemplateMethods.Find(value, name);
        return isAttribute && method is not null ? method
            : value is TemplateMapping mapping && mapping.TryGet(name, out object? item) ? item
            : value is TemplateObject other ? other.Get(name)
            : method is not null ? method : new TemplateUndefined($"'{name}' of {TemplateValues.TypeName(value)}");
    }

    private static object? At(TemplateContext context, object? value, object? index)
    {
        if (value is TemplateUndefined undefined)
        {
            throw context.Failed($"{undefined.What} is not defined, so it has no items");
        }

        if (index is not long place || value is not (TemplateText or List<object?>))
        {
            return new TemplateUndefined($"an item of {TemplateValues.TypeName(value)}");
        }

        List<object?> items = TemplateValues.Items(context, value);
        place += place < 0 ? items.Count : 0;
        return place >= 0 && place < items.Count ? items[(int)place] : new TemplateUndefined("an item beyond the end");
    }
}

internal sealed class Slice(int position, Expression target, Expression? first, Expression? end, Expression? step) : Expression(position)
{
    protected override object? Compute(TemplateContext context)
    {
        object? value = target.Evaluate(context);
        if (value is not (TemplateText or List<object?>))
        {
            throw context.Failed($"{TemplateValues.TypeName(value)} has no slices");
        }

        long stride = Bound(context, step) ?? 1;
        if (stride == 0)
        {
            throw context.Failed("the step of a slice is 0");
        }

        List<object?> items = TemplateValues.Items(context, value);
        long count = items.Count;
        long low = stride > 0 ? 0 : -1;
        long high = stride > 0 ? count : count - 1;
        long at = Place(Bound(context, first), stride > 0 ? low : high);
        long stop = Place(Bound(context, end), stride > 0 ? high : low);
        List<object?> taken = [];
        for (; stride > 0 ? at < stop : at > stop; at += Math.Clamp(stride, -count - 1, count + 1))
        {
            context.Spend(1);
            taken.Add(items[(int)at]);
        }

        if (value is List<object?>)
        {
            return taken;
        }

        TemplateTextBuilder text = new();
        taken.ForEach(item => text.Append((TemplateText)item!));
        return text.ToText();

        long Place(long? bound, long fallback) => bound is not { } given ? fallback : Math.Clamp(given < 0 ? given + count : given, low, high);
    }

    private static long? Bound(TemplateContext context, Expression? expression) => expression?.Evaluate(context) switch
    {
        null => null,
        long number => Math.Clamp(number, -int.MaxValue, int.MaxValue),
        bool truth => truth ? 1 : 0,
        object other => throw context.Failed($"the bound of a slice is {TemplateValues.TypeName(other)}, not a whole number"),
    };
}

/// <summary>The arguments as they are written.</summary>
internal sealed record ArgumentList(List<Expression> Positional, List<(string Name, Expression Value)> Named)
{
    public static readonly ArgumentList None = new([], []);

    public TemplateCall Evaluate(TemplateContext context, string name, object? self, int position)
    {
        List<object?> values = Positional.ConvertAll(argument => argument.Evaluate(context));
        List<(string, object?)> named = Named.ConvertAll(argument => (argument.Name, argument.Value.Evaluate(context)));
        context.Step(position);
        return new TemplateCall(context, name, self, values, named);
    }
}

internal sealed class Invocation(int position, Expression target, ArgumentList arguments) : Expression(position)
{
    protected override object? Compute(TemplateContext context)
    {
        object? function = target.Evaluate(context);
        string name = (target as Variable)?.Name ?? "";
        TemplateCall call = arguments.Evaluate(context, name, null, Position);
        return function switch
        {
            TemplateFunction known => known(call),
            TemplateUndefined undefined => throw context.Unsupported($"{undefined.What} is not a function that is known"),
            _ => throw context.Failed($"{TemplateValues.TypeName(function)} cannot be called"),
        };
    }
}

internal sealed class Filter(int position, Expression target, string name, TemplateFunction filter, ArgumentList arguments) : Expression(position)
{
    protected override object? Compute(TemplateContext context) => filter(arguments.Evaluate(context, name, target.Evaluate(context), Position));
}

internal sealed class Test(int position, Expression target, string name, Func<TemplateCall, bool> test, ArgumentList arguments, bool negated) : Expression(position)
{
    protected override object? Compute(TemplateContext context) => test(arguments.Evaluate(context, name, target.Evaluate(context), Position)) != negated;
}
