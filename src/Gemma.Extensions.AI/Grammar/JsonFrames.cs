namespace Gemma.Extensions.AI.Grammar;

/// <summary>Stands before a JSON value.</summary>
internal sealed class ValueFrame(ValueNode node, Frame? parent, bool leadingWhitespace) : Frame(parent, HashCode.Combine(node.Id, leadingWhitespace))
{
    private static readonly byte[] s_null = "null"u8.ToArray();
    private static readonly byte[] s_true = "true"u8.ToArray();
    private static readonly byte[] s_false = "false"u8.ToArray();

    private readonly ValueNode _node = node;
    private readonly bool _leadingWhitespace = leadingWhitespace;

    public override void Step(int state, int used, byte b, ThreadList next)
    {
        switch (b)
        {
            case (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t':
                if (_leadingWhitespace && NextWhitespace(state, b) is > 0 and int after)
                {
                    next.Add(this, after);
                }

                break;
            case (byte)'"':
                if (_node.Shape.Strings is { } strings)
                {
                    next.Add(new LexFrame(strings, Parent), strings.Start);
                }

                break;
            case (byte)'{':
                foreach (ObjectAtom atom in _node.Shape.Objects)
                {
                    if (Depth + atom.Height <= _node.MaxNesting)
                    {
                        next.Add(new ObjectFrame(atom, _node.MaxNesting, Parent), 0);
                    }
                }

                break;
            case (byte)'[':
                foreach (ArrayAtom atom in _node.Shape.Arrays)
                {
                    if (Depth + atom.Height <= _node.MaxNesting)
                    {
                        next.Add(new ArrayFrame(atom, _node.MaxNesting, Parent), 0);
                    }
                }

                break;
            case (byte)'n':
                if (_node.Shape.Null)
                {
                    next.Add(new LiteralFrame(s_null, Parent), 1);
                }

                break;
            case (byte)'t':
                if (_node.Shape.True)
                {
                    next.Add(new LiteralFrame(s_true, Parent), 1);
                }

                break;
            case (byte)'f':
                if (_node.Shape.False)
                {
                    next.Add(new LiteralFrame(s_false, Parent), 1);
                }

                break;
            case (byte)'-' or (>= (byte)'0' and <= (byte)'9'):
                if (_node.Shape.Numbers is { } numbers && numbers.Next(numbers.Start, b) is >= 0 and int n)
                {
                    next.Add(new LexFrame(numbers, Parent), n);
                }

                break;
        }
    }

    public override void ChildDone(ThreadList next) => throw new InvalidOperationException();

    protected override bool SameContent(Frame other) => other is ValueFrame o && ReferenceEquals(_node, o._node) && _leadingWhitespace == o._leadingWhitespace;
}

/// <summary>Inside a JSON object.</summary>
internal sealed class ObjectFrame : Frame
{
    private readonly ObjectAtom _atom;
    private readonly Phase _phase;
    private readonly ulong[] _seen;
    private readonly int _position; // In schema order: the first declared name that may still come.
    private readonly int _count;
    private readonly int _open; // What must still be contained.
    private readonly UsedTexts? _used;
    private readonly bool _unknownKey; // A key outside the schema ended within the token being tried; its text is not known.
    private readonly ValueNode? _value;
    private readonly int _maxNesting;

    private ObjectAtom.Choice? _choice;
    private ObjectFrame? _afterComma;
    private ObjectFrame? _inKey;

    public ObjectFrame(ObjectAtom atom, int maxNesting, Frame? parent)
        : this(atom, Phase.Start, new ulong[atom.Words], 0, 0, atom.AllOpen, null, false, null, maxNesting, parent)
    {
    }

    private ObjectFrame(ObjectAtom atom, Phase phase, ulong[] seen, int position, int count, int open, UsedTexts? used, bool unknownKey, ValueNode? value, int maxNesting, Frame? parent)
        : base(parent, HashCode.Combine(HashCode.Combine(atom.Id, phase, open), seen.Length == 0 ? 0 : seen[0].GetHashCode(), position, count, used?.Hash ?? 0, unknownKey, value?.Id ?? -1), nests: true)
    {
        (_atom, _phase, _seen, _position, _count, _open, _used, _unknownKey, _value, _maxNesting) = (atom, phase, seen, position, count, open, used, unknownKey, value, maxNesting);
    }

    private enum Phase : byte
    {
        Start,
        AfterComma,
        InKey,
        AfterKey,
        AfterValue,
    }

    public bool IsInKey => _phase == Phase.InKey;

    public KeyLexer Keys => Choice.Keys;

