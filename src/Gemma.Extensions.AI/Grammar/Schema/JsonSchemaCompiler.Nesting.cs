namespace Gemma.Extensions.AI.Grammar.Schema;

// The minimum nesting of values, so that none is begun that would exceed the readers' limit.
internal sealed partial class JsonSchemaCompiler
{
    /// <summary>More than any value nests.</summary>
    public const int Unbounded = 1_000_000;

    private readonly Dictionary<ValueNode, int> _heights = [];

    /// <summary>The nesting limit: the option's, or what the schema requires.</summary>
    public int MaxNesting { get; private set; } = int.MaxValue;

    /// <summary>The minimum nesting of a node's values.</summary>
    public int HeightOf(ValueNode node)
    {
        if (!_heights.TryGetValue(node, out int height))
        {
            FindHeights(node);
            height = _heights[node];
        }

        return height;
    }

    /// <summary>Iterates from above down to the fixpoint: recursive nodes get the height of their terminating alternatives.</summary>
    private void FindHeights(ValueNode from)
    {
        List<ValueNode> nodes = [from];
        _heights[from] = Unbounded;
        for (int i = 0; i < nodes.Count; i++)
        {
            foreach (ValueNode child in nodes[i].Shape.Objects.SelectMany(static matcher => matcher.AllNodes()).Concat(nodes[i].Shape.Arrays.SelectMany(static matcher => matcher.AllNodes())))
            {
                if (_heights.TryAdd(child, Unbounded))
                {
                    nodes.Add(child);
                }
            }
        }

        for (bool changed = true; changed;)
        {
            changed = false;
            for (int i = nodes.Count - 1; i >= 0; i--)
            {
                Shape shape = nodes[i].Shape;
                int height = shape.Null || shape.True || shape.False || shape.Strings is not null || shape.Numbers is not null
                    ? 0
                    : shape.Objects.Select(matcher => matcher.HeightBy(HeightSoFar)).Concat(shape.Arrays.Select(matcher => matcher.HeightBy(HeightSoFar))).DefaultIfEmpty(Unbounded).Min();
                changed |= height != _heights[nodes[i]];
                _heights[nodes[i]] = height;
            }
        }
    }

    private int HeightSoFar(ValueNode node) => _heights.GetValueOrDefault(node, Unbounded);

    /// <summary>If the minimum is unknown, as for objects with containments that refer to the object itself, nothing is limited.</summary>
    private void LimitNesting(ValueNode root) => MaxNesting = HeightOf(root) is var height && height >= Unbounded ? int.MaxValue : Math.Max(_options.MaxNesting, height);
}
