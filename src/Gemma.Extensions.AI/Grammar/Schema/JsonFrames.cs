using Gemma.Extensions.AI.Grammar.Automaton;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>Stands before a JSON value.</summary>
internal sealed class ValueFrame(ValueNode node, Frame? parent, bool leadingWhitespace) : Frame(parent, HashCode.Combine(node.Id, leadingWhitespace))
{
    private static readonly byte[] s_null = "null"u8.ToArray();
    private static readonly byte[] s_true = "true"u8.ToArray();
    private static readonly byte[] s_false = "false"u8.ToArray();

    private readonly ValueNode _node = node;
    private readonly bool _leadingWhitespace = leadingWhitespace;

    private LexFrame? _string;
    private LexFrame? _number;
    private ObjectFrame[]? _objects;
    private ArrayFrame[]? _arrays;

    public override void Step(int state, int used, byte b, ParseStateList next)
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
                    next.Add(_string ??= Keep(new LexFrame(strings, Parent)), strings.Start);
                }

                break;
            case (byte)'{':
                AddObjects(next);
                break;
            case (byte)'[':
                AddArrays(next);
                break;
            case (byte)'n' when _node.Shape.Null:
                next.Add(new LiteralFrame(s_null, Parent), 1);
                break;
            case (byte)'t' when _node.Shape.True:
                next.Add(new LiteralFrame(s_true, Parent), 1);
                break;
            case (byte)'f' when _node.Shape.False:
                next.Add(new LiteralFrame(s_false, Parent), 1);
                break;
            case (byte)'-' or (>= (byte)'0' and <= (byte)'9'):
                if (_node.Shape.Numbers is { } numbers && numbers.Next(numbers.Start, b) is >= 0 and int n)
                {
                    next.Add(_number ??= Keep(new LexFrame(numbers, Parent)), n);
                }

                break;
        }
    }

    private void AddObjects(ParseStateList next)
    {
        _objects ??= [.. _node.Shape.Objects.Where(m => Depth + m.Height <= _node.MaxNesting).Select(m => Keep(new ObjectFrame(m, _node.MaxNesting, Parent)))];
        foreach (ObjectFrame frame in _objects)
        {
            next.Add(frame, 0);
        }
    }

    private void AddArrays(ParseStateList next)
    {
        _arrays ??= [.. _node.Shape.Arrays.Where(m => Depth + m.Height <= _node.MaxNesting).Select(m => Keep(new ArrayFrame(m, _node.MaxNesting, Parent)))];
        foreach (ArrayFrame frame in _arrays)
        {
            next.Add(frame, 0);
        }
    }

    public override long MinContinuations(int state) => _node.Cardinality is var v && v.Height <= _node.MaxNesting - Depth ? v.Count : 0;

    public override void ChildDone(ParseStateList next) => throw new InvalidOperationException();

    protected override bool SameContent(Frame other) => other is ValueFrame o && ReferenceEquals(_node, o._node) && _leadingWhitespace == o._leadingWhitespace;
}

/// <summary>Inside a JSON object.</summary>
internal sealed class ObjectFrame : Frame
{
    private readonly ObjectMatcher _matcher;
    private readonly Phase _phase;
    private readonly ulong[] _seen;
    private readonly int _position; // In schema order: the first declared name still allowed.
    private readonly int _count;
    private readonly int _open; // Containments still to be satisfied.
    private readonly SeenStrings? _used;
    private readonly bool _unknownKey; // An undeclared key ended within the token being tried; its text is not known.
    private readonly ValueNode? _value;
    private readonly int _maxNesting;

    private ObjectMatcher.Choice? _choice;
    private ObjectFrame? _afterComma;
    private ObjectFrame? _inKey;
    private ValueFrame? _valueFrame;
    private (int Label, ObjectFrame[] Frames)? _ended; // after the key that ended last

