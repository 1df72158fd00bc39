using System.Diagnostics;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Tests.Cli;
using Gemma.Extensions.AI.Tests.Files;
using Microsoft.AspNetCore.Http;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Hub;

public sealed class ModelHubTests(ITestOutputHelper output) : IAsyncLifetime
{
    private const string Gguf = "hf:owner/model:Q4_0";
    private const string Big = "hf:owner/model:Q5_0";
    private readonly TempDirectory _temp = new();
    private LoopbackHub _hub = null!;
    private byte[] _file = null!;

    public async ValueTask InitializeAsync()
    {
        _hub = await LoopbackHub.StartAsync();
        _file = SyntheticModel.Gguf().ToBytes();
        _hub.Add("model-Q4_0.gguf", _file);
        _hub.Add("model-Q8_0.gguf", [.. _file, 0]);
    }

    public async ValueTask DisposeAsync()
    {
        await _hub.DisposeAsync();
        _temp.Dispose();
    }

    [Theory]
    [InlineData("google/gemma-2-2b-it", "google/gemma-2-2b-it", null, "main")]
    [InlineData("hf:a/b:Q4_K_M@v1.0", "a/b", "Q4_K_M", "v1.0")]
    [InlineData("a/b@refs/pr/3", "a/b", null, "refs/pr/3")]
    public void References(string text, string repository, string? type, string revision) =>
        Assert.Equal(new HubReference(repository, type, revision, null), HubReference.Parse(text));

