using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Orleans.Wire;

/// <summary>Conversations as they travel: reduced to what a prompt can hold where they are known best, at the caller's.</summary>
internal static class Conversations
{
    /// <exception cref="NotSupportedException">A message holds what Gemma 2 cannot read.</exception>
    public static WireMessage[] ToWire(IReadOnlyList<ChatMessage> messages)
    {
        WireMessage[] reduced = [.. ConversationContents.Reduce(messages).Select(message => new WireMessage { Role = message.Role.Value, Contents = [.. message.Contents.Select(ToWire)] })];
        return reduced.Length == 0 && messages.Count > 0 ? [new WireMessage { Role = messages[^1].Role.Value }] : reduced; // a message without contents is a conversation too
    }

    public static List<ChatMessage> ToMessages(WireMessage[] messages) =>
        [.. messages.Select(message => new ChatMessage(new ChatRole(message.Role), [.. message.Contents.Select(ToContent)]))];

    public static Dictionary<string, object?> ToArguments(string json)
    {
        Dictionary<string, object?> arguments = [];
        foreach (JsonProperty member in JsonElement.Parse(json, new JsonDocumentOptions { MaxDepth = int.MaxValue }).EnumerateObject())
        {
            arguments[member.Name] = member.Value;
        }

        return arguments;
    }

    public static string ToJson(IDictionary<string, object?>? arguments)
    {
        StringBuilder json = new("{");
        foreach ((string name, object? value) in arguments ?? new Dictionary<string, object?>())
        {
            json.Append(json.Length > 1 ? "," : "");
            CompactJson.AppendString(json, name);
            json.Append(':');
            CompactJson.Append(json, value);
        }

        return json.Append('}').ToString();
    }

    private static WireContent ToWire(AIContent content) => content switch
    {
        TextContent text => new WireContent { Text = text.Text },
        FunctionCallContent call => new WireContent { CallId = call.CallId, Name = call.Name, Json = ToJson(call.Arguments) },
        FunctionResultContent result => new WireContent { CallId = result.CallId, Json = ChatTemplate.ResultText(result) },
        _ => throw new InvalidOperationException($"A reduced conversation holds {content.GetType().Name}."),
    };

    private static AIContent ToContent(WireContent content) =>
        content.Text is { } text ? new TextContent(text)
        : content.Name is { } name ? new FunctionCallContent(content.CallId!, name, ToArguments(content.Json!))
        : new FunctionResultContent(content.CallId!, new CarriedToolResult(content.Json!));
}
