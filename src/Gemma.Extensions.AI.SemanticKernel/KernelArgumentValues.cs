using System.Diagnostics.CodeAnalysis;
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

        return CanRead(json, type, Reading(options), out _) ? json
            : text is not null && (Nullable.GetUnderlyingType(type) ?? type) is { IsEnum: true } enumeration && Enum.TryParse(enumeration, text, ignoreCase: true, out _) ? text
            : CanRead(json, type, options, out object? read) ? read
            : json;
    }

    /// <summary>A function made without options reports default ones, but reads with others, by reflection; a program without reflection has none of those.</summary>
    [UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "Only where reflection over types is switched on, which trimming switches off.")]
    [UnconditionalSuppressMessage("AOT", "IL3050", Justification = "Only where reflection over types is switched on, which compilation ahead of time switches off.")]
    private static JsonSerializerOptions Reading(JsonSerializerOptions options) =>
        ReferenceEquals(options, AIJsonUtilities.DefaultOptions) && JsonSerializer.IsReflectionEnabledByDefault ? JsonSerializerOptions.Default : options;

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
