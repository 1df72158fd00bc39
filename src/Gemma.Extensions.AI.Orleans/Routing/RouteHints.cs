using Orleans;
using Orleans.Concurrency;

namespace Gemma.Extensions.AI.Orleans.Routing;

/// <summary>The part of a call that placement knows, before anybody has read it. Travels in the request context.</summary>
[GenerateSerializer, Immutable, Alias("gemma.route")]
internal sealed class RouteHints
{
    /// <summary>Key of the request context.</summary>
    public const string Key = "gemma.route";

    [Id(0)]
    public string Model { get; set; } = "";

    [Id(1)]
    public string? Adapter { get; set; }

    /// <summary>A hash of how the conversation begins: its turns come to the same node, before any summary tells of it.</summary>
    [Id(2)]
    public ulong Home { get; set; }

    /// <summary>Silos that failed this call.</summary>
    [Id(3)]
    public string[] Excluded { get; set; } = [];

    /// <summary>The identity that the answer began with; null where it has not begun.</summary>
    [Id(4)]
    public string? Identity { get; set; }

    /// <summary>The silo that another node named as the better one.</summary>
    [Id(5)]
    public string? Target { get; set; }

    /// <summary>The conversation has an answer already, so its home should have it warm.</summary>
    [Id(7)]
    public bool GoesOn { get; set; }

    /// <summary>The silo that gave the conversation's last answer, where the caller remembers it: what it has warm is asked for without a way over the home. Null: unknown.</summary>
    [Id(8)]
    public string? Last { get; set; }

    /// <summary>Times that nobody answered, so that nobody knows which silo did not.</summary>
    [Id(6)]
    public int Unanswered { get; set; }
}
