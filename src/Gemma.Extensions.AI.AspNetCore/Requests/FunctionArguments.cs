using System.Text.Encodings.Web;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>Calls of functions, their arguments and results, between the text of the APIs and the objects of the abstractions.</summary>
internal static class FunctionArguments
{
    private static readonly JsonElement s_noParameters = JsonElement.Parse("""{"type":"object","properties":{}}""");

    private static readonly JsonSerializerOptions s_compact = new(AIJsonUtilities.DefaultOptions) { WriteIndented = false, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>A function that the client runs: the model is only told of it.</summary>
    public static AITool Declare(string? name, string? description, JsonElement? parameters, string at)
    {
        if (string.IsNullOrEmpty(name))
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has no name.", at);
        }

        return parameters switch
        {
            null or { ValueKind: JsonValueKind.Null or JsonValueKind.Undefined } => AIFunctionFactory.CreateDeclaration(name, description, s_noParameters),
            { ValueKind: JsonValueKind.Object } schema => AIFunctionFactory.CreateDeclaration(name, description, schema.EnumerateObject().Any() ? schema : s_noParameters),
            { } other => throw new ServerErrorException(ErrorKind.InvalidRequest, $"The parameters of '{name}' are a JSON {other.ValueKind}, expected a schema of an object.", at),
        };
    }

    /// <summary>The arguments of a call as JSON.</summary>
    public static string ToJson(IDictionary<string, object?>? arguments) =>
        arguments is null or { Count: 0 } ? "{}" : JsonSerializer.Serialize(arguments, s_compact.GetTypeInfo(typeof(IDictionary<string, object?>)));

    /// <summary>The arguments of a call that a client sends back.</summary>
    /// <exception cref="ServerErrorException">They are no JSON object.</exception>
    public static Dictionary<string, object?> Parse(string? json, string at)
    {
        if (string.IsNullOrWhiteSpace(json))
        {
            return [];
        }

        try
        {
            JsonElement element = JsonElement.Parse(json, new JsonDocumentOptions { MaxDepth = RequestBody.MaxDepth });
            return element.ValueKind == JsonValueKind.Object ? FromObject(element)
                : throw new ServerErrorException(ErrorKind.InvalidRequest, $"The arguments of a call are a JSON {element.ValueKind}, expected the text of an object.", at);
        }
        catch (JsonException exception)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"The arguments of a call are not JSON: {exception.Message}", at);
        }
    }

    public static Dictionary<string, object?> FromObject(JsonElement element)
    {
        Dictionary<string, object?> arguments = new(StringComparer.Ordinal);
        foreach (JsonProperty property in element.EnumerateObject())
        {
            arguments[property.Name] = property.Value;
        }

        return arguments;
    }

    /// <summary>The result of a function. Text that is JSON becomes the value that the function returned, which the model reads as in process; other text stays text.</summary>
    public static object ParseResult(string text)
    {
        ReadOnlySpan<char> trimmed = text.AsSpan().Trim();
        if (trimmed.Length == 0 || trimmed[0] is not ('{' or '[' or '"' or '-' or 't' or 'f' or 'n' or (>= '0' and <= '9')))
        {
            return text;
        }

        try
        {
            return JsonElement.Parse(text);
        }
        catch (JsonException)
        {
            return text;
        }
    }
}
