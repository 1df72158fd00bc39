using System.CommandLine;
using System.Globalization;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Benchmarks.Schemas;

/// <summary>Random schemas of all keywords in combination: whether what grammars allow validates, and what they leave out.</summary>
internal static partial class RandomSchemasBenchmark
{
    public static Command Create()
    {
        Option<FileInfo> tokenizer = new("--tokenizer") { Description = "A tokenizer.json or tokenizer.model.", Required = true };
        Option<int> count = new("--count") { Description = "Schemas.", DefaultValueFactory = _ => 20_000 };
        Option<int> seed = new("--seed") { Description = "Seed of the first schema; each next one has the next seed.", DefaultValueFactory = _ => 1 };
        Option<int> draws = new("--draws") { Description = "Texts drawn of each of a schema's two grammars.", DefaultValueFactory = _ => 3 };
        Option<bool> examples = new("--examples") { Description = "Print every disagreement." };
        Command command = new("schemas", "Draws random schemas and answers under their grammars; JsonSchema.Net and ajv (where AJV_DIRECTORY names it) validate them.") { tokenizer, count, seed, draws, examples };
        command.SetAction(parse =>
        {
            Run(parse.GetRequiredValue(tokenizer).FullName, parse.GetValue(count), parse.GetValue(seed), parse.GetValue(draws), parse.GetValue(examples));
            return 0;
        });
        return command;
    }

    private static void Run(string path, int count, int seed, int draws, bool examples)
    {
        GemmaTokenizer tokenizer = GemmaTokenizer.FromFile(path);
        using AjvValidator? ajv = AjvValidator.TryStart(out string missing);
        Console.WriteLine(ajv is null ? "Without ajv: " + missing : ajv.Versions);
        Totals all = new();
        SortedDictionary<string, Totals> byKeyword = new(StringComparer.Ordinal);
        Dictionary<string, int> refusals = [], departures = [];
        for (int i = 0; i < count; i++)
        {
            SchemaTrial trial;
            try
            {
                trial = SchemaTrial.Run(seed + i, tokenizer, draws);
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                all.Faults++;
                Console.WriteLine($"FAULT {seed + i} {new SchemaGenerator(new Random(seed + i)).Next().ToJsonString()}\n    {e.ToString().ReplaceLineEndings(" ")}");
                continue;
            }

            AjvVerdict second = AjvVerdict.Of(ajv, trial);
            all.Add(trial, second);
            foreach (string keyword in trial.Keywords)
            {
                (byKeyword.TryGetValue(keyword, out Totals? totals) ? totals : byKeyword[keyword] = new Totals()).Add(trial, second);
            }

            if (trial.Refusal is { } refusal)
            {
                string reason = Reason(refusal);
                refusals[reason] = refusals.GetValueOrDefault(reason) + 1;
            }

            foreach ((_, string? departure) in trial.Invalid.Where(static x => x.Departure is not null))
            {
                departures[departure!] = departures.GetValueOrDefault(departure!) + 1;
            }

            if (examples)
            {
                Show(trial, second);
            }
        }

        Print(all, byKeyword, refusals, departures);
    }

    private static void Show(SchemaTrial trial, AjvVerdict second)
    {
        foreach ((string text, string? departure) in trial.Invalid)
        {
            Console.WriteLine($"NET {departure ?? "INVALID"} {trial.Seed} {trial.Schema}\n    {text}");
        }

        foreach (string text in second.Invalid)
        {
            Console.WriteLine($"AJV INVALID {trial.Seed} {trial.Schema}\n    {text}");
        }

        if (second.Refusal.Length > 0)
        {
            Console.WriteLine($"AJV REFUSES {trial.Seed} {second.Refusal} {trial.Schema}");
        }

        foreach (string text in trial.Rejected)
        {
            Console.WriteLine($"{(trial.Unsatisfiable ? "UNSATISFIABLE" : "REJECTED")} {(second.Disputed.Contains(text) ? "DISPUTED" : "")} {trial.Seed} {trial.Schema}\n    {text}");
        }
    }

    /// <summary>A refusal without the place and without numbers.</summary>
    private static string Reason(string message) => Numbers().Replace(Place().Replace(message, ""), "n");

