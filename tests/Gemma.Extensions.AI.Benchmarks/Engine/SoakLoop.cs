namespace Gemma.Extensions.AI.Benchmarks.Engine;

/// <summary>The memory of the process while a soak runs.</summary>
/// <param name="Samples">Requests so far, bytes on the managed heap and resident bytes; in the order of the requests.</param>
internal sealed record SoakMemory(IReadOnlyList<(int Requests, long Managed, long Resident)> Samples)
{
    private const long Noise = 1_000_000;

    /// <summary>Bytes on the managed heap at the end that were not there half-way.</summary>
    public long Growth => Samples[^1].Managed - Samples[Samples.Count / 2].Managed;

    /// <summary>Whether it does not grow with the requests.</summary>
    public bool IsFlat => Growth < Noise;
}

/// <summary>Many requests, many at a time.</summary>
internal static class SoakLoop
{
    /// <summary>Runs requests and looks at the memory ten times.</summary>
    /// <param name="requests">Requests in total.</param>
    /// <param name="concurrent">Requests at a time.</param>
    /// <param name="request">One request: what its worker draws by, and its number from 1.</param>
    public static async Task<SoakMemory> RunAsync(int requests, int concurrent, Func<Random, int, Task> request)
    {
        int started = 0;
        List<(int Requests, long Managed, long Resident)> samples = [];
        await Task.WhenAll(Enumerable.Range(0, concurrent).Select(worker => Task.Run(async () =>
        {
            Random random = new(worker);
            while (Interlocked.Increment(ref started) is int number && number <= requests)
            {
                if (number % Math.Max(1, requests / 10) == 0)
                {
                    lock (samples)
                    {
                        samples.Add((number, GC.GetTotalMemory(forceFullCollection: true), Environment.WorkingSet));
                    }
                }

                await request(random, number);
            }
        })));
        return new([.. samples.OrderBy(static sample => sample.Requests)]);
    }
}
