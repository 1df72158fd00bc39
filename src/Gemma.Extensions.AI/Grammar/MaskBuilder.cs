namespace Gemma.Extensions.AI.Grammar;

/// <summary>Marks the tokens that threads can read. Not thread-safe.</summary>
internal sealed class MaskBuilder(VocabularyTrie vocabulary)
{
    // Threads are walked one by one, which is quick for each. Where they part again and again that would be without end: beyond so many they go together.
    private const int MaxWays = 64;
    private const int MaxThreadsAlone = 256;
    private const int NodesPerCount = 4096;

    private readonly int[] _states = new int[256];
    private readonly int[] _used = new int[256];
    private readonly (Rx Term, CharNode Node)[] _terms = new (Rx, CharNode)[256];
    private readonly ThreadList[] _lists = new ThreadList[256];

    public void Fill(ThreadList threads, Span<ulong> mask)
    {
        bool together = IsMany(threads);
        ThreadList? plain = together ? new ThreadList() : null;
        foreach (ref readonly Thread thread in threads.Span)
        {
            if (together && !HasSlices(thread))
            {
                plain!.Add(thread);
            }
            else
            {
                Fill(thread, mask);
            }
        }

        if (together)
        {
            WalkTogether(vocabulary.All, 0, vocabulary.All.Count, 0, plain!, MaxWays + 1, mask);
        }
    }

    /// <summary>
    /// Takes away the tokens that threads with a watch cannot read. Only those come into question that begin like an item which came before, so only those are walked.
    /// </summary>
    /// <param name="threads">The threads.</param>
    /// <param name="mask">What they could read without their watches.</param>
    public void Restrict(ThreadList threads, Span<ulong> mask) => Restrict(0, vocabulary.All.Count, 0, threads, mask);

    private void Restrict(int begin, int end, int depth, ThreadList threads, Span<ulong> mask)
    {
        ByteTrie trie = vocabulary.All;
        for (int i = begin; i < end; i = trie.Skips[i])
        {
            GrammarWork.Spend(1);
            ThreadList next = ListAt(depth + 1);
            bool watched = false;
            foreach (ref readonly Thread thread in threads.Span)
            {
                next.Step(thread, trie.Bytes[i]);
            }

            foreach (ref readonly Thread thread in next.Span)
            {
                watched |= thread.Watch is not null;
            }

            if (next.Blocked)
            {
                trie.ClearGroups(i, mask);
                Descend(trie, i, next, depth + 1, 1, mask);
            }
            else if (watched)
            {
                Restrict(i + 1, trie.Skips[i], depth + 1, next, mask);
            }
        }
    }

    /// <summary>Whether there are many threads, with those that come where lexemes may end.</summary>
    private static bool IsMany(ThreadList threads)
    {
        if (threads.Count > MaxThreadsAlone)
        {
            return true;
        }

        foreach (ref readonly Thread thread in threads.Span)
        {
            if (thread.Frame is LexFrame { Parent: SequenceFrame } frame && frame.CanEnd(thread.State))
            {
                ThreadList all = new();
                all.CopyFrom(threads);
                all.AddEnds();
                return all.Count > MaxThreadsAlone;
            }
        }

        return false;
    }

    /// <summary>Whether many tokens may be taken at once.</summary>
    private static bool HasSlices(in Thread thread) =>
        thread.Frame is ObjectFrame { IsInKey: true } || (thread.Frame is LexFrame frame && frame.Lexer.Slice(thread.State) != SliceKind.None);

