using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text.Json;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Quantization;

namespace Gemma.Extensions.AI.Tests;

/// <summary>
/// The model <c>tiny</c> as llama.cpp's quantiser wrote it, in every type. Types whose encoding leaves no choice are not stored: they are written here from the checkpoint, and are
/// llama.cpp's where type and SHA-256 of each tensor are those of its file.
/// </summary>
internal static unsafe class GgufGoldens
{
    private static readonly ConcurrentDictionary<string, Lazy<string>> s_written = new();
    private static readonly Lazy<JsonDocument> s_tensors = new(() => JsonDocument.Parse(System.IO.File.ReadAllBytes(TestData.Local("gguf/tensors.json"))));
    private static readonly TempDirectory s_directory = CreateDirectory();

    /// <summary>Path of a GGUF file.</summary>
    public static string File(string type) => IsWritten(type)
        ? s_written.GetOrAdd(type, static type => new Lazy<string>(() => Write(type))).Value
        : TestData.Local($"gguf/tiny-{type}.gguf");

    /// <summary>Token ids, the positions that there are logits of, and the logits of gemma_pytorch on the file's dequantised weights.</summary>
    public static (int[] Tokens, int[] Positions, float[][] Logits) Logits(string type)
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.Local($"gguf/tiny-{type}.expected.safetensors"));
        using SafetensorsFile checkpoint = SafetensorsFile.Open(TestData.Local("tiny/expected.safetensors"));
        int[] tokens = checkpoint.ReadInt32s("tokens");
        int[] positions = file.Tensors.ContainsKey("positions") ? file.ReadInt32s("positions") : [.. Enumerable.Range(0, tokens.Length)];
        float[] logits = file.ReadSingles("expected.logits");
        return (tokens, positions, [.. logits.Chunk(logits.Length / positions.Length)]);
    }

    private static bool IsWritten(string type) => s_tensors.Value.RootElement.TryGetProperty(type, out _);

    private static string Write(string type)
    {
        string path = s_directory.File($"tiny-{type}.gguf");
        using (ModelFile checkpoint = ModelFile.Open(TestData.Local("tiny")))
        {
            ModelConverter.Write(checkpoint, QuantizationRecipe.Get(type), path);
        }

        TakeEmbedding(path);

        using GgufModelFile written = (GgufModelFile)ModelFile.Open(path);
        JsonElement expected = s_tensors.Value.RootElement.GetProperty(type);
        Assert.Equal(expected.GetProperty("file_type").GetInt64(), written.Metadata.GetInteger("general.file_type"));
        Assert.Equal(
            expected.GetProperty("tensors").EnumerateObject().Select(tensor => $"{tensor.Name} {tensor.Value.GetString()}").Order(StringComparer.Ordinal),
            written.Tensors.Values.Select(tensor => $"{tensor.Name} {tensor.Format.Name} {Hash(tensor)}").Order(StringComparer.Ordinal));
        return path;
    }

    /// <summary>Q6_K searches, and so leaves a choice: the embedding in it, the same in all of llama.cpp's files, is that of a file that is stored.</summary>
    private static void TakeEmbedding(string path)
    {
        byte[] bytes = System.IO.File.ReadAllBytes(path);
        using (ModelFile written = ModelFile.Open(path), stored = ModelFile.Open(TestData.Local("gguf/tiny-Q4_0.gguf")))
        {
            TensorView own = written.Tensors["token_embd.weight"], theirs = stored.Tensors["token_embd.weight"];
            if (own.Format == theirs.Format)
            {
                int at = bytes.AsSpan().IndexOf(new ReadOnlySpan<byte>(own.Data, (int)own.ByteLength));
                new ReadOnlySpan<byte>(theirs.Data, (int)theirs.ByteLength).CopyTo(bytes.AsSpan(at));
            }
        }

        System.IO.File.WriteAllBytes(path, bytes);
    }

    private static string Hash(TensorView tensor) => Convert.ToHexStringLower(SHA256.HashData(new ReadOnlySpan<byte>(tensor.Data, (int)tensor.ByteLength)));

    private static TempDirectory CreateDirectory()
    {
        TempDirectory directory = new();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => directory.Dispose();
        return directory;
    }
}
