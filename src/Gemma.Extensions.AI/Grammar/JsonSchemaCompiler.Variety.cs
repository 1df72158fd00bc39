namespace Gemma.Extensions.AI.Grammar;

/// <summary>How many different values there are, at least.</summary>
/// <param name="Count">How many, up to <see cref="Plenty"/>.</param>
/// <param name="IsExact">Whether there are no more.</param>
/// <param name="Height">How many objects and arrays are open at a time in some of them, at most.</param>
internal readonly record struct Variety(long Count, bool IsExact, int Height)
{
    /// <summary>More than an array ever holds.</summary>
    public const long Plenty = 1_000_000;
}

// How many different values a node has: of as many an array of unique items can be filled.
internal sealed partial class JsonSchemaCompiler
{
    // Up to 15 digits are told apart by every reader, and have one spelling here.
    private const string DifferentNumbers = @"-?[1-9][0-9]{0,14}|0|-?0\.[0-9]{0,13}[1-9]";
    private const string DifferentIntegers = "-?[1-9][0-9]{0,14}|0";

    private readonly Dictionary<ValueNode, Variety> _varieties = [];
    private readonly HashSet<ValueNode> _counting = [];

    public Variety VarietyOf(ValueNode node)
    {
        if (_varieties.TryGetValue(node, out Variety known))
        {
            return known;
        }

        if (!_counting.Add(node))
        {
            return new Variety(0, false, Endless); // Without what it holds of itself there are no fewer.
        }

        try
        {
            using GrammarWork.Scope whole = GrammarWork.Whole();
            Variety variety = Count(node);
            return _evaluating.Count == 0 ? _varieties[node] = variety : variety;
        }
        finally
        {
            _counting.Remove(node);
        }
    }

    private Variety Count(ValueNode node)
    {
        Shape shape = node.Shape;
        (long count, bool exact) = Scalars(node, shape);
        if (count >= Variety.Plenty || (shape.Objects.Length == 0 && shape.Arrays.Length == 0))
        {
            return new Variety(Math.Min(count, Variety.Plenty), exact, 0);
        }

        Variety objects = Most(shape.Objects.Select(CountOf)), arrays = Most(shape.Arrays.Select(CountOf));
        return objects.Count >= Variety.Plenty && (arrays.Count < Variety.Plenty || objects.Height <= arrays.Height) ? objects
            : arrays.Count >= Variety.Plenty ? arrays
            : new Variety(Math.Min(count + objects.Count + arrays.Count, Variety.Plenty), false, Math.Max(objects.Height, arrays.Height));
    }

    private (long Count, bool IsExact) Scalars(ValueNode node, Shape shape)
    {
        long count = (shape.Null ? 1 : 0) + (shape.True ? 1 : 0) + (shape.False ? 1 : 0);
        Conjunction[] alternatives = Expand(node);
        count += Arena.CountTexts(Arena.Alt(alternatives.Where(c => c.Types.HasFlag(JsonTypes.String)).Select(c => c.Text)), Variety.Plenty);
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

        Rx ranges = Arena.Alt(numbers.Where(n => n.Values is null).Select(n => NumberSpelling.Of(Arena, n)));
        bool integers = numbers.All(n => n.Values is not null || n.Integer == true);
        Rx different = EcmaRegex.Compile(Arena, integers ? DifferentIntegers : DifferentNumbers, wholeText: true);
        long inRanges = Arena.CountTexts(Arena.And(ranges, different), Variety.Plenty);
        return (count + Math.Max(inRanges, values.Count), integers && values.Count == 0 && !Arena.IsLive(Arena.And(ranges, Arena.Not(different))));
    }

    /// <summary>Objects differ by one property, whatever the others are, or where each name has any of its values, by several.</summary>
    private Variety CountOf(ObjectAtom atom)
    {
        if (!atom.IsSatisfiable())
        {
            return new Variety(0, false, 0);
        }

        List<Variety> ways = [new Variety(1, false, atom.Height)];
        int[] others = [.. atom.OtherHeights()];
        if (others.Length > 0 && atom.HasRoomFor(-1))
        {
            ways.Add(new Variety(Variety.Plenty, false, Math.Max(atom.Height, 1 + others.Max())));
        }

        for (int i = 0; i < atom.Names.Length; i++)
        {
            if (atom.HasRoomFor(i))
            {
                Variety least = atom.VarietyOf(i);
                ways.Add(least with { Height = Math.Min(Endless, Math.Max(atom.Height, 1 + least.Height)) });
            }
        }

        if (atom.HasFreeNames)
        {
            Variety all = new(1, false, 0);
            for (int i = 0; i < atom.Names.Length; i++)
            {
                Variety own = atom.VarietyOf(i);
                all = new(Math.Min(Variety.Plenty, all.Count * (own.Count + (atom.IsRequired(i) ? 0 : 1))), false, Math.Max(all.Height, own.Height));
            }

            ways.Add(all with { Height = Math.Min(Endless, Math.Max(atom.Height, 1 + all.Height)) });
        }

        return Most(ways);
    }

    /// <summary>Arrays differ by their length, or by their items.</summary>
    private static Variety CountOf(ArrayAtom atom)
    {
        List<Variety> ways = [new Variety(1, false, atom.Height)];
        if (atom.IsEndless)
        {
            ways.Add(new Variety(Variety.Plenty, false, Math.Max(atom.Height, 1 + atom.AllNodes().Where(static item => !item.IsEmpty).Max(static item => item.Height))));
        }
        else if (atom.Contains.Length == 0)
        {
            ways.AddRange(atom.PossibleItems().Select(item => item.Variety).Select(v => v with { Height = Math.Min(Endless, Math.Max(atom.Height, 1 + v.Height)) }));
        }

        if (!atom.IsEndless && !atom.IsUnique && atom.Contains.Length == 0)
        {
            Variety all = new(0, false, 0);
            long combinations = 1;
            foreach ((int length, Variety item) in atom.Lengths())
            {
                all = new(Math.Min(Variety.Plenty, all.Count + (atom.CanBeOf(length) ? combinations : 0)), false, Math.Max(all.Height, item.Height));
                combinations = Math.Min(Variety.Plenty, combinations * item.Count);
            }

            ways.Add(all with { Height = Math.Min(Endless, Math.Max(atom.Height, 1 + all.Height)) });
        }

        return Most(ways);
    }

    private static Variety Most(IEnumerable<Variety> ways) => ways.DefaultIfEmpty(new Variety(0, false, 0)).MaxBy(static v => (v.Count, -v.Height)) with { IsExact = false };
}
