using System.Text.Json;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Grammar.DotNet;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Orleans.Wire;

/// <summary>Options of a call as they travel. What only the caller's process can know, types and factories, is resolved there.</summary>
internal static class CallOptions
{
    /// <exception cref="NotSupportedException">The response format is of an unknown kind, or a type cannot be enforced.</exception>
    /// <exception cref="ArgumentException">The schema of the response format is undefined, or an additional property that a model reads is of the wrong kind.</exception>
    public static WireOptions ToWire(ChatOptions? options, GemmaGenerationOptions? raw, string model) => new()
    {
        Instructions = options?.Instructions,
        ModelId = string.Equals(options?.ModelId, model, StringComparison.OrdinalIgnoreCase) ? null : options?.ModelId,
        Temperature = raw?.Temperature ?? options?.Temperature,
        TopK = raw?.TopK ?? options?.TopK,
        TopP = raw?.TopP ?? options?.TopP,
        MinP = raw?.MinP ?? GenerationSettings.Number(options?.AdditionalProperties, "min_p"),
        FrequencyPenalty = raw?.FrequencyPenalty ?? options?.FrequencyPenalty,
        PresencePenalty = raw?.PresencePenalty ?? options?.PresencePenalty,
        RepetitionPenalty = raw?.RepetitionPenalty ?? GenerationSettings.Number(options?.AdditionalProperties, "repetition_penalty"),
        LogitBias = raw?.LogitBias is { } bias ? new Dictionary<int, float>(bias) : GenerationSettings.Bias(options?.AdditionalProperties),
        Seed = raw?.Seed ?? options?.Seed ?? Random.Shared.NextInt64(),
        TopLogProbabilities = raw?.TopLogProbabilities,
        LogProbabilitySource = (int?)raw?.LogProbabilitySource,
        MaxOutputTokens = raw?.MaxOutputTokens ?? options?.MaxOutputTokens,
        StopSequences = (raw?.StopSequences ?? options?.StopSequences) is { } stops ? [.. stops] : null,
        Adapter = raw?.Adapter ?? GenerationSettings.Text(options?.AdditionalProperties, "adapter"),
        Priority = raw?.Priority,
        Caller = raw?.Caller,
        Timeout = raw?.Timeout,
        Regex = raw?.Regex,
        Grammar = raw?.Grammar,
        LenientSchemas = raw?.LenientSchemas,
        Rfc3339Times = raw?.Rfc3339Times,
        MaxStringLength = raw?.MaxStringLength,
        PropertyOrder = (int?)raw?.PropertyOrder,
        Format = FormatOf(options?.ResponseFormat),
        Schema = SchemaOf(options?.ResponseFormat, raw),
        Tools = [.. (options?.Tools ?? []).OfType<AIFunctionDeclaration>().Select(tool => ToWire(tool, offered: options!.ToolMode is not NoneChatToolMode, raw?.LenientSchemas ?? false))],
        ToolMode = options?.ToolMode switch { null => WireToolMode.Unset, NoneChatToolMode => WireToolMode.None, RequiredChatToolMode => WireToolMode.Required, _ => WireToolMode.Auto },
        RequiredFunction = (options?.ToolMode as RequiredChatToolMode)?.RequiredFunctionName,
        AllowMultipleToolCalls = options?.AllowMultipleToolCalls,
    };

    public static (ChatOptions Options, GemmaGenerationOptions Raw) FromWire(WireOptions wire)
    {
        ChatOptions options = new()
        {
            Instructions = wire.Instructions,
            ModelId = wire.ModelId,
            ResponseFormat = wire.Format switch
            {
                WireFormat.Text => ChatResponseFormat.Text,
                WireFormat.Json => ChatResponseFormat.Json,
                WireFormat.Schema => ChatResponseFormat.ForJsonSchema(Parse(wire.Schema)),
                _ => null,
            },
            Tools = wire.Tools.Length == 0 ? null : [.. wire.Tools.Select(tool => new CarriedTool(tool.Name, tool.Description, Parse(tool.Schema), Parse(tool.EnforcedSchema ?? tool.Schema)))],
            ToolMode = wire.ToolMode switch
            {
                WireToolMode.None => ChatToolMode.None,
                WireToolMode.Auto => ChatToolMode.Auto,
                WireToolMode.Required => wire.RequiredFunction is { } name ? ChatToolMode.RequireSpecific(name) : ChatToolMode.RequireAny,
                _ => null,
            },
            AllowMultipleToolCalls = wire.AllowMultipleToolCalls,
        };
        return (options, RawOf(wire));
    }

    private static GemmaGenerationOptions RawOf(WireOptions wire) => new()
    {
        Temperature = wire.Temperature,
        TopK = wire.TopK,
        TopP = wire.TopP,
        MinP = wire.MinP,
        FrequencyPenalty = wire.FrequencyPenalty,
        PresencePenalty = wire.PresencePenalty,
        RepetitionPenalty = wire.RepetitionPenalty,
        LogitBias = wire.LogitBias,
        Seed = wire.Seed,
        TopLogProbabilities = wire.TopLogProbabilities,
        LogProbabilitySource = (GemmaLogProbabilitySource?)wire.LogProbabilitySource,
        MaxOutputTokens = wire.MaxOutputTokens,
        StopSequences = wire.StopSequences,
        Adapter = wire.Adapter,
        Priority = wire.Priority,
        Caller = wire.Caller,
        Timeout = wire.Timeout,
        Regex = wire.Regex,
        Grammar = wire.Grammar,
        LenientSchemas = wire.LenientSchemas,
        Rfc3339Times = wire.Rfc3339Times,
        MaxStringLength = wire.MaxStringLength,
        PropertyOrder = (GemmaPropertyOrder?)wire.PropertyOrder,
    };

    private static WireTool ToWire(AIFunctionDeclaration tool, bool offered, bool lenient)
    {
        string? schema = RawText(tool.JsonSchema);
        string? enforced = offered ? RawText(DotNetParameters.SchemaOf(tool, lenient)) : null;
        return new WireTool { Name = tool.Name, Description = tool.Description, Schema = schema, EnforcedSchema = enforced == schema ? null : enforced };
    }

    private static WireFormat FormatOf(ChatResponseFormat? format) => format switch
    {
        null => WireFormat.None,
        ChatResponseFormatText => WireFormat.Text,
        ChatResponseFormatJson { Schema: null } => WireFormat.Json,
        ChatResponseFormatJson => WireFormat.Schema,
        _ => throw new NotSupportedException($"ChatOptions.ResponseFormat is a {format.GetType().Name}; Text, Json and JSON schemas are supported."),
    };

    private static string? SchemaOf(ChatResponseFormat? format, GemmaGenerationOptions? raw) =>
        format is not ChatResponseFormatJson { Schema: { } schema } json ? null
        : schema.ValueKind == JsonValueKind.Undefined ? throw new ArgumentException("ChatOptions.ResponseFormat has a schema that is default(JsonElement). Parse one, or use ChatResponseFormat.Json for any JSON.", nameof(ChatOptions.ResponseFormat))
        : RawText(DotNetParameters.AnswerOf(schema, json.SchemaName, raw?.ResponseTypeInfo, raw?.LenientSchemas ?? false));

    private static string? RawText(JsonElement element) => element.ValueKind == JsonValueKind.Undefined ? null : element.GetRawText();

    private static JsonElement Parse(string? json) => json is null ? default : JsonElement.Parse(json, new JsonDocumentOptions { MaxDepth = int.MaxValue });
}
