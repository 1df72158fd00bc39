using System.Text.Json;

namespace Gemma.Extensions.AI.Files;

/// <summary>Frequencies of the rotary embedding of one type of layer.</summary>
/// <param name="Base">Their base.</param>
/// <param name="Factor">What they are divided by; 1: nothing.</param>
internal readonly record struct RopeFrequencies(double Base, double Factor);

/// <summary>
/// The rotary embedding in a config.json: <c>rope_theta</c> (transformers 4), or <c>rope_parameters</c>, one for all layers or one for each type of layer
/// (transformers 5). Linear scaling is honoured. Kinds that change single frequencies, or the frequencies with the length of the text, are refused; no Gemma 2
/// model of Google's has any.
/// </summary>
internal static class HuggingFaceRope
{
    public const string Global = "full_attention";
    public const string Local = "sliding_attention";

    /// <summary>Frequencies of global and local layers.</summary>
    /// <exception cref="GemmaModelFormatException">The frequencies are scaled otherwise, rotate a part of the head, or are of an unknown form.</exception>
    public static (RopeFrequencies Global, RopeFrequencies Local) Read(JsonFile config)
    {
        RopeFrequencies plain = new(config.GetNumber("rope_theta") ?? 10000, 1);
        if (config.GetNumber("partial_rotary_factor") is { } part && part != 1)
        {
            throw config.Unsupported("partial_rotary_factor", config.Find("partial_rotary_factor")!.Value, "Gemma 2 rotates the whole head");
        }

        (RopeFrequencies Global, RopeFrequencies Local) found = (plain, plain);
        foreach (string name in (ReadOnlySpan<string>)["rope_parameters", "rope_scaling"])
        {
            if (config.Find(name) is { } parameters)
            {
                found = Read(config, name, parameters, found);
            }
        }

        return found;
    }

    private static (RopeFrequencies Global, RopeFrequencies Local) Read(JsonFile config, string name, JsonElement parameters, (RopeFrequencies Global, RopeFrequencies Local) otherwise)
    {
        if (parameters.ValueKind != JsonValueKind.Object)
        {
            throw config.Wrong(name, parameters, "an object");
        }

        bool hasGlobal = parameters.TryGetProperty(Global, out JsonElement global), hasLocal = parameters.TryGetProperty(Local, out JsonElement local);
        if (!hasGlobal && !hasLocal)
        {
            return (Frequencies(config, name, parameters, otherwise.Global), Frequencies(config, name, parameters, otherwise.Local));
        }

        return hasGlobal && hasLocal && parameters.EnumerateObject().All(field => field.Name is Global or Local)
            ? (Frequencies(config, $"{name}.{Global}", global, otherwise.Global), Frequencies(config, $"{name}.{Local}", local, otherwise.Local))
            : throw config.Unsupported(name, parameters, $"expected '{Global}' and '{Local}', the two types of layer that Gemma 2 has, or one object for all layers");
    }

    private static RopeFrequencies Frequencies(JsonFile config, string name, JsonElement parameters, RopeFrequencies otherwise)
    {
        if (parameters.ValueKind != JsonValueKind.Object)
        {
            throw config.Wrong(name, parameters, "an object");
        }

        // "type" is what transformers before 4.43 called it.
        string kind = Field("rope_type") is { } type ? Text(type) : Field("type") is { } old ? Text(old) : "default";
        if (kind is not ("default" or "linear"))
        {
            throw config.Unsupported(name, parameters, "of the scaled rotary embeddings only 'linear' is implemented; expected that or 'default', which all Gemma 2 models of Google's have");
        }

        double factor = otherwise.Factor;
        if (kind == "linear")
        {
            factor = Field("factor") is { } stated ? Number("factor", stated) : throw config.Wrong($"{name}.factor", parameters, "what 'linear' divides positions by");
            if (factor <= 0)
            {
                throw config.Wrong($"{name}.factor", Field("factor")!.Value, "a number above 0");
            }
        }

        if (Field("partial_rotary_factor") is { } part && Number("partial_rotary_factor", part) != 1)
        {
            throw config.Unsupported(name, parameters, "Gemma 2 rotates the whole head, so 'partial_rotary_factor' has to be 1");
        }

        return new(Field("rope_theta") is { } theta ? Number("rope_theta", theta) : otherwise.Base, factor);

        JsonElement? Field(string field) => parameters.TryGetProperty(field, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

        string Text(JsonElement value) => value.ValueKind == JsonValueKind.String ? value.GetString()! : throw config.Wrong(name, parameters, "a kind that is a string");

        double Number(string field, JsonElement value) => value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number)
            ? number
            : throw config.Wrong($"{name}.{field}", value, "a number");
    }
}
