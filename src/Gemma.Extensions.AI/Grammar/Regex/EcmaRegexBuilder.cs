using System.Runtime.CompilerServices;

namespace Gemma.Extensions.AI.Grammar.Regex;

internal enum EcmaNodeKind
{
    Set,
    Sequence,
    Alternatives,
    Repeat,
    Start,
    End,
    Boundary,
    NotBoundary,
    LookAhead,
    NegativeLookAhead,
}

/// <summary>A part of a parsed ECMA-262 expression.</summary>
internal sealed record EcmaNode(EcmaNodeKind Kind, EcmaNode[] Kids, CharSet? Set = null, int Min = 0, int Max = 0)
{
    /// <summary>True if a match depends on the text around it.</summary>
    public bool HasAssertion { get; } = Kind >= EcmaNodeKind.Start || Kids.Any(static k => k.HasAssertion);

    public bool Has(params ReadOnlySpan<EcmaNodeKind> kinds)
    {
        if (kinds.Contains(Kind))
        {
            return true;
        }

        foreach (EcmaNode kid in HasAssertion ? Kids : [])
        {
            if (kid.Has(kinds))
            {
                return true;
            }
        }

        return false;
    }
}

/// <summary>
/// Builds the <see cref="RegexTerm"/> of a parsed expression from its end: each part is put in front of the term for the whole rest of the text. So a look-ahead is an
/// intersection with the rest and $ is an empty rest. For ^ and \b every rest is built in one version for each of the few facts that can hold of the text
/// before it (<see cref="Before"/>). Repeated assertions become recursive terms.
/// </summary>
internal sealed class EcmaRegexBuilder
{
    private readonly RegexArena _arena;
    private readonly CharSet[] _classes; // Classes of the preceding character; class n has number n + 1, and 0 is the start of the text.

    private EcmaRegexBuilder(RegexArena arena, EcmaNode root)
    {
        _arena = arena;
        _classes = root.Has(EcmaNodeKind.Boundary, EcmaNodeKind.NotBoundary) ? [EcmaRegex.Word, EcmaRegex.Word.Complement()] : [CharSet.Any];
    }

    /// <summary>The facts about the text before a place: two for each class of the preceding character, the second if the enclosing loop has read something.</summary>
    private int Before => 2 * (_classes.Length + 1);

    /// <summary>The texts that contain a match of the expression, or that it matches as a whole.</summary>
    public static RegexTerm Build(RegexArena arena, EcmaNode root, bool wholeText)
    {
        if (!root.HasAssertion)
        {
            RegexTerm plain = Plain(arena, root);
            return wholeText ? plain : arena.Concat(arena.All, plain, arena.All);
        }

        EcmaRegexBuilder builder = new(arena, root);
        RegexTerm[] match = builder.Build(root, builder.Everywhere(wholeText ? arena.Epsilon : arena.All));
        if (wholeText)
        {
            return match[0];
        }

        // It begins at the start of the text, or after a character.
        List<RegexTerm> places = [match[0]];
        for (int c = 0; c < builder._classes.Length; c++)
        {
            places.Add(arena.Concat(arena.All, arena.Set(builder._classes[c]), match[2 * (c + 1)]));
        }

        return match.AsSpan().ContainsAnyExcept(match[0]) ? arena.Alt(places) : arena.Concat(arena.All, match[0]);
    }

