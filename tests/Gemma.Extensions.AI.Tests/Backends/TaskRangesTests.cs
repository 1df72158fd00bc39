using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

public class TaskRangesTests
{
    [Theory]
    [InlineData(1, 7)]
    [InlineData(3, 2)]
    [InlineData(4, 4001)]
    public void EachTaskIsTakenOnceWhoeverIsFast(int workers, int tasks)
    {
        TaskRanges ranges = new(workers);
        for (int round = 0; round < 20; round++)
        {
            ranges.Reset(tasks);
            int[] taken = new int[tasks];
            int calls = -1;
            Parallel.For(0, workers, worker =>
            {
                while (Interlocked.Increment(ref calls) < tasks)
                {
                    Interlocked.Increment(ref taken[ranges.Take(worker)]);
                }
            });
            Assert.All(taken, count => Assert.Equal(1, count));
        }
    }

    [Fact]
    public void AWorkerTakesItsOwnFromTheFrontAndThenFromTheBackOfTheLongest()
    {
        TaskRanges ranges = new(3);
        ranges.Reset(10); // 0 to 2, 3 to 5, 6 to 9
        Assert.Equal([0, 3, 6], Enumerable.Range(0, 3).Select(worker => ranges.First(worker, 10)));
        Assert.Equal(3, ranges.Take(1));
        Assert.Equal(4, ranges.Take(1));
        Assert.Equal(5, ranges.Take(1));
        Assert.Equal(9, ranges.Take(1));
        Assert.Equal(2, ranges.Take(1)); // three are left of the first range and three of the last
        Assert.Equal(8, ranges.Take(1));
        Assert.Equal(0, ranges.Take(0));
    }

    [Fact]
    public void OnlyTasksOfItsOwnRangeFollowEachOther()
    {
        TaskRanges ranges = new(2);
        ranges.Reset(8);
        Assert.True(ranges.IsFollowed(2, worker: 0));
        Assert.False(ranges.IsFollowed(3, worker: 0));
        Assert.False(ranges.IsFollowed(2, worker: 1));
        Assert.True(ranges.IsFollowed(4, worker: 1));
        Assert.False(ranges.IsFollowed(7, worker: 1));
    }
}
