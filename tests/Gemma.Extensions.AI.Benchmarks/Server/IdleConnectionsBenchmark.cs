using System.CommandLine;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Gemma.Extensions.AI.Benchmarks.Server;

/// <summary>What connections cost that clients keep open: each has had an answer that was streamed, and waits.</summary>
internal static class IdleConnectionsBenchmark
{
    private const string Body = """{"messages":[{"role":"user","content":"Hello!"}],"max_tokens":4,"stream":true}""";

    public static Command Create()
    {
        Option<string> gemma = new("--gemma") { Required = true, Description = "Gemma.Extensions.AI.Cli.dll, built in Release." };
        Option<int> connections = new("--connections") { DefaultValueFactory = _ => 1000 };
        Option<int> runs = new("--runs") { DefaultValueFactory = _ => 3, Description = "Servers, one after another." };
        Command command = new("server-idle", "Resident memory of gemma serve without connections, with open ones, and with ones that have had an answer.") { gemma, connections, runs };
        command.SetAction(async parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            Console.WriteLine($"| run | resident before | {parse.GetValue(connections):N0} connections, one answer each | difference | closed again |");
            Console.WriteLine("|---|---|---|---|---|");
            for (int run = 1; run <= parse.GetValue(runs); run++)
            {
                await using ServerProcess server = await ServerProcess.StartGemmaAsync(parse.GetRequiredValue(gemma), "--model", "nano", "--parallel", "64");
                List<TcpClient> clients = [];
                await AskAsync(server, 200, []); // what an engine and a server take once, they have taken
                long before = await server.ReadSettledMemoryAsync();
                await AskAsync(server, parse.GetValue(connections), clients);
                long open = await server.ReadSettledMemoryAsync();
                int ended = clients.Count(static client => client.Client.Poll(0, SelectMode.SelectRead)); // nothing is to be read, nor has an end come
                if (ended > 0)
                {
                    throw new InvalidOperationException($"{ended} connections were closed.");
                }

                clients.ForEach(static client => client.Dispose());
                long closed = await server.ReadSettledMemoryAsync();
                Console.WriteLine($"| {run} | {before / 1e6:0.0} MB | {open / 1e6:0.0} MB | {(open - before) / 1e6:0.0} MB | {closed / 1e6:0.0} MB |");
            }
        });
        return command;
    }

    /// <summary>Asks on a connection of its own for each answer, 16 at a time; those that are kept stay open.</summary>
    private static async Task AskAsync(ServerProcess server, int count, List<TcpClient> kept)
    {
        byte[] request = Encoding.ASCII.GetBytes($"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {Body.Length}\r\n\r\n{Body}");
        await Parallel.ForAsync(0, count, new ParallelOptions { MaxDegreeOfParallelism = 16 }, async (_, cancellation) =>
        {
            TcpClient tcp = new(server.Address.Host, server.Address.Port);
            await tcp.GetStream().WriteAsync(request, cancellation);
            StringBuilder answer = new();
            byte[] buffer = new byte[4096];
            while (!answer.ToString().EndsWith("0\r\n\r\n", StringComparison.Ordinal))
            {
                int read = await tcp.GetStream().ReadAsync(buffer, cancellation);
                answer.Append(read > 0 ? Encoding.UTF8.GetString(buffer, 0, read) : throw new InvalidOperationException($"The connection ended: {answer}"));
            }

            if (!answer.ToString().Contains("[DONE]", StringComparison.Ordinal))
            {
                throw new InvalidOperationException(answer.ToString());
            }

            lock (kept)
            {
                kept.Add(tcp);
            }
        });
    }
}
