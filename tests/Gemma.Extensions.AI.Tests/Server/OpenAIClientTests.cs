#pragma warning disable OPENAI001 // responses are marked experimental in the package
using System.ClientModel;
using System.ClientModel.Primitives;
using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Microsoft.Agents.AI;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.SemanticKernel;
using Microsoft.SemanticKernel.Connectors.OpenAI;
using OpenAI;
using OpenAI.Chat;
using OpenAI.Embeddings;
using OpenAI.Responses;
using Xunit;
using FunctionCallContent = Microsoft.Extensions.AI.FunctionCallContent;
using ChatMessage = Microsoft.Extensions.AI.ChatMessage;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>OpenAI's own client for .NET, and what is built on it, against the server.</summary>
public class OpenAIClientTests
{
    public static TheoryData<string> Apis => ["chat", "responses"];

    private static OpenAIClient ClientOf(ModelServer server) => new(
        new ApiKeyCredential("none"), new OpenAIClientOptions { Endpoint = new Uri(server.Address, "v1"), RetryPolicy = new ClientRetryPolicy(0) });

    private static ResponsesClient ResponsesOf(ModelServer server) => new(
        new ApiKeyCredential("none"), new ResponsesClientOptions { Endpoint = new Uri(server.Address, "v1"), RetryPolicy = new ClientRetryPolicy(0) });

    [Fact]
    public async Task ChatAnswersAsInProcess()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        ChatClient chat = ClientOf(server).GetChatClient("nano");
        ChatCompletionOptions options = new() { Temperature = 0, MaxOutputTokenCount = 40, IncludeLogProbabilities = true, TopLogProbabilityCount = 2, Seed = 3 };
        ChatCompletion answer = await chat.CompleteChatAsync([new SystemChatMessage("Be brief."), new UserChatMessage("Hello! Who are you?")], options);
        ChatResponse same = await server.Services.GetRequiredService<IChatClient>().GetResponseAsync(
            [new(ChatRole.System, "Be brief."), new(ChatRole.User, "Hello! Who are you?")],
            new ChatOptions { Temperature = 0, MaxOutputTokens = 40, RawRepresentationFactory = _ => new GemmaGenerationOptions { TopLogProbabilities = 2 } });
        Assert.Equal(same.Text, answer.Content[0].Text);
        Assert.Equal(same.Usage!.InputTokenCount, answer.Usage.InputTokenCount);
        Assert.Equal(same.Usage!.OutputTokenCount, answer.Usage.OutputTokenCount);
        Assert.Equal(same.FinishReason == Microsoft.Extensions.AI.ChatFinishReason.Length ? OpenAI.Chat.ChatFinishReason.Length : OpenAI.Chat.ChatFinishReason.Stop, answer.FinishReason);
        Assert.Equal(same.GetLogProbabilities().Select(token => token.Token.Text), answer.ContentTokenLogProbabilities.Select(token => token.Token));
        Assert.Equal(same.GetLogProbabilities().Select(token => (float)token.Token.LogProbability), answer.ContentTokenLogProbabilities.Select(token => token.LogProbability), (a, b) => Math.Abs(a - b) < 1e-4);
        Assert.All(answer.ContentTokenLogProbabilities, token => Assert.Equal(2, token.TopLogProbabilities.Count));

        StringBuilder streamed = new();
        ChatTokenUsage? usage = null;
        await foreach (StreamingChatCompletionUpdate update in chat.CompleteChatStreamingAsync([new SystemChatMessage("Be brief."), new UserChatMessage("Hello! Who are you?")], options))
        {
            update.ContentUpdate.ToList().ForEach(part => streamed.Append(part.Text));
            usage = update.Usage ?? usage;
        }

