using System.Runtime.CompilerServices;
using Microsoft.SemanticKernel;
using Microsoft.SemanticKernel.ChatCompletion;

namespace Gemma.Extensions.AI.SemanticKernel;

/// <summary>
/// Tells plugins from functions in calls that the caller invokes itself. To the model a function is <c>plugin_function</c>; the service that wraps a
/// chat client hands that on as the function's name, which <see cref="FunctionCallContent.InvokeAsync"/> cannot find. Semantic Kernel's own
/// connectors give both names, and so does this. In a history the two become one again.
/// </summary>
internal sealed class KernelFunctionNames(IChatCompletionService inner) : IChatCompletionService
{
    public IReadOnlyDictionary<string, object?> Attributes => inner.Attributes;

    public async Task<IReadOnlyList<ChatMessageContent>> GetChatMessageContentsAsync(
        ChatHistory chatHistory, PromptExecutionSettings? executionSettings = null, Kernel? kernel = null, CancellationToken cancellationToken = default)
    {
        ChatHistory history = Joined(chatHistory);
        int known = history.Count;
        IReadOnlyList<ChatMessageContent> answers = await inner.GetChatMessageContentsAsync(history, executionSettings, kernel, cancellationToken).ConfigureAwait(false);
        TakeOver(history, known, chatHistory, kernel);
        foreach (ChatMessageContent answer in answers)
        {
            Split(answer, kernel);
        }

        return answers;
    }

    public async IAsyncEnumerable<StreamingChatMessageContent> GetStreamingChatMessageContentsAsync(
        ChatHistory chatHistory, PromptExecutionSettings? executionSettings = null, Kernel? kernel = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ChatHistory history = Joined(chatHistory);
        int known = history.Count;
        await foreach (StreamingChatMessageContent update in inner.GetStreamingChatMessageContentsAsync(history, executionSettings, kernel, cancellationToken).ConfigureAwait(false))
        {
            for (int i = 0; i < update.Items.Count; i++)
            {
                // The builder of whole calls reads plugin and function from one name, with a hyphen in between.
                if (update.Items[i] is StreamingFunctionCallUpdateContent { Name: { } name } call && Find(name, kernel) is { } function)
                {
                    update.Items[i] = new StreamingFunctionCallUpdateContent(
                        call.CallId, $"{function.PluginName}-{function.Name}", call.Arguments, call.FunctionCallIndex)
                    {
                        ChoiceIndex = call.ChoiceIndex,
                        ModelId = call.ModelId,
                        RequestIndex = call.RequestIndex,
                    };
                }
            }

            yield return update;
        }

        for (int i = history.Count - 1; i >= known; i--)
        {
            // The wrapped service adds calls that were not invoked to the history of a stream. Adding them is the caller's job, as with any connector.
            if (history[i].Items.OfType<FunctionCallContent>().Any(call => !history.Skip(i).SelectMany(m => m.Items).OfType<FunctionResultContent>().Any(result => result.CallId == call.Id)))
            {
                history.RemoveAt(i);
            }
        }

        TakeOver(history, known, chatHistory, kernel);
    }

    /// <summary>The history with calls named as the model knows them: itself where nothing has to change.</summary>
    private static ChatHistory Joined(ChatHistory history)
    {
        ArgumentNullException.ThrowIfNull(history);
        return history.Any(message => message.Items.Any(item => item is FunctionCallContent { PluginName.Length: > 0 }))
            ? new ChatHistory(history.Select(Joined))
            : history;
    }

    private static ChatMessageContent Joined(ChatMessageContent message) =>
        message.Items.Any(item => item is FunctionCallContent { PluginName.Length: > 0 })
            ? new ChatMessageContent(
                message.Role,
                [.. message.Items.Select(item => item is FunctionCallContent { PluginName: { Length: > 0 } plugin } call ? new FunctionCallContent($"{plugin}_{call.FunctionName}", null, call.Id, call.Arguments) : item)],
                message.ModelId, message.InnerContent, message.Encoding, message.Metadata)
            : message;

    /// <summary>Calls that were invoked on the way, and their results, belong to the caller's history.</summary>
    private static void TakeOver(ChatHistory from, int first, ChatHistory to, Kernel? kernel)
    {
        for (int i = first; i < from.Count; i++)
        {
            Split(from[i], kernel);
            NameResults(from[i], from.Take(i));
            if (!ReferenceEquals(from, to))
            {
                to.Add(from[i]);
            }
        }
    }

    private static void Split(ChatMessageContent message, Kernel? kernel)
    {
        for (int i = 0; i < message.Items.Count; i++)
        {
            if (message.Items[i] is FunctionCallContent { PluginName: null or "" } call && Find(call.FunctionName, kernel) is { } function)
            {
                message.Items[i] = new FunctionCallContent(function.Name, function.PluginName, call.Id, call.Arguments)
                {
                    Exception = call.Exception,
                    InnerContent = call.InnerContent,
                    Metadata = call.Metadata,
                    ModelId = call.ModelId,
                };
            }
        }
    }

    /// <summary>Results name the function whose call they answer.</summary>
    private static void NameResults(ChatMessageContent message, IEnumerable<ChatMessageContent> before)
    {
        for (int i = 0; i < message.Items.Count; i++)
        {
            if (message.Items[i] is FunctionResultContent { CallId.Length: > 0, PluginName: null or "" } result
                && before.SelectMany(FunctionCallContent.GetFunctionCalls).LastOrDefault(call => call.Id == result.CallId) is { PluginName: { Length: > 0 } plugin } answered)
            {
                message.Items[i] = new FunctionResultContent(answered.FunctionName, plugin, result.CallId, result.Result)
                {
                    InnerContent = result.InnerContent,
                    Metadata = result.Metadata,
                    ModelId = result.ModelId,
                };
            }
        }
    }

    private static KernelFunction? Find(string name, Kernel? kernel) =>
        kernel?.Plugins.SelectMany(plugin => plugin).FirstOrDefault(function => function.PluginName is { Length: > 0 } plugin && name == $"{plugin}_{function.Name}");
}
