using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Files;

/// <summary>Everything that can be wrong with a model file, one test a fault: the exception says what, where and what to do.</summary>
public sealed class BadFileTests : IDisposable
{
    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    [Fact]
    public void TheUndamagedModelsOpen()
    {
        using ModelFile gguf = Open(SyntheticModel.Gguf().ToBytes());
        Assert.Equal(SyntheticModel.Config, gguf.Config);
        SyntheticModel.WriteHuggingFace(_temp.Path);
        using ModelFile directory = ModelFile.Open(_temp.Path);
        Assert.Equal(SyntheticModel.Config, directory.Config);
    }

    [Fact]
    public void GgufTruncatedAnywhereIsIncomplete()
    {
        byte[] bytes = SyntheticModel.Gguf().ToBytes();
        for (int length = 1; length < bytes.Length; length += length < 30000 ? 13 : 997)
        {
            string message = Rejected(bytes[..length]);
            Assert.True(message.Contains("ends at", StringComparison.Ordinal) && message.Contains("gemma pull", StringComparison.Ordinal), message);
        }
    }

    [Fact]
    public void TruncatedTensorIsNamedWithItsPlace() =>
        Rejected(SyntheticModel.Gguf().ToBytes()[..^64], "output_norm.weight", "128 bytes", "model.gguf", "incomplete", "gemma pull");

    [Fact]
    public void EmptyFile() => Rejected([], "empty", "gemma pull");

    [Fact]
    public void WrongMagic() => Rejected("<html>404 not found</html>"u8.ToArray(), "3C 68 74 6D", "GGUF", "download it again");

