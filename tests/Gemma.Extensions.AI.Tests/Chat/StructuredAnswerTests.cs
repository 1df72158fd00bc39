using System.Text.Json;
using Gemma.Extensions.AI.Tests.Grammar;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Every tool mode with every format of the answer, streaming and not, on a model of random weights at temperature 2.</summary>
public sealed class StructuredAnswerTests
{
    private static readonly JsonElement s_answer = JsonElement.Parse("""{"type":"object","properties":{"mood":{"enum":["good","bad"]},"score":{"type":"integer","minimum":0,"maximum":99}},"required":["mood","score"],"additionalProperties":false}""");

    private static readonly AIFunctionDeclaration s_pick = AIFunctionFactory.CreateDeclaration(
        "pick", "Picks.", JsonElement.Parse("""{"type":"object","properties":{"color":{"enum":["red","green"]},"count":{"type":"integer","minimum":0,"maximum":99}},"required":["color","count"]}"""));

    private static readonly AIFunctionDeclaration s_stop = AIFunctionFactory.CreateDeclaration("stop", "Stops.", JsonElement.Parse("""{"type":"object","properties":{}}"""));

    public static TheoryData<string, string, bool> Combinations =>
        [.. from mode in (string[])["unset", "none", "auto", "any", "specific"] from format in (string[])["unset", "text", "json", "schema"] from streaming in (bool[])[false, true] select (mode, format, streaming)];

    [Theory]
    [MemberData(nameof(Combinations))]
    public async Task ModeAndFormatAreBothKept(string mode, string format, bool streaming)
    {
        using IChatClient client = TinyModel.Client();
        int calls = 0, answers = 0;
        for (int seed = 0; seed < 6; seed++)
        {
            ChatOptions options = new()
            {
                Tools = [s_pick, s_stop],
                ToolMode = mode switch { "none" => ChatToolMode.None, "auto" => ChatToolMode.Auto, "any" => ChatToolMode.RequireAny, "specific" => ChatToolMode.RequireSpecific("pick"), _ => null },
                ResponseFormat = format switch { "text" => ChatResponseFormat.Text, "json" => ChatResponseFormat.Json, "schema" => ChatResponseFormat.ForJsonSchema(s_answer), _ => null },
                Temperature = 2, TopP = 1, TopK = 0, Seed = seed, MaxOutputTokens = 100,
            };
            ChatResponse response = streaming
                ? await client.GetStreamingResponseAsync("Hello", options).ToChatResponseAsync()
                : await client.GetResponseAsync("Hello", options);
            FunctionCallContent[] called = [.. response.Messages.SelectMany(m => m.Contents).OfType<FunctionCallContent>()];
            Assert.All(called, call => Check(call, mode));
            Assert.Equal(called.Length, called.Select(call => call.CallId).Distinct().Count());
            Assert.True(called.Length == 0 || response.FinishReason == ChatFinishReason.ToolCalls || response.FinishReason == ChatFinishReason.Length);
            Assert.DoesNotContain("<tool_call>", response.Text, StringComparison.Ordinal);
            calls += called.Length;
            if (response.FinishReason == ChatFinishReason.Length)
            {
                continue;
            }

            Assert.Equal(called.Length > 0 ? ChatFinishReason.ToolCalls : ChatFinishReason.Stop, response.FinishReason);
            Assert.True(mode is not ("any" or "specific") || called.Length > 0, "A required mode calls.");
            if (format is "json" or "schema" && called.Length == 0)
            {
                answers++;
                JsonElement value = JsonElement.Parse(response.Text);
                Assert.True(format == "json" || SchemaOracle.IsValid(s_answer, value), response.Text);
            }
        }

        Assert.True(mode != "none" || calls == 0, "None never calls.");
        Assert.True(mode is not ("any" or "specific") || calls > 0, "No call came to its end.");
        Assert.True(format != "schema" || mode is "any" or "specific" || answers + calls > 0, "Nothing came to its end.");
    }

