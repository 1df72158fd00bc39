namespace Gemma.Extensions.AI.Grammar.Regex;

/// <summary>An immutable set of Unicode scalar values as sorted, disjoint, inclusive ranges.</summary>
internal sealed class CharSet : IEquatable<CharSet>
{
    public const int MaxChar = 0x10FFFF;

    public static readonly CharSet None = new([]);
    public static readonly CharSet Any = new([0, MaxChar]);

    private readonly int _hash;

    private CharSet(int[] ranges)
    {
        Ranges = ranges;
        HashCode hash = new();
        foreach (int r in ranges)
        {
            hash.Add(r);
        }

        _hash = hash.ToHashCode();
    }

    /// <summary>lo0, hi0, lo1, hi1, …</summary>
    public int[] Ranges { get; }

    public bool IsEmpty => Ranges.Length == 0;

    /// <summary>True if no text can contain a character of the set: it is empty or has only surrogates.</summary>
    public bool IsUnspellable => Pairs().All(r => r.Lo >= 0xD800 && r.Hi <= 0xDFFF);

    public static CharSet Of(int c) => new([c, c]);

    public static CharSet Range(int lo, int hi) => new([lo, hi]);

    public static CharSet FromRanges(IEnumerable<(int Lo, int Hi)> ranges)
    {
        List<int> merged = [];
        foreach ((int lo, int hi) in ranges.Where(r => r.Lo <= r.Hi).OrderBy(r => r.Lo))
        {
            if (merged.Count > 0 && lo <= merged[^1] + 1)
            {
                merged[^1] = Math.Max(merged[^1], hi);
            }
            else
            {
                merged.Add(lo);
                merged.Add(hi);
            }
        }

        return merged.Count == 0 ? None : new([.. merged]);
    }

    public bool Contains(int c)
    {
        int lo = 0, hi = (Ranges.Length / 2) - 1;
        while (lo <= hi)
        {
            int mid = (lo + hi) >> 1;
            if (c < Ranges[2 * mid])
            {
                hi = mid - 1;
            }
            else if (c > Ranges[(2 * mid) + 1])
            {
                lo = mid + 1;
            }
            else
            {
                return true;
            }
        }

        return false;
    }

    public CharSet Union(CharSet other) => Equals(other) ? this : FromRanges(Pairs().Concat(other.Pairs()));

    public CharSet Intersect(CharSet other) => Equals(Any) ? other : other.Equals(Any) ? this : Complement().Union(other.Complement()).Complement();

    /// <summary>The characters that are not in this set.</summary>
    public CharSet Complement()
    {
        List<(int, int)> gaps = [];
        int next = 0;
        foreach ((int lo, int hi) in Pairs())
        {
            gaps.Add((next, lo - 1));
            next = hi + 1;
        }

        gaps.Add((next, MaxChar));
        return FromRanges(gaps);
    }

    public IEnumerable<(int Lo, int Hi)> Pairs()
    {
        for (int i = 0; i < Ranges.Length; i += 2)
        {
            yield return (Ranges[i], Ranges[i + 1]);
        }
    }

    public bool Equals(CharSet? other) => other is not null && _hash == other._hash && Ranges.AsSpan().SequenceEqual(other.Ranges);

    public override bool Equals(object? obj) => Equals(obj as CharSet);

    public override int GetHashCode() => _hash;
}
