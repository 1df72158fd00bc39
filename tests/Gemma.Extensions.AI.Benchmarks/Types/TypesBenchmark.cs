using System.CommandLine;
using System.Globalization;
using System.Text;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Benchmarks.Types;

/// <summary>Whether .NET reads what grammars allow, type by type.</summary>
internal static class TypesBenchmark
{
    public static Command Create()
    {
        Option<FileInfo> tokenizer = new("--tokenizer") { Description = "A tokenizer.json or tokenizer.model.", Required = true };
        Option<int> draws = new("--draws") { Description = "Texts drawn of each type in each way.", DefaultValueFactory = _ => 200 };
        Option<string?> only = new("--only") { Description = "Part of the names of the types to draw." };
        Option<bool> examples = new("--examples") { Description = "Print texts that could not be read." };
        Command command = new("types", "Draws answers and arguments of .NET types at random under the grammar and reads them back.") { tokenizer, draws, only, examples };
        command.SetAction(async (parse, _) =>
        {
            await RunAsync(parse.GetRequiredValue(tokenizer).FullName, parse.GetValue(draws), parse.GetValue(only), parse.GetValue(examples)).ConfigureAwait(false);
            return 0;
        });
        return command;
    }

    private static async Task RunAsync(string path, int draws, string? only, bool examples)
    {
        GemmaTokenizer tokenizer = GemmaTokenizer.FromFile(path);
        TypeCase[] types = [.. DotNetTypeTable.All.Where(type => only is null || type.Name.Contains(only, StringComparison.OrdinalIgnoreCase))];
        int[] drawn = new int[4], unreadable = new int[4];
        Console.WriteLine("| type | function argument | kernel function argument | answer | answer, its schema alone | has the schema of |\n|---|---:|---:|---:|---:|---|");
        foreach (TypeCase type in types)
        {
            TypeResult[] results =
            [
                await type.FunctionAsync(tokenizer, draws).ConfigureAwait(false), await type.KernelFunctionAsync(tokenizer, draws).ConfigureAwait(false),
                await type.AnswerAsync(tokenizer, draws, typed: true).ConfigureAwait(false), await type.AnswerAsync(tokenizer, draws, typed: false).ConfigureAwait(false),
            ];
            StringBuilder row = new($"| `{type.Name}` |");
            for (int i = 0; i < results.Length; i++)
            {
                drawn[i] += results[i].Drawn;
                unreadable[i] += results[i].Failures.Count;
                row.Append(CultureInfo.InvariantCulture, $" {Cell(results[i])} |");
            }

            row.Append(CultureInfo.InvariantCulture, $" {type.LooseParts()} |");
            Console.WriteLine(row);
            foreach (string failure in examples ? results.SelectMany(static result => result.Failures.Take(2).Append(result.Refusal!)).Where(static text => text is not null).Distinct() : [])
            {
                Console.WriteLine($"    {(failure.Length > 600 ? failure[..600] : failure)}");
            }
        }

        Console.WriteLine($"\n{types.Length} types. Drawn: {string.Join(", ", drawn)}; unreadable: {string.Join(", ", unreadable)}.");
    }

    private static string Cell(TypeResult result) =>
        result.Refusal is { } refusal ? refusal.StartsWith(TypeCase.NoSchema, StringComparison.Ordinal) ? "no schema" : "refused"
        : result.Failures.Count.ToString(CultureInfo.InvariantCulture) + (result.Drawn < 200 ? $" of {result.Drawn}" : "");
}
