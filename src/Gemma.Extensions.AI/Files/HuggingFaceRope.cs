using System.Text.Json;

namespace Gemma.Extensions.AI.Files;

/// <summary>
/// The rotary embedding in a config.json: <c>rope_theta</c> (transformers 4), or <c>rope_parameters</c>, one for all layers or one for each type of layer
/// (transformers 5). Scaled frequencies are refused; no Gemma 2 model of Google's has them.
/// </summary>
internal static class HuggingFaceRope
{
    public const string Global = "full_attention";
    public const string Local = "sliding_attention";

    /// <summary>Bases of the frequencies of global and local layers.</summary>
    /// <exception cref="GemmaModelFormatException">The frequencies are scaled, rotate a part of the head, or are of an unknown form.</exception>
    public static (double Global, double Local) Bases(JsonFile config)
    {
        double plain = config.GetNumber("rope_theta") ?? 10000;
        if (config.GetNumber("partial_rotary_factor") is { } part && part != 1)
        {
            throw config.Unsupported("partial_rotary_factor", config.Find("partial_rotary_factor")!.Value, "Gemma 2 rotates the whole head");
        }

        (double Global, double Local) bases = (plain, plain);
        foreach (string name in (ReadOnlySpan<string>)["rope_parameters", "rope_scaling"])
        {
            if (config.Find(name) is { } parameters)
            {
                bases = Read(config, name, parameters, bases);
            }
        }

        return bases;
    }

    private static (double Global, double Local) Read(JsonFile config, string name, JsonElement parameters, (double Global, double Local) otherwise)
    {
        if (parameters.ValueKind != JsonValueKind.Object)
        {
            throw config.Wrong(name, parameters, "an object");
        }

        bool hasGlobal = parameters.TryGetProperty(Global, out JsonElement global), hasLocal = parameters.TryGetProperty(Local, out JsonElement local);
        if (!hasGlobal && !hasLocal)
        {
            return (Base(config, name, parameters, otherwise.Global), Base(config, name, parameters, otherwise.Local));
        }

        return hasGlobal && hasLocal && parameters.EnumerateObject().All(field => field.Name is Global or Local)
            ? (Base(config, $"{name}.{Global}", global, otherwise.Global), Base(config, $"{name}.{Local}", local, otherwise.Local))
            : throw config.Unsupported(name, parameters, $"expected '{Global}' and '{Local}', the two types of layer that Gemma 2 has, or one object for all layers");
    }

    private static double Base(JsonFile config, string name, JsonElement parameters, double otherwise)
    {
        if (parameters.ValueKind != JsonValueKind.Object)
        {
            throw config.Wrong(name, parameters, "an object");
        }

        // "type" is what transformers before 4.43 called it.
        string kind = Field("rope_type") is { } type ? Text(type) : Field("type") is { } old ? Text(old) : "default";
        bool scaled = kind switch
        {
            "default" => false,
            "linear" => Field("factor") is not { } factor || Number("factor", factor) != 1,
            _ => true,
        };
        if (scaled)
        {
            throw config.Unsupported(name, parameters, "scaled rotary embeddings are not implemented; expected the kind 'default', which all Gemma 2 models of Google's have");
        }

        if (Field("partial_rotary_factor") is { } part && Number("partial_rotary_factor", part) != 1)
        {
            throw config.Unsupported(name, parameters, "Gemma 2 rotates the whole head, so 'partial_rotary_factor' has to be 1");
        }

        return Field("rope_theta") is { } theta ? Number("rope_theta", theta) : otherwise;

        JsonElement? Field(string field) => parameters.TryGetProperty(field, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

        string Text(JsonElement value) => value.ValueKind == JsonValueKind.String ? value.GetString()! : throw config.Wrong(name, parameters, "a kind that is a string");

        double Number(string field, JsonElement value) => value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number)
            ? number
            : throw config.Wrong($"{name}.{field}", value, "a number");
    }
}
