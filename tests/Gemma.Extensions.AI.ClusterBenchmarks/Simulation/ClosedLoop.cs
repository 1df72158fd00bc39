namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>A load of so many chats at a time; one that is over is followed by another.</summary>
/// <param name="Shape">What they are like.</param>
/// <param name="Chats">Chats at a time.</param>
/// <param name="WarmUp">Seconds before anything counts.</param>
/// <param name="Measured">Seconds that count.</param>
internal sealed record ClosedLoop(ChatShape Shape, int Chats, double WarmUp, double Measured)
{
    /// <summary>Simulates it.</summary>
    /// <param name="nodes">Nodes.</param>
    /// <param name="times">Times of their steps.</param>
    /// <param name="size">Their sizes.</param>
    /// <param name="costs">What calls cost besides.</param>
    /// <param name="placement">How nodes are chosen.</param>
    /// <param name="seed">Same seed, same result.</param>
    /// <param name="sharedCores">Cores that all nodes and the callers share; null: each node has one core, and callers any number.</param>
    public LoopResult Run(int nodes, StepTimes times, NodeSize size, TalkCosts costs, Placement placement, int seed, double? sharedCores = null)
    {
        EventQueue events = new();
        Cores? shared = sharedCores is { } count ? new Cores(events, count, times.Beside) : null;
        Cores far = shared ?? new Cores(events, double.MaxValue);
        Pool callers = new(far, shared is null ? int.MaxValue : far.Threads, costs.ClientWake);
        SimulatedCluster cluster = new(
            events, costs, Enumerable.Range(0, nodes).Select(number => new SimulatedNode(SimulatedCluster.Silo(number), events, shared ?? new Cores(events, 1), times, size, costs.NodeWake)), placement, seed);
        List<SimulatedCall> ended = [];
        Random random = new(seed);
        int next = 0;
        for (int i = 0; i < Chats; i++)
        {
            Chat first = new(Shape, next++, seed);
            events.After(random.NextDouble() * (Shape.Think + 1), () => Ask(first));
        }

        events.RunUntil(WarmUp);
        int redirects = cluster.Redirects;
        (double engine, double others, double caller) = Worked();
        ended.Clear();
        events.RunUntil(WarmUp + Measured);
        (double engineThen, double othersThen, double callerThen) = Worked();
        int calls = Math.Max(1, ended.Count);
        return LoopResult.Of(ended, cluster.Redirects - redirects, Measured) with { Engine = (engineThen - engine) / calls, Others = (othersThen - others) / calls, Caller = (callerThen - caller) / calls };

        (double Engine, double Others, double Caller) Worked() => (cluster.Nodes.Sum(node => node.Computed), cluster.Nodes.Sum(node => node.Talk.Worked), callers.Worked);

        void Ask(Chat chat)
        {
            (int[] prompt, int[] answer) = chat.Next();
            callers.Run(costs.ClientCall, () => cluster.Begin(new SimulatedCall(events, cluster, costs, callers, prompt, answer, chat, call =>
            {
                ended.Add(call);
                Chat following = chat.IsOver ? new Chat(Shape, next++, seed) : chat;
                events.After(following.Think, () => Ask(following));
            })));
        }
    }
}

/// <summary>What became of the calls that ended while a load was measured.</summary>
/// <param name="Calls">Calls.</param>
/// <param name="TokensPerSecond">Tokens of their answers.</param>
/// <param name="Warm">Part of the tokens of prompts that was warm.</param>
/// <param name="First">Seconds to the first token, on average.</param>
/// <param name="FirstOfMost">Within which 95 of 100 had it.</param>
/// <param name="Whole">Seconds of a whole call, on average.</param>
/// <param name="Redirects">Calls that were sent on.</param>
/// <param name="Refused">Calls that found every place taken.</param>
internal sealed record LoopResult(int Calls, double TokensPerSecond, double Warm, double First, double FirstOfMost, double Whole, int Redirects, int Refused)
{
    /// <summary>Seconds of the engines' threads that a call took, on average.</summary>
    public double Engine { get; init; }

    /// <summary>Seconds of the nodes' other threads.</summary>
    public double Others { get; init; }

    /// <summary>Seconds of the callers' threads.</summary>
    public double Caller { get; init; }

    /// <summary>Messages that a caller had from nodes.</summary>
    public double Messages { get; init; }

    public static LoopResult Of(List<SimulatedCall> ended, int redirects, double seconds)
    {
        SimulatedCall[] answered = [.. ended.Where(call => !call.Refused)];
        double[] firsts = [.. answered.Select(call => call.FirstAt - call.Began).Order()];
        return new LoopResult(
            answered.Length, answered.Sum(call => (long)call.Answer.Length) / seconds, answered.Sum(call => (double)call.Cached) / Math.Max(1, answered.Sum(call => (double)call.Prompt.Length)),
            firsts.DefaultIfEmpty().Average(), firsts.Length == 0 ? 0 : firsts[firsts.Length * 95 / 100], answered.Select(call => call.EndedAt - call.Began).DefaultIfEmpty().Average(), redirects, ended.Count - answered.Length)
        {
            Messages = answered.Select(call => (double)call.Batches).DefaultIfEmpty().Average(),
        };
    }
}
