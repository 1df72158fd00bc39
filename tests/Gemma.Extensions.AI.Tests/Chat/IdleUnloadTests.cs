using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Hosting;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Models that nobody uses are unloaded: after a time, or to make room for others.</summary>
public sealed class IdleUnloadTests
{
    private static readonly TimeSpan s_idle = TimeSpan.FromMinutes(5);

    [Fact]
    public async Task AModelIsUnloadedWhenNobodyUsedItForTheTimeAndLoadedAgainWhenNeeded()
    {
        ManualClock time = new();
        await using ServiceProvider provider = Provider(time, options => options.IdleUnload = s_idle);
        IChatClient client = provider.GetRequiredService<IChatClient>();
        ModelReference reference = (ModelReference)client.GetService(typeof(ModelReference))!;
        string first = (await client.GetResponseAsync("Hello", TinyModel.Greedy())).Text;
        time.Advance(s_idle - TimeSpan.FromSeconds(1));
        Assert.NotNull(reference.Loaded);
        await client.GetResponseAsync("Hello", TinyModel.Greedy(1)); // begins the time anew
        time.Advance(s_idle - TimeSpan.FromSeconds(1));
        Assert.NotNull(reference.Loaded);
        WeakReference<GemmaModel> gone = Weak(reference);
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.Null(reference.Loaded);
        Assert.Equal(first, (await client.GetResponseAsync("Hello", TinyModel.Greedy())).Text); // waits for the unloading and the load
        Assert.NotNull(reference.Loaded);
        GC.Collect();
        Assert.False(gone.TryGetTarget(out _)); // nothing holds the one before
    }

    [Fact]
    public async Task AModelIsNotUnloadedWhileItAnswers()
    {
        ManualClock time = new();
        await using ServiceProvider provider = Provider(time, options => options.IdleUnload = TimeSpan.Zero);
        IChatClient client = provider.GetRequiredService<IChatClient>();
        ModelReference reference = (ModelReference)client.GetService(typeof(ModelReference))!;
        await using (IAsyncEnumerator<ChatResponseUpdate> answer = client.GetStreamingResponseAsync("Hello", TinyModel.Greedy()).GetAsyncEnumerator())
        {
            Assert.True(await answer.MoveNextAsync());
            time.Advance(TimeSpan.FromDays(1));
            Assert.Null(reference.TryUnload());
            Assert.NotNull(reference.Loaded);
        }

        time.Advance(TimeSpan.Zero);
        Assert.Null(reference.Loaded);
    }

    [Fact]
    public async Task AModelThatSomebodyTookStays()
    {
        ManualClock time = new();
        await using ServiceProvider provider = Provider(time, options => options.IdleUnload = s_idle);
        IChatClient client = provider.GetRequiredService<IChatClient>();
        GemmaModel model = client.GetService<GemmaModel>()!;
        await client.GetResponseAsync("Hello", TinyModel.Greedy(1));
        time.Advance(TimeSpan.FromDays(1));
        Assert.Same(model, client.GetService<GemmaModel>());
        ChatResponse response = await model.AsIChatClient().GetResponseAsync("Hello", TinyModel.Greedy(1));
        Assert.Equal(1, response.Usage!.OutputTokenCount);
        Assert.Null(((ModelReference)model.AsIChatClient().GetService(typeof(ModelReference))!).TryUnload()); // belongs to whoever loaded it
    }

