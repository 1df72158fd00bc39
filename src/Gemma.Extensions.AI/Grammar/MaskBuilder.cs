namespace Gemma.Extensions.AI.Grammar;

/// <summary>Marks the tokens that threads can read. Not thread-safe.</summary>
internal sealed class MaskBuilder(VocabularyTrie vocabulary)
{
    private readonly int[] _states = new int[256];
    private readonly int[] _used = new int[256];
    private readonly ThreadList[] _lists = new ThreadList[256];

    public void Fill(ThreadList threads, Span<ulong> mask)
    {
        foreach (ref readonly Thread thread in threads.Span)
        {
            Fill(thread, mask);
        }
    }

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

                WalkLexer(trie, 0, trie.Count, 0, frame, thread.State, mask);
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

                WalkKey(keyTrie, 0, keyTrie.Count, 0, key, thread.State, thread.Used, mask);
                return;
            default:
                Walk(vocabulary.All, 0, vocabulary.All.Count, 0, thread, mask);
                return;
        }
    }

    private void FillFree(VocabularyTrie.StringSlice slice, Frame? parent, Span<ulong> mask)
    {
        Or(mask, slice.Inside);
        Or(mask, slice.Closing);
        ThreadList after = ListAt(0);
        Frame.Finish(parent, after);
        WalkAll(slice.Tails, 0, slice.Tails.Count, 0, after, mask);
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
            WalkAll(slice.Tails, 0, slice.Tails.Count, 0, after, mask);
        }
    }

    private void WalkAll(ByteTrie trie, int begin, int end, int depth, ThreadList threads, Span<ulong> mask)
    {
        for (int i = 0; i < threads.Count; i++)
        {
            Thread thread = threads[i];
            Walk(trie, begin, end, depth, thread, mask);
        }
    }

    /// <summary>Marks the tokens of nodes begin to end (siblings at depth + 1 with their subtrees) that the thread can read.</summary>
    private void Walk(ByteTrie trie, int begin, int end, int depth, in Thread thread, Span<ulong> mask)
    {
        switch (thread.Frame)
        {
            case null:
                return;
            case LexFrame frame:
                WalkLexer(trie, begin, end, depth, frame, thread.State, mask);
                return;
            case ObjectFrame { IsInKey: true } key:
                WalkKey(trie, begin, end, depth, key, thread.State, thread.Used, mask);
                return;
        }

        for (int i = begin; i < end; i = trie.Skips[i])
        {
            ThreadList next = ListAt(depth + 1);
            thread.Frame.Step(thread.State, thread.Used, trie.Bytes[i], next);
            Descend(trie, i, next, depth + 1, mask);
        }
    }

    /// <summary>Marks node i, whose text the threads have read, and what is below it.</summary>
    private void Descend(ByteTrie trie, int i, ThreadList threads, int depth, Span<ulong> mask)
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
            WalkAll(trie, i + 1, trie.Skips[i], depth, threads, mask);
        }
    }

    private void WalkLexer(ByteTrie trie, int begin, int end, int depth, LexFrame frame, int state, Span<ulong> mask)
    {
        Lexer lexer = frame.Lexer;
        byte[] bytes = trie.Bytes, depths = trie.Depths;
        int[] skips = trie.Skips, groups = trie.Groups, states = _states;
        states[depth] = state;
        int i = begin;
        while (i < end)
        {
            int d = depths[i], s = states[d - 1];
            byte b = bytes[i];
            int n = lexer.Row(s)[b];
            if (n == -1)
            {
                n = lexer.Next(s, b);
            }

            if (lexer.IsAccepting(s))
            {
                // The lexeme may end before this byte. What follows saves the states that it overwrites below.
                ThreadList next = ListAt(d);
                StepAfter(frame.Parent, b, next);
                if (next.Count > 0)
                {
                    Descend(trie, i, next, d, mask);
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
                Descend(trie, i, next, d, mask);
            }

            i = skips[i];
        }
    }

    private void WalkKey(ByteTrie trie, int begin, int end, int depth, ObjectFrame frame, int state, int used, Span<ulong> mask)
    {
        KeyLexer lexer = frame.Keys;
        byte[] bytes = trie.Bytes, depths = trie.Depths;
        int[] skips = trie.Skips, groups = trie.Groups;
        _states[depth] = state;
        _used[depth] = used;
        int i = begin;
        while (i < end)
        {
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
                Descend(trie, i, next, d, mask);
            }

            i = skips[i];
        }
    }

    private static void StepAfter(Frame? parent, byte b, ThreadList next)
    {
        if (parent is null)
        {
            return;
        }

        ThreadList after = new();
        parent.ChildDone(after);
        foreach (ref readonly Thread thread in after.Span)
        {
            thread.Frame?.Step(thread.State, thread.Used, b, next);
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
