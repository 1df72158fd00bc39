using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Orleans.Clients;
using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Orleans.Wire;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Orleans;

namespace Gemma.Extensions.AI.Orleans;

/// <summary>
/// An <see cref="IChatClient"/> over a model that the nodes of an Orleans cluster serve. Safe for concurrent use; it keeps nothing of conversations but which node answered them last. Where a node fails, is drained or is full, the call
/// goes on at another, behind what has been delivered: the caller sees a pause.
/// </summary>
/// <remarks>
/// Options are those of <see cref="GemmaChatClient"/>. Functions stay with the caller: their schemas travel, and <c>UseFunctionInvocation()</c> invokes them here.
/// </remarks>
public sealed class GemmaClusterChatClient : IGemmaOptionsClient, IRemoteModel
{
    private readonly IGrainFactory _grains;
    private readonly string _model;
    private readonly GemmaClusterOptions _options;
    private readonly ILogger _logger;
    private readonly HostedTools _hostedTools;
    private readonly ChatClientMetadata _metadata;
    private readonly LastNodes _lastNodes = new(4096);
    private readonly NodeWays _ways = new();

    /// <summary>Creates a client of a cluster.</summary>
    /// <param name="grains">The cluster: the grain factory of an Orleans client, or of a silo with <c>AddGemmaNode</c>.</param>
    /// <param name="model">Name of the model in the cluster.</param>
    /// <param name="options">Times; null takes the defaults.</param>
    /// <param name="loggerFactory">Where moves from node to node are logged. What is said never is.</param>
    /// <exception cref="ArgumentException">The name is blank, or an option is out of range.</exception>
    public GemmaClusterChatClient(IGrainFactory grains, string model, GemmaClusterOptions? options = null, ILoggerFactory? loggerFactory = null)
    {
        ArgumentNullException.ThrowIfNull(grains);
        ArgumentException.ThrowIfNullOrWhiteSpace(model);
        (_grains, _model, _options) = (grains, model, GemmaClusterOptions.Check(options));
        _logger = (loggerFactory ?? NullLoggerFactory.Instance).CreateLogger<GemmaClusterChatClient>();
        _hostedTools = new HostedTools(_logger);
        _metadata = new ChatClientMetadata("gemma", null, model);
    }

    /// <summary>Tells which adapters there are; null: nobody does.</summary>
    internal ClusterWatch? Watch { get; init; }

    IReadOnlyList<string> IRemoteModel.AdapterNames => Watch?.Last?.Find(_model)?.Adapters ?? [];

    /// <inheritdoc/>
    public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        Answer(messages, options, isStreaming: false, cancellationToken).ToChatResponseAsync(cancellationToken);

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">An option is out of range, or <see cref="ChatOptions.ModelId"/> is another model.</exception>
    /// <exception cref="GemmaContextLengthException">The conversation is longer than the context.</exception>
    /// <exception cref="GemmaOverloadedException">Every node that serves the model is full; the message has the cluster's numbers.</exception>
    /// <exception cref="GemmaHandoverException">The answer was interrupted, and no node can go on with it.</exception>
    /// <exception cref="GemmaException">No node serves the model.</exception>
    /// <exception cref="NotSupportedException">The user shows an image or the like, or an option asks for what is not supported.</exception>
    public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        Answer(messages, options, isStreaming: true, cancellationToken);