    private void Fill(in Thread thread, Span<ulong> mask)
    {
        switch (thread.Frame)
        {
            case null:
                return;
            case LexFrame frame:
                ByteTrie trie = vocabulary.All;
                switch (frame.Lexer.Slice(thread.State))
                {
                    case SliceKind.Free:
                        FillFree(vocabulary.Strings, frame.Parent, mask);
                        return;
                    case SliceKind.Safe:
                        Or(mask, vocabulary.Safe);
                        trie = vocabulary.Rest;
                        break;
                    case SliceKind.SafeUpTo:
                        Or(mask, vocabulary.SafeUpTo(frame.Lexer.SliceLimit(thread.State)));
                        trie = vocabulary.Rest;
                        break;
                }

                WalkLexer(trie, 0, trie.Count, 0, frame, thread.State, 1, mask);
                return;
            case ObjectFrame { IsInKey: true } key:
                ByteTrie keyTrie = vocabulary.All;
                if (key.AllowsOthers && key.Keys.HasOthers(thread.State))
                {
                    switch (key.Keys.Slice(thread.State))
                    {
                        case SliceKind.Free when thread.Used < 0 && !key.Keys.IsName(thread.State):
                            FillFreeKey(key, thread.State, mask);
                            return;
                        case SliceKind.Free or SliceKind.Safe:
                            Or(mask, vocabulary.Safe);
                            keyTrie = vocabulary.Rest;
                            break;
                        case SliceKind.SafeUpTo when thread.Used < 0:
                            Or(mask, vocabulary.SafeUpTo(key.Keys.SliceLimit(thread.State)));
                            keyTrie = vocabulary.Rest;
                            break;
                    }
                }

                WalkKey(keyTrie, 0, keyTrie.Count, 0, key, thread.State, thread.Used, 1, mask);
                return;
            default:
                Walk(vocabulary.All, 0, vocabulary.All.Count, 0, thread, 1, mask);
                return;
        }
    }

