using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

// Cardinalities of nodes, which bound the length of arrays with unique items.
internal sealed partial class JsonSchemaCompiler
{
    // Up to 15 digits every reader distinguishes, and each number has one spelling here.
    private const string DifferentNumbers = @"-?[1-9][0-9]{0,14}|0|-?0\.[0-9]{0,13}[1-9]";
    private const string DifferentIntegers = "-?[1-9][0-9]{0,14}|0";

    private readonly Dictionary<ValueNode, Cardinality> _cardinalities = [];
    private readonly HashSet<ValueNode> _counting = [];

    public Cardinality CardinalityOf(ValueNode node)
    {
        if (_cardinalities.TryGetValue(node, out Cardinality known))
        {
            return known;
        }

        if (!_counting.Add(node))
        {
            return new Cardinality(0, false, Unbounded); // Leaving out the recursive part only lowers the bound.
        }

        try
        {
            using GrammarWork.Scope whole = GrammarWork.Whole();
            Cardinality cardinality = Count(node);
            return _evaluating.Count == 0 ? _cardinalities[node] = cardinality : cardinality;
        }
        finally
        {
            _counting.Remove(node);
        }
    }

    private Cardinality Count(ValueNode node)
    {
        Shape shape = node.Shape;
        (long count, bool exact) = Scalars(node, shape);
        if (count >= Cardinality.Plenty || (shape.Objects.Length == 0 && shape.Arrays.Length == 0))
        {
            return new Cardinality(Math.Min(count, Cardinality.Plenty), exact, 0);
        }

        Cardinality objects = Most(shape.Objects.Select(CountOf)), arrays = Most(shape.Arrays.Select(CountOf));
        return objects.Count >= Cardinality.Plenty && (arrays.Count < Cardinality.Plenty || objects.Height <= arrays.Height) ? objects
            : arrays.Count >= Cardinality.Plenty ? arrays
            : new Cardinality(Math.Min(count + objects.Count + arrays.Count, Cardinality.Plenty), false, Math.Max(objects.Height, arrays.Height));
    }

    private (long Count, bool IsExact) Scalars(ValueNode node, Shape shape)
    {
        long count = (shape.Null ? 1 : 0) + (shape.True ? 1 : 0) + (shape.False ? 1 : 0);
        Conjunction[] alternatives = Expand(node);
        count += Arena.CountTexts(Arena.Alt(alternatives.Where(c => c.Types.HasFlag(JsonTypes.String)).Select(c => Bounded(c.Text, 1))), Cardinality.Plenty);
        NumberConstraint[] numbers = [.. alternatives.Where(c => c.Types.HasFlag(JsonTypes.Number)).Select(c => c.Number)];
        if (numbers.Length == 0)
        {
            return (count, true);
        }

        HashSet<double> values = [.. numbers.SelectMany(n => n.Values?.Where(v => n.Allows(v.Value)).Select(v => v.Value.ToDouble()) ?? [])];
        if (numbers.All(n => n.Values is not null))
        {
            return (count + values.Count, true);
        }

        RegexTerm ranges = Arena.Alt(numbers.Where(n => n.Values is null).Select(n => NumberSpelling.Of(Arena, n)));
        bool integers = numbers.All(n => n.Values is not null || n.Integer == true);
        RegexTerm different = EcmaRegex.Compile(Arena, integers ? DifferentIntegers : DifferentNumbers, wholeText: true);
        long inRanges = Arena.CountTexts(Arena.And(ranges, different), Cardinality.Plenty);
        return (count + Math.Max(inRanges, values.Count), integers && values.Count == 0 && !Arena.IsLive(Arena.And(ranges, Arena.Not(different))));
    }

    /// <summary>Objects can differ in one property, whatever the others are; if names are independent, in several.</summary>
    private Cardinality CountOf(ObjectMatcher matcher)
    {
        if (!matcher.IsSatisfiable())
        {
            return new Cardinality(0, false, 0);
        }

        List<Cardinality> ways = [new Cardinality(1, false, matcher.Height)];
        int[] others = [.. matcher.OtherHeights()];
        if (others.Length > 0 && matcher.HasRoomFor(-1))
        {
            ways.Add(new Cardinality(Cardinality.Plenty, false, Math.Max(matcher.Height, 1 + others.Max())));
        }

        for (int i = 0; i < matcher.Names.Length; i++)
        {
            if (matcher.HasRoomFor(i))
            {
                Cardinality least = matcher.CardinalityOf(i);
                ways.Add(least with { Height = Math.Min(Unbounded, Math.Max(matcher.Height, 1 + least.Height)) });
            }
        }

        if (matcher.HasFreeNames)
        {
            Cardinality all = new(1, false, 0);
            for (int i = 0; i < matcher.Names.Length; i++)
            {
                Cardinality own = matcher.CardinalityOf(i);
                all = new(Math.Min(Cardinality.Plenty, all.Count * (own.Count + (matcher.IsRequired(i) ? 0 : 1))), false, Math.Max(all.Height, own.Height));
            }

            ways.Add(all with { Height = Math.Min(Unbounded, Math.Max(matcher.Height, 1 + all.Height)) });
        }

        return Most(ways);
    }

    /// <summary>Arrays can differ in length or in items.</summary>
    private static Cardinality CountOf(ArrayMatcher matcher)
    {
        List<Cardinality> ways = [new Cardinality(1, false, matcher.Height)];
        if (matcher.IsUnbounded)
        {
            ways.Add(new Cardinality(Cardinality.Plenty, false, Math.Max(matcher.Height, 1 + matcher.AllNodes().Where(static item => !item.IsEmpty).Max(static item => item.Height))));
        }
        else if (matcher.Contains.Length == 0)
        {
            ways.AddRange(matcher.PossibleItems().Select(item => item.Cardinality).Select(v => v with { Height = Math.Min(Unbounded, Math.Max(matcher.Height, 1 + v.Height)) }));
        }

        if (!matcher.IsUnbounded && !matcher.IsUnique && matcher.Contains.Length == 0)
        {
            Cardinality all = new(0, false, 0);
            long combinations = 1;
            foreach ((int length, Cardinality item) in matcher.Lengths())
            {
                all = new(Math.Min(Cardinality.Plenty, all.Count + (matcher.CanBeOf(length) ? combinations : 0)), false, Math.Max(all.Height, item.Height));
                combinations = Math.Min(Cardinality.Plenty, combinations * item.Count);
            }

            ways.Add(all with { Height = Math.Min(Unbounded, Math.Max(matcher.Height, 1 + all.Height)) });
        }

        return Most(ways);
    }

    private static Cardinality Most(IEnumerable<Cardinality> ways) => ways.DefaultIfEmpty(new Cardinality(0, false, 0)).MaxBy(static v => (v.Count, -v.Height)) with { IsExact = false };
}
