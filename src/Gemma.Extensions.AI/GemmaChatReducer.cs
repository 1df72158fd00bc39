using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Hosting;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

/// <summary>
/// Keeps a conversation within a number of tokens, counted by the model's own template with tools and system text. It cuts whole turns, the oldest first: a turn is what a user said and
/// all that followed, so a call is never parted from its result. System text stays, and so does the last turn, whatever its length.
/// </summary>
/// <remarks>
/// For <c>UseChatReducer</c> of Microsoft.Extensions.AI, and for agents of the Agent Framework: <c>InMemoryChatHistoryProviderOptions.ChatReducer</c>, or <c>ChatReducerCompactionStrategy</c>
/// in a <c>CompactionProvider</c>. These pass no options, so tell the tools in <see cref="GemmaChatReducerOptions.ChatOptions"/>; <c>UseGemmaChatReducer</c> counts those of each call.
/// <para>
/// Where it has to cut it cuts down to <see cref="GemmaChatReducerOptions.TargetTokens"/>, and the same history is always cut at the same place: so the next calls begin alike and the prefix cache
/// serves them, until the limit is reached again. Safe for concurrent use.
/// </para>
/// </remarks>
public sealed class GemmaChatReducer : IChatReducer
{
    /// <summary>Key of <see cref="ChatMessage.AdditionalProperties"/> that marks a summary.</summary>
    internal const string SummaryKey = "gemma.summary";

    private readonly ModelReference _model;
    private readonly GemmaChatReducerOptions _options;
    private readonly SummaryCache _summaries = new();

    /// <summary>A reducer for a loaded model.</summary>
    /// <param name="model">The model that reads the conversations.</param>
    /// <param name="options">Limits; null: the defaults.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public GemmaChatReducer(GemmaModel model, GemmaChatReducerOptions? options = null) : this(new ModelReference(model ?? throw new ArgumentNullException(nameof(model))), options)
    {
    }

    /// <summary>A reducer for the model behind a client; it is loaded with the first conversation, and may be unloaded between two.</summary>
    /// <param name="client">A Gemma client, or middleware around one.</param>
    /// <param name="options">Limits; null: the defaults.</param>
    /// <exception cref="ArgumentException">An option is out of range, or there is no Gemma model behind the client.</exception>
    public GemmaChatReducer(IChatClient client, GemmaChatReducerOptions? options = null) : this(ReferenceOf(client), options)
    {
    }

    private GemmaChatReducer(ModelReference model, GemmaChatReducerOptions? options)
    {
        _model = model;
        _options = (options ?? new GemmaChatReducerOptions()).Checked();
    }

    /// <inheritdoc/>
    public Task<IEnumerable<ChatMessage>> ReduceAsync(IEnumerable<ChatMessage> messages, CancellationToken cancellationToken) =>
        ReduceAsync(messages, _options.ChatOptions, cancellationToken);

    /// <summary>The conversation, without its oldest turns where it is too long.</summary>
    /// <param name="messages">The conversation. It is left as it is.</param>
    /// <param name="options">Instructions and tools that it is asked with, instead of those of <see cref="GemmaChatReducerOptions.ChatOptions"/>.</param>
    /// <param name="cancellationToken">Cancels the summary.</param>
    /// <exception cref="ArgumentException">A limit is more than the model's context holds.</exception>
    public async Task<IEnumerable<ChatMessage>> ReduceAsync(IEnumerable<ChatMessage> messages, ChatOptions? options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(messages);
        ChatMessage[] all = [.. messages];
        using ModelLease lease = await _model.LeaseAsync(cancellationToken).ConfigureAwait(false);
        ReducerLimits limits = _options.LimitsFor(lease.Model.ContextLength);
        if (all.Length == 0 || lease.Model.CountTokens(all, options) <= limits.MaxTokens)
        {
            return all;
        }

        ConversationCut cut = new(lease.Model, all, options, limits);
        string? summary = _options.Summarize ? await SummarizeAsync(lease.Model, cut, cancellationToken).ConfigureAwait(false) : null;
        return cut.Kept(summary);
    }

    /// <summary>The summary of all that is cut, made cut by cut, each of the one before and of what it cuts more. Null where nothing is cut, or nothing of it fits a prompt.</summary>
    private async Task<string?> SummarizeAsync(GemmaModel model, ConversationCut cut, CancellationToken cancellationToken)
    {
        string? summary = null;
        foreach ((string key, IReadOnlyList<ChatMessage> block) in cut.Blocks())
        {
            if (!_summaries.TryGet(key, out string? known))
            {
                known = await WriteSummaryAsync(model, summary, block, cancellationToken).ConfigureAwait(false);
                _summaries.Add(key, known);
            }

            summary = known;
        }

        return summary;
    }

    private async Task<string?> WriteSummaryAsync(GemmaModel model, string? before, IReadOnlyList<ChatMessage> block, CancellationToken cancellationToken)
    {
        List<ChatMessage> prompt = before is null ? [] : [ConversationCut.SummaryMessage(before)];
        int kept = prompt.Count;
        prompt.AddRange(block);
        prompt.Add(new ChatMessage(ChatRole.User, _options.SummaryInstructions));
        while (model.CountTokens(prompt) > model.ContextLength - _options.MaxSummaryTokens && prompt.Count > kept + 1)
        {
            // One turn of what is cut is longer than the context: what it begins with is left out.
            prompt.RemoveAt(kept);
        }

        if (prompt.Count == kept + 1)
        {
            return before;
        }

        ChatResponse answer = await model.AsIChatClient().GetResponseAsync(prompt, new ChatOptions { Temperature = 0, MaxOutputTokens = _options.MaxSummaryTokens }, cancellationToken).ConfigureAwait(false);
        return string.IsNullOrWhiteSpace(answer.Text) ? before : answer.Text.Trim();
    }

    private static ModelReference ReferenceOf(IChatClient client)
    {
        ArgumentNullException.ThrowIfNull(client);
        return client.GetService<ModelReference>() ?? throw new ArgumentException(
            "There is no Gemma model behind this client, so nobody knows how many tokens a conversation has. Use the client of a GemmaModel, or Microsoft.Extensions.AI's reducers.", nameof(client));
    }
}