    /// <summary>Which keys may come next.</summary>
    public ObjectAtom.Choice Choice => _choice ??= _atom.Choose(_seen, _position, _count, _open, _maxNesting - Depth);

    /// <summary>Whether keys outside the declared names may come.</summary>
    public bool AllowsOthers => Choice.Others && !_unknownKey;

    public UsedTexts? Used => _used;

    public override void Step(int state, int used, byte b, ThreadList next)
    {
        if (_phase == Phase.InKey)
        {
            StepKey(state, used, b, next);
            return;
        }

        if (IsWhitespace(b))
        {
            if (_atom.AllowsWhitespace && NextWhitespace(state, b) is > 0 and int after)
            {
                next.Add(this, after);
            }

            return;
        }

        switch (_phase)
        {
            case Phase.Start or Phase.AfterComma when b == '"' && Choice.Any:
                _inKey ??= With(Phase.InKey);
                next.Add(_inKey, Keys.Start, _used is null ? -1 : 0);
                break;
            case Phase.Start or Phase.AfterValue when b == '}':
                if (_atom.CanClose(_seen, _count, _open))
                {
                    Finish(Parent, next);
                }

                break;
            case Phase.AfterKey when b == ':':
                next.Add(new ValueFrame(_value!, new ObjectFrame(_atom, Phase.AfterValue, _seen, _position, _count, _open, _used, _unknownKey, null, _maxNesting, Parent), _atom.AllowsWhitespace), 0);
                break;
            case Phase.AfterValue when b == ',' && Choice.Any:
                _afterComma ??= With(Phase.AfterComma);
                next.Add(_afterComma, 0);
                break;
        }
    }

    /// <summary>Whether some allowed key begins as in a state of the key lexer.</summary>
    public bool AllowsState(int state, int used) =>
        Keys.HasName(state, Choice.Names)
        || (AllowsOthers && Keys.HasOthers(state) && (used < 0 || _used!.CanDiffer(Keys, state, used)));

    /// <summary>Adds what follows a key; <paramref name="label"/> as the key lexer gives it.</summary>
    public void EndKey(int label, int used, ThreadList next)
    {
        if (label < _atom.Names.Length)
        {
            if (!Choice.Has(label))
            {
                return;
            }

            ulong[] seen = (ulong[])_seen.Clone();
            seen[label >> 6] |= 1UL << label;
            foreach ((ValueNode value, int open) in _atom.ValuesOf(label, seen, _count + 1, _open, _maxNesting - Depth))
            {
                next.Add(new ObjectFrame(_atom, Phase.AfterKey, seen, label + 1, _count + 1, open, _used, _unknownKey, value, _maxNesting, Parent), 0);
            }
        }
        else if (AllowsOthers && (used < 0 || !_used!.IsEnd(used)))
        {
            UsedTexts? texts = next.History is null ? _used : UsedTexts.Add(_used, next.History.LastString());
            foreach ((ValueNode value, int open) in _atom.ValuesOfOther(Keys.MatchedOf(label), Choice, _open, _maxNesting - Depth))
            {
                next.Add(new ObjectFrame(_atom, Phase.AfterKey, _seen, _atom.Names.Length, _atom.CountMatters ? _count + 1 : _count, open, texts, next.History is null, value, _maxNesting, Parent), 0);
            }
        }
    }

    public override void ChildDone(ThreadList next) => next.Add(this, 0);

    protected override bool SameContent(Frame other) =>
        other is ObjectFrame o && ReferenceEquals(_atom, o._atom) && _phase == o._phase && _position == o._position && _count == o._count && _open == o._open && _unknownKey == o._unknownKey
        && ReferenceEquals(_value, o._value) && _seen.AsSpan().SequenceEqual(o._seen) && UsedTexts.Same(_used, o._used);

    private void StepKey(int state, int used, byte b, ThreadList next)
    {
        int n = Keys.Next(state, b);
        if (n >= 0)
        {
            int after = used < 0 ? -1 : _used!.Child(used, b);
            if (AllowsState(n, after))
            {
                next.Add(this, n, after);
            }
        }
        else if (n <= Lexer.FinalBase)
        {
            EndKey(Lexer.FinalBase - n, used, next);
        }
    }

    private ObjectFrame With(Phase phase) => new(_atom, phase, _seen, _position, _count, _open, _used, _unknownKey, null, _maxNesting, Parent);
}

/// <summary>Inside a JSON array.</summary>
internal sealed class ArrayFrame : Frame
{
    private readonly ArrayAtom _atom;
    private readonly Phase _phase;
    private readonly int _count;
    private readonly int[] _matched;
    private readonly UsedTexts? _used;
    private readonly int _maxNesting;

