// A cluster in two or more terminals:
//   dotnet run --project samples/Cluster -c Release -- node 0        the first node; each other has a number of its own: node 1, node 2, …
//   dotnet run --project samples/Cluster -c Release                  a conversation with the cluster
// Without more, node 0 holds the membership, the others join it, and its end is the end of the cluster. A store outlives every node: ConnectionStrings__redis or ConnectionStrings__postgresql
// in the environment has its connection string (samples/ClusterAppHost starts three nodes so). GEMMA_MODEL names another model than the one that ships, SiloPort and GatewayPort other ports of node 0.
using System.Net;
using Gemma.Extensions.AI.Orleans;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Orleans.Configuration;
using Orleans.Hosting;

HostApplicationBuilder builder = Host.CreateApplicationBuilder();
string? redis = builder.Configuration.GetConnectionString("redis"), postgres = builder.Configuration.GetConnectionString("postgresql");
int siloPort = builder.Configuration.GetValue("SiloPort", 22111), gatewayPort = builder.Configuration.GetValue("GatewayPort", 22300);
builder.Logging.SetMinimumLevel(LogLevel.Error).AddFilter("Gemma", LogLevel.Information);
if (args is ["node", string text] && int.TryParse(text, out int number))
{
    if (postgres is not null)
    {
        await using NpgsqlConnection database = new(postgres);
        await GemmaPostgresMembership.CreateTablesAsync(database); // Orleans' packages do not make them
    }

    builder.UseOrleans(silo =>
    {
        silo.Configure<ClusterOptions>(options => (options.ClusterId, options.ServiceId) = ("gemma", "gemma"));
        silo.ConfigureEndpoints(IPAddress.Loopback, siloPort + number, gatewayPort + number);
        _ = redis is not null ? silo.UseRedisClustering(options => options.ConfigurationOptions = StackExchange.Redis.ConfigurationOptions.Parse(redis))
            : postgres is not null ? silo.UseAdoNetClustering(options => (options.Invariant, options.ConnectionString) = ("Npgsql", postgres))
            : silo.UseLocalhostClustering(siloPort + number, gatewayPort + number, new IPEndPoint(IPAddress.Loopback, siloPort), "gemma", "gemma");
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
    client.Configure<ClusterOptions>(options => (options.ClusterId, options.ServiceId) = ("gemma", "gemma"));
    _ = redis is not null ? client.UseRedisClustering(options => options.ConfigurationOptions = StackExchange.Redis.ConfigurationOptions.Parse(redis))
        : postgres is not null ? client.UseAdoNetClustering(options => (options.Invariant, options.ConnectionString) = ("Npgsql", postgres))
        : client.UseLocalhostClustering(gatewayPort, "gemma", "gemma");
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
