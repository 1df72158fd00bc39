namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>The way a statement ended.</summary>
internal enum Flow
{
    Next,
    Break,
    Continue,
}

/// <summary>Text or a tag that stands for itself.</summary>
internal abstract class Statement(int position)
{
    public int Position { get; } = position;

    public abstract Flow Run(TemplateContext context, TemplateTextBuilder output);

    public static Flow Run(List<Statement> body, TemplateContext context, TemplateTextBuilder output)
    {
        foreach (Statement statement in body)
        {
            context.Step(statement.Position);
            Flow flow = statement.Run(context, output);
            if (flow != Flow.Next)
            {
                return flow;
            }
        }

        return Flow.Next;
    }
}

internal sealed class PlainText(int position, string text) : Statement(position)
{
    public override Flow Run(TemplateContext context, TemplateTextBuilder output)
    {
        context.Spend(text.Length);
        output.Append(text);
        return Flow.Next;
    }
}

internal sealed class Print(int position, Expression expression) : Statement(position)
{
    public override Flow Run(TemplateContext context, TemplateTextBuilder output)
    {
        TemplateText text = TemplateValues.Print(context, expression.Evaluate(context));
        context.Spend(text.Length);
        output.Append(text);
        return Flow.Next;
    }
}

internal sealed class If(int position, List<(Expression? Condition, List<Statement> Body)> branches) : Statement(position)
{
    public override Flow Run(TemplateContext context, TemplateTextBuilder output)
    {
        foreach ((Expression? condition, List<Statement> body) in branches)
        {
            if (condition is null || TemplateValues.IsTrue(condition.Evaluate(context)))
            {
                return Run(body, context, output);
            }
        }

        return Flow.Next;
    }
}

internal sealed class Jump(int position, Flow flow) : Statement(position)
{
    public override Flow Run(TemplateContext context, TemplateTextBuilder output) => flow;
}

/// <summary>A body with variables of its own: <c>with</c>; and <c>generation</c>, which only marks what a model wrote.</summary>
internal sealed class Block(int position, List<(string Name, Expression Value)> variables, List<Statement> body) : Statement(position)
{
    public override Flow Run(TemplateContext context, TemplateTextBuilder output)
    {
        Scope outer = context.Scope;
        Scope inner = new(outer);
        variables.ForEach(variable => inner.Set(variable.Name, variable.Value.Evaluate(context)));
        context.Scope = inner;
        Flow flow = Run(body, context, output);
        context.Scope = outer;
        return flow;
    }
}

/// <summary>The target of a loop or <c>set</c>: names, or an attribute of a namespace.</summary>
internal sealed record Target(int Position, List<string> Names, string? Attribute = null, bool IsTuple = false)
{
    public void Assign(TemplateContext context, Scope scope, object? value)
    {
        if (Attribute is not null)
        {
            if (!context.Scope.TryGet(Names[0], out object? found) || found is not TemplateNamespace space)
            {
                throw context.Failed($"'{Names[0]}' is no namespace, so its attribute '{Attribute}' cannot be set");
            }

            space.Values[Attribute] = value;
        }
        else if (!IsTuple)
        {
            scope.Set(Names[0], value);
        }
        else
        {
            List<object?> items = TemplateValues.Items(context, value);
            if (items.Count != Names.Count)
            {
                throw context.Failed($"{items.Count} values cannot be assigned to {Names.Count} names");
            }

            for (int i = 0; i < items.Count; i++)
            {
                scope.Set(Names[i], items[i]);
            }
        }
    }
}

internal sealed class Set(int position, Target target, Expression value) : Statement(position)
{
    public override Flow Run(TemplateContext context, TemplateTextBuilder output)
    {
        target.Assign(context, context.Scope, value.Evaluate(context));
        return Flow.Next;
    }
}

/// <summary><c>{% set name %}…{% endset %}</c>: the text of the body, filtered where filters are named.</summary>
internal sealed class SetBlock(int position, Target target, List<Statement> body, Func<Expression, Expression> filters) : Statement(position)
{
    public override Flow Run(TemplateContext context, TemplateTextBuilder output)
    {
        TemplateTextBuilder text = new();
        Scope outer = context.Scope;
        context.Scope = new Scope(outer);
        Flow flow = Run(body, context, text);
        context.Scope = outer;
        target.Assign(context, outer, filters(new Literal(Position, text.ToText())).Evaluate(context));
        return flow;
    }
}

