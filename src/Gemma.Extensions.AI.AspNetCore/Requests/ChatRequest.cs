using Gemma.Extensions.AI.AspNetCore.Models;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>A request for an answer, whichever API it came by.</summary>
internal sealed class ChatRequest
{
    /// <summary>The model that answers.</summary>
    public required ModelChoice Model { get; init; }

    /// <summary>The conversation.</summary>
    public required IReadOnlyList<ChatMessage> Messages { get; init; }

    /// <summary>What any chat client understands.</summary>
    public ChatOptions Options { get; init; } = new();

    /// <summary>What only Gemma understands; members that <see cref="ChatOptions"/> has too stay null.</summary>
    public GemmaGenerationOptions Extras { get; init; } = new();

    /// <summary>How many answers are wanted.</summary>
    public int Choices { get; init; } = 1;

    /// <summary>How many of them answer the same, and draw by seeds of their own; null: all.</summary>
    public int? ChoicesPerPrompt { get; init; }

    /// <summary>Where the answer of a choice comes from, if not from <see cref="Messages"/>: a raw prompt of a Gemma model.</summary>
    public Func<int, ChatOptions, CancellationToken, IAsyncEnumerable<ChatResponseUpdate>>? Source { get; init; }
}

/// <summary>A piece of one of the answers to a request.</summary>
/// <param name="Choice">Number of the answer.</param>
/// <param name="Update">What is new.</param>
internal readonly record struct ChoiceUpdate(int Choice, ChatResponseUpdate Update);