    private static RegexTerm Plain(RegexArena arena, EcmaNode node)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        switch (node.Kind)
        {
            case EcmaNodeKind.Set:
                return arena.Set(node.Set!);
            case EcmaNodeKind.Sequence:
                RegexTerm sequence = arena.Epsilon;
                foreach (EcmaNode kid in node.Kids.Reverse())
                {
                    sequence = arena.Concat(Plain(arena, kid), sequence);
                }

                return sequence;
            case EcmaNodeKind.Alternatives:
                return arena.Alt(node.Kids.Select(k => Plain(arena, k)).ToArray());
            default:
                return arena.Repeat(Plain(arena, node.Kids[0]), node.Min, node.Max);
        }
    }

    private RegexTerm[] Everywhere(RegexTerm rest)
    {
        RegexTerm[] all = new RegexTerm[Before];
        all.AsSpan().Fill(rest);
        return all;
    }

    private RegexTerm[] Build(EcmaNode node, RegexTerm[] rest)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (!node.HasAssertion && !rest.AsSpan().ContainsAnyExcept(rest[0]))
        {
            return Everywhere(_arena.Concat(Plain(_arena, node), rest[0]));
        }

        switch (node.Kind)
        {
            case EcmaNodeKind.Set:
                return Everywhere(_arena.Alt(_classes.Select((c, i) => _arena.Concat(_arena.Set(node.Set!.Intersect(c)), rest[(2 * (i + 1)) + 1])).ToArray()));
            case EcmaNodeKind.Sequence:
                foreach (EcmaNode kid in node.Kids.Reverse())
                {
                    rest = Build(kid, rest);
                }

                return rest;
            case EcmaNodeKind.Alternatives:
                RegexTerm[][] alternatives = [.. node.Kids.Select(k => Build(k, rest))];
                return Each(i => _arena.Alt(alternatives.Select(a => a[i]).ToArray()));
            case EcmaNodeKind.Repeat:
                return node.HasAssertion ? Repeat(node, rest) : RepeatPlain(node, rest);
            case EcmaNodeKind.Start:
                return Each(i => i < 2 ? rest[i] : _arena.Empty);
            case EcmaNodeKind.End:
                return Each(i => rest[i].Nullable ? _arena.Epsilon : _arena.Empty);
            case EcmaNodeKind.Boundary or EcmaNodeKind.NotBoundary:
                RegexTerm wordNext = _arena.Concat(_arena.Set(EcmaRegex.Word), _arena.All);
                return Each(i => _arena.And(rest[i], (i is 2 or 3) == (node.Kind == EcmaNodeKind.Boundary) ? _arena.Not(wordNext) : wordNext));
            default:
                RegexTerm[] look = Build(node.Kids[0], Everywhere(_arena.All));
                return Each(i => _arena.And(rest[i], node.Kind == EcmaNodeKind.LookAhead ? look[i] : _arena.Not(look[i])));
        }
    }

    private RegexTerm[] Each(Func<int, RegexTerm> make)
    {
        RegexTerm[] result = new RegexTerm[Before];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = make(i);
        }

        return result;
    }

    /// <summary>A repetition without assertions in front of a rest that depends on its last character.</summary>
    private RegexTerm[] RepeatPlain(EcmaNode node, RegexTerm[] rest)
    {
        RegexTerm plain = Plain(_arena, node);
        RegexTerm some = _arena.Alt(_classes.Select((c, i) => _arena.Concat(_arena.And(plain, _arena.Concat(_arena.All, _arena.Set(c))), rest[(2 * (i + 1)) + 1])).ToArray());
        return Each(i => plain.Nullable ? _arena.Alt(some, rest[i]) : some);
    }

    private RegexTerm[] Repeat(EcmaNode node, RegexTerm[] rest)
    {
        RegexTerm[] result = node.Max < 0 ? Loop(node.Kids[0], rest) : rest;
        for (int i = node.Min; i < node.Max; i++)
        {
            RegexTerm[] once = Build(node.Kids[0], result), longer = Each(k => _arena.Alt(rest[k], once[k]));
            if (longer.AsSpan().SequenceEqual(result))
            {
                break;
            }

            result = longer;
        }

        for (int i = 0; i < node.Min; i++)
        {
            RegexTerm[] longer = Build(node.Kids[0], result);
            if (longer.AsSpan().SequenceEqual(result))
            {
                break;
            }

            result = longer;
        }

        return result;
    }

    /// <summary>
    /// X* in front of a rest is the least L = rest | X L. An iteration that reads nothing changes nothing, so only the others continue: then every L
    /// inside L is behind a character.
    /// </summary>
    private RegexTerm[] Loop(EcmaNode body, RegexTerm[] rest)
    {
        RegexTerm[] again = Each(i => i % 2 == 1 && i > 1 ? _arena.Recursive(rest[i].Nullable) : _arena.Empty);
        RegexTerm[] turn = Build(body, again);
        RegexTerm[] result = Each(i => _arena.Alt(rest[i], turn[i & ~1]));
        for (int i = 3; i < again.Length; i += 2)
        {
            _arena.Define(again[i], result[i]);
        }

        return result;
    }
}
