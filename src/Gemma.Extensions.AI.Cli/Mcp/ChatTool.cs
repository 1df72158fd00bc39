using System.Text;
using Microsoft.Extensions.AI;
using ModelContextProtocol;
using ModelContextProtocol.Protocol;
using ModelContextProtocol.Server;

namespace Gemma.Extensions.AI.Cli.Mcp;

/// <summary>Has the model answer a message.</summary>
/// <param name="client">Answers.</param>
/// <param name="modelId">Name of the model.</param>
internal sealed class ChatTool(IChatClient client, string modelId) : ModelTool(
    "chat", "Ask Gemma", $"Has the language model {modelId}, which runs on this machine, answer a message. It knows nothing of this conversation: give it all that it needs.", """
    {
      "type": "object",
      "properties": {
        "message": { "type": "string", "description": "What to answer." },
        "system": { "type": "string", "description": "Instructions that the answer follows." },
        "schema": { "type": "object", "description": "JSON schema of the answer, which is then JSON and nothing else." },
        "max_tokens": { "type": "integer", "minimum": 1, "description": "Most tokens of the answer." },
        "temperature": { "type": "number", "minimum": 0, "description": "0 always takes the most probable token." },
        "seed": { "type": "integer", "minimum": 0, "description": "The same seed gives the same answer." }
      },
      "required": ["message"],
      "additionalProperties": false
    }
    """)
{
    /// <summary>Tokens, about, between two reports of progress.</summary>
    private const int ReportEvery = 8;

    protected override async Task<CallToolResult> RunAsync(ToolArguments arguments, RequestContext<CallToolRequestParams> request, CancellationToken cancellationToken)
    {
        ChatOptions options = new()
        {
            Instructions = arguments.OptionalText("system"),
            MaxOutputTokens = arguments.Integer("max_tokens", 1),
            Temperature = arguments.Number("temperature"),
            Seed = arguments.Integer("seed", 0),
            ResponseFormat = arguments.Object("schema") is { } schema ? ChatResponseFormat.ForJsonSchema(schema) : null,
        };
        StringBuilder text = new();
        ChatFinishReason? finish = null;
        int pieces = 0;
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync([new ChatMessage(ChatRole.User, arguments.Text("message"))], options, cancellationToken))
        {
            text.Append(update.Text);
            finish = update.FinishReason ?? finish;
            if (request.Params?.ProgressToken is { } token && update.Text.Length > 0 && pieces++ % ReportEvery == 0)
            {
                await request.Server.NotifyProgressAsync(token, new ProgressNotificationValue { Progress = text.Length, Message = $"{text.Length:N0} characters" }, cancellationToken: cancellationToken);
            }
        }

        CallToolResult result = Result(text.ToString());
        if (finish == ChatFinishReason.Length)
        {
            result.Content.Add(new TextContentBlock { Text = "(The answer was cut: max_tokens or the context ended.)" });
        }

        return result;
    }
}
