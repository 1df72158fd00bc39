namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Guesses the next tokens of a sequence by finding where its last tokens occurred before (prompt lookup). A guess costs rows in the next step;
/// a right one saves whole steps. How much is guessed follows how often guesses of this sequence were right.
/// </summary>
internal static class NGramDraft
{
    private const int LongestKey = 4;
    private const int ShortestKey = 2;

    /// <summary>Steps without a guess after even a guess of one token was wrong.</summary>
    private const int Pause = 12;

    /// <summary>At most <paramref name="most"/> tokens that followed the last tokens of the sequence where they occurred last; empty where they never did.</summary>
    public static ReadOnlySpan<int> Propose(Sequence sequence, int most)
    {
        ReadOnlySpan<int> tokens = sequence.Tokens;
        int limit = Math.Min(most, sequence.DraftLimit);
        if (limit <= 0)
        {
            sequence.DraftLimit++;
            return default;
        }

        for (int length = Math.Min(LongestKey, tokens.Length - 1); length >= ShortestKey; length--)
        {
            int found = tokens[..^1].LastIndexOf(tokens[^length..]);
            if (found >= 0)
            {
                int start = found + length;
                return tokens.Slice(start, Math.Min(limit, tokens.Length - start));
            }
        }

        return default;
    }

    /// <summary>Adjusts how much is guessed after a step has checked the guesses.</summary>
    public static void Learn(Sequence sequence, int most)
    {
        sequence.DraftLimit = sequence.AcceptedDraft switch
        {
            0 => sequence.DraftLimit > 1 ? sequence.DraftLimit / 2 : -Pause,
            int accepted when accepted == sequence.DraftCount => Math.Min(most, 2 * sequence.DraftLimit + 1),
            int accepted => accepted + 1,
        };
    }
}
