using System.Diagnostics;
using System.Text;
using Gemma.Extensions.AI.Benchmarks;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Text;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Files;

/// <summary>
/// Mutated valid files, 140,000 of them with fixed seeds: every reader of untrusted bytes either accepts them or throws
/// <see cref="GemmaModelFormatException"/>, in bounded time and memory.
/// </summary>
public sealed unsafe class FuzzTests(ITestOutputHelper output)
{
    /// <summary>Longest time that one mutation may take. They take well under a millisecond; a hang is what this finds.</summary>
    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(10);

    [Fact]
    public void GgufFiles() => Mutate(SyntheticModel.Gguf(matrixFormat: BlockFormat.Get(TensorType.Q4_0)).ToBytes(), 50_000, seed: 1, headerBytes: 11_000, (data, length) =>
    {
        using GgufFile file = GgufFile.Parse(data, length, "fuzz.gguf");
        CheckRange(file.Tensors.Values, data, length);
        using GgufModelFile model = new(file);
        ScaleCheck.Run(model.Tensors.Values, CancellationToken.None);
        Assert.NotNull(model.Name);
        foreach (string key in file.Metadata.Values.Keys)
        {
            Assert.Equal(file.Metadata.Values[key].ByteLength, file.Metadata.RawValue(key).Length);
        }
    });

    [Fact]
    public void GgufVocabularies() => Mutate(SyntheticModel.Gguf((_, shape) => shape.Length == 1 ? shape : null).ToBytes(), 15_000, seed: 2, headerBytes: 10_000, (data, length) =>
    {
        using GgufFile file = GgufFile.Parse(data, length, "fuzz.gguf");
        Use(GgufTokenizer.Create(file.Metadata));
    });

    [Fact]
    public void SafetensorsFiles()
    {
        using TempDirectory temp = new();
        SyntheticModel.WriteHuggingFace(temp.Path);
        byte[] bytes = File.ReadAllBytes(temp.File("model.safetensors"));
        Mutate(bytes, 30_000, seed: 4, headerBytes: 1600, Read);

        static void Read(byte* data, long length)
        {
            using SafetensorsFile file = SafetensorsFile.Parse(data, length, "fuzz.safetensors");
            foreach (SafetensorsTensor tensor in file.Tensors.Values)
            {
                Assert.Equal(tensor.ByteLength, file.Bytes(tensor.Name).Length);
                if (tensor.DType is "BF16" or "F16" or "F32")
                {
                    CheckRange([file.View(tensor.Name, tensor.Name)], data, length);
                    Assert.Equal(tensor.ElementCount, file.ReadSingles(tensor.Name).Length);
                }
            }
        }
    }

    [Fact]
    public void Configurations() => Mutate(File.ReadAllBytes(TestData.Local("tiny/config.json")), 20_000, seed: 5, headerBytes: 650, (data, length) =>
    {
        using JsonFile config = JsonFile.Parse(new ReadOnlySpan<byte>(data, (int)length).ToArray(), "config.json");
        Assert.True(HuggingFaceConfig.Read(config).LayerCount > 0);
    });

    [Fact]
    public void SentencePieceModels() => Mutate(File.ReadAllBytes(TestData.Local("tiny/tokenizer.model")), 15_000, seed: 6, headerBytes: 15_000,
        (data, length) => Use(GemmaTokenizer.FromSentencePiece(new ReadOnlySpan<byte>(data, (int)length), "tokenizer.model")));

    [Fact]
    public void TokenizerJsonFiles() => Mutate(File.ReadAllBytes(TestData.Local("tiny/tokenizer.json")), 10_000, seed: 7, headerBytes: 32_000,
        (data, length) => Use(GemmaTokenizer.FromTokenizerJson(new ReadOnlySpan<byte>(data, (int)length), "tokenizer.json")));

