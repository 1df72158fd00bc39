using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// A conversation reduced to what a prompt can hold: text, calls and results. Histories come from other clients too (behind a router, as the second of a
/// failover, from a stored session), with contents of theirs; what those say is kept, what only their service can use is left out:
/// <list type="bullet">
/// <item>Text files that came as data are text. Citations, usage and reasoning are left out.</item>
/// <item>Tools run by a service (web search, code interpreter, MCP servers, image generation) become a call and, if there is one, its result.</item>
/// <item>A refused approval request becomes a failed call; one that is pending, or whose call follows, is left out.</item>
/// <item>Files stored by a service, and media in messages of others than the user, are replaced by a note.</item>
/// <item>Unknown kinds of content are dropped from messages of assistants and tools.</item>
/// </list>
/// An image in a user's message is refused: the answer would be about something that the model never saw.
/// </summary>
internal static class ConversationContents
{
    private static readonly ChatRole s_developer = new("developer");

    /// <summary>True if a message instructs the model instead of talking to it.</summary>
    public static bool IsSystem(ChatMessage message) => message.Role == ChatRole.System || message.Role == s_developer;

    /// <summary>The conversation in messages of <see cref="TextContent"/>, <see cref="FunctionCallContent"/> and <see cref="FunctionResultContent"/> alone; results stand in messages that are not the assistant's.</summary>
    /// <exception cref="ArgumentException">A message or a content is null.</exception>
    /// <exception cref="NotSupportedException">A message holds content that Gemma 2 cannot read; the message of the exception names it.</exception>
    public static IEnumerable<ChatMessage> Reduce(IEnumerable<ChatMessage> messages)
    {
        IReadOnlyList<ChatMessage> all = messages as IReadOnlyList<ChatMessage> ?? [.. messages];
        CallIds? ids = null;
        foreach (ChatMessage? message in all)
        {
            if (message is null)
            {
                throw new ArgumentException("A message of the conversation is null. Leave it out.", nameof(messages));
            }

            if (IsPlain(message))
            {
                yield return message;
                continue;
            }

            foreach (ChatMessage part in Split(message, ids ??= new CallIds(all)))
            {
                yield return part;
            }
        }
    }

    /// <summary>The result of a service's tool.</summary>
    public static IList<AIContent> OutputsOf(ToolResultContent result) => result switch
    {
        McpServerToolResultContent mcp => mcp.Outputs,
        WebSearchToolResultContent search => search.Outputs,
        CodeInterpreterToolResultContent code => code.Outputs,
        ImageGenerationToolResultContent image => image.Outputs,
        _ => null,
    } ?? [];

