using System.CommandLine;
using Gemma.Extensions.AI.AspNetCore.Hosting;
using Gemma.Extensions.AI.Cli.Documents;
using Gemma.Extensions.AI.Cli.Mcp;
using Gemma.Extensions.AI.Cli.Serve;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using ModelContextProtocol.Protocol;
using ModelContextProtocol.Server;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma mcp</c>: the model as tools of a server of the Model Context Protocol.</summary>
internal static class McpCommand
{
    public static Command Create()
    {
        ModelArguments model = new();
        Option<string?> documents = new("--documents") { Description = "Folder or document to answer from: adds the tool ask_documents. Nothing else on this machine is read.", HelpName = "path" };
        Option<string?> index = new("--index") { Description = "File that keeps the passages of --documents. Default: one in your cache directory.", HelpName = "path" };
        Option<bool> http = new("--http") { Description = "Listen for HTTP at /mcp instead of using standard input and output." };
        Option<string> address = new("--host") { Description = "With --http: address to listen at, * for all.", HelpName = "address", DefaultValueFactory = _ => new ServerHostSettings().Host };
        Option<int> port = new("--port", "-p") { Description = "With --http: port to listen at; 0 takes one that is free.", HelpName = "n", DefaultValueFactory = _ => new ServerHostSettings().Port };
        Option<string[]> key = new("--api-key") { Description = "With --http: key of which clients must have one, as a bearer token; several times for several.", HelpName = "key" };
        Option<bool> insecure = new("--insecure") { Description = "With --http: answer other machines without a key." };
        Command command = new("mcp", "Give agents the model as MCP tools: chat, embed, ask_documents. By standard input and output, as an agent's configuration starts servers, or by HTTP.\n\nExamples:\n  gemma mcp --model gemma-2-2b-it-Q4_K_M.gguf --documents ./manuals\n  gemma mcp --http --port 8090") { documents, index, http, address, port, key, insecure };
        model.AddTo(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            CliInvocation host = parsed.Host();
            GemmaOptions options = model.Read(parsed);
            using GemmaModel loaded = host.Load(options.ModelPath!, options, cancellationToken);
            await using DocumentLibrary? library = parsed.GetValue(documents) is { } path ? DocumentLibrary.Open(loaded, path, parsed.GetValue(index)) : null;
            using AskDocumentsTool? ask = library is null ? null : new AskDocumentsTool(library, parsed.GetValue(documents)!);
            McpServerTool[] tools = [new ChatTool(loaded.AsIChatClient(), loaded.ModelId), new EmbedTool(loaded.AsIEmbeddingGenerator()), .. ask is null ? [] : new McpServerTool[] { ask }];
            if (!parsed.GetValue(http))
            {
                await ServeStreamsAsync(tools, Console.OpenStandardInput(), new BufferedStream(Console.OpenStandardOutput()), cancellationToken);
                return;
            }

            ServerHostSettings settings = new() { Host = parsed.GetRequiredValue(address), Port = parsed.GetValue(port), ApiKeys = parsed.GetValue(key) ?? [], IsInsecure = parsed.GetValue(insecure) };
            await ServeHttpAsync(tools, loaded, settings, host, cancellationToken);
        });
        return command;
    }

    /// <summary>Name and tools of the server.</summary>
    private static void Configure(McpServerOptions options, IEnumerable<McpServerTool> tools)
    {
        options.ServerInfo = new Implementation { Name = "gemma", Version = typeof(McpCommand).Assembly.GetName().Version?.ToString(3) ?? "" };
        options.ToolCollection = [.. tools];
    }

    /// <summary>Answers until the input ends and all that was asked is answered.</summary>
    internal static async Task ServeStreamsAsync(McpServerTool[] tools, Stream input, Stream output, CancellationToken cancellationToken)
    {
        McpServerOptions options = new();
        Configure(options, tools);
        await using AnsweringTransport transport = new(input, output);
        await using McpServer server = McpServer.Create(transport, options);
        await server.RunAsync(cancellationToken);
    }

    internal static async Task ServeHttpAsync(McpServerTool[] tools, GemmaModel model, ServerHostSettings settings, CliInvocation host, CancellationToken cancellationToken)
    {
        await using WebApplication app = ServerHost.Build(settings, builder =>
        {
            CommandServer.AddTo(builder, host);
            builder.Services.AddKeyedChatClient(model.ModelId, model.AsIChatClient());
            builder.Services.AddMcpServer(options => Configure(options, tools)).WithHttpTransport();
        }, static (_, api) => api.MapMcp("/mcp"));
        string address = await CommandServer.StartAsync(app, cancellationToken);
        host.Output.WriteLine($"MCP at {address}/mcp: {string.Join(", ", tools.Select(tool => tool.ProtocolTool.Name))}");
        await CommandServer.UntilStoppedAsync(app, host, cancellationToken);
    }
}
