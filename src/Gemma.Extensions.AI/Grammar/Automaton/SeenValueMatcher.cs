using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>
/// Matches a JSON value against earlier values while it is read, whatever the spelling of either. Immutable; null stands for a value that differs from all.
/// </summary>
internal sealed partial class SeenValueMatcher : IEquatable<SeenValueMatcher>
{
    private static readonly System.Text.RegularExpressions.Regex s_escape = Escapes();

    private readonly SeenValueMatcher? _outer; // The match of the enclosing object or array.
    private readonly State _state;
    private readonly JsonSet _values; // Candidates for the value, or for the enclosing object or array.
    private readonly string? _name; // Of the property that is being read.
    private readonly int _count; // Of properties or items that were read.
    private readonly JsonSet.Index? _texts;
    private readonly int _low;
    private readonly int _high;
    private readonly int _offset; // Into the texts or the literal.
    private readonly string _spelled; // The part of an escape or number read so far.
    private readonly int _hash;

    private SeenValueMatcher(SeenValueMatcher? outer, State state, JsonSet values, string? name = null, int count = 0, JsonSet.Index? texts = null, int low = 0, int high = 0, int offset = 0, string spelled = "")
    {
        (_outer, _state, _values, _name, _count, _texts, _low, _high, _offset, _spelled) = (outer, state, values, name, count, texts, low, high, offset, spelled);
        _hash = HashCode.Combine(outer?._hash ?? 0, state, values.Hash, name, HashCode.Combine(count, low, high, offset), spelled);
    }

    /// <summary>An upper bound on the values that still match.</summary>
    public int Count => _outer?.Count ?? (_state is State.Text ? _high - _low : _values.Count);

    /// <summary>True if the value, were it to end here, equals an earlier one.</summary>
    public bool IsWhole => _state == State.End || (_state == State.Number && _outer is null && NumberRead() is not null);

    /// <summary>The matcher before the first byte; null if there are no values.</summary>
    public static SeenValueMatcher? To(JsonSet values) => values.Count == 0 ? null : new SeenValueMatcher(null, State.Value, values);