    [Fact]
    public void TheEnvironmentIsReadAsTheHubsOwnToolsReadIt()
    {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        HubSettings From(params (string Name, string Value)[] variables) => new(new GemmaHubOptions(), name => variables.FirstOrDefault(v => v.Name == name).Value);
        Assert.Equal(Path.Combine(home, ".cache", "huggingface", "hub"), From().Cache);
        Assert.Equal("https://huggingface.co/", From().Endpoint.ToString());
        Assert.Equal(Path.Combine(home, "hf", "hub"), From(("HF_HOME", "~/hf")).Cache);
        Assert.Equal(Path.Combine(home, "hf", "token"), From(("HF_HOME", "~/hf")).TokenFile);
        Assert.Equal("/data/hub", From(("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/data/hub")).Cache);
        Assert.Equal("http://mirror.local/hf/", From(("HF_ENDPOINT", "http://mirror.local/hf/")).Endpoint.ToString());
        foreach (string yes in (string[])["1", "true", "True", "TRUE", "yes", "ON"])
        {
            Assert.True(From(("HF_HUB_OFFLINE", yes)).Offline);
        }

        Assert.True(From(("TRANSFORMERS_OFFLINE", "1")).Offline);
        Assert.False(From(("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")).Offline);
        Assert.False(From().Offline);
        foreach (string wrong in (string[])["mirror.local", "mirror.local:8080", "ftp://x/", "/x"])
        {
            Assert.Contains($"'{wrong}'", Assert.Throws<ArgumentException>(() => From(("HF_ENDPOINT", wrong))).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("a/b@../../x")]
    [InlineData("a/b@x/../../y")]
    [InlineData("gemma")]
    [InlineData("a/b/c")]
    [InlineData("../x")]
    [InlineData("a/..")]
    [InlineData("a/b:Q4@")]
    [InlineData("")]
    public void NoReferences(string text) => Assert.Contains("owner/name", Assert.Throws<ArgumentException>(() => HubReference.Parse(text)).Message, StringComparison.Ordinal);

    [Fact]
    public async Task AGgufFileIsFoundCheckedAndSharedWithOtherTools()
    {
        List<GemmaDownloadProgress> seen = new();
        string path = await GemmaModelHub.EnsureAsync(Gguf, Options(), new Listener(seen));
        Assert.Equal(_file, File.ReadAllBytes(path));
        using (ModelFile model = ModelFile.Open(path))
        {
            Assert.Equal(SyntheticModel.Config, model.Config);
        }

        // The layout of the shared cache.
        string folder = _temp.File("models--owner--model");
        Assert.Equal(Path.Combine(folder, "snapshots", LoopbackHub.Commit, "model-Q4_0.gguf"), path);
        Assert.Equal(Path.Combine("..", "..", "blobs", LoopbackHub.Sha256(_file)), new FileInfo(path).LinkTarget);
        Assert.Equal(LoopbackHub.Commit, File.ReadAllText(Path.Combine(folder, "refs", "main")));
        Assert.Equal([LoopbackHub.Sha256(_file)], Directory.GetFiles(Path.Combine(folder, "blobs")).Select(Path.GetFileName));
        Assert.True(_hub.Requests.Count(r => r.Path.StartsWith("/store/", StringComparison.Ordinal)) > 4, "ranges");
        Assert.Equal(_file.Length, seen[^1].CompletedBytes);
        Assert.Equal(_file.Length, seen[^1].TotalBytes);

        // From now on nothing is asked, and offline works.
        int requests = _hub.Requests.Count;
        Assert.Equal(path, await GemmaModelHub.EnsureAsync(Gguf, Options()));
        Assert.Equal(path, await GemmaModelHub.EnsureAsync(Gguf, Options(o => o.Offline = true)));
        Assert.Equal(requests, _hub.Requests.Count);
        Assert.Equal(path, await GemmaModelHub.EnsureAsync(Gguf, Options(o => o.Refresh = true)));
        Assert.Equal(requests + 1, _hub.Requests.Count);
        Assert.Contains("pull", (await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync("owner/model:Q8_0", Options(o => o.Offline = true)))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ADirectoryOfSafetensorsComesWithItsConfigurationAndTokenizer()
    {
        foreach (string file in Directory.GetFiles(TestData.Local("tiny")).Where(f => Path.GetFileName(f) is not ("expected.safetensors" or "greedy.json" or "nll.json")))
        {
            _hub.Add(Path.GetFileName(file), File.ReadAllBytes(file));
        }

        string path = await GemmaModelHub.EnsureAsync("owner/model", Options(o => o.RangeBytes = 1 << 20));
        using ModelFile model = ModelFile.Open(path);
        Assert.Equal("owner/model", model.Name);
        Assert.Equal(46, model.Tensors.Count);
        Assert.Equal(1024, model.CreateTokenizer().VocabularySize);
        Assert.Equal("model", ModelAliases.ModelId(path));
        Assert.Empty(Directory.GetFiles(path, "*.gguf"));
        File.Delete(Path.Combine(path, "model-00002-of-00002.safetensors"));
        await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync("owner/model", Options(o => o.Offline = true)));
    }

    [Fact]
    public async Task SplitFilesComeTogether()
    {
        _hub.Add("big-Q6_K-00001-of-00002.gguf", [1, 2, 3]);
        _hub.Add("big-Q6_K-00002-of-00002.gguf", [4, 5]);
        string path = await GemmaModelHub.EnsureAsync("owner/model:Q6_K", Options());
        Assert.EndsWith("big-Q6_K-00001-of-00002.gguf", path, StringComparison.Ordinal);
        string second = path.Replace("00001-of", "00002-of", StringComparison.Ordinal);
        Assert.Equal([4, 5], File.ReadAllBytes(second));
        File.Delete(second);
        await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync("owner/model:Q6_K", Options(o => o.Offline = true)));
    }

    [Fact]
    public async Task AmbiguousAndMissingNamesListWhatThereIs()
    {
        Assert.Contains("model-Q4_0.gguf, model-Q8_0.gguf", (await Assert.ThrowsAsync<GemmaModelFormatException>(() => GemmaModelHub.EnsureAsync("owner/model", Options()))).Message, StringComparison.Ordinal);
        Assert.Contains("model-Q8_0.gguf", (await Assert.ThrowsAsync<GemmaModelFormatException>(() => GemmaModelHub.EnsureAsync("owner/model:Q2_K", Options()))).Message, StringComparison.Ordinal);
        Assert.Contains("no revision 'v9'", (await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync("owner/model:Q4_0@v9", Options()))).Message, StringComparison.Ordinal);
        Assert.Contains("was not found", (await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync("owner/nothing:Q4_0", Options()))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task GatedModelsNeedATokenThatStaysWithTheHub()
    {
        _hub.Gate = "secret";
        string message = (await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync(Gguf, Options()))).Message;
        Assert.Contains($"{_hub.Address}owner/model", message, StringComparison.Ordinal);
        Assert.Contains("licence", message, StringComparison.Ordinal);
        Assert.Contains("HF_TOKEN", message, StringComparison.Ordinal);
        Assert.Contains("no access", (await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync(Gguf, Options(o => o.Token = "wrong")))).Message, StringComparison.Ordinal);
        await GemmaModelHub.EnsureAsync(Gguf, Options(o => o.Token = "secret"));
        Assert.All(_hub.Requests.Where(r => r.Path.StartsWith("/store/", StringComparison.Ordinal)), r => Assert.Null(r.Authorization));
    }

    [Theory]
    [InlineData("cut")]
    [InlineData("503")]
    [InlineData("429")]
    [InlineData("shifted")]
    [InlineData("total")]
    [InlineData("empty")]
    [InlineData("drip")]
    [InlineData("noranges")]
    public async Task AServerThatMisbehavesDelaysButDoesNotHarm(string how)
    {
        Random random = new(1);
        int requests = 0;
        _hub.Ranges = how != "noranges";
        _hub.Misbehave = async (context, bytes) =>
        {
            int number = Interlocked.Increment(ref requests);
            if (number > 3 && (number % 3 == 0 || how == "drip"))
            {
                return false;
            }

            switch (how)
            {
                case "cut" or "noranges":
                    int cutAfter;
                    lock (random)
                    {
                        cutAfter = random.Next(how == "cut" ? 2000 : bytes.Length);
                    }

                    await _hub.Send(context, bytes, cutAfter: cutAfter);
                    return true;
                case "503" or "429":
                    context.Response.StatusCode = int.Parse(how);
                    context.Response.Headers.RetryAfter = "0";
                    return true;
                case "shifted" or "total":
                    (int from, int to) = LoopbackHub.Range(context, bytes);
                    context.Response.StatusCode = 206;
                    context.Response.Headers.ContentRange = how == "total" ? $"bytes {from}-{to - 1}/{bytes.Length + 1}" : $"bytes {from + 1}-{to}/{bytes.Length}";
                    await context.Response.Body.WriteAsync(new byte[to - from]);
                    return true;
                case "empty":
                    context.Response.StatusCode = 206;
                    (from, to) = LoopbackHub.Range(context, bytes);
                    context.Response.Headers.ContentRange = $"bytes {from}-{to - 1}/{bytes.Length}";
                    return true;
                default:
                    await _hub.Send(context, bytes, drip: TimeSpan.FromMilliseconds(30));
                    return true;
            }
        };
        string path = await GemmaModelHub.EnsureAsync(Gguf, Options(o => (o.Retries, o.StallWindow) = (30, how == "drip" ? TimeSpan.FromMilliseconds(300) : o.StallWindow))).WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Equal(_file, File.ReadAllBytes(path));
        Assert.True(requests > 3); // the first three are answered wrong
        Assert.Single(Directory.GetFiles(Path.Combine(_temp.Path, "models--owner--model", "blobs")));
    }

    [Fact]
    public async Task CorruptBytesAreNoticedAndFetchedAgain()
    {
        int corrupt = 1;
        _hub.Misbehave = async (context, bytes) =>
        {
            byte[] copy = (byte[])bytes.Clone();
            copy[LoopbackHub.Range(context, bytes).From] ^= (byte)(Interlocked.Exchange(ref corrupt, 0) == 1 ? 1 : 0);
            await _hub.Send(context, copy);
            return true;
        };
        Assert.Equal(_file, File.ReadAllBytes(await GemmaModelHub.EnsureAsync(Gguf, Options())));

        _hub.Misbehave = async (context, bytes) =>
        {
            await _hub.Send(context, new byte[bytes.Length]);
            return true;
        };
        string message = (await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync("owner/model:Q8_0", Options()))).Message;
        Assert.Contains("hash was wrong", message, StringComparison.Ordinal);
        Assert.Single(Directory.GetFiles(Path.Combine(_temp.Path, "models--owner--model", "blobs")));
        Assert.False(File.Exists(Path.Combine(_temp.Path, "models--owner--model", "snapshots", LoopbackHub.Commit, "model-Q8_0.gguf")));
    }

