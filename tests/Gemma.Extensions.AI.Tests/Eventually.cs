using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Gemma.Extensions.AI.Tests;

/// <summary>Waits for the work of another thread or process. The limit only keeps a failing test from hanging; it is far more than a busy machine needs.</summary>
internal static class Eventually
{
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(2);

    public static Task IsTrueAsync(Func<bool> condition, [CallerArgumentExpression(nameof(condition))] string what = "") => IsTrueAsync(() => Task.FromResult(condition()), what);

    public static async Task IsTrueAsync(Func<Task<bool>> condition, [CallerArgumentExpression(nameof(condition))] string what = "")
    {
        long start = Stopwatch.GetTimestamp();
        while (!await condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < s_limit, $"Not within {s_limit.TotalMinutes} minutes: {what}");
            await Task.Delay(10);
        }
    }

    /// <summary>The same for tests that block.</summary>
    public static void IsTrue(Func<bool> condition, [CallerArgumentExpression(nameof(condition))] string what = "") =>
        Assert.True(SpinWait.SpinUntil(condition, s_limit), $"Not within {s_limit.TotalMinutes} minutes: {what}");
}
