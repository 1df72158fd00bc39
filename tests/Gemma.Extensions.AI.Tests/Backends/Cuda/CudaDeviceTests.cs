using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Backends.Split;
using Gemma.Extensions.AI.Devices;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Tests.Backends.Ptx;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Engine;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Backends.Cuda;

/// <summary>Which device a model runs on, and what happens when one is missing, too small, or fails.</summary>
public sealed class CudaDeviceTests
{
    public static TheoryData<string, string> Unusable => new()
    {
        { "function", "has no function 'cuMemAlloc_v2': it is too old" },
        { "old", "supports CUDA 11.7, but 11.8 or later is needed" },
        { "mismatch", "cannot be used" },
        { "none", "There is no GPU of compute capability 8.0 or later; found: none" },
        { "weak", "compute capability 7.5" },
        { "number", "There is no GPU cuda:1; found: cuda:0 (Interpreted, compute capability 8.0)" },
        { "busy", "could not be opened" },
    };

    [Theory]
    [InlineData("cpu", false, null)]
    [InlineData(" CPU ", false, null)]
    [InlineData("auto", true, null)]
    [InlineData("cuda", true, null)]
    [InlineData("CUDA:3", true, 3)]
    public void Settings(string text, bool usesCuda, int? index)
    {
        Assert.True(DeviceSetting.TryParse(text, out DeviceSetting setting));
        Assert.Equal((usesCuda, index), (setting.UsesCuda, setting.Index));
        Assert.Equal(text == "auto", setting.IsAuto);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("gpu")]
    [InlineData("cuda:")]
    [InlineData("cuda:-1")]
    [InlineData("cuda:1x")]
    public void OtherSettingsAreRefused(string? text)
    {
        Assert.False(DeviceSetting.TryParse(text, out _));
        ArgumentException exception = Assert.Throws<ArgumentException>(() => GemmaModel.Load(TinyModel.Path, new GemmaOptions { Device = text! }));
        Assert.Contains("expected auto, cpu, cuda", exception.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("cpu", 3)]
    [InlineData("cuda", 0)]
    public void LayersWithoutAGpuAreRefused(string device, int layers) =>
        Assert.Contains("GpuLayers", Assert.Throws<ArgumentException>(() => GemmaModel.Load(TinyModel.Path, new GemmaOptions { Device = device, GpuLayers = layers })).Message, StringComparison.Ordinal);

    /// <summary>Asked for, a GPU that cannot be used is an error; with <c>auto</c> the CPU computes, and the reason is there for the log.</summary>
    [Theory, MemberData(nameof(Unusable))]
    public void WhatCannotBeUsedIsSaid(string what, string message)
    {
        InterpretedGpu[] machine = what switch
        {
            "function" => [new InterpretedGpu { Missing = "cuMemAlloc_v2" }],
            "old" => [new InterpretedGpu { DriverVersion = 11070 }],
            "mismatch" => [new InterpretedGpu { Inject = function => function == "cuInit" ? 803 : 0 }],
            "none" => [],
            "weak" => [new InterpretedGpu { Capability = 75, Name = "Old" }],
            "busy" => [new InterpretedGpu { Inject = function => function == "cuDevicePrimaryCtxRetain" ? 46 : 0 }],
            _ => [new InterpretedGpu()],
        };
        string device = what == "number" ? "cuda:1" : "cuda";
        if (what == "none")
        {
            // Without GPUs the driver refuses to start; where it does start, the list is empty.
            Assert.Throws<GemmaDeviceException>(() => InterpretedGpu.On<object>([], library => library));
            return;
        }

        GemmaDeviceException exception = Assert.Throws<GemmaDeviceException>(() => InterpretedGpu.On(machine, library => DeviceChoice.Create(new GemmaOptions { Device = device }, () => library)));
        Assert.Contains(message, exception.Message, StringComparison.Ordinal);
        if (what == "number")
        {
            return;
        }

        Func<CudaLibrary> load = () => InterpretedGpu.On(machine, library => library);
        using Backend fallback = InterpretedGpu.With(machine, () => DeviceChoice.Create(new GemmaOptions { Device = "auto", Threads = 1 }, load));
        Assert.StartsWith("cpu/", fallback.Name, StringComparison.Ordinal);
        Assert.Contains(message, fallback.FallbackReason, StringComparison.Ordinal);
    }

    [Fact]
    public void TheFirstSuitableGpuIsTakenOrTheOneThatIsAskedFor()
    {
        InterpretedGpu[] machine = [new InterpretedGpu { Capability = 75 }, new InterpretedGpu { Capability = 86, Name = "Second" }, new InterpretedGpu { Capability = 90, Name = "Third" }];
        using Backend first = InterpretedGpu.On(machine, library => DeviceChoice.Create(new GemmaOptions { Device = "cuda" }, () => library));
        using Backend third = InterpretedGpu.On(machine, library => DeviceChoice.Create(new GemmaOptions { Device = "cuda:2" }, () => library));
        Assert.Equal(("cuda:1 (Second)", "cuda:2 (Third)"), (first.Name, third.Name));
    }

    [Fact]
    public void EverythingIsGivenBack()
    {
        InterpretedGpu gpu = new();
        GemmaOptions options = Small(gpu.Options());
        using (GemmaModel first = GemmaModel.Load(TinyModel.Path, options), second = GemmaModel.Load(TinyModel.Path, options))
        {
            Assert.Equal(2, gpu.OpenContexts);
            Assert.True(gpu.Memory.Used > 0);
        }

        Assert.Equal((0, 0L, 0, 0), (gpu.OpenContexts, gpu.Memory.Used, gpu.PinnedCount, gpu.GraphCount));
    }

    [Fact]
    public void AModelThatDoesNotFitIsSplitOrGoesToTheCpu()
    {
        DeviceNeeds needs;
        using (ModelFile file = ModelFile.Open(TinyModel.Path))
        {
            needs = DeviceNeeds.Of(file, 128, GemmaKvCacheType.F16, 8 << 20);
            Assert.Equal(4, needs.LayersWithin(needs.BytesFor(4)));
            Assert.Equal(2, needs.LayersWithin(needs.BytesFor(4) - 1));
            Assert.Equal(0, needs.LayersWithin(needs.BytesFor(2) - 1));
        }

        long two = needs.BytesFor(4) - 1;
        using (GemmaModel split = GemmaModel.Load(TinyModel.Path, Small(new InterpretedGpu { TotalBytes = two }.Options())))
        {
            Assert.StartsWith("cuda:0 (Interpreted), 2 of 4 layers, and cpu/", split.KernelName, StringComparison.Ordinal);
        }

        using (GemmaModel cpu = GemmaModel.Load(TinyModel.Path, Small(new InterpretedGpu { TotalBytes = two }.Options("auto"))))
        {
            Assert.StartsWith("cpu/", cpu.KernelName, StringComparison.Ordinal);
            Assert.Contains("are free, enough for 2 layers", cpu.FallbackReason, StringComparison.Ordinal);
        }

        InterpretedGpu gpu = new() { TotalBytes = needs.BytesFor(2) - 1 };
        GemmaMemoryException exception = Assert.Throws<GemmaMemoryException>(() => GemmaModel.Load(TinyModel.Path, Small(gpu.Options())));
        Assert.True(exception.NeededBytes > exception.AvailableBytes);
        Assert.Equal((0, 0L), (gpu.OpenContexts, gpu.Memory.Used));

        GemmaOptions all = Small(new InterpretedGpu { TotalBytes = two }.Options());
        all.GpuLayers = 4;
        Assert.Contains("enough for 2 layers", Assert.Throws<GemmaMemoryException>(() => GemmaModel.Load(TinyModel.Path, all)).Message, StringComparison.Ordinal);
    }

    /// <summary>A smaller model that guesses ahead lies on the GPU too.</summary>
    [Fact]
    public void ADraftModelCounts()
    {
        long alone, together;
        using (ModelFile file = ModelFile.Open(TinyModel.Path), draft = ModelFile.Open(TestData.Local("gguf/tiny-Q8_0.gguf")))
        {
            alone = DeviceNeeds.Of(file, 128, GemmaKvCacheType.F16, 8 << 20).BytesFor(4);
            together = DeviceNeeds.Of(file, 128, GemmaKvCacheType.F16, 8 << 20, (draft, 4)).BytesFor(4);
            Assert.InRange(together - alone, draft.Tensors.Values.Sum(tensor => tensor.ByteLength), long.MaxValue);
        }

        GemmaOptions options = Small(new InterpretedGpu { TotalBytes = together - 1 }.Options("auto"));
        using (GemmaModel model = GemmaModel.Load(TinyModel.Path, options))
        {
            Assert.StartsWith("cuda:0", model.KernelName, StringComparison.Ordinal);
        }

        options.DraftModelPath = TestData.Local("gguf/tiny-Q8_0.gguf");
        using GemmaModel guessing = GemmaModel.Load(TinyModel.Path, options);
        Assert.StartsWith("cpu/", guessing.KernelName, StringComparison.Ordinal);
    }

    /// <summary>Once a GPU has the weights, the files are let go: nothing of them is mapped, and they may be replaced.</summary>
    [Fact]
    public async Task FilesAreLetGoOnceTheirWeightsAreOnTheGpu()
    {
        using TempDirectory directory = new();
        string path = directory.File("copy.gguf"), draft = directory.File("draft.gguf");
        File.Copy(TestData.Local("gguf/tiny-Q8_0.gguf"), path);
        File.Copy(path, draft);
        GemmaOptions options = Small(new InterpretedGpu().Options());
        options.DraftModelPath = draft;
        using GemmaModel model = GemmaModel.Load(path, options);
        if (OperatingSystem.IsLinux())
        {
            Assert.DoesNotContain(directory.File(""), await File.ReadAllTextAsync("/proc/self/maps", TestContext.Current.CancellationToken), StringComparison.Ordinal);
        }

        await File.WriteAllBytesAsync(path, [], TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(draft, [], TestContext.Current.CancellationToken);
        ChatResponse response = await model.AsIChatClient().GetResponseAsync("Hello", TinyModel.Greedy(4), TestContext.Current.CancellationToken);
        Assert.Equal(4, response.Usage!.OutputTokenCount);
    }

    /// <summary>Another process may take the memory between the look and the taking.</summary>
    [Fact]
    public void MemoryThatIsGoneWhileLoadingIsSaidWithTheNumbers()
    {
        int calls = 0;
        InterpretedGpu gpu = new() { Inject = function => function == "cuMemAlloc_v2" && ++calls == 9 ? InterpretedGpu.OutOfMemory : 0 };
        GemmaMemoryException exception = Assert.Throws<GemmaMemoryException>(() => GemmaModel.Load(TinyModel.Path, Small(gpu.Options())));
        Assert.Contains("bytes left for", exception.Message, StringComparison.Ordinal);
        Assert.Equal((0, 0L, 0), (gpu.OpenContexts, gpu.Memory.Used, gpu.PinnedCount));
    }

    /// <summary>A fault of the device ends every request with its reason, at once, and what comes later is refused.</summary>
    [Theory]
    [InlineData("cuLaunchKernel")]
    [InlineData("synchronize")]
    [InlineData("cuMemcpyHtoDAsync_v2")]
    public async Task AFaultWhileRunningEndsEveryRequest(string function)
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        bool fails = false;
        InterpretedGpu gpu = new() { Inject = called => fails && called == function ? InterpretedGpu.DeviceLost : 0 };
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, Small(gpu.Options()));
        using IChatClient client = model.AsIChatClient();
        await client.GetResponseAsync("Hello", TinyModel.Greedy(2), token);
        fails = true;
        Task<ChatResponse>[] requests = [.. Enumerable.Range(0, 3).Select(i => client.GetResponseAsync($"Hello {i}", TinyModel.Greedy(40), token))];
        foreach (Task<ChatResponse> request in requests)
        {
            GemmaException exception = await Assert.ThrowsAnyAsync<GemmaException>(() => request);
            Assert.Contains("(719)", (exception as GemmaDeviceException ?? exception.InnerException)!.Message, StringComparison.Ordinal);
        }

        Eventually.IsTrue(() => model.Engine.Status.Failed);
        await Assert.ThrowsAnyAsync<GemmaException>(() => client.GetResponseAsync("Hello", TinyModel.Greedy(2), token));
    }

