using System.Text.Json;
using Gemma.Extensions.AI.Tests.Chat;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>Calls that nobody should make end as in this process: with the same answer, or the same exception in the same words.</summary>
[Collection(ThreeNodesCollection.Name)]
public class OddCallTests(ThreeNodes nodes)
{
    private static readonly ChatMessage s_hello = new(ChatRole.User, "3 rivers?");

    private static readonly Dictionary<string, Func<(IEnumerable<ChatMessage?> Messages, ChatOptions? Options)>> s_calls = new()
    {
        ["a message that is null"] = () => ([s_hello, null], null),
        ["half a character"] = () => ([new(ChatRole.User, "a\ud800b\udc00")], null),
        ["half a character in a system message"] = () => ([new(ChatRole.System, "\udfff"), s_hello], null),
        ["control characters"] = () => ([new(ChatRole.User, "a\0b\u0001\uFEFF\uFFFF")], null),
        ["an unknown role"] = () => ([new(new ChatRole("critic"), "Bad."), s_hello], null),
        ["a role in capitals"] = () => ([new(new ChatRole("USER"), "3 rivers?")], null),
        ["a message without contents"] = () => ([s_hello, new ChatMessage(ChatRole.Assistant, (string?)null), s_hello], null),
        ["a content that is null"] = () => ([new ChatMessage(ChatRole.User, [new TextContent("a"), null!])], null),
        ["text that is null"] = () => ([new ChatMessage(ChatRole.User, [new TextContent(null)])], null),
        ["an error as a content"] = () => ([new ChatMessage(ChatRole.User, [new ErrorContent("It broke."), new TextContent("a")])], null),
        ["a link"] = () => ([new ChatMessage(ChatRole.User, [new UriContent("https://example.org/a.txt", "text/plain")])], null),
        ["a thought"] = () => ([s_hello, new ChatMessage(ChatRole.Assistant, [new TextReasoningContent("Hm."), new TextContent("Yes.")]), s_hello], null),
        ["usage in a message"] = () => ([s_hello, new ChatMessage(ChatRole.Assistant, [new UsageContent(new UsageDetails { InputTokenCount = 3 })]), s_hello], null),
        ["a call with odd arguments"] = () => ([s_hello, Call(new() { ["a"] = double.NaN, ["b"] = new byte[] { 1, 2 }, ["c"] = DateTimeOffset.UnixEpoch, ["\ud800"] = "\ud800" }), Result("ok")], null),
        ["arguments in a circle"] = () => ([s_hello, Call(new() { ["a"] = Circle() }), Result("ok")], null),
        ["a result that is nothing"] = () => ([s_hello, Call([]), Result(null)], null),
        ["a result that is undefined"] = () => ([s_hello, Call([]), Result(default(JsonElement))], null),
        ["a result in a circle"] = () => ([s_hello, Call([]), Result(Circle())], null),
        ["a result without a call"] = () => ([s_hello, Result("ok")], null),
        ["messages that fail"] = () => (Failing(), null),
        ["options that fail"] = () => ([s_hello], new ChatOptions { RawRepresentationFactory = _ => throw new InvalidOperationException("no options") }),
        ["bias that forbids"] = () => ([s_hello], Raw(new GemmaGenerationOptions { LogitBias = new Dictionary<int, float> { [300] = float.NegativeInfinity, [301] = float.PositiveInfinity } })),
        ["bias that is no number"] = () => ([s_hello], Raw(new GemmaGenerationOptions { LogitBias = new Dictionary<int, float> { [300] = float.NaN } })),
        ["bias that forbids, by name"] = () => ([s_hello], Named("logit_bias", new Dictionary<int, float> { [300] = float.NegativeInfinity, [301] = 100 })),
        ["bias by name that is no number"] = () => ([s_hello], Named("logit_bias", new Dictionary<string, object> { ["300"] = double.NaN })),
        ["bias by name that is a link"] = () => ([s_hello], Named("logit_bias", new Uri("https://example.org"))),
        ["an element that is undefined"] = () => ([s_hello], Named("min_p", default(JsonElement))),
        ["a share that is no number"] = () => ([s_hello], Named("min_p", double.NaN)),
        ["a penalty that is a word"] = () => ([s_hello], Named("repetition_penalty", "much")),
        ["an adapter that is a number"] = () => ([s_hello], Named("adapter", 5)),
        ["an adapter that is empty"] = () => ([s_hello], Named("adapter", "")),
        ["a function as a value"] = () => ([s_hello], Named("min_p", (Func<int>)(() => 1))),
        ["a value in a circle"] = () => ([s_hello], Named("logit_bias", Circle())),
        ["a stop that is null"] = () => ([s_hello], new ChatOptions { StopSequences = [null!] }),
        ["a stop of half a character"] = () => ([s_hello], new ChatOptions { StopSequences = ["\ud800"] }),
        ["many stops"] = () => ([s_hello], new ChatOptions { StopSequences = [.. Enumerable.Range(0, 5000).Select(i => $"<{i}>")] }),
        ["no tokens"] = () => ([s_hello], new ChatOptions { MaxOutputTokens = 0 }),
        ["less than no tokens"] = () => ([s_hello], new ChatOptions { MaxOutputTokens = -1 }),
        ["all tokens"] = () => ([s_hello], new ChatOptions { MaxOutputTokens = int.MaxValue, StopSequences = ["e"] }),
        ["a heat that is no number"] = () => ([s_hello], new ChatOptions { Temperature = float.NaN }),
        ["a boundless heat"] = () => ([s_hello], new ChatOptions { Temperature = float.PositiveInfinity }),
        ["less than no candidates"] = () => ([s_hello], new ChatOptions { TopK = -1 }),
        ["the least seed"] = () => ([s_hello], new ChatOptions { Seed = long.MinValue, Temperature = 2 }),
        ["no time"] = () => ([s_hello], Raw(new GemmaGenerationOptions { Timeout = TimeSpan.Zero })),
        ["time without end"] = () => ([s_hello], Raw(new GemmaGenerationOptions { Timeout = Timeout.InfiniteTimeSpan })),
        ["all the time"] = () => ([s_hello], Raw(new GemmaGenerationOptions { Timeout = TimeSpan.MaxValue })),
        ["less than no time"] = () => ([s_hello], Raw(new GemmaGenerationOptions { Timeout = TimeSpan.FromSeconds(-5) })),
        ["priorities"] = () => ([s_hello], Raw(new GemmaGenerationOptions { Priority = int.MinValue, Caller = "" })),
        ["many chances"] = () => ([s_hello], Raw(new GemmaGenerationOptions { TopLogProbabilities = int.MaxValue })),
        ["an open expression"] = () => ([s_hello], Raw(new GemmaGenerationOptions { Regex = "(" })),
        ["an empty expression"] = () => ([s_hello], Raw(new GemmaGenerationOptions { Regex = "" })),
        ["an empty grammar"] = () => ([s_hello], Raw(new GemmaGenerationOptions { Grammar = "" })),
        ["an order that is none"] = () => ([s_hello], Raw(new GemmaGenerationOptions { Regex = "a", PropertyOrder = (GemmaPropertyOrder)77 })),
        ["another name"] = () => ([s_hello], new ChatOptions { ModelId = " " }),
        ["a tool without a name"] = () => ([s_hello], Tool("", """{"type":"object"}""")),
        ["a tool with an odd name"] = () => ([s_hello], Tool("a b\"\n", """{"type":"object"}""")),
        ["a tool that takes anything"] = () => ([s_hello], Tool("f", "true")),
        ["a tool that takes nothing"] = () => ([s_hello], Tool("f", "false")),
        ["a tool of an undefined schema"] = () => ([s_hello], new ChatOptions { Tools = [AIFunctionFactory.CreateDeclaration("f", "", default)] }),
        ["a tool that is null"] = () => ([s_hello], new ChatOptions { Tools = [null!] }),
        ["a tool of the host's"] = () => ([s_hello], new ChatOptions { Tools = [new HostedWebSearchTool()] }),
        ["a deep schema"] = () => ([s_hello], new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(Deep(70)) }),
        ["a bottomless schema"] = () => ([s_hello], new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(Deep(1100)) }),
        ["a tool that must be called and is not there"] = () => ([s_hello], new ChatOptions { Tools = Tool("f", """{"type":"object"}""").Tools, ToolMode = ChatToolMode.RequireSpecific("g") }),
        ["what belongs to a conversation elsewhere"] = () => ([s_hello], new ChatOptions { ConversationId = "5", AllowBackgroundResponses = true }),
    };

    public static TheoryData<string> Names { get; } = new(s_calls.Keys);

    [Theory]
    [MemberData(nameof(Names))]
    public async Task AnOddCallEndsAsInThisProcess(string name)
    {
        string here = await DescribeAsync(TinyModel.Client(), name), there = await DescribeAsync(nodes.Cluster.Client(failover: 20), name);
        Assert.Equal(here, there);
    }

    private static async Task<string> DescribeAsync(IChatClient client, string name)
    {
        try
        {
            (IEnumerable<ChatMessage?> messages, ChatOptions? options) = s_calls[name]();
            options ??= new ChatOptions();
            (options.Temperature, options.MaxOutputTokens, options.Seed) = (options.Temperature ?? 0, options.MaxOutputTokens ?? 16, options.Seed ?? 5);
            ChatResponse answer = await client.GetResponseAsync(messages!, options);
            return $"{answer.FinishReason} {answer.Usage!.InputTokenCount} {answer.Usage.OutputTokenCount} " + string.Concat(answer.Messages.SelectMany(message => message.Contents).Select(content =>
                content is FunctionCallContent call ? $"[{call.Name} {JsonSerializer.Serialize(call.Arguments)}]" : (content as TextContent)?.Text));
        }
        catch (Exception e)
        {
            return $"{e.GetType().Name} {e.Message.Split('\n')[0]}";
        }
    }

    private static ChatMessage Call(Dictionary<string, object?> arguments) => new(ChatRole.Assistant, [new FunctionCallContent("1", "f", arguments)]);

    private static ChatMessage Result(object? result) => new(ChatRole.Tool, [new FunctionResultContent("1", result)]);

    private static ChatOptions Raw(GemmaGenerationOptions raw) => new() { RawRepresentationFactory = _ => raw };

    private static ChatOptions Named(string name, object value) => new() { AdditionalProperties = new() { [name] = value } };

    private static ChatOptions Tool(string name, string schema) => new() { Tools = [AIFunctionFactory.CreateDeclaration(name, "Does it.", JsonElement.Parse(schema))] };

    private static List<object> Circle()
    {
        List<object> circle = [];
        circle.Add(circle);
        return circle;
    }

    private static IEnumerable<ChatMessage> Failing()
    {
        yield return s_hello;
        throw new InvalidOperationException("no messages");
    }

    private static JsonElement Deep(int levels) => JsonElement.Parse(
        string.Concat(Enumerable.Repeat("""{"type":"array","maxItems":1,"items":""", levels)) + """{"type":"null"}""" + new string('}', levels), new JsonDocumentOptions { MaxDepth = 4000 });
}
