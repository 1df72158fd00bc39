using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Gbnf;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Nano;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Benchmarks.Engine;

/// <summary>What conversations notice of others whose grammars take as much work as they can: the longest time that the engine's thread computes between two of their tokens.</summary>
internal static class HostileBenchmark
{
    private const int Innocents = 3;

    private static readonly (string Kind, string Text)[] s_hostile =
    [
        ("regex", "^(a|b)*a(a|b){40}$"),
        ("regex", "^((a{1,1000}b?){1,1000}c?){1,1000}$"),
        ("regex", "^(?=(.*a){12})(?=(.*b){12})(?=(.*c){12}).*$"),
        ("regex", "^(?!.*(abc|bca|cab).{7}x)[^]*y[^]{60}$"),
        ("gbnf", "root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"a\" root | \"a\" root \"d\" | \"e\""),
        ("gbnf", "root ::= x{0,10000} \"!\"\nx ::= \"(\" x \")\" | y\ny ::= \"[\" x \"]\" | \"\""),
        ("gbnf", "root ::= (\"x\" root \"y\" | \"z\"){1,9000}"),
        ("schema", """{"type":"object","patternProperties":{"a.*b.{4}$":{"type":"integer"},"^[ab]*a.{3}":{"minimum":3}},"minProperties":6}"""),
        ("schema", """{"type":"array","contains":{"const":"a"},"minContains":300,"maxContains":310,"items":{"enum":["a","b"]}}"""),
        ("schema", """{"type":"array","items":{"enum":["a","b","c"]},"allOf":[{"contains":{"const":"a"},"minContains":20,"maxContains":25},{"contains":{"const":"b"},"minContains":20}]}"""),
    ];

    public static Command Create()
    {
        Option<int> tokens = new("--tokens") { Description = "Tokens of each innocent answer.", DefaultValueFactory = _ => 120 };
        Option<int?> threads = new("--threads") { Description = "Threads that compute." };
        Command command = new("hostile", "Step gaps of conversations beside others with hostile grammars, on nano.") { tokens, threads };
        command.SetAction(async (parse, _) =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            await RunAsync(parse.GetValue(tokens), parse.GetValue(threads)).ConfigureAwait(false);
            return 0;
        });
        return command;
    }

    private static async Task RunAsync(int tokens, int? threads)
    {
        using BenchmarkEngine engine = new(NanoModel.Path, new EngineOptions { SpeculativeTokens = 0 }, threads);
        GemmaTokenizer tokenizer = engine.CreateTokenizer();
        GrammarCompiler compiler = GrammarCompiler.For(tokenizer);
        await InnocentsAsync(engine, tokens, 0).ConfigureAwait(false); // warm
        Console.WriteLine($"\n{Innocents} conversations of {tokens} tokens; processor time of the engine's thread between two tokens of one.\n\n| beside them | median, ms | longest, ms | tokens of the hostile one | times its mask was not ready |\n|---|---:|---:|---:|---:|");
        await ReportAsync("nothing", engine, tokens, null).ConfigureAwait(false);
        foreach ((string kind, string text) in s_hostile)
        {
            CompiledGrammar grammar = await compiler.KeepAsync(kind + text, () => Compile(compiler, kind, text)).ConfigureAwait(false);
            await ReportAsync($"{kind} `{(text.Length > 60 ? text[..60] + "…" : text).Replace("|", "\\|", StringComparison.Ordinal).ReplaceLineEndings(" ")}`", engine, tokens, () => grammar.CreateConstraint([tokenizer.EndOfTurnId])).ConfigureAwait(false);
        }
    }

    private static CompiledGrammar Compile(GrammarCompiler compiler, string kind, string text) => kind switch
    {
        "regex" => new(compiler.Vocabulary, new LexerSymbol(GrammarCompiler.RegexLexer(text))),
        "gbnf" => new(compiler.Vocabulary, GbnfCompiler.Compile(text)),
        _ => new(compiler.Vocabulary, new ValueSymbol(JsonSchemaCompiler.Compile(JsonElement.Parse(text)))),
    };

    private static async Task ReportAsync(string name, BenchmarkEngine engine, int tokens, Func<ITokenConstraint>? hostile)
    {
        using CancellationTokenSource stop = new();
        int written = 0, late = 0;
        Task? beside = hostile is null ? null : Task.Run(async () =>
        {
            for (int seed = 0; !stop.IsCancellationRequested; seed++)
            {
                CountingConstraint constraint = new(hostile());
                TimedRequest request = engine.Start(engine.Prompt(900 + seed, 8), 200, constraint, stop.Token, new SamplingOptions { Temperature = 1.5f, Seed = seed });
                await request.Task.ConfigureAwait(false);
                written += request.Tokens.Count;
                late += constraint.Late;
            }
        });
        double[] gaps = [.. (await InnocentsAsync(engine, tokens, 1).ConfigureAwait(false)).Concat(await InnocentsAsync(engine, tokens, 2).ConfigureAwait(false)).Order()];
        await stop.CancelAsync().ConfigureAwait(false);
        await (beside ?? Task.CompletedTask).ConfigureAwait(false);
        Console.WriteLine($"| {name} | {gaps[gaps.Length / 2]:F2} | {gaps[^1]:F2} | {written} | {late} |");
    }

    private static async Task<IEnumerable<double>> InnocentsAsync(BenchmarkEngine engine, int tokens, int seed)
    {
        GapSink[] sinks = [.. Enumerable.Range(0, Innocents).Select(_ => new GapSink())];
        for (int i = 0; i < sinks.Length; i++)
        {
            engine.Engine.Submit(new GenerationRequest { Prompt = engine.Prompt((100 * seed) + i, 16), Sink = sinks[i], MaxOutputTokens = tokens, Sampling = new SamplingOptions { Temperature = 1, Seed = i } });
        }

        await Task.WhenAll(sinks.Select(static s => s.Task)).ConfigureAwait(false);
        return sinks.SelectMany(static s => s.Gaps);
    }

    /// <summary>Notes how long the engine's thread computes between tokens, in milliseconds.</summary>
    private sealed class GapSink : GenerationSink
    {
        private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private double _last;

        public List<double> Gaps { get; } = [];

        public Task Task => _done.Task;

        public override bool OnToken(int token)
        {
            double now = ProcessorTime.Microseconds();
            if (_last > 0)
            {
                Gaps.Add((now - _last) / 1000);
            }

            _last = now;
            return true;
        }

        public override void OnCompleted(GenerationResult result) => _done.SetResult();
    }

    /// <summary>Counts how often the engine asked for a mask that was not worked out yet.</summary>
    private sealed class CountingConstraint(ITokenConstraint inner) : ITokenConstraint
    {
        public int Late { get; private set; }

        public Action? WhenPrepared
        {
            set => inner.WhenPrepared = value;
        }

        public bool TryPrepare(ref long budget)
        {
            bool ready = inner.TryPrepare(ref budget);
            Late += ready ? 0 : 1;
            return ready;
        }

        public void Stop() => inner.Stop();

        public bool TryFillMask(Span<ulong> mask) => inner.TryFillMask(mask);

        public bool IsAllowed(int token) => inner.IsAllowed(token);

        public void Accept(int token) => inner.Accept(token);

        public int GetForcedTokens(Span<int> tokens, ref long budget) => inner.GetForcedTokens(tokens, ref budget);

        public ITokenConstraint Clone() => inner.Clone();
    }
}
