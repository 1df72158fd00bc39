namespace Gemma.Extensions.AI;

/// <summary>Base of every exception that this library defines.</summary>
public class GemmaException : Exception
{
    /// <summary>Creates the exception with a message that says what was found, what was expected, where, and what to do.</summary>
    public GemmaException(string message) : base(message) { }

    /// <summary>Creates the exception with a message and the exception that caused it.</summary>
    public GemmaException(string message, Exception? innerException) : base(message, innerException) { }

    /// <summary>True if the same request may succeed in a moment: what computes it could not be reached.</summary>
    internal bool IsTemporary { get; init; }
}

/// <summary>A model, tokenizer or adapter file is missing, damaged, incomplete or of a kind that is not supported.</summary>
public class GemmaModelFormatException : GemmaException
{
    /// <inheritdoc cref="GemmaException(string)"/>
    public GemmaModelFormatException(string message) : base(message) { }

    /// <inheritdoc cref="GemmaException(string, Exception)"/>
    public GemmaModelFormatException(string message, Exception? innerException) : base(message, innerException) { }
}

/// <summary>A prompt does not fit the context.</summary>
public sealed class GemmaContextLengthException : GemmaException
{
    internal GemmaContextLengthException(int promptTokens, int contextTokens, bool isExact = true)
        : this($"The prompt has {(isExact ? "" : "at least ")}{promptTokens:N0} tokens but the context holds {contextTokens:N0}. Shorten the conversation or the documents, or raise GemmaOptions.ContextLength up to what the model was trained for.", promptTokens, contextTokens)
    {
    }

    /// <summary>One that was thrown in another process.</summary>
    internal GemmaContextLengthException(string message, int promptTokens, int contextTokens) : base(message)
    {
        PromptTokens = promptTokens;
        ContextTokens = contextTokens;
    }

    /// <summary>
    /// Tokens in the rejected prompt, with the template's own tokens. A prompt whose mere size shows that it is too long is not encoded: this is then the least that it can have.
    /// </summary>
    public int PromptTokens { get; }

    /// <summary>Tokens that the configured context holds.</summary>
    public int ContextTokens { get; }
}

/// <summary>Too many requests are waiting, or the engine is shutting down. Try again later, or raise <c>GemmaOptions.MaxQueuedRequests</c>.</summary>
public sealed class GemmaOverloadedException : GemmaException
{
    internal GemmaOverloadedException(string message, bool isStopping = false) : base(message) => IsStopping = isStopping;

    /// <summary>True if the engine is shutting down and accepts no more requests; otherwise there may be room in a moment.</summary>
    public bool IsStopping { get; }
}

/// <summary>A request needs more key/value memory than the engine has in total.</summary>
public sealed class GemmaKvCacheException : GemmaException
{
    internal GemmaKvCacheException(int tokens, long neededBytes, long budgetBytes)
        : this($"A sequence of {tokens:N0} tokens needs {neededBytes:N0} bytes of key/value memory but the whole budget is {budgetBytes:N0}. Raise GemmaOptions.KvCacheBytes, ask for fewer output tokens, or shorten the prompt.", neededBytes, budgetBytes)
    {
    }

    /// <summary>One that was thrown in another process.</summary>
    internal GemmaKvCacheException(string message, long neededBytes, long budgetBytes) : base(message)
    {
        NeededBytes = neededBytes;
        BudgetBytes = budgetBytes;
    }

    /// <summary>Bytes that the request needs alone.</summary>
    public long NeededBytes { get; }

    /// <summary>Bytes that the engine has.</summary>
    public long BudgetBytes { get; }
}

/// <summary>A model does not fit the memory of the machine or of the container; the message names what would.</summary>
public sealed class GemmaMemoryException : GemmaException
{
    internal GemmaMemoryException(string message, long neededBytes, long availableBytes) : base(message)
    {
        NeededBytes = neededBytes;
        AvailableBytes = availableBytes;
    }

    /// <summary>Bytes that weights, one full context and work space need.</summary>
    public long NeededBytes { get; }

    /// <summary>Bytes that the process may use.</summary>
    public long AvailableBytes { get; }
}

/// <summary>A download failed: the model does not exist, is not accessible, or the network or disk gave out. What was downloaded is kept.</summary>
public sealed class GemmaHubException : GemmaException
{
    internal GemmaHubException(string message, Exception? innerException = null) : base(message, innerException) { }
}

/// <summary>
/// A GPU cannot be used, or stopped working: no or too old a driver, no suitable GPU, a fault or the loss of the device. After a fault while requests run, all of them
/// end with this exception and the model must be loaded again.
/// </summary>
public sealed class GemmaDeviceException : GemmaException
{
    internal GemmaDeviceException(string message) : base(message) { }
}
