using Gemma.Extensions.AI.Tests.Chat;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.SemanticKernel;
using Microsoft.SemanticKernel.ChatCompletion;

namespace Gemma.Extensions.AI.Tests.SemanticKernel;

/// <summary>A real kernel over a real model (of random weights): its answers are those of the client alone.</summary>
public sealed class KernelTests
{
    private const string Question = "What is the best of times?";

    public static TheoryData<string, object> TokenLimits => new()
    {
        { "max_tokens", 5 }, { "maxTokens", "5" }, { "max_completion_tokens", 5L }, { "max_new_tokens", 5.0 }, { "MaxOutputTokens", 5 },
    };

    [Fact]
    public async Task APromptFunctionGetsTheAnswerOfTheClient()
    {
        Kernel kernel = Build(builder => builder.AddGemmaChatClient(TinyModel.Path));
        FunctionResult result = await kernel.InvokePromptAsync("What is the best of {{$what}}?", new KernelArguments(Settings()) { ["what"] = "times" });
        Assert.Equal(await Expected(), result.ToString());
    }

    [Fact]
    public async Task APromptFunctionStreams()
    {
        Kernel kernel = Build(builder => builder.AddGemmaChatCompletion(TinyModel.Path));
        string text = "";
        await foreach (StreamingKernelContent update in kernel.InvokePromptStreamingAsync(Question, new KernelArguments(Settings())))
        {
            text += update.ToString();
        }

        Assert.Equal(await Expected(), text);
    }

    [Fact]
    public async Task ChatCompletionAnswersAHistory()
    {
        Kernel kernel = Build(builder => builder.AddGemmaChatCompletion(TinyModel.Path));
        IChatCompletionService service = kernel.GetRequiredService<IChatCompletionService>();
        ChatHistory history = new("Be brief.");
        history.AddUserMessage("Hello");
        history.AddAssistantMessage("Hello!");
        history.AddUserMessage(Question);
        ChatMessageContent answer = await service.GetChatMessageContentAsync(history, Settings(), kernel);
        Assert.Equal(AuthorRole.Assistant, answer.Role);
        ChatResponse expected = await TinyModel.Client().GetResponseAsync(
            [new(ChatRole.System, "Be brief."), new(ChatRole.User, "Hello"), new(ChatRole.Assistant, "Hello!"), new(ChatRole.User, Question)], TinyModel.Greedy());
        Assert.Equal(expected.Text, answer.Content);

        string streamed = "";
        await foreach (StreamingChatMessageContent update in service.GetStreamingChatMessageContentsAsync(history, Settings(), kernel))
        {
            streamed += update.Content;
        }

        Assert.Equal(expected.Text, streamed);
    }

    [Fact]
    public async Task AServiceIdChoosesAmongRegistrations()
    {
        Kernel kernel = Build(builder => builder
            .AddGemmaChatClient(TinyModel.Path, "short", options => options.ContextLength = 64)
            .AddGemmaChatCompletion(TestData.Local("gguf/tiny-Q8_0.gguf"), "long"));
        Assert.Equal(64, kernel.GetRequiredService<IChatClient>("short").GetRequiredService<GemmaModel>().ContextLength);
        Assert.NotNull(kernel.GetRequiredService<IChatCompletionService>("long"));
        string prompt = string.Concat(Enumerable.Repeat("word ", 100));
        KernelArguments Arguments(string id) => new(new PromptExecutionSettings { ServiceId = id, ExtensionData = Settings().ExtensionData });
        await Assert.ThrowsAsync<GemmaContextLengthException>(() => kernel.InvokePromptAsync(prompt, Arguments("short")));
        Assert.NotNull(await kernel.InvokePromptAsync(prompt, Arguments("long")));
    }

    [Fact]
    public async Task ThePathMayComeFromConfiguration()
    {
        Kernel kernel = Build(builder =>
        {
            builder.Services.AddSingleton<IConfiguration>(new ConfigurationBuilder().AddInMemoryCollection([new("Gemma:ModelPath", TinyModel.Path)]).Build());
            builder.AddGemmaChatClient();
        });
        Assert.Equal(await Expected(), (await kernel.InvokePromptAsync(Question, new KernelArguments(Settings()))).ToString());
    }