    [Theory]
    [InlineData(null, new[] { "mood" })]
    [InlineData(GemmaPropertyOrder.Schema, new[] { "mood" })]
    [InlineData(GemmaPropertyOrder.Any, new[] { "mood", "score" })]
    public async Task PropertiesComeInTheOrderAskedFor(GemmaPropertyOrder? order, string[] first)
    {
        using IChatClient client = TinyModel.Client();
        SortedSet<string> seen = [];
        for (int seed = 0; seed < 24; seed++)
        {
            ChatResponse response = await client.GetResponseAsync("Hello", new ChatOptions
            {
                ResponseFormat = ChatResponseFormat.ForJsonSchema(s_answer), Temperature = 2, TopP = 1, TopK = 0, Seed = seed, MaxOutputTokens = 100,
                RawRepresentationFactory = _ => new GemmaGenerationOptions { PropertyOrder = order },
            });
            if (response.FinishReason == ChatFinishReason.Stop)
            {
                JsonElement value = JsonElement.Parse(response.Text);
                Assert.True(SchemaOracle.IsValid(s_answer, value), response.Text);
                seen.Add(value.EnumerateObject().First().Name);
            }
        }

        Assert.Equal(first, seen);
    }

    [Fact]
    public async Task AnUnknownOrderIsRefused()
    {
        using IChatClient client = TinyModel.Client();
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => client.GetResponseAsync("Hello", new ChatOptions
        {
            ResponseFormat = ChatResponseFormat.ForJsonSchema(s_answer),
            RawRepresentationFactory = _ => new GemmaGenerationOptions { PropertyOrder = (GemmaPropertyOrder)7 },
        }));
    }

    private static void Check(FunctionCallContent call, string mode)
    {
        if (call.Name == "stop")
        {
            Assert.NotEqual("specific", mode);
            Assert.Empty(call.Arguments!);
            return;
        }

        Assert.Equal("pick", call.Name);
        Assert.Contains(((JsonElement)call.Arguments!["color"]!).GetString(), (string[])["red", "green"]);
        Assert.InRange(((JsonElement)call.Arguments["count"]!).GetInt32(), 0, 99);
        Assert.Equal(2, call.Arguments.Count);
    }

    [Fact]
    public async Task BoundsOfAnnotationsAreKept()
    {
        using IChatClient client = TinyModel.Client();
        for (int seed = 0; seed < 5; seed++)
        {
            ChatResponse<Offer> answer = await client.GetResponseAsync<Offer>("Hello", new ChatOptions { Temperature = 2, TopP = 1, TopK = 0, Seed = seed, MaxOutputTokens = 100 });
            Assert.Equal(ChatFinishReason.Stop, answer.FinishReason);
            Assert.InRange(answer.Result.Price, 0.01m, 99.99m);
        }
    }

    /// <summary>Types of .NET say nothing of other properties, and have no use for them.</summary>
    [Fact]
    public async Task TypedAnswersAndCallsHoldNoOtherProperties()
    {
        using IChatClient client = TinyModel.Client();
        AIFunction tool = AIFunctionFactory.Create((Visit visit) => visit.Seen.Count, "visit");
        static void Check(JsonElement visit)
        {
            Assert.Equal(["where", "seen"], visit.EnumerateObject().Select(p => p.Name));
            Assert.All(visit.GetProperty("seen").EnumerateArray().Prepend(visit.GetProperty("where")), place => Assert.Equal(["near", "height"], place.EnumerateObject().Select(p => p.Name)));
        }

        int checks = 0;
        for (int seed = 0; seed < 8; seed++)
        {
            ChatOptions options = new() { Temperature = 2, TopP = 1, TopK = 0, Seed = seed, MaxOutputTokens = 250, ResponseFormat = ChatResponseFormat.ForJsonSchema<Visit>() };
            ChatResponse answer = await client.GetResponseAsync("Hello", options);
            if (answer.FinishReason == ChatFinishReason.Stop)
            {
                Check(JsonElement.Parse(answer.Text));
                checks++;
            }

            (options.ResponseFormat, options.Tools, options.ToolMode) = (null, [tool], ChatToolMode.RequireAny);
            foreach (FunctionCallContent call in (await client.GetResponseAsync("Hello", options)).Messages.SelectMany(m => m.Contents).OfType<FunctionCallContent>())
            {
                Check((JsonElement)call.Arguments!["visit"]!);
                checks++;
            }
        }

        Assert.True(checks > 4, $"{checks} answers and calls were complete");
    }

    [Fact]
    public async Task WhatCannotBeEnforcedIsIgnoredWhereLeniencyIsAskedFor()
    {
        using IChatClient client = TinyModel.Client();
        JsonElement schema = JsonElement.Parse("""{"type":"object","properties":{"x":{"enum":["a","b"],"pattern":"(a)\\1?|b"}},"required":["x"],"additionalProperties":false}""");
        ChatOptions Options(bool lenient) => new()
        {
            ResponseFormat = ChatResponseFormat.ForJsonSchema(schema),
            RawRepresentationFactory = _ => new GemmaGenerationOptions { LenientSchemas = lenient, Temperature = 2, Seed = 3, MaxOutputTokens = 60 },
        };
        Assert.Contains("/properties/x/pattern", (await Assert.ThrowsAsync<NotSupportedException>(() => client.GetResponseAsync("Hello", Options(false)))).Message, StringComparison.Ordinal);
        ChatResponse response = await client.GetResponseAsync("Hello", Options(true));
        Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
        Assert.Contains(JsonElement.Parse(response.Text).GetProperty("x").GetString(), (string[])["a", "b"]);

        // For the parameters of tools too.
        AIFunctionDeclaration tool = AIFunctionFactory.CreateDeclaration("t", "T.", schema);
        ChatOptions call = Options(false);
        (call.ResponseFormat, call.Tools, call.ToolMode) = (null, [tool], ChatToolMode.RequireAny);
        Assert.Contains("'t'", (await Assert.ThrowsAsync<NotSupportedException>(() => client.GetResponseAsync("Hello", call))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[A-C]{2}\\d", null, "^[A-C]{2}[0-9]$")]
    [InlineData(null, "root ::= item (\",\" item)? \"!\"\nitem ::= \"a\" | \"(\" item \")\"", "^\\(*a\\)*(,\\(*a\\)*)?!$")]
    public async Task ExpressionsAndGrammarsAreKeptWhileStreaming(string? regex, string? grammar, string expected)
    {
        using IChatClient client = TinyModel.Client();
        int complete = 0;
        for (int seed = 0; seed < 10; seed++)
        {
            long drawn = seed;
            ChatOptions options = new() { RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = regex, Grammar = grammar, Temperature = 2, Seed = drawn, MaxOutputTokens = 40 } };
            ChatResponse response = await client.GetStreamingResponseAsync("Hello", options).ToChatResponseAsync();
            if (response.FinishReason == ChatFinishReason.Stop)
            {
                complete++;
                Assert.Matches(expected, response.Text);
            }
        }

        Assert.True(complete > 0, "no answer was complete");
    }

    [Theory]
    [InlineData("[", null, "malformed")]
    [InlineData(null, "start ::= \"a\"", "root")]
    [InlineData("a", "root ::= \"a\"", "Only one")]
    public async Task BadExpressionsAndGrammarsAreRefused(string? regex, string? grammar, string expected)
    {
        using IChatClient client = TinyModel.Client();
        ChatOptions options = new() { RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = regex, Grammar = grammar } };
        Assert.Contains(expected, (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("Hello", options))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task LargeResultsArePassedWholeOrRefusedWithTheNumbers()
    {
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, new GemmaOptions { Threads = 1, ContextLength = 512 });
        IChatClient client = model.AsIChatClient();
        List<ChatMessage> Conversation(int words) =>
        [
            new(ChatRole.User, "Go."), new(ChatRole.Assistant, [new FunctionCallContent("1", "pick", new Dictionary<string, object?> { ["color"] = "red", ["count"] = 1 })]),
            new(ChatRole.Tool, [new FunctionResultContent("1", string.Join(' ', Enumerable.Range(0, words).Select(i => $"w{i}")))]),
        ];
        ChatOptions options = new() { Tools = [s_pick], MaxOutputTokens = 4, Temperature = 0 };
        long small = (await client.GetResponseAsync(Conversation(1), options)).Usage!.InputTokenCount!.Value;
        long large = (await client.GetResponseAsync(Conversation(60), options)).Usage!.InputTokenCount!.Value;
        int words = model.Tokenizer.Encode(string.Join(' ', Enumerable.Range(0, 60).Select(i => $"w{i}")), matchSpecial: false).Length - model.Tokenizer.Encode("w0", matchSpecial: false).Length;
        Assert.InRange(large - small, words - 2, words + 2);
        GemmaContextLengthException refused = await Assert.ThrowsAsync<GemmaContextLengthException>(() => client.GetResponseAsync(Conversation(500), options));
        Assert.Equal(512, refused.ContextTokens);
        Assert.InRange(refused.PromptTokens, 1000, 5000);
        Assert.Contains("512", refused.Message, StringComparison.Ordinal);
    }

    /// <summary>The loop of MEAI: several calls of a turn, streamed or not, at the same time or in order, up to its limit.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task TheLoopInvokesEveryCallUpToItsLimit(bool streaming, bool concurrent)
    {
        int invoked = 0;
        AIFunction count = AIFunctionFactory.Create((bool twice) => { Interlocked.Increment(ref invoked); return twice; }, "count", "Counts.");
        int rounds = 0, calls = 0, results = 0;
        for (int seed = 0; seed < 4; seed++)
        {
            using IChatClient client = TinyModel.Client().AsBuilder()
                .UseFunctionInvocation(configure: c => (c.MaximumIterationsPerRequest, c.AllowConcurrentInvocation) = (2, concurrent))
                .Use((messages, options, inner, cancellation) =>
                {
                    rounds++;
                    return inner.GetResponseAsync(messages, options, cancellation);
                }, (messages, options, inner, cancellation) =>
                {
                    rounds++;
                    return inner.GetStreamingResponseAsync(messages, options, cancellation);
                })
                .Build();
            ChatOptions options = new() { Tools = [count], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = true, Temperature = 2, TopP = 1, TopK = 0, Seed = seed, MaxOutputTokens = 150 };
            ChatResponse response = streaming ? await client.GetStreamingResponseAsync("Count.", options).ToChatResponseAsync() : await client.GetResponseAsync("Count.", options);
            FunctionCallContent[] called = [.. response.Messages.SelectMany(m => m.Contents).OfType<FunctionCallContent>()];
            FunctionResultContent[] answered = [.. response.Messages.SelectMany(m => m.Contents).OfType<FunctionResultContent>()];
            Assert.Equal(called.Length, called.Select(c => c.CallId).Distinct().Count());
            Assert.All(answered, r => Assert.Contains(called, c => c.CallId == r.CallId));
            (calls, results) = (calls + called.Length, results + answered.Length);
        }

        Assert.InRange(rounds, 4, 4 * 3); // Two rounds of calls, and what the model says when it may call no more.
        Assert.True(calls > 4, $"{calls} calls: none of the turns had several.");
        Assert.Equal(results, invoked);
    }

    /// <summary>AIFunctionFactory describes an enumeration by its names and binds them, without a converter on the type.</summary>
    [Fact]
    public async Task MembersOfAPlainEnumerationAreBound()
    {
        List<Level> seen = [];
        AIFunction set = AIFunctionFactory.Create((Level level) => seen.Add(level), "set", "Sets.");
        using IChatClient client = TinyModel.Client().AsBuilder().UseFunctionInvocation(configure: c => c.MaximumIterationsPerRequest = 1).Build();
        await client.GetResponseAsync("Go.", new ChatOptions { Tools = [set], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false, Temperature = 1, Seed = 4, MaxOutputTokens = 80 });
        Assert.True(Enum.IsDefined(Assert.Single(seen)));
    }

    private sealed record Offer([property: System.ComponentModel.DataAnnotations.Range(typeof(decimal), "0.01", "99.99")] decimal Price);

    private sealed record Visit(Place Where, List<Place> Seen);

    private sealed record Place(bool Near, Level Height);

    private enum Level
    {
        Low,
        High,
    }
}
