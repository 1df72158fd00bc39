using System.ComponentModel;
using System.Text.Json.Serialization;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.SemanticKernel;
using Microsoft.SemanticKernel.ChatCompletion;

namespace Gemma.Extensions.AI.Tests.SemanticKernel;

/// <summary>
/// Function choice over a real kernel. What the small model calls with is its own matter, but the grammar makes every call valid: that a required
/// function is invoked with arguments of the right types holds for any weights.
/// </summary>
public sealed class FunctionChoiceTests
{
    private static readonly FunctionChoiceBehaviorOptions s_one = new() { AllowParallelCalls = false };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RequiredFunctionsAreCalledAndFiltersSeeEachCall(bool streaming)
    {
        (Kernel kernel, Lights lights, List<string> calls) = Build();
        string answer = await AskAsync(kernel, FunctionChoiceBehavior.Required(options: s_one), streaming);
        Assert.NotEmpty(lights.Values);
        Assert.All(lights.Values, value => Assert.True(value.Level is >= 0 and <= 3 && value.Room is Room.Hall or Room.Attic));
        Assert.Equal(lights.Values.Count, calls.Count);
        Assert.All(calls, call => Assert.Equal("set_light", call));
        Assert.DoesNotContain("<tool_call>", answer);
    }

    [Fact]
    public async Task CallsThatAreNotInvokedComeBackAsContent()
    {
        (Kernel kernel, Lights lights, _) = Build();
        PromptExecutionSettings settings = KernelTests.Settings(200);
        settings.FunctionChoiceBehavior = FunctionChoiceBehavior.Required(autoInvoke: false, options: s_one);
        ChatMessageContent answer = await kernel.GetRequiredService<IChatCompletionService>().GetChatMessageContentAsync(History(), settings, kernel);
        Microsoft.SemanticKernel.FunctionCallContent call = Microsoft.SemanticKernel.FunctionCallContent.GetFunctionCalls(answer).First();
        Assert.Equal(("lights", "set_light"), (call.PluginName, call.FunctionName));
        Assert.Contains(call.Arguments!["room"]?.ToString(), Enum.GetNames<Room>());
        Assert.Contains(call.Arguments["level"]?.ToString(), Enum.GetNames<Level>());
        Assert.Empty(lights.Values);
    }

