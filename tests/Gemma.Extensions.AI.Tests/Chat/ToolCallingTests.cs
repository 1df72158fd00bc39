using System.Text.Json;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Function calling on a model of random weights: nothing but the grammar makes it right.</summary>
public class ToolCallingTests
{
    /// <summary>Strings end soon, so that random answers fit the context.</summary>
    private static readonly AIFunctionDeclaration s_pick = AIFunctionFactory.CreateDeclaration(
        "pick", "Picks.", JsonElement.Parse("""{"type":"object","properties":{"color":{"enum":["red","green"]},"count":{"type":"integer","minimum":0,"maximum":99}},"required":["color","count"]}"""));

    private static ChatOptions Options(ChatToolMode mode, params AITool[] tools) =>
        new() { Tools = [.. tools], ToolMode = mode, Temperature = 2, TopP = 1, TopK = 0, Seed = 7, MaxOutputTokens = 120 };

    [Fact]
    public async Task ARequiredModeCallsWithArgumentsThatFitTheSchema()
    {
        using IChatClient client = TinyModel.Client();
        for (int seed = 0; seed < 20; seed++)
        {
            ChatOptions options = Options(ChatToolMode.RequireAny, s_pick);
            options.Seed = seed;
            options.AllowMultipleToolCalls = false;
            ChatResponse response = await client.GetResponseAsync("Hello", options);

            Assert.Equal(ChatFinishReason.ToolCalls, response.FinishReason);
            FunctionCallContent call = Assert.IsType<FunctionCallContent>(Assert.Single(Assert.Single(response.Messages).Contents));
            Assert.Equal("pick", call.Name);
            Assert.Equal(["color", "count"], call.Arguments!.Keys);
            Assert.Contains(((JsonElement)call.Arguments["color"]!).GetString(), (string[])["red", "green"]);
            Assert.InRange(((JsonElement)call.Arguments["count"]!).GetInt32(), 0, 99);
            Assert.False(string.IsNullOrEmpty(call.CallId));
        }
    }

    [Fact]
    public async Task RequireSpecificCallsThatTool()
    {
        using IChatClient client = TinyModel.Client();
        AIFunctionDeclaration other = AIFunctionFactory.CreateDeclaration("other", "Another.", s_pick.JsonSchema);
        foreach (string name in (string[])["pick", "other"])
        {
            ChatOptions options = Options(ChatToolMode.RequireSpecific(name), s_pick, other);
            options.AllowMultipleToolCalls = false;
            ChatResponse response = await client.GetResponseAsync("Hello", options);
            Assert.Equal(name, Assert.Single(response.Messages[0].Contents.OfType<FunctionCallContent>()).Name);
        }
    }

    [Fact]
    public async Task StreamingGivesTheSameCallsCompleteAndInOrder()
    {
        using IChatClient client = TinyModel.Client();
        ChatOptions options = Options(ChatToolMode.RequireAny, s_pick);
        ChatResponse whole = await client.GetResponseAsync("Hello", options);
        ChatResponse streamed = await client.GetStreamingResponseAsync("Hello", options).ToChatResponseAsync();

        FunctionCallContent[] a = [.. whole.Messages[0].Contents.OfType<FunctionCallContent>()], b = [.. streamed.Messages[0].Contents.OfType<FunctionCallContent>()];
        Assert.NotEmpty(a);
        Assert.Equal(a.Select(Describe), b.Select(Describe));
        Assert.Equal(a.Length, a.Select(call => call.CallId).Distinct().Count());
    }

    [Fact]
    public async Task ModeNoneNeverCallsAndDescribesNoTool()
    {
        using IChatClient client = TinyModel.Client();
        ChatOptions options = TinyModel.Greedy();
        options.Tools = [s_pick];
        options.ToolMode = ChatToolMode.None;
        ChatResponse none = await client.GetResponseAsync("Hello", options);
        ChatResponse without = await client.GetResponseAsync("Hello", TinyModel.Greedy());
        Assert.Equal(without.Text, none.Text);
        Assert.Equal(without.Usage!.InputTokenCount, none.Usage!.InputTokenCount);
    }

