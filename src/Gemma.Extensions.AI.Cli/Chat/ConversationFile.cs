using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Cli.Terminal;
using Gemma.Extensions.AI.Files;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Cli.Chat;

/// <summary>A conversation as JSON, in the form that <c>gemma train --data</c> reads too: <c>{"messages":[{"role":"user","content":"…"},…]}</c> on one line.</summary>
internal static class ConversationFile
{
    public static void Write(string path, string? system, IEnumerable<ChatMessage> messages)
    {
        IEnumerable<(string Role, string Text)> turns = messages.Select(message => (message.Role.Value, message.Text));
        JsonObject conversation = new()
        {
            ["messages"] = new JsonArray([.. (system is null ? turns : turns.Prepend((Role: "system", Text: system))).Select(turn => new JsonObject { ["role"] = turn.Role, ["content"] = turn.Text })]),
        };
        WholeFile.Write(path, conversation.ToJsonString(JsonText.Readable) + "\n");
    }

    /// <exception cref="FormatException">The file holds something else; the message says what is expected.</exception>
    public static (string? System, List<ChatMessage> Messages) Read(string path)
    {
        try
        {
            using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(path));
            string? system = null;
            List<ChatMessage> messages = [];
            foreach (JsonElement message in json.RootElement.GetProperty("messages").EnumerateArray())
            {
                string role = message.GetProperty("role").GetString() ?? "", text = message.GetProperty("content").GetString() ?? "";
                switch (role)
                {
                    case "system" when messages.Count == 0 && system is null:
                        system = text;
                        break;
                    case "user" or "assistant":
                        messages.Add(new ChatMessage(new ChatRole(role), text));
                        break;
                    default:
                        throw new FormatException($"The role '{role}' has no place there: system first, then user and assistant.");
                }
            }

            return (system, messages);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new FormatException($"'{path}' is no conversation, expected {{\"messages\":[{{\"role\":\"user\",\"content\":\"…\"}},…]}}. {e.Message}", e);
        }
    }
}
