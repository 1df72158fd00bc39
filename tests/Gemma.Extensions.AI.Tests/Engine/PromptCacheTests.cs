using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Tests.Engine;

public sealed class PromptCacheTests
{
    [Theory]
    [InlineData(20, GemmaKvCacheType.F32)]
    [InlineData(64, GemmaKvCacheType.F32)]
    [InlineData(203, GemmaKvCacheType.F32)]
    [InlineData(203, GemmaKvCacheType.F16)]
    [InlineData(203, GemmaKvCacheType.Q8_0)]
    public async Task PromptIsWarmAfterARestart(int length, object type)
    {
        EngineOptions options = TinyEngine.Exact with { KvType = (GemmaKvCacheType)type };
        using TempDirectory directory = new();
        string path = directory.File("prompt.cache");
        int[] system = TinyEngine.Prompt(1, length);
        int[] prompt = [.. system, .. TinyEngine.Prompt(2, 20)];
        float[][] expected;
        using (TinyEngine first = new(options))
        {
            expected = first.Logits(prompt, prompt.Length - 1);
            await first.Engine.SavePromptCacheAsync(path, system);
            EngineTests.AssertNothingHeld(first);
        }

        using TinyEngine second = new(options);
        Assert.Equal(length, await second.Engine.LoadPromptCacheAsync(path));
        EngineTests.AssertNothingHeld(second);
        float[][] logits = second.Logits(prompt, out int cached, prompt.Length - 1);
        Assert.Equal(length, cached);
        Assert.InRange(Difference.Largest(expected, logits), 0, 1e-4f);
    }

    [Fact]
    public async Task OtherModelsAndTypesAreRefused()
    {
        using TempDirectory directory = new();
        string path = directory.File("prompt.cache");
        using (TinyEngine first = new())
        {
            await first.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(1, 40));
        }

        using TinyEngine otherModel = new(path: TestData.Local("gguf/tiny-Q8_0.gguf"));
        GemmaModelFormatException exception = await Assert.ThrowsAsync<GemmaModelFormatException>(() => otherModel.Engine.LoadPromptCacheAsync(path));
        Assert.Contains("another model", exception.Message);
        using TinyEngine otherType = new(TinyEngine.Exact with { KvType = GemmaKvCacheType.F16 });
        exception = await Assert.ThrowsAsync<GemmaModelFormatException>(() => otherType.Engine.LoadPromptCacheAsync(path));
        Assert.Contains("another type", exception.Message);
    }

    [Fact]
    public async Task DamagedFilesAreRefusedAndNothingIsLoaded()
    {
        using TempDirectory directory = new();
        string path = directory.File("prompt.cache");
        using TinyEngine tiny = new();
        await tiny.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(1, 40));
        byte[] good = File.ReadAllBytes(path);
        Random random = new(1);
        using TinyEngine target = new();
        for (int i = 0; i < 200; i++)
        {
            byte[] bad = (byte[])good.Clone();
            if (i % 4 == 0)
            {
                bad = bad[..random.Next(bad.Length)];
            }
            else
            {
                bad[i < 100 ? random.Next(100) : random.Next(bad.Length)] ^= (byte)random.Next(1, 256);
            }

            File.WriteAllBytes(path, bad);
            await Assert.ThrowsAsync<GemmaModelFormatException>(() => target.Engine.LoadPromptCacheAsync(path));
        }

        Assert.Equal(target.Engine.Status.Blocks, target.Engine.Status.FreeBlocks);
        File.WriteAllBytes(path, good);
        Assert.Equal(40, await target.Engine.LoadPromptCacheAsync(path));
    }

    [Fact]
    public async Task PromptThatDoesNotFitIsRefused()
    {
        using TempDirectory directory = new();
        string path = directory.File("prompt.cache");
        using (TinyEngine first = new(EngineTests.Small(blocks: 100)))
        {
            await first.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(1, 300));
        }

        using TinyEngine second = new(EngineTests.Small(blocks: 12));
        await Assert.ThrowsAsync<GemmaKvCacheException>(() => second.Engine.LoadPromptCacheAsync(path));
        EngineTests.AssertNothingHeld(second);
    }

    [Fact]
    public async Task WithoutAPrefixCacheNothingIsSavedOrLoaded()
    {
        using TempDirectory directory = new();
        string path = directory.File("prompt.cache");
        using TinyEngine tiny = new(TinyEngine.Exact with { PrefixCache = false });
        await Assert.ThrowsAsync<InvalidOperationException>(() => tiny.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(1, 40)));
        using (TinyEngine first = new())
        {
            await first.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(1, 40));
        }

        await Assert.ThrowsAsync<InvalidOperationException>(() => tiny.Engine.LoadPromptCacheAsync(path));
    }

    [Fact]
    public async Task ManySavesOfOneFileLeaveOneThatIsWhole()
    {
        using TempDirectory directory = new();
        string path = directory.File("prompt.cache");
        using TinyEngine tiny = new();
        await Task.WhenAll(Enumerable.Range(0, 8).Select(i => tiny.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(i, 100 + i))));
        Assert.Equal([path], Directory.GetFiles(directory.Path));
        using TinyEngine second = new();
        Assert.InRange(await second.Engine.LoadPromptCacheAsync(path), 100, 107);
    }

    [Fact]
    public async Task ASaveThatFailsLeavesNothing()
    {
        using TempDirectory directory = new();
        Directory.CreateDirectory(directory.File("prompt.cache"));
        using TinyEngine tiny = new();
        await Assert.ThrowsAnyAsync<SystemException>(() => tiny.Engine.SavePromptCacheAsync(directory.File("prompt.cache"), TinyEngine.Prompt(1, 40)));
        Assert.Empty(Directory.GetFiles(directory.Path));
        Eventually.IsTrue(() => tiny.Engine.Status.UsedBlocks == 0);
        EngineTests.AssertNothingHeld(tiny);
    }

    /// <summary>The file is written from the engine's memory, which must stay until it is: freed memory in between ended the process.</summary>
    [Fact]
    public async Task DisposingWhileAFileIsWrittenIsSafe()
    {
        using TempDirectory directory = new();
        for (int i = 0; i < 20; i++)
        {
            string path = directory.File($"{i}.cache");
            TinyEngine tiny = new();
            int[] prompt = TinyEngine.Prompt(i, 500);
            await tiny.Engine.EvaluateAsync(prompt, Gemma.Extensions.AI.Engine.NoRows.Instance);
            Task saving = tiny.Engine.SavePromptCacheAsync(path, prompt);
            await Task.Delay(i % 10);
            tiny.Dispose();
            try
            {
                await saving;
                Assert.True(File.Exists(path));
            }
            catch (ObjectDisposedException)
            {
                Assert.False(File.Exists(path));
            }
        }

        using TinyEngine second = new();
        foreach (string path in Directory.GetFiles(directory.Path))
        {
            Assert.Equal(500, await second.Engine.LoadPromptCacheAsync(path));
        }
    }
}
