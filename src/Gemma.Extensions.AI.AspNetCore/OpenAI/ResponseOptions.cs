using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>The members of a response request as a request to a model, and as the response that begins.</summary>
internal static class ResponseOptions
{
    private static readonly JsonElement s_text = JsonElement.Parse("""{"format":{"type":"text"}}""");
    private static readonly JsonElement s_auto = JsonElement.Parse("\"auto\"");
    private static readonly JsonElement s_noMetadata = JsonElement.Parse("{}");

    public static ChatRequest Read(ServerCore core, HttpContext http, ResponseRequest body, IReadOnlyList<JsonElement> conversation)
    {
        Refuse(body);
        (ChatToolMode? mode, List<AITool>? tools) = ToolChoices.Choose(ReadTools(body.Tools), body.ToolChoice);
        bool wantsLogProbabilities = body.TopLogprobs is > 0 || body.Include?.Contains("message.output_text.logprobs") == true;
        return new ChatRequest
        {
            Model = core.Models.Resolve(body.Model, ModelPurpose.Chat),
            Messages = ResponseItems.Read(body.Instructions, conversation),
            Options = new()
            {
                Temperature = body.Temperature,
                TopP = body.TopP,
                TopK = body.TopK,
                Seed = body.Seed,
                StopSequences = ChatCompletionOptions.ReadStop(body.Stop),
                MaxOutputTokens = body.MaxOutputTokens,
                Tools = tools,
                ToolMode = mode,
                AllowMultipleToolCalls = tools is null ? null : body.ParallelToolCalls,
                ResponseFormat = ReadFormat(body.Text?.Format),
            },
            Extras = new()
            {
                MinP = body.MinP,
                RepetitionPenalty = body.RepeatPenalty,
                TopLogProbabilities = wantsLogProbabilities ? body.TopLogprobs ?? 0 : null,
                Grammar = body.Grammar,
                Regex = body.Regex,
                Caller = Caller.Of(http, body.User),
                LenientSchemas = body.Text?.Format?.Strict != true && body.Tools?.Any(IsStrict) != true,
            },
        };
    }

    public static ResponseBody Begin(ResponseRequest body, ChatRequest request) => new()
    {
        Id = $"resp_{Guid.NewGuid():N}",
        CreatedAt = DateTimeOffset.UtcNow.ToUnixTimeSeconds(),
        Status = "in_progress",
        Background = body.Background == true,
        Instructions = body.Instructions,
        MaxOutputTokens = body.MaxOutputTokens,
        Model = request.Model.Name,
        ParallelToolCalls = body.ParallelToolCalls ?? true,
        PreviousResponseId = body.PreviousResponseId,
        Store = body.Store ?? true,
        Temperature = body.Temperature,
        Text = body.Text?.Format is null ? s_text : JsonSerializer.SerializeToElement(body.Text, OpenAIJson.Wire.ResponseTextOptions),
        ToolChoice = body.ToolChoice is { ValueKind: not JsonValueKind.Null } choice ? choice : s_auto,
        Tools = body.Tools ?? [],
        TopP = body.TopP,
        User = body.User,
        Metadata = body.Metadata is { ValueKind: JsonValueKind.Object } metadata ? metadata : s_noMetadata,
    };

    /// <summary>The functions of the tools, in flat or nested form. Tools of other types, which only OpenAI's own service runs, are left out.</summary>
    private static List<AITool> ReadTools(IReadOnlyList<JsonElement>? tools)
    {
        List<AITool> functions = [];
        for (int i = 0; i < (tools?.Count ?? 0); i++)
        {
            string at = $"tools[{i}]";
            JsonElement tool = tools![i];
            if (tool.ValueKind != JsonValueKind.Object)
            {
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} is {ContentParts.Describe(tool)}, expected a tool.", at);
            }

            if (ResponseItems.Text(tool, "type") is null or "function")
            {
                JsonElement function = Function(tool);
                functions.Add(FunctionArguments.Declare(ResponseItems.Text(function, "name"), ResponseItems.Text(function, "description"), ResponseItems.Member(function, "parameters"), at));
            }
        }

        return functions;
    }

    private static bool IsStrict(JsonElement tool) => tool.ValueKind == JsonValueKind.Object && ResponseItems.Member(Function(tool), "strict") is { ValueKind: JsonValueKind.True };

    private static JsonElement Function(JsonElement tool) => ResponseItems.Member(tool, "function") is { ValueKind: JsonValueKind.Object } nested ? nested : tool;

    private static ChatResponseFormat? ReadFormat(ResponseTextFormat? format) => format?.Type switch
    {
        null or "text" => null,
        "json_object" => ChatResponseFormat.Json,
        "json_schema" when format.Schema is { ValueKind: JsonValueKind.Object } schema => ChatResponseFormat.ForJsonSchema(schema, format.Name, format.Description),
        "json_schema" => throw new ServerErrorException(ErrorKind.InvalidRequest, "'text.format.schema' is missing, expected a JSON schema.", "text.format.schema"),
        { } other => throw new ServerErrorException(ErrorKind.InvalidRequest, $"'text.format.type' is '{other}', expected text, json_object or json_schema.", "text.format.type"),
    };

    private static void Refuse(ResponseRequest body)
    {
        if (body.Conversation is { ValueKind: not JsonValueKind.Null })
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'conversation' is not supported. Send 'previous_response_id' or the whole input.", "conversation");
        }

        if (body.Prompt is { ValueKind: not JsonValueKind.Null })
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'prompt' is not supported: this server keeps no prompts. Send 'instructions' and 'input'.", "prompt");
        }

        if (body.Background == true && body.Stream == true)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'background' together with 'stream' is not supported. Ask in the background and fetch the response by its id, or stream it.", "background");
        }

        if (body.Background == true && body.Store == false)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'background' needs 'store': otherwise nobody could fetch the response.", "background");
        }
    }
}
