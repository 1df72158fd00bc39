using System.CommandLine;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Evaluation;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma eval</c>: how well a model does in tasks.</summary>
internal static class EvalCommand
{
    public static Command Create()
    {
        Option<string?> model = CommonOptions.Model();
        Option<string[]> task = new("--task") { Description = "Name of a task that comes with the tool, or a file with one of yours (.json, .yaml). May be repeated; see 'gemma eval tasks'.", HelpName = "name", Required = true };
        Option<string> data = new("--data") { Description = "File (JSON Lines, JSON, CSV, Parquet), or folder with a file a split or, for several tasks, with a folder for each. Nothing is downloaded.", HelpName = "path", Required = true };
        Option<string?> examples = new("--examples") { Description = "File or folder with the examples of the prompt, where they are elsewhere.", HelpName = "path" };
        Option<int?> shots = new("--shots") { Description = "Examples in each prompt. Default: what the task says.", HelpName = "n" };
        Option<int?> seed = new("--shots-seed") { Description = "Seed by which examples are drawn. Default: that of lm-evaluation-harness.", HelpName = "n" };
        Option<int?> limit = new("--limit") { Description = "Most rows, from the first. Default: all.", HelpName = "n" };
        Option<bool> chat = new("--chat") { Description = "Ask by the model's chat format, for models tuned for chats. Without it prompts stand as they are." };
        Option<DirectoryInfo?> output = new("--output", "-o") { Description = "Folder for the reports (JSON) and the result of every row (JSON Lines). A run that was ended goes on from them.", HelpName = "folder" };
        Option<string?> lora = CommonOptions.Lora();
        Option<int?> threads = CommonOptions.Threads();
        Option<string?> kernel = CommonOptions.Kernel();
        Option<string> device = CommonOptions.Device();
        Option<int?> gpuLayers = CommonOptions.GpuLayers();
        Option<bool> json = CommonOptions.Json();
        Command command = new("eval", "Measure a model in benchmark tasks. With your copies of their data, formatted as lm-evaluation-harness does.\n\nExample:\n  gemma eval --model gemma-2-2b-Q4_K_M.gguf --task arc_challenge --task mmlu --data benchmarks --output results\n  gemma eval report results/*.json --plot models.svg")
        {
            model, task, data, examples, shots, seed, limit, chat, output, lora, threads, kernel, device, gpuLayers, json, Tasks(), Report(),
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            EvaluationTask[] tasks = [.. parsed.GetRequiredValue(task).Select(name => Path.HasExtension(name) ? EvaluationTask.Load(name) : EvaluationTask.Find(name))];
            string root = parsed.GetRequiredValue(data);
            EvaluationData[] sources = [.. tasks.Select(each => EvaluationData.Open(Directory.Exists(Path.Combine(root, each.Name)) ? Path.Combine(root, each.Name) : root, parsed.GetValue(examples)))];
            GemmaOptions options = new() { Threads = parsed.GetValue(threads), Kernel = parsed.GetValue(kernel), Device = parsed.GetRequiredValue(device), GpuLayers = parsed.GetValue(gpuLayers) };
            string? adapter = options.AddLora(parsed.GetValue(lora));
            using GemmaModel loaded = parsed.Host().Load(CommonOptions.ModelOrDefault(parsed.GetValue(model)), options, cancellationToken);
            List<EvaluationReport> reports = [];
            for (int i = 0; i < tasks.Length; i++)
            {
                string? place = parsed.GetValue(output) is { } folder ? Path.Combine(folder.FullName, tasks[i].Name) : null;
                EvaluationOptions defaults = new();
                EvaluationRunner runner = new(loaded, defaults with
                {
                    FewShot = parsed.GetValue(shots), FewShotSeed = parsed.GetValue(seed) ?? defaults.FewShotSeed, Limit = parsed.GetValue(limit), AsChat = parsed.GetValue(chat), Adapter = adapter, ItemsPath = place is null ? null : place + ".items.jsonl",
                });
                string name = tasks[i].Name;
                using ProgressLine line = new(parsed.Host());
                EvaluationReport report = await runner.RunAsync(tasks[i], sources[i], new SynchronousProgress<EvaluationProgress>(at => line.Show(name, at.Done, at.Total)), cancellationToken);
                reports.Add(report);
                if (place is not null)
                {
                    WholeFile.Write(place + ".json", report.ToJson());
                }
            }

            Print(parsed.Host(), reports, parsed.GetValue(json));
        });
        return command;
    }

    private static Command Tasks()
    {
        Argument<string?> name = new("name") { Description = "A task, to print whole: a beginning for one of yours.", Arity = ArgumentArity.ZeroOrOne };
        Command command = new("tasks", "List the tasks that come with the tool, or print one.\n\nExample:\n  gemma eval tasks hellaswag > mine.json") { name };
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(name) is { } one)
            {
                parsed.Host().Output.WriteLine(EvaluationTask.Find(one).ToJson());
                return;
            }

            foreach (EvaluationTask task in EvaluationTask.BuiltIn.Select(EvaluationTask.Find))
            {
                parsed.Host().Output.WriteLine($"{task.Name,-16} {task.FewShot,2} shots  {string.Join(", ", task.Metrics),-28} {task.About}");
            }
        });
        return command;
    }

    private static Command Report()
    {
        Argument<string[]> files = new("reports") { Description = "Reports of 'gemma eval --output'.", Arity = ArgumentArity.OneOrMore };
        Option<string?> plot = new("--plot") { Description = "Draws the models side by side, as SVG.", HelpName = "file" };
        Option<bool> json = CommonOptions.Json();
        Command command = new("report", "Put reports of several models and tasks into one table, and one picture.\n\nExample:\n  gemma eval report bf16/*.json q4/*.json --plot models.svg") { files, plot, json };
        command.SetAction(parsed =>
        {
            EvaluationReport[] reports = [.. parsed.GetRequiredValue(files).Select(file => EvaluationReport.Parse(File.ReadAllText(file)))];
            Print(parsed.Host(), reports, parsed.GetValue(json));
            if (parsed.GetValue(plot) is { } path)
            {
                EvaluationPlot.Save(reports, path);
            }
        });
        return command;
    }

    private static void Print(CliInvocation host, IReadOnlyList<EvaluationReport> reports, bool json)
    {
        if (json)
        {
            host.Output.WriteLine($"[{string.Join(",\n", reports.Select(report => report.ToJson()))}]");
            return;
        }

        host.Output.Write(EvaluationReport.Table(reports));
        foreach (EvaluationReport report in reports)
        {
            host.Output.WriteLine($"{report.Task}: {report.Model.Model}, sha256 {report.Model.Sha256 ?? "unknown"}, chat format {report.Model.ChatFormat}, {report.Model.Kernel ?? "not here"}{(report.Truncated > 0 ? $"; {report.Truncated} prompts were longer than the context and lost their beginning" : "")}");
        }
    }
}