    private void FillFree(VocabularyTrie.StringSlice slice, Frame? parent, Span<ulong> mask)
    {
        Or(mask, slice.Inside);
        Or(mask, slice.Closing);
        ThreadList after = ListAt(0);
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

        ThreadList after = ListAt(0);
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
    /// <param name="depth">Bytes that the threads have read.</param>
    /// <param name="threads">What reads on.</param>
    /// <param name="ways">How many threads the one of which these come has become, at each byte where it parted, multiplied.</param>
    /// <param name="mask">Where tokens are marked.</param>
    private void WalkAll(ByteTrie trie, int begin, int end, int depth, ThreadList threads, int ways, Span<ulong> mask)
    {
        if (threads.Count > 1)
        {
            ways = (int)Math.Min(MaxWays + 1, (long)ways * threads.Count);
            if (ways > MaxWays)
            {
                WalkTogether(trie, begin, end, depth, threads, ways, mask);
                return;
            }
        }

        for (int i = 0; i < threads.Count; i++)
        {
            Thread thread = threads[i];
            Walk(trie, begin, end, depth, thread, ways, mask);
        }
    }

    private void WalkTogether(ByteTrie trie, int begin, int end, int depth, ThreadList threads, int ways, Span<ulong> mask)
    {
        ThreadList all = new() { Limit = 2 * ThreadList.MaxThreads };
        foreach (ref readonly Thread thread in threads.Span)
        {
            all.Add(thread);
        }

        all.AddEnds();
        for (int i = begin; i < end; i = trie.Skips[i])
        {
            GrammarWork.Spend(1 + (5 * all.Count));
            ThreadList next = ListAt(depth + 1);
            all.StepAll(trie.Bytes[i], next);

            Descend(trie, i, next, depth + 1, ways, mask);
        }
    }

    /// <summary>Marks the tokens of nodes begin to end (siblings at depth + 1 with their subtrees) that the thread can read.</summary>
    private void Walk(ByteTrie trie, int begin, int end, int depth, in Thread thread, int ways, Span<ulong> mask)
    {
        switch (thread.Frame)
        {
            case null:
                return;
            case not null when thread.Watch is not null:
                break;
            case LexFrame frame:
                WalkLexer(trie, begin, end, depth, frame, thread.State, ways, mask);
                return;
            case ObjectFrame { IsInKey: true } key:
                WalkKey(trie, begin, end, depth, key, thread.State, thread.Used, ways, mask);
                return;
        }

        for (int i = begin; i < end; i = trie.Skips[i])
        {
            GrammarWork.Spend(1);
            ThreadList next = ListAt(depth + 1);
            next.Step(thread, trie.Bytes[i]);
            Descend(trie, i, next, depth + 1, ways, mask);
        }
    }

    /// <summary>Marks node i, whose text the threads have read, and what is below it.</summary>
    private void Descend(ByteTrie trie, int i, ThreadList threads, int depth, int ways, Span<ulong> mask)
    {
        if (threads.Count == 0)
        {
            return;
        }

        if (trie.Groups[i] >= 0)
        {
            trie.SetGroup(trie.Groups[i], mask);
        }

        if (i + 1 < trie.Skips[i])
        {
            WalkAll(trie, i + 1, trie.Skips[i], depth, threads, ways, mask);
        }
    }

    private void WalkLexer(ByteTrie trie, int begin, int end, int depth, LexFrame frame, int state, int ways, Span<ulong> mask)
    {
        Lexer lexer = frame.Lexer;
        if (lexer.IsFull && lexer is RxLexer full)
        {
            WalkTerms(trie, begin, end, depth, frame, full, full[state], ways, mask);
            return;
        }

        byte[] bytes = trie.Bytes, depths = trie.Depths;
        int[] skips = trie.Skips, groups = trie.Groups, states = _states;
        states[depth] = state;
        ThreadList? ends = null;
        int i = begin, nodes = 0;
        while (i < end)
        {
            if (++nodes == NodesPerCount)
            {
                GrammarWork.Spend(nodes);
                nodes = 0;
            }

            int d = depths[i], s = states[d - 1];
            byte b = bytes[i];
            int n = lexer.Row(s)[b];
            if (n == -1)
            {
                n = lexer.Next(s, b);
            }

            if (frame.Parent is not null && lexer.IsAccepting(s))
            {
                // The lexeme may end before this byte. What follows saves the states that it overwrites below.
                ThreadList next = ListAt(d);
                (ends ??= Frame.Ends(frame.Parent)).StepAll(b, next);
                if (next.Count > 0)
                {
                    Descend(trie, i, next, d, ways, mask);
                    states = _states;
                }
            }

            if (n >= 0)
            {
                states[d] = n;
                if (groups[i] >= 0)
                {
                    trie.SetGroup(groups[i], mask);
                }

                i++;
                continue;
            }

            if (n <= Lexer.FinalBase)
            {
                ThreadList next = ListAt(d);
                Frame.Finish(frame.Parent, next);
                Descend(trie, i, next, d, ways, mask);
            }

            i = skips[i];
        }

        GrammarWork.Spend(nodes);
    }

    /// <summary>As <see cref="WalkLexer"/>, without making states: the automaton has as many as are kept.</summary>
    private void WalkTerms(ByteTrie trie, int begin, int end, int depth, LexFrame frame, RxLexer lexer, (Rx Term, CharNode Node) state, int ways, Span<ulong> mask)
    {
        _terms[depth] = state;
        ThreadList? ends = null;
        int i = begin;
        while (i < end)
        {
            int d = trie.Depths[i];
            byte b = trie.Bytes[i];
            (Rx Term, CharNode Node) before = _terms[d - 1];
            int n = lexer.Next(before, b, out (Rx Term, CharNode Node) after);
            if (frame.Parent is not null && lexer.IsAccepting(before))
            {
                ThreadList next = ListAt(d);
                (ends ??= Frame.Ends(frame.Parent)).StepAll(b, next);
                Descend(trie, i, next, d, ways, mask);
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
                ThreadList next = ListAt(d);
                Frame.Finish(frame.Parent, next);
                Descend(trie, i, next, d, ways, mask);
            }

            i = trie.Skips[i];
        }
    }

    private void WalkKey(ByteTrie trie, int begin, int end, int depth, ObjectFrame frame, int state, int used, int ways, Span<ulong> mask)
    {
        KeyLexer lexer = frame.Keys;
        byte[] bytes = trie.Bytes, depths = trie.Depths;
        int[] skips = trie.Skips, groups = trie.Groups;
        _states[depth] = state;
        _used[depth] = used;
        int i = begin;
        while (i < end)
        {
            GrammarWork.Spend(2);
            int d = depths[i], s = _states[d - 1], u = _used[d - 1];
            int n = lexer.Next(s, bytes[i]);
            if (n >= 0)
            {
                int after = u < 0 ? -1 : frame.Used!.Child(u, bytes[i]);
                if (frame.AllowsState(n, after))
                {
                    _states[d] = n;
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
                ThreadList next = ListAt(d);
                frame.EndKey(Lexer.FinalBase - n, u, next);
                Descend(trie, i, next, d, ways, mask);
            }

            i = skips[i];
        }
    }

    private static void Or(Span<ulong> mask, ReadOnlySpan<ulong> bits) => System.Numerics.Tensors.TensorPrimitives.BitwiseOr(mask[..bits.Length], bits, mask[..bits.Length]);

    private ThreadList ListAt(int depth)
    {
        ThreadList list = _lists[depth] ??= new ThreadList();
        list.Clear();
        return list;
    }
}