    public ObjectFrame(ObjectMatcher matcher, int maxNesting, Frame? parent)
        : this(matcher, Phase.Start, new ulong[matcher.Words], 0, 0, matcher.AllOpen, null, false, null, maxNesting, parent)
    {
    }

    private ObjectFrame(ObjectMatcher matcher, Phase phase, ulong[] seen, int position, int count, int open, SeenStrings? used, bool unknownKey, ValueNode? value, int maxNesting, Frame? parent)
        : base(parent, HashCode.Combine(HashCode.Combine(matcher.Id, phase, open), seen.Length == 0 ? 0 : seen[0].GetHashCode(), position, count, used?.Hash ?? 0, unknownKey, value?.Id ?? -1), nests: true)
    {
        (_matcher, _phase, _seen, _position, _count, _open, _used, _unknownKey, _value, _maxNesting) = (matcher, phase, seen, position, count, open, used, unknownKey, value, maxNesting);
    }

    public bool IsInKey => _phase == Phase.InKey;

    public KeyMatcher Keys => Choice.Keys;

    /// <summary>The keys that may come next.</summary>
    public ObjectMatcher.Choice Choice => _choice ??= _matcher.Choose(_seen, _position, _count, _open, _maxNesting - Depth);

    /// <summary>True if undeclared keys are allowed.</summary>
    public bool AllowsOthers => Choice.Others && !_unknownKey;

    public SeenStrings? Used => _used;

    public override void Step(int state, int used, byte b, ParseStateList next)
    {
        if (_phase == Phase.InKey)
        {
            StepKey(state, used, b, next);
            return;
        }

        if (IsWhitespace(b))
        {
            if (_matcher.AllowsWhitespace && NextWhitespace(state, b) is > 0 and int after)
            {
                next.Add(this, after);
            }

            return;
        }

        switch (_phase)
        {
            case Phase.Start or Phase.AfterComma when b == '"' && Choice.Any:
                _inKey ??= Keep(With(Phase.InKey));
                next.Add(_inKey, Keys.Start, _used is null ? -1 : 0);
                break;
            case Phase.Start or Phase.AfterValue when b == '}':
                if (_matcher.CanClose(_seen, _count, _open))
                {
                    Finish(Parent, next);
                }

                break;
            case Phase.AfterKey when b == ':':
                next.Add(_valueFrame ??= Keep(new ValueFrame(_value!, With(Phase.AfterValue), _matcher.AllowsWhitespace)), 0);
                break;
            case Phase.AfterValue when b == ',' && Choice.Any:
                _afterComma ??= Keep(With(Phase.AfterComma));
                next.Add(_afterComma, 0);
                break;
        }
    }

    /// <summary>True if some allowed key has the prefix of a state of the key matcher.</summary>
    public bool AllowsState(int state, int used) =>
        Keys.HasName(state, Choice.Names)
        || (AllowsOthers && Keys.HasOthers(state) && (used < 0 || _used!.CanDiffer(Keys, state, used)));

    /// <summary>Adds the states after a key; <paramref name="label"/> is the final label of the key matcher.</summary>
    public void EndKey(int label, int used, ParseStateList next)
    {
        if (label < _matcher.Names.Length)
        {
            if (!Choice.Has(label))
            {
                return;
            }
        }
        else if (!AllowsOthers || (used >= 0 && _used!.IsEnd(used)))
        {
            return;
        }

        // The text of a key outside the declared names is remembered. While tokens are tried it is not known, and all that end alike go on alike.
        ObjectFrame[] frames;
        if (next.History is not null && label >= _matcher.Names.Length)
        {
            frames = [.. AfterKey(label, SeenStrings.Add(_used, next.History.LastString()), isKnown: true)];
        }
        else
        {
            if (_ended?.Label != label)
            {
                _ended = (label, [.. AfterKey(label, _used, isKnown: label < _matcher.Names.Length).Select(Keep)]);
            }

            frames = _ended.Value.Frames;
        }

        foreach (ObjectFrame frame in frames)
        {
            next.Add(frame, 0);
        }
    }

