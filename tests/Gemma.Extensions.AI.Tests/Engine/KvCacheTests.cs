using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Tests.Engine;

public sealed class KvCacheTests
{
    private const int BlockTokens = 16;
    private const int Window = 16;

    /// <summary>
    /// Behind 47 tokens the window begins a block later than behind 32: the copy of the last 15 makes a hit usable that is not without them. Where there is no
    /// memory for the copy, nothing may be adopted of which a part that the next token sees is gone.
    /// </summary>
    [Theory]
    [InlineData(6, 0)]
    [InlineData(8, 47)]
    public void AHitHasEveryBlockThatTheNextTokenSees(int blocks, int expected)
    {
        using CpuBackend backend = CpuBackend.Create(new CpuBackendOptions { Kernel = "reference", Threads = 1 });
        using KvCache cache = new(backend.CreateKvPool(new KvLayout(2, 2, 64, BlockTokens, GemmaKvCacheType.F32), blocks), Window, keepPrefixes: true);
        int[] tokens = TinyEngine.Prompt(1, 60);
        BlockTable first = BlockTable.For(47, BlockTokens);
        Assert.True(cache.TryHold(first, 47));
        cache.Commit(first, tokens.AsSpan(0, 47));
        cache.Release(first, tokens);

        // Takes what is free and the local blocks behind the window, which were used the longest ago.
        BlockTable other = BlockTable.For(40, BlockTokens);
        Assert.True(cache.TryHold(other, BlockTokens));

        BlockTable second = BlockTable.For(60, BlockTokens);
        cache.Extend(second, tokens, 59);
        Assert.Equal(expected, second.Computed);
        for (int i = Math.Max(0, second.Computed - Window + 1) / BlockTokens; i < second.Held; i++)
        {
            Assert.True(second.Local[i] >= 0 && second.Global[i] >= 0);
        }

        cache.Release(second, tokens);
        cache.Release(other, TinyEngine.Prompt(2, 40));
        Assert.Equal(blocks, cache.Blocks.AvailableCount);
    }
}
