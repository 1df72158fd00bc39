using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Engine;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

public sealed class BackendChoiceTests
{
    /// <summary>What another package needs: a backend that is not the CPU's own, asked for by the options, computes every product of the model.</summary>
    [Fact]
    public async Task AModelRunsOnTheBackendThatItsOptionsMake()
    {
        int products = 0;
        GemmaOptions? asked = null;
        Func<GemmaOptions, Backend> cpu = new GemmaOptions().CreateBackend;
        GemmaOptions options = new() { Threads = 1, Kernel = "reference" };
        options.CreateBackend = given =>
        {
            asked = given;
            return new FaultTests.FaultyBackend(cpu(given)) { BeforeProduct = (_, _) => Interlocked.Increment(ref products) };
        };
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, options);
        Assert.IsType<FaultTests.FaultyBackend>(model.Backend);
        Assert.Equal((1, "reference"), (asked!.Threads, asked.Kernel));
        Assert.Equal(("cpu/reference", 1), (model.KernelName, model.Threads));
        using GemmaChatClient client = new(model);
        await client.GetResponseAsync("Hello", new ChatOptions { MaxOutputTokens = 2 }, TestContext.Current.CancellationToken);
        Assert.True(products > 2 * model.Config.LayerCount, $"{products} products");
    }

    [Fact]
    public void ModelsThatRunOnDifferentBackendsAreNotShared()
    {
        GemmaOptions first = new(), second = new();
        Assert.True(first.LoadsLike(second));
        second.CreateBackend = _ => throw new NotSupportedException();
        Assert.False(first.LoadsLike(second));
    }
}
