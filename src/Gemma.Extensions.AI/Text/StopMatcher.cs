using System.Text;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// Finds stop sequences in streamed text by ordinal comparison. A possible beginning of one is held back until it is decided;
/// neither a stop sequence nor the text after it is ever output.
/// </summary>
internal sealed class StopMatcher
{
    private readonly string[] _stops;
    private readonly int[][] _fallbacks; // by characters matched: how many are still matched where the next one differs
    private readonly int[] _matched;
    private readonly StringBuilder _held = new();

    /// <param name="stopSequences">Empty ones are ignored.</param>
    public StopMatcher(IReadOnlyList<string> stopSequences)
    {
        _stops = [.. stopSequences.Where(static stop => stop.Length > 0)];
        _fallbacks = [.. _stops.Select(Fallbacks)];
        _matched = new int[_stops.Length];
    }

    /// <summary>The stop sequence that was found; null: none so far.</summary>
    public string? Found { get; private set; }

    /// <summary>Consumes text and appends the part that can no longer belong to a stop sequence.</summary>
    /// <returns>True if a stop sequence is complete: the answer ends with the appended text.</returns>
    public bool Append(StringBuilder text, StringBuilder output)
    {
        foreach (ReadOnlyMemory<char> chunk in text.GetChunks())
        {
            if (Append(chunk.Span, output))
            {
                return true;
            }
        }

        return false;
    }

    /// <inheritdoc cref="Append(StringBuilder, StringBuilder)"/>
    public bool Append(ReadOnlySpan<char> text, StringBuilder output)
    {
        if (_stops.Length == 0)
        {
            output.Append(text);
            return false;
        }

        foreach (char next in text)
        {
            _held.Append(next);
            int keep = 0;
            int complete = 0;
            for (int i = 0; i < _stops.Length; i++)
            {
                string stop = _stops[i];
                int matched = _matched[i];
                while (matched > 0 && stop[matched] != next)
                {
                    matched = _fallbacks[i][matched];
                }

                _matched[i] = matched += stop[matched] == next ? 1 : 0;
                keep = Math.Max(keep, matched);
                if (matched == stop.Length && matched > complete)
                {
                    complete = matched;
                    Found = stop;
                }
            }

            if (complete > 0)
            {
                Release(complete, output);
                _held.Clear();
                return true;
            }

            Release(keep, output);
        }

        return false;
    }

    /// <summary>Appends the text held back: the answer has ended for another reason.</summary>
    public void Flush(StringBuilder output)
    {
        Release(0, output);
        Array.Clear(_matched);
    }

    private void Release(int keep, StringBuilder output)
    {
        int release = _held.Length - keep;
        if (release > 0)
        {
            output.Append(_held, 0, release);
            _held.Remove(0, release);
        }
    }

    /// <summary>Knuth, Morris and Pratt's table: for each count of matched characters, the longest shorter prefix that they end with.</summary>
    private static int[] Fallbacks(string stop)
    {
        int[] fallbacks = new int[stop.Length];
        for (int i = 2; i < stop.Length; i++)
        {
            int matched = fallbacks[i - 1];
            while (matched > 0 && stop[matched] != stop[i - 1])
            {
                matched = fallbacks[matched];
            }

            fallbacks[i] = matched + (stop[matched] == stop[i - 1] ? 1 : 0);
        }

        return fallbacks;
    }
}
