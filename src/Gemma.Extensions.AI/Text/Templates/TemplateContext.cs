using System.Runtime.CompilerServices;

namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>One evaluation: the variables in sight, and how much work is left.</summary>
internal sealed class TemplateContext(string source, Scope variables, long budget, Func<DateTime> now)
{
    private const int MaxDepth = 200;
    private int _depth;
    private long _spent;

    public Scope Scope { get; set; } = variables;

    public Func<DateTime> Now { get; } = now;

    /// <summary>True if printing an undefined value is an error.</summary>
    public bool IsStrict { get; init; }

    /// <summary>The position in the template that is being evaluated.</summary>
    public int Position { get; private set; }

    public void Step(int position)
    {
        Position = position;
        Spend(1);
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            throw TooDeep();
        }
    }

    public void Spend(long work)
    {
        _spent += work < 0 || work > budget - _spent ? budget + 1 - _spent : work;
        if (_spent > budget)
        {
            throw TemplateException.At(source, Position, TemplateFault.TooMuch, $"the template does more work than the {budget:N0} steps that a conversation of this size allows");
        }
    }

    public NestedScope Nested()
    {
        if (++_depth > MaxDepth || !RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            throw TooDeep();
        }

        return new NestedScope(this);
    }

    public TemplateException Failed(string message) => TemplateException.At(source, Position, TemplateFault.Failed, message);

    public TemplateException Unsupported(string message) => TemplateException.At(source, Position, TemplateFault.Unsupported, message);

    public TemplateException Raised(string message) => TemplateException.At(source, Position, TemplateFault.Raised, message);

    private TemplateException TooDeep() => TemplateException.At(source, Position, TemplateFault.TooMuch, $"values or calls are nested more than {MaxDepth} deep");

    internal readonly ref struct NestedScope(TemplateContext context)
    {
        public void Dispose() => context._depth--;
    }
}

/// <summary>Variables of a template, a loop iteration or a macro call; others are looked up in the enclosing scope.</summary>
internal sealed class Scope(Scope? outer)
{
    private readonly Dictionary<string, object?> _values = new(StringComparer.Ordinal);

    private Scope? Outer { get; } = outer;

    public void Set(string name, object? value) => _values[name] = value;

    public bool TryGet(string name, out object? value)
    {
        for (Scope? scope = this; scope is not null; scope = scope.Outer)
        {
            if (scope._values.TryGetValue(name, out value))
            {
                return true;
            }
        }

        value = null;
        return false;
    }
}

/// <summary>The arguments of a function, method, filter or test.</summary>
internal sealed class TemplateCall(TemplateContext context, string name, object? self, List<object?> positional, List<(string Name, object? Value)> named)
{
    public TemplateContext Context { get; } = context;

    public string Name { get; } = name;

    /// <summary>The value that a method is called on, or that is filtered or tested.</summary>
    public object? Self { get; } = self;

    public List<object?> Positional { get; } = positional;

    public List<(string Name, object? Value)> Named { get; } = named;

    public TemplateText Text => Self as TemplateText ?? throw Context.Failed($"'{Name}' wants a string, but it is {TemplateValues.TypeName(Self)}");

    /// <summary>An argument by place or name.</summary>
    public bool TryGet(int index, string name, out object? value)
    {
        if (index < Positional.Count)
        {
            value = Positional[index];
            return true;
        }

        foreach ((string given, object? other) in Named)
        {
            if (given == name)
            {
                value = other;
                return true;
            }
        }

        value = null;
        return false;
    }

    public object? Get(int index, string name, object? fallback = null) => TryGet(index, name, out object? value) ? value : fallback;

    public TemplateText? GetText(int index, string name) => Get(index, name) switch
    {
        null => null,
        TemplateText text => text,
        object other => throw Context.Failed($"'{Name}' wants a string as its argument '{name}', but it is {TemplateValues.TypeName(other)}"),
    };

    public TemplateText RequireText(int index, string name) => GetText(index, name) ?? throw Context.Failed($"'{Name}' wants a string as its argument '{name}'");

    public long GetInteger(int index, string name, long fallback) => Get(index, name) switch
    {
        null => fallback,
        long number => number,
        bool truth => truth ? 1 : 0,
        object other => throw Context.Failed($"'{Name}' wants a whole number as its argument '{name}', but it is {TemplateValues.TypeName(other)}"),
    };

    public TemplateException Unknown(string what) => Context.Unsupported($"the {what} '{Name}' is not known");
}
