using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>Shortens conversations before a client answers them, counting what each call is asked with.</summary>
internal sealed class ReducedChatClient(IChatClient inner, GemmaChatReducer reducer) : DelegatingChatClient(inner)
{
    public override async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        await base.GetResponseAsync(await reducer.ReduceAsync(messages, options, cancellationToken).ConfigureAwait(false), options, cancellationToken).ConfigureAwait(false);

    public override async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        IEnumerable<ChatMessage> reduced = await reducer.ReduceAsync(messages, options, cancellationToken).ConfigureAwait(false);
        await foreach (ChatResponseUpdate update in base.GetStreamingResponseAsync(reduced, options, cancellationToken).ConfigureAwait(false))
        {
            yield return update;
        }
    }
}