    /// <summary>Memory that is short for a moment costs nobody an answer: the step is tried again.</summary>
    [Fact]
    public async Task TooLittleMemoryWhileRunningIsTriedAgain()
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        int failures = 0;
        InterpretedGpu gpu = new();
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, Small(gpu.Options()));
        gpu.Inject = function => function == "cuMemAlloc_v2" && ++failures == 2 ? InterpretedGpu.OutOfMemory : 0;
        ChatResponse response = await model.AsIChatClient().GetResponseAsync("Hello", TinyModel.Greedy(4), token);
        Assert.Equal(4, response.Usage!.OutputTokenCount);
        Assert.True(failures >= 2);
    }

    [Fact]
    public void WhatAutoWouldTakeIsExplained()
    {
        using ModelFile file = ModelFile.Open(TinyModel.Path);
        Func<CudaLibrary> none = () => throw new GemmaDeviceException("no driver");
        Assert.Equal(("cpu", "no driver"), DeviceChoice.Explain(file, 128, none));
        Assert.Equal(("cuda:0 (Interpreted, compute capability 8.0)", null), Explain(new InterpretedGpu()));
        (string device, string? reason) = Explain(new InterpretedGpu { TotalBytes = 1 << 20 });
        Assert.Equal("cpu", device);
        Assert.Contains("0 of 4 layers fit", reason, StringComparison.Ordinal);

        (string, string?) Explain(InterpretedGpu gpu) => InterpretedGpu.On([gpu], library => DeviceChoice.Explain(file, 128, () => library));
    }

    /// <summary>Layers on both sides give what one side gives, whatever lies where; also with files of prompts and adapters.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(4)]
    public async Task SplitLayersGiveTheSameLogits(int firstLayers)
    {
        int[] tokens = TinyEngine.Prompt(2, 70);
        EngineOptions options = TinyEngine.Exact with { KvCacheBytes = 8 << 20 };
        using TinyEngine whole = new(options);
        using TinyEngine split = new(options, wrap: cpu => new SplitBackend(cpu, Tiers.Create("reference", 1), firstLayers, 4, isTied: true));
        Assert.Equal(whole.Logits(tokens), split.Logits(tokens));
        Assert.Equal(whole.Generate(tokens[..30], 12), split.Generate(tokens[..30], 12));
        using TempDirectory directory = new();
        string path = new Tests.Lora.RandomAdapter(whole.Config).WritePeft(directory.File("adapter"));
        Assert.Equal(whole.Logits(tokens, adapter: whole.Adapter(path)), split.Logits(tokens, adapter: split.Adapter(path)));
        string cache = directory.File("prompt.cache");
        await whole.Engine.SavePromptCacheAsync(cache, tokens[..60], TestContext.Current.CancellationToken);
        using TinyEngine other = new(options, wrap: cpu => new SplitBackend(cpu, Tiers.Create("reference", 1), firstLayers, 4, isTied: true));
        Assert.Equal(60, await other.Engine.LoadPromptCacheAsync(cache, TestContext.Current.CancellationToken));
        Assert.Equal(whole.Logits(tokens, 69), other.Logits(tokens, 69));
    }

    [Fact]
    public void CpuAndGpuTogether()
    {
        int[] tokens = TinyEngine.Prompt(2, 40);
        EngineOptions options = TinyEngine.Exact with { KvCacheBytes = 8 << 20 };
        using TinyEngine whole = new(options);
        using TinyEngine split = new(options, wrap: cpu => new SplitBackend(cpu, new InterpretedGpu().CreateBackend(), 2, 4, isTied: true));
        Assert.InRange(whole.Logits(tokens).Zip(split.Logits(tokens)).Average(pair => Difference.Divergence(pair.First, pair.Second)), -1e-9, 0.005);
    }

    private static GemmaOptions Small(GemmaOptions options)
    {
        options.ContextLength = 128;
        options.KvCacheBytes = 8 << 20;
        options.Threads = 1;
        return options;
    }
}
