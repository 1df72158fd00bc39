using Gemma.Extensions.AI.Hosting;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>The prompt of a conversation, without an answer to it.</summary>
internal static class PromptTokens
{
    /// <summary>Tokens that the model reads before it answers.</summary>
    public static async Task<int> CountAsync(ChatRequest request, CancellationToken cancellation)
    {
        using ModelLease lease = await RawCompletion.ReferenceOf(request.Model).LeaseAsync(cancellation).ConfigureAwait(false);
        return ChatTemplate.Render(lease.Model.ChatFormat, request.Messages, request.Options, lease.Model.Replies).Tokens.Length;
    }
}
