namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Restricts which tokens a sequence may continue with. One instance belongs to one sequence and is used by one thread at a time;
/// what is compiled is shared behind it.
/// </summary>
internal interface ITokenConstraint
{
    /// <summary>
    /// Writes the tokens allowed next: bit (id &amp; 63) of mask[id &gt;&gt; 6]. Never empty: where only the end is possible, the end tokens are set.
    /// False: everything is allowed now and <paramref name="mask"/> was not written.
    /// </summary>
    bool TryFillMask(Span<ulong> mask);

    /// <summary>Whether the token may come next, without changing the state.</summary>
    bool IsAllowed(int token);

    /// <summary>Advances by a token. The token must be allowed.</summary>
    void Accept(int token);

    /// <summary>The tokens that must come next whatever the model says, as greedy decoding under the mask would give them; empty where there is a choice.</summary>
    int GetForcedTokens(Span<int> tokens);

    /// <summary>An independent copy in the same state (speculative decoding).</summary>
    ITokenConstraint Clone();
}
