#pragma warning disable MEAI001 // The mark of tools that are searched is a preview of Microsoft.Extensions.AI.
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>Shows a model those of many tools that fit what the user says.</summary>
/// <param name="inner">Answers.</param>
/// <param name="count">Most tools to show, beside those that are named.</param>
internal sealed class ToolSearchClient(IChatClient inner, int count) : DelegatingChatClient(inner)
{
    public override Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ChatMessage[] all = [.. messages];
        return base.GetResponseAsync(all, Shown(all, options), cancellationToken);
    }

    public override IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ChatMessage[] all = [.. messages];
        return base.GetStreamingResponseAsync(all, Shown(all, options), cancellationToken);
    }

    /// <summary>The options with the tools that are shown, in the order in which they were given.</summary>
    private ChatOptions? Shown(ChatMessage[] messages, ChatOptions? options)
    {
        HostedToolSearchTool[] marks = [.. (options?.Tools ?? []).OfType<HostedToolSearchTool>()];

        // Where some are marked, only those are searched: all of them where a mark names none.
        HashSet<string>? marked = marks.Length == 0 || marks.Any(mark => mark.DeferredTools is null) ? null : [.. marks.SelectMany(mark => mark.DeferredTools!)];
        AIFunctionDeclaration[] searched = [.. (options?.Tools ?? []).OfType<AIFunctionDeclaration>().Where(tool => marked?.Contains(tool.Name) != false)];
        if (searched.Length <= count && marks.Length == 0)
        {
            return options;
        }

        HashSet<AITool> hidden = searched.Length <= count ? [] : [.. searched.Except(Chosen(messages, options!, searched))];
        ChatOptions shown = options!.Clone();
        shown.Tools = [.. options.Tools!.Where(tool => tool is not HostedToolSearchTool && !hidden.Contains(tool))];
        return shown;
    }

    private IEnumerable<AIFunctionDeclaration> Chosen(ChatMessage[] messages, ChatOptions options, AIFunctionDeclaration[] tools)
    {
        int asked = Array.FindLastIndex(messages, message => message.Role == ChatRole.User && message.Text.Length > 0);
        string question = asked < 0 ? "" : messages[asked].Text;

        // What was called since the question stays, so that the model may go on with it.
        HashSet<string> named = [.. messages[(asked + 1)..].SelectMany(message => message.Contents).OfType<FunctionCallContent>().Select(call => call.Name)];
        if (options.ToolMode is RequiredChatToolMode { RequiredFunctionName: { } required })
        {
            named.Add(required);
        }

        IEnumerable<AIFunctionDeclaration> kept = tools.Where(tool => named.Contains(tool.Name) || question.Contains(tool.Name, StringComparison.OrdinalIgnoreCase));
        return kept.Union(new ToolIndex(tools).Best(question, string.Join('\n', messages.Take(Math.Max(0, asked)).Where(message => message.Role == ChatRole.User).TakeLast(1).Select(message => message.Text)), count));
    }
}
