using System.Globalization;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>The members of a chat completion request as options of the abstractions and of Gemma.</summary>
internal static class ChatCompletionOptions
{
    private const int MaxTopLogProbabilities = 20;

    public static ChatRequest Read(ServerCore core, HttpContext http, ChatCompletionRequest body)
    {
        Refuse(body);
        (ChatToolMode? mode, List<AITool>? tools) = ToolChoices.Read(body.Tools, body.ToolChoice);
        GemmaGenerationOptions extras = ReadExtras(http, body, ReadLogProbabilities(body.Logprobs, body.TopLogprobs));
        extras.LenientSchemas = !IsStrict(body);
        ChatOptions options = ReadSampling(body);
        options.MaxOutputTokens = body.MaxCompletionTokens ?? body.MaxTokens;
        options.Tools = tools;
        options.ToolMode = mode;
        options.AllowMultipleToolCalls = tools is null ? null : body.ParallelToolCalls;
        options.ResponseFormat = ReadFormat(body.ResponseFormat);
        return new ChatRequest
        {
            Model = core.Models.Resolve(body.Model, Models.ModelPurpose.Chat),
            Messages = ChatMessages.Read(body.Messages),
            Options = options,
            Extras = extras,
            Choices = ReadChoices(body.N, core.Options.MaxChoices),
        };
    }

    /// <summary>Reads the sampling parameters and stop sequences that <see cref="ChatOptions"/> has members for.</summary>
    internal static ChatOptions ReadSampling(CompletionRequest body) => new()
    {
        Temperature = body.Temperature,
        TopP = body.TopP,
        TopK = body.TopK,
        FrequencyPenalty = body.FrequencyPenalty,
        PresencePenalty = body.PresencePenalty,
        Seed = body.Seed,
        StopSequences = ReadStop(body.Stop),
    };

    /// <summary>Reads the sampling parameters that only <see cref="GemmaGenerationOptions"/> has members for, and the log probabilities to report.</summary>
    internal static GemmaGenerationOptions ReadExtras(HttpContext http, CompletionRequest body, int? topLogProbabilities) => new()
    {
        MinP = body.MinP,
        RepetitionPenalty = body.RepeatPenalty ?? body.RepetitionPenalty,
        LogitBias = ReadBias(body.LogitBias),
        TopLogProbabilities = topLogProbabilities,
        Grammar = body.Grammar,
        Regex = body.Regex,
        Caller = Caller.Of(http, body.User),
    };

    /// <summary>Number of answers requested.</summary>
    internal static int ReadChoices(int? n, int most) => n is null ? 1
        : n >= 1 && n <= most ? n.Value
        : throw new ServerErrorException(ErrorKind.InvalidRequest, $"'n' is {n}, expected 1 to {most}.", "n");

    internal static IList<string>? ReadStop(JsonElement? stop) => stop switch
    {
        null or { ValueKind: JsonValueKind.Null } => null,
        { ValueKind: JsonValueKind.String } text => [text.GetString()!],
        { ValueKind: JsonValueKind.Array } list => [.. list.EnumerateArray().Select(static item => item.ValueKind == JsonValueKind.String ? item.GetString()!
            : throw new ServerErrorException(ErrorKind.InvalidRequest, $"'stop' holds {ContentParts.Describe(item)}, expected texts.", "stop"))],
        { } other => throw new ServerErrorException(ErrorKind.InvalidRequest, $"'stop' is {ContentParts.Describe(other)}, expected a text or a list of texts.", "stop"),
    };

    private static Dictionary<int, float>? ReadBias(Dictionary<string, float>? bias) => bias?.ToDictionary(
        static entry => int.TryParse(entry.Key, NumberStyles.None, CultureInfo.InvariantCulture, out int id) ? id
            : throw new ServerErrorException(ErrorKind.InvalidRequest, $"'logit_bias' has the key '{entry.Key}', expected the id of a token.", "logit_bias"),
        static entry => entry.Value is >= -100 and <= 100 ? Banned(entry.Value)
            : throw new ServerErrorException(ErrorKind.InvalidRequest, $"'logit_bias' has the value {entry.Value}, expected -100 to 100.", "logit_bias"));

    /// <summary>OpenAI promises that -100 is a ban and 100 the only choice; as summands they nearly are.</summary>
    private static float Banned(float value) => value <= -100 ? float.NegativeInfinity : value;

    private static int? ReadLogProbabilities(bool? wanted, int? top) => (wanted, top) switch
    {
        (_, < 0 or > MaxTopLogProbabilities) => throw new ServerErrorException(ErrorKind.InvalidRequest, $"'top_logprobs' is {top}, expected 0 to {MaxTopLogProbabilities}.", "top_logprobs"),
        (true, _) => top ?? 0,
        (_, > 0) => throw new ServerErrorException(ErrorKind.InvalidRequest, "'top_logprobs' needs 'logprobs' to be true.", "top_logprobs"),
        _ => null,
    };

    private static ChatResponseFormat? ReadFormat(RequestResponseFormat? format) => format?.Type switch
    {
        null when format is null => null,
        "text" => null,
        "json_object" when format.Schema is { ValueKind: JsonValueKind.Object } schema => ChatResponseFormat.ForJsonSchema(schema),
        "json_object" => ChatResponseFormat.Json,
        "json_schema" when (format.JsonSchema?.Schema ?? format.Schema) is { ValueKind: JsonValueKind.Object } schema =>
            ChatResponseFormat.ForJsonSchema(schema, format.JsonSchema?.Name, format.JsonSchema?.Description),
        "json_schema" => throw new ServerErrorException(ErrorKind.InvalidRequest, "'response_format.json_schema.schema' is missing, expected a JSON schema.", "response_format.json_schema.schema"),
        { } other => throw new ServerErrorException(ErrorKind.InvalidRequest, $"'response_format.type' is '{other}', expected text, json_object or json_schema.", "response_format.type"),
        null => throw new ServerErrorException(ErrorKind.InvalidRequest, "'response_format.type' is missing, expected text, json_object or json_schema.", "response_format.type"),
    };

    /// <summary>Without strictness a schema is followed as far as it can be enforced, as with OpenAI; with it, an unenforceable schema is refused.</summary>
    private static bool IsStrict(ChatCompletionRequest body) =>
        body.ResponseFormat?.JsonSchema?.Strict == true || body.Tools?.Any(static tool => tool?.Function?.Strict == true) == true;

    private static void Refuse(ChatCompletionRequest body)
    {
        if (body.Functions is { ValueKind: not JsonValueKind.Null } || body.FunctionCall is { ValueKind: not JsonValueKind.Null })
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'functions' and 'function_call' were replaced by 'tools' and 'tool_choice'. Send those.", "functions");
        }

        if (body.Modalities?.FirstOrDefault(static modality => modality != "text") is { } other)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"'modalities' asks for '{other}', but answers are text.", "modalities");
        }
    }
}
