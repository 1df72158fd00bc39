using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Text;

public sealed class ConversationContentsTests
{
    public static TheoryData<string, ChatRole, AIContent> Refused => new()
    {
        { "DataContent (image/png)", ChatRole.User, new DataContent(new byte[3], "image/png") },
        { "DataContent (image/svg+xml)", ChatRole.User, new DataContent("<svg/>"u8.ToArray(), "image/svg+xml") },
        { "DataContent (audio/wav)", ChatRole.System, new DataContent(new byte[3], "audio/wav") },
        { "DataContent (application/pdf)", ChatRole.User, new DataContent(new byte[3], "application/pdf") },
        { "DataContent (text/plain; charset=what)", ChatRole.User, new DataContent(new byte[3], "text/plain; charset=what") },
        { "UriContent (text/html)", ChatRole.User, new UriContent("https://example.com", "text/html") },
        { "HostedFileContent (image/jpeg)", ChatRole.User, new HostedFileContent("f") { MediaType = "image/jpeg" } },
        { "Unheard", ChatRole.User, new Unheard() },
        { "Unheard", ChatRole.System, new Unheard() },
        { "FunctionCallContent", ChatRole.System, new FunctionCallContent("1", "f") },
        { "FunctionResultContent", new ChatRole("developer"), new FunctionResultContent("1", "f") },
    };

    [Fact]
    public void WhatAServiceRanIsACallAndItsResult() =>
        AssertConversation(
            """
            user: Weather?
            assistant: call get_weather {"city":"Paris"}
            tool: result get_weather "sunny"
            assistant: It is sunny.
            """,
            new(ChatRole.User, "Weather?"),
            new(ChatRole.Assistant,
            [
                new TextReasoningContent("hm"),
                new McpServerToolCallContent("1", "get_weather", "weather") { Arguments = new Dictionary<string, object?> { ["city"] = "Paris" } },
                new McpServerToolResultContent("1") { Outputs = [new TextContent("sunny")] },
                new TextContent("It is sunny.") { Annotations = [new CitationAnnotation { Title = "Weather", Url = new Uri("https://example.com") }] },
                new UsageContent(new UsageDetails()),
            ]));

    [Fact]
    public void EachHostedToolIsNamed() =>
        AssertConversation(
            """
            assistant: call web_search {"queries":["red chairs"]}
            tool: result web_search "[Chairs, https://example.com/chairs, text/html: not shown]"
            assistant: call code_interpreter {"code":"print(6*7)"}
            tool: result code_interpreter "42\n[plot.png, image/png: not shown]"
            assistant: call image_generation {}
            tool: result image_generation "[image/png, 3 bytes: not shown]"
            assistant: Done.
            """,
            new ChatMessage(ChatRole.Assistant,
            [
                new WebSearchToolCallContent("1") { Queries = ["red chairs"] },
                new WebSearchToolResultContent("1") { Outputs = [new UriContent("https://example.com/chairs", "text/html") { AdditionalProperties = new() { ["title"] = "Chairs" } }] },
                new CodeInterpreterToolCallContent("2") { Inputs = [new DataContent("print(6*7)"u8.ToArray(), "text/x-python")] },
                new CodeInterpreterToolResultContent("2") { Outputs = [new TextContent("42"), new HostedFileContent("f1") { Name = "plot.png", MediaType = "image/png" }] },
                new ImageGenerationToolCallContent("3"),
                new ImageGenerationToolResultContent("3") { Outputs = [new DataContent(new byte[3], "image/png")] },
                new TextContent("Done."),
            ]));

    [Fact]
    public void ACallWithoutAResultThatAServiceRanIsLeftOut() =>
        AssertConversation(
            "assistant: Here.",
            new ChatMessage(ChatRole.Assistant,
            [
                new WebSearchToolCallContent("1") { Queries = ["a"] }, new WebSearchToolResultContent("1"), new CodeInterpreterToolCallContent("2"),
                new ToolCallContent("3"), new ToolResultContent("3"), new AIContent { RawRepresentation = "x" }, new Unheard(), new TextContent("Here."),
            ]));

    [Fact]
    public void ARefusalIsAResult()
    {
        FunctionCallContent call = new("1", "delete_all");
        ToolApprovalRequestContent request = new("a1", call);
        AssertConversation(
            """
            assistant: call delete_all {}
            user: result delete_all {"error":"The user refused this call: Never."}
            """,
            new(ChatRole.Assistant, [request]), new(ChatRole.User, [request.CreateResponse(false, "Never.")]));

        McpServerToolCallContent hosted = new("2", "drop", "db");
        ToolApprovalRequestContent other = new("a2", hosted);
        AssertConversation(
            """
            assistant: call drop {}
            user: result drop {"error":"The user refused this call."}
            """,
            new(ChatRole.Assistant, [other]), new(ChatRole.User, [other.CreateResponse(false)]));
    }

