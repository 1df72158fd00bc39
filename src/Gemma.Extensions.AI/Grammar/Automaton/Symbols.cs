namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>A symbol of a context-free rule.</summary>
internal abstract record Symbol;

/// <summary>A symbol read by a frame of its own, as opposed to a rule.</summary>
internal abstract record TerminalSymbol : Symbol
{
    /// <summary>Adds the parse state before the symbol's first byte; <paramref name="after"/> reads on behind it.</summary>
    public abstract void Begin(Frame? after, ParseStateList next);
}

/// <summary>Fixed, non-empty bytes.</summary>
internal sealed record LiteralSymbol(byte[] Bytes) : TerminalSymbol
{
    public LiteralSymbol(string text) : this(System.Text.Encoding.UTF8.GetBytes(text))
    {
    }

    public override void Begin(Frame? after, ParseStateList next) => next.Add(new LiteralFrame(Bytes, after), 0);
}

/// <summary>A regular language.</summary>
internal sealed record LexerSymbol(Lexer Lexer) : TerminalSymbol
{
    public override void Begin(Frame? after, ParseStateList next) => next.Add(new LexFrame(Lexer, after), Lexer.Start);
}

/// <summary>Another rule.</summary>
internal sealed record RuleSymbol(Rule Rule) : Symbol;

/// <summary>Alternatives of sequences.</summary>
internal sealed class Rule(string name)
{
    public string Name { get; } = name;

    public List<Symbol[]> Alternatives { get; } = [];
}
