using System.Text;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>Parts that the answers of several endpoints have in common.</summary>
internal static class CompletionParts
{
    /// <summary>Only the reasons that OpenAI has: clients refuse others.</summary>
    public static string FinishReason(ChatFinishReason? reason, bool hasCalls) => reason switch
    {
        _ when reason == ChatFinishReason.Length => "length",
        _ when reason == ChatFinishReason.ContentFilter => "content_filter",
        _ when reason == ChatFinishReason.ToolCalls || hasCalls => "tool_calls",
        _ => "stop",
    };

    /// <summary>The usage of one request: of several answers to one prompt the prompt counts once.</summary>
    public static CompletionUsage Usage(IEnumerable<UsageDetails?> usages, int choicesPerPrompt = int.MaxValue)
    {
        long input = 0, cached = 0, output = 0, reasoning = 0;
        foreach (UsageDetails[] answers in usages.Select(static usage => usage ?? new()).Chunk(choicesPerPrompt))
        {
            input += answers.Max(static usage => usage.InputTokenCount ?? 0);
            cached += answers.Max(static usage => usage.CachedInputTokenCount ?? 0);
            output += answers.Sum(static usage => usage.OutputTokenCount ?? 0);
            reasoning += answers.Sum(static usage => usage.ReasoningTokenCount ?? 0);
        }

        return new()
        {
            PromptTokens = input,
            CompletionTokens = output,
            TotalTokens = input + output,
            PromptTokensDetails = new() { CachedTokens = cached },
            CompletionTokensDetails = new() { ReasoningTokens = reasoning },
        };
    }

    public static ToolCall Call(FunctionCallContent call, int? index = null) => new()
    {
        Index = index,
        Id = call.CallId,
        Type = "function",
        Function = new() { Name = call.Name, Arguments = FunctionArguments.ToJson(call.Arguments) },
    };

    public static ChoiceLogProbabilities? LogProbabilities(IReadOnlyList<GemmaLogProbabilities> tokens) =>
        tokens.Count == 0 ? null : new() { Content = TokenLogProbability.From(tokens) };

    /// <summary>The text of an answer; null where it has none.</summary>
    public static string? Text(ChatResponse response)
    {
        StringBuilder text = new();
        foreach (TextContent content in response.Messages.SelectMany(static message => message.Contents).OfType<TextContent>())
        {
            text.Append(content.Text);
        }

        return text.Length == 0 ? null : text.ToString();
    }
}