    /// <summary>The loop that callers write themselves, as for any connector: names, arguments and results find each other.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task CallersInvokeFunctionsThemselves(bool streaming)
    {
        (Kernel kernel, Lights lights, List<string> filtered) = Build();
        IChatCompletionService service = kernel.GetRequiredService<IChatCompletionService>();
        PromptExecutionSettings settings = KernelTests.Settings(200);
        settings.FunctionChoiceBehavior = FunctionChoiceBehavior.Required(autoInvoke: false, options: s_one);
        ChatHistory history = History();
        for (int round = 1; round <= 2; round++)
        {
            Microsoft.SemanticKernel.FunctionCallContent[] calls;
            if (streaming)
            {
                Microsoft.SemanticKernel.FunctionCallContentBuilder builder = new();
                await foreach (StreamingChatMessageContent update in service.GetStreamingChatMessageContentsAsync(history, settings, kernel))
                {
                    builder.Append(update);
                }

                calls = [.. builder.Build()];
                history.Add(new ChatMessageContent(AuthorRole.Assistant, [.. calls]));
            }
            else
            {
                ChatMessageContent answer = await service.GetChatMessageContentAsync(history, settings, kernel);
                calls = [.. Microsoft.SemanticKernel.FunctionCallContent.GetFunctionCalls(answer)];
                history.Add(answer);
            }

            Microsoft.SemanticKernel.FunctionCallContent call = Assert.Single(calls);
            Assert.Equal(("lights", "set_light"), (call.PluginName, call.FunctionName));
            Microsoft.SemanticKernel.FunctionResultContent result = await call.InvokeAsync(kernel);
            Assert.Equal("done", result.Result?.ToString());
            history.Add(result.ToChatMessage());
            Assert.Equal(round, lights.Values.Count);
        }

        // What was asked and answered in the rounds stays as the caller put it.
        Assert.Equal(6, history.Count);
        Assert.All(history.SelectMany(Microsoft.SemanticKernel.FunctionCallContent.GetFunctionCalls), call => Assert.Equal("lights", call.PluginName));
        Assert.Empty(filtered); // Filters of automatic invocation have no part in it.
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task TheHistoryNamesFunctionsInCallsAndResults(bool streaming)
    {
        (Kernel kernel, _, _) = Build();
        PromptExecutionSettings settings = KernelTests.Settings(200);
        settings.FunctionChoiceBehavior = FunctionChoiceBehavior.Required(options: s_one);
        ChatHistory history = History();
        IChatCompletionService service = kernel.GetRequiredService<IChatCompletionService>();
        if (streaming)
        {
            await foreach (StreamingChatMessageContent _ in service.GetStreamingChatMessageContentsAsync(history, settings, kernel))
            {
            }
        }
        else
        {
            await service.GetChatMessageContentAsync(history, settings, kernel);
        }

        Microsoft.SemanticKernel.FunctionResultContent[] results = history.SelectMany(message => message.Items).OfType<Microsoft.SemanticKernel.FunctionResultContent>().ToArray();
        Assert.NotEmpty(results);
        Assert.All(results, result => Assert.Equal(("lights", "set_light"), (result.PluginName, result.FunctionName)));
        Assert.All(results, result => Assert.Equal("done", result.Result?.ToString()));
    }

    [Fact]
    public async Task TypesThatJSONSpellsAsTextAreBound()
    {
        TextTypes texts = new();
        Kernel kernel = KernelTests.Build(builder => builder.AddGemmaChatCompletion("nano").Plugins.AddFromObject(texts, "texts"));

        // One call each: after a result the model may call again, which is its own matter.
        kernel.AutoFunctionInvocationFilters.Add(new RecordCalls(terminate: true));
        foreach (string function in new[] { "day", "time", "paint", "stamp" })
        {
            PromptExecutionSettings settings = KernelTests.Settings(200);
            settings.FunctionChoiceBehavior = FunctionChoiceBehavior.Required([kernel.Plugins["texts"][function]], options: s_one);
            await kernel.GetRequiredService<IChatCompletionService>().GetChatMessageContentAsync(History(), settings, kernel);
        }

        Assert.Equal(["day", "time", "paint", "stamp"], texts.Seen);
    }

    [Fact]
    public async Task MembersOfAPlainEnumerationAndOtherTextAreBound()
    {
        PlainTypes plain = new();
        Kernel kernel = KernelTests.Build(builder => builder.AddGemmaChatCompletion("nano").Plugins.AddFromObject(plain, "plain"));
        await AskAsync(kernel, FunctionChoiceBehavior.Required(options: s_one), streaming: false);
        Assert.NotEmpty(plain.Seen);
        Assert.All(plain.Seen, colour => Assert.True(Enum.IsDefined(colour)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AKeyedServiceRendersPromptsAndCallsFunctionsWithinFilters(bool streaming)
    {
        Lights lights = new();
        RecordAll filter = new();
        Kernel kernel = KernelTests.Build(builder =>
        {
            builder.AddGemmaChatCompletion("nano", "home").AddGemmaChatClient(Chat.TinyModel.Path, "other").Plugins.AddFromObject(lights, "lights");
            builder.Services.AddSingleton<IFunctionInvocationFilter>(filter);
            builder.Services.AddSingleton<IPromptRenderFilter>(filter);
        });
        PromptExecutionSettings settings = KernelTests.Settings(200);
        settings.ServiceId = "home";
        settings.FunctionChoiceBehavior = FunctionChoiceBehavior.Required(options: s_one);
        KernelFunction prompt = KernelFunctionFactory.CreateFromPrompt("Light in the {{$room}}, please.", settings, "ask");
        KernelArguments arguments = new() { ["room"] = "attic" };
        if (streaming)
        {
            await foreach (StreamingKernelContent _ in kernel.InvokeStreamingAsync(prompt, arguments))
            {
            }
        }
        else
        {
            await kernel.InvokeAsync(prompt, arguments);
        }

        Assert.NotEmpty(lights.Values);
        Assert.Equal("Light in the attic, please.", Assert.Single(filter.Prompts));
        Assert.Equal(lights.Values.Count, filter.Functions.Count(name => name == "set_light"));
        Assert.Contains("ask", filter.Functions);
    }

    [Fact]
    public async Task NoneNeverCalls()
    {
        (Kernel kernel, Lights lights, List<string> calls) = Build();
        string answer = await AskAsync(kernel, FunctionChoiceBehavior.None(), streaming: false);
        Assert.NotEqual("", answer);
        Assert.Empty(lights.Values);
        Assert.Empty(calls);
    }

    [Fact]
    public async Task AutoMayAnswerInText()
    {
        (Kernel kernel, _, _) = Build();
        Assert.NotEqual("", await AskAsync(kernel, FunctionChoiceBehavior.Auto(), streaming: true));
    }

    [Fact]
    public async Task AFilterCanEndTheLoop()
    {
        (Kernel kernel, Lights lights, List<string> calls) = Build(terminate: true);
        await AskAsync(kernel, FunctionChoiceBehavior.Required(options: s_one), streaming: false);
        Assert.Single(calls);
        Assert.Single(lights.Values);
    }

    [Fact]
    public async Task APromptFunctionCallsFunctionsThroughTheChatClient()
    {
        Lights lights = new();
        Kernel kernel = KernelTests.Build(builder => builder.AddGemmaChatClient("nano").Plugins.AddFromObject(lights, "lights"));
        PromptExecutionSettings settings = KernelTests.Settings(200);
        settings.FunctionChoiceBehavior = FunctionChoiceBehavior.Required(options: s_one);
        await kernel.InvokePromptAsync("Light in the {{$room}}, please.", new KernelArguments(settings) { ["room"] = "attic" });
        Assert.NotEmpty(lights.Values);
    }

    [Fact]
    public async Task AFunctionThatThrowsIsToldToTheModel()
    {
        Kernel kernel = KernelTests.Build(builder => builder.AddGemmaChatCompletion("nano")
            .Plugins.AddFromFunctions("broken", [KernelFunctionFactory.CreateFromMethod((Func<string>)(() => throw new InvalidOperationException("no power")), "fail")]));
        Assert.NotNull(await AskAsync(kernel, FunctionChoiceBehavior.Required(options: s_one), streaming: false));
    }

    private static (Kernel Kernel, Lights Lights, List<string> Calls) Build(bool terminate = false)
    {
        Lights lights = new();
        RecordCalls filter = new(terminate);
        Kernel kernel = KernelTests.Build(builder =>
        {
            builder.AddGemmaChatCompletion("nano").Plugins.AddFromObject(lights, "lights");
            builder.Services.AddSingleton<IAutoFunctionInvocationFilter>(filter);
        });
        return (kernel, lights, filter.Calls);
    }

    private static ChatHistory History()
    {
        ChatHistory history = new("You control the lights.");
        history.AddUserMessage("Light in the hall, please.");
        return history;
    }

    private static async Task<string> AskAsync(Kernel kernel, FunctionChoiceBehavior behavior, bool streaming)
    {
        PromptExecutionSettings settings = KernelTests.Settings(200);
        settings.FunctionChoiceBehavior = behavior;
        IChatCompletionService service = kernel.GetRequiredService<IChatCompletionService>();
        if (!streaming)
        {
            return (await service.GetChatMessageContentAsync(History(), settings, kernel)).Content ?? "";
        }

        string text = "";
        await foreach (StreamingChatMessageContent update in service.GetStreamingChatMessageContentsAsync(History(), settings, kernel))
        {
            text += update.Content;
        }

        return text;
    }

    [JsonConverter(typeof(JsonStringEnumConverter<Room>))]
    public enum Room
    {
        Hall,
        Attic,
    }

    [JsonConverter(typeof(JsonStringEnumConverter<Level>))]
    public enum Level
    {
        Off,
        Low,
        Mid,
        High,
    }

    public enum Colour
    {
        Red,
        Green,
    }

    private sealed class TextTypes
    {
        public List<string> Seen { get; } = [];

        [KernelFunction("day")]
        public void Day(DateOnly day) => Seen.Add("day");

        [KernelFunction("time")]
        public void Time(TimeOnly time, byte count) => Seen.Add("time");

        [KernelFunction("paint")]
        public void Paint(Colour? colour, DayOfWeek day) => Seen.Add("paint");

        [KernelFunction("stamp")]
        public void Stamp(DateTimeOffset stamp, Guid id) => Seen.Add("stamp");
    }

    private sealed class PlainTypes
    {
        public List<Colour> Seen { get; } = [];

        [KernelFunction("paint"), Description("Paints.")]
        public string Paint(Colour colour, DayOfWeek? day)
        {
            Seen.Add(colour);
            return $"{colour} {day}";
        }
    }

    private sealed class Lights
    {
        public List<(Room Room, int Level)> Values { get; } = [];

        [KernelFunction("set_light"), Description("Sets the light of a room.")]
        public string SetLight(Room room, Level level)
        {
            Values.Add((room, (int)level));
            return "done";
        }
    }

    private sealed class RecordAll : IFunctionInvocationFilter, IPromptRenderFilter
    {
        public List<string> Functions { get; } = [];

        public List<string> Prompts { get; } = [];

        public async Task OnFunctionInvocationAsync(Microsoft.SemanticKernel.FunctionInvocationContext context, Func<Microsoft.SemanticKernel.FunctionInvocationContext, Task> next)
        {
            Functions.Add(context.Function.Name);
            await next(context);
        }

        public async Task OnPromptRenderAsync(PromptRenderContext context, Func<PromptRenderContext, Task> next)
        {
            await next(context);
            Prompts.Add(context.RenderedPrompt!);
        }
    }

    private sealed class RecordCalls(bool terminate) : IAutoFunctionInvocationFilter
    {
        public List<string> Calls { get; } = [];

        public async Task OnAutoFunctionInvocationAsync(AutoFunctionInvocationContext context, Func<AutoFunctionInvocationContext, Task> next)
        {
            Calls.Add(context.Function.Name);
            await next(context);
            context.Terminate = terminate;
        }
    }
}
