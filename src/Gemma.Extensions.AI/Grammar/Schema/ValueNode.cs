using Gemma.Extensions.AI.Grammar.Automaton;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>What a value may be, by its first byte. Alternatives are read in parallel.</summary>
internal sealed record Shape(bool Null, bool True, bool False, Lexer? Strings, Lexer? Numbers, ObjectMatcher[] Objects, ArrayMatcher[] Arrays);

/// <summary>A set of values given by schemas that must (or must not) hold; its shape is worked out when it is first needed.</summary>
internal sealed class ValueNode(JsonSchemaCompiler compiler, int id, SchemaLiterals literals)
{
    private Shape? _shape;

    public int Id { get; } = id;

    public SchemaLiterals Literals { get; } = literals;

    public Shape Shape => _shape ??= compiler.ShapeOf(this);

    /// <summary>Whether no finite value is allowed.</summary>
    public bool IsEmpty => compiler.IsEmpty(this);

    /// <summary>The fewest objects and arrays that are open at a time in a value.</summary>
    public int Height => compiler.HeightOf(this);

    /// <summary>How many different values there are.</summary>
    public Cardinality Cardinality => compiler.CardinalityOf(this);

    /// <summary>Objects and arrays that may be open at a time in the whole text.</summary>
    public int MaxNesting => compiler.MaxNesting;
}

/// <summary>A JSON value as a symbol of a rule.</summary>
internal sealed record ValueSymbol(ValueNode Node) : TerminalSymbol
{
    public override void Begin(Frame? after, ParseStateList next) => next.Add(new ValueFrame(Node, after, leadingWhitespace: false), 0);
}
