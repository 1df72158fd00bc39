using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>Limits of a reduced conversation, in tokens.</summary>
/// <param name="MaxTokens">Most of a prompt.</param>
/// <param name="TargetTokens">What is left after a cut.</param>
/// <param name="SummaryTokens">Room for a summary of what is cut; 0: there is none.</param>
internal readonly record struct ReducerLimits(int MaxTokens, int TargetTokens, int SummaryTokens);

/// <summary>Where a conversation that is too long is cut: between two turns.</summary>
internal sealed class ConversationCut
{
    private readonly ChatMessage[] _head;
    private readonly List<Turn> _turns;

    /// <summary>Number of turns removed up to each cut; the last entry counts all that are cut now.</summary>
    private readonly List<int> _cuts = [];

    public ConversationCut(GemmaModel model, IReadOnlyList<ChatMessage> messages, ChatOptions? options, ReducerLimits limits)
    {
        _head = [.. messages.TakeWhile(ConversationContents.IsSystem)];
        ChatFormat format = model.ChatFormat;

        // What a turn alone has beside its own tokens, and what opens the answer.
        ChatMessage[] pair = [new(ChatRole.User, "x"), new(ChatRole.Assistant, "x")];
        int start = (2 * Closed(pair).Length) - Closed([.. pair, .. pair]).Length;
        int open = ChatTemplate.Render(format, pair[..1]).Tokens.Length - Closed(pair[..1]).Length;
        int head = Closed([.. _head, pair[0]], options).Length - Closed(pair[..1]).Length + start + open;
        _turns = [.. Split([.. messages.Skip(_head.Length)]).Select(turn => new Turn(turn, Closed(turn), start))];
        FindCuts(head, limits);

        // The sum of the turns is the whole to within a few tokens (white space where they meet, replies that the model spelt in its own way): the count decides.
        while (Cut < _turns.Count - 1 && model.CountTokens(Kept(null), options) + (Cut > 0 ? limits.SummaryTokens : 0) > limits.MaxTokens)
        {
            if (_cuts.Count == 0)
            {
                _cuts.Add(0);
            }

            _cuts[^1]++;
        }

        int[] Closed(IEnumerable<ChatMessage> part, ChatOptions? with = null) => ChatTemplate.Render(format, part, with, opensReply: false).Tokens;
    }

    private int Cut => _cuts is [.., var last] ? last : 0;

    /// <summary>A summary as a message.</summary>
    public static ChatMessage SummaryMessage(string summary) => new(ChatRole.User, $"Summary of the conversation so far: {summary}")
    {
        AdditionalProperties = new() { [GemmaChatReducer.SummaryKey] = true },
    };

    /// <summary>The messages that remain: system text, the summary, and the turns that are not cut.</summary>
    public IEnumerable<ChatMessage> Kept(string? summary) =>
        [.. _head, .. MessagesOf(0, Cut).Where(ConversationContents.IsSystem), .. summary is null ? (ChatMessage[])[] : [SummaryMessage(summary)], .. MessagesOf(Cut, _turns.Count)];

    /// <summary>The messages that go with each cut, with a key that tells them and all before them.</summary>
    public IEnumerable<(string Key, IReadOnlyList<ChatMessage> Messages)> Blocks()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        int from = 0;
        foreach (int to in _cuts)
        {
            _turns[from..to].ForEach(turn => hash.AppendData(MemoryMarshal.AsBytes(turn.Tokens.AsSpan())));
            yield return ($"{to} {Convert.ToHexString(hash.GetCurrentHash())}", [.. MessagesOf(from, to).Where(message => !ConversationContents.IsSystem(message))]);
            from = to;
        }
    }

    /// <summary>
    /// The turns of a conversation: each begins with a user's message, or with a summary. A turn that holds the result of an earlier turn's call belongs to that turn.
    /// </summary>
    internal static List<ChatMessage[]> Split(ChatMessage[] messages)
    {
        int[] origins = CallsOfResults(messages);
        List<int> starts = [];
        for (int i = 0; i < messages.Length; i++)
        {
            if (i == 0 || BeginsTurn(messages[i]) || IsSummary(messages[i - 1]))
            {
                starts.Add(i);
            }

            if (origins[i] < i)
            {
                starts.RemoveAll(start => start > origins[i] && start <= i);
            }
        }

        return [.. starts.Select((start, i) => messages[start..(i + 1 < starts.Count ? starts[i + 1] : messages.Length)])];
    }

    private static bool BeginsTurn(ChatMessage message) =>
        IsSummary(message) || (message.Role == ChatRole.User && message.Contents.Any(static content => content is not (ToolResultContent or FunctionResultContent or ToolApprovalResponseContent)));

    private static bool IsSummary(ChatMessage message) =>
        message.AdditionalProperties?.TryGetValue(GemmaChatReducer.SummaryKey, out object? value) == true && value is true or JsonElement { ValueKind: JsonValueKind.True };

    /// <summary>For each message the first one that holds a call, or a question for approval, that it answers; its own place where it answers none. Ids need not differ: a result answers the nearest call.</summary>
    private static int[] CallsOfResults(ChatMessage[] messages)
    {
        int[] origins = [.. Enumerable.Range(0, messages.Length)];
        Dictionary<string, Stack<int>> open = new(StringComparer.Ordinal);
        for (int i = 0; i < messages.Length; i++)
        {
            foreach (AIContent content in messages[i].Contents)
            {
                switch (content)
                {
                    case ToolCallContent call:
                        Add("c " + call.CallId, i);
                        break;
                    case ToolApprovalRequestContent request:
                        Add("a " + request.ToolCall.CallId, i);
                        break;
                    case ToolResultContent result:
                        Close("c " + result.CallId, i);
                        break;
                    case ToolApprovalResponseContent response:
                        Close("a " + response.ToolCall.CallId, i);
                        break;
                }
            }
        }

        return origins;

        void Add(string id, int at) => (open.TryGetValue(id, out Stack<int>? places) ? places : open[id] = new()).Push(at);

        void Close(string id, int at) => origins[at] = Math.Min(origins[at], open.TryGetValue(id, out Stack<int>? places) && places.TryPop(out int call) ? call : at);
    }

    /// <summary>Reads the conversation from its beginning, and cuts wherever it was too long then: so a history that grows is cut at the same places.</summary>
    private void FindCuts(int head, ReducerLimits limits)
    {
        int from = 0;
        int sum = head;
        for (int end = 0; end < _turns.Count; end++)
        {
            sum += _turns[end].Count;
            int room = _cuts.Count == 0 ? 0 : limits.SummaryTokens;
            if (sum + room > limits.MaxTokens && from < end)
            {
                while (from < end && sum + limits.SummaryTokens > limits.TargetTokens)
                {
                    sum -= _turns[from++].Count;
                }

                _cuts.Add(from);
            }
        }
    }

    private IEnumerable<ChatMessage> MessagesOf(int from, int to) => _turns.Take(from..to).SelectMany(turn => turn.Messages);

    private sealed class Turn(ChatMessage[] messages, int[] tokens, int start)
    {
        public ChatMessage[] Messages { get; } = messages;

        /// <summary>The turn alone, as the template writes it.</summary>
        public int[] Tokens { get; } = tokens;

        /// <summary>Tokens that it adds to a conversation.</summary>
        public int Count { get; } = tokens.Length - start;
    }
}
