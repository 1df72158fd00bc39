using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Regex;

// Derivatives: the texts that may follow a character.
internal sealed partial class RegexArena
{
    /// <summary>Excludes all texts with one of these characters from every term.</summary>
    public void Exclude(CharSet characters)
    {
        if (_excluded is null)
        {
            _excluded = characters;
            _live.Clear();
            _infinite.Clear();
            _counts.Clear();
        }
    }

    /// <summary>Classes of characters that the terms do not distinguish.</summary>
    public CharPartition Partition(params IEnumerable<RegexTerm> terms) => CharPartition.Of(terms, _excluded);

    /// <summary>The derivative: the texts that may follow <paramref name="c"/>.</summary>
    public RegexTerm Derive(RegexTerm t, int c) => _excluded is not null && _excluded.Contains(c) ? Empty : DeriveBy(t, c);

    private RegexTerm DeriveBy(RegexTerm t, int c)
    {
        switch (t.Kind)
        {
            case RegexKind.Empty:
            case RegexKind.Epsilon:
                return Empty;
            case RegexKind.Set:
                return t.Set!.Contains(c) ? Epsilon : Empty;
            case RegexKind.Leaf:
                return Leaf(t.Leaf!.Derive(c));
        }

        GrammarWork.Spend(5);
        if (_derivatives.TryGetValue((t.Id, c), out RegexTerm? known))
        {
            return known;
        }

        RuntimeHelpers.EnsureSufficientExecutionStack();
        RegexTerm result;
        switch (t.Kind)
        {
            case RegexKind.Concat:
                result = Concat(DeriveBy(t.Kids[0], c), t.Kids[1]);
                if (t.Kids[0].Nullable)
                {
                    result = Alt(result, DeriveBy(t.Kids[1], c));
                }

                break;
            case RegexKind.Repeat:
                result = Concat(DeriveBy(t.Kids[0], c), Repeat(t.Kids[0], Math.Max(0, t.Min - 1), t.Max < 0 ? -1 : t.Max - 1));
                break;
            case RegexKind.Not:
                result = Not(DeriveBy(t.Kids[0], c));
                break;
            case RegexKind.Recursive:
                result = DeriveBy(t.Kids[0], c);
                break;
            default:
                RegexTerm[] kids = new RegexTerm[t.Kids.Length];
                for (int i = 0; i < kids.Length; i++)
                {
                    kids[i] = DeriveBy(t.Kids[i], c);
                    if (kids[i] == Empty && t.Kind == RegexKind.And)
                    {
                        return _derivatives[(t.Id, c)] = Empty;
                    }
                }

                result = t.Kind == RegexKind.Alt ? Alt(kids) : And(kids);
                break;
        }

        _derivatives[(t.Id, c)] = result;
        return result;
    }

    public bool Matches(RegexTerm t, string text)
    {
        foreach (System.Text.Rune rune in text.EnumerateRunes())
        {
            t = Derive(t, rune.Value);
            if (t == Empty)
            {
                return false;
            }
        }

        return t.Nullable;
    }
}
