using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

public sealed partial class GemmaModel
{
    /// <summary>
    /// Tokens of the prompt that a conversation makes, as the model's own template writes it: bos, system text, the description of the tools, every turn and the beginning of the
    /// answer. It is what <see cref="UsageDetails.InputTokenCount"/> of the answer will say.
    /// </summary>
    /// <param name="messages">The conversation.</param>
    /// <param name="options">Instructions and tools that it is asked with. A response format takes no tokens: grammars hold it, not the prompt.</param>
    /// <exception cref="NotSupportedException">A message holds what this model cannot read.</exception>
    public int CountTokens(IEnumerable<ChatMessage> messages, ChatOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(messages);
        return ChatTemplate.Render(ChatFormat, messages, options, Replies).Tokens.Length;
    }
}