    [Theory]
    [InlineData(1u, "version 1")]
    [InlineData(99u, "version 99")]
    [InlineData(0x03000000u, "big-endian")]
    public void WrongVersion(uint version, string expected)
    {
        byte[] bytes = SyntheticModel.Gguf().ToBytes();
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), version);
        Rejected(bytes, "model.gguf", expected);
    }

    [Fact]
    public void WrongArchitecture()
    {
        GgufWriter writer = SyntheticModel.Gguf();
        writer.Set("general.architecture", "llama");
        Rejected(writer.ToBytes(), "'llama'", "'gemma2'", "supported");
        writer.Remove("general.architecture");
        Rejected(writer.ToBytes(), "general.architecture");
    }

    [Fact]
    public void MissingAndMisshapenTensors()
    {
        Rejected(SyntheticModel.Gguf((n, s) => n == "blk.0.ffn_up.weight" ? null : s).ToBytes(), "blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight", "[64, 32]");
        Rejected(SyntheticModel.Gguf((n, s) => n == "blk.0.attn_k.weight" ? [32, 32] : s).ToBytes(), "blk.0.attn_k.weight", "[32, 32]", "[16, 32]");
        Rejected(SyntheticModel.Gguf((n, s) => n == "token_embd.weight" ? null : s).ToBytes(), "token_embd.weight");
        GgufWriter extra = SyntheticModel.Gguf();
        extra.Add("blk.0.attn_q.bias", BlockFormat.Get(TensorType.F32), [32], s => s.Write(new byte[128]));
        Rejected(extra.ToBytes(), "blk.0.attn_q.bias");
    }

    [Theory]
    [InlineData("gemma2.embedding_length", 33u)]
    [InlineData("gemma2.embedding_length", uint.MaxValue)]
    [InlineData("gemma2.attention.head_count", 0u)]
    [InlineData("gemma2.attention.head_count_kv", 7u)]
    [InlineData("gemma2.block_count", 100000u)]
    [InlineData("gemma2.block_count", 2u)]
    [InlineData("gemma2.attention.sliding_window", 0u)]
    [InlineData("gemma2.context_length", 0u)]
    [InlineData("general.alignment", 3u)]
    public void ImpossibleNumbers(string key, uint value)
    {
        GgufWriter writer = SyntheticModel.Gguf();
        writer.Set(key, value);
        Rejected(writer.ToBytes(), "model.gguf");
    }

    [Fact]
    public void MissingNumber()
    {
        GgufWriter writer = SyntheticModel.Gguf();
        writer.Remove("gemma2.block_count");
        Rejected(writer.ToBytes(), "gemma2.block_count");
        writer = SyntheticModel.Gguf();
        writer.Set("gemma2.block_count", "one");
        Rejected(writer.ToBytes(), "gemma2.block_count", "String", "whole number");
    }

    [Fact]
    public void OffsetOutsideTheFile() => Rejected(WithOffset("output_norm.weight", 1L << 40), "output_norm.weight", "ends at");

    [Fact]
    public void OffsetThatOverflows() => Rejected(WithOffset("output_norm.weight", -32), "output_norm.weight", "ends at");

    [Fact]
    public void MisalignedOffset() => Rejected(WithOffset("output_norm.weight", 33), "output_norm.weight", "multiple of 32");

    [Fact]
    public void OverlappingTensors() => Rejected(WithOffset("output_norm.weight", 32), "output_norm.weight", "token_embd.weight", "overlap");

    [Theory]
    [InlineData(8)]
    [InlineData(16)]
    public void AbsurdCountsAllocateNothing(int offset)
    {
        byte[] bytes = SyntheticModel.Gguf().ToBytes();
        foreach (long count in (long[])[long.MaxValue, -1, 1L << 40, 50_000_000])
        {
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(offset), count);
            long before = GC.GetAllocatedBytesForCurrentThread();
            Rejected(bytes, "claims");
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
        }
    }

    [Fact]
    public void AbsurdArrayAndStringLengths()
    {
        byte[] bytes = SyntheticModel.Gguf().ToBytes();
        int tokens = IndexOf(bytes, "tokenizer.ggml.tokens"u8) + "tokenizer.ggml.tokens".Length + 8;
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(tokens), 1L << 60);
        Rejected(bytes, "tokenizer.ggml.tokens", "claims");

        bytes = SyntheticModel.Gguf().ToBytes();
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(24), 1L << 60);
        Rejected(bytes, "a metadata key", "claims");
    }

    [Theory]
    [InlineData(15u, "Q8_K")]
    [InlineData(40u, "NVFP4")]
    [InlineData(4242u, "4242")]
    public void UnsupportedType(uint type, string expected)
    {
        byte[] bytes = SyntheticModel.Gguf().ToBytes();
        int entry = IndexOf(bytes, "blk.0.ffn_down.weight"u8) + "blk.0.ffn_down.weight".Length + 4 + 16;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(entry), type);
        Rejected(bytes, "blk.0.ffn_down.weight", expected, "Q4_K", "gemma convert");
    }

    [Fact]
    public void DuplicateNames()
    {
        byte[] bytes = SyntheticModel.Gguf().ToBytes();
        IndexAndReplace(bytes, "blk.0.ffn_gate.weight", "blk.0.ffn_down.weight");
        Rejected(bytes, "blk.0.ffn_down.weight", "twice");
        bytes = SyntheticModel.Gguf().ToBytes();
        IndexAndReplace(bytes, "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id");
        Rejected(bytes, "tokenizer.ggml.eos_token_id", "twice");
    }

    [Theory]
    [InlineData(0x7C00)]
    [InlineData(0xFE00)]
    public void NonFiniteScale(int bits)
    {
        byte[] bytes = SyntheticModel.Gguf().ToBytes();

        // The last tensors are post_ffw_norm and output_norm (128 bytes each); before them lies ffn_down, 32 rows of 2 blocks of 34 bytes.
        int row31 = bytes.Length - 256 - 2 * 34;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(row31), (ushort)bits);
        Rejected(bytes, "blk.0.ffn_down.weight", "NaN or infinite", "row 31", "Q8_0");
        using ModelFile described = Open(bytes, checkScales: false);
        Assert.Equal(32, described.Config.HiddenSize);
    }

    [Fact]
    public void DirectoryWithoutWeights()
    {
        SyntheticModel.WriteHuggingFace(_temp.Path);
        File.Delete(_temp.File("model.safetensors"));
        RejectedPath(_temp.Path, "model.safetensors", "no weights", "gemma pull");
        File.Delete(_temp.File("config.json"));
        RejectedPath(_temp.Path, "no model", "gemma pull");
        RejectedPath(_temp.File("absent"), "absent", "gemma pull");
    }

    [Fact]
    public void DirectoryWithSeveralGgufFilesAsksForOne()
    {
        byte[] bytes = SyntheticModel.Gguf().ToBytes();
        File.WriteAllBytes(_temp.File("a.gguf"), bytes);
        using (ModelFile only = ModelFile.Open(_temp.Path))
        {
            Assert.Equal("synthetic", only.Name);
        }

        File.WriteAllBytes(_temp.File("b.gguf"), bytes);
        RejectedPath(_temp.Path, "a.gguf, b.gguf");
    }

    [Fact]
    public void MissingShard()
    {
        foreach (string file in Directory.GetFiles(TestData.Local("tiny")))
        {
            File.Copy(file, _temp.File(Path.GetFileName(file)));
        }

        File.Delete(_temp.File("model-00002-of-00002.safetensors"));
        RejectedPath(_temp.Path, "model-00002-of-00002.safetensors", "missing", "gemma pull");
        File.Copy(_temp.File("model-00001-of-00002.safetensors"), _temp.File("model-00002-of-00002.safetensors"));
        RejectedPath(_temp.Path, "model-00002-of-00002.safetensors", "do not belong together");
    }

    /// <summary>A cache that was cleared by hand leaves links behind; a directory is no file.</summary>
    [Fact]
    public void LinksThatLeadNowhereAndDirectoriesInPlaceOfFiles()
    {
        File.CreateSymbolicLink(_temp.File("model.gguf"), _temp.File("blobs/gone"));
        RejectedPath(_temp.File("model.gguf"), "blobs/gone", "link");
        RejectedPath(_temp.Path, "blobs/gone", "link");
        File.Delete(_temp.File("model.gguf"));
        SyntheticModel.WriteHuggingFace(_temp.Path);
        foreach (string name in (string[])["config.json", "model.safetensors", "tokenizer.model"])
        {
            byte[]? bytes = File.Exists(_temp.File(name)) ? File.ReadAllBytes(_temp.File(name)) : null;
            File.Delete(_temp.File(name));
            File.CreateSymbolicLink(_temp.File(name), _temp.File("gone"));
            Assert.Contains("link", Assert.Throws<GemmaModelFormatException>(() =>
            {
                using ModelFile file = ModelFile.Open(_temp.Path);
                file.CreateTokenizer();
            }).Message, StringComparison.Ordinal);
            File.Delete(_temp.File(name));
            if (bytes is not null)
            {
                File.WriteAllBytes(_temp.File(name), bytes);
            }
        }
    }

    [Fact]
    public void AnIndexDoesNotLeadOutOfItsDirectory()
    {
        SyntheticModel.WriteHuggingFace(_temp.Path);
        File.Move(_temp.File("model.safetensors"), _temp.File("part.safetensors"));
        File.WriteAllText(_temp.File("model.safetensors.index.json"), """{"weight_map":{"model.norm.weight":"../part.safetensors"}}""");
        RejectedPath(_temp.Path, "../part.safetensors", "same directory");
    }

    [Fact]
    public void SplitGguf()
    {
        (GgufWriter first, GgufWriter second) = (new GgufWriter(), new GgufWriter());
        byte[] whole = SyntheticModel.Gguf().ToBytes();
        using (ModelFile source = Open(whole))
        {
            GgufModelFile gguf = (GgufModelFile)source;
            foreach (string key in gguf.Metadata.Values.Keys)
            {
                first.Copy(key, gguf.Metadata);
            }

            int index = 0;
            foreach (TensorView tensor in source.Tensors.Values)
            {
                byte[] bytes = new byte[tensor.ByteLength];
                (index++ < 6 ? first : second).Add(tensor.Name, tensor.Format, [.. tensor.Shape], s => s.Write(bytes));
            }
        }

        for (uint i = 0; i < 2; i++)
        {
            GgufWriter part = i == 0 ? first : second;
            part.Set("split.no", i);
            part.Set("split.count", 2u);
            part.Set("split.tensors.count", 13u);
        }

        string one = _temp.File("m-00001-of-00002.gguf"), two = _temp.File("m-00002-of-00002.gguf");
        first.Save(one);
        RejectedPath(one, "m-00002-of-00002.gguf", "missing", "gemma pull");
        second.Save(two);
        foreach (string path in (string[])[one, two])
        {
            using ModelFile model = ModelFile.Open(path);
            Assert.Equal(SyntheticModel.Config, model.Config);
            Assert.Equal(13, model.Tensors.Count);
            Assert.Equal(one, model.Path);
        }

        File.Copy(one, two, overwrite: true);
        RejectedPath(one, "mixed up");
        second.Set("split.no", 1u);
        second.Save(two);
        string renamed = _temp.File("renamed.gguf");
        File.Copy(one, renamed);
        RejectedPath(renamed, "-00001-of-00002.gguf");
    }

    [Theory]
    [InlineData("model_type", "\"llama\"", "'llama'")]
    [InlineData("rope_scaling", """{"type":"yarn"}""", "rope_scaling")]
    [InlineData("attention_bias", "true", "attention_bias")]
    [InlineData("hidden_activation", "\"silu\"", "silu")]
    [InlineData("quantization_config", """{"bits":4}""", "quantization_config")]
    [InlineData("layer_types", """["full_attention"]""", "layer_types")]
    [InlineData("hidden_size", "\"big\"", "hidden_size")]
    [InlineData("hidden_size", "1e99", "hidden_size")]
    [InlineData("hidden_size", "null", "hidden_size")]
    [InlineData("hidden_size", "48", "[288, 48]")]
    [InlineData("vocab_size", "256", "[256, 32]")]
    [InlineData("attn_logit_softcapping", "-1", "attention soft cap")]
    public void WrongConfig(string key, string json, string expected)
    {
        SyntheticModel.WriteHuggingFace(_temp.Path, c => c[key] = JsonSerializer.Deserialize<JsonElement>(json));
        RejectedPath(_temp.Path, expected);
    }

    [Fact]
    public void ConfigIsNotJson()
    {
        SyntheticModel.WriteHuggingFace(_temp.Path);
        File.WriteAllText(_temp.File("config.json"), "{\"model_type\": \"gemma2\",");
        RejectedPath(_temp.Path, "config.json", "not valid JSON");
        File.WriteAllText(_temp.File("config.json"), "[]");
        RejectedPath(_temp.Path, "config.json", "expected an object");
        File.WriteAllText(_temp.File("config.json"), "{}");
        RejectedPath(_temp.Path, "config.json", "gemma2");
    }

    [Theory]
    [InlineData("""{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,12]}}""", "12 bytes, expected 16")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,160]}}""", "ends at")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4],"data_offsets":[8,0]}}""", "before it begins")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4],"data_offsets":[-8,8]}}""", "whole number")]
    [InlineData("""{"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,4]}}""", "impossible number")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}""", "9 dimensions")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", "overlap")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}""", "twice")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2]}}""", "data_offsets")]
    [InlineData("""{"a":5}""", "dtype")]
    [InlineData("""{"\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "invalid text")]
    [InlineData("""[]""", "expected an object")]
    [InlineData("""{"a":""", "not valid JSON")]
    [InlineData("""{"__metadata__":[]}""", "__metadata__")]
    public void WrongSafetensors(string header, string expected)
    {
        byte[] bytes = [.. BitConverter.GetBytes((long)Encoding.UTF8.GetByteCount(header)), .. Encoding.UTF8.GetBytes(header), .. new byte[16]];
        File.WriteAllBytes(_temp.File("x.safetensors"), bytes);
        GemmaModelFormatException e = Assert.Throws<GemmaModelFormatException>(() => SafetensorsFile.Open(_temp.File("x.safetensors")));
        Assert.Contains(expected, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(7, "ends at")]
    [InlineData(8, "ends at")]
    [InlineData(100, "ends at")]
    public void TruncatedSafetensors(int length, string expected)
    {
        byte[] bytes = File.ReadAllBytes(TestData.Local("tiny/expected.safetensors"))[..length];
        File.WriteAllBytes(_temp.File("x.safetensors"), bytes);
        GemmaModelFormatException e = Assert.Throws<GemmaModelFormatException>(() => SafetensorsFile.Open(_temp.File("x.safetensors")));
        Assert.Contains(expected, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void SafetensorsHeaderOfAbsurdLength()
    {
        File.WriteAllBytes(_temp.File("x.safetensors"), [.. BitConverter.GetBytes(1L << 50), .. new byte[100]]);
        GemmaModelFormatException e = Assert.Throws<GemmaModelFormatException>(() => SafetensorsFile.Open(_temp.File("x.safetensors")));
        Assert.Contains("claim a header of", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void SafetensorsFileWithoutConfigSaysWhatIsMissing()
    {
        SyntheticModel.WriteHuggingFace(_temp.Path);
        using (ModelFile model = ModelFile.Open(_temp.File("model.safetensors")))
        {
            Assert.Equal(13, model.Tensors.Count);
        }

        File.Delete(_temp.File("config.json"));
        RejectedPath(_temp.File("model.safetensors"), "config.json");
    }

    [Fact]
    public void UnsupportedElementTypeOfACheckpoint()
    {
        SyntheticModel.WriteHuggingFace(_temp.Path);
        byte[] bytes = File.ReadAllBytes(_temp.File("model.safetensors"));
        IndexAndReplace(bytes, "\"BF16\"", "\"I16\" ");
        File.WriteAllBytes(_temp.File("model.safetensors"), bytes);
        RejectedPath(_temp.Path, "I16", "F32, F16 and BF16");
    }

    private ModelFile Open(byte[] bytes, bool checkScales = true)
    {
        File.WriteAllBytes(_temp.File("model.gguf"), bytes);
        return ModelFile.Open(_temp.File("model.gguf"), checkScales);
    }

    private string Rejected(byte[] bytes, params string[] expected)
    {
        File.WriteAllBytes(_temp.File("model.gguf"), bytes);
        return RejectedPath(_temp.File("model.gguf"), expected);
    }

    private static string RejectedPath(string path, params string[] expected)
    {
        GemmaModelFormatException e = Assert.Throws<GemmaModelFormatException>(() => ModelFile.Open(path).Dispose());
        foreach (string part in expected)
        {
            Assert.Contains(part, e.Message, StringComparison.Ordinal);
        }

        return e.Message;
    }

    /// <summary>The synthetic model with another offset for a tensor.</summary>
    private static byte[] WithOffset(string tensor, long offset)
    {
        byte[] bytes = SyntheticModel.Gguf().ToBytes();
        byte[] name = Encoding.UTF8.GetBytes(tensor);
        int entry = IndexOf(bytes, name) + name.Length;
        int dimensions = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(entry));
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(entry + 4 + 8 * dimensions + 4), offset);
        return bytes;
    }

    private static int IndexOf(byte[] bytes, ReadOnlySpan<byte> text)
    {
        int index = bytes.AsSpan().IndexOf(text);
        Assert.True(index >= 0);
        return index;
    }

    private static void IndexAndReplace(byte[] bytes, string old, string replacement)
    {
        Assert.Equal(old.Length, replacement.Length);
        Encoding.UTF8.GetBytes(replacement).CopyTo(bytes, IndexOf(bytes, Encoding.UTF8.GetBytes(old)));
    }
}
