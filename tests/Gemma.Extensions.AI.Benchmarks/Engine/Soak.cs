using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Tokens;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Benchmarks.Engine;

/// <summary>What a soak run found.</summary>
internal sealed record SoakReport(
    int Wrong, int Failed, int Alive, int Cancelled, int Broken, int ToolCalls, long Tokens, long Cached, long Preemptions, int UsedBlocks, int Blocks,
    TimeSpan Took, SoakMemory Memory)
{
    /// <summary>No mixed or lost output, no block or object left behind, and no memory that grows with the requests.</summary>
    public bool Clean => Wrong + Failed + UsedBlocks + Alive == 0 && Memory.IsFlat;
}

/// <summary>
/// Many requests, many at a time: random lengths and shared beginnings, cancellations, early breaks, JSON grammars, tool-call expressions, whole
/// conversations in which a client calls functions, and key/value memory that is too small for all of them, so that sequences have to give way.
/// Every text must be the one that the request gets alone.
/// </summary>
internal sealed class Soak : IDisposable
{
    private readonly GemmaModel _model;
    private readonly int[] _stops;
    private readonly Kind[] _kinds;
    private readonly Conversation[] _conversations;
    private readonly ConcurrentBag<WeakReference> _sample = []; // some of the requests: what holds one after its end would hold all
    private int _wrong, _failed, _cancelled, _broken, _toolCalls;
    private long _tokens, _cached;

    /// <param name="path">The model.</param>
    /// <param name="kinds">Different requests.</param>
    /// <param name="concurrent">Requests at a time.</param>
    /// <param name="kvBytes">Key/value memory.</param>
    /// <param name="createBackend">What computes; the machine's own tier where not given.</param>
    public Soak(string path, int kinds, int concurrent, long kvBytes, Func<GemmaOptions, Backend>? createBackend = null)
    {
        createBackend ??= new GemmaOptions().CreateBackend;
        using (GemmaModel solo = GemmaModel.Load(path, new GemmaOptions { SpeculativeTokens = 0, MaxConcurrentRequests = 1, CreateBackend = createBackend }))
        {
            _stops = [solo.Tokenizer.EosId, solo.Tokenizer.EndOfTurnId];
            _kinds = [.. Enumerable.Range(0, kinds).Select(i => MakeKind(solo, i))];
            _conversations = [.. Enumerable.Range(0, Math.Max(4, kinds / 10)).Select(i => MakeConversation(solo, i))];
        }

        _model = GemmaModel.Load(path, new GemmaOptions { KvCacheBytes = kvBytes, MaxConcurrentRequests = concurrent, CreateBackend = createBackend });
        Concurrent = concurrent;
    }

    public int Concurrent { get; }

    /// <summary>Runs requests, looks at the memory ten times, and at the end whether anything still holds a request.</summary>
    public async Task<SoakReport> RunAsync(int requests)
    {
        Stopwatch clock = Stopwatch.StartNew();
        SoakMemory memory = await SoakLoop.RunAsync(requests, Concurrent, (random, number) => random.Next(12) == 0
            ? ConverseAsync(_conversations[random.Next(_conversations.Length)]) : RequestAsync(_kinds[random.Next(_kinds.Length)], random, sampled: number % Math.Max(1, requests / 1000) == 0));
        EngineStatus status = _model.Engine.Status;
        return new SoakReport(_wrong, _failed, CountAlive(), _cancelled, _broken, _toolCalls, _tokens, _cached, status.Preemptions, status.UsedBlocks, status.Blocks,
            clock.Elapsed, memory);
    }

    public void Dispose() => _model.Dispose();

