using Gemma.Extensions.AI.Chat;

namespace Gemma.Extensions.AI.Orleans.Wire;

/// <summary>Questions to tokenizers, and their answers, as they travel.</summary>
internal static class TokenQuestions
{
    public static WireRequest ToWire(TokenQuestion question, string model) => new()
    {
        Model = model,
        Messages = question.Messages is { } messages ? Conversations.ToWire(messages) : [],
        Options = CallOptions.ToWire(question.Options, raw: null, model),
        Question = new WireTokenQuestion
        {
            Text = question.Text,
            AddsBos = question.AddsBos,
            ReadsMarkers = question.ReadsMarkers,
            Tokens = question.Tokens is { } tokens ? [.. tokens] : null,
            WantsText = question.WantsText,
            WantsPieces = question.WantsPieces,
            Adapter = question.Adapter,
        },
    };

    public static TokenQuestion FromWire(WireRequest request)
    {
        WireTokenQuestion wire = request.Question!;
        bool isConversation = wire.Text is null && wire.Tokens is null;
        return new TokenQuestion
        {
            Messages = isConversation ? Conversations.ToMessages(request.Messages) : null,
            Options = isConversation ? CallOptions.FromWire(request.Options).Options : null,
            Text = wire.Text,
            AddsBos = wire.AddsBos,
            ReadsMarkers = wire.ReadsMarkers,
            Tokens = wire.Tokens,
            WantsText = wire.WantsText,
            WantsPieces = wire.WantsPieces,
            Adapter = wire.Adapter,
        };
    }

    public static WireTokenAnswer ToWire(TokenAnswer answer) => new() { Tokens = answer.Tokens, Text = answer.Text, Pieces = answer.Pieces, ContextLength = answer.ContextLength };

    public static TokenAnswer FromWire(WireTokenAnswer wire) => new(wire.Tokens, wire.Text, wire.Pieces, wire.ContextLength);

    public static WireRawPrompt ToWire(RawPrompt prompt) => new() { Text = prompt.Text, Tokens = prompt.Tokens is { } tokens ? [.. tokens] : null };

    public static RawPrompt FromWire(WireRawPrompt wire) => new(wire.Text, wire.Tokens);
}
