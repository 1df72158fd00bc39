using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Tests.Engine;

public sealed class EngineInboxTests
{
    /// <summary>Callers count up while the engine's thread counts down: a count that is lost would refuse requests that there is room for, or keep a host from stopping.</summary>
    [Fact]
    public void RequestsAreCountedWhileOthersEnd()
    {
        const int Callers = 2;
        const int Requests = 200_000;
        EngineInbox inbox = new(new EngineOptions { MaxQueuedRequests = int.MaxValue });
        Sequence sequence = new(new GenerationRequest { Prompt = [1], Sink = new Generation() }, 1, 1, 1, 0, 0);
        Thread[] callers = [.. Enumerable.Range(0, Callers).Select(_ => new Thread(() =>
        {
            for (int i = 0; i < Requests; i++)
            {
                inbox.Accept(sequence);
            }
        }))];
        Array.ForEach(callers, caller => caller.Start());
        for (int i = 0; i < Callers * Requests; i++)
        {
            inbox.Complete(sequence);
        }

        Array.ForEach(callers, caller => caller.Join());
        Assert.Equal(0, inbox.Accepted);
        Assert.Equal(Callers * Requests, inbox.Close().Length);
    }

    [Fact]
    public async Task CleaningUpRunsWhileTheEngineStopsAndIsDroppedAfterIt()
    {
        EngineInbox inbox = new(new EngineOptions());
        inbox.Stop();
        bool hasRun = false;
        Task cleaned = inbox.CleanUpBetweenSteps(() => hasRun = true);
        inbox.RunCommands();
        await cleaned;
        Assert.True(hasRun);
        await Assert.ThrowsAsync<GemmaOverloadedException>(() => inbox.RunBetweenSteps(() => 1));

        inbox.Close();
        await inbox.CleanUpBetweenSteps(() => Assert.Fail("The memory is gone."));
        inbox.RunCommands();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => inbox.RunBetweenSteps(() => 1));
    }
}
