using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Files;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Lora;

/// <summary>Adapters that are loaded and unloaded while requests use them, by many at once.</summary>
public sealed class AdapterLifetimeTests : IDisposable
{
    private readonly TempDirectory _temp = new();
    private readonly string _legal, _support;

    public AdapterLifetimeTests()
    {
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"));
        _legal = new RandomAdapter(file.Config, 1).WritePeft(_temp.File("legal"));
        _support = new RandomAdapter(file.Config, 2).WriteGguf(_temp.File("support.gguf"));
    }

    public void Dispose() => _temp.Dispose();

    /// <summary>Each request is answered by one adapter from its first token to its last, or is told that there is none of the name.</summary>
    [Fact]
    public async Task RequestsEndWithTheAdapterTheyBeganWith()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Kernel = "reference", MaxConcurrentRequests = 6 });
        using IChatClient client = model.AsIChatClient();
        HashSet<string> texts = [];
        foreach (string path in (string[])[_legal, _support])
        {
            model.LoadAdapter("a", path);
            texts.Add(await AnswerAsync(client));
            Assert.True(model.UnloadAdapter("a"));
        }

        Assert.Equal(2, texts.Count);
        int asked = 0, answered = 0, refused = 0, loaded = 0, taken = 0, unloaded = 0;
        using CancellationTokenSource enough = new(), tooLong = new(TimeSpan.FromMinutes(3));
        Task[] operators = [.. Enumerable.Range(0, 3).Select(i => Task.Factory.StartNew(() =>
        {
            for (int round = 0; !enough.IsCancellationRequested; round++)
            {
                try
                {
                    model.LoadAdapter("a", (round + i) % 2 == 0 ? _legal : _support);
                    Interlocked.Increment(ref loaded);
                }
                catch (ArgumentException e)
                {
                    Assert.Contains("loaded already", e.Message, StringComparison.Ordinal);
                    Interlocked.Increment(ref taken);
                }

                Thread.Sleep(round % 7);
                Interlocked.Add(ref unloaded, model.UnloadAdapter("a") ? 1 : 0);
            }
        }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        Task[] callers = [.. Enumerable.Range(0, 6).Select(_ => Task.Run(async () =>
        {
            for (int i = 0; (i < 40 || !EachSeen()) && !tooLong.IsCancellationRequested; i++)
            {
                Interlocked.Increment(ref asked);
                try
                {
                    Assert.Contains(await AnswerAsync(client), texts);
                    Interlocked.Increment(ref answered);
                }
                catch (ArgumentException e)
                {
                    Assert.Contains("'a'", e.Message, StringComparison.Ordinal);
                    Interlocked.Increment(ref refused);
                }
            }
        }))];
        try
        {
            await Task.WhenAll(callers);
        }
        finally
        {
            await enough.CancelAsync();
        }

        await Task.WhenAll(operators);
        Assert.Equal(asked, answered + refused);
        Assert.True(EachSeen(), $"{answered} answered, {refused} refused, {loaded} loaded, {taken} were there already.");
        Assert.Equal(loaded, unloaded);
        Assert.Empty(model.Adapters);
        Assert.Equal(0, model.Engine.Status.UsedBlocks);

        // Refusals take microseconds: on a busy machine all could be over before an operator gets a processor.
        bool EachSeen() => Volatile.Read(ref answered) > 0 && Volatile.Read(ref loaded) > 1 && Volatile.Read(ref taken) > 0;
    }

    [Fact]
    public async Task OfManyLoadsOfOneNameOneSucceeds()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Kernel = "reference" });
        for (int round = 0; round < 5; round++)
        {
            using Barrier together = new(4);
            Exception?[] outcomes = await Task.WhenAll(Enumerable.Range(0, 4).Select(i => Task.Factory.StartNew(
                () =>
                {
                    together.SignalAndWait();
                    return Record.Exception(() => model.LoadAdapter(i % 2 == 0 ? "a" : "A", _legal));
                },
                CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
            Assert.Single(outcomes, outcome => outcome is null);
            Assert.All(outcomes, outcome => Assert.True(outcome is null or ArgumentException, $"{outcome}"));
            Assert.True(model.UnloadAdapter("a"));
        }
    }

    /// <summary>Unloaded while a request uses it: that request's text is whole, and then nothing holds the factors any more, though the engine has no further step to take.</summary>
    [Fact]
    public async Task MemoryIsFreedAfterTheLastRequest()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Kernel = "reference" });
        using IChatClient client = model.AsIChatClient();
        WeakReference[] factors = await UnloadWhileInUseAsync(model, client, _legal);
        await Task.Yield(); // to a stack that is not that of the last update's arrival
        bool freed = SpinWait.SpinUntil(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return !factors.Any(factor => factor.IsAlive);
            },
            TimeSpan.FromSeconds(30));
        Assert.True(freed, $"{factors.Count(factor => factor.IsAlive)} of {factors.Length} matrices of an unloaded adapter are still held.");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<WeakReference[]> UnloadWhileInUseAsync(GemmaModel model, IChatClient client, string path)
    {
        model.LoadAdapter("a", path);
        string expected = await AnswerAsync(client);
        WeakReference[] factors = Factors(model);
        string said = "";
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync("Hello there, who are you?", Options()))
        {
            model.UnloadAdapter("a");
            said += update.Text;
        }

        Assert.Equal(expected, said);
        Assert.Throws<ArgumentException>(() => model.FindAdapter("a"));
        return factors;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference[] Factors(GemmaModel model) => [.. model.FindAdapter("a")!.Updates.OfType<object>().Select(update => new WeakReference(update))];

    private static ChatOptions Options() => new() { RawRepresentationFactory = _ => new GemmaGenerationOptions { Temperature = 0, MaxOutputTokens = 24, Adapter = "a" } };

    private static async Task<string> AnswerAsync(IChatClient client) => (await client.GetResponseAsync("Hello there, who are you?", Options())).Text;
}
