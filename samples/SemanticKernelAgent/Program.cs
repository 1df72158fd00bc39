using System.ComponentModel;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.SemanticKernel;
using Microsoft.SemanticKernel.ChatCompletion;

// The model: a path in GEMMA_MODEL, or the small one of the package Gemma.Extensions.AI.Nano.
IKernelBuilder builder = Kernel.CreateBuilder();
builder.AddGemmaChatCompletion(Environment.GetEnvironmentVariable("GEMMA_MODEL") ?? "nano");
builder.Plugins.AddFromType<WeatherPlugin>("weather");
builder.Services.AddSingleton<IAutoFunctionInvocationFilter, PrintCalls>();
Kernel kernel = builder.Build();

// The loop of an agent: the model calls functions of the plugins until it has an answer.
IChatCompletionService chat = kernel.GetRequiredService<IChatCompletionService>();
PromptExecutionSettings settings = new()
{
    FunctionChoiceBehavior = FunctionChoiceBehavior.Auto(),
    ExtensionData = new Dictionary<string, object> { ["temperature"] = 0, ["max_tokens"] = 128 },
};
ChatHistory history = [];
foreach (string question in args.Length > 0 ? args : ["What is the weather in Paris?", "Thank you!"])
{
    Console.WriteLine($"> {question}");
    history.AddUserMessage(question);
    string answer = "";
    await foreach (StreamingChatMessageContent update in chat.GetStreamingChatMessageContentsAsync(history, settings, kernel))
    {
        Console.Write(update.Content);
        answer += update.Content;
    }

    Console.WriteLine();
    history.AddAssistantMessage(answer);
}

internal sealed class WeatherPlugin
{
    [KernelFunction("get_weather"), Description("Gets the weather of a city.")]
    public static string GetWeather([Description("The name of the city.")] string city) => $"sunny, {15 + city.Length} degrees";
}

internal sealed class PrintCalls : IAutoFunctionInvocationFilter
{
    public async Task OnAutoFunctionInvocationAsync(AutoFunctionInvocationContext context, Func<AutoFunctionInvocationContext, Task> next)
    {
        await next(context);
        Console.WriteLine($"[{context.Function.Name}({string.Join(", ", context.Arguments ?? [])}) = {context.Result}]");
    }
}
