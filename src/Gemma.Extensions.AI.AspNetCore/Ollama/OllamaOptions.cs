using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary>The <c>options</c> and the <c>format</c> of a request as options of the abstractions and of Gemma.</summary>
internal sealed class OllamaOptions
{
    private const int MaxTopLogProbabilities = 20;

    /// <summary>Samplers that would change the answer and are not here, with the value that turns each off.</summary>
    private static readonly Dictionary<string, double> s_otherSamplers = new(StringComparer.Ordinal) { ["mirostat"] = 0, ["typical_p"] = 1, ["tfs_z"] = 1 };

    private readonly List<string> _unused = [];
    private bool _hasNoPenalties;

    public ChatOptions Options { get; } = new();

    public GemmaGenerationOptions Extras { get; } = new() { LenientSchemas = true };

    /// <exception cref="ServerErrorException">An option has a value that it cannot have.</exception>
    public static OllamaOptions Read(OllamaAnswerRequest body, UnusedOptions unused)
    {
        OllamaOptions read = new();
        foreach ((string name, JsonElement value) in body.Options ?? [])
        {
            if (value.ValueKind != JsonValueKind.Null)
            {
                read.Read(name, value);
            }
        }

        if (read._hasNoPenalties)
        {
            read.Extras.RepetitionPenalty = null;
            read.Options.PresencePenalty = read.Options.FrequencyPenalty = null;
        }

        unused.Say("Ollama", read._unused);
        read.ReadFormat(body.Format);
        read.ReadLogProbabilities(body.Logprobs, body.TopLogprobs);
        return body.Think is { ValueKind: JsonValueKind.True or JsonValueKind.String }
            ? throw new ServerErrorException(ErrorKind.InvalidRequest, $"\"{body.Model}\" does not support thinking", "think") // in Ollama's words, which clients look for
            : read;
    }

    private void Read(string name, JsonElement value)
    {
        switch (name)
        {
            case "temperature":
                Options.Temperature = (float)Number(name, value);
                break;
            case "top_k":
                Options.TopK = Math.Max(0, Whole(name, value));
                break;
            case "top_p":
                Options.TopP = (float)Number(name, value);
                break;
            case "min_p":
                Extras.MinP = (float)Number(name, value);
                break;
            case "seed":
                Options.Seed = Number(name, value) is >= 0 and <= long.MaxValue and var seed ? (long)seed : null; // negative ones draw one
                break;
            case "num_predict":
                Options.MaxOutputTokens = Whole(name, value) is > 0 and var most ? most : null; // -1 and -2: up to the context
                break;
            case "stop":
                Options.StopSequences = ReadStop(value);
                break;
            case "repeat_penalty":
                Extras.RepetitionPenalty = (float)Number(name, value);
                break;
            case "presence_penalty":
                Options.PresencePenalty = (float)Number(name, value);
                break;
            case "frequency_penalty":
                Options.FrequencyPenalty = (float)Number(name, value);
                break;
            case "repeat_last_n" when Whole(name, value) is <= 0 and var window: // penalties here look at the whole text, as -1 asks for; 0 turns them off
                _hasNoPenalties = window == 0;
                break;
            case var sampler when s_otherSamplers.TryGetValue(sampler, out double off):
                if (Number(name, value) != off)
                {
                    throw new ServerErrorException(ErrorKind.InvalidRequest, $"The option '{name}' is {value.GetRawText()}, but answers are not drawn that way here. Leave it out, or set it to {off}; top_k, top_p and min_p are there.", "options");
                }

                break;
            default:
                _unused.Add(name);
                break;
        }
    }

    private void ReadFormat(JsonElement? format)
    {
        switch (format)
        {
            case null or { ValueKind: JsonValueKind.Null }:
            case { ValueKind: JsonValueKind.String } none when none.GetString() is "":
                break;
            case { ValueKind: JsonValueKind.String } word when word.GetString() == "json":
                Options.ResponseFormat = ChatResponseFormat.Json;
                break;
            case { ValueKind: JsonValueKind.Object } schema:
                Options.ResponseFormat = ChatResponseFormat.ForJsonSchema(schema);
                Extras.LenientSchemas = false; // a schema of the answer is a promise
                break;
            default:
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"'format' is {format.Value.GetRawText()}, expected \"json\" or a JSON schema.", "format");
        }
    }

    private void ReadLogProbabilities(bool? wanted, int? top) => Extras.TopLogProbabilities = (wanted, top) switch
    {
        (_, < 0 or > MaxTopLogProbabilities) => throw new ServerErrorException(ErrorKind.InvalidRequest, $"'top_logprobs' is {top}, expected 0 to {MaxTopLogProbabilities}.", "top_logprobs"),
        (true, _) => top ?? 0,
        _ => null,
    };

    private static IList<string> ReadStop(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => [value.GetString()!],
        JsonValueKind.Array => [.. value.EnumerateArray().Select(static item => item.ValueKind == JsonValueKind.String ? item.GetString()! : throw Wrong("stop", item, "texts"))],
        _ => throw Wrong("stop", value, "a text or a list of texts"),
    };

    private static double Number(string name, JsonElement value) => value.ValueKind == JsonValueKind.Number ? value.GetDouble() : throw Wrong(name, value, "a number");

    /// <summary>Whole numbers also come as 40.0.</summary>
    private static int Whole(string name, JsonElement value) =>
        Number(name, value) is >= int.MinValue and <= int.MaxValue and var number && number == Math.Truncate(number) ? (int)number : throw Wrong(name, value, "a whole number");

    private static ServerErrorException Wrong(string name, JsonElement value, string expected) =>
        new(ErrorKind.InvalidRequest, $"The option '{name}' is {value.GetRawText()}, expected {expected}.", "options");
}
