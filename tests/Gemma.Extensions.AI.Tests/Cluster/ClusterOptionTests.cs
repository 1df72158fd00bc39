using System.Globalization;
using System.Reflection;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Wire;
using Gemma.Extensions.AI.Tests.Chat;
using Microsoft.Extensions.AI;
using Xunit;
using NodeEmbeddings = Gemma.Extensions.AI.Orleans.Nodes.Embeddings;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>A cluster answers as a model in this process does: options, conversations, errors.</summary>
[Collection(ThreeNodesCollection.Name)]
public class ClusterOptionTests(ThreeNodes nodes)
{
    private static readonly AIFunction s_weather = AIFunctionFactory.Create((DayOfWeek day, sbyte days, bool wet) => $"{day} {days} {wet}", "weather", "Tells the weather.");

    private static readonly ChatMessage[] s_history =
    [
        new(ChatRole.System, "Be brief."), new(ChatRole.User, "Weather in Ghent? <end_of_turn>"),
        new(ChatRole.Assistant, [new TextContent("I ask."), new FunctionCallContent("1", "weather", new Dictionary<string, object?> { ["city"] = "Ghent \ud83c\udf0d \"x\"", ["days"] = 1.50m, ["more"] = new[] { 1, 2 }, ["none"] = null })]),
        new(ChatRole.Tool, [new FunctionResultContent("1", new { sun = true, text = "é\n" })]),
        new(ChatRole.Assistant, [new FunctionCallContent("2", "weather", null)]),
        new(ChatRole.Tool, [new FunctionResultContent("2", "Error") { Exception = new InvalidOperationException("no such city") }]),
        new(ChatRole.User, [new TextContent("And "), new DataContent("data:text/plain;base64,aGVsbG8=")]),
    ];

