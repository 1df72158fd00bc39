using System.Globalization;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Model;
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

    /// <summary>The weights of nano that lie in private memory are interleaved for the tier and protected again; the file is still the same model.</summary>
    [Fact]
    public async Task RowsAreInterleavedAndTheModelIsTheSame()
    {
        Assert.SkipWhen(HugePages.Unsupported() is not null, $"No huge pages: {HugePages.Unsupported()}.");
        Assert.SkipWhen(JitMatMulKernels.Unsupported() is not null, JitMatMulKernels.Unsupported() ?? "");
        using ModelFile file = ModelFile.Open(ModelAliases.Find("nano", out _)!), other = ModelFile.Open(file.Path);
        byte[] fingerprint = GemmaWeights.FingerprintOf(other);
        file.MoveToHugePages(TestContext.Current.CancellationToken);
        Assert.Throws<OperationCanceledException>(() => file.Interleave(_ => true, new CancellationToken(canceled: true)));
        Assert.DoesNotContain(file.Tensors.Values, tensor => tensor.IsInterleaved);
        using CpuBackend backend = CpuBackend.Create();
        long bytes = file.Interleave(backend.CanInterleave, TestContext.Current.CancellationToken);
        TensorView[] interleaved = [.. file.Tensors.Values.Where(tensor => tensor.IsInterleaved)];
        Assert.NotEmpty(interleaved);
        Assert.Equal(bytes, interleaved.Sum(tensor => tensor.ByteLength));
        Assert.Equal(0, file.Interleave(backend.CanInterleave, TestContext.Current.CancellationToken));
        Assert.Equal(fingerprint, GemmaWeights.FingerprintOf(file));
        Assert.All(interleaved, tensor => Assert.StartsWith("r--", PermissionsOf(tensor), StringComparison.Ordinal));

        (string answer, LogLines log) = await AnswerAsync(options => options.HugePages = true);
        Assert.Contains(log.At(LogLevel.Information), line => line.Contains("were interleaved, 16 rows each", StringComparison.Ordinal));
        Assert.NotEmpty(answer);
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

    /// <summary>What the system lets the process do with a tensor's memory: r, w, x and p, each or a hyphen.</summary>
    private static unsafe string PermissionsOf(TensorView tensor)
    {
        ulong address = (ulong)tensor.Data;
        foreach (string line in File.ReadLines("/proc/self/maps"))
        {
            string[] range = line[..line.IndexOf(' ', StringComparison.Ordinal)].Split('-');
            if (address >= ulong.Parse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture) && address < ulong.Parse(range[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture))
            {
                return line[(line.IndexOf(' ', StringComparison.Ordinal) + 1)..];
            }
        }

        return "";
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
