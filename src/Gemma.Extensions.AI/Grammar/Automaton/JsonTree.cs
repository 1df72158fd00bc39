using System.Text;
using System.Text.Json;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>
/// A JSON value from the text, compared by value: properties in any order, strings by character, numbers as doubles (the coarsest comparison that any reader makes).
/// </summary>
internal sealed class JsonTree : IEquatable<JsonTree>
{
    private static readonly Dictionary<string, JsonTree> s_none = [];

    private readonly int _hash;

    private JsonTree(JsonElement e)
    {
        Kind = e.ValueKind;
        HashCode hash = new();
        hash.Add(Kind);
        switch (Kind)
        {
            case JsonValueKind.String:
                Text = Encoding.UTF8.GetBytes(e.GetString()!);
                hash.AddBytes(Text);
                break;
            case JsonValueKind.Number:
                TryReadNumber(Encoding.ASCII.GetBytes(e.GetRawText()), out double number);
                Number = number;
                hash.Add(Number);
                break;
            case JsonValueKind.Array:
                Items = [.. e.EnumerateArray().Select(static item => new JsonTree(item))];
                foreach (JsonTree item in Items)
                {
                    hash.Add(item._hash);
                }

                break;
            case JsonValueKind.Object:
                Members = [];
                foreach (JsonProperty p in e.EnumerateObject())
                {
                    Members[p.Name] = new JsonTree(p.Value);
                }

                int all = 0;
                foreach ((string name, JsonTree value) in Members)
                {
                    all ^= HashCode.Combine(name, value._hash);
                }

                hash.Add(all);
                break;
        }

        _hash = hash.ToHashCode();
    }

    public JsonValueKind Kind { get; }

    /// <summary>The characters of a string, as UTF-8.</summary>
    public byte[] Text { get; } = [];

    public double Number { get; }

    public JsonTree[] Items { get; } = [];

    public Dictionary<string, JsonTree> Members { get; } = s_none;

    public static JsonTree Parse(ReadOnlySpan<byte> json)
    {
        Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = int.MaxValue });
        using JsonDocument document = JsonDocument.ParseValue(ref reader);
        return new JsonTree(document.RootElement);
    }

    /// <summary>Minus zero is zero.</summary>
    public static bool TryReadNumber(ReadOnlySpan<byte> text, out double number)
    {
        bool isNumber = double.TryParse(text, System.Globalization.NumberStyles.Float, System.Globalization.CultureInfo.InvariantCulture, out number);
        number += 0.0;
        return isNumber;
    }

    public bool Equals(JsonTree? other)
    {
        if (ReferenceEquals(this, other))
        {
            return true;
        }

        if (other is null || _hash != other._hash || Kind != other.Kind)
        {
            return false;
        }

        return Kind switch
        {
            JsonValueKind.String => Text.AsSpan().SequenceEqual(other.Text),
            JsonValueKind.Number => Number.Equals(other.Number),
            JsonValueKind.Array => Items.AsSpan().SequenceEqual(other.Items),
            JsonValueKind.Object => Members.Count == other.Members.Count && Members.All(m => other.Members.TryGetValue(m.Key, out JsonTree? value) && m.Value.Equals(value)),
            _ => true,
        };
    }

    public override bool Equals(object? obj) => Equals(obj as JsonTree);

    public override int GetHashCode() => _hash;
}

/// <summary>An immutable set of values that were written.</summary>
internal sealed class JsonSet
{
    public static readonly JsonSet None = new([]);

    private readonly JsonTree[] _values;
    private Index? _strings;

    private JsonSet(JsonTree[] values)
    {
        _values = values;
        foreach (JsonTree value in values)
        {
            Hash += value.GetHashCode();
        }
    }

    public int Hash { get; }

    public int Count => _values.Length;

    public ReadOnlySpan<JsonTree> Values => _values;

    /// <summary>The strings among them.</summary>
    public Index Strings => _strings ??= new Index(_values.Where(static v => v.Kind == JsonValueKind.String).Select(static v => v.Text));

    public static JsonSet Of(IEnumerable<JsonTree> values) => new([.. values.Distinct()]);

    public JsonSet With(JsonTree value) => _values.Contains(value) ? this : new JsonSet([.. _values, value]);

    public static bool Same(JsonSet a, JsonSet b) =>
        ReferenceEquals(a, b) || (a.Hash == b.Hash && a.Count == b.Count && (a._values.AsSpan().SequenceEqual(b._values) || a._values.ToHashSet().SetEquals(b._values)));

    /// <summary>Texts sorted by their bytes, so that those with a common prefix are neighbours.</summary>
    internal sealed class Index
    {
        private readonly byte[][] _texts;

        public Index(IEnumerable<byte[]> texts)
        {
            _texts = [.. texts];
            Array.Sort(_texts, static (a, b) => a.AsSpan().SequenceCompareTo(b));
        }

        public int Count => _texts.Length;

        public byte[] this[int i] => _texts[i];

        /// <summary>Narrows a range of texts with a common prefix to those that continue with a byte.</summary>
        public (int Low, int High) Next(int low, int high, int offset, byte b)
        {
            return (Find(low, high, offset, b), Find(low, high, offset, b + 1));
        }

        private int Find(int low, int high, int offset, int b)
        {
            while (low < high)
            {
                int middle = (low + high) >> 1;
                if (_texts[middle].Length <= offset || _texts[middle][offset] < b)
                {
                    low = middle + 1;
                }
                else
                {
                    high = middle;
                }
            }

            return low;
        }
    }
}