    [GeneratedRegex(" at '[^']*'|Remove the keyword.*$|\"[^\"]*\"")]
    private static partial Regex Place();

    [GeneratedRegex("[0-9][0-9,.]*(?=[^0-9]|$)")]
    private static partial Regex Numbers();

    private static void Print(Totals all, SortedDictionary<string, Totals> byKeyword, Dictionary<string, int> refusals, Dictionary<string, int> departures)
    {
        Console.WriteLine("\n| keyword | schemas | refused | unsatisfiable | compiled | texts | invalid: JsonSchema.Net | invalid: ajv | instances | rejected |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
        foreach ((string keyword, Totals totals) in byKeyword.Append(KeyValuePair.Create("all", all)))
        {
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| `{keyword}` | {totals.Schemas} | {totals.Refused} | {totals.Unsatisfiable} | {totals.Compiled} | {totals.Texts} | {totals.InvalidNet} | {totals.InvalidAjv} | {totals.Instances} | {totals.Rejected} |"));
        }

        Console.WriteLine($"\n{all.Faults} faults, {all.Unfinished} draws without an end, {all.Disputed} instances on which the validators disagree, {all.AjvRefused} schemas refused by ajv, {all.AjvThrew} texts on which ajv throws.");
        foreach ((string title, Dictionary<string, int> counts) in (ReadOnlySpan<(string, Dictionary<string, int>)>)[("Refused", refusals), ("Departures of JsonSchema.Net", departures)])
        {
            Console.WriteLine($"\n{title}:\n");
            foreach ((string reason, int times) in counts.OrderByDescending(static r => r.Value))
            {
                Console.WriteLine($"- {times}: {reason}");
            }
        }
    }

    /// <summary>What ajv says of a trial's texts and instances.</summary>
    private sealed record AjvVerdict(IReadOnlyList<string> Invalid, IReadOnlySet<string> Disputed, string Refusal, int Threw)
    {
        public static AjvVerdict Of(AjvValidator? ajv, SchemaTrial trial)
        {
            if (ajv is null)
            {
                return new AjvVerdict([], new HashSet<string>(), "", 0);
            }

            if (ajv.Validate(trial.Schema, [.. trial.Texts, .. trial.Instances], out string refusal) is not { } verdicts)
            {
                return new AjvVerdict([], new HashSet<string>(), refusal, 0);
            }

            int n = trial.Texts.Count;
            return new AjvVerdict(
                [.. trial.Texts.Where((_, i) => verdicts[i] == false)],
                trial.Instances.Where((_, i) => verdicts[n + i] == false).ToHashSet(),
                "",
                verdicts.Count(static v => v is null));
        }
    }

    private sealed class Totals
    {
        public int Schemas { get; private set; }

        public int Refused { get; private set; }

        public int Unsatisfiable { get; private set; }

        public int Compiled => Schemas - Refused - Unsatisfiable;

        public int Texts { get; private set; }

        public int InvalidNet { get; private set; }

        public int InvalidAjv { get; private set; }

        public int Instances { get; private set; }

        public int Rejected { get; private set; }

        public int Disputed { get; private set; }

        public int Unfinished { get; private set; }

        public int AjvRefused { get; private set; }

        public int AjvThrew { get; private set; }

        public int Faults { get; set; }

        public void Add(SchemaTrial trial, AjvVerdict second)
        {
            Schemas++;
            Refused += trial.Refusal is null ? 0 : 1;
            Unsatisfiable += trial.Unsatisfiable ? 1 : 0;
            Texts += trial.Texts.Count;
            InvalidNet += trial.Invalid.Count(static x => x.Departure is null);
            InvalidAjv += second.Invalid.Count;
            Instances += trial.Refusal is null ? trial.Instances.Count - second.Disputed.Count : 0;
            Rejected += trial.Rejected.Count(text => !second.Disputed.Contains(text));
            Disputed += second.Disputed.Count;
            Unfinished += trial.Unfinished;
            AjvRefused += second.Refusal.Length > 0 ? 1 : 0;
            AjvThrew += second.Threw;
        }
    }
}
