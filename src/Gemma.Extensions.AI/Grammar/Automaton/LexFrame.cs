namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>Reads one lexeme.</summary>
internal sealed class LexFrame(Lexer lexer, Frame? parent) : Frame(parent, lexer.GetHashCode())
{
    public Lexer Lexer { get; } = lexer;

    public override void Step(int state, int used, byte b, ParseStateList next)
    {
        Read(state, b, next);
        if (Lexer.IsAccepting(state))
        {
            EndThenStep(Parent, b, next);
        }
    }

    /// <summary>Reads the byte as one of the lexeme.</summary>
    public void Read(int state, byte b, ParseStateList next)
    {
        int n = Lexer.Next(state, b);
        if (n >= 0)
        {
            next.Add(this, n);
        }
        else if (n <= Lexer.FinalBase)
        {
            Finish(Parent, next);
        }
    }

    public override bool CanEnd(int state) => Lexer.IsAccepting(state);

    public override long MinContinuations(int state) => Lexer.MinContinuations(state);

    public override void ChildDone(ParseStateList next) => throw new InvalidOperationException();

    protected override bool SameContent(Frame other) => ReferenceEquals(Lexer, ((LexFrame)other).Lexer);
}

/// <summary>Reads fixed bytes.</summary>
internal sealed class LiteralFrame(byte[] bytes, Frame? parent) : Frame(parent, bytes.Length == 0 ? 0 : bytes[0] + (bytes.Length << 8))
{
    private readonly byte[] _bytes = bytes;

    public override void Step(int state, int used, byte b, ParseStateList next)
    {
        if (_bytes[state] != b)
        {
            return;
        }

        if (state + 1 == _bytes.Length)
        {
            Finish(Parent, next);
        }
        else
        {
            next.Add(this, state + 1);
        }
    }

    public override void ChildDone(ParseStateList next) => throw new InvalidOperationException();

    protected override bool SameContent(Frame other) => _bytes.AsSpan().SequenceEqual(((LiteralFrame)other)._bytes);
}
