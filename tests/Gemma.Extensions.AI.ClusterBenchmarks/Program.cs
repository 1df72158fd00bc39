using Gemma.Extensions.AI.ClusterBenchmarks;

// What a cluster of processes on this machine does. Every command but "node" and "hop" needs redis-server.
switch (args)
{
    case ["node", .. string[] node]:
        await NodeProgram.RunAsync(node);
        return 0;
    case ["kill", string kills, string conversations]:
        return await KillBenchmark.RunAsync(int.Parse(kills), int.Parse(conversations));
    case ["rolling", string rounds, string conversations]:
        return await RollingBenchmark.RunAsync(int.Parse(rounds), int.Parse(conversations));
    case ["cache", string chats, string turns]:
        return await CacheBenchmark.RunAsync(int.Parse(chats), int.Parse(turns));
    case ["hop", string model, string rounds]:
        return await HopBenchmark.RunAsync(model, int.Parse(rounds));
    case ["vanish", string times]:
        return await VanishBenchmark.RunAsync(int.Parse(times));
    case ["caller", string id, string store]:
        await VanishBenchmark.CallAsync(id, store);
        return 0;
    case ["soak", string requests, string conversations]:
        return await SoakBenchmark.RunAsync(int.Parse(requests), int.Parse(conversations));
    default:
        Console.Error.WriteLine("""
            kill KILLS CONVERSATIONS       a random node of three is killed, again and again, under load
            rolling ROUNDS CONVERSATIONS   all three nodes are replaced, one after the other, under load
            cache CHATS TURNS              share of prompt tokens from cache over three nodes, over one of their memory, and placed at random
            hop MODEL ROUNDS               a cluster of one against the model in this process
            vanish TIMES                   a reader of an answer is killed: the time until its node has stopped
            soak REQUESTS CONVERSATIONS    memory and orphaned work while nodes come and go
            """);
        return 1;
}
