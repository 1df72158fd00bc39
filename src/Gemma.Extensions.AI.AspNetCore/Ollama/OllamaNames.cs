using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary>Names as Ollama has them: with a tag, which is latest where none is said. Clients compare names of requests with those of the list, tag and all.</summary>
internal static class OllamaNames
{
    private const string Latest = ":latest";

    /// <summary>The name in lists and answers.</summary>
    public static string Of(ModelChoice model) => model.Name.Contains(':') ? model.Name : model.Name + Latest;

    /// <summary>The model that a request names.</summary>
    /// <exception cref="ServerErrorException">There is no such model.</exception>
    public static ModelChoice Resolve(ModelCatalog models, string? name, ModelPurpose purpose) => models.Resolve(Untagged(name), purpose);

    public static string? Untagged(string? name) => name?.EndsWith(Latest, StringComparison.OrdinalIgnoreCase) == true ? name[..^Latest.Length] : name;

    /// <summary>Has a model stay loaded for as long as a request says; null: as it was.</summary>
    /// <exception cref="ServerErrorException">It is no time.</exception>
    public static TimeSpan? ReadKeepAlive(JsonElement? keepAlive) => keepAlive switch
    {
        null or { ValueKind: JsonValueKind.Null } => null,
        { ValueKind: JsonValueKind.Number } seconds => KeepAlive.FromSeconds(seconds.GetDouble()),
        { ValueKind: JsonValueKind.String } text when KeepAlive.TryParse(text.GetString()!, out TimeSpan time) => time,
        { } other => throw new ServerErrorException(ErrorKind.InvalidRequest, $"'keep_alive' is {other.GetRawText()}, expected a time such as \"5m\", or a number of seconds.", "keep_alive"),
    };
}
