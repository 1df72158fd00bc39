using System.Text.Json;
using Gemma.Extensions.AI.Cli;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cli;

public sealed class ConversionCommandTests : IDisposable
{
    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    [Fact]
    public async Task ConvertImatrixQuantizeCompareInspect()
    {
        string text = _temp.File("text.txt"), full = _temp.File("full.gguf"), small = _temp.File("small.gguf"), matrix = _temp.File("i.gguf");
        File.WriteAllText(text, string.Concat(Enumerable.Range(0, 60).Select(i => $"Line {i} of a text about the sea, the land and {i * i} other things.\n")));
        Assert.Contains("BF16", await Run("convert", TestData.Local("tiny"), "--output", full), StringComparison.Ordinal);
        Assert.Contains("29 matrices", await Run("imatrix", "--model", full, "--file", text, "--output", matrix, "--context", "128", "--windows", "4"), StringComparison.Ordinal);
        Assert.Contains("Q4_K_M", await Run("quantize", full, "--type", "q4_k_m", "--imatrix", matrix, "--output", small), StringComparison.Ordinal);
        JsonElement comparison = JsonDocument.Parse(await Run("compare", full, small, "--file", text, "--context", "128", "--windows", "3", "--json")).RootElement;
        Assert.Equal(3 * 127, comparison.GetProperty("tokens").GetInt32());
        Assert.InRange(comparison.GetProperty("mean_kl").GetDouble(), 0.01, 1);
        Assert.InRange(comparison.GetProperty("top1_agreement").GetDouble(), 0.1, 1);
        Assert.Contains("same first choice", await Run("compare", full, full, "--file", text, "--context", "64", "--windows", "1"), StringComparison.Ordinal);
        Assert.Contains("Q4_K", await Run("inspect", small), StringComparison.Ordinal);
        JsonElement memory = JsonDocument.Parse(await Run("inspect", small, "--json")).RootElement.GetProperty("context_memory");
        Assert.True(memory.GetProperty("fits").GetBoolean());
        Assert.True(memory.GetProperty("needed_bytes").GetInt64() > new FileInfo(small).Length);
    }

    [Fact]
    public async Task MistakesAreOneClearLine()
    {
        Assert.Contains("There is no type 'q9'", await Fail("quantize", TestData.Local("gguf/tiny-Q8_0.gguf"), "--type", "q9", "--output", _temp.File("x")), StringComparison.Ordinal);
        Assert.Contains("no importance matrix", await Fail("quantize", TestData.Local("tiny"), "--type", "q4_0", "--imatrix", TestData.Local("gguf/tiny-Q8_0.gguf"), "--output", _temp.File("x")), StringComparison.Ordinal);
        Assert.Contains("the model that is being read", await Fail("quantize", TestData.Local("gguf/tiny-Q8_0.gguf"), "--type", "q4_0", "--output", TestData.Local("gguf/tiny-Q8_0.gguf")), StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(_temp.Path));
    }

    [Fact]
    public async Task OutputsThatCannotBeWrittenAreNoticedBeforeTheWork()
    {
        string text = _temp.File("text.txt"), folder = Directory.CreateDirectory(_temp.File("folder")).FullName;
        File.WriteAllText(text, "Some words to read.");
        Assert.Contains("is a directory", await Fail("convert", TestData.Local("tiny"), "--output", folder), StringComparison.Ordinal);
        Assert.Contains("is a directory", await Fail("imatrix", "--model", TestData.Local("tiny"), "--file", text, "--output", folder), StringComparison.Ordinal);
        Assert.Contains(_temp.File("nowhere"), await Fail("imatrix", "--model", TestData.Local("tiny"), "--file", text, "--output", _temp.File("nowhere/i.gguf")), StringComparison.Ordinal);
        Assert.Contains("--windows is 0", await Fail("imatrix", "--model", TestData.Local("tiny"), "--file", text, "--output", _temp.File("i.gguf"), "--windows", "0"), StringComparison.Ordinal);
        Assert.Equal([text], Directory.GetFiles(_temp.Path));
        Assert.Empty(Directory.GetFileSystemEntries(folder));
    }

    [Fact]
    public async Task VocabulariesThatDifferInATokenAreNotCompared()
    {
        string text = _temp.File("text.txt"), full = _temp.File("full.gguf"), other = _temp.File("other.gguf");
        File.WriteAllText(text, "Some words to read.");
        await Run("convert", TestData.Local("tiny"), "--output", full);
        byte[] bytes = File.ReadAllBytes(full);
        bytes[bytes.AsSpan().IndexOf("\u2581the"u8) + 3] = (byte)'~';
        File.WriteAllBytes(other, bytes);
        Assert.Contains("'\u2581the' in 'full' and '\u2581~he' in 'other'", await Fail("compare", full, other, "--file", text), StringComparison.Ordinal);
    }

    private static async Task<string> Run(params string[] args)
    {
        (int code, string output, string error) = await Invoke(args);
        Assert.True(code == 0, error);
        return output;
    }

    private static async Task<string> Fail(params string[] args)
    {
        (int code, _, string error) = await Invoke(args);
        Assert.Equal(1, code);
        return error;
    }

    private static async Task<(int Code, string Output, string Error)> Invoke(string[] args)
    {
        using Interrupts interrupts = new();
        (StringWriter output, StringWriter error) = (new StringWriter(), new StringWriter());
        int code = await GemmaCli.RunAsync(args, new CliInvocation(interrupts) { Output = output, Error = error, IsInteractive = false });
        return (code, output.ToString(), error.ToString());
    }
}
