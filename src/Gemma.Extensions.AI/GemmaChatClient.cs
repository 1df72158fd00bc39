using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Hosting;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;
using Microsoft.ML.Tokenizers;

namespace Gemma.Extensions.AI;

/// <summary>
/// An <see cref="IChatClient"/> over a Gemma 2 model in this process. Stateless and safe for concurrent use: every call brings its whole
/// conversation, and calls that share a beginning share its computation.
/// </summary>
/// <remarks>
/// Of <see cref="ChatOptions"/> these are not used: <see cref="ChatOptions.ConversationId"/> (nothing is stored; none is returned),
/// <see cref="ChatOptions.Reasoning"/> (Gemma 2 has no reasoning mode) and <see cref="ChatOptions.AllowBackgroundResponses"/> (answers come in the foreground).
/// <see cref="ChatOptions.ContinuationToken"/> is refused. <see cref="ChatOptions.AdditionalProperties"/> may hold <c>min_p</c>,
/// <c>repetition_penalty</c>, <c>logit_bias</c> and <c>adapter</c>; what else it holds is left to others. A <see cref="GemmaGenerationOptions"/> returned by
/// <see cref="ChatOptions.RawRepresentationFactory"/> wins over everything.
/// <para>
/// Tools that are not functions but mark what a hosted service can run (<see cref="HostedWebSearchTool"/> and its like) are not offered to the model, which is
/// logged once a kind; a <see cref="ChatOptions.ToolMode"/> that demands one is refused. Contents of other services in a history (calls that they ran and their
/// results, approvals, reasoning, citations, files that they keep) are read as text or left out, so that a conversation can go on here that began elsewhere.
/// </para>
/// <para>
/// A reply that comes back as history is read in the very tokens in which the model generated it, white space around it included, which the tokenizer might have
/// chosen differently: so its computation is reused too. That holds where everything before it is the same as well; no other conversation is
/// affected, and turning <see cref="GemmaOptions.PrefixCache"/> off turns it off.
/// </para>
/// <para>
/// A conversation whose last message is the assistant's is continued: the model goes on from that text in the same turn, and the response is what it adds. What the options
/// ask of the answer (format, calls, stop sequences) holds for what is added. Where the prompt format drops white space around content, it is also dropped at the end of that text.
/// To keep the result in a history, put both texts into one message.
/// </para>
/// <para>
/// Where a stop sequence ended the answer, <see cref="ChatMessage.AdditionalProperties"/> of its message (of the last update, where it is streamed) say which, as <c>stop_sequence</c>.
/// </para>
/// </remarks>
public sealed class GemmaChatClient : IGemmaOptionsClient
{
    private readonly ModelReference _model;
    private readonly ChatClientMetadata _metadata;

    /// <summary>Creates a client over a loaded model, which stays the caller's to dispose.</summary>
    public GemmaChatClient(GemmaModel model) : this(new ModelReference(model ?? throw new ArgumentNullException(nameof(model))))
    {
    }

    internal GemmaChatClient(ModelReference model)
    {
        _model = model;
        _metadata = new ChatClientMetadata("gemma", model.Uri, model.ModelId);
    }

    /// <inheritdoc/>
    public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        Answer(messages, options, isStreaming: false, cancellationToken).ToChatResponseAsync(cancellationToken);

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">An option is out of range, or <see cref="ChatOptions.ModelId"/> is another model.</exception>
    /// <exception cref="GemmaContextLengthException">The conversation is longer than the context.</exception>
    /// <exception cref="GemmaOverloadedException">Too many requests wait already.</exception>
    /// <exception cref="NotSupportedException">The user shows an image or the like, or an option asks for what is not supported.</exception>
    public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        Answer(messages, options, isStreaming: true, cancellationToken);

    /// <summary>
    /// Answers this client, its <see cref="ChatClientMetadata"/>, the <see cref="ILoggerFactory"/> that its model logs to, and the <see cref="GemmaModel"/> and
    /// <see cref="GemmaTokenizer"/> behind it; asking for one of the last two loads the model if that has not happened, and keeps it loaded whatever
    /// <see cref="GemmaOptions.IdleUnload"/> says.
    /// </summary>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(ChatClientMetadata) ? _metadata
            : ServiceOf(_model, serviceType) ?? (serviceType.IsInstanceOfType(this) ? this : null);
    }

    /// <summary>Does nothing: the model belongs to whoever loaded it.</summary>
    public void Dispose()
    {
    }

    /// <summary>The services that chat clients and embedding generators of a model have in common; null for other types.</summary>
    internal static object? ServiceOf(ModelReference model, Type type)
    {
        return type == typeof(ILoggerFactory) ? model.LoggerFactory
            : type == typeof(ModelReference) ? model
            : type == typeof(GemmaModel) ? Load()
            : type == typeof(GemmaTokenizer) || type == typeof(Tokenizer) ? Load().Tokenizer
            : null;

        GemmaModel Load() => model.GetAsync(CancellationToken.None).GetAwaiter().GetResult();
    }

    /// <summary>Checks at the call, not at the first element, what can be checked there, and keeps the options as they are now.</summary>
    private IAsyncEnumerable<ChatResponseUpdate> Answer(IEnumerable<ChatMessage> messages, ChatOptions? options, bool isStreaming, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(messages);
        return StreamAsync(messages, options?.Clone(), isStreaming, cancellationToken);
    }

    private async IAsyncEnumerable<ChatResponseUpdate> StreamAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options, bool isStreaming, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        using ModelLease lease = await _model.LeaseAsync(cancellationToken).ConfigureAwait(false);
        GemmaModel model = lease.Model;
        GemmaGenerationOptions? raw = options?.RawRepresentationFactory?.Invoke(this) as GemmaGenerationOptions;
        ChatTurn turn = await ChatTurn.CreateAsync(model, [.. messages], options, raw, cancellationToken).ConfigureAwait(false);
        await foreach (ChatResponseUpdate update in AnswerStream.RunAsync(model, turn, isStreaming, cancellationToken).ConfigureAwait(false))
        {
            yield return update;
        }
    }
}
