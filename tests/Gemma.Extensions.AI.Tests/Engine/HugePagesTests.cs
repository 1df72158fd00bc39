using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Tests.Server;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Engine;

public sealed class HugePagesTests
{
    [Fact]
    public async Task AnswersAreTheSameAndTheLogSaysHowMuchWasMoved()
    {
        Assert.SkipWhen(HugePages.Unsupported() is not null, $"No huge pages: {HugePages.Unsupported()}.");
        (string mapped, _) = await AnswerAsync(_ => { });
        (string moved, LogLines log) = await AnswerAsync(options => options.HugePages = true);
        Assert.Equal(mapped, moved);
        Assert.Contains(log.At(LogLevel.Information), line => line.Contains("were moved to private memory", StringComparison.Ordinal) && !line.StartsWith("0 of", StringComparison.Ordinal));
    }

    /// <summary>A model that guesses ahead is read as often as the other.</summary>
    [Fact]
    public async Task TheWeightsOfADraftModelAreMovedToo()
    {
        Assert.SkipWhen(HugePages.Unsupported() is not null, $"No huge pages: {HugePages.Unsupported()}.");
        (_, LogLines log) = await AnswerAsync(options => (options.HugePages, options.DraftModelPath) = (true, "nano"));
        Assert.Equal(2, log.At(LogLevel.Information).Count(line => line.Contains("were moved to private memory", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task WhereWeightsStayMappedTheLogSaysWhy()
    {
        (_, LogLines log) = await AnswerAsync(options => (options.HugePages, options.Device) = (true, "auto"));
        Assert.Contains(log.At(LogLevel.Warning), line => line.Contains("HugePages is set, but", StringComparison.Ordinal) && line.Contains("the device is auto, not cpu", StringComparison.Ordinal));
    }

    private static async Task<(string Answer, LogLines Log)> AnswerAsync(Action<GemmaOptions> configure)
    {
        LogLines log = new();
        ServiceCollection services = new();
        services.AddLogging(logging => logging.SetMinimumLevel(LogLevel.Trace).AddProvider(log));
        services.AddGemmaChatClient("nano", configure);
        await using ServiceProvider provider = services.BuildServiceProvider();
        ChatResponse response = await provider.GetRequiredService<IChatClient>().GetResponseAsync(
            "Hello, who are you?", new ChatOptions { Temperature = 0, MaxOutputTokens = 32 }, TestContext.Current.CancellationToken);
        return (response.Text, log);
    }
}
