// What an application does with the libraries, one line each; the test that publishes it ahead of time reads them.
using System.Text.Json;
using System.Text.Json.Serialization;
using Gemma.Extensions.AI;
using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.SemanticKernel;
using Microsoft.SemanticKernel.ChatCompletion;

JsonSerializerOptions json = new(AppJson.Default.Options);
ServiceCollection services = new();
services.AddGemmaChatClient("nano").UseFunctionInvocation();
string folder = Directory.CreateTempSubdirectory().FullName;
File.WriteAllText(Path.Combine(folder, "pump.md"), "# Pump\n\nThe price of the pump is 120 euros. The warranty of the pump is 24 months.\n");
services.AddGemmaRag("nano", options => options.DatabasePath = Path.Combine(folder, "passages.db"));
await using (ServiceProvider provider = services.BuildServiceProvider())
{
    IChatClient client = provider.GetRequiredService<IChatClient>();
    ChatOptions options = new() { Temperature = 0, MaxOutputTokens = 128 };
    Console.WriteLine($"chat: {await client.GetResponseAsync("Hello, who are you?", options)}");

    AIFunction weather = AIFunctionFactory.Create((string city) => $"sunny, {15 + city.Length} degrees", "get_weather", "Gets the weather of a city.", json);
    ChatResponse called = await client.GetResponseAsync("What is the weather in Paris?", new ChatOptions { Temperature = 0, MaxOutputTokens = 64, Tools = [weather] });
    Console.WriteLine($"tool: {called.Messages.SelectMany(message => message.Contents).OfType<Microsoft.Extensions.AI.FunctionCallContent>().Single().Name} {called.Text}");

    ChatResponse<Person> person = await client.GetResponseAsync<Person>("Extract the person: Anna Berg is 31 years old and lives in Oslo.", json,
        new ChatOptions { Temperature = 0, MaxOutputTokens = 128, RawRepresentationFactory = _ => new GemmaGenerationOptions { MaxStringLength = 40 } });
    Console.WriteLine($"schema: {person.Result}");

    IngestionResult read = await provider.GetRequiredService<DocumentIngestor>().IngestAsync(SourceDocument.FromFolder(folder));
    DocumentAnswer answer = await provider.GetRequiredService<DocumentAnswerer>().AskAsync("How long is the warranty of the pump?");
    Console.WriteLine($"documents: {read.Stored} read, {answer.Text}, {answer.Citations.Single().Chunk.DocumentId}");
}

Directory.Delete(folder, recursive: true);

IKernelBuilder builder = Kernel.CreateBuilder();
builder.AddGemmaChatCompletion("nano");
Kernel kernel = builder.Build();
kernel.Plugins.AddFromFunctions("weather", [KernelFunctionFactory.CreateFromMethod((string city) => $"sunny, {15 + city.Length} degrees", json, "get_weather", "Gets the weather of a city.")]);
ChatHistory history = [];
history.AddUserMessage("What is the weather in Paris?");
PromptExecutionSettings settings = new() { FunctionChoiceBehavior = FunctionChoiceBehavior.Auto(), ExtensionData = new Dictionary<string, object> { ["temperature"] = 0, ["max_tokens"] = 64 } };
ChatMessageContent said = await kernel.GetRequiredService<IChatCompletionService>().GetChatMessageContentAsync(history, settings, kernel);
Console.WriteLine($"kernel: {said.Content}");

internal sealed record Person(string Name, int Age, string City);

[JsonSerializable(typeof(Person))]
[JsonSerializable(typeof(string))]
internal sealed partial class AppJson : JsonSerializerContext;
