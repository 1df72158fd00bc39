using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Gemma.Extensions.AI;

#pragma warning disable IDE0130 // Found wherever IChatClient is.
namespace Microsoft.Extensions.AI;
#pragma warning restore IDE0130

/// <summary>
/// <c>client.GetResponseAsync&lt;Order&gt;("…")</c> with the type told to the Gemma client behind it, so that whatever it answers can be read as an <c>Order</c>.
/// A schema, which is all that the methods of the same name in Microsoft.Extensions.AI send, says less: it has no flags, no <c>byte[]</c>, no keys of dictionaries, and
/// the same integers for <c>int</c> and <c>long</c>.
/// </summary>
/// <remarks>
/// Nothing has to be written differently. There is one method for each way of passing options, serializer options and a cancellation token, none of them with defaults, so
/// the compiler prefers it; a call that passes <c>useJsonSchemaResponseFormat</c> goes to Microsoft.Extensions.AI's. Any client between (logging, functions, routing) passes the type on, and
/// clients of other models ignore it. Agents and streaming calls take it from <see cref="WithResponseType{T}"/>.
/// <para>
/// Answers are what <see cref="ChatClientStructuredOutputExtensions"/> returns. A type that System.Text.Json cannot read, or reads by a converter that gives no schema, is
/// refused with <see cref="NotSupportedException"/> before anything is generated, unless <see cref="GemmaGenerationOptions.LenientSchemas"/> is set.
/// </para>
/// </remarks>
public static class GemmaAnswerTypeExtensions
{
    /// <summary>
    /// A copy of the options with which a Gemma client keeps its answer to what can be read as a <typeparamref name="T"/>: for <c>agent.RunAsync&lt;T&gt;</c> of the Agent Framework
    /// (<c>new ChatClientAgentRunOptions(new ChatOptions().WithResponseType&lt;T&gt;())</c>) and for streaming. Its format is the type's schema unless it has one.
    /// </summary>
    /// <param name="options">What else is asked for; stays as it is.</param>
    /// <param name="serializerOptions">By which the answer is read; null: <see cref="AIJsonUtilities.DefaultOptions"/>.</param>
    public static ChatOptions WithResponseType<T>(this ChatOptions options, JsonSerializerOptions? serializerOptions = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        serializerOptions ??= AIJsonUtilities.DefaultOptions;
        ChatOptions typed = Tell<T>(options, serializerOptions);
        typed.ResponseFormat ??= ChatResponseFormat.ForJsonSchema<T>(serializerOptions);
        return typed;
    }

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, string chatMessage) =>
        AskAsync<T>(client, [new ChatMessage(ChatRole.User, chatMessage)], AIJsonUtilities.DefaultOptions, null, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, string chatMessage, ChatOptions? options) =>
        AskAsync<T>(client, [new ChatMessage(ChatRole.User, chatMessage)], AIJsonUtilities.DefaultOptions, options, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, string chatMessage, CancellationToken cancellationToken) =>
        AskAsync<T>(client, [new ChatMessage(ChatRole.User, chatMessage)], AIJsonUtilities.DefaultOptions, null, cancellationToken);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, string chatMessage, ChatOptions? options, CancellationToken cancellationToken) =>
        AskAsync<T>(client, [new ChatMessage(ChatRole.User, chatMessage)], AIJsonUtilities.DefaultOptions, options, cancellationToken);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, string chatMessage, JsonSerializerOptions serializerOptions) =>
        AskAsync<T>(client, [new ChatMessage(ChatRole.User, chatMessage)], serializerOptions, null, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, string chatMessage, JsonSerializerOptions serializerOptions, ChatOptions? options) =>
        AskAsync<T>(client, [new ChatMessage(ChatRole.User, chatMessage)], serializerOptions, options, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, string chatMessage, JsonSerializerOptions serializerOptions, CancellationToken cancellationToken) =>
        AskAsync<T>(client, [new ChatMessage(ChatRole.User, chatMessage)], serializerOptions, null, cancellationToken);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, string chatMessage, JsonSerializerOptions serializerOptions, ChatOptions? options, CancellationToken cancellationToken) =>
        AskAsync<T>(client, [new ChatMessage(ChatRole.User, chatMessage)], serializerOptions, options, cancellationToken);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, ChatMessage chatMessage) =>
        AskAsync<T>(client, [chatMessage ?? throw new ArgumentNullException(nameof(chatMessage))], AIJsonUtilities.DefaultOptions, null, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, ChatMessage chatMessage, ChatOptions? options) =>
        AskAsync<T>(client, [chatMessage ?? throw new ArgumentNullException(nameof(chatMessage))], AIJsonUtilities.DefaultOptions, options, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, ChatMessage chatMessage, CancellationToken cancellationToken) =>
        AskAsync<T>(client, [chatMessage ?? throw new ArgumentNullException(nameof(chatMessage))], AIJsonUtilities.DefaultOptions, null, cancellationToken);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, ChatMessage chatMessage, ChatOptions? options, CancellationToken cancellationToken) =>
        AskAsync<T>(client, [chatMessage ?? throw new ArgumentNullException(nameof(chatMessage))], AIJsonUtilities.DefaultOptions, options, cancellationToken);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, ChatMessage chatMessage, JsonSerializerOptions serializerOptions) =>
        AskAsync<T>(client, [chatMessage ?? throw new ArgumentNullException(nameof(chatMessage))], serializerOptions, null, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, ChatMessage chatMessage, JsonSerializerOptions serializerOptions, ChatOptions? options) =>
        AskAsync<T>(client, [chatMessage ?? throw new ArgumentNullException(nameof(chatMessage))], serializerOptions, options, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, ChatMessage chatMessage, JsonSerializerOptions serializerOptions, CancellationToken cancellationToken) =>
        AskAsync<T>(client, [chatMessage ?? throw new ArgumentNullException(nameof(chatMessage))], serializerOptions, null, cancellationToken);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, ChatMessage chatMessage, JsonSerializerOptions serializerOptions, ChatOptions? options, CancellationToken cancellationToken) =>
        AskAsync<T>(client, [chatMessage ?? throw new ArgumentNullException(nameof(chatMessage))], serializerOptions, options, cancellationToken);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, IEnumerable<ChatMessage> messages) =>
        AskAsync<T>(client, messages, AIJsonUtilities.DefaultOptions, null, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, IEnumerable<ChatMessage> messages, ChatOptions? options) =>
        AskAsync<T>(client, messages, AIJsonUtilities.DefaultOptions, options, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, IEnumerable<ChatMessage> messages, CancellationToken cancellationToken) =>
        AskAsync<T>(client, messages, AIJsonUtilities.DefaultOptions, null, cancellationToken);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, IEnumerable<ChatMessage> messages, ChatOptions? options, CancellationToken cancellationToken) =>
        AskAsync<T>(client, messages, AIJsonUtilities.DefaultOptions, options, cancellationToken);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, IEnumerable<ChatMessage> messages, JsonSerializerOptions serializerOptions) =>
        AskAsync<T>(client, messages, serializerOptions, null, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, IEnumerable<ChatMessage> messages, JsonSerializerOptions serializerOptions, ChatOptions? options) =>
        AskAsync<T>(client, messages, serializerOptions, options, default);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, IEnumerable<ChatMessage> messages, JsonSerializerOptions serializerOptions, CancellationToken cancellationToken) =>
        AskAsync<T>(client, messages, serializerOptions, null, cancellationToken);

    /// <inheritdoc cref="GemmaAnswerTypeExtensions"/>
    public static Task<ChatResponse<T>> GetResponseAsync<T>(this IChatClient client, IEnumerable<ChatMessage> messages, JsonSerializerOptions serializerOptions, ChatOptions? options, CancellationToken cancellationToken) =>
        AskAsync<T>(client, messages, serializerOptions, options, cancellationToken);

    private static Task<ChatResponse<T>> AskAsync<T>(IChatClient client, IEnumerable<ChatMessage> messages, JsonSerializerOptions serializerOptions, ChatOptions? options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(serializerOptions);
        return ChatClientStructuredOutputExtensions.GetResponseAsync<T>(client, messages, serializerOptions, Tell<T>(options, serializerOptions), cancellationToken: cancellationToken);
    }

    private static ChatOptions Tell<T>(ChatOptions? options, JsonSerializerOptions serializerOptions)
    {
        ChatOptions typed = options?.Clone() ?? new ChatOptions();
        Func<IChatClient, object?>? own = typed.RawRepresentationFactory;
        typed.RawRepresentationFactory = client => own?.Invoke(client) switch
        {
            null => new GemmaGenerationOptions { ResponseTypeInfo = TypeInfo() },
            GemmaGenerationOptions { ResponseTypeInfo: null } raw => raw.WithResponseType(TypeInfo()),
            { } other => other, // another client's, or a type that the caller tells
        };
        return typed;

        JsonTypeInfo TypeInfo() => serializerOptions.GetTypeInfo(typeof(T));
    }
}
