namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

public sealed class KernelTests
{
    [Fact]
    public void TheTextIsMadeOfTheseSources() => Assert.Equal(KernelText.FirstLine, KernelText.Ptx.Split('\n')[0].TrimEnd());

    /// <summary>Writes the text: see <see cref="KernelText"/>.</summary>
    [Fact(Explicit = true)]
    public void CompileKernels() =>
        File.WriteAllText(Path.Combine(KernelText.Folder, "gemma.ptx"), KernelText.Compile(Environment.GetEnvironmentVariable("NVRTC") ?? "libnvrtc.so.11.2"));
}
