using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Benchmarks.Server;
using Gemma.Extensions.AI.Benchmarks.Speed;
using Gemma.Extensions.AI.Evaluation;

namespace Gemma.Extensions.AI.Benchmarks.Evaluation;

/// <summary>
/// Work of the shape of MMLU (five examples, four choices) by <see cref="EvaluationRunner"/> and by llama.cpp's own program, in turn, on one file: the same prompts, character by character, and the same
/// continuations. Loading the model and hashing its file are not in the times of either.
/// </summary>
internal static class MultipleChoiceBenchmark
{
    private const int Shots = 5;

    /// <summary>Words of about one token.</summary>
    private static readonly string[] s_words =
        "the of and a to in is that it was for on are as with his they at be this from have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know".Split(' ');

    public static Command Create()
    {
        Option<string> model = new("--model") { Required = true, Description = "GGUF file." };
        Option<string> other = new("--llama-perplexity") { Required = true, Description = "llama.cpp's program." };
        Option<int> subjects = new("--subjects") { DefaultValueFactory = _ => 2 };
        Option<int> questions = new("--questions") { DefaultValueFactory = _ => 5, Description = "Questions of each subject; MMLU has 100 and more." };
        Option<int> threads = new("--threads") { DefaultValueFactory = _ => 2 };
        Option<int> rounds = new("--rounds") { DefaultValueFactory = _ => 3 };
        Option<int> context = new("--context") { DefaultValueFactory = _ => 1024, Description = "Context of llama.cpp, which keeps the logits of as many tokens." };
        Option<string> results = new("--results") { Required = true, Description = "File of samples, which further rounds are added to; the table is made of all." };
        Command command = new("multiple-choice", "Questions of MMLU's shape answered a second, beside llama-perplexity --multiple-choice.") { model, other, subjects, questions, threads, rounds, context, results };
        command.SetAction(async parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            DirectoryInfo folder = Directory.CreateTempSubdirectory("gemma-multiple-choice");
            try
            {
                (List<JsonObject> examples, List<JsonObject> rows) = Write(folder.FullName, parse.GetValue(subjects), parse.GetValue(questions));
                string binary = Path.Combine(folder.FullName, "tasks.bin");
                File.WriteAllBytes(binary, Tasks(rows, examples));
                string file = parse.GetRequiredValue(results);
                int done = File.Exists(file) ? File.ReadLines(file).Count() : 0;
                for (int turn = done; turn < done + (2 * parse.GetValue(rounds)); turn++)
                {
                    bool isOurs = turn % 4 is 0 or 3; // one first, then the other
                    double bandwidth = MachinePeaks.ReadBandwidth(parse.GetValue(threads));
                    (double seconds, bool[] right) = isOurs
                        ? await OursAsync(parse.GetRequiredValue(model), folder.FullName, rows.Count, parse.GetValue(threads))
                        : Theirs(parse.GetRequiredValue(other), parse.GetRequiredValue(model), binary, parse.GetValue(threads), parse.GetValue(context));
                    File.AppendAllText(file, $"{(isOurs ? "ours" : "llama.cpp")}\t{seconds:0.00}\t{bandwidth:0.0}\t{string.Concat(right.Select(static one => one ? '1' : '0'))}\n");
                }

                Console.WriteLine(Table([.. File.ReadLines(file).Select(static line => line.Split('\t'))], rows.Count));
            }
            finally
            {
                folder.Delete(recursive: true);
            }
        });
        return command;
    }

    /// <summary>A round begins with an empty prefix cache, as llama.cpp's program does, which is started anew.</summary>
    private static async Task<(double Seconds, bool[] Right)> OursAsync(string path, string data, int rows, int threads)
    {
        using GemmaModel model = GemmaModel.Load(path, new GemmaOptions { Threads = threads });
        string items = Path.Combine(data, "items.jsonl");
        File.Delete(items);
        EvaluationRunner runner = new(model, new EvaluationOptions { ItemsPath = items, BootstrapSamples = 2 });
        Stopwatch watch = Stopwatch.StartNew();
        await runner.RunAsync(EvaluationTask.Find("mmlu"), EvaluationData.Open(data));
        double seconds = watch.Elapsed.TotalSeconds;
        bool[] right = new bool[rows];
        foreach (JsonNode item in File.ReadLines(items).Skip(1).Select(line => JsonNode.Parse(line)!))
        {
            right[item["index"]!.GetValue<int>()] = item["values"]!["acc"]!.GetValue<double>() > 0;
        }

        return (seconds, right);
    }

    private static (double Seconds, bool[] Right) Theirs(string program, string model, string tasks, int threads, int context)
    {
        ProcessStartInfo start = new(program, ["--model", model, "--multiple-choice", "--binary-file", tasks, "--threads", $"{threads}", "--threads-batch", $"{threads}", "--ctx-size", $"{context}", "--ubatch-size", $"{context}", "--parallel", "4", "--kv-unified"])
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        };
        using Process process = Process.Start(start) ?? throw new InvalidOperationException($"'{program}' did not start.");
        Stopwatch watch = new();
        double seconds = 0;
        List<double> accuracies = [];
        StringBuilder all = new();
        process.OutputDataReceived += (_, line) => Read(line.Data);
        process.ErrorDataReceived += (_, line) => Read(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        process.WaitForExit();
        if (process.ExitCode != 0 || seconds == 0)
        {
            throw new InvalidOperationException($"'{program}' ended with {process.ExitCode}:\n{all}");
        }

        // It prints the share of right answers so far, in percent.
        double[] sums = [0, .. accuracies.Select((accuracy, i) => accuracy * (i + 1) / 100)];
        return (seconds, [.. accuracies.Select((_, i) => sums[i + 1] - sums[i] > 0.5)]);

        void Read(string? line)
        {
            lock (all)
            {
                all.AppendLine(line);
                if (line?.Contains("calculating", StringComparison.Ordinal) == true)
                {
                    watch.Start();
                }
                else if (line?.Split('\t') is [var number, var accuracy] && int.TryParse(number, out _) && double.TryParse(accuracy, out double percent))
                {
                    accuracies.Add(percent);
                    seconds = watch.Elapsed.TotalSeconds; // of the last one, in the end
                }
            }
        }
    }

    private static (List<JsonObject> Examples, List<JsonObject> Rows) Write(string folder, int subjects, int questions)
    {
        Random random = new(1);
        List<JsonObject> examples = [], rows = [];
        for (int subject = 0; subject < subjects; subject++)
        {
            for (int i = 0; i < Shots + questions; i++)
            {
                (i < Shots ? examples : rows).Add(new JsonObject
                {
                    ["question"] = Words(random.Next(25, 56)) + "?",
                    ["subject"] = $"subject_{(char)('a' + subject)}",
                    ["choices"] = new JsonArray(Words(random.Next(3, 9)), Words(random.Next(3, 9)), Words(random.Next(3, 9)), Words(random.Next(3, 9))),
                    ["answer"] = random.Next(4),
                });
            }
        }

        File.WriteAllLines(Path.Combine(folder, "dev.jsonl"), examples.Select(row => row.ToJsonString()));
        File.WriteAllLines(Path.Combine(folder, "test.jsonl"), rows.Select(row => row.ToJsonString()));
        return (examples, rows);

        string Words(int count) => string.Join(' ', Enumerable.Range(0, count).Select(_ => s_words[random.Next(s_words.Length)]));
    }

    /// <summary>The tasks as the program reads them: their number, the place of each, then question, choices and which of them is right, twice (once for tasks with several right choices).</summary>
    private static byte[] Tasks(IReadOnlyList<JsonObject> rows, IReadOnlyList<JsonObject> examples)
    {
        using MemoryStream memory = new();
        using BinaryWriter writer = new(memory);
        writer.Write(rows.Count);
        writer.Write(new byte[4 * rows.Count]);
        for (int i = 0; i < rows.Count; i++)
        {
            long place = memory.Position;
            memory.Position = 4 + 4 * i;
            writer.Write((uint)place);
            memory.Position = place;
            string subject = rows[i]["subject"]!.GetValue<string>();
            Text($"The following are multiple choice questions (with answers) about {subject.Replace('_', ' ')}.\n\n"
                + string.Concat(examples.Where(example => example["subject"]!.GetValue<string>() == subject).Select(example => $"{Question(example)} {"ABCD"[example["answer"]!.GetValue<int>()]}\n\n")) + Question(rows[i]));
            Choices(["A", "B", "C", "D"], rows[i]["answer"]!.GetValue<int>());
            Choices([], 0);
        }

        return memory.ToArray();

        static string Question(JsonObject row) => $"{row["question"]}\n{string.Join('\n', row["choices"]!.AsArray().Select((choice, i) => $"{"ABCD"[i]}. {choice}"))}\nAnswer:";

        void Choices(string[] choices, int right)
        {
            writer.Write(choices.Length);
            Array.ForEach(choices, Text);
            for (int i = 0; i < choices.Length; i++)
            {
                writer.Write(i == right ? 1 : 0);
            }
        }

        void Text(string text)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            writer.Write(bytes.Length);
            writer.Write(bytes);
        }
    }

    private static string Table(string[][] samples, int questions)
    {
        string[][] ours = [.. samples.Where(static sample => sample[0] == "ours")], theirs = [.. samples.Where(static sample => sample[0] != "ours")];
        StringBuilder text = new();
        text.AppendLine("| round | ours, s | llama.cpp, s | times | read GB/s just before |").AppendLine("|---|---|---|---|---|");
        for (int i = 0; i < ours.Length; i++)
        {
            text.AppendLine($"| {i + 1} | {Seconds(ours[i]):F1} | {Seconds(theirs[i]):F1} | {Seconds(theirs[i]) / Seconds(ours[i]):F2} | {ours[i][2]}, {theirs[i][2]} |");
        }

        double our = LoadSample.Median(ours.Select(Seconds)), their = LoadSample.Median(theirs.Select(Seconds));
        text.AppendLine($"| median | {our:F1} | {their:F1} | **{LoadSample.Median(ours.Select((sample, i) => Seconds(theirs[i]) / Seconds(sample))):F2}** | |").AppendLine();
        text.AppendLine($"{questions / our:F2} and {questions / their:F2} questions a second. Both are right, or wrong, in {ours[0][3].Zip(theirs[0][3]).Count(static pair => pair.First == pair.Second)} of {questions} questions alike.");
        return text.ToString();

        static double Seconds(string[] sample) => double.Parse(sample[1], CultureInfo.InvariantCulture);
    }
}