    /// <summary>Answers this client, its <see cref="ChatClientMetadata"/> and the <see cref="IGrainFactory"/> of its cluster.</summary>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(ChatClientMetadata) ? _metadata
            : serviceType == typeof(IGrainFactory) ? _grains
            : serviceType.IsInstanceOfType(this) ? this
            : null;
    }

    /// <summary>Does nothing: the connection to the cluster belongs to its host.</summary>
    public void Dispose()
    {
    }

    /// <summary>Checks at the call, not at the first element, what can be checked there, and keeps the options as they are now.</summary>
    private IAsyncEnumerable<ChatResponseUpdate> Answer(IEnumerable<ChatMessage> messages, ChatOptions? options, bool isStreaming, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(messages);
        ChatOptions? kept = options?.Clone();
        return StreamAsync(() => CreateCall([.. messages], kept, isStreaming), cancellationToken);
    }

    async Task<TokenAnswer> IRemoteModel.AskAsync(TokenQuestion question, CancellationToken cancellationToken)
    {
        RouteHints hints = new() { Model = _model, Adapter = question.Adapter, Home = (ulong)Random.Shared.NextInt64() }; // any node will do
        ClusterCall call = new(_grains, _ways, _options, _logger, TokenQuestions.ToWire(question, _model), hints);
        await Task.Run(() => call.RunAsync(Channel.CreateUnbounded<AnswerPart>().Writer, cancellationToken), CancellationToken.None).ConfigureAwait(false);
        return TokenQuestions.FromWire(call.Answer!);
    }

    IAsyncEnumerable<ChatResponseUpdate> IRemoteModel.CompleteStreamingAsync(RawPrompt prompt, ChatOptions? options, CancellationToken cancellationToken) =>
        StreamAsync(() => CreateCall(prompt, options), cancellationToken);

    private async IAsyncEnumerable<ChatResponseUpdate> StreamAsync(Func<ClusterCall> create, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ClusterCall call = create();
        Channel<AnswerPart> parts = Channel.CreateUnbounded<AnswerPart>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
        using CancellationTokenSource abandoned = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task running = Task.Run(() => RunAsync(call, parts.Writer, abandoned.Token), CancellationToken.None);
        AnswerStream.UpdateFactory updates = new(_model);
        try
        {
            await foreach (AnswerPart part in parts.Reader.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
            {
                cancellationToken.ThrowIfCancellationRequested(); // also where more has come than was read
                if (part.Content is UsageContent { Details: { } usage })
                {
                    ClusterMetrics.Answered(_model, usage.InputTokenCount ?? 0, usage.CachedInputTokenCount ?? 0);
                }

                yield return updates.Create(part);
            }

            cancellationToken.ThrowIfCancellationRequested();
            await running.ConfigureAwait(false);
            if (call.AnsweredBy is { } node)
            {
                _lastNodes.Remember(call.Home, node);
            }
        }
        finally
        {
            // Also reached when the reader breaks out of the stream.
            await abandoned.CancelAsync().ConfigureAwait(false);
            await running.ContinueWith(static ended => _ = ended.Exception, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default).ConfigureAwait(false);
        }
    }

    private ClusterCall CreateCall(ChatMessage[] messages, ChatOptions? options, bool isStreaming)
    {
        GemmaGenerationOptions? raw = options?.RawRepresentationFactory?.Invoke(this) as GemmaGenerationOptions;
        _hostedTools.Check(options);
        return CreateCall(new() { Model = _model, Messages = Conversations.ToWire(messages), Options = OptionsOf(options, raw), IsStreaming = isStreaming });
    }

    private ClusterCall CreateCall(RawPrompt prompt, ChatOptions? options)
    {
        GemmaGenerationOptions? raw = options?.RawRepresentationFactory?.Invoke(null!) as GemmaGenerationOptions; // as GemmaModel.CompleteAsync does
        return CreateCall(new() { Model = _model, Raw = TokenQuestions.ToWire(prompt), Options = OptionsOf(options, raw), IsStreaming = true });
    }

    private WireOptions OptionsOf(ChatOptions? options, GemmaGenerationOptions? raw) => options?.ContinuationToken is null ? CallOptions.ToWire(options, raw, _model)
        : throw new NotSupportedException("ChatOptions.ContinuationToken is set, but answers of this client cannot be resumed and it never returns such a token. Ask again instead.");

    private ClusterCall CreateCall(WireRequest request)
    {
        string? adapter = request.Options.Adapter;
        ulong home = HomeOf(request, adapter);
        RouteHints hints = new() { Model = _model, Adapter = adapter, Home = home, GoesOn = request.Messages.Any(message => message.Role == ChatRole.Assistant.Value), Last = _lastNodes.Find(home) };
        return new ClusterCall(_grains, _ways, _options, _logger, request, hints);
    }

    /// <summary>A hash of how the conversation begins, up to what the user said first: the same for all its turns.</summary>
    private static ulong HomeOf(WireRequest request, string? adapter)
    {
        ulong hash = Router.Hash($"{request.Model}\n{adapter}\n{request.Options.Instructions}");
        if (request.Raw is { } raw)
        {
            // It has no turns, and texts that go on begin alike.
            return Router.Hash(raw.Text is { } text ? text[..Math.Min(text.Length, 256)] : string.Join(' ', raw.Tokens!.Take(64)), hash);
        }

        foreach (WireMessage message in request.Messages)
        {
            hash = message.Contents.Aggregate(hash, (home, content) => Router.Hash(content.Text ?? content.Json ?? "", home));
            if (message.Role == ChatRole.User.Value)
            {
                break;
            }
        }

        return hash;
    }

    private static async Task RunAsync(ClusterCall call, ChannelWriter<AnswerPart> parts, CancellationToken cancellationToken)
    {
        try
        {
            await call.RunAsync(parts, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            parts.Complete();
        }
    }
}
