namespace Gemma.Extensions.AI.Engine;

/// <summary>Rows of the embedding that stand for no token: padding after the last one, and gaps between. Their logits are noise, so none of them is ever drawn.</summary>
internal sealed class TokenGaps
{
    private readonly (int Start, int Count)[] _ranges;

    private TokenGaps((int, int)[] ranges) => _ranges = ranges;

    /// <summary>Every row has its token.</summary>
    public static TokenGaps None { get; } = new([]);

    /// <summary>Rows in runs; one run at the end in most models that have any.</summary>
    /// <param name="rows">Rows of the embedding.</param>
    /// <param name="hasToken">Whether a row has a token.</param>
    public static TokenGaps Of(int rows, Func<int, bool> hasToken)
    {
        List<(int, int)> ranges = [];
        for (int id = 0; id < rows; id++)
        {
            int start = id;
            while (id < rows && !hasToken(id))
            {
                id++;
            }

            if (id > start)
            {
                ranges.Add((start, id - start));
            }
        }

        return ranges.Count == 0 ? None : new TokenGaps([.. ranges]);
    }

    /// <summary>Makes them impossible.</summary>
    /// <param name="logits">[rows]</param>
    public void Forbid(Span<float> logits)
    {
        foreach ((int start, int count) in _ranges)
        {
            logits.Slice(start, count).Fill(float.NegativeInfinity);
        }
    }
}