    [Fact]
    public async Task AutoMayAnswerInText()
    {
        using IChatClient client = TinyModel.Client();
        ChatResponse response = await client.GetResponseAsync("Hello", Options(ChatToolMode.Auto, s_pick));
        Assert.NotEmpty(response.Text);
        Assert.DoesNotContain("<tool_call>", response.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AutoEnforcesACallFromItsMarkerOn()
    {
        using IChatClient client = TinyModel.Client();
        List<int> marker = [];
        TinyModel.Model.Tokenizer.Encode("<tool_call>", marker, matchSpecial: false);
        for (int seed = 0; seed < 10; seed++)
        {
            // Push the model into a call: the tokens of the marker are as likely as can be.
            ChatOptions options = Options(ChatToolMode.Auto, s_pick);
            options.Seed = seed;
            options.AllowMultipleToolCalls = false;
            options.RawRepresentationFactory = _ => new GemmaGenerationOptions { LogitBias = marker.Distinct().ToDictionary(id => id, _ => 12f), Temperature = 1, MaxOutputTokens = 300 };
            ChatResponse response = await client.GetResponseAsync("Hello", options);
            if (response.FinishReason == ChatFinishReason.ToolCalls)
            {
                FunctionCallContent call = Assert.Single(response.Messages[0].Contents.OfType<FunctionCallContent>());
                Assert.Contains(((JsonElement)call.Arguments!["color"]!).GetString(), (string[])["red", "green"]);
            }

            Assert.DoesNotContain("<tool_call>", response.Text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task BadRequestsAreRefusedWithAReason()
    {
        using IChatClient client = TinyModel.Client();
        Assert.Contains("'gone'", (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("x", Options(ChatToolMode.RequireSpecific("gone"), s_pick)))).Message, StringComparison.Ordinal);
        Assert.Contains("It holds: pick.", (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("x", Options(ChatToolMode.RequireSpecific("gone"), s_pick)))).Message, StringComparison.Ordinal);
        Assert.Contains("nothing to call", (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("x", Options(ChatToolMode.RequireAny)))).Message, StringComparison.Ordinal);
        Assert.Contains("named 'pick'", (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("x", Options(ChatToolMode.Auto, s_pick, s_pick)))).Message, StringComparison.Ordinal);
    }

    /// <summary>Arguments are an object, whatever else the schema would take; what a schema requires without declaring it is any value.</summary>
    [Theory]
    [InlineData("""{"type":["object","null"],"properties":{"a":{"type":"boolean"}},"required":["a"],"additionalProperties":false}""")]
    [InlineData("""{"type":["null","object","string"],"properties":{"a":{"enum":[1,2]}},"required":["a"]}""")]
    [InlineData("""{"type":"object","properties":{},"required":["a"],"maxProperties":1}""")]
    public async Task ArgumentsAreAnObject(string schema)
    {
        using IChatClient client = TinyModel.Client();
        AIFunctionDeclaration tool = AIFunctionFactory.CreateDeclaration("f", "F.", JsonElement.Parse(schema));
        int calls = 0;
        for (int seed = 0; seed < 6; seed++)
        {
            ChatOptions options = Options(ChatToolMode.RequireAny, tool);
            (options.Seed, options.AllowMultipleToolCalls) = (seed, false);
            ChatResponse response = await client.GetResponseAsync("Hello", options);
            Assert.Equal("", response.Text);
            foreach (FunctionCallContent call in response.Messages.SelectMany(m => m.Contents).OfType<FunctionCallContent>())
            {
                Assert.Equal(["a"], call.Arguments!.Keys);
                calls++;
            }
        }

        Assert.True(calls > 0, "no call was complete");
    }

    [Theory]
    [InlineData("""{"type":"string"}""", "\"string\"")]
    [InlineData("""{"type":["array","null"]}""", "array")]
    [InlineData("""{"type":null}""", "null")]
    [InlineData("""{"type":"object","properties":null}""", "/properties")]
    public async Task ParametersThatAreNoObjectAreRefused(string schema, string expected)
    {
        using IChatClient client = TinyModel.Client();
        ChatOptions options = Options(ChatToolMode.RequireAny, AIFunctionFactory.CreateDeclaration("f", "F.", JsonElement.Parse(schema)));
        string message = (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("Hello", options))).Message;
        Assert.Contains("'f'", message, StringComparison.Ordinal);
        Assert.Contains(expected, message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AJsonSchemaIsKeptAtAnyTemperature()
    {
        using IChatClient client = TinyModel.Client();
        JsonElement schema = JsonElement.Parse("""{"type":"object","properties":{"ok":{"type":"boolean"},"level":{"enum":["low","high"]}},"required":["ok","level"],"additionalProperties":false}""");
        int complete = 0;
        for (int seed = 0; seed < 20; seed++)
        {
            ChatResponse response = await client.GetResponseAsync("Hello", new ChatOptions
            {
                ResponseFormat = ChatResponseFormat.ForJsonSchema(schema), Temperature = 2, TopP = 1, TopK = 0, Seed = seed, MaxOutputTokens = 200,
            });
            if (response.FinishReason != ChatFinishReason.Stop)
            {
                continue;
            }

            complete++;
            using JsonDocument json = JsonDocument.Parse(response.Text);
            Assert.Contains(json.RootElement.GetProperty("level").GetString(), (string[])["low", "high"]);
            Assert.Contains(json.RootElement.GetProperty("ok").ValueKind, (JsonValueKind[])[JsonValueKind.True, JsonValueKind.False]);
        }

        Assert.True(complete > 10, $"{complete} of 20 answers were complete");
    }

    [Fact]
    public async Task JsonWithoutASchemaParses()
    {
        using IChatClient client = TinyModel.Client();
        int complete = 0;
        for (int seed = 0; seed < 20; seed++)
        {
            ChatResponse response = await client.GetResponseAsync("Hello", new ChatOptions { ResponseFormat = ChatResponseFormat.Json, Temperature = 1, Seed = seed, MaxOutputTokens = 150 });
            if (response.FinishReason == ChatFinishReason.Stop)
            {
                complete++;
                JsonDocument.Parse(response.Text).Dispose();
            }
        }

        Assert.True(complete > 0, "no answer was complete");
    }

    [Fact]
    public async Task ATypedAnswerArrivesTyped()
    {
        using IChatClient client = TinyModel.Client();
        int complete = 0;
        for (int seed = 0; seed < 20; seed++)
        {
            ChatResponse<Verdict> response = await client.GetResponseAsync<Verdict>("Is it so?", new ChatOptions { Temperature = 1, Seed = seed, MaxOutputTokens = 150 });
            if (response.FinishReason == ChatFinishReason.Stop)
            {
                complete++;
                Assert.True(Enum.IsDefined(response.Result.Kind));
            }
        }

        Assert.True(complete > 0, "no answer was complete");
    }

    [Fact]
    public async Task ARegularExpressionIsKept()
    {
        using IChatClient client = TinyModel.Client();
        ChatResponse response = await client.GetResponseAsync("Hello", new ChatOptions { RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = "[A-F]{3}-[0-9]{2}", Temperature = 2, Seed = 5 } });
        Assert.Matches("^[A-F]{3}-[0-9]{2}$", response.Text);
        Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
    }

    [Fact]
    public async Task AGrammarIsKept()
    {
        using IChatClient client = TinyModel.Client();
        ChatResponse response = await client.GetResponseAsync("Hello", new ChatOptions { RawRepresentationFactory = _ => new GemmaGenerationOptions { Grammar = "root ::= (\"tick\" | \"tock\") \"!\"", Temperature = 2, Seed = 5 } });
        Assert.Matches("^(tick|tock)!$", response.Text);
    }

    [Fact]
    public async Task WhatASchemaAsksInVainIsRefusedWithItsPath()
    {
        using IChatClient client = TinyModel.Client();
        ChatOptions options = new() { ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse("""{"type":"object","properties":{"x":{"type":"string","pattern":"(a)\\1"}}}""")), MaxOutputTokens = 5 };
        Assert.Contains("/properties/x", (await Assert.ThrowsAsync<NotSupportedException>(() => client.GetResponseAsync("Hello", options))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheFunctionInvocationLoopRunsCallsAndFeedsResultsBack()
    {
        int invoked = 0;
        AIFunction count = AIFunctionFactory.Create((bool twice) => Interlocked.Add(ref invoked, twice ? 2 : 1), "count", "Counts.");
        using IChatClient client = TinyModel.Client().AsBuilder().UseFunctionInvocation().Build();
        ChatOptions options = new() { Tools = [count], ToolMode = ChatToolMode.RequireAny, Temperature = 1, Seed = 11, MaxOutputTokens = 200 };
        ChatResponse response = await client.GetResponseAsync("Count.", options);

        FunctionCallContent[] calls = [.. response.Messages.SelectMany(m => m.Contents).OfType<FunctionCallContent>()];
        FunctionResultContent[] results = [.. response.Messages.SelectMany(m => m.Contents).OfType<FunctionResultContent>()];
        Assert.NotEmpty(calls);
        Assert.Equal(calls.Length, results.Length);
        Assert.Equal(calls.Select(call => call.CallId), results.Select(result => result.CallId));
        Assert.True(invoked > 0);
        Assert.Same(ChatToolMode.RequireAny, options.ToolMode);
    }

    [Fact]
    public async Task AFunctionThatThrowsDoesNotEndTheConversation()
    {
        AIFunction broken = AIFunctionFactory.Create((bool twice) => twice || !twice ? throw new InvalidOperationException("out of paper") : 0, "broken", "Breaks.");
        using IChatClient client = TinyModel.Client().AsBuilder().UseFunctionInvocation(configure: c => c.MaximumIterationsPerRequest = 3).Build();
        ChatResponse response = await client.GetResponseAsync("Go.", new ChatOptions { Tools = [broken], ToolMode = ChatToolMode.RequireAny, Temperature = 1, Seed = 2, MaxOutputTokens = 60 });
        FunctionResultContent[] results = [.. response.Messages.SelectMany(m => m.Contents).OfType<FunctionResultContent>()];
        Assert.NotEmpty(results);
        Assert.Contains(results, result => result.Exception is InvalidOperationException);
    }

    [Fact]
    public async Task ACallByANameThatTheLoopDoesNotKnowGetsAnErrorBack()
    {
        AIFunction known = AIFunctionFactory.Create(() => 1, "known", "Known.");
        using IChatClient client = TinyModel.Client().AsBuilder()
            .UseFunctionInvocation(configure: c => c.MaximumIterationsPerRequest = 2)
            .ConfigureOptions(options =>
            {
                // Behind the loop's back the model is offered another tool than the loop was.
                options.Tools = [s_pick];
                options.ToolMode = ChatToolMode.RequireAny;
            })
            .Build();
        ChatResponse response = await client.GetResponseAsync(
            "Go.", new ChatOptions { Tools = [known], AllowMultipleToolCalls = false, Temperature = 1, Seed = 2, MaxOutputTokens = 120 });

        FunctionCallContent[] calls = [.. response.Messages.SelectMany(m => m.Contents).OfType<FunctionCallContent>()];
        FunctionResultContent[] results = [.. response.Messages.SelectMany(m => m.Contents).OfType<FunctionResultContent>()];
        Assert.True(calls.Length >= 2, "The conversation goes on after the unknown name.");
        Assert.All(calls, call => Assert.Equal("pick", call.Name));
        FunctionResultContent answer = results[0];
        Assert.Equal(calls[0].CallId, answer.CallId);
        Assert.Contains("pick", answer.Result!.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ADeclarationWithoutCodeIsHandedToTheCaller()
    {
        using IChatClient client = TinyModel.Client().AsBuilder().UseFunctionInvocation().Build();
        ChatOptions options = Options(ChatToolMode.RequireAny, s_pick);
        options.AllowMultipleToolCalls = false;
        ChatResponse response = await client.GetResponseAsync("Go.", options);
        Assert.Equal("pick", Assert.Single(response.Messages.SelectMany(m => m.Contents).OfType<FunctionCallContent>()).Name);
        Assert.Equal(ChatFinishReason.ToolCalls, response.FinishReason);
    }

    [Fact]
    public async Task CallsAndTypedAnswersTogetherAreBothEnforced()
    {
        using IChatClient client = TinyModel.Client();
        JsonElement schema = JsonElement.Parse("""{"enum":["yes","no"]}""");
        for (int seed = 0; seed < 10; seed++)
        {
            ChatOptions options = Options(ChatToolMode.Auto, s_pick);
            options.Seed = seed;
            options.ResponseFormat = ChatResponseFormat.ForJsonSchema(schema);
            options.AllowMultipleToolCalls = false;
            ChatResponse response = await client.GetResponseAsync("Hello", options);
            if (response.FinishReason == ChatFinishReason.Stop)
            {
                Assert.Contains(JsonSerializer.Deserialize<string>(response.Text), (string[])["yes", "no"]);
            }
            else
            {
                Assert.True(response.FinishReason == ChatFinishReason.Length || response.Messages[0].Contents.OfType<FunctionCallContent>().Count() == 1);
            }
        }
    }

    private static string Describe(FunctionCallContent call) => $"{call.Name} {JsonSerializer.Serialize(call.Arguments)}";

    private sealed record Verdict(Kind Kind);

    private enum Kind
    {
        Yes,
        No,
        Perhaps,
    }
}
