using System.ComponentModel;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

HostApplicationBuilder builder = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings { Args = args, ContentRootPath = AppContext.BaseDirectory });
builder.Services.AddGemmaChatClient().UseFunctionInvocation(); // the model is that of appsettings.json
using IHost host = builder.Build();
IChatClient client = host.Services.GetRequiredService<IChatClient>();

// What the agent can do. The model sees the descriptions; its arguments always fit the parameters.
[Description("Gets the weather of a city.")]
static string GetWeather([Description("The name of the city.")] string city) => $"sunny, {15 + city.Length} degrees";

ChatOptions options = new() { Tools = [AIFunctionFactory.Create(GetWeather, "get_weather")], Temperature = 0, MaxOutputTokens = 256 };
List<ChatMessage> conversation = [];
Console.WriteLine("Ask something, for instance: What is the weather in Paris? An empty line ends.");
while (true)
{
    Console.Write("> ");
    if (Console.ReadLine() is not { Length: > 0 } question)
    {
        break;
    }

    conversation.Add(new ChatMessage(ChatRole.User, question));
    List<ChatResponseUpdate> answer = [];
    await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(conversation, options))
    {
        Console.Write(update.Text);
        answer.Add(update);
    }

    Console.WriteLine();
    conversation.AddMessages(answer);
}
