using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

// Complements of schemas.
internal sealed partial class JsonSchemaCompiler
{
    private Conjunction[] Negate(Conjunction[] alternatives, SchemaPlace place)
    {
        Conjunction[] result = [_any];
        foreach (Conjunction c in alternatives)
        {
            result = Product(result, [.. Negate(c, place)]);
        }

        return result;
    }

    /// <summary>The alternatives of a conjunction's complement.</summary>
    private IEnumerable<Conjunction> Negate(Conjunction c, SchemaPlace place)
    {
        if (c.Types != JsonTypes.All)
        {
            yield return _any with { Types = ~c.Types & JsonTypes.All };
        }

        if (c.Types.HasFlag(JsonTypes.String) && c.Text != Arena.All)
        {
            yield return _any with { Types = JsonTypes.String, Text = Arena.Not(c.Text) };
        }

        if (c.Types.HasFlag(JsonTypes.Number))
        {
            foreach (NumberConstraint n in c.Number.Negate())
            {
                yield return _any with { Types = JsonTypes.Number, Number = n };
            }
        }

        if (c.Types.HasFlag(JsonTypes.Array) && c.Array is { } array)
        {
            foreach (ArrayConstraint a in Negate(array))
            {
                yield return _any with { Types = JsonTypes.Array, Array = a };
            }
        }

        if (c.Types.HasFlag(JsonTypes.Object) && c.Object is { } o)
        {
            foreach (ObjectConstraint n in Negate(o))
            {
                yield return _any with { Types = JsonTypes.Object, Object = n };
            }
        }
    }

    private IEnumerable<ArrayConstraint> Negate(ArrayConstraint a)
    {
        for (int i = 0; i < a.Prefix.Count; i++)
        {
            foreach (SchemaLiteral literal in a.Prefix[i].All)
            {
                yield return new ArrayConstraint { Prefix = [.. Enumerable.Repeat(SchemaLiterals.Any, i), SchemaLiterals.Of(literal.Complement)], Min = i + 1 };
            }
        }

        foreach (SchemaLiteral literal in a.Rest.All)
        {
            if (a.Max >= 0 && a.Max <= a.Prefix.Count)
            {
                break; // No index is left for it.
            }

            yield return literal == _document.False.Literal ? new ArrayConstraint { Min = a.Prefix.Count + 1 }
                : a.Prefix.Count == 0 ? new ArrayConstraint { Contains = [(SchemaLiterals.Of(literal.Complement), 1, -1)] }
                : throw new NotSupportedException("the complement of items after prefixItems is not supported");
        }

        if (a.Min > 0)
        {
            yield return new ArrayConstraint { Max = a.Min - 1 };
        }

        if (a.Max >= 0)
        {
            yield return new ArrayConstraint { Min = a.Max + 1 };
        }

        foreach ((SchemaLiterals item, int min, int max) in a.Contains)
        {
            if (min > 0)
            {
                yield return min == 1 && item.All is [SchemaLiteral only]
                    ? new ArrayConstraint { Rest = SchemaLiterals.Of(only.Complement) }
                    : new ArrayConstraint { Contains = [(item, 0, min - 1)] };
            }

            if (max >= 0)
            {
                yield return new ArrayConstraint { Contains = [(item, max + 1, -1)] };
            }
        }

        if (a.Unique is not null)
        {
            throw new NotSupportedException("the complement of uniqueItems is not supported");
        }
    }

    private IEnumerable<ObjectConstraint> Negate(ObjectConstraint o)
    {
        foreach (string name in o.Required)
        {
            yield return Key(name, SchemaLiterals.Of(_document.False.Literal), false);
        }

        foreach (ObjectConstraint broken in o.Clauses.SelectMany(Negate))
        {
            yield return broken;
        }

        if (o.Min > 0)
        {
            yield return new ObjectConstraint { Max = o.Min - 1 };
        }

        if (o.Max >= 0)
        {
            yield return new ObjectConstraint { Min = o.Max + 1 };
        }

        foreach ((string name, IReadOnlyList<string> needs) in o.Dependents)
        {
            foreach (string need in needs)
            {
                yield return Key(name, SchemaLiterals.Any, true).And(Key(need, SchemaLiterals.Of(_document.False.Literal), false));
            }
        }

        foreach (SchemaLiteral literal in o.Names.All)
        {
            RegexTerm others = Arena.Alt(Dnf(literal.Complement).Where(x => x.Types.HasFlag(JsonTypes.String)).Select(x => x.Text));
            if (others != Arena.Empty)
            {
                yield return new ObjectConstraint { Contains = [(others, SchemaLiterals.Any)] };
            }
        }

        foreach ((RegexTerm names, SchemaLiterals value) in o.Contains)
        {
            // None of the names has such a value.
            yield return value.All switch
            {
                [] => Every(names, SchemaLiterals.Of(_document.False.Literal)),
                [SchemaLiteral literal] => Every(names, SchemaLiterals.Of(literal.Complement)),
                _ => throw new NotSupportedException("the complement of a complement of several schemas of a property at once is not supported"),
            };
        }
    }

    private IEnumerable<ObjectConstraint> Negate(KeyClause clause)
    {
        foreach ((string name, SchemaLiterals value) in clause.Properties)
        {
            foreach (SchemaLiteral literal in value.All)
            {
                yield return literal == _document.False.Literal ? Key(name, SchemaLiterals.Any, true) : Key(name, SchemaLiterals.Of(literal.Complement), true);
            }
        }

        foreach ((RegexTerm pattern, SchemaLiterals value) in clause.Patterns)
        {
            foreach (SchemaLiteral literal in value.All)
            {
                yield return Containing(pattern, literal.Complement);
            }
        }

        foreach (SchemaLiteral literal in clause.Additional?.All ?? [])
        {
            yield return Containing(Arena.Not(Arena.Alt(clause.Patterns.Select(p => p.Pattern).Append(Arena.Leaf(LiteralSet.Of(clause.Properties.Keys))))), literal.Complement);
        }
    }

    /// <summary>Objects with at least one property whose name matches and whose value satisfies a literal.</summary>
    private ObjectConstraint Containing(RegexTerm names, SchemaLiteral literal) => new() { Contains = [(names, literal == _document.False.Literal.Complement ? SchemaLiterals.Any : SchemaLiterals.Of(literal))] };

    private static ObjectConstraint Every(RegexTerm names, SchemaLiterals value) => new() { Clauses = [new KeyClause([], [(names, value)], null, KeyClause.Coverage.Nothing)] };
}
