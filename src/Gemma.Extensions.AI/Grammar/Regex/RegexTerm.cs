namespace Gemma.Extensions.AI.Grammar.Regex;

internal enum RegexKind : byte
{
    Empty,
    Epsilon,
    Set,
    Concat,
    Alt,
    And,
    Not,
    Repeat,
    Leaf,

    /// <summary>A term that occurs in its own definition, its only kid.</summary>
    Recursive,
}

/// <summary>A language defined by code instead of an expression (literals, number ranges, multiples).</summary>
internal abstract class RegexLeaf : IEquatable<RegexLeaf>
{
    public abstract bool Nullable { get; }

    /// <summary>True if the language is finite.</summary>
    public abstract bool Finite { get; }

    /// <summary>The derivative by <paramref name="c"/>; null if no text begins with it.</summary>
    public abstract RegexLeaf? Derive(int c);

    /// <summary>Adds the characters that the automaton distinguishes.</summary>
    public abstract void CollectAlphabet(HashSet<int> chars);

    public abstract bool Equals(RegexLeaf? other);

    public override bool Equals(object? obj) => Equals(obj as RegexLeaf);

    public abstract override int GetHashCode();
}

/// <summary>
/// An extended regular expression over Unicode scalar values (with intersection and complement), hash-consed by its <see cref="RegexArena"/>:
/// equal expressions are the same object. Automaton states are the derivatives (Brzozowski 1964).
/// </summary>
internal sealed class RegexTerm
{
    internal RegexTerm(RegexKind kind, RegexTerm[] kids, CharSet? set = null, int min = 0, int max = 0, RegexLeaf? leaf = null)
    {
        Kind = kind;
        Kids = kids;
        Set = set;
        Min = min;
        Max = max;
        Leaf = leaf;
        HashCode hash = new();
        hash.Add(kind);
        foreach (RegexTerm kid in kids)
        {
            hash.Add(kid.Id);
        }

        hash.Add(set);
        hash.Add(min);
        hash.Add(max);
        hash.Add(leaf);
        Hash = hash.ToHashCode();
    }

    public RegexKind Kind { get; }

    public RegexTerm[] Kids { get; internal set; }

    public CharSet? Set { get; }

    public int Min { get; }

    /// <summary>-1 for no limit.</summary>
    public int Max { get; }

    public RegexLeaf? Leaf { get; }

    public int Id { get; internal set; }

    public bool Nullable { get; internal set; }

    /// <summary>True if emptiness can only be decided by search: the expression contains an intersection, a complement or a leaf.</summary>
    public bool NeedsSearch { get; internal set; }

    public bool Finite { get; internal set; }

    /// <summary>Recursion depth of a derivative.</summary>
    internal int Recursion { get; set; }

    internal int Hash { get; }

    internal bool SameAs(RegexTerm other) =>
        Kind == other.Kind && Min == other.Min && Max == other.Max && Kids.AsSpan().SequenceEqual(other.Kids)
        && (Set is null ? other.Set is null : Set.Equals(other.Set)) && (Leaf is null ? other.Leaf is null : Leaf.Equals(other.Leaf));
}
