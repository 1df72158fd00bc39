using System.Collections;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>Settings of one answer, merged from all sources of options and checked.</summary>
internal sealed record GenerationSettings(
    SamplingOptions Sampling, int MaxOutputTokens, IReadOnlyList<string> StopSequences, string? Adapter, LogProbabilityOptions? LogProbabilities)
{
    /// <summary>Google's recommendation for Gemma, used where neither caller nor checkpoint says anything.</summary>
    private const float DefaultTemperature = 1f;
    private const int DefaultTopK = 64;
    private const float DefaultTopP = 0.95f;

    /// <summary>Merges, strongest first: <paramref name="raw"/>, <paramref name="options"/>, the checkpoint's defaults, Google's.</summary>
    /// <exception cref="ArgumentException">A value is out of range or of the wrong kind; the message names it.</exception>
    public static GenerationSettings Resolve(ChatOptions? options, GemmaGenerationOptions? raw, GenerationDefaults defaults, int vocabularySize)
    {
        AdditionalPropertiesDictionary? extra = options?.AdditionalProperties;
        SamplingOptions sampling = new()
        {
            Temperature = Check("Temperature", raw?.Temperature ?? options?.Temperature ?? defaults.Temperature ?? DefaultTemperature, 0, 100),
            TopK = CheckInteger("TopK", raw?.TopK ?? options?.TopK ?? defaults.TopK ?? DefaultTopK, 0),
            TopP = Check("TopP", raw?.TopP ?? options?.TopP ?? defaults.TopP ?? DefaultTopP, 0, 1),
            MinP = Check("min_p", raw?.MinP ?? Number(extra, "min_p") ?? 0, 0, 1),
            FrequencyPenalty = Check("FrequencyPenalty", raw?.FrequencyPenalty ?? options?.FrequencyPenalty ?? 0, -100, 100),
            PresencePenalty = Check("PresencePenalty", raw?.PresencePenalty ?? options?.PresencePenalty ?? 0, -100, 100),
            RepetitionPenalty = Check("repetition_penalty", raw?.RepetitionPenalty ?? Number(extra, "repetition_penalty") ?? 1, 0.01f, 100),
            LogitBias = CheckBias(raw?.LogitBias ?? Bias(extra), vocabularySize),
            Seed = raw?.Seed ?? options?.Seed,
        };
        int maxOutputTokens = CheckInteger("MaxOutputTokens", raw?.MaxOutputTokens ?? options?.MaxOutputTokens ?? int.MaxValue, 1);
        return new GenerationSettings(
            sampling, maxOutputTokens, CheckStops(raw?.StopSequences ?? options?.StopSequences), raw?.Adapter ?? Text(extra, "adapter"), LogProbabilitiesOf(raw));
    }

    /// <summary>A number of the additional properties; null where it is not there.</summary>
    /// <exception cref="ArgumentException">It is something else.</exception>
    public static float? Number(AdditionalPropertiesDictionary? properties, string name) =>
        Property(properties, name) is { } value ? ToNumber(name, value) : null;

    /// <summary>A text of the additional properties; null where it is not there.</summary>
    /// <exception cref="ArgumentException">It is something else.</exception>
    public static string? Text(AdditionalPropertiesDictionary? properties, string name) => Property(properties, name) switch
    {
        null => null,
        string text => text,
        JsonElement { ValueKind: JsonValueKind.String } json => json.GetString(),
        { } value => throw new ArgumentException($"AdditionalProperties[\"{name}\"] holds a {value.GetType().Name} ({value}), expected a text.", name),
    };

    /// <summary>The bias of the additional properties, as a dictionary, JSON or text of JSON; null where there is none.</summary>
    /// <exception cref="ArgumentException">It is something else.</exception>
    public static Dictionary<int, float>? Bias(AdditionalPropertiesDictionary? properties)
    {
        const string Name = "logit_bias";
        Dictionary<int, float> bias = [];
        switch (Property(properties, Name))
        {
            case null:
                return null;
            case JsonElement json:
                AddJson(json);
                return bias;
            case string text:
                try
                {
                    using JsonDocument document = JsonDocument.Parse(text);
                    AddJson(document.RootElement);
                    return bias;
                }
                catch (JsonException e)
                {
                    throw new ArgumentException($"AdditionalProperties[\"{Name}\"] is not valid JSON: {e.Message}", Name, e);
                }

            case IDictionary dictionary:
                foreach (DictionaryEntry entry in dictionary)
                {
                    bias[ToId(entry.Key)] = ToNumber(Name, entry.Value ?? "null");
                }

                return bias;
            case { } value:
                throw WrongKind(value.GetType().Name);
        }

        void AddJson(JsonElement json)
        {
            if (json.ValueKind != JsonValueKind.Object)
            {
                throw WrongKind($"JSON {json.ValueKind}");
            }

            foreach (JsonProperty property in json.EnumerateObject())
            {
                bias[ToId(property.Name)] = ToNumber(Name, property.Value);
            }
        }

        static ArgumentException WrongKind(string found) =>
            new($"AdditionalProperties[\"{Name}\"] holds a {found}, expected an object or dictionary of token ids to numbers.", Name);

        static int ToId(object key) => key switch
        {
            int id => id,
            long id when id is >= 0 and <= int.MaxValue => (int)id,
            string text when int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int id) => id,
            _ => throw new ArgumentException($"AdditionalProperties[\"{Name}\"] has the key \"{key}\", expected a token id.", Name),
        };
    }

    private static LogProbabilityOptions? LogProbabilitiesOf(GemmaGenerationOptions? raw)
    {
        if (raw?.LogProbabilitySource is { } source && !Enum.IsDefined(source))
        {
            throw new ArgumentOutOfRangeException(nameof(raw.LogProbabilitySource), source, $"LogProbabilitySource is {(int)source}, expected one of {string.Join(", ", Enum.GetNames<GemmaLogProbabilitySource>())}.");
        }

        return raw?.TopLogProbabilities is not { } top ? null
            : top is >= 0 and <= GemmaGenerationOptions.MaxTopLogProbabilities ? new LogProbabilityOptions(top, raw.LogProbabilitySource == GemmaLogProbabilitySource.Constrained)
            : throw new ArgumentOutOfRangeException(nameof(raw.TopLogProbabilities), top, $"TopLogProbabilities is {top}, expected 0 to {GemmaGenerationOptions.MaxTopLogProbabilities}, or nothing for no log probabilities.");
    }

    private static float Check(string name, float value, float low, float high) =>
        value >= low && value <= high ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} is {value}, expected {low} to {high}.");

    private static int CheckInteger(string name, int value, int low) =>
        value >= low ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} is {value}, expected at least {low}.");

    private static string[] CheckStops(IList<string>? stops)
    {
        if (stops is null)
        {
            return [];
        }

        foreach (string? stop in stops)
        {
            if (string.IsNullOrEmpty(stop))
            {
                throw new ArgumentException("A stop sequence is empty: it would end every answer before its first character. Remove it.", nameof(ChatOptions.StopSequences));
            }
        }

        return [.. stops];
    }

    private static IReadOnlyDictionary<int, float>? CheckBias(IReadOnlyDictionary<int, float>? bias, int vocabularySize)
    {
        if (bias is null || bias.Count == 0)
        {
            return null;
        }

        foreach ((int id, float value) in bias)
        {
            if ((uint)id >= (uint)vocabularySize || float.IsNaN(value))
            {
                throw new ArgumentException($"logit_bias has the entry {id}: {value}, expected a token id of 0 to {vocabularySize - 1:N0} and a number.", "logit_bias");
            }
        }

        return new Dictionary<int, float>(bias); // read later, when the caller's may have changed
    }

    /// <summary>A property; null where it is not there, or is null or JSON null. JsonNode comes as JsonElement.</summary>
    private static object? Property(AdditionalPropertiesDictionary? properties, string name)
    {
        object? value = null;
        properties?.TryGetValue(name, out value);
        value = value is JsonNode node ? JsonElement.Parse(node.ToJsonString()) : value;
        return value is JsonElement { ValueKind: JsonValueKind.Null or JsonValueKind.Undefined } ? null : value;
    }

    /// <summary>Numbers arrive as numbers from code, as strings from configuration and as JsonElement from deserialised options.</summary>
    private static float ToNumber(string name, object value) => value switch
    {
        JsonElement { ValueKind: JsonValueKind.Number } json => json.GetSingle(),
        JsonElement { ValueKind: JsonValueKind.String } json => Parse(name, json.GetString()!),
        string text => Parse(name, text),
        float or double or decimal or int or long or short or byte or uint or ulong or ushort or sbyte or Half =>
            value is Half half ? (float)half : Convert.ToSingle(value, CultureInfo.InvariantCulture),
        _ => throw new ArgumentException($"AdditionalProperties[\"{name}\"] holds a {value.GetType().Name} ({value}), expected a number.", name),
    };

    private static float Parse(string name, string text) =>
        float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out float number)
            ? number
            : throw new ArgumentException($"AdditionalProperties[\"{name}\"] is \"{text}\", expected a number.", name);
}
