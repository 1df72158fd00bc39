namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>One way to read the text so far: the innermost frame with its state. Frame null: the text is complete.</summary>
/// <param name="Frame">Top of the stack.</param>
/// <param name="State">Lexer state, position in a literal, or white space read before what comes next.</param>
/// <param name="Used">In a key: node of the names used before, -1 when the text differs from all.</param>
/// <param name="Guard">Of items of arrays that may still become ones that came before.</param>
internal readonly record struct ParseState(Frame? Frame, int State, int Used = -1, UniqueItemsGuard? Guard = null);
