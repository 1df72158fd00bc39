namespace Gemma.Extensions.AI.Rag;

/// <summary>A document could not be read, or the pieces of a pipeline don't fit together.</summary>
public sealed class GemmaRagException : GemmaException
{
    /// <inheritdoc cref="GemmaException(string)"/>
    public GemmaRagException(string message) : base(message) { }

    /// <inheritdoc cref="GemmaException(string, Exception)"/>
    public GemmaRagException(string message, Exception? innerException) : base(message, innerException) { }
}