    public static TheoryData<string, ChatOptions> Options { get; } = new()
    {
        { "greedy", Greedy() },
        { "seeded", new ChatOptions { Temperature = 1.5f, TopP = 0.9f, TopK = 40, Seed = 11, MaxOutputTokens = 20, FrequencyPenalty = 0.5f, PresencePenalty = 0.25f } },
        { "additional", new ChatOptions { Seed = 5, MaxOutputTokens = 12, AdditionalProperties = new() { ["min_p"] = "0.05", ["repetition_penalty"] = 1.3, ["logit_bias"] = new Dictionary<int, float> { [300] = 8 }, ["other"] = new object() } } },
        { "bias as text", new ChatOptions { Temperature = 0, MaxOutputTokens = 12, AdditionalProperties = new() { ["logit_bias"] = """{"301": 9}""" } } },
        { "instructions", new ChatOptions { Temperature = 0, MaxOutputTokens = 8, Instructions = "Sing.", StopSequences = ["\u0001"] } },
        { "tools", new ChatOptions { Temperature = 2, TopP = 1, TopK = 0, Seed = 7, MaxOutputTokens = 200, Tools = [s_weather], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false } },
        { "named tool", new ChatOptions { Temperature = 2, TopP = 1, TopK = 0, Seed = 8, MaxOutputTokens = 200, Tools = [s_weather, AIFunctionFactory.CreateDeclaration("other", "x", JsonElement.Parse("""{"type":"object"}"""))], ToolMode = ChatToolMode.RequireSpecific("weather"), AllowMultipleToolCalls = false } },
        { "no tool", new ChatOptions { Temperature = 0, MaxOutputTokens = 8, Tools = [s_weather], ToolMode = ChatToolMode.None } },
        { "schema", new ChatOptions { Temperature = 2, Seed = 3, MaxOutputTokens = 120, ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse("""{"type":"object","properties":{"a":{"type":"integer","maximum":99,"minimum":0},"b":{"enum":["x","y"]}},"required":["a","b"]}""")) } },
        { "json", new ChatOptions { Temperature = 2, Seed = 4, MaxOutputTokens = 40, ResponseFormat = ChatResponseFormat.Json } },
        { "short texts", new ChatOptions { Temperature = 2, Seed = 3, MaxOutputTokens = 120, ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse("""{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}""")), RawRepresentationFactory = _ => new GemmaGenerationOptions { MaxStringLength = 4 } } },
        { "regex", Raw(new GemmaGenerationOptions { Regex = "[a-c]{4}-[0-9]{3}", Seed = 6 }) },
        { "grammar", Raw(new GemmaGenerationOptions { Grammar = "root ::= \"yes\" | \"no\" [!?]+", Seed = 6, MaxOutputTokens = 9 }) },
        { "raw", Raw(new GemmaGenerationOptions { Temperature = 0.8f, TopK = 12, TopP = 0.7f, MinP = 0.02f, Seed = 9, MaxOutputTokens = 14, RepetitionPenalty = 1.1f, LogitBias = new Dictionary<int, float> { [44] = 3 }, Priority = 2, Caller = "me", Timeout = TimeSpan.FromMinutes(5) }) },
    };

    public static TheoryData<string, ChatMessage[], ChatOptions> Mistakes { get; } = new()
    {
        { "no message", [], Greedy() },
        { "too long", [new(ChatRole.User, string.Join(' ', Enumerable.Repeat("river", 3_000)))], Greedy() },
        { "temperature", s_history, new ChatOptions { Temperature = -1 } },
        { "another model", s_history, new ChatOptions { ModelId = "gpt" } },
        { "no such adapter", s_history, Raw(new GemmaGenerationOptions { Adapter = "law" }) },
        { "an image", [new(ChatRole.User, [new DataContent(new byte[] { 1 }, "image/png")])], Greedy() },
        { "an empty stop", s_history, new ChatOptions { StopSequences = [""] } },
        { "a bad schema", s_history, new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse("""{"type":"nothing"}""")) } },
        { "a bad bias", s_history, new ChatOptions { AdditionalProperties = new() { ["logit_bias"] = JsonElement.Parse("3") } } },
        { "two tools of a name", s_history, new ChatOptions { Tools = [s_weather, s_weather] } },
        { "nothing to call", s_history, new ChatOptions { ToolMode = ChatToolMode.RequireAny } },
        { "two forms", s_history, Raw(new GemmaGenerationOptions { Regex = "a", Grammar = "root ::= \"a\"" }) },
        { "time", s_history, Raw(new GemmaGenerationOptions { Timeout = TimeSpan.FromTicks(1) }) },
    };

    [Theory]
    [MemberData(nameof(Options))]
    public async Task AnOptionDoesWhatItDoesInThisProcess(string name, ChatOptions options)
    {
        ChatMessage[] messages = options.ToolMode is RequiredChatToolMode ? s_history[..1] : s_history; // the context is short
        ChatResponse here = await TinyModel.Client().GetResponseAsync(messages, options.Clone());
        ChatResponse there = await nodes.Cluster.Client().GetResponseAsync(messages, options.Clone());
        Assert.Equal(Describe(here), Describe(there));
        Assert.Equal((here.FinishReason, here.Usage!.InputTokenCount, here.Usage.OutputTokenCount), (there.FinishReason, there.Usage!.InputTokenCount, there.Usage.OutputTokenCount));
        Assert.True(Describe(here).Length > 0, name);
    }

    /// <summary>Options that are added to the library must travel too. The type of an answer does not: the schema is completed with it before.</summary>
    [Fact]
    public void EveryOptionOfGemmaTravels()
    {
        GemmaGenerationOptions generation = new();
        PropertyInfo[] set = Fill(generation, nameof(GemmaGenerationOptions.ResponseTypeInfo));
        AssertSame(set, generation, CallOptions.FromWire(CallOptions.ToWire(null, generation, "tiny")).Raw);
        GemmaEmbeddingOptions embedding = new() { Normalize = false };
        AssertSame(Fill(embedding, nameof(GemmaEmbeddingOptions.Normalize)), embedding, NodeEmbeddings.FromWire(NodeEmbeddings.ToWire([], embedding, null)));
        Assert.False(NodeEmbeddings.FromWire(NodeEmbeddings.ToWire([], embedding, null)).Normalize);

        static void AssertSame(PropertyInfo[] set, object expected, object carried)
        {
            Assert.True(set.Length > 5);
            Assert.All(set, option => Assert.Equal(option.GetValue(expected), option.GetValue(carried)));
        }
    }

    /// <summary>Sets all options but one to what is not their default.</summary>
    private static PropertyInfo[] Fill(object options, string but)
    {
        PropertyInfo[] all = [.. options.GetType().GetProperties(BindingFlags.Instance | BindingFlags.Public).Where(option => option.Name != but)];
        foreach (PropertyInfo option in all)
        {
            Type type = Nullable.GetUnderlyingType(option.PropertyType) ?? option.PropertyType;
            object value = type == typeof(string) ? option.Name
                : type == typeof(TimeSpan) ? TimeSpan.FromSeconds(7)
                : type == typeof(IList<string>) ? new List<string> { "stop" }
                : type == typeof(IReadOnlyDictionary<int, float>) ? new Dictionary<int, float> { [300] = 2 }
                : type.IsEnum ? Enum.GetValues(type).Cast<object>().First(other => !other.Equals(option.GetValue(options)))
                : Convert.ChangeType(1, type, CultureInfo.InvariantCulture);
            Assert.NotEqual(value, option.GetValue(options));
            option.SetValue(options, value);
        }

        return all;
    }

    [Fact]
    public async Task LogProbabilitiesTravel()
    {
        ChatOptions options = Raw(new GemmaGenerationOptions { Temperature = 0, MaxOutputTokens = 9, TopLogProbabilities = 3 });
        ChatResponse here = await TinyModel.Client().GetResponseAsync(s_history, options), there = await nodes.Cluster.Client().GetResponseAsync(s_history, options);
        Assert.Equal(9, there.GetLogProbabilities().Count);
        Assert.Equal(here.GetLogProbabilities().Select(Show), there.GetLogProbabilities().Select(Show));
        List<GemmaLogProbabilities> streamed = [];
        await foreach (ChatResponseUpdate update in nodes.Cluster.Client().GetStreamingResponseAsync(s_history, options))
        {
            streamed.AddRange(update.GetLogProbabilities());
        }

        Assert.Equal(here.GetLogProbabilities().Select(Show), streamed.Select(Show));

        static string Show(GemmaLogProbabilities place) => $"{place.Token.TokenId} {place.Token.Text} {place.Token.LogProbability:R}: {string.Join(' ', place.Top.Select(top => $"{top.TokenId} {top.LogProbability:R}"))}";
    }

    [Fact]
    public async Task TheStopSequenceThatEndedAnAnswerIsNamed()
    {
        string full = (await TinyModel.Client().GetResponseAsync(s_history, Greedy())).Text;
        ChatOptions options = Greedy();
        options.StopSequences = [full.Substring(full.Length / 2, 2)];
        ChatResponse here = await TinyModel.Client().GetResponseAsync(s_history, options), there = await nodes.Cluster.Client().GetResponseAsync(s_history, options);
        Assert.Equal(here.Text, there.Text);
        Assert.Equal(options.StopSequences[0], there.Messages[0].AdditionalProperties!["stop_sequence"]);
    }

    [Fact]
    public async Task FunctionsStayWithTheCaller()
    {
        int calls = 0;
        AIFunction count = AIFunctionFactory.Create(() => ++calls, "count");
        using IChatClient client = nodes.Cluster.Client().AsBuilder().UseFunctionInvocation(configure: invoking => invoking.MaximumIterationsPerRequest = 1).Build();
        await client.GetResponseAsync("Count.", new ChatOptions { Tools = [count], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false, MaxOutputTokens = 60, Temperature = 0 });
        Assert.True(calls > 0);
    }

    [Theory]
    [MemberData(nameof(Mistakes))]
    public async Task AMistakeIsToldAsInThisProcess(string name, ChatMessage[] messages, ChatOptions options)
    {
        Exception here = (await Record.ExceptionAsync(() => TinyModel.Client().GetResponseAsync(messages, options.Clone())))!;
        Exception there = (await Record.ExceptionAsync(() => nodes.Cluster.Client().GetResponseAsync(messages, options.Clone())))!;
        Assert.True(here.GetType() == there.GetType(), $"{name}: {there}");
        if (name != "time")
        {
            // The value that was out of range is in the message only where it was thrown.
            Assert.StartsWith(here.Message.Split('\n')[0].Split(" (Parameter")[0], there.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task AModelThatNobodyServesIsNamedWithThoseThatAreServed()
    {
        GemmaException e = await Assert.ThrowsAsync<GemmaException>(() => nodes.Cluster.Client("huge", heartbeat: 5, failover: 5).GetResponseAsync("Hello"));
        Assert.Contains("'huge'", e.Message, StringComparison.Ordinal);
        Assert.Contains("'tiny'", e.Message, StringComparison.Ordinal);
        Assert.Equal(503, ServerError.From(e).Status); // of a server in front of the cluster
    }

    [Fact]
    public void OptionsOfClientsAndNodesAreChecked()
    {
        Assert.Throws<ArgumentException>(() => nodes.Cluster.Client(heartbeat: 0.1));
        Assert.Throws<ArgumentException>(() => nodes.Cluster.Client(failover: 1));
        Assert.Single(new GemmaNodeOptions { SummaryInterval = TimeSpan.FromSeconds(2) }.Validate());
        Assert.Single(new GemmaNodeOptions { DrainTimeout = TimeSpan.FromSeconds(-1) }.Validate());
        Assert.Empty(new GemmaNodeOptions().Validate());
    }

    private static ChatOptions Greedy() => new() { Temperature = 0, MaxOutputTokens = 24 };

    private static ChatOptions Raw(GemmaGenerationOptions raw) => new() { RawRepresentationFactory = _ => raw, MaxOutputTokens = 40 };

    /// <summary>Text and calls; ids are new with each answer.</summary>
    private static string Describe(ChatResponse response) => string.Concat(response.Messages.SelectMany(message => message.Contents).Select(content => content switch
    {
        TextContent text => text.Text,
        FunctionCallContent call => $"[{call.Name} {JsonSerializer.Serialize(call.Arguments)}]",
        _ => "",
    }));
}
