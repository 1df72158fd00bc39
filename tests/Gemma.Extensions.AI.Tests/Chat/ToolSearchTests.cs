#pragma warning disable MEAI001 // the mark of tools that are searched is a preview
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Nano.Recipe;
using Gemma.Extensions.AI.Tests.Server;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Which of many tools a model is shown, and that it still calls the right one.</summary>
public class ToolSearchTests
{
    private static readonly AIFunction[] s_tools =
    [
        Tool("list_calendar_events", "Lists the events of a day."), Tool("sendEmail", "Sends a mail to somebody.", "recipient"), Tool("GetWeatherForecast", "What the weather will be like.", "city"),
        Tool("archive_invoice", "Puts an invoice away."), Tool("translate", "Puts a text into another language."), Tool("bookTable", "Reserves a table in a restaurant.", "guests"),
    ];

    [Theory]
    [InlineData("What will the weather be in Rome?", "GetWeatherForecast")]
    [InlineData("Please book us two tables", "bookTable")]
    [InlineData("email Ann that I am late", "sendEmail")]
    [InlineData("the invoices are to be archived", "archive_invoice")]
    [InlineData("Which events are in my calendar?", "list_calendar_events")]
    public async Task WordsFindTheToolInAnySpelling(string question, string expected) =>
        Assert.Equal([expected], await Shown([new(ChatRole.User, question)], new ChatOptions { Tools = [.. s_tools] }, 1));

    [Fact]
    public async Task WhatIsNamedRequiredOrJustCalledIsShownInTheOrderGiven()
    {
        ChatOptions options = new() { Tools = [.. s_tools] };
        Assert.Equal(["GetWeatherForecast", "translate"], await Shown([new(ChatRole.User, "weather? or translate it")], options, 1));
        Assert.Equal(["GetWeatherForecast", "bookTable"], await Shown([new(ChatRole.User, "weather")], new ChatOptions { Tools = [.. s_tools], ToolMode = ChatToolMode.RequireSpecific("bookTable") }, 1));
        ChatMessage[] going = [new(ChatRole.User, "weather"), new(ChatRole.Assistant, [new FunctionCallContent("1", "translate")]), new(ChatRole.Tool, [new FunctionResultContent("1", "x")])];
        Assert.Equal(["GetWeatherForecast", "translate"], await Shown(going, options, 1));
        Assert.Equal(["GetWeatherForecast"], await Shown([new(ChatRole.User, "weather in Rome?"), new(ChatRole.Assistant, "Fine."), new(ChatRole.User, "And tomorrow?")], options, 1)); // the question before counts
        Assert.Equal(s_tools.Select(tool => tool.Name), await Shown([new(ChatRole.User, "weather")], options, 6));
        Assert.Equal(6, options.Tools.Count);
    }

    [Fact]
    public async Task AMarkSaysWhichToolsAreSearched()
    {
        HostedToolSearchTool all = new(), some = new() { DeferredTools = ["translate", "bookTable"] };
        Assert.Equal(["sendEmail", "GetWeatherForecast"], await Shown([new(ChatRole.User, "weather by email")], new ChatOptions { Tools = [all, .. s_tools] }, 2));
        Assert.Equal(["list_calendar_events", "sendEmail", "GetWeatherForecast", "archive_invoice", "bookTable"], await Shown([new(ChatRole.User, "a table")], new ChatOptions { Tools = [.. s_tools, some] }, 1));
        Assert.Equal(s_tools.Select(tool => tool.Name), await Shown([new(ChatRole.User, "a table")], new ChatOptions { Tools = [.. s_tools, some] }, 2)); // the mark itself is no tool
    }

    /// <summary>
    /// Among 200 tools, of which at most eight are shown, nano chooses as well as among six: what is shown always holds the right one, and is 1.4 tools on average. It is right in 23 of 24 requests, as
    /// among six.
    /// </summary>
    [Fact]
    public async Task NanoChoosesAmong200ToolsAsAmongSix()
    {
        using GemmaModel model = GemmaModel.Load("nano", new GemmaOptions { Threads = 2 });
        using IChatClient client = model.AsIChatClient();
        ToolSearchEvaluation.Counts counts = await new ToolSearchEvaluation(client, isMixed: false, seed: 7).RunAsync(24, 8);
        Assert.Equal((24, 24), (counts.First, counts.Shown));
        Assert.InRange(counts.MeanShown, 1, 4);
        Assert.InRange(counts.Chosen, 13, 24);
        Assert.InRange(counts.ChosenAmongFew, 11, 24);
        Assert.True(counts.Ratio >= 1, counts.ToString());
    }

    /// <summary>
    /// The same with 240 requests, of which one does not decide.
    /// </summary>
    [Fact]
    public async Task NanoChoosesTheRightOneOf200ToolsInMostRequests()
    {
        using GemmaModel model = GemmaModel.Load("nano", new GemmaOptions { Threads = 2 });
        using IChatClient client = model.AsIChatClient();
        ToolSearchEvaluation.Counts one = await new ToolSearchEvaluation(client, isMixed: false, seed: 1).RunAsync(120, 8), other = await new ToolSearchEvaluation(client, isMixed: false, seed: 2).RunAsync(120, 8);
        int chosen = one.Chosen + other.Chosen, amongFew = one.ChosenAmongFew + other.ChosenAmongFew;
        Assert.Equal(240, one.Shown + other.Shown);
        Assert.InRange(one.First + other.First, 228, 240);
        Assert.InRange(one.MeanShown, 1, 4);
        Assert.True(chosen >= 212 && amongFew >= 212 && chosen >= 0.95 * amongFew, $"{chosen} among 200, {amongFew} among six");
    }

    private static async Task<IEnumerable<string>> Shown(ChatMessage[] messages, ChatOptions options, int count)
    {
        ScriptedChatClient model = new(_ => ["x"]);
        using IChatClient client = model.AsBuilder().UseToolSearch(count).Build();
        await client.GetResponseAsync(messages, options);
        await client.GetStreamingResponseAsync(messages, options).ToChatResponseAsync();
        Assert.Equal(model.Calls[0].Options.Tools!, model.Calls[1].Options.Tools!);
        return model.Calls[0].Options.Tools!.Select(tool => tool.Name);
    }

    private static AIFunction Tool(string name, string description, string parameter = "value") => new Renamed(AIFunctionFactory.Create((string value) => value, name, description), parameter);

    /// <summary>A function whose only parameter has another name.</summary>
    private sealed class Renamed(AIFunction inner, string parameter) : DelegatingAIFunction(inner)
    {
        public override System.Text.Json.JsonElement JsonSchema { get; } = System.Text.Json.JsonElement.Parse($$"""{"type":"object","properties":{"{{parameter}}":{"type":"string"} } }""");
    }
}
