namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>One way to read the text so far: the innermost frame and its state. A null frame means that the text is complete.</summary>
/// <param name="Frame">Top of the stack.</param>
/// <param name="State">State of the lexer, position in a literal, or white space read so far.</param>
/// <param name="Used">In a key: the trie node among the keys seen before, -1 once the key differs from all of them.</param>
/// <param name="Guard">Guards of array items that may still repeat earlier ones.</param>
internal readonly record struct ParseState(Frame? Frame, int State, int Used = -1, UniqueItemsGuard? Guard = null)
{
    /// <summary>True if both go on alike: frames and guards are compared by content.</summary>
    public static bool Same(in ParseState a, in ParseState b) =>
        a.State == b.State && a.Used == b.Used && (ReferenceEquals(a.Guard, b.Guard) || (a.Guard?.Equals(b.Guard) ?? false)) && Frame.Same(a.Frame, b.Frame);

    public bool Equals(ParseState other) => Same(this, other);

    public override int GetHashCode() => HashCode.Combine(Frame?.Hash ?? 0, State, Used, Guard);
}
