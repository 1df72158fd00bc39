using Gemma.Extensions.AI.Orleans.Routing;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>What chats are like.</summary>
/// <param name="Groups">Different instructions; a chat has one of them.</param>
/// <param name="Instructions">Tokens of each.</param>
/// <param name="Turns">Turns of a chat.</param>
/// <param name="Question">Tokens that a turn adds before its answer, on average.</param>
/// <param name="Answer">Tokens of an answer, on average.</param>
/// <param name="Think">Seconds from an answer to the next question, on average.</param>
/// <param name="Varies">False: all are as the average says.</param>
internal sealed record ChatShape(int Groups, int Instructions, int Turns, int Question, int Answer, double Think, bool Varies = true);

/// <summary>A chat: the tokens said so far.</summary>
internal sealed class Chat
{
    private readonly ChatShape _shape;
    private readonly Random _random;
    private readonly List<int> _tokens;

    public Chat(ChatShape shape, int number, int seed)
    {
        _shape = shape;
        _random = new Random(HashCode(seed, number));
        int group = _random.Next(shape.Groups);
        Random instructions = new(HashCode(seed, -1 - group));
        _tokens = [.. Enumerable.Range(0, shape.Instructions).Select(_ => instructions.Next(1 << 20))];
        Home = Router.Hash($"chat {seed} {number}");
    }

    public ulong Home { get; }

    /// <summary>The silo that gave the last answer; null before the first.</summary>
    public string? LastSilo { get; set; }

    public int TurnsDone { get; private set; }

    public bool IsOver => TurnsDone == _shape.Turns;

    /// <summary>Seconds until the next question.</summary>
    public double Think => _shape.Varies ? -Math.Log(1 - _random.NextDouble()) * _shape.Think : _shape.Think;

    /// <summary>The next turn, whose tokens belong to the chat from now on.</summary>
    public (int[] Prompt, int[] Answer) Next()
    {
        Say(_shape.Question);
        TurnsDone++;
        int[] prompt = [.. _tokens];
        Say(_shape.Answer);
        return (prompt, [.. _tokens.Skip(prompt.Length)]);
    }

    private void Say(int tokens)
    {
        int count = _shape.Varies ? Math.Max(2, (int)(tokens * (0.5 + _random.NextDouble()))) : tokens;
        _tokens.AddRange(Enumerable.Range(0, count).Select(_ => _random.Next(1 << 20)));
    }

    private static int HashCode(int a, int b) => (int)(Router.Hash($"{a} {b}") & int.MaxValue);
}