    [Theory]
    [MemberData(nameof(TokenLimits))]
    public async Task SettingsGoByTheNamesOtherConnectorsUse(string name, object value)
    {
        Kernel kernel = Build(builder => builder.AddGemmaChatClient(TinyModel.Path));
        PromptExecutionSettings settings = new() { ExtensionData = new Dictionary<string, object> { ["temperature"] = 0, [name] = value } };
        Assert.Equal(await Expected(5), (await kernel.InvokePromptAsync(Question, new KernelArguments(settings))).ToString());
    }

    [Fact]
    public async Task StopSequencesAndBiasesReachTheModel()
    {
        string whole = await Expected();
        string stop = whole.Substring(whole.Length / 2, 2);
        Kernel kernel = Build(builder => builder.AddGemmaChatClient(TinyModel.Path));
        foreach (string name in new[] { "stop", "stop_sequences", "StopSequences" })
        {
            PromptExecutionSettings settings = Settings();
            settings.ExtensionData![name] = new[] { stop };
            string text = (await kernel.InvokePromptAsync(Question, new KernelArguments(settings))).ToString();
            Assert.Equal(whole[..whole.IndexOf(stop, StringComparison.Ordinal)], text);
        }

        PromptExecutionSettings biased = Settings();
        int token = Text.Tokenizers.Tiny.Encode("a", matchSpecial: false)[0];
        biased.ExtensionData!["logit_bias"] = new Dictionary<string, int> { [token.ToString()] = 1000 };
        Assert.Matches("^a+$", (await kernel.InvokePromptAsync(Question, new KernelArguments(biased))).ToString());
    }

    [Fact]
    public async Task SettingsThatAreNullAreAsIfNotThere()
    {
        Kernel kernel = Build(builder => builder.AddGemmaChatClient(TinyModel.Path));
        foreach (string name in new[] { "max_completion_tokens", "top_p", "stop", "seed", "frequency_penalty" })
        {
            foreach (object? nothing in new object?[] { null, System.Text.Json.JsonElement.Parse("null") })
            {
                PromptExecutionSettings settings = Settings();
                settings.ExtensionData![name] = nothing!;
                Assert.Equal(await Expected(), (await kernel.InvokePromptAsync(Question, new KernelArguments(settings))).ToString());
            }
        }

        // Semantic Kernel leaves a null under its own names to us as well: it must neither forbid output nor make the answer greedy.
        PromptExecutionSettings sampled = new() { ExtensionData = new Dictionary<string, object> { ["temperature"] = null!, ["max_tokens"] = null!, ["MaxTokens"] = 5, ["seed"] = 1 } };
        string expected = (await TinyModel.Client().GetResponseAsync(Question, new ChatOptions { MaxOutputTokens = 5, Seed = 1 })).Text;
        Assert.Equal(expected, (await kernel.InvokePromptAsync(Question, new KernelArguments(sampled))).ToString());
    }

    [Fact]
    public async Task ASchemaMayComeInTheWrappingOfOpenAIsInterface()
    {
        Kernel kernel = Build(builder => builder.AddGemmaChatClient(TinyModel.Path));
        PromptExecutionSettings settings = Settings(60);
        settings.ExtensionData!["response_format"] = System.Text.Json.JsonElement.Parse("""{"type":"json_schema","json_schema":{"name":"x","schema":{"enum":["yes","no"]}}}""");
        Assert.Contains((await kernel.InvokePromptAsync(Question, new KernelArguments(settings))).ToString(), (string[])["\"yes\"", "\"no\""]);
    }

    [Fact]
    public async Task ASettingThatIsNoNumberIsNamed()
    {
        Kernel kernel = Build(builder => builder.AddGemmaChatClient(TinyModel.Path));
        PromptExecutionSettings settings = new() { ExtensionData = new Dictionary<string, object> { ["max_new_tokens"] = "many" } };
        ArgumentException exception = await Assert.ThrowsAsync<ArgumentException>(() => kernel.InvokePromptAsync(Question, new KernelArguments(settings)));
        Assert.Contains("max_new_tokens", exception.Message);
    }

    internal static Kernel Build(Action<IKernelBuilder> configure)
    {
        IKernelBuilder builder = Kernel.CreateBuilder();
        configure(builder);
        return builder.Build();
    }

    internal static PromptExecutionSettings Settings(int tokens = 16) =>
        new() { ExtensionData = new Dictionary<string, object> { ["temperature"] = 0, ["max_tokens"] = tokens } };

    private static async Task<string> Expected(int tokens = 16) => (await TinyModel.Client().GetResponseAsync(Question, TinyModel.Greedy(tokens))).Text;
}
