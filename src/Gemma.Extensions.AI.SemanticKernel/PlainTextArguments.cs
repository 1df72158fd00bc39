using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.SemanticKernel;

/// <summary>
/// Hands text arguments of calls on as text instead of JSON, where that is what the parameter is, or an enumeration: kernel functions find the member of a name,
/// where from a JSON string they would need a converter that the enumeration names. Other types (times, versions, bytes) are read from JSON alone.
/// </summary>
internal sealed class PlainTextArguments(IChatClient inner) : DelegatingChatClient(inner)
{
    public override async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ChatResponse response = await base.GetResponseAsync(messages, options, cancellationToken).ConfigureAwait(false);
        foreach (ChatMessage message in response.Messages)
        {
            Apply(message.Contents, options);
        }

        return response;
    }

    public override async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        await foreach (ChatResponseUpdate update in base.GetStreamingResponseAsync(messages, options, cancellationToken).ConfigureAwait(false))
        {
            Apply(update.Contents, options);
            yield return update;
        }
    }

    private static void Apply(IEnumerable<AIContent> contents, ChatOptions? options)
    {
        foreach (FunctionCallContent call in contents.OfType<FunctionCallContent>())
        {
            ParameterInfo[] parameters = options?.Tools?.OfType<AIFunction>().FirstOrDefault(tool => tool.Name == call.Name)?.UnderlyingMethod?.GetParameters() ?? [];
            foreach ((string name, object? value) in call.Arguments?.ToArray() ?? [])
            {
                if (value is JsonElement { ValueKind: JsonValueKind.String } text && IsReadFromText(parameters.FirstOrDefault(parameter => parameter.Name == name)?.ParameterType))
                {
                    call.Arguments![name] = text.GetString();
                }
            }
        }
    }

    private static bool IsReadFromText(Type? type) =>
        type is null || type == typeof(string) || type == typeof(object) || (Nullable.GetUnderlyingType(type) ?? type).IsEnum;
}
