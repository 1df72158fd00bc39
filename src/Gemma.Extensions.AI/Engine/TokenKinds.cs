namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Which tokens of a sequence are of its prompt and which were generated, where a backend multiplies the two by different kernels. What has been computed
/// keeps its kind: a sequence that lost its memory computes each token again as it was computed first, and takes from the prefix cache only what was computed so.
/// A token of the prompt that has not been computed yet takes the kind of what the cache holds, an earlier answer for example.
/// </summary>
internal sealed class TokenKinds
{
    private readonly bool[] _generated; // empty: kinds make no difference
    private int _settled; // tokens computed at least once, from the first on

    private TokenKinds(bool[] generated) => _generated = generated;

    /// <summary>Kinds for a backend that treats all rows alike.</summary>
    public static TokenKinds Alike { get; } = new([]);

    /// <summary>Kinds of a sequence of at most <paramref name="tokens"/> tokens that begins with a prompt.</summary>
    public static TokenKinds Of(int tokens, int promptTokens)
    {
        bool[] generated = new bool[tokens];
        generated.AsSpan(Math.Min(tokens, promptTokens)).Fill(true);
        return new TokenKinds(generated);
    }

    public bool IsPrompt(int position) => _generated.Length > 0 && !_generated[position];

    /// <summary>Length of the run of one kind at the start of some tokens.</summary>
    public int Run(int position, int count)
    {
        if (_generated.Length == 0 || count == 0)
        {
            return count;
        }

        int other = _generated.AsSpan(position, count).IndexOf(!_generated[position]);
        return other < 0 ? count : other;
    }

    /// <summary>The kinds of some tokens; empty where they make no difference.</summary>
    public ReadOnlySpan<bool> Slice(int position, int count) => _generated.Length == 0 ? default : _generated.AsSpan(position, count);

    /// <summary>Number of leading cached tokens that are of the kinds this sequence needs.</summary>
    public int Usable(int position, ReadOnlySpan<bool> cached)
    {
        for (int i = 0; _generated.Length > 0 && i < cached.Length; i++)
        {
            bool open = position + i >= _settled && !_generated[position + i];
            if (!open && _generated[position + i] != cached[i])
            {
                return i;
            }
        }

        return cached.Length;
    }

    /// <summary>Takes over the kinds of cached tokens that the sequence goes on from.</summary>
    public void Adopt(int position, ReadOnlySpan<bool> cached)
    {
        if (_generated.Length > 0)
        {
            cached.CopyTo(_generated.AsSpan(position));
        }
    }

    /// <summary>True if cached tokens were computed as these.</summary>
    public bool Equal(int position, ReadOnlySpan<bool> cached) => _generated.Length == 0 || _generated.AsSpan(position, cached.Length).SequenceEqual(cached);

    /// <summary>Records that the first tokens are computed.</summary>
    public void Settle(int computed) => _settled = Math.Max(_settled, computed);
}