internal sealed record MacroParameter(string Name, Expression? Fallback);

internal sealed class Macro(int position, string name, List<MacroParameter> parameters, List<Statement> body) : Statement(position)
{
    public override Flow Run(TemplateContext context, TemplateTextBuilder output)
    {
        Scope defined = context.Scope;
        defined.Set(name, (TemplateFunction)(call => Call(call, defined)));
        return Flow.Next;
    }

    private TemplateText Call(TemplateCall call, Scope defined)
    {
        if (call.Positional.Count > parameters.Count || call.Named.Any(argument => parameters.TrueForAll(parameter => parameter.Name != argument.Name)))
        {
            throw call.Context.Failed($"the macro '{name}' is called with arguments that it does not have");
        }

        using TemplateContext.NestedScope nested = call.Context.Nested();
        Scope caller = call.Context.Scope;
        call.Context.Scope = new Scope(defined);
        for (int i = 0; i < parameters.Count; i++)
        {
            object? value = call.TryGet(i, parameters[i].Name, out object? given) ? given
                : parameters[i].Fallback is { } fallback ? fallback.Evaluate(call.Context) : new TemplateUndefined($"'{parameters[i].Name}'");
            call.Context.Scope.Set(parameters[i].Name, value);
        }

        TemplateTextBuilder text = new();
        Run(body, call.Context, text);
        call.Context.Scope = caller;
        return text.ToText();
    }
}

internal sealed class For(int position, Target target, Expression sequence, Expression? condition, List<Statement> body, List<Statement> otherwise) : Statement(position)
{
    public override Flow Run(TemplateContext context, TemplateTextBuilder output)
    {
        Scope outer = context.Scope;
        List<object?> items = Filtered(context, TemplateValues.Items(context, sequence.Evaluate(context)), outer);
        Flow flow = Flow.Next;
        Loop loop = new(items);
        for (int i = 0; i < items.Count && flow != Flow.Break; i++)
        {
            context.Step(Position);
            loop.Index = i;
            context.Scope = new Scope(outer);
            context.Scope.Set("loop", loop);
            target.Assign(context, context.Scope, items[i]);
            flow = Run(body, context, output);
        }

        context.Scope = outer;
        return items.Count == 0 ? Run(otherwise, context, output) : Flow.Next;
    }

    private List<object?> Filtered(TemplateContext context, List<object?> items, Scope outer)
    {
        if (condition is null)
        {
            return items;
        }

        List<object?> kept = [];
        foreach (object? item in items)
        {
            context.Scope = new Scope(outer);
            target.Assign(context, context.Scope, item);
            if (TemplateValues.IsTrue(condition.Evaluate(context)))
            {
                kept.Add(item);
            }
        }

        context.Scope = outer;
        return kept;
    }

    private sealed class Loop(List<object?> items) : TemplateObject
    {
        private object? _changed;
        private bool _hasChanged;

        public int Index { get; set; }

        public override object? Get(string name) => name switch
        {
            "index" => Index + 1L,
            "index0" => (long)Index,
            "revindex" => (long)(items.Count - Index),
            "revindex0" => items.Count - Index - 1L,
            "first" => Index == 0,
            "last" => Index == items.Count - 1,
            "length" => (long)items.Count,
            "depth" => 1L,
            "depth0" => 0L,
            "previtem" => Index > 0 ? items[Index - 1] : new TemplateUndefined("'loop.previtem' in the first pass"),
            "nextitem" => Index + 1 < items.Count ? items[Index + 1] : new TemplateUndefined("'loop.nextitem' in the last pass"),
            "cycle" => (TemplateFunction)(call => call.Positional.Count > 0 ? call.Positional[Index % call.Positional.Count] : throw call.Context.Failed("'loop.cycle' has no arguments")),
            "changed" => (TemplateFunction)HasChanged,
            _ => new TemplateUndefined($"'loop.{name}'"),
        };

        private object HasChanged(TemplateCall call)
        {
            if (_hasChanged && TemplateValues.AreEqual(call.Context, _changed, call.Positional))
            {
                return false;
            }

            (_changed, _hasChanged) = (call.Positional, true);
            return true;
        }
    }
}
