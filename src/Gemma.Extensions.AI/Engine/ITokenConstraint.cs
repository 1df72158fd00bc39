namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Restricts which tokens a sequence may continue with. One instance belongs to one sequence and is used by one thread at a time;
/// what is compiled is shared behind it.
/// </summary>
internal interface ITokenConstraint
{
    /// <summary>
    /// Works out what the next mask takes. False: that is more than the budget, and it goes on beside the caller's thread until it is worth asking again;
    /// nothing else is to be asked meanwhile, for it would wait. True: <see cref="TryFillMask"/> is quick.
    /// </summary>
    /// <param name="budget">Counted work that may be done on this thread, about 4 ns each; what is left of it.</param>
    bool TryPrepare(ref long budget) => true;

    /// <summary>Called on another thread when <see cref="TryPrepare"/> is worth asking again.</summary>
    Action? WhenPrepared { set { } }

    /// <summary>Ends what goes on beside the caller's thread: the text is not needed any more.</summary>
    void Stop()
    {
    }

    /// <summary>
    /// Writes the tokens allowed next: bit (id &amp; 63) of mask[id &gt;&gt; 6]. Never empty: where only the end is possible, the end tokens are set.
    /// False: everything is allowed now and <paramref name="mask"/> was not written.
    /// </summary>
    bool TryFillMask(Span<ulong> mask);

    /// <summary>Whether the token may come next, without changing the state.</summary>
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
