using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>
/// What a model that works well would say to "How densely is Paris populated?" with three tools: it asks for population and area at once, then divides what it was told, then answers with the
/// quotient. Everything it says depends on the results, so an answer is right only if calls, arguments, ids and results went through the client and back.
/// </summary>
internal static class DensityAgent
{
    public const string Question = "How densely is Paris populated?";
    public const string Answer = "Paris has 20000 people a square kilometre.";

    private static readonly AIFunction[] s_tools =
    [
        AIFunctionFactory.Create(Population, "get_population", "Gets the population of a city."),
        AIFunctionFactory.Create(Area, "get_area", "Gets the area of a city in square kilometres."),
        AIFunctionFactory.Create(Divide, "divide", "Divides two numbers."),
    ];

    private static readonly string[] s_names = [.. s_tools.Select(tool => tool.Name)];

    public static AIFunction[] Tools => s_tools;

    public static int Population(string city) => city == "Paris" ? 2_100_000 : throw new ArgumentException($"'{city}' is not Paris.");

    public static int Area(string city) => city == "Paris" ? 105 : throw new ArgumentException($"'{city}' is not Paris.");

    public static double Divide(double dividend, double divisor) => dividend / divisor;

    public static ScriptedChatClient Client() => new(Say, "agent");

    private static IEnumerable<object> Say(IReadOnlyList<ChatMessage> conversation, ChatOptions options)
    {
        Dictionary<string, string> names = conversation.SelectMany(message => message.Contents).OfType<FunctionCallContent>().ToDictionary(call => call.CallId, call => s_names.First(name => call.Name.EndsWith(name, StringComparison.Ordinal)));
        Dictionary<string, double> results = conversation.SelectMany(message => message.Contents).OfType<FunctionResultContent>().ToDictionary(result => names[result.CallId], Number);
        if (results.Count == 0)
        {
            yield return "I look ";
            yield return "it up.";
            yield return new FunctionCallContent("call_population", Offered("get_population"), new Dictionary<string, object?> { ["city"] = "Paris" });
            yield return new FunctionCallContent("call_area", Offered("get_area"), new Dictionary<string, object?> { ["city"] = "Paris" });
            yield return ChatFinishReason.ToolCalls;
        }
        else if (!results.ContainsKey("divide"))
        {
            yield return new FunctionCallContent("call_divide", Offered("divide"), new Dictionary<string, object?> { ["dividend"] = results["get_population"], ["divisor"] = results["get_area"] });
            yield return ChatFinishReason.ToolCalls;
        }
        else
        {
            yield return $"Paris has {results["divide"]} people ";
            yield return "a square kilometre.";
            yield return ChatFinishReason.Stop;
        }

        // Some clients put the name of a group before the name of a tool.
        string Offered(string name) => options.Tools!.Single(tool => tool.Name.EndsWith(name, StringComparison.Ordinal)).Name;
    }

    private static double Number(FunctionResultContent result) => double.Parse(result.Result switch
    {
        JsonElement { ValueKind: JsonValueKind.String } text => text.GetString()!,
        { } value => value.ToString()!,
        null => "",
    }, System.Globalization.CultureInfo.InvariantCulture);
}
