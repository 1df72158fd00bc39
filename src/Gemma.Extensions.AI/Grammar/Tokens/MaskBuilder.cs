using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;
using Gemma.Extensions.AI.Grammar.Schema;

namespace Gemma.Extensions.AI.Grammar.Tokens;

/// <summary>Marks the tokens that parse states can read. Not thread-safe.</summary>
internal sealed partial class MaskBuilder(VocabularyTrie vocabulary)
{
    // Parse states are walked one by one, the fastest way for each. If they split again and again that would explode, so beyond this limit they are walked together.
    private const int MaxWays = 64;
    private const int MaxStatesAlone = 256;
    private const int NodesPerCount = 4096;

    // A step of the stack of frames, in nodes of a lexer's walk.
    private const int StepWork = 10;

    // Smaller parts of the trie are walked as quickly as it is found out whether they need to be.
    private const int MinTaken = 8;

    private readonly int[] _lexerStates = new int[256];
    private readonly int[] _used = new int[256];
    private readonly (RegexTerm Term, CharDecoder Node)[] _terms = new (RegexTerm, CharDecoder)[256];
    private readonly ParseStateList[] _lists = new ParseStateList[256];
    private ulong[]? _slice; // the first that was taken whole

    /// <summary>Marks the tokens.</summary>
    /// <param name="states">The parse states.</param>
    /// <param name="mask">Where tokens are marked.</param>
    /// <returns>A slice of the vocabulary contained in the mask; null if there is none.</returns>
    public ulong[]? Fill(ParseStateList states, Span<ulong> mask)
    {
        _slice = null;
        bool together = IsMany(states);
        ParseStateList? plain = together ? new ParseStateList() : null;
        foreach (ref readonly ParseState parseState in states.Span)
        {
            if (together && !HasSlices(parseState))
            {
                plain!.Add(parseState);
            }
            else
            {
                Fill(parseState, mask);
            }
        }

        if (together)
        {
            WalkTogether(vocabulary.All, 0, vocabulary.All.Count, 0, plain!, MaxWays + 1, mask);
        }

        return _slice;
    }

    /// <summary>
    /// Removes the tokens that guarded parse states cannot read. Only tokens that begin like an earlier item can be affected, so only those are walked.
    /// </summary>
    /// <param name="states">The parse states.</param>
    /// <param name="mask">The tokens that they could read without their guards.</param>
    public void Restrict(ParseStateList states, Span<ulong> mask) => Restrict(0, vocabulary.All.Count, 0, states, mask);

    private void Restrict(int begin, int end, int depth, ParseStateList states, Span<ulong> mask)
    {
        ByteTrie trie = vocabulary.All;
        for (int i = begin; i < end; i = trie.Skips[i])
        {
            GrammarWork.Spend(StepWork);
            ParseStateList next = ListAt(depth + 1);
            foreach (ref readonly ParseState parseState in states.Span)
            {
                next.Step(parseState, trie.Bytes[i]);
            }

            if (next.Blocked)
            {
                trie.ClearAll(i, mask);
                Descend(trie, i, next, depth + 1, 1, mask);
            }
            else if (next.IsGuarded)
            {
                Restrict(i + 1, trie.Skips[i], depth + 1, next, mask);
            }
        }
    }

    /// <summary>True if there are many parse states, counting those that follow where lexemes may end.</summary>
    private static bool IsMany(ParseStateList states)
    {
        if (states.Count > MaxStatesAlone)
        {
            return true;
        }

        foreach (ref readonly ParseState parseState in states.Span)
        {
            if (parseState.Frame is LexFrame { Parent: SequenceFrame } frame && frame.CanEnd(parseState.State))
            {
                ParseStateList all = new();
                all.CopyFrom(states);
                all.AddEnds();
                return all.Count > MaxStatesAlone;
            }
        }

        return false;
    }

    /// <summary>True if a slice may apply.</summary>
    private static bool HasSlices(in ParseState parseState) =>
        parseState.Frame is ObjectFrame { IsInKey: true } || (parseState.Frame is LexFrame frame && frame.Lexer.Slice(parseState.State) != SliceKind.None);

    private void Fill(in ParseState parseState, Span<ulong> mask)
    {
        switch (parseState.Frame)
        {
            case null:
                return;
            case LexFrame frame:
                ByteTrie trie = vocabulary.All;
                switch (frame.Lexer.Slice(parseState.State))
                {
                    case SliceKind.Free:
                        FillFree(vocabulary.Strings, frame.Parent, mask);
                        return;
                    case SliceKind.Safe:
                        Or(mask, vocabulary.Safe);
                        trie = vocabulary.Rest;
                        break;
                    case SliceKind.SafeUpTo:
                        Or(mask, vocabulary.SafeUpTo(frame.Lexer.SliceLimit(parseState.State)));
                        trie = vocabulary.Rest;
                        break;
                }

                WalkLexer(trie, 0, trie.Count, 0, frame, parseState.State, 1, mask);
                return;
            case ObjectFrame { IsInKey: true } key:
                ByteTrie keyTrie = vocabulary.All;
                if (key.AllowsOthers && key.Keys.HasOthers(parseState.State))
                {
                    switch (key.Keys.Slice(parseState.State))
                    {
                        case SliceKind.Free when parseState.Used < 0 && !key.Keys.IsName(parseState.State):
                            FillFreeKey(key, parseState.State, mask);
                            return;
                        case SliceKind.Free or SliceKind.Safe:
                            Or(mask, vocabulary.Safe);
                            keyTrie = vocabulary.Rest;
                            break;
                        case SliceKind.SafeUpTo when parseState.Used < 0:
                            Or(mask, vocabulary.SafeUpTo(key.Keys.SliceLimit(parseState.State)));
                            keyTrie = vocabulary.Rest;
                            break;
                    }
                }

                WalkKey(keyTrie, 0, keyTrie.Count, 0, key, parseState.State, parseState.Used, 1, mask);
                return;
            default:
                Walk(vocabulary.All, 0, vocabulary.All.Count, 0, parseState, 1, mask);
                return;
        }
    }

