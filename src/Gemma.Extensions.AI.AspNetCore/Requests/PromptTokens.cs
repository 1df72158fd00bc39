using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.Hosting;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>The prompt of a conversation, without an answer to it.</summary>
internal static class PromptTokens
{
    /// <summary>Tokens that the model reads before it answers.</summary>
    public static async Task<int> CountAsync(ChatRequest request, CancellationToken cancellation)
    {
        using ModelLease lease = await RawCompletion.ReferenceOf(request.Model).LeaseAsync(cancellation).ConfigureAwait(false);
        return Render(lease.Model, request.Messages, request.Options).Length;
    }

    /// <summary>The prompt of a conversation, as the chat client has it read.</summary>
    public static int[] Render(GemmaModel model, IReadOnlyList<ChatMessage> messages, ChatOptions? options) =>
        ChatTemplate.Render(model.ChatFormat, messages, options, model.Replies).Tokens;

    /// <exception cref="ServerErrorException">A token is not in the vocabulary.</exception>
    public static void Check(GemmaModel model, IReadOnlyList<int> ids, string name)
    {
        foreach (int id in ids)
        {
            if ((uint)id >= (uint)model.Tokenizer.VocabularySize)
            {
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"'{name}' has the token {id}, expected 0 to {model.Tokenizer.VocabularySize - 1:N0}.", name);
            }
        }
    }
}
