using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Tests.Lora;
using Gemma.Extensions.AI.Tests.Rag;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>A step allocates nothing on the engine's thread: bytes between the 100th and the 400th token of a request, after one like it that compiled everything. Nothing runs beside them: a listener of metrics that another test attaches takes memory on that thread.</summary>
[Collection(ProcessMemoryCollection.Name)]
public sealed class AllocationTests
{
    private const int Tokens = 440;

    [Fact]
    public void TokensOfTheBaseModelAllocateNothing()
    {
        using TinyEngine tiny = new(TinyEngine.Exact with { PrefillChunk = 64, SpeculativeTokens = 0 });
        tiny.Generate(TinyEngine.Prompt(9, 60), Tokens);
        Assert.Equal(0, Measure(tiny, TinyEngine.Prompt(4, 60)));
    }

    /// <summary>Samples under every filter and penalty, so that the candidates and counts of the sampler are used too.</summary>
    [Fact]
    public void SampledTokensAllocateNothing()
    {
        SamplingOptions sampling = new() { Temperature = 0.8f, TopK = 40, TopP = 0.95f, MinP = 0.01f, FrequencyPenalty = 0.1f, RepetitionPenalty = 1.1f, Seed = 3 };
        using TinyEngine tiny = new(TinyEngine.Exact with { PrefillChunk = 64 });
        Assert.Null(tiny.Start(TinyEngine.Prompt(9, 60), Tokens, sampling: sampling).Result.Error);
        Assert.Equal(0, Measure(tiny, TinyEngine.Prompt(4, 60), sampling: sampling));
    }

    /// <summary>Guesses of repeated text, some of which are right.</summary>
    [Fact]
    public void TokensWithPromptLookupAllocateNothing()
    {
        int[] stem = TinyEngine.Prompt(4, 15), prompt = [.. stem, .. stem[1..], .. stem[1..]];
        using TinyEngine tiny = new(TinyEngine.Exact with { PrefillChunk = 64, PrefixCache = false });
        tiny.Generate(prompt, Tokens);
        long before = tiny.Engine.Steps;
        Assert.Equal(0, Measure(tiny, prompt));
        Assert.InRange(tiny.Engine.Steps - before, 1, Tokens - 20);
    }

    [Fact]
    public void TokensWithADraftModelAllocateNothing()
    {
        SamplingOptions sampling = new() { Temperature = 1, Seed = 7 };
        using TinyEngine tiny = new(TinyEngine.Exact with { PrefillChunk = 64 }, draft: TestData.Local("gguf/tiny-Q8_0.gguf"));
        Assert.Null(tiny.Start(TinyEngine.Prompt(9, 60), Tokens, sampling: sampling).Result.Error);
        long before = tiny.Engine.Steps;
        Assert.Equal(0, Measure(tiny, TinyEngine.Prompt(4, 60), sampling: sampling));
        Assert.InRange(tiny.Engine.Steps - before, 1, Tokens - 20);
    }

    [Fact]
    public void TokensWithAnAdapterAllocateNothing()
    {
        using TempDirectory folder = new();
        using TinyEngine tiny = new(TinyEngine.Exact with { PrefillChunk = 64 });
        LoraWeights adapter = tiny.Adapter(new RandomAdapter(tiny.Config).WritePeft(folder.File("adapter")));
        Assert.Null(tiny.Start(TinyEngine.Prompt(9, 60), Tokens, adapter: adapter).Result.Error);
        Assert.Equal(0, Measure(tiny, TinyEngine.Prompt(4, 60), adapter: adapter));
    }

    /// <summary>
    /// Under a grammar whose masks are known, for the request before had the same tokens, memory is taken by the text alone, in an array that doubles (7,240 bytes here), and by the
    /// frames of a document's parts, a stack that is never changed.
    /// </summary>
    [Theory]
    [InlineData("regex", "[a-z ]*", 25)]
    [InlineData("schema", """{"type":"array","items":{"enum":["ab","c"]},"minItems":500}""", 1000)]
    public void TokensUnderAGrammarAllocateNoMoreThanTextAndFrames(string kind, string text, int bytesPerToken)
    {
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"));
        GrammarCompiler compiler = GrammarCompiler.For(file.CreateTokenizer());
        CompiledGrammar grammar = kind == "regex" ? compiler.Regex(text) : compiler.JsonSchema(JsonElement.Parse(text));
        using TinyEngine tiny = new(TinyEngine.Exact with { PrefillChunk = 64 });
        int[] prompt = TinyEngine.Prompt(4, 60);
        Assert.Null(tiny.Start(prompt, Tokens, grammar.CreateConstraint([])).Result.Error);
        Assert.InRange(Measure(tiny, prompt, grammar.CreateConstraint([])) / 300.0, 0, bytesPerToken);
    }

    private static long Measure(TinyEngine tiny, int[] prompt, ITokenConstraint? constraint = null, SamplingOptions? sampling = null, LoraWeights? adapter = null)
    {
        CountingSink sink = new();
        tiny.Engine.Submit(new GenerationRequest { Prompt = prompt, Sink = sink, MaxOutputTokens = Tokens, Constraint = constraint, Adapter = adapter, Sampling = sampling ?? new SamplingOptions { Temperature = 0 } });
        GenerationResult result = sink.Completion.GetAwaiter().GetResult();
        Assert.Equal(EngineFinish.Length, result.Finish);
        return sink.Allocated;
    }

    private sealed class CountingSink : GenerationSink
    {
        private readonly TaskCompletionSource<GenerationResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _seen;
        private long _start;

        public Task<GenerationResult> Completion => _completion.Task;

        public long Allocated { get; private set; } = -1;

        public override bool OnToken(int token)
        {
            _seen++;
            _start = _seen == 100 ? GC.GetAllocatedBytesForCurrentThread() : _start;
            Allocated = _seen == 400 ? GC.GetAllocatedBytesForCurrentThread() - _start : Allocated;
            return true;
        }

        public override void OnCompleted(GenerationResult result) => _completion.SetResult(result);
    }
}
