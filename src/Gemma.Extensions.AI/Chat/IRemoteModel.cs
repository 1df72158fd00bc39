using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>A model that other processes compute: what a server in front of them asks for beyond a chat. Found with GetService, through any middleware.</summary>
internal interface IRemoteModel
{
    /// <summary>Names of the adapters that it had when this was last heard; others may have come since.</summary>
    IReadOnlyList<string> AdapterNames { get; }

    /// <summary>Asks the tokenizer and the chat template.</summary>
    /// <exception cref="ArgumentException">A token is not in the vocabulary, or there is no such adapter.</exception>
    Task<TokenAnswer> AskAsync(TokenQuestion question, CancellationToken cancellationToken);

    /// <summary>Continues a raw prompt, as <see cref="GemmaModel.CompleteStreamingAsync(string, ChatOptions, CancellationToken)"/> does.</summary>
    IAsyncEnumerable<ChatResponseUpdate> CompleteStreamingAsync(RawPrompt prompt, ChatOptions? options, CancellationToken cancellationToken);
}

/// <summary>A prompt without turns: a text or tokens.</summary>
/// <param name="Text">The text; null: it is tokens.</param>
/// <param name="Tokens">The tokens; null: it is a text.</param>
internal sealed record RawPrompt(string? Text, IReadOnlyList<int>? Tokens)
{
    /// <summary>The tokens that a model reads.</summary>
    /// <exception cref="ArgumentException">The text is empty.</exception>
    public int[] TokensFor(GemmaModel model) => Text is null ? [.. Tokens ?? []] : model.RawPrompt(Text);
}
