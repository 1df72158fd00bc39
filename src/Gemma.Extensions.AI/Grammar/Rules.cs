namespace Gemma.Extensions.AI.Grammar;

/// <summary>A symbol of a context-free rule.</summary>
internal abstract record Symbol;

/// <summary>Fixed, non-empty bytes.</summary>
internal sealed record LiteralSymbol(byte[] Bytes) : Symbol
{
    public LiteralSymbol(string text) : this(System.Text.Encoding.UTF8.GetBytes(text))
    {
    }
}

/// <summary>A regular language.</summary>
internal sealed record LexerSymbol(Lexer Lexer) : Symbol;

/// <summary>A JSON value.</summary>
internal sealed record ValueSymbol(ValueNode Node) : Symbol;

/// <summary>Another rule.</summary>
internal sealed record RuleSymbol(Rule Rule) : Symbol;

/// <summary>Alternatives of sequences.</summary>
internal sealed class Rule(string name)
{
    public string Name { get; } = name;

    public List<Symbol[]> Alternatives { get; } = [];
}

/// <summary>Stands before the symbol at <paramref name="position"/> of a sequence.</summary>
internal sealed class SequenceFrame(Symbol[] sequence, int position, Frame? parent) : Frame(parent, HashCode.Combine(System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(sequence), position))
{
    private readonly Symbol[] _sequence = sequence;
    private readonly int _position = position;

    public static void Enter(Symbol[] sequence, int position, Frame? parent, ThreadList next)
    {
        if (position == sequence.Length)
        {
            Finish(parent, next);
            return;
        }

        // The last symbol needs no frame of its sequence: right recursion does not grow the stack.
        Frame? after = position + 1 == sequence.Length ? parent : new SequenceFrame(sequence, position + 1, parent);
        switch (sequence[position])
        {
            case LiteralSymbol literal:
                next.Add(new LiteralFrame(literal.Bytes, after), 0);
                break;
            case LexerSymbol lexeme:
                next.Add(new LexFrame(lexeme.Lexer, after), lexeme.Lexer.Start);
                break;
            case ValueSymbol value:
                next.Add(new ValueFrame(value.Node, after, leadingWhitespace: false), 0);
                break;
            case RuleSymbol rule:
                System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
                foreach (Symbol[] alternative in rule.Rule.Alternatives)
                {
                    Enter(alternative, 0, after, next);
                }

                break;
        }
    }

    public override void Step(int state, int used, byte b, ThreadList next) => throw new InvalidOperationException();

    public override void ChildDone(ThreadList next) => Enter(_sequence, _position, Parent, next);

    protected override bool SameContent(Frame other) => other is SequenceFrame o && ReferenceEquals(_sequence, o._sequence) && _position == o._position;
}
