using Gemma.Extensions.AI.Backends.Cuda;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

public sealed class KernelTests
{
    public static TheoryData<string> Kernels => new(KernelText.Ptx.Split('\n').Where(line => line.StartsWith(".visible .entry", StringComparison.Ordinal)).Select(line => line.Split(' ')[2].TrimEnd('(')));

    [Fact]
    public void TheTextIsMadeOfTheseSources() => Assert.Equal(KernelText.FirstLine, KernelText.Ptx.Split('\n')[0].TrimEnd());

    [Theory, MemberData(nameof(Kernels))]
    public void EveryKernelAgrees(string kernel)
    {
        int launches = 0;
        foreach (Action<Gemma.Extensions.AI.Backends.Backend> check in KernelChecks.Of(kernel))
        {
            InterpretedGpu gpu = new();
            using CudaBackend backend = gpu.CreateBackend();
            check(backend);
            launches += gpu.Launches.GetValueOrDefault(kernel);
        }

        Assert.True(launches > 0);
    }

    /// <summary>
    /// Takes instructions away, GEMMA_MUTANTS of each kernel, and writes to the file GEMMA_MUTATIONS which of them the checks see:
    /// <c>Gemma.Extensions.AI.Tests -explicit only -method '*.TakeInstructionsAway'</c>.
    /// </summary>
    [Fact(Explicit = true)]
    public void TakeInstructionsAway() => File.WriteAllText(
        Environment.GetEnvironmentVariable("GEMMA_MUTATIONS") ?? "mutations.txt",
        Mutations.Run(int.Parse(Environment.GetEnvironmentVariable("GEMMA_MUTANTS") ?? "12", System.Globalization.CultureInfo.InvariantCulture)));

    /// <summary>Writes the text: see <see cref="KernelText"/>.</summary>
    [Fact(Explicit = true)]
    public void CompileKernels() =>
        File.WriteAllText(Path.Combine(KernelText.Folder, "gemma.ptx"), KernelText.Compile(Environment.GetEnvironmentVariable("NVRTC") ?? "libnvrtc.so.11.2"));
}