    private static bool IsPlain(ChatMessage message)
    {
        foreach (AIContent content in message.Contents)
        {
            if (content is not (TextContent or FunctionCallContent or FunctionResultContent) || (content is not TextContent && IsSystem(message))
                || (content is FunctionResultContent && message.Role == ChatRole.Assistant))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>One message, or several if a result occurs within the assistant's.</summary>
    private static IEnumerable<ChatMessage> Split(ChatMessage message, CallIds ids)
    {
        List<AIContent> contents = [];
        ChatRole role = message.Role;
        foreach (AIContent content in message.Contents)
        {
            if (Map(content, message, ids) is not { } mapped)
            {
                continue;
            }

            ChatRole wanted = mapped is FunctionResultContent && message.Role == ChatRole.Assistant ? ChatRole.Tool : message.Role;
            if (wanted != role && contents.Count > 0)
            {
                yield return new ChatMessage(role, contents);
                contents = [];
            }

            role = wanted;
            contents.Add(mapped);
        }

        if (contents.Count > 0)
        {
            yield return new ChatMessage(role, contents);
        }
    }

    /// <summary>The text of a content in a prompt; null if it is left out.</summary>
    private static AIContent? Map(AIContent? content, ChatMessage message, CallIds ids)
    {
        AIContent? mapped = content switch
        {
            null => throw new ArgumentException($"A message of role '{message.Role}' holds a content that is null. Leave it out."),
            TextContent or FunctionCallContent or FunctionResultContent => content,
            DataContent data when !IsPicture(data.MediaType, message) && MediaText.Decode(data) is { } text => new TextContent(text),
            DataContent data => Note(data, message),
            UriContent uri => Note(uri, message),
            HostedFileContent file => IsPicture(file.MediaType, message) ? throw Unsupported(file, message.Role) : new TextContent($"\n{MediaText.Note(file)}\n"),
            HostedVectorStoreContent store => new TextContent($"\n{MediaText.Note(store)}\n"),
            ErrorContent error => new TextContent(error.Message),
            UsageContent or TextReasoningContent => null, // not part of what was said
            ToolApprovalRequestContent request => ids.WasRefused(request.ToolCall) ? AsCall(request.ToolCall) : null,
            ToolApprovalResponseContent response => ids.WasRefused(response.ToolCall) ? Refusal(response) : null,
            ToolCallContent call => ids.HasResult(call.CallId) ? AsCall(call) : null,
            ToolResultContent result => OutputsOf(result) is { Count: > 0 } outputs ? new FunctionResultContent(result.CallId, outputs) : null,
            InputRequestContent or InputResponseContent => null,
            _ => message.Role == ChatRole.Assistant || message.Role == ChatRole.Tool ? null : throw Unsupported(content, message.Role),
        };
        return mapped is null or TextContent || !IsSystem(message) ? mapped : throw Unsupported(content, message.Role);
    }

    /// <summary>A call run by a service, as a function call; null for unknown kinds.</summary>
    private static FunctionCallContent? AsCall(ToolCallContent call) => call switch
    {
        FunctionCallContent function => function,
        McpServerToolCallContent mcp => new FunctionCallContent(mcp.CallId, mcp.Name, mcp.Arguments),
        WebSearchToolCallContent search => new FunctionCallContent(search.CallId, "web_search", new Dictionary<string, object?> { ["queries"] = search.Queries ?? [] }),
        CodeInterpreterToolCallContent code => new FunctionCallContent(code.CallId, "code_interpreter", new Dictionary<string, object?> { ["code"] = CodeOf(code) }),
        ImageGenerationToolCallContent image => new FunctionCallContent(image.CallId, "image_generation"),
        _ => null,
    };

    private static string CodeOf(CodeInterpreterToolCallContent call) =>
        string.Join('\n', (call.Inputs ?? []).Select(static input => input switch
        {
            TextContent text => text.Text,
            DataContent data when MediaText.Decode(data) is { } text => text,
            _ => MediaText.Note(input),
        }));

    private static FunctionResultContent Refusal(ToolApprovalResponseContent response)
    {
        string message = string.IsNullOrWhiteSpace(response.Reason) ? "The user refused this call." : $"The user refused this call: {response.Reason}";
        return new FunctionResultContent(response.ToolCall.CallId, message) { Exception = new OperationCanceledException(message) };
    }

    private static TextContent Note(AIContent content, ChatMessage message) =>
        message.Role == ChatRole.Assistant || message.Role == ChatRole.Tool ? new TextContent($"\n{MediaText.Note(content)}\n") : throw Unsupported(content, message.Role);

    /// <summary>True for media (images, sound) that the user or the system shows the model.</summary>
    private static bool IsPicture(string? mediaType, ChatMessage message) =>
        message.Role != ChatRole.Assistant && message.Role != ChatRole.Tool && mediaType is not null
        && (mediaType.StartsWith("image/", StringComparison.OrdinalIgnoreCase) || mediaType.StartsWith("audio/", StringComparison.OrdinalIgnoreCase) || mediaType.StartsWith("video/", StringComparison.OrdinalIgnoreCase));

    private static NotSupportedException Unsupported(AIContent content, ChatRole role)
    {
        string type = content switch
        {
            DataContent data => $"{nameof(DataContent)} ({data.MediaType})",
            UriContent uri => $"{nameof(UriContent)} ({uri.MediaType})",
            HostedFileContent file => $"{nameof(HostedFileContent)} ({file.MediaType})",
            _ => content.GetType().Name,
        };
        return new NotSupportedException(
            $"A message of role '{role}' holds {type}. Gemma 2 reads text only: text, function calls and function results. Leave the content out, or put into words what it shows.");
    }

    /// <summary>The calls of the conversation that have a result.</summary>
    private sealed class CallIds
    {
        private readonly HashSet<string> _calls = new(StringComparer.Ordinal), _results = new(StringComparer.Ordinal), _refused = new(StringComparer.Ordinal);

        public CallIds(IReadOnlyList<ChatMessage> messages)
        {
            foreach (AIContent? content in messages.SelectMany(static message => message?.Contents ?? []))
            {
                switch (content)
                {
                    case FunctionResultContent result:
                        _results.Add(result.CallId);
                        break;
                    case ToolResultContent result when OutputsOf(result).Count > 0:
                        _results.Add(result.CallId);
                        break;
                    case ToolCallContent call:
                        _calls.Add(call.CallId);
                        break;
                    case ToolApprovalResponseContent { Approved: false } response:
                        _refused.Add(response.ToolCall.CallId);
                        break;
                }
            }
        }

        public bool HasResult(string callId) => _results.Contains(callId);

        /// <summary>True if a call was refused and nothing else in the conversation says so.</summary>
        public bool WasRefused(ToolCallContent call) =>
            _refused.Contains(call.CallId) && !_calls.Contains(call.CallId) && !_results.Contains(call.CallId) && AsCall(call) is not null;
    }
}
