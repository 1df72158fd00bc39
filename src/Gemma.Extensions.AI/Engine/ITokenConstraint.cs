namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Restricts which tokens a sequence may continue with. One instance belongs to one sequence and is used by one thread at a time;
/// what is compiled is shared behind it.
/// </summary>
internal interface ITokenConstraint
{
    /// <summary>Called on another thread when <see cref="TryPrepare"/> can be called again.</summary>
    Action? WhenPrepared { set { } }

    /// <summary>
    /// Computes the next mask. False: it exceeds the budget and continues on another thread; until <see cref="WhenPrepared"/> is called, any other member would
    /// block. True: <see cref="TryFillMask"/> is quick.
    /// </summary>
    /// <param name="budget">Work units for this thread, about 4 ns each; receives the remainder.</param>
    bool TryPrepare(ref long budget) => true;

    /// <summary>Cancels work on other threads: the mask is no longer needed.</summary>
    void Stop()
    {
    }

    /// <summary>
    /// Writes the tokens allowed next: bit (id &amp; 63) of mask[id &gt;&gt; 6]. Never empty: where only the end is possible, the end tokens are set.
    /// False: everything is allowed now and <paramref name="mask"/> was not written.
    /// </summary>
    bool TryFillMask(Span<ulong> mask);

    /// <summary>True if the token may come next. Does not change the state.</summary>
    bool IsAllowed(int token);

    /// <summary>Advances by a token. The token must be allowed.</summary>
    void Accept(int token);

    /// <summary>
    /// The tokens that must come next whatever the model says, as greedy decoding under the mask would give them; empty where there is a choice, or
    /// finding out takes more than the budget.
    /// </summary>
    int GetForcedTokens(Span<int> tokens, ref long budget);

    /// <summary>An independent copy in the same state (speculative decoding).</summary>
    ITokenConstraint Clone();
}
