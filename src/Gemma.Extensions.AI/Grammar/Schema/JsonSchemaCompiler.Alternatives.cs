using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Schema;

// The algebra of alternatives.
internal sealed partial class JsonSchemaCompiler
{
    private Conjunction[] Product(Conjunction[] a, Conjunction[] b)
    {
        if (b is [var only] && ReferenceEquals(only, _any))
        {
            return a;
        }

        if (a is [var single] && ReferenceEquals(single, _any))
        {
            return b;
        }

        HashSet<Conjunction> result = [];
        foreach (Conjunction x in a)
        {
            foreach (Conjunction y in b)
            {
                if (And(x, y) is { } both)
                {
                    result.Add(both);
                }
            }

            GrammarWork.Spend(2 * GrammarWork.State * b.Length);
        }

        return Limited(result);
    }

    private static Conjunction[] Union(IEnumerable<Conjunction[]> parts) => Limited(parts.SelectMany(p => p).Distinct());

    private static Conjunction[] Limited(IEnumerable<Conjunction> alternatives)
    {
        Conjunction[] result = [.. alternatives.Take(MaxAlternatives + 1)];
        return result.Length <= MaxAlternatives ? result : throw new GrammarComplexityException("its combinations give more than " + MaxAlternatives + " alternatives");
    }

    private Conjunction? And(Conjunction a, Conjunction b)
    {
        JsonTypes types = a.Types & b.Types;
        NumberConstraint number = a.Number;
        if (types.HasFlag(JsonTypes.Number))
        {
            if (a.Number.And(b.Number) is { } both)
            {
                number = both;
            }
            else
            {
                types &= ~JsonTypes.Number;
            }
        }

        return Clean(new Conjunction(
            types,
            types.HasFlag(JsonTypes.String) ? Arena.And(a.Text, b.Text) : Arena.All,
            number,
            a.Array is null ? b.Array : b.Array is null || ReferenceEquals(a.Array, b.Array) ? a.Array : a.Array.And(b.Array),
            a.Object is null ? b.Object : b.Object is null || ReferenceEquals(a.Object, b.Object) ? a.Object : a.Object.And(b.Object)));
    }

    /// <summary>Without the kinds that are plainly impossible and the constraints on absent kinds; null where nothing is left.</summary>
    private Conjunction? Clean(Conjunction c)
    {
        JsonTypes types = c.Types;
        if (types.HasFlag(JsonTypes.String) && !Arena.IsLive(c.Text))
        {
            types &= ~JsonTypes.String;
        }

        if (c.Array is { Max: >= 0 } array && array.Min > array.Max)
        {
            types &= ~JsonTypes.Array;
        }

        if (c.Object is { Max: >= 0 } o && (o.Min > o.Max || o.Required.Count > o.Max))
        {
            types &= ~JsonTypes.Object;
        }

        return types == JsonTypes.None ? null : new Conjunction(
            types,
            types.HasFlag(JsonTypes.String) ? c.Text : Arena.All,
            types.HasFlag(JsonTypes.Number) ? c.Number : NumberConstraint.None,
            types.HasFlag(JsonTypes.Array) ? c.Array : null,
            types.HasFlag(JsonTypes.Object) ? c.Object : null);
    }
}