    /// <summary>Frames of the stack may hold the last ones for a moment.</summary>
    private int CountAlive()
    {
        SpinWait.SpinUntil(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return !_sample.Any(request => request.IsAlive);
            },
            TimeSpan.FromSeconds(5));
        return _sample.Count(request => request.IsAlive);
    }

    private async Task RequestAsync(Kind kind, Random random, bool sampled)
    {
        using CancellationTokenSource source = new();
        int chance = random.Next(10);
        int stopAfter = chance == 0 ? random.Next(1, kind.Length + 1) : int.MaxValue;
        TimedRequest request = Submit(_model, kind, stopAfter, random, source.Token);
        if (sampled)
        {
            _sample.Add(new WeakReference(request));
        }

        if (chance == 1)
        {
            await Task.Delay(random.Next(40));
            source.Cancel();
        }

        GenerationResult result = await request.Task;
        bool whole = result.Finish is EngineFinish.Length || (result.Finish is EngineFinish.Stop && request.Tokens.Count < stopAfter);
        bool right = request.Tokens.SequenceEqual(whole ? kind.Expected : kind.Expected.Take(request.Tokens.Count));
        Interlocked.Add(ref _wrong, right ? 0 : 1);
        Interlocked.Add(ref _cancelled, result.Finish == EngineFinish.Cancelled ? 1 : 0);
        Interlocked.Add(ref _broken, stopAfter < int.MaxValue ? 1 : 0);
        Interlocked.Add(ref _failed, result.Finish == EngineFinish.Failed ? 1 : 0);
        Interlocked.Add(ref _tokens, result.GeneratedTokens);
        Interlocked.Add(ref _cached, result.CachedTokens);
    }

    private async Task ConverseAsync(Conversation conversation)
    {
        try
        {
            string said = await AnswerAsync(_model, conversation.Number);
            Interlocked.Add(ref _wrong, Comparable(said) == Comparable(conversation.Expected) ? 0 : 1);
        }
        catch (GemmaException)
        {
            Interlocked.Increment(ref _failed);
        }
    }

    /// <summary>
    /// Where prompts have kernels of their own, what follows a turn that was generated depends on whether the cache still has that turn or it is read again, as a prompt: the call and
    /// its result are compared, what is said after them is not.
    /// </summary>
    private string Comparable(string said) => _model.Backend.HasPromptKernels ? string.Join('\n', said.Split('\n').Take(2)) : said;

    private TimedRequest Submit(GemmaModel model, Kind kind, int stopAfter, Random? random, CancellationToken cancellation)
    {
        TimedRequest request = new(stopAfter);
        model.Engine.Submit(new GenerationRequest
        {
            Prompt = kind.Prompt,
            Sink = request,
            MaxOutputTokens = kind.Length,
            StopTokens = _stops,
            Sampling = kind.Sampling,
            Constraint = kind.Grammar?.CreateConstraint(_stops),
            Caller = $"caller {random?.Next(4)}",
            Priority = random?.Next(2) ?? 0,
            CancellationToken = cancellation,
        });
        return request;
    }

    /// <summary>A request and the text that it gets alone.</summary>
    private Kind MakeKind(GemmaModel solo, int i)
    {
        Random random = new(i);
        GrammarCompiler compiler = GrammarCompiler.For(solo.Tokenizer);
        int[] stem = RandomTokens(solo, i % 12, 150);
        // Some begin short and grow long: they are let in while there is room and run out of it later.
        bool grows = i % 4 == 3;
        int[] prompt = [.. stem[..random.Next(1, grows ? 10 : 151)], .. RandomTokens(solo, 1000 + i, random.Next(2, grows ? 10 : 80))];
        SamplingOptions sampling = i % 3 == 0 ? new SamplingOptions { Temperature = 0 } : new SamplingOptions { Temperature = 0.8f, TopK = 40, RepetitionPenalty = i % 2 == 0 ? 1 : 1.1f, Seed = i };
        CompiledGrammar? grammar = grows ? null : (i % 8) switch
        {
            0 => compiler.JsonSchema(JsonElement.Parse("""{"type":"object","properties":{"city":{"type":"string","maxLength":12},"days":{"type":"integer","minimum":1,"maximum":9}},"required":["city","days"],"additionalProperties":false}""")),
            1 => compiler.Regex("""<tool_call>\{"name":"(get_weather|get_time)","arguments":\{"city":"[a-z]{1,8}"\}\}</tool_call>"""),
            _ => null,
        };
        Kind kind = new(prompt, grows ? random.Next(60, 160) : random.Next(1, 60), sampling, grammar, []);
        TimedRequest request = Submit(solo, kind, int.MaxValue, null, CancellationToken.None);
        return request.Task.GetAwaiter().GetResult().Error is { } error ? throw error : kind with { Expected = [.. request.Tokens] };
    }

    private Conversation MakeConversation(GemmaModel solo, int number)
    {
        string expected = AnswerAsync(solo, number).GetAwaiter().GetResult();
        _toolCalls = 0;
        return new Conversation(number, expected);
    }

    /// <summary>A client that calls functions: the model has to call one, the function answers, and the model goes on. All that was said, as text.</summary>
    private async Task<string> AnswerAsync(GemmaModel model, int number)
    {
        using IChatClient client = model.AsIChatClient().AsBuilder().UseFunctionInvocation().Build();
        AIFunction weather = AIFunctionFactory.Create((string city) =>
        {
            Interlocked.Increment(ref _toolCalls);
            return $"{city}: {number} degrees";
        }, "get_weather", "Gets the weather of a city.");
        ChatOptions options = new() { Tools = [new OneCity(weather)], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false, Temperature = 0.9f, Seed = number, MaxOutputTokens = 80 };
        ChatResponse response = await client.GetResponseAsync([new ChatMessage(ChatRole.System, "Be brief."), new(ChatRole.User, $"Question {number}")], options);
        return string.Join('\n', response.Messages.SelectMany(message => message.Contents).Select(content => content switch
        {
            TextContent text => text.Text,
            FunctionCallContent call => $"{call.Name}({string.Join(", ", call.Arguments!.Values)})",
            FunctionResultContent result => $"{result.Result}",
            _ => "",
        }));
    }

    private static int[] RandomTokens(GemmaModel model, int seed, int length)
    {
        Random random = new(seed);
        return [2, .. Enumerable.Range(1, length - 1).Select(_ => random.Next(300, model.Config.VocabularySize))];
    }

    private sealed record Kind(int[] Prompt, int Length, SamplingOptions Sampling, CompiledGrammar? Grammar, int[] Expected);

    private sealed record Conversation(int Number, string Expected);

    /// <summary>A function with a schema that a model of random weights fulfils in few tokens.</summary>
    private sealed class OneCity(AIFunction inner) : DelegatingAIFunction(inner)
    {
        public override JsonElement JsonSchema { get; } = JsonElement.Parse(
            """{"type":"object","properties":{"city":{"enum":["Paris","Rome","Oslo"]}},"required":["city"],"additionalProperties":false}""");
    }
}