    [Fact]
    public async Task AServerThatNeverRecoversIsGivenUpWithWhatCameKept()
    {
        _hub.Misbehave = async (context, bytes) =>
        {
            await _hub.Send(context, bytes, cutAfter: 700);
            return true;
        };
        string message = (await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync(Gguf, Options(o => o.Retries = 1)))).Message;
        Assert.Contains("goes on where it was", message, StringComparison.Ordinal);
        Assert.Null(new HubCache(_temp.Path).Find(HubReference.Parse(Gguf)));
        _hub.Misbehave = null;
        Assert.Equal(_file, File.ReadAllBytes(await GemmaModelHub.EnsureAsync(Gguf, Options())));
    }

    [Fact]
    public async Task AUrlIsDownloadedOnce()
    {
        string url = $"{_hub.Address}owner/model/resolve/{LoopbackHub.Commit}/model-Q4_0.gguf";
        string path = await GemmaModelHub.EnsureAsync(url, Options());
        Assert.Equal(_file, File.ReadAllBytes(path));
        int requests = _hub.Requests.Count;
        Assert.Equal(path, await GemmaModelHub.EnsureAsync(url, Options()));
        Assert.Equal(requests, _hub.Requests.Count);
        Assert.Equal([url], new HubCache(_temp.Path).List().Select(m => m.Reference));
    }

    /// <summary>Cancelled at 200 random moments and gone on with: the file is right every time it is complete.</summary>
    [Fact]
    public async Task TwoHundredInterruptionsDoNoHarm()
    {
        Random random = new(7);
        Random faults = new(8);
        _hub.Misbehave = async (context, bytes) =>
        {
            int? cutAfter;
            TimeSpan? drip;
            lock (faults)
            {
                // The server answers on several threads; an unlocked Random gets stuck at zero, and then every connection is cut.
                cutAfter = faults.Next(8) == 0 ? faults.Next(3000) : null;
                drip = faults.Next(40) == 0 ? TimeSpan.FromMilliseconds(1) : null;
            }

            await _hub.Send(context, bytes, cutAfter: cutAfter, drip: drip);
            return true;
        };
        int complete = 0;
        for (int round = 0; round < 200; round++)
        {
            using CancellationTokenSource stop = new();
            int left = random.Next(1, 12);
            try
            {
                string path = await GemmaModelHub.EnsureAsync(Gguf, Options(o => o.Retries = 20), new Listener([], () =>
                {
                    if (Interlocked.Decrement(ref left) == 0)
                    {
                        stop.Cancel();
                    }
                }), stop.Token);
                Assert.Equal(_file, File.ReadAllBytes(path));
                complete++;
                Directory.Delete(_temp.File("models--owner--model"), recursive: true);
            }
            catch (OperationCanceledException)
            {
                Assert.Null(new HubCache(_temp.Path).Find(HubReference.Parse(Gguf)));
            }
        }

        Assert.InRange(complete, 10, 190);
        Assert.Equal(_file, File.ReadAllBytes(await GemmaModelHub.EnsureAsync(Gguf, Options())));
    }

    /// <summary>Whole processes killed in the middle, two of them pulling the same model. GEMMA_KILLS sets how often; the default keeps the suite quick.</summary>
    [Fact]
    public async Task KilledProcessesDoNoHarm()
    {
        int rounds = CliProcess.Kills(few: 6);
        byte[] big = new byte[20 << 20];
        Random random = new(9);
        random.NextBytes(big);
        _hub.Add("big-Q5_0.gguf", big);
        _hub.Misbehave = async (context, bytes) =>
        {
            await _hub.Send(context, bytes, drip: TimeSpan.FromMilliseconds(5), dripBytes: 128 << 10);
            return true;
        };
        int resumed = 0, killed = 0;
        string unfinished = Path.Combine(_temp.File("models--owner--model"), "blobs", LoopbackHub.Sha256(big) + ".gemma-incomplete");
        for (int round = 0; round < rounds; round++)
        {
            using Process first = Pull(), second = Pull();
            long limit = _hub.Sent + random.Next(big.Length);
            while (_hub.Sent < limit && !(first.HasExited && second.HasExited))
            {
                await Task.Delay(5);
            }

            foreach (Process process in (Process[])[first, second])
            {
                killed += process.HasExited ? 0 : 1;
                process.Kill();
                await process.WaitForExitAsync();
            }

            resumed += RangedDownload.CompletedBytes(unfinished) > 0 ? 1 : 0;
            if (new HubCache(_temp.Path).Find(HubReference.Parse(Big)) is { } done)
            {
                Assert.Equal(big, File.ReadAllBytes(done));
                Directory.Delete(_temp.File("models--owner--model"), recursive: true);
            }
        }

        output.WriteLine($"{rounds} rounds, {killed} processes killed, {resumed} downloads left unfinished and gone on with");
        Assert.True(killed > 0);
        using Process third = Pull(), fourth = Pull();
        foreach (Process process in (Process[])[third, fourth])
        {
            string path = await process.StandardOutput.ReadToEndAsync(), error = await process.StandardError.ReadToEndAsync();
            Assert.DoesNotContain(error.Split('\n'), line => line.Length > 0 && !line.Contains("has not answered yet", StringComparison.Ordinal)); // as is said where the machine is busy
            Assert.Equal(big, File.ReadAllBytes(path.Trim()));
        }
    }

    /// <summary>Where no link can be made (here: its name beside the file's would be too long), the file itself goes into the snapshot and is not fetched again.</summary>
    [Fact]
    public async Task WithoutLinksTheFileItselfGoesIntoTheSnapshot()
    {
        string name = $"sub/{new string('m', 230)}-Q6_K.gguf";
        _hub.Add(name, _file);
        string path = await GemmaModelHub.EnsureAsync("owner/model:Q6_K", Options());
        Assert.Equal(_file, File.ReadAllBytes(path));
        Assert.Null(new FileInfo(path).LinkTarget);
        Assert.EndsWith(name, path, StringComparison.Ordinal);
        long sent = _hub.Sent;
        Assert.Equal(path, await GemmaModelHub.EnsureAsync("owner/model:Q6_K", Options(o => o.Refresh = true)));
        Assert.Equal(path, await GemmaModelHub.EnsureAsync("owner/model:Q6_K", Options(o => o.Offline = true)));
        Assert.Equal(sent, _hub.Sent);
        HubCache cache = new(_temp.Path);
        Assert.Equal(_file.Length, cache.Remove(cache.List().Single()));
        Assert.False(Path.Exists(path));
    }

    [Fact]
    public async Task ALockThatCannotBeTakenIsAnErrorAndNotAWaitWithoutEnd()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links in a circle need rights on Windows.");
        string link = new HubCache(_temp.Path).Lock("owner/model", LoopbackHub.Sha256(_file));
        Directory.CreateDirectory(Path.GetDirectoryName(link)!);
        File.CreateSymbolicLink(link, link);
        GemmaHubException error = await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync(Gguf, Options()).WaitAsync(TimeSpan.FromSeconds(20)));
        Assert.Contains(_temp.Path, error.Message, StringComparison.Ordinal);
    }

    /// <summary>The file at an address is replaced by another of the same size while it is half downloaded.</summary>
    [Fact]
    public async Task AUrlThatChangesInBetweenIsNotMixedFromTwoFiles()
    {
        byte[] other = [.. _file.Select(b => (byte)~b)];
        string tag = "\"first\"";
        long limit = _file.Length / 2;
        using CancellationTokenSource stop = new();
        _hub.Misbehave = async (context, bytes) =>
        {
            context.Response.Headers.ETag = tag;
            await _hub.Send(context, bytes);
            return true;
        };
        string url = $"{_hub.Address}owner/model/resolve/{LoopbackHub.Commit}/model-Q4_0.gguf";
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => GemmaModelHub.EnsureAsync(url, Options(o => o.Connections = 1), new Listener([], () =>
        {
            if (_hub.Sent > limit)
            {
                stop.Cancel();
            }
        }), stop.Token));
        _hub.Add("model-Q4_0.gguf", other);
        tag = "\"second\"";
        string path = await GemmaModelHub.EnsureAsync(url, Options());
        Assert.Equal(other, File.ReadAllBytes(path));
        Assert.DoesNotContain(Directory.GetFiles(Path.GetDirectoryName(path)!), file => file.Contains("incomplete", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ModelsAreListedAndRemoved()
    {
        string q4 = await GemmaModelHub.EnsureAsync(Gguf, Options());
        await GemmaModelHub.EnsureAsync("owner/model:Q8_0", Options());
        HubCache cache = new(_temp.Path);
        Assert.Equal([("owner/model:model-Q4_0.gguf", (long)_file.Length), ("owner/model:model-Q8_0.gguf", _file.Length + 1)], cache.List().Select(m => (m.Reference, m.Bytes)));
        Assert.Equal(q4, await GemmaModelHub.EnsureAsync("owner/model:model-Q4_0.gguf", Options(o => o.Offline = true)));
        Assert.Equal(_file.Length, cache.Remove(cache.List()[0]));
        Assert.Single(cache.List());
        Assert.False(Path.Exists(q4));
        cache.Remove(cache.List()[0]);
        Assert.Empty(cache.List());
        Assert.False(Directory.Exists(_temp.File("models--owner--model")));
    }

    private Process Pull() => CliProcess.Start(["pull", Big], ("HF_ENDPOINT", _hub.Address.ToString()), ("HF_HUB_CACHE", _temp.Path), ("HF_TOKEN", null));

    private GemmaHubOptions Options(Action<GemmaHubOptions>? change = null)
    {
        GemmaHubOptions options = new()
        {
            CacheDirectory = _temp.Path, Endpoint = _hub.Address, Token = "none", Offline = false, RangeBytes = 1500, Connections = 4, Retries = 4,
            RetryDelay = TimeSpan.FromMilliseconds(1), StallWindow = TimeSpan.FromSeconds(5), MinimumBytesPerWindow = 100,
        };
        change?.Invoke(options);
        return options;
    }

    private sealed class Listener(List<GemmaDownloadProgress> seen, Action? then = null) : IProgress<GemmaDownloadProgress>
    {
        public void Report(GemmaDownloadProgress value)
        {
            lock (seen)
            {
                seen.Add(value);
            }

            then?.Invoke();
        }
    }
}
