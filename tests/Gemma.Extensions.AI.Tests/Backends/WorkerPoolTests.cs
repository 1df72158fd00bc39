using System.Diagnostics;
using Gemma.Extensions.AI.Backends.Cpu;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

public sealed class WorkerPoolTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void EveryPartRunsOnce(int workers)
    {
        using WorkerPool pool = new(workers);
        int[] counts = new int[300];
        for (int round = 0; round < 2000; round++)
        {
            int parts = round % 7 == 0 ? 300 : round % 12;
            Array.Clear(counts);
            Count work = new(counts, workers);
            pool.Run(ref work, parts);
            Assert.All(counts.Take(parts), count => Assert.Equal(1, count));
            Assert.All(counts.Skip(parts), count => Assert.Equal(0, count));
        }
    }

    [Fact]
    public void AnExceptionReachesTheCallerAndThePoolStaysUsable()
    {
        using WorkerPool pool = new(3);
        for (int round = 0; round < 20; round++)
        {
            Fail failing = new(round % 10);
            Assert.Equal("part", Assert.Throws<InvalidOperationException>(() => pool.Run(ref failing, 10)).Message);
            int[] counts = new int[10];
            Count work = new(counts, 3);
            pool.Run(ref work, 10);
            Assert.All(counts, count => Assert.Equal(1, count));
        }
    }

    [Fact]
    public void AnIdlePoolUsesNoProcessorTime()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Reads the threads' times from /proc.");
        using WorkerPool pool = new(4, "idle-test");
        int[] counts = new int[64];
        Count work = new(counts, 4);
        pool.Run(ref work, 64);

        // The threads still spin for a moment; on a busy machine it takes longer until they had the time to.
        Eventually.IsTrue(() =>
        {
            TimeSpan before = WorkerTime();
            Thread.Sleep(400);
            return WorkerTime() - before <= TimeSpan.FromMilliseconds(20);
        });

        // Other tests run beside this one, so only this pool's threads count.
        static TimeSpan WorkerTime()
        {
            TimeSpan sum = default;
            foreach (ProcessThread thread in Process.GetCurrentProcess().Threads)
            {
                string name = $"/proc/self/task/{thread.Id}/comm";
                if (File.Exists(name) && File.ReadAllText(name).StartsWith("idle-test", StringComparison.Ordinal))
                {
                    sum += thread.TotalProcessorTime;
                }
            }

            return sum;
        }
    }

    private readonly struct Count(int[] counts, int workers) : IParallelWork
    {
        public void Run(int part, int worker)
        {
            Assert.InRange(worker, 0, workers - 1);
            Interlocked.Increment(ref counts[part]);
        }
    }

    private readonly struct Fail(int at) : IParallelWork
    {
        public void Run(int part, int worker)
        {
            if (part == at)
            {
                throw new InvalidOperationException("part");
            }
        }
    }
}