    private void Mutate(byte[] valid, int count, int seed, int headerBytes, Reader read)
    {
        Random random = new(seed);
        int accepted = 0;
        Stopwatch watch = Stopwatch.StartNew();
        long most = 0;
        for (int i = 0; i < count; i++)
        {
            byte[] bytes = Mutation.Apply(valid, headerBytes, random);
            long before = GC.GetAllocatedBytesForCurrentThread();
            double start = ProcessorTime.Microseconds();
            try
            {
                fixed (byte* data = bytes)
                {
                    read(data, bytes.Length);
                }

                accepted++;
            }
            catch (GemmaModelFormatException e)
            {
                Assert.True(e.Message.Length is > 20 and < 4000, e.Message);
            }
            catch (Exception e)
            {
                Assert.Fail($"Seed {seed}, mutation {i}: {e}");
            }

            most = Math.Max(most, GC.GetAllocatedBytesForCurrentThread() - before);
            double took = ProcessorTime.Microseconds() - start;
            Assert.True(took < s_longest.TotalMicroseconds, $"Seed {seed}, mutation {i} took {took:N0} µs of processor time.");
        }

        output.WriteLine($"{count:N0} mutations in {watch.Elapsed.TotalSeconds:F1} s: {accepted:N0} accepted, {count - accepted:N0} rejected, at most {most:N0} bytes allocated for {valid.Length:N0}.");
        Assert.InRange(accepted, 1, count - 1);

        // A vocabulary takes tables of a few megabytes whatever its size; nothing grows beyond that with a claim in the file.
        Assert.InRange(most, 0, (16 << 20) + 64L * valid.Length);
    }

    private static void Use(GemmaTokenizer tokenizer)
    {
        int[] ids = tokenizer.Encode("The <start_of_turn> sea é🙂\n\n", matchSpecial: true);
        Assert.All(ids, id => Assert.InRange(id, 0, tokenizer.VocabularySize - 1));
        Assert.NotNull(tokenizer.Decode(ids));
    }

    private static void CheckRange(IEnumerable<TensorView> tensors, byte* data, long length)
    {
        foreach (TensorView tensor in tensors)
        {
            Assert.True(tensor.Data >= data && tensor.ByteLength >= 0 && tensor.Data + tensor.ByteLength <= data + length, tensor.Name);
            Assert.Equal(tensor.ByteLength, tensor.Rows * tensor.RowBytes);
        }
    }

    private delegate void Reader(byte* data, long length);
}

/// <summary>Damage as fuzzers do it: bits, bytes, interesting numbers, and pieces cut out, doubled, or moved. Most of it hits the header.</summary>
internal static class Mutation
{
    private static readonly long[] s_numbers =
        [0, 1, -1, 2, 7, 8, 255, 256, 32767, 65535, 65536, int.MaxValue, int.MinValue, uint.MaxValue, 1L << 32, 1L << 40, 1L << 62, long.MaxValue, long.MinValue];

    private static readonly byte[][] s_tokens = [.. new[] { "\"", "{", "}", "[", "]", ",", ":", "null", "-1", "1e999", "9999999999999999999", "\\ud800", "\\u0000", "<0x00>", "<0xFF>" }.Select(Encoding.UTF8.GetBytes)];

    public static byte[] Apply(byte[] valid, int headerBytes, Random random)
    {
        List<byte> bytes = new(valid);
        int times = random.Next(4) == 0 ? random.Next(2, 8) : 1;
        for (int i = 0; i < times && bytes.Count > 0; i++)
        {
            Once(bytes, headerBytes, random);
        }

        return bytes.Count > 0 ? [.. bytes] : [0];
    }

    private static void Once(List<byte> bytes, int headerBytes, Random random)
    {
        int at = random.Next(random.Next(8) == 0 ? bytes.Count : Math.Min(bytes.Count, headerBytes));
        int run = Math.Min(bytes.Count - at, 1 << random.Next(10));
        switch (random.Next(9))
        {
            case 0:
                bytes[at] ^= (byte)(1 << random.Next(8));
                break;
            case 1:
                bytes[at] = (byte)random.Next(256);
                break;
            case 2:
            case 3:
                byte[] number = BitConverter.GetBytes(s_numbers[random.Next(s_numbers.Length)] + random.Next(-1, 2));
                int width = 1 << random.Next(1, 4);
                for (int i = 0; i < width && at + i < bytes.Count; i++)
                {
                    bytes[at + i] = number[i];
                }

                break;
            case 4:
                bytes.RemoveRange(at, run);
                break;
            case 5:
                bytes.InsertRange(random.Next(bytes.Count + 1), bytes.GetRange(at, run));
                break;
            case 6:
                bytes.InsertRange(at, s_tokens[random.Next(s_tokens.Length)]);
                break;
            case 7:
                bytes.RemoveRange(at, bytes.Count - at);
                break;
            default:
                List<byte> moved = bytes.GetRange(at, run);
                int to = random.Next(bytes.Count - run + 1);
                for (int i = 0; i < run; i++)
                {
                    bytes[to + i] = moved[i];
                }

                break;
        }
    }
}
