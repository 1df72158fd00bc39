namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>Runs a kernel over a grid.</summary>
internal static class PtxLaunch
{
    /// <summary>Instructions of one warp after which a kernel counts as endless.</summary>
    public const long DefaultLimit = 50_000_000;

    /// <returns>Instructions of warps that were carried out.</returns>
    /// <exception cref="PtxException">The kernel does what no kernel may; the message says where.</exception>
    public static long Run(PtxKernel kernel, PtxMemory memory, byte[] parameters, (uint X, uint Y, uint Z) grid, int threads, long limit = DefaultLimit, int parallelism = 2)
    {
        if (threads < 1 || threads > kernel.MaxThreads || grid.X == 0 || grid.Y == 0 || grid.Z == 0 || grid.Y > 65535 || grid.Z > 65535)
        {
            throw new PtxException($"{kernel.Name} cannot be started on {grid} blocks of {threads} threads.");
        }

        long steps = 0, blocks = (long)grid.X * grid.Y * grid.Z;
        if (blocks == 1 || parallelism == 1)
        {
            for (long i = 0; i < blocks; i++)
            {
                steps += RunBlock(kernel, memory, parameters, grid, threads, i, limit);
            }

            return steps;
        }

        try
        {
            Parallel.For(0L, blocks, new ParallelOptions { MaxDegreeOfParallelism = parallelism }, i => Interlocked.Add(ref steps, RunBlock(kernel, memory, parameters, grid, threads, i, limit)));
        }
        catch (AggregateException exception)
        {
            throw exception.InnerExceptions[0];
        }

        return steps;
    }

    private static long RunBlock(PtxKernel kernel, PtxMemory memory, byte[] parameters, (uint X, uint Y, uint Z) grid, int threads, long index, long limit)
    {
        using PtxBlock block = new(
            kernel, parameters, ((uint)(index % grid.X), (uint)(index / grid.X % grid.Y), (uint)(index / grid.X / grid.Y)), grid, threads);
        PtxWarp[] warps = new PtxWarp[(threads + 31) / 32];
        try
        {
            for (int i = 0; i < warps.Length; i++)
            {
                warps[i] = new PtxWarp(kernel, block, memory, 32 * i, threads);
            }

            // Warps take turns of random length, so that a missing barrier shows.
            Random random = new((int)index);
            while (Array.Exists(warps, warp => warp.Alive != 0))
            {
                foreach (PtxWarp warp in warps)
                {
                    warp.Run(warps.Length == 1 ? int.MaxValue : 16 << random.Next(6), limit);
                }

                if (Array.TrueForAll(warps, warp => warp.AtBarrier || warp.Alive == 0))
                {
                    block.NextEpoch();
                    Array.ForEach(warps, warp => warp.AtBarrier = false);
                }
            }

            return warps.Sum(warp => warp.Steps);
        }
        finally
        {
            Array.ForEach(warps, warp => warp?.Dispose());
        }
    }
}