    /// <summary>After one more byte of a JSON text; null once the value differs from all.</summary>
    public SeenValueMatcher? Step(byte b)
    {
        GrammarWork.Spend(5);
        switch (_state)
        {
            case State.Text or State.Name:
                return StepText(b);
            case State.Number:
                return IsOfNumber(b) ? With(State.Number, spelled: _spelled + (char)b)
                    : _outer is null ? this // The number has ended; IsWhole decides.
                    : NumberRead() is { } number ? _outer.After(number)?.Step(b) : null;
            case State.Literal:
                JsonTree literal = _values.Values[0];
                return _offset + 1 < (literal.Kind == JsonValueKind.False ? 5 : 4) ? With(State.Literal, offset: _offset + 1) : Ended(literal);
        }

        if (b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t')
        {
            return this;
        }

        switch (_state)
        {
            case State.Value:
                return Begin(b);
            case State.Colon:
                return new SeenValueMatcher(this, State.Value, JsonSet.Of(Parts(_values, v => v.Members.GetValueOrDefault(_name!))));
            case State.Object when b == '"':
                JsonSet.Index names = new(Names().Select(Encoding.UTF8.GetBytes));
                return names.Count == 0 ? null : new SeenValueMatcher(_outer, State.Name, _values, null, _count, names, 0, names.Count);
            case State.Object when b == '}':
                return Parts(_values, v => v.Members.Count == _count ? v : null).FirstOrDefault() is { } whole ? Ended(whole) : null;
            case State.Array when b == ']':
                return Parts(_values, v => v.Items.Length == _count ? v : null).FirstOrDefault() is { } list ? Ended(list) : null;
            case State.Array when b != ',':
                JsonSet items = JsonSet.Of(Parts(_values, v => _count < v.Items.Length ? v.Items[_count] : null));
                return items.Count == 0 ? null : new SeenValueMatcher(this, State.Value, items).Step(b);
            default:
                return this; // A comma.
        }
    }

    public bool Equals(SeenValueMatcher? other) =>
        ReferenceEquals(this, other) || (other is not null && _hash == other._hash && _state == other._state && _name == other._name && _count == other._count && _low == other._low && _high == other._high
            && _offset == other._offset && _spelled == other._spelled && JsonSet.Same(_values, other._values) && (_outer is null ? other._outer is null : _outer.Equals(other._outer)));

    public override bool Equals(object? obj) => Equals(obj as SeenValueMatcher);

    public override int GetHashCode() => _hash;

    private static List<JsonTree> Parts(JsonSet values, Func<JsonTree, JsonTree?> part)
    {
        List<JsonTree> parts = [];
        foreach (JsonTree value in values.Values)
        {
            if (part(value) is { } one)
            {
                parts.Add(one);
            }
        }

        return parts;
    }

    private HashSet<string> Names()
    {
        HashSet<string> names = [];
        foreach (JsonTree value in _values.Values)
        {
            names.UnionWith(value.Members.Keys);
        }

        return names;
    }

    private SeenValueMatcher? Begin(byte b)
    {
        JsonValueKind kind = b switch
        {
            (byte)'"' => JsonValueKind.String,
            (byte)'{' => JsonValueKind.Object,
            (byte)'[' => JsonValueKind.Array,
            (byte)'t' => JsonValueKind.True,
            (byte)'f' => JsonValueKind.False,
            (byte)'n' => JsonValueKind.Null,
            _ => JsonValueKind.Number,
        };
        if (kind == JsonValueKind.String)
        {
            return _values.Strings.Count == 0 ? null : With(State.Text, texts: _values.Strings, high: _values.Strings.Count);
        }

        JsonSet alike = JsonSet.Of(Parts(_values, v => v.Kind == kind ? v : null));
        return alike.Count == 0 ? null : kind switch
        {
            JsonValueKind.Object => new SeenValueMatcher(_outer, State.Object, alike),
            JsonValueKind.Array => new SeenValueMatcher(_outer, State.Array, alike),
            JsonValueKind.Number => new SeenValueMatcher(_outer, State.Number, alike, spelled: ((char)b).ToString()),
            _ => new SeenValueMatcher(_outer, State.Literal, alike, offset: 1),
        };
    }

    private SeenValueMatcher? StepText(byte b)
    {
        if (_spelled.Length > 0 || b == '\\')
        {
            return StepEscape(_spelled + (char)b);
        }

        return b == '"' ? EndText() : Narrowed([b]);
    }

    private SeenValueMatcher? StepEscape(string escape)
    {
        if (!s_escape.IsMatch(escape))
        {
            return null; // No text of the grammar.
        }

        if (escape.Length == 1 || (escape[1] == 'u' && escape.Length < 6) || (escape.Length is > 6 and < 12))
        {
            return With(_state, spelled: escape);
        }

        if (escape[1] != 'u')
        {
            return Narrowed([(byte)(escape[1] switch { 'n' => '\n', 't' => '\t', 'r' => '\r', 'b' => '\b', 'f' => '\f', char c => c })]);
        }

        char first = Hex(escape, 2);
        return !char.IsHighSurrogate(first) ? Narrowed(Encoding.UTF8.GetBytes([first]))
            : escape.Length < 12 ? With(_state, spelled: escape) : Narrowed(Encoding.UTF8.GetBytes([first, Hex(escape, 8)]));
    }

    /// <summary>Escapes and their prefixes; the escapes of a surrogate pair are read as one.</summary>
    [System.Text.RegularExpressions.GeneratedRegex("""^\\(?:[^u]?|u(?:[0-9A-Fa-f]{0,4}|[dD][89abAB][0-9A-Fa-f]{2}\\?(?:(?<=\\)u[0-9A-Fa-f]{0,4})?))$""")]
    private static partial System.Text.RegularExpressions.Regex Escapes();

    private static char Hex(string text, int start) => (char)int.Parse(text.AsSpan(start, 4), System.Globalization.NumberStyles.HexNumber, System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>The texts that continue with these bytes.</summary>
    private SeenValueMatcher? Narrowed(ReadOnlySpan<byte> bytes)
    {
        (int low, int high) = (_low, _high);
        for (int i = 0; i < bytes.Length && low < high; i++)
        {
            (low, high) = _texts!.Next(low, high, _offset + i, bytes[i]);
        }

        return low == high ? null : new SeenValueMatcher(_outer, _state, _values, _name, _count, _texts, low, high, _offset + bytes.Length);
    }

    private SeenValueMatcher? EndText()
    {
        byte[] text = _texts![_low]; // The shortest is the first.
        if (text.Length != _offset)
        {
            return null;
        }

        if (_state == State.Text)
        {
            return Ended(Parts(_values, v => v.Kind == JsonValueKind.String && v.Text.AsSpan().SequenceEqual(text) ? v : null)[0]);
        }

        string name = Encoding.UTF8.GetString(text);
        return new SeenValueMatcher(_outer, State.Colon, JsonSet.Of(Parts(_values, v => v.Members.ContainsKey(name) ? v : null)), name, _count);
    }

    private static bool IsOfNumber(byte b) => b is (>= (byte)'0' and <= (byte)'9') or (byte)'-' or (byte)'+' or (byte)'.' or (byte)'e' or (byte)'E';

    private JsonTree? NumberRead()
    {
        // The grammar lets it end only where it is a number.
        return !JsonTree.TryReadNumber(Encoding.ASCII.GetBytes(_spelled), out double number) ? null : Parts(_values, v => v.Number.Equals(number) ? v : null).FirstOrDefault();
    }

    private SeenValueMatcher Ended(JsonTree value) => _outer is null ? new SeenValueMatcher(null, State.End, JsonSet.Of([value])) : _outer.After(value)!;

    /// <summary>In the object or array, after a property or item of it.</summary>
    private SeenValueMatcher? After(JsonTree part)
    {
        bool isObject = _state == State.Colon;
        List<JsonTree> alike = Parts(_values, v => (isObject ? v.Members[_name!] : _count < v.Items.Length ? v.Items[_count] : null) is { } own && own.Equals(part) ? v : null);
        return alike.Count == 0 ? null : new SeenValueMatcher(_outer, isObject ? State.Object : State.Array, JsonSet.Of(alike), null, _count + 1);
    }

    private SeenValueMatcher With(State state, JsonSet.Index? texts = null, int high = -1, int offset = -1, string spelled = "") =>
        new(_outer, state, _values, _name, _count, texts ?? _texts, _low, high < 0 ? _high : high, offset < 0 ? _offset : offset, spelled);

    private enum State : byte
    {
        /// <summary>Before a value.</summary>
        Value,

        /// <summary>In a string.</summary>
        Text,

        /// <summary>In a name of a property.</summary>
        Name,

        /// <summary>After a name.</summary>
        Colon,

        /// <summary>In a number.</summary>
        Number,

        /// <summary>In true, false or null.</summary>
        Literal,

        /// <summary>In an object, before a name or the end.</summary>
        Object,

        /// <summary>In an array, before an item or the end.</summary>
        Array,

        /// <summary>The whole value was read.</summary>
        End,
    }
}
