using System.Text;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Hub;

/// <summary>Caches as other tools of the hub fill them.</summary>
public sealed class CacheLayoutTests : IDisposable
{
    private static readonly string[] s_tiny = ["config.json", "generation_config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer.model"];

    private readonly TempDirectory _temp = new();

    private HubCache Cache => new(_temp.Path);

    public void Dispose() => _temp.Dispose();

    [Fact]
    public void WhatBelongsToACheckpointIsPulled()
    {
        string[] files =
        [
            "config.json", "generation_config.json", "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
            "chat_template.json", "additional_chat_templates/tool_use.jinja", "model.safetensors",
        ];
        string[] others = ["README.md", "pytorch_model.bin", "original/tokenizer.model", "additional_chat_templates/deep/x.jinja", "training_args.bin", "vocab.txt", "onnx/model.onnx"];
        Assert.Equal(files.Order(), HubReference.Parse("owner/model").Select([.. files, .. others]).Order());
    }

    /// <summary>The hub's Python library: a ref, one snapshot, links to blobs.</summary>
    [Fact]
    public void PythonFillsIt()
    {
        const string Commit = "0123456789012345678901234567890123456789";
        foreach (string file in s_tiny)
        {
            Add(Commit, file);
        }

        string refs = _temp.File("models--owner--model/refs");
        Directory.CreateDirectory(refs);
        File.WriteAllText(Path.Combine(refs, "main"), Commit);
        Assert.Equal(Snapshot(Commit), Cache.Find(HubReference.Parse("owner/model")));
    }

    /// <summary>The hub's JavaScript library: a snapshot for each commit that changed a file, and no ref.</summary>
    [Fact]
    public void JavaScriptFillsIt()
    {
        for (int i = 0; i < s_tiny.Length; i++)
        {
            Add(Commit(i), s_tiny[i]);
            if (i < s_tiny.Length - 2)
            {
                Assert.Null(Cache.Find(HubReference.Parse("owner/model"))); // there is no tokenizer yet
            }
        }

        string path = Cache.Find(HubReference.Parse("owner/model"))!;
        using (ModelFile model = ModelFile.Open(path))
        {
            Assert.Equal("owner/model", model.Name);
            Assert.Equal(1024, model.CreateTokenizer().VocabularySize);
        }

        Assert.Equal(path, Cache.Find(HubReference.Parse("owner/model"))); // made once
        Assert.Null(Cache.Find(HubReference.Parse("owner/model@v1")));
        Assert.Null(Cache.Find(HubReference.Parse($"owner/model@{Commit(0)}")));

        CachedModel listed = Cache.List().Single();
        Assert.Equal(("owner/model", path, s_tiny.Sum(file => new FileInfo(TestData.Local("tiny/" + file)).Length)), (listed.Reference, listed.Path, listed.Bytes));
        Assert.Equal(listed.Bytes, Cache.Remove(listed));
        Assert.Empty(Cache.List());
        Assert.False(Directory.Exists(_temp.File("models--owner--model")));
        Assert.False(Path.Exists(path));
    }

    [Fact]
    public void OfAFileInSeveralSnapshotsTheLatestCounts()
    {
        foreach (string file in s_tiny)
        {
            Add(Commit(file.Length), file);
        }

        Add(Commit(90), "generation_config.json", "{\"eos_token_id\":17}"u8.ToArray(), age: -1);
        Add(Commit(10), "generation_config.json", "{\"eos_token_id\":18}"u8.ToArray(), age: 2);
        using ModelFile model = ModelFile.Open(Cache.Find(HubReference.Parse("owner/model"))!);
        Assert.Equal([17, 1], model.GenerationDefaults.StopTokens);
    }

    [Fact]
    public void GGUFFilesWithoutARefAreFound()
    {
        byte[] gguf = Files.SyntheticModel.ToBytes(Files.SyntheticModel.Gguf());
        Add(Commit(3), "model-Q8_0.gguf", gguf);
        Add(Commit(4), "model-Q4_0.gguf", gguf);
        Assert.Equal(Path.Combine(Snapshot(Commit(4)), "model-Q4_0.gguf"), Cache.Find(HubReference.Parse("owner/model:Q4_0")));
        Assert.Null(Cache.Find(HubReference.Parse("owner/model")));
        Add(Commit(5), "big-Q6_K-00001-of-00002.gguf", [1]);
        Assert.Null(Cache.Find(HubReference.Parse("owner/model:Q6_K")));
        Add(Commit(6), "big-Q6_K-00002-of-00002.gguf", [2]);
        string first = Cache.Find(HubReference.Parse("owner/model:Q6_K"))!;
        Assert.Equal([2], File.ReadAllBytes(first.Replace("00001-of", "00002-of", StringComparison.Ordinal)));
    }

    /// <summary>A ref says what the branch is; what lies elsewhere does not complete it.</summary>
    [Fact]
    public void ARefIsBelieved()
    {
        for (int i = 0; i < s_tiny.Length; i++)
        {
            Add(Commit(i), s_tiny[i]);
        }

        Directory.CreateDirectory(_temp.File("models--owner--model/refs"));
        File.WriteAllText(_temp.File("models--owner--model/refs/main"), Commit(0));
        Assert.Null(Cache.Find(HubReference.Parse("owner/model")));
    }

    private static string Commit(int number) => number.ToString("x40");

    private string Snapshot(string commit) => _temp.File($"models--owner--model/snapshots/{commit}");

    private void Add(string commit, string file, byte[]? bytes = null, int age = 0)
    {
        bytes ??= File.ReadAllBytes(TestData.Local("tiny/" + file));
        string blob = _temp.File($"models--owner--model/blobs/{Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData([.. bytes, .. Encoding.UTF8.GetBytes(file)]))}"), link = Path.Combine(Snapshot(commit), file);
        Directory.CreateDirectory(Path.GetDirectoryName(blob)!);
        Directory.CreateDirectory(Path.GetDirectoryName(link)!);
        File.WriteAllBytes(blob, bytes);
        File.CreateSymbolicLink(link, Path.GetRelativePath(Path.GetDirectoryName(link)!, blob));
        File.SetLastWriteTimeUtc(link, DateTime.UtcNow - TimeSpan.FromDays(age));
    }
}
