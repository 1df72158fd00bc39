using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Tests.Engine;

public sealed class PromptCacheTests
{
    [Theory]
    [InlineData(20)]
    [InlineData(64)]
    [InlineData(203)]
    public async Task PromptIsWarmAfterARestart(int length)
    {
        using var directory = new TempDirectory();
        string path = directory.File("prompt.cache");
        int[] system = TinyEngine.Prompt(1, length);
        int[] prompt = [.. system, .. TinyEngine.Prompt(2, 20)];
        float[][] expected;
        using (var first = new TinyEngine())
        {
            expected = first.Logits(prompt, prompt.Length - 1);
            await first.Engine.SavePromptCacheAsync(path, system);
            EngineTests.AssertNothingHeld(first);
        }

        using var second = new TinyEngine();
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
        using var otherType = new TinyEngine(TinyEngine.Exact with { KvType = KvType.F16 });
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
}
