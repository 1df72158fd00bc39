using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>A model that needs three tools one after the other, each with what the one before returned, and answers with what came of them.</summary>
internal static class AgentScript
{
    public const string Question = "How warm is it in Fahrenheit where Ada is?";
    public const string Answer = "Ada is in Paris, where it is 68 °F.";

    public static ScriptedChatClient Client() => new(Speak, "agent");

    public static AIFunction[] Tools() =>
    [
        AIFunctionFactory.Create((string person) => person == "Ada" ? "Paris" : "nowhere", "find_city", "The city where somebody is."),
        AIFunctionFactory.Create((string city) => city == "Paris" ? 20.0 : -273, "get_temperature", "Degrees Celsius in a city."),
        AIFunctionFactory.Create((double celsius) => celsius * 9 / 5 + 32, "to_fahrenheit", "Degrees Celsius as Fahrenheit."),
    ];

    private static IEnumerable<object> Speak(IReadOnlyList<ChatMessage> conversation)
    {
        string[] results = [.. conversation.SelectMany(message => message.Contents).OfType<FunctionResultContent>().Select(result => Text(result.Result))];
        return results.Length switch
        {
            0 => [new FunctionCallContent("call_1", "find_city", new Dictionary<string, object?> { ["person"] = "Ada" }), ChatFinishReason.ToolCalls],
            1 => ["Let me look.", new FunctionCallContent("call_2", "get_temperature", new Dictionary<string, object?> { ["city"] = results[0] }), ChatFinishReason.ToolCalls],
            2 => [new FunctionCallContent("call_3", "to_fahrenheit", new Dictionary<string, object?> { ["celsius"] = double.Parse(results[1], System.Globalization.CultureInfo.InvariantCulture) }), ChatFinishReason.ToolCalls],
            _ => ["Ada is in ", $"{results[0]}, where it is {results[2]} °F."],
        };
    }

    /// <summary>What a tool returned, however its value came: OllamaSharp writes an object of it with the id of the call beside it.</summary>
    private static string Text(object? result) => result switch
    {
        JsonElement { ValueKind: JsonValueKind.Object } wrapped when wrapped.TryGetProperty("Result", out JsonElement inner) => Text(inner),
        JsonElement { ValueKind: JsonValueKind.String } text => text.GetString()!,
        JsonElement other => other.GetRawText(),
        _ => (result?.ToString() ?? "").Trim('"'),
    };
}
