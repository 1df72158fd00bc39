namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>Searches depth first for parse states that read all the bytes, where there are too many to step together.</summary>
internal ref struct ParseStateSearch(ReadOnlySpan<byte> bytes, TextHistory? history, ParseStateList found)
{
    private const int MaxSeen = 400_000;

    private readonly ReadOnlySpan<byte> _bytes = bytes;
    private readonly ParseStateList?[] _seen = new ParseStateList?[bytes.Length + 1];
    private int _seenCount;

    /// <summary>Adds the successors of the states that can read all bytes from <paramref name="depth"/> on.</summary>
    public void Search(ReadOnlySpan<ParseState> states, int depth)
    {
        ParseStateList seen = _seen[depth] ??= new ParseStateList { Limit = int.MaxValue };
        foreach (ParseState parseState in states)
        {
            if (found.Overflowed || (found.Count > 0 && _seenCount > MaxSeen))
            {
                return;
            }

            if (depth == _bytes.Length)
            {
                found.Add(parseState);
                continue;
            }

            int before = seen.Count;
            seen.Add(parseState);
            if (seen.Count == before || parseState.Frame is null)
            {
                continue;
            }

            _seenCount++;
            history?.Append(_bytes[depth]);
            ParseStateList next = new() { History = history };
            next.Step(parseState, _bytes[depth]);
            Search(next.Span, depth + 1);
            history?.Truncate(history.Length - 1);
        }
    }
}
