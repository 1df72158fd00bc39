using System.Runtime.CompilerServices;
using System.Text;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Guard;

/// <summary>Checks what users say before it is answered, and answers before they are let out.</summary>
internal sealed class GuardedChatClient(IChatClient inner, ShieldGemma guard) : DelegatingChatClient(inner)
{
    private readonly ShieldGemmaOptions _options = guard.Options;

    public override async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ChatMessage[] all = [.. messages];
        string said = LastSaid(all);
        if (await CheckPromptAsync(said, cancellationToken).ConfigureAwait(false) is { } blocked)
        {
            return Refused(blocked, isPrompt: true).ToChatResponse();
        }

        ChatResponse response = await base.GetResponseAsync(all, options, cancellationToken).ConfigureAwait(false);
        string text = string.Concat(response.Messages.Select(TextOf));
        if (await CheckResponseAsync(said, text, cancellationToken).ConfigureAwait(false) is not { } violated)
        {
            return response;
        }

        ChatResponse refused = Refused(violated, isPrompt: false).ToChatResponse();
        (refused.Usage, refused.ModelId, refused.ResponseId) = (response.Usage, response.ModelId, response.ResponseId); // what was blocked was paid for
        return refused;
    }

    public override async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ChatMessage[] all = [.. messages];
        string said = LastSaid(all);
        if (await CheckPromptAsync(said, cancellationToken).ConfigureAwait(false) is { } blocked)
        {
            foreach (ChatResponseUpdate update in Refused(blocked, isPrompt: true))
            {
                yield return update;
            }

            yield break;
        }

        // Updates wait until their text was checked together with all before it; no character comes out unchecked.
        List<ChatResponseUpdate> held = [];
        StringBuilder answer = new();
        int checkedUpTo = 0, window = _options.ChecksResponses ? _options.Window : 0;
        await foreach (ChatResponseUpdate update in base.GetStreamingResponseAsync(all, options, cancellationToken).ConfigureAwait(false))
        {
            held.Add(update);
            answer.Append(TextOf(update.Contents));
            if (answer.Length - checkedUpTo < window)
            {
                continue;
            }

            if (await CheckResponseAsync(said, answer.ToString(), cancellationToken).ConfigureAwait(false) is { } violated)
            {
                foreach (ChatResponseUpdate refusal in Refused(violated, isPrompt: false))
                {
                    yield return refusal;
                }

                yield break;
            }

            checkedUpTo = answer.Length;
            foreach (ChatResponseUpdate safe in held)
            {
                yield return safe;
            }

            held.Clear();
        }

        GuardVerdict? last = answer.Length > checkedUpTo ? await CheckResponseAsync(said, answer.ToString(), cancellationToken).ConfigureAwait(false) : null;
        IEnumerable<ChatResponseUpdate> rest = last is null ? held : [.. Refused(last, isPrompt: false), .. held.Where(update => update.Contents.All(content => content is UsageContent) && update.FinishReason is null)];
        foreach (ChatResponseUpdate update in rest)
        {
            yield return update;
        }
    }

    /// <summary>The users' last words: the last run of user messages that no answer or tool result interrupts.</summary>
    private static string LastSaid(ChatMessage[] messages)
    {
        int end = Array.FindLastIndex(messages, IsSaid) + 1, start = end;
        while (start > 0 && messages[start - 1].Role != ChatRole.Assistant && messages[start - 1].Role != ChatRole.Tool)
        {
            start--;
        }

        return string.Join("\n\n", messages[start..end].Where(IsSaid).Select(TextOf));

        static bool IsSaid(ChatMessage message) => message.Role == ChatRole.User && TextOf(message).Length > 0;
    }

    /// <summary>All that a model would read of a message as text: what it calls with is checked too.</summary>
    private static string TextOf(ChatMessage message) => TextOf(message.Contents);

    private static string TextOf(IEnumerable<AIContent> contents) => string.Concat(contents.Select(content => content switch
    {
        TextContent text => text.Text,
        TextReasoningContent reasoning => reasoning.Text,
        FunctionCallContent call => ChatTemplate.RenderCall(call),
        ToolApprovalRequestContent { ToolCall: FunctionCallContent call } => ChatTemplate.RenderCall(call),
        _ => "",
    }));

    private async Task<GuardVerdict?> CheckPromptAsync(string said, CancellationToken cancellationToken)
    {
        GuardVerdict? verdict = _options.ChecksPrompts && !string.IsNullOrWhiteSpace(said) ? await guard.CheckPromptAsync(said, cancellationToken).ConfigureAwait(false) : null;
        return verdict is { IsBlocked: true } ? verdict : null;
    }

    private async Task<GuardVerdict?> CheckResponseAsync(string said, string answer, CancellationToken cancellationToken)
    {
        GuardVerdict? verdict = _options.ChecksResponses && !string.IsNullOrWhiteSpace(answer) ? await guard.CheckResponseAsync(said, answer, cancellationToken).ConfigureAwait(false) : null;
        return verdict is { IsBlocked: true } ? verdict : null;
    }

    /// <exception cref="GemmaContentFilterException">The options say so.</exception>
    private List<ChatResponseUpdate> Refused(GuardVerdict verdict, bool isPrompt)
    {
        if (_options.Action == GuardAction.Throw)
        {
            throw new GemmaContentFilterException(verdict, isPrompt);
        }

        AdditionalPropertiesDictionary facts = new()
        {
            [GemmaContentFilterException.ViolationsKey] = verdict.Violations,
            [GemmaContentFilterException.VerdictKey] = verdict,
        };
        TextContent refusal = new(_options.Refusal) { AdditionalProperties = new(facts), Annotations = [new AIAnnotation { AdditionalProperties = new(facts) }] };
        return [new ChatResponseUpdate(ChatRole.Assistant, [refusal]) { FinishReason = ChatFinishReason.ContentFilter, AdditionalProperties = facts }];
    }
}