    public ArrayFrame(ArrayAtom atom, int maxNesting, Frame? parent) : this(atom, Phase.Start, 0, new int[atom.Contains.Length], null, maxNesting, parent)
    {
    }

    private ArrayFrame(ArrayAtom atom, Phase phase, int count, int[] matched, UsedTexts? used, int maxNesting, Frame? parent)
        : base(parent, HashCode.Combine(atom.Id, phase, count, matched.Length == 0 ? 0 : matched[0], used?.Hash ?? 0), nests: true)
    {
        (_atom, _phase, _count, _matched, _used, _maxNesting) = (atom, phase, count, matched, used, maxNesting);
    }

    private enum Phase : byte
    {
        Start,
        AfterComma,
        AfterValue,
    }

    public override void Step(int state, int used, byte b, ThreadList next)
    {
        if (IsWhitespace(b))
        {
            if (_atom.AllowsWhitespace && NextWhitespace(state, b) is > 0 and int after)
            {
                next.Add(this, after);
            }

            return;
        }

        if (b == ']')
        {
            if (_phase != Phase.AfterComma && _atom.CanClose(_count, _matched))
            {
                Finish(Parent, next);
            }
        }
        else if (_phase == Phase.AfterValue)
        {
            if (b == ',' && _atom.CanContinue(_count, _matched, _maxNesting - Depth))
            {
                next.Add(new ArrayFrame(_atom, Phase.AfterComma, _count, _matched, _used, _maxNesting, Parent), 0);
            }
        }
        else if (_atom.Unique is { } unique)
        {
            StepUnique(unique, b, next);
        }
        else
        {
            foreach ((ValueNode node, int[] matched) in _atom.Items(_count, _matched))
            {
                if (node.Height <= _maxNesting - Depth)
                {
                    new ValueFrame(node, new ArrayFrame(_atom, Phase.AfterValue, _atom.Cap(_count + 1), matched, null, _maxNesting, Parent), false).Step(0, -1, b, next);
                }
            }
        }
    }

    /// <summary>Goes on after a unique item, whose text is known unless a token is only being tried.</summary>
    public void EndUnique(ReadOnlySpan<byte> text, ThreadList next) =>
        next.Add(new ArrayFrame(_atom, Phase.AfterValue, _atom.Cap(_count + 1), _matched, UsedTexts.Add(_used, text.ToArray()), _maxNesting, Parent), 0);

    public override void ChildDone(ThreadList next) => next.Add(this, 0);

    protected override bool SameContent(Frame other) =>
        other is ArrayFrame o && ReferenceEquals(_atom, o._atom) && _phase == o._phase && _count == o._count && _matched.AsSpan().SequenceEqual(o._matched) && UsedTexts.Same(_used, o._used);

    private void StepUnique(TextChoice unique, byte b, ThreadList next)
    {
        if (_atom.CanContinue(_count, _matched, _maxNesting - Depth))
        {
            new ChoiceFrame(unique, _used, this).Step(0, -1, b, next);
        }
    }
}

/// <summary>Reads one of finitely many JSON texts that has not been used in the array yet.</summary>
internal sealed class ChoiceFrame(TextChoice choice, UsedTexts? used, ArrayFrame array) : Frame(array, HashCode.Combine(choice.GetHashCode(), used?.Hash ?? 0))
{
    private readonly TextChoice _choice = choice;
    private readonly UsedTexts? _used = used;

    public override void Step(int state, int used, byte b, ThreadList next)
    {
        int child = _choice.Child(state, b);
        if (child >= 0 && _choice.HasUnused(child, _used))
        {
            if (_choice.IsLeaf(child))
            {
                ((ArrayFrame)Parent!).EndUnique(_choice.TextAt(child), next);
            }
            else
            {
                next.Add(this, child);
            }
        }

        if (_choice.TextAt(state) is { Length: > 0 } text && !(_used?.Contains(text) ?? false))
        {
            ThreadList after = new() { History = next.History };
            ((ArrayFrame)Parent!).EndUnique(text, after);
            foreach (ref readonly Thread thread in after.Span)
            {
                thread.Frame!.Step(thread.State, thread.Used, b, next);
            }
        }
    }

    public override void ChildDone(ThreadList next) => throw new InvalidOperationException();

    protected override bool SameContent(Frame other) => other is ChoiceFrame o && ReferenceEquals(_choice, o._choice) && UsedTexts.Same(_used, o._used);
}
