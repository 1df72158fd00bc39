using System.Runtime.CompilerServices;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.SemanticKernel;

/// <summary>
/// Hands text arguments of calls on as text instead of JSON. Kernel functions turn text into what a parameter is, members of an enumeration and dates
/// included, where from a JSON string they would need a converter that the enumeration names.
/// </summary>
internal sealed class PlainTextArguments(IChatClient inner) : DelegatingChatClient(inner)
{
    public override async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ChatResponse response = await base.GetResponseAsync(messages, options, cancellationToken).ConfigureAwait(false);
        foreach (ChatMessage message in response.Messages)
        {
            Apply(message.Contents);
        }

        return response;
    }

    public override async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        await foreach (ChatResponseUpdate update in base.GetStreamingResponseAsync(messages, options, cancellationToken).ConfigureAwait(false))
        {
            Apply(update.Contents);
            yield return update;
        }
    }

    private static void Apply(IEnumerable<AIContent> contents)
    {
        foreach (IDictionary<string, object?> arguments in contents.OfType<FunctionCallContent>().Select(call => call.Arguments).OfType<IDictionary<string, object?>>())
        {
            foreach ((string name, object? value) in arguments.ToArray())
            {
                if (value is JsonElement { ValueKind: JsonValueKind.String } text)
                {
                    arguments[name] = text.GetString();
                }
            }
        }
    }
}
