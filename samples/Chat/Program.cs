// A conversation in a generic host. The model: section "Gemma" of the configuration (--Gemma:ModelPath=…), GEMMA_MODEL, else the small one that ships.
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

HostApplicationBuilder builder = Host.CreateApplicationBuilder(args);
builder.Logging.SetMinimumLevel(LogLevel.Warning);
builder.Services.AddGemmaChatClient(options => options.ModelPath ??= "nano").UseLogging();
builder.Services.AddHostedService<Conversation>();
await builder.Build().RunAsync();

internal sealed class Conversation(IChatClient client, IHostApplicationLifetime lifetime) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        List<ChatMessage> history = [];
        while (true)
        {
            Console.Write("> ");
            if (Console.ReadLine() is not { Length: > 0 } question)
            {
                break;
            }
            history.Add(new ChatMessage(ChatRole.User, question));
            List<ChatResponseUpdate> answer = [];
            await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(history, cancellationToken: stoppingToken))
            {
                Console.Write(update.Text);
                answer.Add(update);
            }

            Console.WriteLine();
            history.AddMessages(answer);
        }

        lifetime.StopApplication();
    }
}
