using Gemma.Extensions.AI.Hosting;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

public class DependencyInjectionTests
{
    private static string Gguf => TestData.Local("gguf/tiny-Q8_0.gguf");

    public static TheoryData<string, Action<GemmaOptions>> BadOptions => new()
    {
        { "does not exist", o => o.ModelPath = "/there/is/nothing.gguf" },
        { "ContextLength is 0", o => o.ContextLength = 0 },
        { "Threads is 0", o => o.Threads = 0 },
        { "Kernel is blank", o => o.Kernel = " " },
        { "Kernel is 'warp', expected the name of a kernel tier (reference, portable", o => o.Kernel = "warp" },
        { "U+0000", o => o.ModelPath = "a\0b" },
        { "KvCacheType is 9", o => o.KvCacheType = (GemmaKvCacheType)9 },
        { "KvCacheBytes is 0", o => o.KvCacheBytes = 0 },
        { "MaxConcurrentRequests is 0", o => o.MaxConcurrentRequests = 0 },
        { "MaxQueuedRequests is -1", o => o.MaxQueuedRequests = -1 },
        { "SpeculativeTokens is 65", o => o.SpeculativeTokens = 65 },
    };

    [Fact]
    public async Task APathIsEnough()
    {
        await using ServiceProvider provider = new ServiceCollection().With(s => s.AddGemmaChatClient(Gguf)).BuildServiceProvider();
        ChatResponse response = await provider.GetRequiredService<IChatClient>().GetResponseAsync("Hello", TinyModel.Greedy());
        Assert.NotEmpty(response.Text);
        Assert.Equal("tiny-Q8_0", response.ModelId);
    }

    [Fact]
    public async Task BesideAPathOtherOptionsAreSetInTheSameCall()
    {
        ServiceCollection services = new();
        services.AddGemmaChatClient(Gguf, options => options.ContextLength = 200);
        services.AddKeyedGemmaChatClient("short", TinyModel.Path, options => options.ContextLength = 100);
        await using ServiceProvider provider = services.BuildServiceProvider();
        Assert.Equal(200, provider.GetRequiredService<IChatClient>().GetRequiredService<GemmaModel>().ContextLength);
        Assert.Equal(100, provider.GetRequiredKeyedService<IChatClient>("short").GetRequiredService<GemmaModel>().ContextLength);
    }

