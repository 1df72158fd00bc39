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
        var options = TinyEngine.Exact with { KvType = (GemmaKvCacheType)type };
        using var directory = new TempDirectory();
        string path = directory.File("prompt.cache");
        int[] system = TinyEngine.Prompt(1, length);
        int[] prompt = [.. system, .. TinyEngine.Prompt(2, 20)];
        float[][] expected;
        using (var first = new TinyEngine(options))
        {
            expected = first.Logits(prompt, prompt.Length - 1);
            await first.Engine.SavePromptCacheAsync(path, system);
            EngineTests.AssertNothingHeld(first);
        }

        using var second = new TinyEngine(options);
        Assert.Equal(length, await second.Engine.LoadPromptCacheAsync(path));
        EngineTests.AssertNothingHeld(second);
        var logits = second.Logits(prompt, out int cached, prompt.Length - 1);
        Assert.Equal(length, cached);
        Assert.InRange(Difference.Largest(expected, logits), 0, 1e-4f);
    }

    [Fact]
    public async Task OtherModelsAndTypesAreRefused()
    {
        using var directory = new TempDirectory();
        string path = directory.File("prompt.cache");
        using (var first = new TinyEngine())
        {
            await first.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(1, 40));
        }

        using var otherModel = new TinyEngine(path: TestData.Local("gguf/tiny-Q8_0.gguf"));
        var exception = await Assert.ThrowsAsync<GemmaModelFormatException>(() => otherModel.Engine.LoadPromptCacheAsync(path));
        Assert.Contains("another model", exception.Message);
        using var otherType = new TinyEngine(TinyEngine.Exact with { KvType = GemmaKvCacheType.F16 });
        exception = await Assert.ThrowsAsync<GemmaModelFormatException>(() => otherType.Engine.LoadPromptCacheAsync(path));
        Assert.Contains("another type", exception.Message);
    }

    [Fact]
    public async Task DamagedFilesAreRefusedAndNothingIsLoaded()
    {
        using var directory = new TempDirectory();
        string path = directory.File("prompt.cache");
        using var tiny = new TinyEngine();
        await tiny.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(1, 40));
        byte[] good = File.ReadAllBytes(path);
        var random = new Random(1);
        using var target = new TinyEngine();
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
        using var directory = new TempDirectory();
        string path = directory.File("prompt.cache");
        using (var first = new TinyEngine(EngineTests.Small(blocks: 100)))
        {
            await first.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(1, 300));
        }

        using var second = new TinyEngine(EngineTests.Small(blocks: 12));
        await Assert.ThrowsAsync<GemmaKvCacheException>(() => second.Engine.LoadPromptCacheAsync(path));
        EngineTests.AssertNothingHeld(second);
    }

    [Fact]
    public async Task WithoutAPrefixCacheNothingIsSavedOrLoaded()
    {
        using var directory = new TempDirectory();
        string path = directory.File("prompt.cache");
        using var tiny = new TinyEngine(TinyEngine.Exact with { PrefixCache = false });
        await Assert.ThrowsAsync<InvalidOperationException>(() => tiny.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(1, 40)));
        using (var first = new TinyEngine())
        {
            await first.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(1, 40));
        }

        await Assert.ThrowsAsync<InvalidOperationException>(() => tiny.Engine.LoadPromptCacheAsync(path));
    }

    [Fact]
    public async Task ManySavesOfOneFileLeaveOneThatIsWhole()
    {
        using var directory = new TempDirectory();
        string path = directory.File("prompt.cache");
        using var tiny = new TinyEngine();
        await Task.WhenAll(Enumerable.Range(0, 8).Select(i => tiny.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(i, 100 + i))));
        Assert.Equal([path], Directory.GetFiles(directory.Path));
        using var second = new TinyEngine();
        Assert.InRange(await second.Engine.LoadPromptCacheAsync(path), 100, 107);
    }

    [Fact]
    public async Task ASaveThatFailsLeavesNothing()
    {
        using var directory = new TempDirectory();
        Directory.CreateDirectory(directory.File("prompt.cache"));
        using var tiny = new TinyEngine();
        await Assert.ThrowsAnyAsync<SystemException>(() => tiny.Engine.SavePromptCacheAsync(directory.File("prompt.cache"), TinyEngine.Prompt(1, 40)));
        Assert.Empty(Directory.GetFiles(directory.Path));
        SpinWait.SpinUntil(() => tiny.Engine.Status.UsedBlocks == 0, TimeSpan.FromSeconds(10));
        EngineTests.AssertNothingHeld(tiny);
    }

    /// <summary>The file is written from the engine's memory, which must stay until it is: freed memory in between ended the process.</summary>
    [Fact]
    public async Task DisposingWhileAFileIsWrittenIsSafe()
    {
        using var directory = new TempDirectory();
        for (int i = 0; i < 20; i++)
        {
            string path = directory.File($"{i}.cache");
            var tiny = new TinyEngine();
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

        using var second = new TinyEngine();
        foreach (string path in Directory.GetFiles(directory.Path))
        {
            Assert.Equal(500, await second.Engine.LoadPromptCacheAsync(path));
        }
    }
}
