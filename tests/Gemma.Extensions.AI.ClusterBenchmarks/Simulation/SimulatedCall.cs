using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Orleans.Routing;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>What a call costs besides the model's steps.</summary>
/// <param name="Way">Seconds that a message is on its way.</param>
/// <param name="NodeCall">Seconds of a core that a call takes at a node: message, rendering, routing.</param>
/// <param name="NodeBatch">Seconds of a core that a batch of an answer takes at a node.</param>
/// <param name="ClientCall">Seconds of a core that a call takes where it is made.</param>
/// <param name="ClientBatch">Seconds of a core that a batch takes there.</param>
internal sealed record TalkCosts(double Way, double NodeCall, double NodeBatch, double ClientCall, double ClientBatch)
{
    /// <summary>Seconds of a core that a token of an answer takes at a node, beside the engine.</summary>
    public double NodeToken { get; init; }

    /// <summary>The same where the call is made.</summary>
    public double ClientToken { get; init; }

    /// <summary>Seconds of a core that a question takes at a silo that is not asked but passes it on: callers know the way to a few silos only.</summary>
    public double NodeForward { get; init; }

    /// <summary>Seconds of a core that it takes at a node to wake a thread where all sleep, which the tokens of a step have to do as one, and a message where little else is done.</summary>
    public double NodeWake { get; init; }

    /// <summary>The same where calls are made.</summary>
    public double ClientWake { get; init; }

    /// <summary>Part of a core that a node takes without calls.</summary>
    public double NodeIdle { get; init; }

    public static TalkCosts Load(string path) => JsonSerializer.Deserialize<TalkCosts>(File.ReadAllText(path))!;

    public void Save(string path) => File.WriteAllText(path, JsonSerializer.Serialize(this) + "\n");
}

/// <summary>One call: its tokens, and when they came. Batches go as <c>NodeJob</c> has them go.</summary>
internal sealed class SimulatedCall(EventQueue events, SimulatedCluster cluster, TalkCosts costs, Pool client, int[] prompt, int[] answer, Chat chat, Action<SimulatedCall> done) : GenerationSink
{
    private static readonly double s_leastPause = Orleans.Nodes.NodeTimes.Default.LeastPause.TotalSeconds;

    private SimulatedNode? _node;
    private int _unread; // tokens that no batch has taken yet
    private int _batches;
    private bool _isAsked = true; // the client waits for a batch
    private int _paused; // number of the batch that is being waited for; 0: none
    private bool _hasEnded;

    public int[] Prompt => prompt;

    public int[] Answer => answer;

    /// <summary>What the caller tells of the conversation.</summary>
    public RouteHints Hints { get; } = new() { Model = SimulatedCluster.Model, Home = chat.Home, GoesOn = chat.TurnsDone > 1, Last = chat.LastSilo };

    public double Began { get; } = events.Now;

    /// <summary>When the first token had come; 0 before.</summary>
    public double FirstAt { get; private set; }

    public double EndedAt { get; private set; }

    /// <summary>True where every node was full.</summary>
    public bool Refused { get; private set; }

    /// <summary>Tokens of the prompt that were warm.</summary>
    public int Cached { get; private set; }

    /// <summary>Batches that the answer came in.</summary>
    public int Batches => _batches;

    /// <summary>The node took the call.</summary>
    public void BeginAt(SimulatedNode node)
    {
        _node = node;
        chat.LastSilo = node.Silo;
    }

    public void Refuse()
    {
        Refused = true;
        EndedAt = events.Now;
        done(this);
    }

    public override bool OnToken(int token)
    {
        _unread++;
        _node!.Talk.Run(costs.NodeToken, () => { });
        Consider();
        return true;
    }

    public override void OnCompleted(GenerationResult result)
    {
        (_hasEnded, Cached) = (true, result.CachedTokens);
        Consider();
    }

    /// <summary>Begins a batch where the client asks for one and there is something to tell.</summary>
    private void Consider()
    {
        if (!_isAsked || (_unread == 0 && !_hasEnded))
        {
            return;
        }

        if (_batches == 0 || _hasEnded)
        {
            Send(); // the end is told at once
        }
        else if (_paused == 0)
        {
            int batch = _paused = _batches;
            events.After(s_leastPause, () =>
            {
                if (_paused == batch)
                {
                    Send();
                }
            });
        }
    }

    private void Send()
    {
        int tokens = _unread;
        (_isAsked, _paused, _unread) = (false, 0, 0);
        _batches++;
        bool isLast = _hasEnded;
        _node!.Talk.Run(costs.NodeBatch, () => events.After(costs.Way, () => client.Run(costs.ClientBatch + (tokens * costs.ClientToken), () => Receive(isLast))));
    }

    private void Receive(bool isLast)
    {
        FirstAt = FirstAt == 0 ? events.Now : FirstAt;
        if (isLast)
        {
            EndedAt = events.Now;
            done(this);
            return;
        }

        cluster.Ask(_node!, () =>
        {
            _isAsked = true;
            Consider();
        });
    }
}
