using System.Text;

namespace Gemma.Extensions.AI.Grammar.Regex;

/// <summary>A finite set of texts as a trie of characters.</summary>
internal sealed class LiteralSet : RegexLeaf
{
    private readonly SortedDictionary<int, LiteralSet> _next = [];
    private bool _terminal;

    private LiteralSet()
    {
    }

    public override bool Nullable => _terminal;

    public override bool Finite => true;

    public static LiteralSet Of(IEnumerable<string> texts)
    {
        LiteralSet root = new();
        foreach (string text in texts)
        {
            LiteralSet node = root;
            foreach (Rune rune in text.EnumerateRunes())
            {
                node = node._next.TryGetValue(rune.Value, out LiteralSet? next) ? next : node._next[rune.Value] = new LiteralSet();
            }

            node._terminal = true;
        }

        return root;
    }

    public override RegexLeaf? Derive(int c) => _next.GetValueOrDefault(c);

    public override void CollectAlphabet(HashSet<int> chars)
    {
        Stack<LiteralSet> todo = new([this]);
        while (todo.TryPop(out LiteralSet? node))
        {
            foreach ((int c, LiteralSet next) in node._next)
            {
                chars.Add(c);
                todo.Push(next);
            }
        }
    }

    public override bool Equals(RegexLeaf? other) => ReferenceEquals(this, other);

    public override int GetHashCode() => System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(this);
}