    /// <summary>Requests come while the model is being unloaded: each is answered, and no two models are in memory.</summary>
    [Fact]
    public async Task RequestsOfAModelThatIsBeingUnloadedWait()
    {
        int loads = 0, twice = 0;
        GemmaModel? before = null;
        using ModelReference reference = new(TinyModel.Path, _ =>
        {
            loads++;
            twice += before is null || IsDisposed(before) ? 0 : 1;
            return before = GemmaModel.Load(TinyModel.Path, new GemmaOptions { Threads = 1 });
        });
        GemmaChatClient client = new(reference);
        await client.GetResponseAsync("Hello", TinyModel.Greedy(1));
        for (int round = 0; round < 4; round++)
        {
            Assert.NotNull(reference.TryUnload());
            ChatResponse[] responses = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => client.GetResponseAsync("Hello", TinyModel.Greedy(2)))));
            Assert.All(responses, response => Assert.Equal(2, response.Usage!.OutputTokenCount));
        }

        Assert.Equal((5, 0), (loads, twice));

        static bool IsDisposed(GemmaModel model) =>
            Record.Exception(() => model.CompleteAsync("x", TinyModel.Greedy(1)).GetAwaiter().GetResult()) is ObjectDisposedException;
    }

    [Fact]
    public async Task TheModelThatWasNotUsedForTheLongestTimeMakesRoom()
    {
        ManualClock time = new();
        using TempDirectory folder = new();
        string[] paths = [.. Enumerable.Range(0, 3).Select(i => Copy(folder, $"model-{i}"))];
        long bytes = GemmaModel.MemoryOf(paths[0], new GemmaOptions());
        ServiceCollection services = new();
        services.AddSingleton<TimeProvider>(time);
        foreach (string path in paths)
        {
            services.AddKeyedGemmaChatClient(Path.GetFileName(path), options =>
            {
                (options.ModelPath, options.Threads, options.MemoryBudget) = (path, 1, 2 * bytes + bytes / 2);
            });
        }

        await using ServiceProvider provider = services.BuildServiceProvider();
        IChatClient[] clients = [.. paths.Select(path => provider.GetRequiredKeyedService<IChatClient>(Path.GetFileName(path)))];
        ModelReference[] references = [.. clients.Select(client => (ModelReference)client.GetService(typeof(ModelReference))!)];
        foreach (int i in (int[])[0, 1, 0]) // the second one was not used for the longest time
        {
            await AskAsync(i);
            time.Advance(TimeSpan.FromSeconds(1));
        }

        await AskAsync(2);
        Assert.Equal([true, false, true], references.Select(reference => reference.Loaded is not null));

        // All that are loaded answer: the request waits until one of them is free.
        IAsyncEnumerator<ChatResponseUpdate>[] answers = [.. new[] { 0, 2 }.Select(i => clients[i].GetStreamingResponseAsync("Hello", TinyModel.Greedy()).GetAsyncEnumerator())];
        foreach (IAsyncEnumerator<ChatResponseUpdate> answer in answers)
        {
            Assert.True(await answer.MoveNextAsync());
        }

        Task waiting = AskAsync(1);
        using CancellationTokenSource impatient = new(TimeSpan.FromMilliseconds(50));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => clients[1].GetResponseAsync("Hello", TinyModel.Greedy(1), impatient.Token));
        Assert.False(waiting.IsCompleted);
        await answers[0].DisposeAsync();
        await waiting.WaitAsync(TimeSpan.FromMinutes(1));
        Assert.Equal([false, true, true], references.Select(reference => reference.Loaded is not null));
        await answers[1].DisposeAsync();

        Task AskAsync(int i) => clients[i].GetResponseAsync("Hello", TinyModel.Greedy(1));
    }

    [Fact]
    public async Task AModelThatNeverFitsTheBudgetIsRefusedWithTheNumbers()
    {
        await using ServiceProvider provider = Provider(new ManualClock(), options => options.MemoryBudget = 1000);
        GemmaMemoryException error = await Assert.ThrowsAsync<GemmaMemoryException>(() => provider.GetRequiredService<IChatClient>().GetResponseAsync("Hello"));
        Assert.Equal(1000, error.AvailableBytes);
        Assert.True(error.NeededBytes > 1000);
    }

    [Fact]
    public void TimesAndBudgetsOutOfRangeAreRefused()
    {
        Assert.Contains(new GemmaOptions { ModelPath = TinyModel.Path, IdleUnload = TimeSpan.FromSeconds(-1) }.Validate(), problem => problem.Contains("IdleUnload", StringComparison.Ordinal));
        Assert.Contains(new GemmaOptions { ModelPath = TinyModel.Path, MemoryBudget = 0 }.Validate(), problem => problem.Contains("MemoryBudget", StringComparison.Ordinal));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference<GemmaModel> Weak(ModelReference reference) => new(reference.Loaded!);

    private static ServiceProvider Provider(ManualClock time, Action<GemmaOptions> configure)
    {
        ServiceCollection services = new();
        services.AddSingleton<TimeProvider>(time);
        services.AddGemmaChatClient(options =>
        {
            (options.ModelPath, options.Threads) = (TinyModel.Path, 1);
            configure(options);
        });
        return services.BuildServiceProvider();
    }

    private static string Copy(TempDirectory folder, string name)
    {
        string target = folder.File(name);
        Directory.CreateDirectory(target);
        foreach (string file in Directory.EnumerateFiles(TinyModel.Path))
        {
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
        }

        return target;
    }
}
