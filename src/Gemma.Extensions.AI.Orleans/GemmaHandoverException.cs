namespace Gemma.Extensions.AI.Orleans;

/// <summary>
/// An answer was interrupted and cannot go on: part of it has been delivered, and no node computes what the one that began it did (file, adapter, types, kernels and version). Ask again.
/// </summary>
public sealed class GemmaHandoverException : GemmaException
{
    internal GemmaHandoverException(string message, Exception? innerException = null) : base(message, innerException) => IsTemporary = true;
}