    [Fact]
    public void AnApprovalIsSaidOnce()
    {
        FunctionCallContent call = new("1", "f");
        ToolApprovalRequestContent request = new("a1", call);
        foreach (bool approved in new[] { true, false })
        {
            AssertConversation(
                """
                assistant: call f {}
                tool: result f "done"
                """,
                new(ChatRole.Assistant, [request]), new(ChatRole.User, [request.CreateResponse(approved)]), new(ChatRole.Assistant, [call]), new(ChatRole.Tool, [new FunctionResultContent("1", "done")]));
        }

        AssertConversation("user: Hi", new(ChatRole.User, "Hi"), new(ChatRole.Assistant, [request])); // open
        AssertConversation("user: Hi", new(ChatRole.User, "Hi"), new(ChatRole.Assistant, [request]), new(ChatRole.User, [request.CreateResponse(true)])); // its result never came
    }

    [Fact]
    public void FilesOfAServiceAndPicturesOfTheAssistantAreNamed() =>
        AssertConversation(
            """
            user: Read this: [report.pdf, application/pdf: not shown]  [vector store vs1: not shown]
            assistant: I drew it: [image/png, 3 bytes: not shown]  [https://example.com/a.png, image/png: not shown]
            """,
            new(ChatRole.User, [new TextContent("Read this:"), new HostedFileContent("f") { Name = "report.pdf", MediaType = "application/pdf" }, new HostedVectorStoreContent("vs1")]),
            new(ChatRole.Assistant, [new TextContent("I drew it:"), new DataContent(new byte[3], "image/png"), new UriContent("https://example.com/a.png", "image/png")]));

    [Fact]
    public void AResultAmongWhatTheAssistantSaidIsNotItsText() =>
        AssertConversation(
            """
            assistant: call f {}
            tool: result f 1
            assistant: One.
            """,
            new ChatMessage(ChatRole.Assistant, [new FunctionCallContent("1", "f") { InformationalOnly = true }, new FunctionResultContent("1", 1), new TextContent("One.")]));

    [Theory]
    [MemberData(nameof(Refused), DisableDiscoveryEnumeration = true)]
    public void WhatTheUserShowsIsNotIgnored(string named, ChatRole role, AIContent content)
    {
        NotSupportedException refused = Assert.Throws<NotSupportedException>(() => ConversationContents.Reduce([new ChatMessage(role, [new TextContent("Look:"), content])]).ToList());
        Assert.Contains($"role '{role}' holds {named}.", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TextFilesOfEveryTypeAreRead() =>
        AssertConversation(
            "user: Read:{\"a\":1}",
            new ChatMessage(ChatRole.User, [new TextContent("Read:"), new DataContent("{\"a\":1}"u8.ToArray(), "application/json;charset=utf-8")]));

    [Fact]
    public void MessagesOfTextCallsAndResultsAreTheSameObjects()
    {
        ChatMessage[] plain = [new(ChatRole.System, "s"), new(ChatRole.User, "u"), new(ChatRole.Assistant, [new FunctionCallContent("1", "f")]), new(ChatRole.Tool, [new FunctionResultContent("1", 1)])];
        Assert.Equal(plain, ConversationContents.Reduce(plain));
    }

    [Fact]
    public void ThePromptHasTheTurnsOfAConversationWithAServiceInIt()
    {
        int[] prompt = ChatTemplate.Render(Tokenizers.Tiny,
        [
            new(ChatRole.User, "Weather?"),
            new(ChatRole.Assistant, [new McpServerToolCallContent("1", "w", null), new McpServerToolResultContent("1") { Outputs = [new TextContent("sunny")] }, new TextContent("Sunny.")]),
            new(ChatRole.User, "Thanks"),
        ]);
        Assert.Equal(
            "<start_of_turn>user\nWeather?<end_of_turn>\n<start_of_turn>model\n<tool_call>{\"name\":\"w\",\"arguments\":{}}</tool_call><end_of_turn>\n"
            + "<start_of_turn>user\n<tool_result>{\"name\":\"w\",\"result\":\"sunny\"}</tool_result><end_of_turn>\n<start_of_turn>model\nSunny.<end_of_turn>\n"
            + "<start_of_turn>user\nThanks<end_of_turn>\n<start_of_turn>model\n",
            Tokenizers.Tiny.Decode(prompt));
    }

    private static void AssertConversation(string expected, params ChatMessage[] messages)
    {
        Dictionary<string, string> names = [];
        IEnumerable<string> lines = ConversationContents.Reduce(messages).Select(message => $"{message.Role}: {string.Concat(message.Contents.Select(Describe))}".Replace('\n', ' ').Trim());
        Assert.Equal(expected, string.Join('\n', lines));

        string Describe(AIContent content)
        {
            System.Text.StringBuilder text = new();
            switch (content)
            {
                case FunctionCallContent call:
                    names[call.CallId] = call.Name;
                    ToolResultText.Append(text, call.Arguments ?? new Dictionary<string, object?>());
                    return $"call {call.Name} {text}";
                case FunctionResultContent { Exception: not null } result:
                    ToolResultText.AppendError(text, (string)result.Result!);
                    return $"result {names[result.CallId]} {text}";
                case FunctionResultContent result:
                    ToolResultText.Append(text, result.Result);
                    return $"result {names[result.CallId]} {text}";
                default:
                    return Assert.IsType<TextContent>(content).Text;
            }
        }
    }

    private sealed class Unheard : AIContent;
}