    private void FillFree(VocabularyTrie.StringSlice slice, Frame? parent, Span<ulong> mask)
    {
        Or(mask, slice.Inside);
        Or(mask, slice.Closing);
        ParseStateList after = ListAt(0);
        Frame.Finish(parent, after);
        WalkAll(slice.Tails, 0, slice.Tails.Count, 0, after, 1, mask);
    }

    private void FillFreeKey(ObjectFrame key, int state, Span<ulong> mask)
    {
        VocabularyTrie.StringSlice slice = vocabulary.Names;
        Or(mask, slice.Inside);
        int label = key.Keys.Next(state, (byte)'"');
        if (label > Lexer.FinalBase)
        {
            return; // A free state whose closing is not allowed does not occur; nothing is lost by asking.
        }

        ParseStateList after = ListAt(0);
        key.EndKey(Lexer.FinalBase - label, -1, after);
        if (after.Count > 0)
        {
            Or(mask, slice.Closing);
            WalkAll(slice.Tails, 0, slice.Tails.Count, 0, after, 1, mask);
        }
    }

    /// <param name="trie">The tokens.</param>
    /// <param name="begin">The first node.</param>
    /// <param name="end">The node after the last.</param>
    /// <param name="depth">Bytes that the parse states have read.</param>
    /// <param name="states">The states that continue.</param>
    /// <param name="ways">The product of the numbers of states at each split since the state that the walk began with.</param>
    /// <param name="mask">Where tokens are marked.</param>
    private void WalkAll(ByteTrie trie, int begin, int end, int depth, ParseStateList states, int ways, Span<ulong> mask)
    {
        if (states.Count > 1)
        {
            ways = (int)Math.Min(MaxWays + 1, (long)ways * states.Count);
            if (ways > MaxWays)
            {
                WalkTogether(trie, begin, end, depth, states, ways, mask);
                return;
            }
        }

        for (int i = 0; i < states.Count; i++)
        {
            ParseState parseState = states[i];
            Walk(trie, begin, end, depth, parseState, ways, mask);
        }
    }

    private void WalkTogether(ByteTrie trie, int begin, int end, int depth, ParseStateList states, int ways, Span<ulong> mask)
    {
        ParseStateList all = new() { Limit = 2 * ParseStateList.MaxStates };
        foreach (ref readonly ParseState parseState in states.Span)
        {
            all.Add(parseState);
        }

        all.AddEnds();
        for (int i = begin; i < end; i = trie.Skips[i])
        {
            GrammarWork.Spend(1 + (5 * all.Count));
            ParseStateList next = ListAt(depth + 1);
            all.StepAll(trie.Bytes[i], next);

            Descend(trie, i, next, depth + 1, ways, mask);
        }
    }

    /// <summary>Marks the tokens of nodes begin to end (siblings at depth + 1 with their subtrees) that the parse state can read.</summary>
    private void Walk(ByteTrie trie, int begin, int end, int depth, in ParseState parseState, int ways, Span<ulong> mask)
    {
        switch (parseState.Frame)
        {
            case null:
                return;
            case not null when parseState.Guard is not null:
                break;
            case LexFrame frame:
                WalkLexer(trie, begin, end, depth, frame, parseState.State, ways, mask);
                return;
            case ObjectFrame { IsInKey: true } key:
                WalkKey(trie, begin, end, depth, key, parseState.State, parseState.Used, ways, mask);
                return;
        }

        for (int i = begin; i < end; i = trie.Skips[i])
        {
            GrammarWork.Spend(StepWork);
            ParseStateList next = ListAt(depth + 1);
            next.Step(parseState, trie.Bytes[i]);
            Descend(trie, i, next, depth + 1, ways, mask);
        }
    }

    /// <summary>Marks node i, whose text the parse states have read, and what is below it.</summary>
    private void Descend(ByteTrie trie, int i, ParseStateList states, int depth, int ways, Span<ulong> mask)
    {
        if (states.Count == 0)
        {
            return;
        }

        if (trie.Groups[i] >= 0)
        {
            trie.SetGroup(trie.Groups[i], mask);
        }

        if (i + 1 < trie.Skips[i])
        {
            WalkAll(trie, i + 1, trie.Skips[i], depth, states, ways, mask);
        }
    }

    /// <summary>Node i where the lexeme ends before its byte: the states after the end read it.</summary>
    private void ReadAfter(ByteTrie trie, int i, ParseStateList ends, int ways, Span<ulong> mask)
    {
        int depth = trie.Depths[i];
        ParseStateList next = ListAt(depth);
        ends.StepAll(trie.Bytes[i], next);
        Descend(trie, i, next, depth, ways, mask);
    }

    /// <summary>Node i whose byte ends the lexeme.</summary>
    private void Finish(ByteTrie trie, int i, Frame? parent, int ways, Span<ulong> mask)
    {
        int depth = trie.Depths[i];
        ParseStateList next = ListAt(depth);
        Frame.Finish(parent, next);
        Descend(trie, i, next, depth, ways, mask);
    }

    private void Or(Span<ulong> mask, ulong[] bits)
    {
        _slice ??= bits;
        System.Numerics.Tensors.TensorPrimitives.BitwiseOr(mask[..bits.Length], bits, mask[..bits.Length]);
    }

    private ParseStateList ListAt(int depth)
    {
        ParseStateList list = _lists[depth] ??= new ParseStateList();
        list.Clear();
        return list;
    }
}
