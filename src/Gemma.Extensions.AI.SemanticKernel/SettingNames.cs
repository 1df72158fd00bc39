using System.Collections;
using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.SemanticKernel;

/// <summary>
/// Semantic Kernel turns <c>temperature</c>, <c>top_p</c>, <c>top_k</c>, <c>max_tokens</c>, <c>seed</c>, <c>stop_sequences</c>, the two penalties and
/// <c>response_format</c> of <see cref="Microsoft.SemanticKernel.PromptExecutionSettings.ExtensionData"/> into chat options, and passes other names on.
/// Of those, the spellings that prompts written for other connectors use are taken up here. A value that is set already stays.
/// </summary>
internal static class SettingNames
{
    public static void Apply(ChatOptions options)
    {
        options.ResponseFormat = Unwrapped(options.ResponseFormat);
        if (options.AdditionalProperties is not { Count: > 0 } names)
        {
            return;
        }

        foreach ((string name, object? value) in names.ToArray())
        {
            if (value is null or JsonElement { ValueKind: JsonValueKind.Null or JsonValueKind.Undefined })
            {
                continue; // as if it were not there
            }

            switch (Simplify(name))
            {
                case "maxtokens" or "maxcompletiontokens" or "maxnewtokens" or "maxoutputtokens":
                    options.MaxOutputTokens ??= (int)Number(name, value);
                    break;
                case "temperature":
                    options.Temperature ??= (float)Number(name, value);
                    break;
                case "topp":
                    options.TopP ??= (float)Number(name, value);
                    break;
                case "topk":
                    options.TopK ??= (int)Number(name, value);
                    break;
                case "frequencypenalty":
                    options.FrequencyPenalty ??= (float)Number(name, value);
                    break;
                case "presencepenalty":
                    options.PresencePenalty ??= (float)Number(name, value);
                    break;
                case "stop" or "stopsequences":
                    options.StopSequences ??= Strings(name, value);
                    break;
                case "minp":
                    names["min_p"] = value;
                    continue;
                case "repetitionpenalty" or "repeatpenalty":
                    names["repetition_penalty"] = value;
                    continue;
                case "logitbias" or "tokenselectionbiases":
                    names["logit_bias"] = value;
                    continue;
                default:
                    continue;
            }

            names.Remove(name);
        }
    }

    /// <summary>max_tokens, maxTokens and MaxTokens are one name.</summary>
    private static string Simplify(string name) => name.Replace("_", "", StringComparison.Ordinal).ToLowerInvariant();

    private static double Number(string name, object? value)
    {
        try
        {
            return value switch
            {
                JsonElement { ValueKind: JsonValueKind.Number } json => json.GetDouble(),
                JsonElement json => double.Parse(json.ToString(), CultureInfo.InvariantCulture),
                _ => Convert.ToDouble(value, CultureInfo.InvariantCulture),
            };
        }
        catch (Exception exception) when (exception is FormatException or InvalidCastException or OverflowException)
        {
            throw new ArgumentException($"The prompt execution setting '{name}' is '{value}', expected a number.", name, exception);
        }
    }

    /// <summary>A schema in the form of OpenAI's API, as in settings for its connectors.</summary>
    private static ChatResponseFormat? Unwrapped(ChatResponseFormat? format) =>
        format is ChatResponseFormatJson { Schema: { ValueKind: JsonValueKind.Object } outer }
        && outer.TryGetProperty("type", out JsonElement type) && type.ValueKind == JsonValueKind.String && type.GetString() == "json_schema"
        && outer.TryGetProperty("json_schema", out JsonElement wrapper) && wrapper.ValueKind == JsonValueKind.Object
        && wrapper.TryGetProperty("schema", out JsonElement schema)
            ? ChatResponseFormat.ForJsonSchema(schema)
            : format;

    private static List<string> Strings(string name, object? value) => value switch
    {
        string one => [one],
        JsonElement { ValueKind: JsonValueKind.String } json => [json.GetString()!],
        JsonElement { ValueKind: JsonValueKind.Array } json => [.. json.EnumerateArray().Select(static item => item.ToString())],
        IEnumerable several => [.. several.Cast<object?>().Select(static item => item?.ToString() ?? "")],
        _ => throw new ArgumentException($"The prompt execution setting '{name}' is '{value}', expected text or a list of texts.", name),
    };
}
