// A cluster in two or more terminals, by localhost clustering or, where REDIS has a connection string, by Redis:
//   dotnet run --project samples/Cluster -c Release -- node 0        the first node; with Redis each other node has a number of its own: node 1, node 2, …
//   dotnet run --project samples/Cluster -c Release                  a conversation with the cluster
// With localhost clustering node 0 holds the membership, and nodes 1, 2, … join it. GEMMA_MODEL names another model than the one that ships, SiloPort and GatewayPort other ports of node 0.
using System.Net;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Configuration;
using Orleans.Hosting;

string? redis = Environment.GetEnvironmentVariable("REDIS");
HostApplicationBuilder builder = Host.CreateApplicationBuilder();
int siloPort = builder.Configuration.GetValue("SiloPort", 22111), gatewayPort = builder.Configuration.GetValue("GatewayPort", 22300);
builder.Logging.SetMinimumLevel(LogLevel.Error).AddFilter("Gemma", LogLevel.Information);
if (args is ["node", string text] && int.TryParse(text, out int number))
{
    builder.UseOrleans(silo =>
    {
        if (redis is null)
        {
            silo.UseLocalhostClustering(siloPort + number, gatewayPort + number, new IPEndPoint(IPAddress.Loopback, siloPort));
        }
        else
        {
            silo.UseRedisClustering(options => options.ConfigurationOptions = StackExchange.Redis.ConfigurationOptions.Parse(redis));
            silo.Configure<ClusterOptions>(options => (options.ClusterId, options.ServiceId) = ("gemma", "gemma"));
            silo.ConfigureEndpoints(IPAddress.Loopback, siloPort + number, gatewayPort + number);
        }

        silo.AddGemmaNode(node => node.AddModel("gemma", Environment.GetEnvironmentVariable("GEMMA_MODEL") ?? "nano"));
    });
    using IHost node = builder.Build();
    await node.StartAsync();
    Console.WriteLine($"Node {number} serves.");
    await node.WaitForShutdownAsync();
    return;
}

builder.UseOrleansClient(client =>
{
    if (redis is null)
    {
        client.UseLocalhostClustering(gatewayPort);
    }
    else
    {
        client.UseRedisClustering(options => options.ConfigurationOptions = StackExchange.Redis.ConfigurationOptions.Parse(redis));
        client.Configure<ClusterOptions>(options => (options.ClusterId, options.ServiceId) = ("gemma", "gemma"));
    }
});
builder.Services.AddGemmaClusterChatClient("gemma");
using IHost host = builder.Build();
await host.StartAsync();
IChatClient chat = host.Services.GetRequiredService<IChatClient>();
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
    await foreach (ChatResponseUpdate update in chat.GetStreamingResponseAsync(history))
    {
        Console.Write(update.Text);
        answer.Add(update);
    }

    Console.WriteLine();
    history.AddMessages(answer);
}

await host.StopAsync();
