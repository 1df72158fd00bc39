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

    /// <summary>Options for any chat client.</summary>
    public ChatOptions Options { get; init; } = new();

    /// <summary>Options for Gemma only; members that <see cref="ChatOptions"/> has too stay null.</summary>
    public GemmaGenerationOptions Extras { get; init; } = new();

    /// <summary>Number of answers requested.</summary>
    public int Choices { get; init; } = 1;

    /// <summary>Number of answers per prompt, each drawn with its own seed; null: all.</summary>
    public int? ChoicesPerPrompt { get; init; }

    /// <summary>The source of a choice's answer, if not <see cref="Messages"/>: a raw prompt of a Gemma model.</summary>
    public Func<int, ChatOptions, CancellationToken, IAsyncEnumerable<ChatResponseUpdate>>? Source { get; init; }
}

/// <summary>A piece of one of the answers to a request.</summary>
/// <param name="Choice">Number of the answer.</param>
/// <param name="Update">What is new.</param>
internal readonly record struct ChoiceUpdate(int Choice, ChatResponseUpdate Update);