    private IEnumerable<ObjectFrame> AfterKey(int label, SeenStrings? used, bool isKnown)
    {
        if (label >= _matcher.Names.Length)
        {
            return _matcher.ValuesOfOther(Keys.MatchedOf(label), Choice, _open, _maxNesting - Depth)
                .Select(v => new ObjectFrame(_matcher, Phase.AfterKey, _seen, _matcher.Names.Length, _matcher.CountMatters ? _count + 1 : _count, v.Open, used, !isKnown, v.Value, _maxNesting, Parent));
        }

        ulong[] seen = (ulong[])_seen.Clone();
        seen[label >> 6] |= 1UL << label;
        return _matcher.ValuesOf(label, seen, _count + 1, _open, _maxNesting - Depth)
            .Select(v => new ObjectFrame(_matcher, Phase.AfterKey, seen, label + 1, _count + 1, v.Open, used, _unknownKey, v.Value, _maxNesting, Parent));
    }

    public override long MinContinuations(int state)
    {
        bool inKey = _phase == Phase.InKey;
        long now = _phase == Phase.AfterKey && _value!.Cardinality is var v && v.Height <= _maxNesting - Depth ? v.Count : 0;
        if (AllowsOthers && _matcher.HasInfiniteOthers && (!inKey || Keys.Slice(state) is SliceKind.Free or SliceKind.Safe))
        {
            return Cardinality.Plenty;
        }

        ulong[] one = new ulong[_matcher.Words];
        foreach (int name in ObjectMatcher.Indices(Choice.Names))
        {
            one[name >> 6] = 1UL << name;
            if ((!inKey || Keys.HasName(state, one)) && _matcher.CardinalityOf(name) is var ways && ways.Height <= _maxNesting - Depth)
            {
                now = Math.Max(now, ways.Count);
            }

            one[name >> 6] = 0;
        }

        return now;
    }

    public override void ChildDone(ParseStateList next) => next.Add(this, 0);

    protected override bool SameContent(Frame other) =>
        other is ObjectFrame o && ReferenceEquals(_matcher, o._matcher) && _phase == o._phase && _position == o._position && _count == o._count && _open == o._open && _unknownKey == o._unknownKey
        && ReferenceEquals(_value, o._value) && _seen.AsSpan().SequenceEqual(o._seen) && SeenStrings.Same(_used, o._used);

    private void StepKey(int state, int used, byte b, ParseStateList next)
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

    private ObjectFrame With(Phase phase) => new(_matcher, phase, _seen, _position, _count, _open, _used, _unknownKey, null, _maxNesting, Parent);

    private enum Phase : byte
    {
        Start,
        AfterComma,
        InKey,
        AfterKey,
        AfterValue,
    }
}

/// <summary>Inside a JSON array.</summary>
internal sealed class ArrayFrame : Frame
{
    private readonly ArrayMatcher _matcher;
    private readonly Phase _phase;
    private readonly int _count;
    private readonly int[] _matched;
    private readonly JsonSet _used; // The items so far, if they must be unique.
    private readonly int _unknown; // Items completed within the token being tried; their text is not known.
    private readonly int _start; // Where the item began in the text.
    private readonly int _maxNesting;

    private ArrayFrame? _afterComma;
    private ValueFrame[]? _items;

    public ArrayFrame(ArrayMatcher matcher, int maxNesting, Frame? parent) : this(matcher, Phase.Start, 0, new int[matcher.Contains.Length], JsonSet.None, 0, 0, maxNesting, parent)
    {
    }

    private ArrayFrame(ArrayMatcher matcher, Phase phase, int count, int[] matched, JsonSet used, int unknown, int start, int maxNesting, Frame? parent)
        : base(parent, HashCode.Combine(matcher.Id, phase, count, matched.Length == 0 ? 0 : matched[0], used.Hash, unknown), nests: true)
    {
        (_matcher, _phase, _count, _matched, _used, _unknown, _start, _maxNesting) = (matcher, phase, count, matched, used, unknown, start, maxNesting);
    }

