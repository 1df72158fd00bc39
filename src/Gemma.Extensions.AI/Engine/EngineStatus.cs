namespace Gemma.Extensions.AI.Engine;

/// <summary>Snapshot of an engine's state.</summary>
/// <param name="Failed">The engine ended because of an unexpected error.</param>
/// <param name="Stopping">The engine accepts no more requests.</param>
/// <param name="Running">Sequences in the batch.</param>
/// <param name="Waiting">Requests accepted but not running.</param>
/// <param name="MaxRunning">Sequences that may be in the batch at most.</param>
/// <param name="MaxWaiting">Requests that may wait at most.</param>
/// <param name="Blocks">Blocks of key/value memory.</param>
/// <param name="FreeBlocks">Blocks that hold nothing.</param>
/// <param name="CachedBlocks">Blocks that hold prefixes which no sequence uses: had back when needed.</param>
/// <param name="Preemptions">How often a sequence had to give its memory back.</param>
internal readonly record struct EngineStatus(
    bool Failed, bool Stopping, int Running, int Waiting, int MaxRunning, int MaxWaiting, int Blocks, int FreeBlocks, int CachedBlocks, long Preemptions)
{
    /// <summary>Requests among those that wait which came during the step that runs: the next one may take them in.</summary>
    public int Arriving { get; init; }

    /// <summary>Blocks that sequences hold.</summary>
    public int UsedBlocks => Blocks - FreeBlocks - CachedBlocks;
}
