using System.ComponentModel;
using Gemma.Extensions.AI;
using Microsoft.Agents.AI;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using ModelContextProtocol.Client;
using ModelContextProtocol.Server;

// Started with --server, this program is the MCP server that the agent below talks to over standard input and output.
if (args is ["--server"])
{
    HostApplicationBuilder host = Host.CreateApplicationBuilder();
    host.Logging.ClearProviders(); // standard output belongs to the protocol
    host.Services.AddMcpServer().WithStdioServerTransport().WithTools<ShopTools>();
    await host.Build().RunAsync();
    return;
}

await using McpClient server = await McpClient.CreateAsync(new StdioClientTransport(new StdioClientTransportOptions
{
    Name = "shop",
    Command = "dotnet",
    Arguments = [typeof(ShopTools).Assembly.Location, "--server"],
}));
IList<McpClientTool> tools = await server.ListToolsAsync();
Console.WriteLine($"Tools of the server: {string.Join(", ", tools.Select(tool => tool.Name))}");

// The model: a path in GEMMA_MODEL, or the small one of the package Gemma.Extensions.AI.Nano.
using GemmaModel model = GemmaModel.Load(Environment.GetEnvironmentVariable("GEMMA_MODEL") ?? "nano");
AIAgent agent = new ChatClientAgent(model.AsIChatClient(), new ChatClientAgentOptions
{
    ChatOptions = new ChatOptions { Tools = [.. tools], Temperature = 0, MaxOutputTokens = 128 },
});
foreach (string question in args.Length > 0 ? args : ["What is the price of the red chair?"])
{
    Console.WriteLine($"> {question}");
    AgentResponse answer = await agent.RunAsync(question);
    foreach (FunctionCallContent call in answer.Messages.SelectMany(message => message.Contents).OfType<FunctionCallContent>())
    {
        Console.WriteLine($"[{call.Name}({string.Join(", ", call.Arguments ?? new Dictionary<string, object?>())})]");
    }

    Console.WriteLine(answer.Text);
}

[McpServerToolType]
internal sealed class ShopTools
{
    [McpServerTool(Name = "get_price"), Description("Gets the price of a product.")]
    public static string GetPrice([Description("The name of the product.")] string product) => $"{10 + product.Length} dollars";

    [McpServerTool(Name = "get_stock"), Description("Gets the stock of a product.")]
    public static int GetStock([Description("The name of the product.")] string product) => 3 * product.Length;
}