    public override void Step(int state, int used, byte b, ParseStateList next)
    {
        if (IsWhitespace(b))
        {
            if (_matcher.AllowsWhitespace && NextWhitespace(state, b) is > 0 and int after)
            {
                next.Add(this, after);
            }

            return;
        }

        if (b == ']')
        {
            if (_phase != Phase.AfterComma && _matcher.CanClose(_count, _matched))
            {
                Finish(Parent, next);
            }
        }
        else if (_phase == Phase.AfterValue)
        {
            if (b == ',' && _matcher.CanContinue(_count, _matched, _maxNesting - Depth))
            {
                next.Add(_afterComma ??= Keep(new ArrayFrame(_matcher, Phase.AfterComma, _count, _matched, _used, _unknown, 0, _maxNesting, Parent)), 0);
            }
        }
        else if (_phase == Phase.AfterComma || _matcher.CanContinue(_count, _matched, _maxNesting - Depth))
        {
            UniqueItemsGuard? outer = next.Guard;
            SeenValueMatcher? seen = SeenValueMatcher.To(_used)?.Step(b);
            next.Guard = seen is null && _unknown == 0 ? outer : new UniqueItemsGuard(seen, _unknown, Depth, outer);
            // Where items began matters only for unique ones, and only while their text is known.
            foreach (ValueFrame item in _matcher.IsUnique && next.History is not null ? Items(next.History.Length - 1) : _items ??= [.. Items(0).Select(Keep)])
            {
                item.Step(0, -1, b, next);
            }

            next.Guard = outer;
        }
    }

    public override long MinContinuations(int state) =>
        !_matcher.CanContinue(_count, _matched, _maxNesting - Depth) ? 0
        : _matcher.IsUnbounded ? Cardinality.Plenty
        : _matcher.Items(_count, _matched, _maxNesting - Depth).Select(static item => item.Node.Cardinality).Where(v => v.Height <= _maxNesting - Depth).Select(static v => v.Count).DefaultIfEmpty(0).Max() - (_matcher.IsUnique ? _used.Count + _unknown + (_phase == Phase.InItem ? 1 : 0) : 0);

    public override void ChildDone(ParseStateList next)
    {
        if (!_matcher.IsUnique)
        {
            next.Add(this, 0);
            return;
        }

        UniqueItemsGuard? guard = next.Guard;
        if (guard?.Depth == Depth)
        {
            if (guard.MayRepeat)
            {
                next.Blocked = true;
                return;
            }

            next.Guard = guard.Outer;
        }

        (JsonSet used, int unknown) = next.History is null ? (_used, _unknown + 1) : (_used.With(JsonTree.Parse(next.History.From(_start, next.Ahead))), _unknown);
        next.Add(new ArrayFrame(_matcher, Phase.AfterValue, _count, _matched, used, unknown, 0, _maxNesting, Parent), 0);
        next.Guard = guard;
    }

    private IEnumerable<ValueFrame> Items(int start) => _matcher.Items(_count, _matched, _maxNesting - Depth).Select(item => new ValueFrame(
        item.Node, new ArrayFrame(_matcher, _matcher.IsUnique ? Phase.InItem : Phase.AfterValue, _matcher.Cap(_count + 1), item.Matched, _used, _unknown, start, _maxNesting, Parent), false));

    protected override bool SameContent(Frame other) =>
        other is ArrayFrame o && ReferenceEquals(_matcher, o._matcher) && _phase == o._phase && _count == o._count && _matched.AsSpan().SequenceEqual(o._matched) && _unknown == o._unknown && JsonSet.Same(_used, o._used);

    private enum Phase : byte
    {
        Start,
        AfterComma,
        InItem,
        AfterValue,
    }
}
