using System.CommandLine;
using System.Diagnostics;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Benchmarks;

/// <summary>
/// Runs MaskBench files (a schema with valid and invalid instances each) through the grammar engine with a real vocabulary: verdicts, time to the
/// first mask, time of every mask. An instance is tried as its compact and as its indented spelling; the masks are those along the tokenizer's own
/// split of it, and an instance is accepted if at each step the mask holds the next token and at the end the text may end.
/// </summary>
internal static class MaskBenchCommand
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(10);

    public static Command Create()
    {
        Argument<DirectoryInfo> directory = new("directory") { Description = "Folder of MaskBench files." };
        Option<FileInfo> tokenizer = new("--tokenizer") { Description = "tokenizer.model or tokenizer.json.", Required = true };
        Option<bool> json = new("--json") { Description = "Print the totals as one JSON object in the last line." };
        Option<bool> anyOrder = new("--any-order") { Description = "Compile with properties in any order." };
        Option<string?> only = new("--only") { Description = "Run only files whose names contain this." };
        Command command = new("maskbench", "Verdicts and speed of JSON Schema masks over MaskBench files.") { directory, tokenizer, json, anyOrder, only };
        command.SetAction(parse => Run(parse.GetValue(directory)!, parse.GetValue(tokenizer)!, parse.GetValue(json), new JsonSchemaOptions { AnyPropertyOrder = parse.GetValue(anyOrder) }, parse.GetValue(only)));
        return command;
    }

    private static int Run(DirectoryInfo directory, FileInfo tokenizerFile, bool json, JsonSchemaOptions options, string? only)
    {
        byte[] bytes = File.ReadAllBytes(tokenizerFile.FullName);
        GemmaTokenizer tokenizer = tokenizerFile.Extension == ".json" ? GemmaTokenizer.FromTokenizerJson(bytes, tokenizerFile.Name) : GemmaTokenizer.FromSentencePiece(bytes, tokenizerFile.Name);
        Stopwatch clock = Stopwatch.StartNew();
        GrammarCompiler compiler = GrammarCompiler.For(tokenizer);
        Console.WriteLine($"{tokenizer.VocabularySize} tokens, vocabulary prepared in {clock.ElapsedMilliseconds} ms");
        FileInfo[] files = [.. directory.GetFiles("*.json").Where(f => only is null || f.Name.Contains(only, StringComparison.Ordinal)).OrderBy(f => f.Name, StringComparer.Ordinal)];

        // The just-in-time compiler is not what is measured: some files are run once before.
        for (int i = 0; i < files.Length; i += Math.Max(1, files.Length / 40))
        {
            new Case(compiler, tokenizer, options, files[i]).Run();
        }

        Totals totals = new();
        foreach (FileInfo file in files)
        {
            Case test = new(compiler, tokenizer, options, file);
            test.Run();
            totals.Add(test);
            double mean = test.MaskMicroseconds.Count == 0 ? 0 : test.MaskMicroseconds.Average(), max = test.MaskMicroseconds.DefaultIfEmpty().Max();
            Console.WriteLine($"{test.Verdict,-16} compile {test.CompileMicroseconds,8:F0} us  masks {test.MaskMicroseconds.Count,5} mean {mean,6:F1} max {max,7:F1} us  {file.Name}{(test.Detail.Length > 0 ? "  " + test.Detail : "")}");
        }

        totals.Print(json);
        return 0;
    }

    private sealed class Case(GrammarCompiler compiler, GemmaTokenizer tokenizer, JsonSchemaOptions options, FileInfo file)
    {
        public string Verdict { get; private set; } = "pass";

        public string Detail { get; private set; } = "";

        public double CompileMicroseconds { get; private set; }

        public List<double> MaskMicroseconds { get; } = [];

        public void Run()
        {
            Stopwatch total = Stopwatch.StartNew();
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file.FullName), new JsonDocumentOptions { MaxDepth = 256 });
            ulong[] mask = new ulong[compiler.Vocabulary.MaskWords];
            CompiledGrammar grammar;
            try
            {
                // A fresh grammar: nothing is reused between files.
                JsonElement schema = document.RootElement.GetProperty("schema");
                double start = ProcessorTime.Microseconds();
                grammar = new CompiledGrammar(compiler.Vocabulary, new ValueSymbol(JsonSchemaCompiler.Compile(schema, options)));
                grammar.CreateConstraint([tokenizer.EndOfTurnId]).TryFillMask(mask);
                CompileMicroseconds = ProcessorTime.Microseconds() - start;
            }
            catch (Exception e) when (e is NotSupportedException or ArgumentException)
            {
                (Verdict, Detail) = ("refused", e.Message);
                return;
            }
            catch (Exception e)
            {
                (Verdict, Detail) = ("crash", e.ToString().ReplaceLineEndings(" "));
                return;
            }

            int number = 0;
            foreach (JsonElement test in document.RootElement.GetProperty("tests").EnumerateArray())
            {
                bool valid = test.GetProperty("valid").GetBoolean();
                foreach (bool indented in (ReadOnlySpan<bool>)[false, true])
                {
                    string text = Spell(test.GetProperty("data"), indented);
                    string? stop;
                    try
                    {
                        stop = Try(grammar, text, mask);
                    }
                    catch (Exception e)
                    {
                        (Verdict, Detail) = ("crash", e.ToString().ReplaceLineEndings(" "));
                        return;
                    }

                    if (valid != stop is null)
                    {
                        Verdict = valid && Verdict != "invalid_accepted" ? "valid_rejected" : "invalid_accepted";
                        Detail = $"test {number} ({test.GetProperty("description").GetString()}): {stop}";
                    }
                }

                number++;
                if (total.Elapsed > s_timeout)
                {
                    (Verdict, Detail) = ("timeout", $"{total.Elapsed.TotalSeconds:F1} s");
                    return;
                }
            }
        }

        /// <summary>Null where the text is accepted, else where it is not.</summary>
        private string? Try(CompiledGrammar grammar, string text, ulong[] mask)
        {
            List<int> ids = [];
            tokenizer.Encode(text, ids, matchSpecial: false);
            ITokenConstraint constraint = grammar.CreateConstraint([tokenizer.EndOfTurnId]);
            ids.Add(tokenizer.EndOfTurnId);
            int position = 0;
            foreach (int id in ids)
            {
                double start = ProcessorTime.Microseconds();
                constraint.TryFillMask(mask);
                MaskMicroseconds.Add(ProcessorTime.Microseconds() - start);
                if ((mask[id >> 6] & (1UL << id)) == 0)
                {
                    byte[] all = Encoding.UTF8.GetBytes(text);
                    return $"stops after …{Encoding.UTF8.GetString(all.AsSpan(Math.Max(0, position - 60)..position)).ReplaceLineEndings("⏎")} at {(id == tokenizer.EndOfTurnId ? "the end" : $"'{Encoding.UTF8.GetString(tokenizer.GetBytes(id)).ReplaceLineEndings("⏎")}'")}";
                }

                constraint.Accept(id);
                position += tokenizer.GetBytes(id).Length;
            }

            return null;
        }

        private static string Spell(JsonElement data, bool indented)
        {
            using MemoryStream stream = new();
            using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = indented, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, MaxDepth = 1000 }))
            {
                data.WriteTo(writer);
            }

            return Encoding.UTF8.GetString(stream.ToArray());
        }
    }

    private sealed class Totals
    {
        private readonly Dictionary<string, int> _verdicts = [];
        private readonly List<double> _masks = [];
        private readonly List<double> _compiles = [];
        private int _count;

        public void Add(Case test)
        {
            _count++;
            _verdicts[test.Verdict] = _verdicts.GetValueOrDefault(test.Verdict) + 1;
            _masks.AddRange(test.MaskMicroseconds);
            if (test.Verdict is not ("refused" or "crash"))
            {
                _compiles.Add(test.CompileMicroseconds);
            }
        }

        public void Print(bool json)
        {
            _masks.Sort();
            _compiles.Sort();
            Console.WriteLine($"{_count} schemas: {string.Join(", ", _verdicts.OrderByDescending(v => v.Value).Select(v => $"{v.Value} {v.Key} ({100.0 * v.Value / _count:F1}%)"))}");
            Console.WriteLine($"{_masks.Count} masks: mean {(_masks.Count == 0 ? 0 : _masks.Average()):F1}, p50 {At(_masks, 0.5):F1}, p90 {At(_masks, 0.9):F1}, p99 {At(_masks, 0.99):F1}, p99.99 {At(_masks, 0.9999):F1}, max {At(_masks, 1):F1} us");
            Console.WriteLine($"compile to first mask: p50 {At(_compiles, 0.5):F0}, p90 {At(_compiles, 0.9):F0}, p99 {At(_compiles, 0.99):F0}, max {At(_compiles, 1):F0} us");
            if (json)
            {
                Console.WriteLine(JsonSerializer.Serialize(new
                {
                    schemas = _count,
                    passing = Count("pass"),
                    valid_rejected = Count("valid_rejected"),
                    invalid_accepted = Count("invalid_accepted"),
                    refused = Count("refused"),
                    crashes = Count("crash"),
                    timeouts = Count("timeout"),
                    mask_mean_us = Round(_masks.Count == 0 ? 0 : _masks.Average()),
                    mask_p50_us = Round(At(_masks, 0.5)),
                    mask_p99_us = Round(At(_masks, 0.99)),
                    mask_p9999_us = Round(At(_masks, 0.9999)),
                    mask_max_us = Round(At(_masks, 1)),
                    compile_p50_us = Round(At(_compiles, 0.5)),
                    compile_p99_us = Round(At(_compiles, 0.99)),
                }));
            }
        }

        private int Count(string verdict) => _verdicts.GetValueOrDefault(verdict);

        private static double Round(double value) => Math.Round(value, 1);

        private static double At(List<double> sorted, double share) => sorted.Count == 0 ? 0 : sorted[Math.Min(sorted.Count - 1, (int)(share * sorted.Count))];
    }
}
