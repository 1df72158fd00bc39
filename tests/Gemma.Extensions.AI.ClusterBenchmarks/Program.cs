using Gemma.Extensions.AI.ClusterBenchmarks;
using Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

// What a cluster of processes on this machine does. Every command but "node", "hop", "router", "steps" and "simulate…" needs redis-server.
switch (args)
{
    case ["node", .. string[] node]:
        await NodeProgram.RunAsync(node);
        return 0;
    case ["kill", string kills, string conversations, string seed]:
        return await KillBenchmark.RunAsync(int.Parse(kills), int.Parse(conversations), int.Parse(seed));
    case ["rolling", string rounds, string conversations]:
        return await RollingBenchmark.RunAsync(int.Parse(rounds), int.Parse(conversations));
    case ["cache", string chats, string turns]:
        return await CacheBenchmark.RunAsync(int.Parse(chats), int.Parse(turns));
    case ["vanish", string times]:
        return await VanishBenchmark.RunAsync(int.Parse(times));
    case ["caller", string id, string store]:
        await VanishBenchmark.CallAsync(id, store);
        return 0;
    case ["hop", string model, string rounds, string tokens]:
        return await HopBenchmark.RunAsync(model, int.Parse(rounds), int.Parse(tokens));
    case ["router", string most]:
        return RouterBenchmark.Run(int.Parse(most));
    case ["store", string most]:
        return await StoreBenchmark.RunAsync(int.Parse(most));
    case ["steps", string model, string output, string rounds]:
        return await StepBenchmark.RunAsync(model, output, int.Parse(rounds));
    case ["costs", string output, string callers]:
        return await CostBenchmark.RunAsync(output, int.Parse(callers));
    case ["predict", string model, string costs, string nodes, string loads, string warmUp, string seconds, string rounds, string samples]:
        (int, int)[] each = [.. loads.Split(',').Select(load => load.Split('x')).Select(load => (int.Parse(load[0]), int.Parse(load[1])))];
        return await PredictionBenchmark.RunAsync(model, costs, int.Parse(nodes), each, double.Parse(warmUp), double.Parse(seconds), int.Parse(rounds), samples);
    case ["simulate", string steps, string costs, string nodes, string chats, string seed]:
        return SimulationBenchmark.Scale(steps, costs, Numbers(nodes), Numbers(chats), int.Parse(seed));
    case ["simulate-cache", string steps, string chats, string turns, string blocks, string instructions, string groups]:
        return SimulationBenchmark.Cache(steps, int.Parse(chats), int.Parse(turns), int.Parse(blocks), int.Parse(instructions), int.Parse(groups));
    case ["soak", string requests, string conversations, string minutes, string samples]:
        return await SoakBenchmark.RunAsync(int.Parse(requests), int.Parse(conversations), TimeSpan.FromMinutes(double.Parse(minutes)), samples);
    default:
        Console.Error.WriteLine("""
            kill KILLS CONVERSATIONS SEED  a random node of three is killed, again and again, under load
            rolling ROUNDS CONVERSATIONS   all three nodes are replaced, one after the other, under load
            cache CHATS TURNS              share of prompt tokens from cache over three nodes, over one of their memory, and placed at random
            vanish TIMES                   a reader of an answer is killed: the time until its node has stopped
            hop MODEL ROUNDS TOKENS        a cluster of one against the model in this process
            router NODES                   time of the router, and what nodes tell each other, for 1, 10, … nodes
            store NODES                    what the store of the membership does for 1, 10, … silos
            steps MODEL FILE ROUNDS        how long steps of the engine take, fitted and written to a file
            costs COSTS CALLERS            what calls cost besides steps, so many at a time, written to a file
            predict MODEL COSTS NODES LOADS WARMUP SECONDS ROUNDS SAMPLES   so many nodes, and each number below it, under so many chats at a time with answers of so many tokens (8x48,16x24), beside what the simulation says of them by steps measured before and after each run
            simulate FILE COSTS NODES CHATS SEED   so many nodes (1,10,100) at so many chats a node (4,8,16)
            simulate-cache FILE CHATS TURNS BLOCKS INSTRUCTIONS GROUPS   what "cache" does, simulated, of so many blocks a node and tokens of instructions, with the steps' times of the file
            soak REQUESTS CONVERSATIONS MINUTES SAMPLES   memory, sampled into a file, and orphaned work while nodes come and go; ends when both are over
            """);
        return 1;
}

static int[] Numbers(string list) => [.. list.Split(',').Select(int.Parse)];
