using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Wire;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>The talk between a node and a caller.</summary>
public class NodeJobTests
{
    private static readonly NodeTimes s_quick = new(TimeSpan.FromMilliseconds(20), TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(80), 7);

    [Fact]
    public async Task ABatchThatIsAskedForAgainIsTheSameAndNothingIsLost()
    {
        NodeJob job = new(Guid.NewGuid(), "m", "node", s_quick);
        job.Introduce("identity", [1, 2]);
        job.Write(new WirePart { Text = "a" });
        job.Write(new WirePart { Text = "b" });
        WireBatch first = await job.ReadAsync(1);
        Assert.Equal(["a", "b"], first.Parts.Select(part => part.Text));
        Assert.Equal(("identity", WireState.Running), (first.Identity, first.State));
        Assert.Equal([1, 2], first.Prompt!);
        job.Write(new WirePart { Text = "c" });
        Assert.Same(first, await job.ReadAsync(1)); // the call was delivered twice
        Task<WireBatch> second = job.ReadAsync(2), again = job.ReadAsync(2);
        Assert.Same(await second, await again);
        Assert.Equal("c", Assert.Single((await second).Parts).Text);
        Assert.Null((await second).Prompt);
        Assert.Equal(WireState.Gone, (await job.ReadAsync(1)).State); // long past
        Assert.Equal(WireState.Gone, (await job.ReadAsync(9)).State);
        job.Write(new WirePart { Text = "d" });
        job.End(WireState.Done);
        job.End(WireState.Failed); // the first word counts
        WireBatch last = await job.ReadAsync(3);
        Assert.Equal((WireState.Done, "d"), (last.State, Assert.Single(last.Parts).Text));
    }

    [Fact]
    public async Task SilenceIsFilledWithHeartbeats()
    {
        NodeJob job = new(Guid.NewGuid(), "m", "node", s_quick);
        for (int i = 1; i <= 3; i++)
        {
            WireBatch batch = await job.ReadAsync(i);
            Assert.Equal((WireState.Running, 0, i), (batch.State, batch.Parts.Length, batch.Sequence));
        }

        Task<WireBatch> waiting = job.ReadAsync(4);
        job.End(WireState.LetGo);
        Assert.Equal(WireState.LetGo, (await waiting).State is WireState.Running ? (await job.ReadAsync(5)).State : (await waiting).State);
        Assert.True(job.Stopped.IsCancellationRequested);
    }

    [Fact]
    public async Task ACallerWhoDoesNotAskAgainIsForgottenAndOneWhoWaitsIsNot()
    {
        NodeJob job = new(Guid.NewGuid(), "m", "node", s_quick with { Heartbeat = TimeSpan.FromSeconds(30) });
        Task<WireBatch> waiting = job.ReadAsync(1);
        await Task.Delay(150);
        Assert.False(job.IsForgotten);
        job.Write(new WirePart { Text = "a" });
        await waiting;
        await Eventually.IsTrueAsync(() => job.IsForgotten);
    }

    [Fact]
    public async Task TheEndDoesNotWaitForThePauseBetweenTwoBatches()
    {
        NodeJob job = new(Guid.NewGuid(), "m", "node", s_quick with { LeastPause = TimeSpan.FromHours(1), Heartbeat = TimeSpan.FromHours(1) });
        job.Write(new WirePart { Text = "a" });
        Assert.Single((await job.ReadAsync(1)).Parts);
        job.Write(new WirePart { Text = "b" });
        Task<WireBatch> last = job.ReadAsync(2);
        job.Write(new WirePart { Text = "c" });
        job.End(WireState.Done);
        WireBatch batch = await last.WaitAsync(TimeSpan.FromMinutes(1));
        Assert.Equal((WireState.Done, 2), (batch.State, batch.Parts.Length));
    }

    [Fact]
    public async Task WhatIsWrittenBeforeTheEndComesBeforeIt()
    {
        for (int round = 0; round < 200; round++)
        {
            NodeJob job = new(Guid.NewGuid(), "m", "node", s_quick);
            Task writing = Task.Run(() =>
            {
                for (int i = 0; i < 20; i++)
                {
                    job.Write(new WirePart { Text = "x" });
                }

                job.End(WireState.Done);
            });
            int parts = 0;
            WireBatch batch;
            int sequence = 0;
            do
            {
                batch = await job.ReadAsync(++sequence);
                parts += batch.Parts.Length;
            }
            while (batch.State == WireState.Running);
            Assert.Equal(20, parts);
            await writing;
        }
    }
}
