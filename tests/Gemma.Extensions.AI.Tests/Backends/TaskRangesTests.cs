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
            Parallel.For(0, workers, worker =>
            {
                while (ranges.TryTake(worker, out int first, out int end))
                {
                    for (int task = first; task < end; task++)
                    {
                        Interlocked.Increment(ref taken[task]);
                    }
                }
            });
            Assert.All(taken, count => Assert.Equal(1, count));
        }
    }

    [Fact]
    public void OneWorkerThatComesAloneTakesThemAll()
    {
        TaskRanges ranges = new(3);
        ranges.Reset(10);
        Assert.Equal(Enumerable.Range(0, 10), All(ranges, worker: 2).SelectMany(taken => Enumerable.Range(taken.First, taken.End - taken.First)).Order());
        Assert.Empty(All(ranges, worker: 0));
    }

    [Fact]
    public void AWorkerTakesItsOwnFromTheFrontAndThenFromTheBackOfTheLongest()
    {
        TaskRanges ranges = new(3);
        ranges.Reset(10); // 0 to 2, 3 to 5, 6 to 9
        Assert.Equal([0, 3, 6], Enumerable.Range(0, 3).Select(worker => ranges.First(worker, 10)));
        Assert.Equal([3, 4, 5, 9, 2, 8], Enumerable.Range(0, 6).Select(_ => One(ranges, worker: 1))); // after 9 three are left of the first range and three of the last
        Assert.Equal(0, One(ranges, worker: 0));
    }

    [Fact]
    public void AnEighthOfWhatIsLeftIsTakenAtOnceAndInTheEndOneTask()
    {
        TaskRanges ranges = new(2);
        ranges.Reset(128);
        (int First, int End)[] taken = All(ranges, worker: 0);
        Assert.Equal([(0, 8), (8, 15), (15, 21)], taken[..3]); // of 64, 56 and 49
        int other = Array.FindIndex(taken, t => t.First >= 64);
        Assert.Equal((63, 64), taken[other - 1]);
        Assert.Equal((120, 128), taken[other]);
        Assert.Equal((64, 65), taken[^1]);
    }

    [Fact]
    public void OnlyTasksOfItsOwnRangeFollowEachOther()
    {
        TaskRanges ranges = new(2);
        ranges.Reset(8);
        Assert.True(ranges.IsFollowed(3, worker: 0));
        Assert.False(ranges.IsFollowed(4, worker: 0));
        Assert.False(ranges.IsFollowed(3, worker: 1));
        Assert.True(ranges.IsFollowed(5, worker: 1));
        Assert.False(ranges.IsFollowed(8, worker: 1));
    }

    private static int One(TaskRanges ranges, int worker)
    {
        Assert.True(ranges.TryTake(worker, out int first, out int end));
        Assert.Equal(first + 1, end);
        return first;
    }

    private static (int First, int End)[] All(TaskRanges ranges, int worker)
    {
        List<(int, int)> all = new();
        while (ranges.TryTake(worker, out int first, out int end))
        {
            all.Add((first, end));
        }

        return [.. all];
    }
}