        Assert.Equal(same.Text, streamed.ToString());
        Assert.Equal(same.Usage.OutputTokenCount, usage!.OutputTokenCount); // the client always asks for it
        Assert.True(usage.InputTokenDetails.CachedTokenCount > 0); // the same prompt came before
    }

    [Fact]
    public async Task SchemasAndToolChoicesBindTheSmallestModel()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        ChatClient chat = ClientOf(server).GetChatClient("nano");
        BinaryData schema = BinaryData.FromString("""{"type":"object","properties":{"city":{"type":"string","maxLength":12},"people":{"type":"integer"}},"required":["city","people"],"additionalProperties":false}""");
        ChatCompletion json = await chat.CompleteChatAsync(
            [new UserChatMessage("Tell me of a city.")], new ChatCompletionOptions { ResponseFormat = OpenAI.Chat.ChatResponseFormat.CreateJsonSchemaFormat("city", schema, jsonSchemaIsStrict: true), MaxOutputTokenCount = 200 });
        JsonElement city = JsonElement.Parse(json.Content[0].Text);
        Assert.Equal(["city", "people"], city.EnumerateObject().Select(member => member.Name));
        Assert.Equal(JsonValueKind.Number, city.GetProperty("people").ValueKind);

        ChatTool weather = ChatTool.CreateFunctionTool("get_weather", "Gets the weather.", BinaryData.FromString("""{"type":"object","properties":{"city":{"enum":["Paris","Rome"]}},"required":["city"]}"""));
        ChatTool time = ChatTool.CreateFunctionTool("get_time", "Gets the time.", BinaryData.FromString("""{"type":"object","properties":{"zone":{"enum":["utc"]}},"required":["zone"]}"""));
        foreach ((ChatToolChoice choice, string? expected) in ((ChatToolChoice, string?)[])[(ChatToolChoice.CreateFunctionChoice("get_time"), "get_time"), (ChatToolChoice.CreateRequiredChoice(), ""), (ChatToolChoice.CreateNoneChoice(), null)])
        {
            ChatCompletion called = await chat.CompleteChatAsync(
                [new UserChatMessage("What is it like in Rome?")], new ChatCompletionOptions { Tools = { weather, time }, ToolChoice = choice, AllowParallelToolCalls = false, MaxOutputTokenCount = 100 });
            if (expected is null)
            {
                Assert.Empty(called.ToolCalls);
                continue;
            }

            ChatToolCall call = Assert.Single(called.ToolCalls);
            Assert.Equal(OpenAI.Chat.ChatFinishReason.ToolCalls, called.FinishReason);
            Assert.True(expected.Length == 0 || call.FunctionName == expected);
            string argument = JsonElement.Parse(call.FunctionArguments).EnumerateObject().Single().Value.GetString()!;
            Assert.Contains(argument, call.FunctionName == "get_time" ? ["utc"] : (string[])["Paris", "Rome"]);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnAgentLoopEndsWithTheRightAnswer(bool streaming)
    {
        await using ModelServer server = await ModelServer.StartAsync(DensityAgent.Client());
        ChatClient chat = ClientOf(server).GetChatClient("agent");
        ChatCompletionOptions options = new();
        foreach (AIFunction tool in DensityAgent.Tools)
        {
            options.Tools.Add(ChatTool.CreateFunctionTool(tool.Name, tool.Description, BinaryData.FromString(tool.JsonSchema.GetRawText())));
        }

        List<OpenAI.Chat.ChatMessage> conversation = [new UserChatMessage(DensityAgent.Question)];
        while (true)
        {
            (string text, List<ChatToolCall> calls) = streaming ? await StreamAsync() : await AskAsync();
            if (calls.Count == 0)
            {
                Assert.Equal(DensityAgent.Answer, text);
                return;
            }

            conversation.Add(new AssistantChatMessage(calls));
            foreach (ChatToolCall call in calls)
            {
                AIFunction tool = DensityAgent.Tools.Single(tool => tool.Name == call.FunctionName);
                object? result = await tool.InvokeAsync(new AIFunctionArguments(JsonSerializer.Deserialize<Dictionary<string, object?>>(call.FunctionArguments.ToString())!));
                conversation.Add(new ToolChatMessage(call.Id, result!.ToString()));
            }

            Assert.True(conversation.Count < 10);
        }

        async Task<(string, List<ChatToolCall>)> AskAsync()
        {
            ChatCompletion answer = await chat.CompleteChatAsync(conversation, options);
            return (string.Concat(answer.Content.Select(part => part.Text)), [.. answer.ToolCalls]);
        }

        async Task<(string, List<ChatToolCall>)> StreamAsync()
        {
            StringBuilder text = new();
            Dictionary<int, (string Id, string Name, StringBuilder Arguments)> calls = [];
            await foreach (StreamingChatCompletionUpdate update in chat.CompleteChatStreamingAsync(conversation, options))
            {
                update.ContentUpdate.ToList().ForEach(part => text.Append(part.Text));
                foreach (StreamingChatToolCallUpdate piece in update.ToolCallUpdates)
                {
                    if (!calls.ContainsKey(piece.Index))
                    {
                        calls[piece.Index] = (piece.ToolCallId, piece.FunctionName, new());
                    }

                    calls[piece.Index].Arguments.Append(piece.FunctionArgumentsUpdate);
                }
            }

            return (text.ToString(), [.. calls.Values.Select(call => ChatToolCall.CreateFunctionToolCall(call.Id, call.Name, BinaryData.FromString(call.Arguments.ToString())))]);
        }
    }

    [Fact]
    public async Task EmbeddingsAreThoseOfTheGenerator()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(services => services.AddGemmaEmbeddingGenerator("nano"));
        EmbeddingClient client = ClientOf(server).GetEmbeddingClient("nano");
        string[] texts = ["A cat sat on the mat.", "The price of bread"];
        OpenAIEmbeddingCollection vectors = await client.GenerateEmbeddingsAsync(texts); // as base64, which this client always asks for
        GeneratedEmbeddings<Embedding<float>> same = await server.Services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>().GenerateAsync(texts);
        Assert.Equal(same.Select(vector => vector.Vector.ToArray()), vectors.Select(vector => vector.ToFloats().ToArray()));
        Assert.Equal(same.Usage!.InputTokenCount, vectors.Usage.InputTokenCount);
        OpenAIEmbedding small = (await client.GenerateEmbeddingAsync(texts[0], new OpenAI.Embeddings.EmbeddingGenerationOptions { Dimensions = 16 })).Value;
        Assert.Equal(16, small.ToFloats().Length);
        Assert.Equal(1, small.ToFloats().ToArray().Sum(x => x * x), 4);
    }

    [Fact]
    public async Task ResponsesFollowEachOther()
    {
        ScriptedChatClient client = new(conversation => [$"{conversation.Count(message => message.Role == ChatRole.User)} questions, ", $"the last is {conversation[^1].Text}"]);
        await using ModelServer server = await ModelServer.StartAsync(client);
        ResponsesClient responses = ResponsesOf(server);
        ResponseResult first = await responses.CreateResponseAsync(new CreateResponseOptions("any", [ResponseItem.CreateUserMessageItem("one")]) { Instructions = "Count." });
        Assert.Equal("1 questions, the last is one", first.GetOutputText());
        Assert.Equal(ResponseStatus.Completed, first.Status);
        Assert.Equal(7, first.Usage.InputTokenCount);
        Assert.Equal(5, first.Usage.InputTokenDetails.CachedTokenCount);
        ResponseResult second = await responses.CreateResponseAsync("any", "two", first.Id);
        Assert.Equal("2 questions, the last is two", second.GetOutputText());
        Assert.DoesNotContain(client.Calls[1].Messages, message => message.Role == ChatRole.System); // instructions are not handed on
        Assert.Equal("1 questions, the last is one", client.Calls[1].Messages.Single(message => message.Role == ChatRole.Assistant).Text);

        ResponseResult again = await responses.GetResponseAsync(second.Id);
        Assert.Equal(second.GetOutputText(), again.GetOutputText());
        int items = 0;
        await foreach (ResponseItem _ in responses.GetResponseInputItemsAsync(second.Id))
        {
            items++;
        }

        Assert.Equal(3, items); // two questions and an answer
        Assert.True((await responses.DeleteResponseAsync(second.Id, default(CancellationToken))).Value.Deleted);
        ClientResultException gone = await Assert.ThrowsAsync<ClientResultException>(() => responses.GetResponseAsync(second.Id));
        Assert.Equal(404, gone.Status);
        ClientResultException lost = await Assert.ThrowsAsync<ClientResultException>(() => responses.CreateResponseAsync("any", "three", second.Id));
        Assert.Equal(404, lost.Status);
        Assert.Contains("previous_response_not_found", lost.GetRawResponse()!.Content.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task EventsOfAResponseAreThoseThatTheClientKnowsInOrder()
    {
        await using ModelServer server = await ModelServer.StartAsync(DensityAgent.Client());
        CreateResponseOptions options = new("agent", [ResponseItem.CreateUserMessageItem(DensityAgent.Question)]) { StreamingEnabled = true };
        DensityAgent.Tools.ToList().ForEach(tool => options.Tools.Add(ResponseTool.CreateFunctionTool(tool.Name, BinaryData.FromString(tool.JsonSchema.GetRawText()), strictModeEnabled: false, tool.Description)));
        List<StreamingResponseUpdate> updates = [];
        await foreach (StreamingResponseUpdate update in await ResponsesOf(server).CreateResponseStreamingAsync(options))
        {
            updates.Add(update);
        }

        Assert.Equal(Enumerable.Range(0, updates.Count), updates.Select(update => update.SequenceNumber));
        Assert.Equal(
            [
                nameof(StreamingResponseCreatedUpdate), nameof(StreamingResponseInProgressUpdate),
                nameof(StreamingResponseOutputItemAddedUpdate), nameof(StreamingResponseContentPartAddedUpdate),
                nameof(StreamingResponseOutputTextDeltaUpdate), nameof(StreamingResponseOutputTextDeltaUpdate),
                nameof(StreamingResponseOutputTextDoneUpdate), nameof(StreamingResponseContentPartDoneUpdate), nameof(StreamingResponseOutputItemDoneUpdate),
                nameof(StreamingResponseOutputItemAddedUpdate), nameof(StreamingResponseFunctionCallArgumentsDeltaUpdate),
                nameof(StreamingResponseFunctionCallArgumentsDoneUpdate), nameof(StreamingResponseOutputItemDoneUpdate),
                nameof(StreamingResponseOutputItemAddedUpdate), nameof(StreamingResponseFunctionCallArgumentsDeltaUpdate),
                nameof(StreamingResponseFunctionCallArgumentsDoneUpdate), nameof(StreamingResponseOutputItemDoneUpdate),
                nameof(StreamingResponseCompletedUpdate),
            ],
            updates.Select(update => update.GetType().Name));
        ResponseResult whole = ((StreamingResponseCompletedUpdate)updates[^1]).Response;
        Assert.Equal(3, whole.OutputItems.Count);
        Assert.Equal("I look it up.", whole.GetOutputText());
    }

    [Fact]
    public async Task AResponseInTheBackgroundIsFetchedOrCancelled()
    {
        TaskCompletionSource<object> rest = new();
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(conversation => conversation[^1].Text == "wait" ? ["Well", new TaskCompletionSource<object>().Task] : ["Done", rest.Task]));
        ResponsesClient responses = ResponsesOf(server);
        ResponseResult begun = await responses.CreateResponseAsync(new CreateResponseOptions("any", [ResponseItem.CreateUserMessageItem("go")]) { BackgroundModeEnabled = true });
        Assert.Equal(ResponseStatus.InProgress, begun.Status);
        Assert.Equal(ResponseStatus.InProgress, (await responses.GetResponseAsync(begun.Id)).Value.Status);
        rest.SetResult("!");
        ResponseResult ended = begun;
        await Eventually.IsTrueAsync(async () => (ended = await responses.GetResponseAsync(begun.Id)).Status != ResponseStatus.InProgress);
        Assert.Equal(("Done!", ResponseStatus.Completed), (ended.GetOutputText(), ended.Status));
        ResponseResult endless = await responses.CreateResponseAsync(new CreateResponseOptions("any", [ResponseItem.CreateUserMessageItem("wait")]) { BackgroundModeEnabled = true });
        ResponseResult cancelled = await responses.CancelResponseAsync(endless.Id, default(CancellationToken));
        Assert.Equal(ResponseStatus.Cancelled, cancelled.Status);
        Assert.Equal(ResponseStatus.Cancelled, (await responses.GetResponseAsync(endless.Id)).Value.Status);
    }

    /// <summary>
    /// Microsoft.Extensions.AI.OpenAI 10.11.0 was built against OpenAI 2.14.0, whose method for streamed responses has another signature than that of 2.15.0: MissingMethodException
    /// (findings/responses-stream.sh). <see cref="ResponsesAreStreamedThroughTheAbstractions"/> streams with 2.14.0.
    /// </summary>
    private static bool CanStream(string api) => api == "chat";

    private static IChatClient AbstractionOver(ModelServer server, string api, string model) =>
        api == "chat" ? ClientOf(server).GetChatClient(model).AsIChatClient() : ResponsesOf(server).AsIChatClient(model);

    /// <summary>Over HTTP the model reads the very prompts that it reads in process, so that it says the same.</summary>
    [Theory]
    [MemberData(nameof(Apis))]
    public async Task TheAbstractionsClientSaysWhatTheModelSaysInProcess(string api)
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        IChatClient inProcess = server.Services.GetRequiredService<IChatClient>();
        ChatOptions options = new() { Temperature = 0, MaxOutputTokens = 100, Tools = [Weather()] };
        (string, string?)[] expected = await LoopAsync(inProcess);
        Assert.Contains(expected, said => said.Item2 == "get_weather"); // otherwise it would show nothing
        Assert.Equal(expected, await LoopAsync(AbstractionOver(server, api, "nano")));

        async Task<(string Text, string? Call)[]> LoopAsync(IChatClient client)
        {
            using FunctionInvokingChatClient invoking = new(client);
            ChatResponse response = CanStream(api)
                ? await invoking.GetStreamingResponseAsync("What is the weather in Paris?", options).ToChatResponseAsync() : await invoking.GetResponseAsync("What is the weather in Paris?", options);
            ChatResponse whole = await invoking.GetResponseAsync("What is the weather in Paris?", options);
            return [.. response.Messages.Concat(whole.Messages).Select(message => (message.Text, message.Contents.OfType<FunctionCallContent>().FirstOrDefault()?.Name))];
        }

        static AIFunction Weather() => AIFunctionFactory.Create((string city) => new { Sky = "sunny", City = city }, "get_weather", "Gets the weather of a city.");
    }

    [Theory]
    [MemberData(nameof(Apis))]
    public async Task TheAbstractionsClientEndsAnAgentLoop(string api)
    {
        await using ModelServer server = await ModelServer.StartAsync(DensityAgent.Client());
        using FunctionInvokingChatClient client = new(AbstractionOver(server, api, "agent"));
        ChatOptions options = new() { Tools = [.. DensityAgent.Tools] };
        Assert.EndsWith(DensityAgent.Answer, (await client.GetResponseAsync(DensityAgent.Question, options)).Text, StringComparison.Ordinal);
        if (CanStream(api))
        {
            Assert.EndsWith(DensityAgent.Answer, (await client.GetStreamingResponseAsync(DensityAgent.Question, options).ToChatResponseAsync()).Text, StringComparison.Ordinal);
        }
    }

    /// <summary>A program with the OpenAI package that Microsoft.Extensions.AI.OpenAI brings along where nothing else asks for a newer one.</summary>
    [Fact]
    public async Task ResponsesAreStreamedThroughTheAbstractions()
    {
        await using ModelServer server = await ModelServer.StartAsync(DensityAgent.Client());
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name, program = "Gemma.Extensions.AI.ResponsesClient";
        (int exit, string output, string complaints) = await ProgramRun.ToEndAsync(new ProcessStartInfo(
            "dotnet", [Path.Combine(TestData.Repository, "tests", program, "bin", configuration, "net10.0", program + ".dll"), new Uri(server.Address, "v1").ToString()]), TimeSpan.FromMinutes(5));
        Assert.True(exit == 0, complaints);
        JsonElement ended = JsonElement.Parse(output);
        Assert.Equal("2.14.0", ended.GetProperty("openai").GetString());
        Assert.EndsWith(DensityAgent.Answer, ended.GetProperty("streamed").GetString(), StringComparison.Ordinal);
        Assert.EndsWith(DensityAgent.Answer, ended.GetProperty("agent").GetString(), StringComparison.Ordinal);
        Assert.Equal(21, ended.GetProperty("input").GetInt32()); // of three requests
    }

    [Theory]
    [MemberData(nameof(Apis))]
    public async Task AnAgentOfTheFrameworkEndsItsLoop(string api)
    {
        await using ModelServer server = await ModelServer.StartAsync(DensityAgent.Client());
        ChatClientAgent agent = new(AbstractionOver(server, api, "agent"), new ChatClientAgentOptions { ChatOptions = new() { Tools = [.. DensityAgent.Tools] } });
        AgentSession session = await agent.CreateSessionAsync();
        Assert.EndsWith(DensityAgent.Answer, (await agent.RunAsync(DensityAgent.Question, session)).Text, StringComparison.Ordinal);
        if (!CanStream(api))
        {
            return;
        }

        StringBuilder streamed = new();
        await foreach (AgentResponseUpdate update in agent.RunStreamingAsync(DensityAgent.Question, await agent.CreateSessionAsync()))
        {
            streamed.Append(update.Text);
        }

        Assert.EndsWith(DensityAgent.Answer, streamed.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task SemanticKernelEndsItsLoop()
    {
        await using ModelServer server = await ModelServer.StartAsync(DensityAgent.Client());
        Kernel kernel = Kernel.CreateBuilder().AddOpenAIChatCompletion("agent", ClientOf(server)).Build();
        kernel.Plugins.AddFromFunctions("city", DensityAgent.Tools.Select(tool => tool.AsKernelFunction()));
        OpenAIPromptExecutionSettings settings = new() { FunctionChoiceBehavior = FunctionChoiceBehavior.Auto() };
        FunctionResult answer = await kernel.InvokePromptAsync(DensityAgent.Question, new KernelArguments(settings));
        Assert.Equal(DensityAgent.Answer, answer.ToString());
    }

    [Fact]
    public async Task ErrorsAreTheClientsOwn()
    {
        await using ModelServer server = await ModelServer.StartAsync(services =>
        {
            services.AddKeyedChatClient("a", new ScriptedChatClient(_ => ["Hi"]));
            services.AddKeyedChatClient("b", new ScriptedChatClient(_ => ["Hi"]));
        });
        ClientResultException missing = await Assert.ThrowsAsync<ClientResultException>(() => ClientOf(server).GetChatClient("gpt-4o").CompleteChatAsync("Hi"));
        Assert.Equal(404, missing.Status);
        Assert.Contains("Models that can: a, b", missing.Message, StringComparison.Ordinal);
    }
}