    [Fact]
    public async Task AModelIsLoadedWithoutBlockingAndLoadingCanBeGivenUp()
    {
        using GemmaModel model = await GemmaModel.LoadAsync(Gguf);
        Assert.Equal("tiny-Q8_0", model.ModelId);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => GemmaModel.LoadAsync(Gguf, cancellationToken: new CancellationToken(true)));
        await Assert.ThrowsAsync<GemmaModelFormatException>(() => GemmaModel.LoadAsync("/there/is/nothing.gguf"));
    }

    /// <summary>A host that stops during a first download does not wait for gigabytes.</summary>
    [Fact]
    public async Task DisposingGivesUpALoadThatIsUnderWay()
    {
        using ManualResetEventSlim loading = new();
        bool seen = false;
        ModelReference reference = new("/models/large.gguf", unwanted =>
        {
            loading.Set();
            seen = unwanted.WaitHandle.WaitOne(TimeSpan.FromSeconds(30));
            unwanted.ThrowIfCancellationRequested();
            throw new InvalidOperationException("The load went on.");
        });
        Task<GemmaModel> waiting = reference.GetAsync(CancellationToken.None);
        Assert.True(loading.Wait(TimeSpan.FromSeconds(30)));
        reference.Dispose();
        Assert.True(seen);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
    }

    [Fact]
    public async Task TheConfigurationSectionNamesTheModelAndTheDelegateHasTheLastWord()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["Gemma:ModelPath"] = TinyModel.Path,
            ["Gemma:ContextLength"] = "300",
            ["Gemma:KvCacheType"] = "Q8_0",
            ["Gemma:Device"] = "auto",
            ["Gemma:GpuLayers"] = "3",
            ["Gemma:Threads"] = "7",
        });
        List<string> devices = [];
        builder.Services.AddGemmaChatClient(options =>
        {
            options.Threads = 1;
            devices.Add($"{options.Device} {options.GpuLayers}");
            (options.Device, options.GpuLayers) = ("cpu", null);
        });
        using IHost host = builder.Build();
        await host.StartAsync();
        Assert.Contains("auto 3", devices);
        IChatClient client = host.Services.GetRequiredService<IChatClient>();

        GemmaOptions options = host.Services.GetRequiredService<IOptions<GemmaOptions>>().Value;
        Assert.Equal((300, GemmaKvCacheType.Q8_0, 1), (options.ContextLength, options.KvCacheType, options.Threads));
        GemmaModel model = client.GetService<GemmaModel>()!;
        Assert.Equal(300, model.ContextLength);
        Assert.Equal(1, model.Threads);
        Assert.NotEmpty((await client.GetResponseAsync("Hello", TinyModel.Greedy(4))).Text);
        await host.StopAsync();
    }

    [Fact]
    public void WithoutAModelTheStartFailsAndSaysHowToGetOne()
    {
        Assert.SkipWhen(Environment.GetEnvironmentVariable(GemmaOptions.ModelPathVariable) is not null, "GEMMA_MODEL is set.");
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddGemmaChatClient();
        using IHost host = builder.Build();

        OptionsValidationException thrown = Assert.Throws<OptionsValidationException>(host.Start);
        Assert.Contains("Gemma:ModelPath", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("GEMMA_MODEL", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("gemma pull", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("nano", thrown.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(BadOptions))]
    public void BadOptionsFailAtTheStartAndAtADirectLoad(string problem, Action<GemmaOptions> spoil)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddGemmaChatClient(options =>
        {
            options.ModelPath = TinyModel.Path;
            spoil(options);
        });
        using IHost host = builder.Build();
        Assert.Contains(problem, Assert.Throws<OptionsValidationException>(host.Start).Message, StringComparison.Ordinal);

        GemmaOptions direct = new();
        spoil(direct);
        Exception thrown = Assert.ThrowsAny<Exception>(() => GemmaModel.Load(direct.ModelPath ?? TinyModel.Path, direct).Dispose());
        Assert.True(thrown is ArgumentException or GemmaModelFormatException, thrown.GetType().Name);
        Assert.Contains(problem, thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AContextLongerThanTheModelsIsRefused()
    {
        ArgumentException thrown = Assert.ThrowsAny<ArgumentException>(() => GemmaModel.Load(TinyModel.Path, new GemmaOptions { ContextLength = 513 }).Dispose());
        Assert.Contains("513", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("512", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ClientsOfOnePathShareOneModelAndTheProviderDisposesIt()
    {
        ServiceCollection services = new();
        services.AddGemmaChatClient(Gguf);
        services.AddKeyedGemmaChatClient("again", Path.GetRelativePath(Environment.CurrentDirectory, Gguf));
        services.AddKeyedGemmaChatClient("other", TinyModel.Path);
        GemmaModel model;
        IChatClient client;
        await using (ServiceProvider provider = services.BuildServiceProvider())
        {
            client = provider.GetRequiredService<IChatClient>();
            model = client.GetService<GemmaModel>()!;
            Assert.Same(model, provider.GetRequiredKeyedService<IChatClient>("again").GetService<GemmaModel>());
            Assert.NotSame(model, provider.GetRequiredKeyedService<IChatClient>("other").GetService<GemmaModel>());
        }

        await Assert.ThrowsAsync<ObjectDisposedException>(() => client.GetResponseAsync("Hello", TinyModel.Greedy()));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => model.AsIChatClient().GetResponseAsync("Hello", TinyModel.Greedy()));
    }

    [Fact]
    public void OnePathWithTwoSetsOfOptionsIsRefused()
    {
        ServiceCollection services = new();
        services.AddGemmaChatClient(o => (o.ModelPath, o.ContextLength) = (Gguf, 100));
        services.AddKeyedGemmaChatClient("b", o => (o.ModelPath, o.ContextLength) = (Gguf, 200));
        using ServiceProvider provider = services.BuildServiceProvider();
        provider.GetRequiredService<IChatClient>();
        Assert.Contains("twice", Assert.Throws<InvalidOperationException>(() => provider.GetRequiredKeyedService<IChatClient>("b")).Message, StringComparison.Ordinal);
    }

    /// <summary>A large model to chat with and a small one for embeddings: each registration keeps the model that it names.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RegistrationsWithoutKeysMayNameDifferentModels(bool byDelegate)
    {
        ServiceCollection services = new();
        if (byDelegate)
        {
            services.AddGemmaChatClient(o => (o.ModelPath, o.ContextLength) = (Gguf, 300));
            services.AddGemmaEmbeddingGenerator(o => o.ModelPath = TinyModel.Path);
        }
        else
        {
            services.AddGemmaChatClient(Gguf);
            services.AddGemmaEmbeddingGenerator(TinyModel.Path);
        }

        await using ServiceProvider provider = services.BuildServiceProvider();
        Assert.Equal("tiny-Q8_0", provider.GetRequiredService<IChatClient>().GetService<ChatClientMetadata>()!.DefaultModelId);
        Assert.Equal("tiny", provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>().GetService<EmbeddingGeneratorMetadata>()!.DefaultModelId);
    }

    [Fact]
    public async Task RegistrationsThatNameNoModelOfTheirOwnTakeWhatWasConfigured()
    {
        ServiceCollection services = new();
        services.AddGemmaChatClient(o => (o.ModelPath, o.ContextLength) = (Gguf, 300));
        services.AddGemmaEmbeddingGenerator(o => o.ModelPath ??= "nano");
        services.Configure<GemmaOptions>(o => o.ContextLength = 200);
        await using ServiceProvider provider = services.BuildServiceProvider();
        GemmaModel model = provider.GetRequiredService<IChatClient>().GetService<GemmaModel>()!;
        Assert.Same(model, provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>().GetService<GemmaModel>());
        Assert.Equal(("tiny-Q8_0", 200), (model.ModelId, model.ContextLength));
    }

    [Fact]
    public void ASecondModelThatDoesNotExistFailsAtTheStartToo()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddGemmaChatClient("/there/is/nothing.gguf");
        builder.Services.AddGemmaEmbeddingGenerator(Gguf);
        using IHost host = builder.Build();
        Assert.Contains("nothing.gguf", Assert.Throws<OptionsValidationException>(host.Start).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task KeysThatAreSpeltAlikeAreDifferentKeys()
    {
        string other = TestData.Local("gguf/tiny-Q4_0.gguf");
        foreach ((object? a, object? b) in new (object?, object?)[] { (Small.Model, Large.Model), (1, "1"), ("", null), (null, ""), (new object(), new object()) })
        {
            ServiceCollection services = new();
            void Add(object? key, string path) => _ = key is null ? services.AddGemmaChatClient(path) : services.AddKeyedGemmaChatClient(key, path);
            Add(a, Gguf);
            Add(b, other);
            await using ServiceProvider provider = services.BuildServiceProvider();
            string? ModelOf(object? key) => (key is null ? provider.GetRequiredService<IChatClient>() : provider.GetRequiredKeyedService<IChatClient>(key)).GetService<ChatClientMetadata>()!.DefaultModelId;
            Assert.Equal(("tiny-Q8_0", "tiny-Q4_0"), (ModelOf(a), ModelOf(b)));
        }
    }

    [Fact]
    public void WhatIsWrongWithAKeyedModelNamesTheKey()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddKeyedGemmaChatClient("big", "/there/is/nothing.gguf");
        builder.Services.AddKeyedGemmaChatClient("small", Gguf);
        using IHost host = builder.Build();
        string message = Assert.Throws<OptionsValidationException>(host.Start).Message;
        Assert.Contains("'big'", message, StringComparison.Ordinal);
        Assert.Contains("Gemma:big", message, StringComparison.Ordinal);
    }

    [Fact]
    public void APathWithSignsThatMeanSomethingInAURIIsReportedAsItIs()
    {
        using TempDirectory directory = new();
        string path = directory.File("a#b%20c ü?.gguf");
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows does not allow such names.");
        File.Copy(Gguf, path);
        ServiceCollection services = new();
        services.AddGemmaChatClient(path);
        using ServiceProvider provider = services.BuildServiceProvider();
        Assert.Equal(path, provider.GetRequiredService<IChatClient>().GetService<ChatClientMetadata>()!.ProviderUri!.LocalPath);
    }

    [Fact]
    public async Task KeyedOptionsAreReadFromTheirOwnSectionOverTheCommonOne()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["Gemma:ContextLength"] = "256",
            ["Gemma:small:ModelPath"] = Gguf,
            ["Gemma:large:ModelPath"] = TinyModel.Path,
            ["Gemma:large:ContextLength"] = "128",
        });
        builder.Services.AddKeyedGemmaChatClient("small");
        builder.Services.AddKeyedGemmaChatClient("large");
        using IHost host = builder.Build();
        await host.StartAsync();
        GemmaModel small = host.Services.GetRequiredKeyedService<IChatClient>("small").GetService<GemmaModel>()!;
        GemmaModel large = host.Services.GetRequiredKeyedService<IChatClient>("large").GetService<GemmaModel>()!;
        Assert.Equal(("tiny-Q8_0", 256), (small.ModelId, small.ContextLength));
        Assert.Equal(("tiny", 128), (large.ModelId, large.ContextLength));
    }

    [Fact]
    public async Task NothingIsReadBeforeTheFirstUse()
    {
        using TempDirectory directory = new();
        string path = directory.File("broken.gguf");
        File.WriteAllText(path, "not a model");
        List<string> log = [];
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.AddProvider(new ListLogger(log));
        builder.Services.AddGemmaChatClient(path).UseOpenTelemetry();
        using IHost host = builder.Build();
        await host.StartAsync();
        IChatClient client = host.Services.GetRequiredService<IChatClient>();
        Assert.Equal("broken", client.GetService<ChatClientMetadata>()!.DefaultModelId);
        Assert.DoesNotContain(log, line => line.Contains("Loading", StringComparison.Ordinal));

        await Assert.ThrowsAsync<GemmaModelFormatException>(() => client.GetResponseAsync("Hello"));
        Assert.Contains(log, line => line.Contains("failed", StringComparison.Ordinal));

        // A load that failed is tried again: the file may have been repaired.
        File.Copy(Gguf, path, overwrite: true);
        Assert.NotEmpty((await client.GetResponseAsync("Hello", TinyModel.Greedy(4))).Text);
        Assert.Contains(log, line => line.Contains("Loaded broken", StringComparison.Ordinal));
    }

    [Fact]
    public async Task PreloadLoadsWhileTheHostStarts()
    {
        List<string> log = [];
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.AddProvider(new ListLogger(log));
        builder.Services.AddGemmaChatClient(o => (o.ModelPath, o.Preload) = (Gguf, true));
        using IHost host = builder.Build();
        await host.StartAsync();
        Assert.Contains(log, line => line.Contains("Loaded tiny-Q8_0", StringComparison.Ordinal));
    }

    [Fact]
    public async Task MiddlewareFollowsTheRegistration()
    {
        ServiceCollection services = new();
        services.AddDistributedMemoryCache();
        services.AddLogging();
        services.AddGemmaChatClient(Gguf).UseFunctionInvocation().UseDistributedCache().UseOpenTelemetry().UseLogging();
        await using ServiceProvider provider = services.BuildServiceProvider();
        IChatClient client = provider.GetRequiredService<IChatClient>();
        ChatResponse first = await client.GetResponseAsync("Hello", TinyModel.Greedy());
        ChatResponse cached = await client.GetResponseAsync("Hello", TinyModel.Greedy());
        Assert.Equal(first.Text, cached.Text);
        Assert.Equal(first.ResponseId, cached.ResponseId);
    }

    private enum Small
    {
        Model,
    }

    private enum Large
    {
        Model,
    }

    private sealed class ListLogger(List<string> lines) : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            lock (lines)
            {
                lines.Add(formatter(state, exception));
            }
        }

        public void Dispose()
        {
        }
    }
}

internal static class ServiceCollectionTestExtensions
{
    public static IServiceCollection With(this IServiceCollection services, Action<IServiceCollection> add)
    {
        add(services);
        return services;
    }
}
