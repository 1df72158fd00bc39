using System.CommandLine;
using System.Globalization;
using System.Runtime;
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

    // What is measured, and another one of its kind that was run before: the just-in-time compiler has seen it.
    private static readonly (string Kind, string Name, string Text, string Warm)[] s_hostile =
    [
        Regex("^(a|b)*a(a|b){40}$", "^(c|d)*c(c|d){30}$"),
        Regex("^((a{1,1000}b?){1,1000}c?){1,1000}$", "^((d{1,900}e?){1,900}f?){1,900}$"),
        Regex("^(?=(.*a){12})(?=(.*b){12})(?=(.*c){12}).*$", "^(?=(.*d){10})(?=(.*e){10})(?=(.*f){10}).*$"),
        Regex("^(?!.*(abc|bca|cab).{7}x)[^]*y[^]{60}$", "^(?!.*(def|efd|fde).{7}x)[^]*z[^]{50}$"),
        ("regex", "1,000 alternatives of two prefixes, up to 200 times", Alternation("https", "key"), Alternation("ftp", "name")),
        Gbnf("root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"a\" root | \"a\" root \"d\" | \"e\"", "root ::= \"f\" root \"g\" | \"f\" root \"h\" | \"f\" root | \"f\" root \"i\" | \"j\""),
        Gbnf("root ::= x{0,10000} \"!\"\nx ::= \"(\" x \")\" | y\ny ::= \"[\" x \"]\" | \"\"", "root ::= x{0,9000} \"?\"\nx ::= \"<\" x \">\" | y\ny ::= \"{\" x \"}\" | \"\""),
        Gbnf("root ::= (\"x\" root \"y\" | \"z\"){1,9000}", "root ::= (\"u\" root \"v\" | \"w\"){1,8000}"),
        ("gbnf", "140 optional parts, each inside the one before", LeftNested(140, "ab"), LeftNested(130, "cd")),
        Schema("""{"type":"object","patternProperties":{"a.*b.{4}$":{"type":"integer"},"^[ab]*a.{3}":{"minimum":3}},"minProperties":6}""", """{"type":"object","patternProperties":{"c.*d.{4}$":{"type":"integer"},"^[cd]*c.{3}":{"minimum":3}},"minProperties":5}"""),
        Schema("""{"type":"array","contains":{"const":"a"},"minContains":300,"maxContains":310,"items":{"enum":["a","b"]}}""", """{"type":"array","contains":{"const":"c"},"minContains":200,"maxContains":220,"items":{"enum":["c","d"]}}"""),
        Schema(
            """{"type":"array","items":{"enum":["a","b","c"]},"allOf":[{"contains":{"const":"a"},"minContains":20,"maxContains":25},{"contains":{"const":"b"},"minContains":20}]}""",
            """{"type":"array","items":{"enum":["d","e","f"]},"allOf":[{"contains":{"const":"d"},"minContains":20,"maxContains":24},{"contains":{"const":"e"},"minContains":19}]}"""),
        ("schema", "items of an enum of 1,400 texts with long prefixes", Enumeration("alpha"), Enumeration("omega")),
        ("schema", "30 patterns, each in an allOf of the one before", DeepAllOf("ab"), DeepAllOf("cd")),
        Schema(
            """{"type":"array","uniqueItems":true,"items":{"type":"array","uniqueItems":true,"items":{"enum":["a","ab","abc","b","c"]}}}""",
            """{"type":"array","uniqueItems":true,"items":{"type":"array","uniqueItems":true,"items":{"enum":["d","de","def","e","f"]}}}"""),
        Schema("""{"type":"array","items":{"type":"number","multipleOf":0.0000137,"minimum":-50,"maximum":123456}}""", """{"type":"array","items":{"type":"number","multipleOf":0.0000141,"minimum":-40,"maximum":113456}}"""),
    ];

    private static (string, string, string, string) Regex(string text, string warm) => ("regex", $"`{text}`", text, warm);

    private static (string, string, string, string) Gbnf(string text, string warm) => ("gbnf", $"`{text}`", text, warm);

    private static (string, string, string, string) Schema(string text, string warm) => ("schema", $"`{text}`", text, warm);

    private static string Alternation(string first, string second) => $"^({string.Join('|', Enumerable.Range(0, 500).SelectMany(i => new[] { $"{first}_{i * 7919 % 1000}_", $"{second}_{i * 104729 % 1000}" }))}){{1,200}}$";

    private static string LeftNested(int depth, string letters) =>
        $"root ::= {new string('(', depth)}\"{letters[0]}\"{string.Concat(Enumerable.Range(0, depth).Select(i => $"? \"{letters[i % 2]}{(i % 3 == 0 ? letters[0] : letters[1])}\")"))} root?";

    private static string Enumeration(string prefix) =>
        JsonSerializer.Serialize(new { type = "array", items = new { @enum = Enumerable.Range(0, 1400).Select(i => $"{new string(prefix[i % 5], i % 7)}{prefix}-{i % 37}-{i}") } });

    private static string DeepAllOf(string letters)
    {
        string schema = $$"""{"type":"string","maxLength":200}""";
        for (int i = 0; i < 30; i++)
        {
            schema = $$"""{"allOf":[{{schema}},{"pattern":"{{letters[i % 2]}}.{{{i % 9}}}{{letters[(i + 1) % 2]}}"}]}""";
        }

        return schema;
    }

    public static Command Create()
    {
        Option<int> tokens = new("--tokens") { Description = "Tokens of each innocent answer.", DefaultValueFactory = _ => 120 };
        Option<int?> threads = new("--threads") { Description = "Threads that compute." };
        Option<string?> only = new("--only") { Description = "Only grammars that contain this." };
        Command command = new("hostile", "Step gaps of conversations beside others with hostile grammars, on nano.") { tokens, threads, only };
        command.SetAction(async (parse, _) =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            await RunAsync(parse.GetValue(tokens), parse.GetValue(threads), parse.GetValue(only)).ConfigureAwait(false);
            return 0;
        });
        return command;
    }

    private static async Task RunAsync(int tokens, int? threads, string? only)
    {
        using BenchmarkEngine engine = new(NanoModel.Path, new EngineOptions { SpeculativeTokens = 0 }, threads);
        GemmaTokenizer tokenizer = engine.CreateTokenizer();
        GrammarCompiler compiler = GrammarCompiler.For(tokenizer);
        Console.WriteLine($"\n{Innocents} conversations of {tokens} tokens; processor time of the engine's thread between two tokens of one.\n\n| beside them | median, ms | longest, ms | longest without collection and compilation, ms | tokens of the hostile one | times its mask was not ready |\n|---|---:|---:|---:|---:|---:|");
        await ReportAsync(null, engine, tokens, null).ConfigureAwait(false);
        await ReportAsync("nothing", engine, tokens, null).ConfigureAwait(false);
        foreach ((string kind, string name, string text, string warm) in s_hostile.Where(h => only is null || h.Text.Contains(only, StringComparison.Ordinal) || h.Name.Contains(only, StringComparison.Ordinal)))
        {
            foreach ((string? report, string grammarText) in new[] { (null, warm), ($"{kind} {(name.Length > 62 ? name[..60] + "…`" : name).Replace("|", "\\|", StringComparison.Ordinal).ReplaceLineEndings(" ")}", text) })
            {
                try
                {
                    CompiledGrammar grammar = await compiler.KeepAsync(kind + grammarText, () => Compile(compiler, kind, grammarText)).ConfigureAwait(false);
                    await ReportAsync(report, engine, tokens, () => grammar.CreateConstraint([tokenizer.EndOfTurnId])).ConfigureAwait(false);
                }
                catch (NotSupportedException e)
                {
                    Console.Write(report is null ? "" : $"| {report} | refused: {e.Message} | | | | |\n");
                }
            }
        }
    }

    private static CompiledGrammar Compile(GrammarCompiler compiler, string kind, string text) => kind switch
    {
        "regex" => new(compiler.Vocabulary, new LexerSymbol(GrammarCompiler.RegexLexer(text))),
        "gbnf" => new(compiler.Vocabulary, GbnfCompiler.Compile(text)),
        _ => new(compiler.Vocabulary, new ValueSymbol(JsonSchemaCompiler.Compile(JsonElement.Parse(text)))),
    };

    private static async Task ReportAsync(string? name, BenchmarkEngine engine, int tokens, Func<ITokenConstraint>? hostile)
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
        Gap[] gaps = [.. (await InnocentsAsync(engine, tokens, 1).ConfigureAwait(false)).Concat(await InnocentsAsync(engine, tokens, 2).ConfigureAwait(false)).OrderBy(static gap => gap.Milliseconds)];
        await stop.CancelAsync().ConfigureAwait(false);
        await (beside ?? Task.CompletedTask).ConfigureAwait(false);
        if (name is not null)
        {
            Console.WriteLine($"| {name} | {gaps[gaps.Length / 2].Milliseconds:F2} | {gaps[^1].Milliseconds:F2} | {gaps.Last(static gap => gap.IsOwn).Milliseconds:F2} | {written} | {late} |");
        }
    }

    private static async Task<IEnumerable<Gap>> InnocentsAsync(BenchmarkEngine engine, int tokens, int seed)
    {
        GapSink[] sinks = [.. Enumerable.Range(0, Innocents).Select(_ => new GapSink())];
        for (int i = 0; i < sinks.Length; i++)
        {
            engine.Engine.Submit(new GenerationRequest { Prompt = engine.Prompt((100 * seed) + i, 16), Sink = sinks[i], MaxOutputTokens = tokens, Sampling = new SamplingOptions { Temperature = 1, Seed = i } });
        }

        await Task.WhenAll(sinks.Select(static s => s.Task)).ConfigureAwait(false);
        return sinks.SelectMany(static s => s.Gaps);
    }

    /// <param name="Milliseconds">Processor time of the engine's thread.</param>
    /// <param name="IsOwn">Whether no memory was collected in it, and no method compiled on that thread.</param>
    private readonly record struct Gap(double Milliseconds, bool IsOwn);

    /// <summary>Notes how long the engine's thread computes between tokens, in milliseconds.</summary>
    private sealed class GapSink : GenerationSink
    {
        private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private double _last;
        private int _collections;
        private long _methods;

        public List<Gap> Gaps { get; } = [];

        public Task Task => _done.Task;

        public override bool OnToken(int token)
        {
            double now = ProcessorTime.Microseconds();
            int collections = GC.CollectionCount(0);
            long methods = JitInfo.GetCompiledMethodCount(currentThread: true);
            if (_last > 0)
            {
                Gaps.Add(new Gap((now - _last) / 1000, collections == _collections && methods == _methods));
            }

            (_last, _collections, _methods) = (now, collections, methods);
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
