using System.Diagnostics;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>One call, checked and translated into a request to the engine.</summary>
/// <param name="Prompt">Tokens that are read.</param>
/// <param name="Settings">How the answer is generated.</param>
/// <param name="StopTokens">Tokens that end it.</param>
/// <param name="Constraint">Constrains the answer to a format; null: any text.</param>
/// <param name="Adapter">Adapter to compute with; null: the base model.</param>
/// <param name="Conversation">The messages that the prompt was rendered from, so that the answer may come back as one of them; null for a prompt that is no conversation.</param>
/// <param name="MayCall">True if the answer may call a tool.</param>
/// <param name="TextIsFree">True if it may be text of any form.</param>
/// <param name="Raw">The options in Gemma's own terms.</param>
/// <param name="Began">When its time limit began, in ticks of a <see cref="Stopwatch"/>.</param>
internal sealed record ChatTurn(
    int[] Prompt, GenerationSettings Settings, IReadOnlyList<int> StopTokens, ITokenConstraint? Constraint, LoraWeights? Adapter, ChatPrompt? Conversation, bool MayCall, bool TextIsFree, GemmaGenerationOptions? Raw, long Began)
{
    /// <summary>The part of the answer that the reader has already, from another engine; null: nothing.</summary>
    public KnownAnswer? Known { get; init; }

    /// <exception cref="ArgumentException">There is no message, an option is out of range, the model is another, or there is no such adapter.</exception>
    /// <exception cref="NotSupportedException">A message or an option asks for what this model cannot do.</exception>
    /// <exception cref="GemmaContextLengthException">The conversation leaves no room for an answer.</exception>
    public static ValueTask<ChatTurn> CreateAsync(GemmaModel model, IReadOnlyList<ChatMessage> messages, ChatOptions? options, GemmaGenerationOptions? raw, CancellationToken cancellation = default) =>
        CreateAsync(model, Render(model, messages, options), options, raw, cancellation);

    /// <summary>A conversation that was rendered by <see cref="Render"/>.</summary>
    public static ValueTask<ChatTurn> CreateAsync(GemmaModel model, ChatPrompt conversation, ChatOptions? options, GemmaGenerationOptions? raw, CancellationToken cancellation) =>
        CreateAsync(model, conversation.Tokens, options, raw, conversation, OffersTools(options), cancellation);

    /// <summary>Checks a conversation and what is offered to the model with it, and renders the prompt.</summary>
    public static ChatPrompt Render(GemmaModel model, IReadOnlyList<ChatMessage> messages, ChatOptions? options)
    {
        if (messages.Count == 0 && string.IsNullOrWhiteSpace(options?.Instructions))
        {
            throw new ArgumentException("The conversation is empty: there is no message to answer. Pass at least one.", nameof(messages));
        }

        CheckOptions(model, options);
        model.HostedTools.Check(options);
        CheckTools(options);
        return ChatTemplate.Render(model.ChatFormat, messages, options, model.Replies, model.ContextLength);
    }

    /// <summary>A prompt that is no conversation.</summary>
    /// <exception cref="ArgumentException">The prompt is empty or has an unknown token, an option is out of range, the model is another, or there is no such adapter.</exception>
    /// <exception cref="NotSupportedException">The options hold what only a conversation can carry.</exception>
    /// <exception cref="GemmaContextLengthException">The prompt leaves no room for an answer.</exception>
    public static ValueTask<ChatTurn> ContinueAsync(GemmaModel model, int[] prompt, ChatOptions? options, GemmaGenerationOptions? raw, CancellationToken cancellation = default)
    {
        if (prompt.Length == 0)
        {
            throw new ArgumentException("The prompt has no tokens. Pass at least bos, GemmaTokenizer.BosId.", nameof(prompt));
        }

        CheckOptions(model, options);
        if (options?.Tools is { Count: > 0 } || !string.IsNullOrWhiteSpace(options?.Instructions))
        {
            throw new NotSupportedException(
                $"ChatOptions has {(options.Tools is { Count: > 0 } ? "Tools" : "Instructions")}, but a raw prompt is passed on as it stands, so the model would not know of them. Write them into the prompt, or use the chat client.");
        }

        return CreateAsync(model, prompt, options, raw, conversation: null, mayCall: false, cancellation);
    }

    private static async ValueTask<ChatTurn> CreateAsync(GemmaModel model, int[] prompt, ChatOptions? options, GemmaGenerationOptions? raw, ChatPrompt? conversation, bool mayCall, CancellationToken cancellation)
    {
        long began = Stopwatch.GetTimestamp();
        TimeSpan? timeout = CheckTimeout(raw?.Timeout);
        if (prompt.Length >= model.ContextLength)
        {
            throw new GemmaContextLengthException(prompt.Length, model.ContextLength);
        }

        GenerationSettings settings = GenerationSettings.Resolve(options, raw, model.File.GenerationDefaults, model.Config.VocabularySize);
        LoraWeights? adapter = model.FindAdapter(settings.Adapter);
        if (conversation?.Format is { EndId: < 0, EndMarker: { } marker })
        {
            // What ends a turn is a stop sequence where the vocabulary has no token for it.
            settings = settings with { StopSequences = [.. settings.StopSequences, marker] };
        }

        int[] endTokens = conversation?.Format.StopTokens(model.StopTokens) ?? model.StopTokens;
        ITokenConstraint? constraint;
        using (CancellationTokenSource? limit = Limit(timeout, cancellation))
        {
            try
            {
                constraint = await CreateConstraintAsync(model.Tokenizer, options, raw, mayCall, endTokens, conversation?.Format.Tools, limit?.Token ?? cancellation).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (limit is not null && limit.IsCancellationRequested && !cancellation.IsCancellationRequested)
            {
                throw new TimeoutException($"The request was not finished within its time limit of {timeout}; the grammar of its answer was still being compiled. Allow more time, or simplify the schema, expression or grammar.");
            }
        }

        bool textIsFree = options?.ToolMode is not RequiredChatToolMode && options?.ResponseFormat is not ChatResponseFormatJson && raw?.Regex is null && raw?.Grammar is null;
        return new ChatTurn(prompt, settings, endTokens, constraint, adapter, conversation, mayCall, textIsFree, raw, began);
    }

    public GenerationRequest ToRequest(GenerationSink sink, bool isStreaming, CancellationToken cancellationToken) => new()
    {
        Prompt = Prompt,
        Sink = sink,
        Generated = Known?.Replayed ?? [],
        IsStreaming = isStreaming,
        Sampling = Settings.Sampling,
        MaxOutputTokens = Settings.MaxOutputTokens,
        LogProbabilities = Settings.LogProbabilities,
        StopTokens = StopTokens,
        Constraint = Constraint,
        Adapter = Adapter,
        Priority = Raw?.Priority ?? 0,
        Caller = Raw?.Caller,
        Timeout = CheckTimeout(Raw?.Timeout),
        Began = Began,
        CancellationToken = cancellationToken,
    };

    /// <summary>Cancelled when the caller cancels, or after the time limit; null for none.</summary>
    private static CancellationTokenSource? Limit(TimeSpan? timeout, CancellationToken cancellation)
    {
        // Longer times than timers know are as good as none for a compilation.
        if (timeout is not { } time || time.TotalMilliseconds > int.MaxValue)
        {
            return null;
        }

        CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(time);
        return limit;
    }

    private static TimeSpan? CheckTimeout(TimeSpan? timeout) =>
        timeout is null || timeout == System.Threading.Timeout.InfiniteTimeSpan ? null
        : timeout > TimeSpan.Zero ? timeout
        : throw new ArgumentOutOfRangeException(nameof(GemmaGenerationOptions.Timeout), timeout, $"Timeout is {timeout}, expected more than no time, or nothing for no limit.");

    private static void CheckOptions(GemmaModel model, ChatOptions? options)
    {
        if (options?.ModelId is { Length: > 0 } id && !string.Equals(id, model.ModelId, StringComparison.OrdinalIgnoreCase)
            && !string.Equals(id, model.File.Name, StringComparison.OrdinalIgnoreCase))
        {
            throw new ArgumentException(
                $"ChatOptions.ModelId is '{id}', but this client runs '{model.ModelId}'. Leave it unset, or register a client for that model and use that one.", nameof(options));
        }

        if (options?.ContinuationToken is not null)
        {
            throw new NotSupportedException("ChatOptions.ContinuationToken is set, but answers of this client cannot be resumed and it never returns such a token. Ask again instead.");
        }
    }

    /// <summary>True if the reply may call a tool.</summary>
    private static bool OffersTools(ChatOptions? options) => options?.ToolMode is not NoneChatToolMode && options?.Tools?.Any(static tool => tool is AIFunctionDeclaration) == true;

    private static void CheckTools(ChatOptions? options)
    {
        if (options?.ToolMode is NoneChatToolMode)
        {
            return;
        }

        string[] names = [.. (options?.Tools ?? []).OfType<AIFunctionDeclaration>().Select(tool => tool.Name)];
        if (names.GroupBy(name => name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } twice)
        {
            throw new ArgumentException($"ChatOptions.Tools holds {twice.Count()} tools named '{twice.Key}'. A call names its tool, so names must differ.", nameof(options));
        }

        if (names.Length == 0 && options?.ToolMode is RequiredChatToolMode)
        {
            throw new ArgumentException("ChatOptions.ToolMode requires a call, but ChatOptions.Tools offers nothing to call.", nameof(options));
        }
    }

    private static bool IsAnyOrder(GemmaGenerationOptions? raw) => raw?.PropertyOrder switch
    {
        null or GemmaPropertyOrder.Schema => false,
        GemmaPropertyOrder.Any => true,
        { } other => throw new ArgumentOutOfRangeException(nameof(GemmaGenerationOptions.PropertyOrder), other, $"PropertyOrder is {other}, expected Schema or Any."),
    };

    private static int? MaxTextLength(GemmaGenerationOptions? raw) => raw?.MaxStringLength is not < 1 ? raw?.MaxStringLength
        : throw new ArgumentOutOfRangeException(nameof(GemmaGenerationOptions.MaxStringLength), raw.MaxStringLength, $"MaxStringLength is {raw.MaxStringLength}, expected at least 1 character, or nothing for no limit.");

    /// <summary>Constrains the reply to its format and its calls to their schemas; null, without preparing the vocabulary, if any text will do.</summary>
    private static ValueTask<ITokenConstraint?> CreateConstraintAsync(GemmaTokenizer tokenizer, ChatOptions? options, GemmaGenerationOptions? raw, bool mayCall, int[] endTokens, ToolMarkup? markup, CancellationToken cancellation)
    {
        if (options?.ResponseFormat is { } format and not (ChatResponseFormatText or ChatResponseFormatJson))
        {
            throw new NotSupportedException($"ChatOptions.ResponseFormat is a {format.GetType().Name}; Text, Json and JSON schemas are supported.");
        }

        return mayCall || options?.ResponseFormat is ChatResponseFormatJson || raw?.Regex is not null || raw?.Grammar is not null
            ? ResponseConstraintFactory.CreateAsync(
                tokenizer, options, endTokens, raw?.Regex, raw?.Grammar, new JsonSchemaOptions { Lenient = raw?.LenientSchemas ?? false, Rfc3339Times = raw?.Rfc3339Times ?? false, AnyPropertyOrder = IsAnyOrder(raw), MaxTextLength = MaxTextLength(raw) }, raw?.ResponseTypeInfo, markup, cancellation)
            : default;
    }
}
