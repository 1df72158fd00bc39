using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>A question to the tokenizer and chat template of a model: of a conversation, of a text or of tokens, one of which is set.</summary>
internal sealed record TokenQuestion
{
    /// <summary>A conversation, rendered as a chat has it read.</summary>
    public IReadOnlyList<ChatMessage>? Messages { get; init; }

    /// <summary>The options of the conversation: tools and instructions are in its prompt.</summary>
    public ChatOptions? Options { get; init; }

    /// <summary>A text to encode.</summary>
    public string? Text { get; init; }

    /// <summary>Bos comes first.</summary>
    public bool AddsBos { get; init; }

    /// <summary>Markers of control tokens in the text count as such; else they are letters.</summary>
    public bool ReadsMarkers { get; init; }

    /// <summary>Tokens to decode.</summary>
    public IReadOnlyList<int>? Tokens { get; init; }

    /// <summary>The text is wanted, of a conversation's prompt or of tokens.</summary>
    public bool WantsText { get; init; }

    /// <summary>The piece of each token is wanted.</summary>
    public bool WantsPieces { get; init; }

    /// <summary>An adapter that must be there; null: none.</summary>
    public string? Adapter { get; init; }

    /// <exception cref="ArgumentException">A token is not in the vocabulary, or there is no such adapter.</exception>
    public TokenAnswer AnsweredBy(GemmaModel model)
    {
        model.FindAdapter(Adapter);
        GemmaTokenizer tokenizer = model.Tokenizer;
        int[] tokens = Messages is not null ? ChatTemplate.Render(model.ChatFormat, Messages, Options, model.Replies).Tokens
            : Text is not null ? Encode(tokenizer)
            : [.. Tokens ?? []];
        foreach (int id in Tokens ?? [])
        {
            if ((uint)id >= (uint)tokenizer.VocabularySize)
            {
                throw new ArgumentException($"The token {id} is not in the vocabulary, expected 0 to {tokenizer.VocabularySize - 1:N0}.");
            }
        }

        // Bos begins a prompt, and decoding would leave it out.
        string? text = !WantsText ? null : Messages is not null ? tokenizer.GetPiece(tokens[0]) + tokenizer.Decode(tokens.Skip(1)) : tokenizer.Decode(tokens);
        return new TokenAnswer(tokens, text, WantsPieces ? [.. tokens.Select(tokenizer.GetPiece)] : null, model.ContextLength);
    }

    private int[] Encode(GemmaTokenizer tokenizer)
    {
        List<int> tokens = AddsBos ? [tokenizer.BosId] : [];
        tokenizer.Encode(Text!, tokens, matchSpecial: ReadsMarkers);
        return [.. tokens];
    }
}

/// <summary>The answer to a <see cref="TokenQuestion"/>.</summary>
/// <param name="Tokens">The tokens.</param>
/// <param name="Text">The text, where it was wanted.</param>
/// <param name="Pieces">The piece of each token, where they were wanted.</param>
/// <param name="ContextLength">Tokens of the model's context.</param>
internal sealed record TokenAnswer(int[] Tokens, string? Text, string[]? Pieces, int ContextLength);
