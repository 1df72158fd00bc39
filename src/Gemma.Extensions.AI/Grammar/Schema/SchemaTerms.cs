using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>The kinds of JSON values, as a set.</summary>
[Flags]
internal enum JsonTypes : byte
{
    None = 0,
    Null = 1,
    True = 2,
    False = 4,
    Number = 8,
    String = 16,
    Array = 32,
    Object = 64,
    All = 127,
}

/// <summary>A schema that must hold, or that must not, by its place in the <see cref="SchemaDocument"/>.</summary>
internal readonly record struct SchemaLiteral(int Id, bool IsNegated = false) : IComparable<SchemaLiteral>
{
    public SchemaLiteral Complement => this with { IsNegated = !IsNegated };

    public int CompareTo(SchemaLiteral other) => (Id, IsNegated).CompareTo((other.Id, other.IsNegated));
}

/// <summary>A conjunction of literals, sorted; empty allows everything.</summary>
internal sealed class SchemaLiterals : IEquatable<SchemaLiterals>
{
    public static readonly SchemaLiterals Any = new([]);

    private readonly int _hash;

    private SchemaLiterals(SchemaLiteral[] literals)
    {
        All = literals;
        HashCode hash = new();
        foreach (SchemaLiteral literal in literals)
        {
            hash.Add(literal);
        }

        _hash = hash.ToHashCode();
    }

    public SchemaLiteral[] All { get; }

    public static SchemaLiterals Of(SchemaLiteral literal) => new([literal]);

    public SchemaLiterals And(SchemaLiterals other)
    {
        if (All.Length == 0)
        {
            return other;
        }

        return other.All.Length == 0 || Equals(other) ? this : new SchemaLiterals([.. All.Union(other.All).Order()]);
    }

    public bool Equals(SchemaLiterals? other) => other is not null && _hash == other._hash && All.AsSpan().SequenceEqual(other.All);

    public override bool Equals(object? obj) => Equals(obj as SchemaLiterals);

    public override int GetHashCode() => _hash;
}

/// <summary>One schema object's statement about keys: additional applies to names covered neither by its properties nor by its patterns.</summary>
/// <param name="Properties">The schemas of names.</param>
/// <param name="Patterns">The schemas of names that match an expression.</param>
/// <param name="Additional">The schema of all others.</param>
/// <param name="Covers">The keys that the schema itself talks about, for <see cref="ClosedObjects"/>.</param>
internal sealed record KeyClause(Dictionary<string, SchemaLiterals> Properties, IReadOnlyList<(RegexTerm Pattern, SchemaLiterals Value)> Patterns, SchemaLiterals? Additional, KeyClause.Coverage Covers)
{
    public enum Coverage
    {
        /// <summary>None: it is a condition, or follows from one.</summary>
        Nothing,

        /// <summary>The declared properties only.</summary>
        NamedOnly,

        /// <summary>Other properties too: it allows, forbids or describes them.</summary>
        Others,
    }
}

internal sealed record ObjectConstraint
{
    public IReadOnlyList<KeyClause> Clauses { get; init; } = [];

    public IReadOnlyList<string> Required { get; init; } = [];

    public IReadOnlyList<(string Name, IReadOnlyList<string> Needs)> Dependents { get; init; } = [];

    public SchemaLiterals Names { get; init; } = SchemaLiterals.Any;

    /// <summary>Containments: at least one property's name matches and its value satisfies the schemas.</summary>
    public IReadOnlyList<(RegexTerm Names, SchemaLiterals Value)> Contains { get; init; } = [];

    public int Min { get; init; }

    public int Max { get; init; } = -1;

    public ObjectConstraint And(ObjectConstraint other) => new()
    {
        Clauses = [.. Clauses, .. other.Clauses.Where(c => !Clauses.Contains(c))],
        Required = [.. Required.Union(other.Required)],
        Dependents = [.. Dependents, .. other.Dependents],
        Names = Names.And(other.Names),
        Contains = [.. Contains.Union(other.Contains)],
        Min = Math.Max(Min, other.Min),
        Max = Smaller(Max, other.Max),
    };

    public static int Smaller(int a, int b) => a < 0 ? b : b < 0 ? a : Math.Min(a, b);
}

internal sealed record ArrayConstraint
{
    public IReadOnlyList<SchemaLiterals> Prefix { get; init; } = [];

    public SchemaLiterals Rest { get; init; } = SchemaLiterals.Any;

    public int Min { get; init; }

    public int Max { get; init; } = -1;

    public IReadOnlyList<(SchemaLiterals Item, int Min, int Max)> Contains { get; init; } = [];

    /// <summary>The path of uniqueItems; null if items may repeat.</summary>
    public string? Unique { get; init; }

    public SchemaLiterals At(int index) => index < Prefix.Count ? Prefix[index] : Rest;

    public ArrayConstraint And(ArrayConstraint other) => new()
    {
        Prefix = [.. Enumerable.Range(0, Math.Max(Prefix.Count, other.Prefix.Count)).Select(i => At(i).And(other.At(i)))],
        Rest = Rest.And(other.Rest),
        Min = Math.Max(Min, other.Min),
        Max = ObjectConstraint.Smaller(Max, other.Max),
        Contains = [.. Contains.Union(other.Contains)],
        Unique = Unique ?? other.Unique,
    };
}

/// <summary>One alternative of a schema in disjunctive form: a constraint for each kind of value. Null and All: no constraint.</summary>
internal sealed record Conjunction(JsonTypes Types, RegexTerm Text, NumberConstraint Number, ArrayConstraint? Array, ObjectConstraint? Object);
