using System.Diagnostics;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Cli.Diagnosis;

/// <summary>Measures how fast all cores together read memory, which bounds how fast tokens are generated.</summary>
internal static unsafe class MemoryBandwidth
{
    /// <summary>More than the caches of a processor hold.</summary>
    private const long LeastBytes = 512L << 20;

    private const int Passes = 3;

    /// <summary>Bytes a second, the best of some passes; null where too little memory is free to tell.</summary>
    /// <param name="threads">Threads that read.</param>
    /// <param name="freeBytes">Memory that nobody holds.</param>
    public static double? Measure(int threads, long freeBytes)
    {
        nuint share = (nuint)(LeastBytes / threads / 4096 * 4096);
        if (freeBytes < 2 * LeastBytes)
        {
            return null;
        }

        byte*[] memory = [.. new byte*[threads]];
        try
        {
            for (int i = 0; i < threads; i++)
            {
                memory[i] = (byte*)NativeMemory.Alloc(share);
            }

            Run(threads, i => NativeMemory.Fill(memory[i], share, 1)); // the system gives pages when they are written
            double best = 0;
            for (int pass = 0; pass < Passes; pass++)
            {
                long start = Stopwatch.GetTimestamp(), sum = 0;
                Run(threads, i => Interlocked.Add(ref sum, Sum(new ReadOnlySpan<long>(memory[i], (int)(share / sizeof(long))))));
                best = Math.Max(best, threads * (double)share / Stopwatch.GetElapsedTime(start).TotalSeconds);
            }

            return best;
        }
        finally
        {
            foreach (byte* part in memory)
            {
                NativeMemory.Free(part);
            }
        }
    }

    private static void Run(int threads, Action<int> work)
    {
        Thread[] all = [.. Enumerable.Range(0, threads).Select(i => new Thread(() => work(i)))];
        Array.ForEach(all, thread => thread.Start());
        Array.ForEach(all, thread => thread.Join());
    }

    private static long Sum(ReadOnlySpan<long> values)
    {
        ReadOnlySpan<Vector<long>> vectors = MemoryMarshal.Cast<long, Vector<long>>(values);
        Vector<long> a = default, b = default, c = default, d = default;
        for (int i = 0; i + 3 < vectors.Length; i += 4)
        {
            a += vectors[i];
            b += vectors[i + 1];
            c += vectors[i + 2];
            d += vectors[i + 3];
        }

        return Vector.Sum(a + b + c + d);
    }
}
