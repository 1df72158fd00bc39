using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.SemanticKernel;

/// <summary>
/// Hands arguments of calls on in the form in which kernel functions read them. The schema of a function that was made without serializer options names the
/// members of enumerations, and the function reads numbers from JSON: a member's name is handed on as text, in which it is found, and an object or list that
/// holds such names as the object itself. Text is handed on as text where the parameter is any value. All else stays JSON.
/// </summary>
internal sealed class KernelArgumentValues(IChatClient inner) : DelegatingChatClient(inner)
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
            AIFunction? function = options?.Tools?.OfType<AIFunction>().FirstOrDefault(tool => tool.Name == call.Name);
            ParameterInfo[] parameters = function?.UnderlyingMethod?.GetParameters() ?? [];
            foreach ((string name, object? value) in call.Arguments?.ToArray() ?? [])
            {
                if (value is JsonElement json)
                {
                    call.Arguments![name] = Value(json, parameters.FirstOrDefault(parameter => parameter.Name == name)?.ParameterType, function?.JsonSerializerOptions);
                }
            }
        }
    }

    private static object? Value(JsonElement json, Type? type, JsonSerializerOptions? options)
    {
        string? text = json.ValueKind == JsonValueKind.String ? json.GetString() : null;
        if (type is null || options is null || type == typeof(string) || type == typeof(object))
        {
            return text ?? (object)json;
        }

        // A function made without options reports default ones, but reads with others.
        bool hasOwn = !ReferenceEquals(options, AIJsonUtilities.DefaultOptions);
        return CanRead(json, type, hasOwn ? options : JsonSerializerOptions.Default, out _) ? json
            : text is not null && (Nullable.GetUnderlyingType(type) ?? type) is { IsEnum: true } enumeration && Enum.TryParse(enumeration, text, ignoreCase: true, out _) ? text
            : CanRead(json, type, options, out object? read) ? read
            : json;
    }

    private static bool CanRead(JsonElement json, Type type, JsonSerializerOptions options, out object? value)
    {
        try
        {
            value = json.Deserialize(options.GetTypeInfo(type));
            return true;
        }
        catch (Exception exception) when (exception is JsonException or NotSupportedException)
        {
            value = null;
            return false;
        }
    }
}
