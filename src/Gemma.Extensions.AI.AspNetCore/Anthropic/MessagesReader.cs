using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Anthropic;

/// <summary>The members of a request as a conversation and options of the abstractions and of Gemma.</summary>
internal static class MessagesReader
{
    public static ChatRequest Read(ServerCore core, HttpContext http, MessagesRequest body)
    {
        if (body.Messages is not { Count: > 0 })
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "messages: at least one message is required", "messages");
        }

        if (body.Thinking is { Type: not (null or "disabled") })
        {
            core.Unused.Say("Anthropic", ["thinking"]); // Gemma 2 has no such mode, and coding agents always ask for it
        }

        List<AITool> tools = ReadTools(body.Tools);
        JsonElement? schema = ReadSchema(body.OutputConfig?.Format ?? body.OutputFormat);
        return new()
        {
            Model = core.Models.Resolve(body.Model, ModelPurpose.Chat),
            Messages = [.. ReadSystem(body.System), .. ReadMessages(body.Messages)],
            Options = new()
            {
                MaxOutputTokens = body.MaxTokens,
                Temperature = body.Temperature,
                TopP = body.TopP,
                TopK = body.TopK,
                StopSequences = body.StopSequences is { Count: > 0 } stops ? [.. stops.OfType<string>()] : null,
                Tools = tools.Count > 0 ? tools : null,
                ToolMode = ReadChoice(body.ToolChoice, tools),
                AllowMultipleToolCalls = tools.Count > 0 && body.ToolChoice?.DisableParallelToolUse is { } one ? !one : null,
                ResponseFormat = schema is { } format ? ChatResponseFormat.ForJsonSchema(format) : null,
            },
            Extras = new()
            {
                Caller = Caller.Of(http, body.Metadata?.UserId),
                LenientSchemas = schema is null && body.Tools?.Any(static tool => tool?.Strict == true) != true, // a promise of strictness cannot be ignored
            },
        };
    }

    private static ChatMessage[] ReadSystem(JsonElement? system)
    {
        List<AIContent> contents = system is null or { ValueKind: JsonValueKind.Null } ? [] : ContentBlocks.Read(system, "system");
        contents.RemoveAll(static content => content is TextContent { Text: "" });
        return contents.Count == 0 ? [] : [new ChatMessage(ChatRole.System, contents)];
    }

    /// <summary>The messages. Results of tools, which are the user's here, become messages of their own before what else the user says.</summary>
    private static List<ChatMessage> ReadMessages(List<RequestMessage?> messages)
    {
        List<ChatMessage> read = [];
        for (int i = 0; i < messages.Count; i++)
        {
            string at = $"messages.{i}";
            RequestMessage? message = messages[i];
            switch (message?.Role)
            {
                case "user":
                    List<AIContent> contents = ContentBlocks.Read(message.Content, $"{at}.content");
                    AIContent[] results = [.. contents.Where(static content => content is FunctionResultContent)];
                    if (results.Length > 0)
                    {
                        read.Add(new ChatMessage(ChatRole.Tool, results));
                        contents.RemoveAll(static content => content is FunctionResultContent);
                    }

                    if (contents.Count > 0)
                    {
                        read.Add(new ChatMessage(ChatRole.User, contents));
                    }

                    break;
                case "assistant":
                    read.Add(new ChatMessage(ChatRole.Assistant, ContentBlocks.Read(message.Content, $"{at}.content")));
                    break;
                case "system":
                    read.Add(new ChatMessage(ChatRole.System, ContentBlocks.Read(message.Content, $"{at}.content")));
                    break;
                default:
                    throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at}.role is '{message?.Role}', expected user, assistant or system.", $"{at}.role");
            }
        }

        return read;
    }

    /// <summary>The functions. Tools that Anthropic runs or describes are left out: nobody here can run them.</summary>
    private static List<AITool> ReadTools(List<RequestTool?>? tools)
    {
        List<AITool> functions = [];
        for (int i = 0; i < (tools?.Count ?? 0); i++)
        {
            if (tools![i] is null or { Type: null or "custom" })
            {
                functions.Add(FunctionArguments.Declare(tools[i]?.Name, tools[i]?.Description, tools[i]?.InputSchema, $"tools.{i}"));
            }
        }

        return functions;
    }

    private static ChatToolMode? ReadChoice(RequestToolChoice? choice, List<AITool> tools) => choice?.Type switch
    {
        null when choice is null => null,
        "auto" => ChatToolMode.Auto,
        "none" => ChatToolMode.None,
        "any" => ChatToolMode.RequireAny,
        "tool" when choice.Name is { } name => tools.Any(tool => tool.Name == name) ? ChatToolMode.RequireSpecific(name)
            : throw new ServerErrorException(ErrorKind.InvalidRequest, $"tool_choice.name is '{name}', which 'tools' does not offer.", "tool_choice.name"),
        var type => throw new ServerErrorException(ErrorKind.InvalidRequest, $"tool_choice.type is '{type}', expected auto, any, none, or tool with a name.", "tool_choice.type"),
    };

    private static JsonElement? ReadSchema(RequestOutputFormat? format) => format switch
    {
        null or { Type: "text" } => null,
        { Type: "json_schema", Schema: { ValueKind: JsonValueKind.Object } schema } => schema,
        _ => throw new ServerErrorException(ErrorKind.InvalidRequest, $"output_config.format is of the type '{format.Type}', expected json_schema with a schema.", "output_config.format"),
    };
}
