using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;
using Gemma.Extensions.AI.Grammar.Schema;

namespace Gemma.Extensions.AI.Grammar.Tokens;

// The walks over the trie of one lexeme or key: the inner loops.
internal sealed partial class MaskBuilder
{
    private void WalkLexer(ByteTrie trie, int begin, int end, int depth, LexFrame frame, int state, int ways, Span<ulong> mask)
    {
        if (frame.Lexer is RegexLexer { IsFull: true } full)
        {
            WalkTerms(trie, begin, end, depth, frame, full, full[state], ways, mask);
        }
        else
        {
            WalkStates(trie, begin, end, depth, frame, state, ways, mask);
        }
    }

    private void WalkStates(ByteTrie trie, int begin, int end, int depth, LexFrame frame, int state, int ways, Span<ulong> mask)
    {
        Lexer lexer = frame.Lexer;
        byte[] bytes = trie.Bytes, depths = trie.Depths;
        int[] skips = trie.Skips, groups = trie.Groups, lexerStates = _lexerStates;
        lexerStates[depth] = state;
        ParseStateList? ends = null;
        bool canTake = frame.Parent is null || lexer.IsQuoted;
        int i = begin, nodes = 0;
        while (i < end)
        {
            if (++nodes >= NodesPerCount)
            {
                GrammarWork.Spend(nodes);
                nodes = 0;
            }

            int d = depths[i], s = lexerStates[d - 1];
            byte b = bytes[i];
            int n = lexer.Row(s)[b];
            if (n == -1)
            {
                n = lexer.Next(s, b);
            }

            if (frame.Parent is not null && lexer.IsAccepting(s))
            {
                ReadAfter(trie, i, ends ??= Frame.Ends(frame.Parent), ways, mask);
            }

            if (n >= 0)
            {
                if (canTake && skips[i] - i > MinTaken && trie.IsReadBelow(i, lexer, n))
                {
                    trie.SetAll(i, mask);
                    nodes += (skips[i] - i) >> 3;
                    i = skips[i];
                    continue;
                }

                lexerStates[d] = n;
                if (groups[i] >= 0)
                {
                    trie.SetGroup(groups[i], mask);
                }

                i++;
                continue;
            }

            if (n <= Lexer.FinalBase)
            {
                Finish(trie, i, frame.Parent, ways, mask);
            }

            i = skips[i];
        }

        GrammarWork.Spend(nodes);
    }

    /// <summary>As <see cref="WalkStates"/>, without making states: the automaton has as many as are kept.</summary>
    private void WalkTerms(ByteTrie trie, int begin, int end, int depth, LexFrame frame, RegexLexer lexer, (RegexTerm Term, CharDecoder Node) state, int ways, Span<ulong> mask)
    {
        _terms[depth] = state;
        ParseStateList? ends = null;
        int i = begin;
        while (i < end)
        {
            int d = trie.Depths[i];
            byte b = trie.Bytes[i];
            (RegexTerm Term, CharDecoder Node) before = _terms[d - 1];
            int n = lexer.Next(before, b, out (RegexTerm Term, CharDecoder Node) after);
            if (frame.Parent is not null && lexer.IsAccepting(before))
            {
                ReadAfter(trie, i, ends ??= Frame.Ends(frame.Parent), ways, mask);
            }

            if (n >= 0)
            {
                _terms[d] = after;
                if (trie.Groups[i] >= 0)
                {
                    trie.SetGroup(trie.Groups[i], mask);
                }

                i++;
                continue;
            }

            if (n <= Lexer.FinalBase)
            {
                Finish(trie, i, frame.Parent, ways, mask);
            }

            i = trie.Skips[i];
        }
    }

    private void WalkKey(ByteTrie trie, int begin, int end, int depth, ObjectFrame frame, int state, int used, int ways, Span<ulong> mask)
    {
        KeyMatcher lexer = frame.Keys;
        byte[] bytes = trie.Bytes, depths = trie.Depths;
        int[] skips = trie.Skips, groups = trie.Groups;
        bool allowsOthers = frame.AllowsOthers;
        _lexerStates[depth] = state;
        _used[depth] = used;
        int i = begin, nodes = 0;
        while (i < end)
        {
            if ((nodes += 2) >= NodesPerCount)
            {
                GrammarWork.Spend(nodes);
                nodes = 0;
            }

            int d = depths[i], s = _lexerStates[d - 1], u = _used[d - 1];
            int n = lexer.Next(s, bytes[i]);
            if (n >= 0)
            {
                int after = u < 0 ? -1 : frame.Used!.Child(u, bytes[i]);
                if (allowsOthers && after < 0 && skips[i] - i > MinTaken && trie.IsReadBelow(i, lexer, n))
                {
                    trie.SetAll(i, mask);
                    nodes += (skips[i] - i) >> 3;
                    i = skips[i];
                    continue;
                }

                if (frame.AllowsState(n, after))
                {
                    _lexerStates[d] = n;
                    _used[d] = after;
                    if (groups[i] >= 0)
                    {
                        trie.SetGroup(groups[i], mask);
                    }

                    i++;
                    continue;
                }
            }
            else if (n <= Lexer.FinalBase)
            {
                ParseStateList next = ListAt(d);
                frame.EndKey(Lexer.FinalBase - n, u, next);
                Descend(trie, i, next, d, ways, mask);
            }

            i = skips[i];
        }

        GrammarWork.Spend(nodes);
    }
}
