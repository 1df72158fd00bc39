using Gemma.Extensions.AI.Chat;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Orleans.Wire;

/// <summary>Pieces of answers as they travel.</summary>
internal static class Answers
{
    public static WirePart ToWire(AnswerPart part) => new()
    {
        Text = (part.Content as TextContent)?.Text,
        CallId = (part.Content as FunctionCallContent)?.CallId,
        CallName = (part.Content as FunctionCallContent)?.Name,
        CallArguments = part.Content is FunctionCallContent call ? Conversations.ToJson(call.Arguments) : null,
        Tokens = part.Tokens ?? [],
        LogProbabilities = part.LogProbabilities is { } values ? [.. values.Select(ToWire)] : null,
        End = part.End is { } end ? ToWire(end, ((UsageContent)part.Content).Details) : null,
    };

    /// <param name="wire">The piece.</param>
    /// <param name="all">The log probabilities of the whole answer, for its last piece; null where nobody asked for them.</param>
    public static AnswerPart FromWire(WirePart wire, IReadOnlyList<GemmaLogProbabilities>? all)
    {
        IReadOnlyList<GemmaLogProbabilities>? values = ChancesOf(wire);
        return wire.End is not { } end ? new AnswerPart(wire.Text is { } text ? new TextContent(text) : new FunctionCallContent(wire.CallId!, wire.CallName!, Conversations.ToArguments(wire.CallArguments!)), values)
            : new AnswerPart(
                new UsageContent(new UsageDetails
                {
                    InputTokenCount = end.InputTokens,
                    OutputTokenCount = end.OutputTokens,
                    TotalTokenCount = end.InputTokens + end.OutputTokens,
                    CachedInputTokenCount = end.CachedTokens,
                }),
                values, End: new AnswerEnd(new ChatFinishReason(end.Finish), end.StopSequence, all));
    }

    public static GemmaLogProbabilities[]? ChancesOf(WirePart wire) => wire.LogProbabilities is { } values ? [.. values.Select(FromWire)] : null;

    private static WireEnd ToWire(AnswerEnd end, UsageDetails usage) => new()
    {
        Finish = end.Finish.Value,
        StopSequence = end.StopSequence,
        InputTokens = usage.InputTokenCount ?? 0,
        OutputTokens = usage.OutputTokenCount ?? 0,
        CachedTokens = usage.CachedInputTokenCount ?? 0,
    };

    private static WireTokenChances ToWire(GemmaLogProbabilities place)
    {
        GemmaTokenLogProbability[] all = [place.Token, .. place.Top];
        return new WireTokenChances { Ids = [.. all.Select(token => token.TokenId)], Utf8 = [.. all.Select(token => token.Utf8.ToArray())], Values = [.. all.Select(token => token.LogProbability)] };
    }

    private static GemmaLogProbabilities FromWire(WireTokenChances wire)
    {
        GemmaTokenLogProbability[] all = [.. wire.Ids.Select((id, i) => new GemmaTokenLogProbability(id, wire.Utf8[i], wire.Values[i]))];
        return new GemmaLogProbabilities(all[0], all[1..]);
    }
}
