using Gemma.Extensions.AI.Grammar.Automaton;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>The alternatives of a value by its first byte; those of one kind are read in parallel.</summary>
internal sealed record Shape(bool Null, bool True, bool False, Lexer? Strings, Lexer? Numbers, ObjectMatcher[] Objects, ArrayMatcher[] Arrays);

/// <summary>The set of values that satisfy a conjunction of schemas and complements; its shape is computed on first use.</summary>
internal sealed class ValueNode(JsonSchemaCompiler compiler, int id, SchemaLiterals literals)
{
    private Shape? _shape;

    public int Id { get; } = id;

    public SchemaLiterals Literals { get; } = literals;

    public Shape Shape => _shape ??= compiler.ShapeOf(this);

    /// <summary>True if no finite value is allowed.</summary>
    public bool IsEmpty => compiler.IsEmpty(this);

    /// <summary>The minimum nesting of a value.</summary>
    public int Height => compiler.HeightOf(this);

    /// <summary>A bound on the number of different values.</summary>
    public Cardinality Cardinality => compiler.CardinalityOf(this);

    /// <summary>Objects and arrays that may be open at a time in the whole text.</summary>
    public int MaxNesting => compiler.MaxNesting;
}

/// <summary>A JSON value as a symbol of a rule.</summary>
internal sealed record ValueSymbol(ValueNode Node) : TerminalSymbol
{
    public override void Begin(Frame? after, ParseStateList next) => next.Add(new ValueFrame(Node, after, leadingWhitespace: false), 0);
}
