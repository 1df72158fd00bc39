using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>The commands of the recipe, in the order of its steps.</summary>
internal static class Commands
{
    /// <summary>Training cases are numbered from 0; validation and vocabulary use the same generator.</summary>
    internal const int CorpusSeed = 1;

    /// <summary>The share of the run at its start that trains on prompts too: names recur in them, which teaches copying sooner.</summary>
    private const double WholeDocuments = 0.03;

    /// <summary>
    /// The curriculum as shares of the run: copying first, then small talk, whose answers have to be learned by heart, then drills, since comparing
    /// comes last, and at the end prompts up to the whole context.
    /// </summary>
    internal static IReadOnlyList<(double Until, Emphasis Emphasis)> Phases { get; } =
    [
        (0.05, default), (0.07, new(Repeat: 40)), (0.09, new(Talk: 25)), (0.15, new(Talk: 6)), (0.55, new(Talk: 3, Drill: 40, System: 4)), (0.85, new(Talk: 5, Drill: 25, System: 4)), (1, new(Talk: 8, Drill: 15, Long: 2, System: 4)),
    ];

    /// <summary>
    /// The phases of a run that begins with a model of as many layers: copying is learned, and what is left is to compare, which drills and lists practise, and to understand more ways to say a thing;
    /// answers learned by heart need many short cases.
    /// </summary>
    internal static IReadOnlyList<(double Until, Emphasis Emphasis)> Continued { get; } =
    [
        (0.35, new(Talk: 6, System: 4, Drill: 32, Lists: 30)), (0.70, new(Talk: 8, System: 6, Drill: 38, Lists: 16)), (1, new(Talk: 12, System: 10, Drill: 26, Lists: 10, Long: 1, Refusals: 8)),
    ];

    /// <summary>
    /// 3.35 million parameters: eight layers (four local with a window of 512, four global), as narrow as copying allows; two queries a key head, as in the real family. Caps are those of it, too.
    /// </summary>
    public static GemmaConfig Config(int vocabularySize) => new()
    {
        VocabularySize = vocabularySize,
        HiddenSize = 192,
        FeedForwardSize = 384,
        LayerCount = 8,
        HeadCount = 8,
        KvHeadCount = 4,
        HeadDim = 32,
        ContextLength = 4096,
        SlidingWindow = 512,
        RmsNormEpsilon = 1e-6f,
        RopeBase = 10000,
        QueryScale = 1 / MathF.Sqrt(32),
        AttentionSoftcap = 50,
        FinalSoftcap = 30,
    };

    public static Command Show()
    {
        Option<int> cases = new("--cases") { DefaultValueFactory = _ => 20 };
        Option<string?> vocabulary = new("--vocabulary") { Description = "Show tokens of this vocabulary instead of text." };
        Option<bool> heldOut = new("--held-out");
        Option<bool> drills = new("--drills") { Description = "Show the drills." };
        Option<bool> lists = new("--lists") { Description = "Show lists in which every line is a decision." };
        Option<Skill?> skill = new("--skill") { Description = "Show cases of one skill." };
        Command command = new("show", "Prints generated cases as prompts.") { cases, vocabulary, heldOut, drills, lists, skill };
        command.SetAction(parse =>
        {
            GemmaTokenizer? tokenizer = parse.GetValue(vocabulary) is { } path ? GemmaTokenizer.FromFile(path) : null;
            for (int i = 0; i < parse.GetValue(cases); i++)
            {
                bool drill = parse.GetValue(drills), list = parse.GetValue(lists);
                NanoCase drawn = list ? NanoCorpus.List(CorpusSeed, i) : drill ? NanoCorpus.Drill(CorpusSeed, i) : NanoCorpus.Draw(CorpusSeed, i, parse.GetValue(heldOut) ? Split.HeldOut : Split.Train, parse.GetValue(skill));
                Console.WriteLine($"=== {drawn.Skill}");
                if (tokenizer is null)
                {
                    Console.WriteLine(PlainText(drawn));
                    continue;
                }

                TrainingDocument document = Render(tokenizer, drawn, list ? Practice.Lists : drill ? Practice.Decisions : Practice.Answers);
                Console.WriteLine($"{document.Tokens.Length} tokens, {document.TargetCount} trained");
                Console.WriteLine(string.Join('|', document.Tokens.Select((t, k) => (document.Trained![k] ? "+" : "") + tokenizer.GetPiece(t).Replace("\n", "\\n", StringComparison.Ordinal))));
            }
        });
        return command;
    }

    public static Command Words()
    {
        Option<int> cases = new("--cases") { DefaultValueFactory = _ => 60000 };
        Option<string> output = new("--output") { Required = true };
        Command command = new("words", "Counts the words of the corpus for spm_train.") { cases, output };
        command.SetAction(parse =>
        {
            IEnumerable<string> texts = Enumerable.Range(0, parse.GetValue(cases)).Select(i => PlainText(NanoCorpus.Draw(CorpusSeed, i, Split.Train)));
            File.WriteAllText(parse.GetValue(output)!, NanoVocabulary.WordCounts(texts));
        });
        return command;
    }

    public static Command Vocabulary()
    {
        Option<string> model = new("--base") { Required = true, Description = "What spm_train wrote." };
        Option<string> words = new("--words") { Required = true };
        Option<int> size = new("--size") { DefaultValueFactory = _ => 2048 };
        Option<string> output = new("--output") { Required = true };
        Command command = new("vocabulary", "Completes the vocabulary with the newline, the space and spaced words.") { model, words, size, output };
        command.SetAction(parse => File.WriteAllBytes(parse.GetValue(output)!, NanoVocabulary.Complete(
            File.ReadAllBytes(parse.GetValue(model)!), File.ReadAllText(parse.GetValue(words)!), parse.GetValue(size))));
        return command;
    }

    public static Command Train()
    {
        Option<string> vocabulary = new("--vocabulary") { Required = true };
        Option<string> output = new("--output") { Required = true, Description = "Directory of checkpoints and models; an existing run in it continues." };
        Option<string?> start = new("--start") { Description = "A model to grow from, or one of the same shape to go on with; without it the weights are random." };
        Option<int> steps = new("--steps") { DefaultValueFactory = _ => 11_500 };
        Option<int> cases = new("--cases") { DefaultValueFactory = _ => 120_000 };
        Option<float> rate = new("--learning-rate") { DefaultValueFactory = _ => 1.5e-3f };
        Option<int> micro = new("--micro-batches") { DefaultValueFactory = _ => 4 };
        Option<int> every = new("--checkpoint-every") { DefaultValueFactory = _ => 100 };
        Option<int> threads = new("--threads") { DefaultValueFactory = _ => Environment.ProcessorCount };
        Command command = new("train", "Trains gemma2-nano.") { vocabulary, output, start, steps, cases, rate, micro, every, threads };
        command.SetAction((parse, cancellation) =>
        {
            byte[] tokenizerBytes = File.ReadAllBytes(parse.GetValue(vocabulary)!);
            GemmaTokenizer tokenizer = GemmaTokenizer.FromSentencePiece(tokenizerBytes, parse.GetValue(vocabulary)!);
            Run(tokenizer, tokenizerBytes, parse.GetValue(output)!, parse.GetValue(start), parse.GetValue(cases), new GemmaTrainingOptions(parse.GetValue(steps))
            {
                MaxLength = Config(tokenizer.VocabularySize).ContextLength,
                LearningRate = parse.GetValue(rate),
                MicroBatches = parse.GetValue(micro),
                CheckpointEvery = parse.GetValue(every),
                MicroBatchTokens = 1024,
                Threads = parse.GetValue(threads),
            }, cancellation);
            return Task.CompletedTask;
        });
        return command;
    }

    public static Command Export()
    {
        Option<string> model = new("--model") { Required = true, Description = "Directory that training wrote." };
        Option<string> type = new("--type") { DefaultValueFactory = _ => "Q8_0" };
        Option<string> output = new("--output") { Required = true };
        Option<string?> mean = new("--mean-with") { Description = "A model of the same shape, such as the one that training started from, or one that can grow to it: the mean of both is written." };
        Option<double> share = new("--share") { DefaultValueFactory = _ => 0.5, Description = "With --mean-with: the share of the trained weights." };
        Command command = new("export", "Writes the model as GGUF.") { model, type, output, mean, share };
        command.SetAction(parse =>
        {
            string directory = parse.GetValue(mean) is { } other ? MeanModel.Write(parse.GetValue(model)!, other, parse.GetValue(share)) : parse.GetValue(model)!;

            // So small a model is at its best with the most likely token.
            string generation = Path.Combine(directory, "generation_config.json");
            File.WriteAllText(generation, File.ReadAllText(generation).TrimEnd('}', '\n') + ",\"temperature\":0}");
            using ModelFile file = ModelFile.Open(directory);
            ModelConverter.Write(file, QuantizationRecipe.Get(parse.GetValue(type)!), parse.GetValue(output)!, name: Path.GetFileNameWithoutExtension(parse.GetValue(output)!));
        });
        return command;
    }

    public static Command Evaluate()
    {
        Option<string> model = new("--model") { Required = true };
        Option<int> cases = new("--cases") { DefaultValueFactory = _ => 200, Description = "Cases a skill." };
        Option<string?> failures = new("--failures") { Description = "Writes the wrong answers here." };
        Option<string?> skills = new("--skills") { Description = "Only these, with commas between them; 'Documents' is the pipeline over documents." };
        Command command = new("evaluate", "Measures a model on held-out cases, greedily, through IChatClient.") { model, cases, failures, skills };
        command.SetAction(async (parse, cancellation) =>
        {
            string path = parse.GetValue(model)!;
            string[] chosen = parse.GetValue(skills)?.Split(',') ?? [.. Enum.GetNames<Skill>(), DocumentEvaluation.Name];
            using TextWriter? file = parse.GetValue(failures) is { } log ? File.CreateText(log) : null;
            Stopwatch watch = Stopwatch.StartNew();
            List<Outcome> outcomes = new();
            using (GemmaModel loaded = GemmaModel.Load(path))
            using (Microsoft.Extensions.AI.IChatClient client = loaded.AsIChatClient())
            {
                outcomes.AddRange(await new NanoEvaluation(client).Run(parse.GetValue(cases), [.. chosen.Where(name => name != DocumentEvaluation.Name).Select(Enum.Parse<Skill>)], cancellation));
            }

            if (chosen.Contains(DocumentEvaluation.Name))
            {
                outcomes.AddRange(await DocumentEvaluation.Run(path, parse.GetValue(cases), cancellation));
            }

            Console.WriteLine(Figures.Table(outcomes, file));
            Console.WriteLine($"{path}, {parse.GetValue(cases)} cases a skill, {watch.Elapsed.TotalSeconds:F0} s");
        });
        return command;
    }

    public static Command Distillation()
    {
        Option<string> vocabulary = new("--vocabulary") { Required = true };
        Option<string> teacher = new("--teacher") { Required = true };
        Option<string> output = new("--output") { Required = true, Description = "Directory of the runs; what is in it continues." };
        Option<string?> results = new("--results") { Description = "Writes distillation.md and distillation.svg here." };
        Option<int> cases = new("--cases") { DefaultValueFactory = _ => 1500 };
        Option<int> steps = new("--steps") { DefaultValueFactory = _ => 700 };
        Option<int> seeds = new("--seeds") { DefaultValueFactory = _ => 3 };
        Option<float> mix = new("--mix") { DefaultValueFactory = _ => 0.9f };
        Option<float> temperature = new("--temperature") { DefaultValueFactory = _ => 1f };
        Option<int> top = new("--top-k") { DefaultValueFactory = _ => 32 };
        Option<int> threads = new("--threads") { DefaultValueFactory = _ => Environment.ProcessorCount };
        Command command = new("distillation", "Trains a small student with and without gemma2-nano as its teacher, and compares.") { vocabulary, teacher, output, results, cases, steps, seeds, mix, temperature, top, threads };
        command.SetAction(async (parse, cancellation) =>
        {
            byte[] bytes = File.ReadAllBytes(parse.GetValue(vocabulary)!);
            DistillationExperiment experiment = new(
                GemmaTokenizer.FromSentencePiece(bytes, parse.GetValue(vocabulary)!), bytes, parse.GetValue(output)!,
                new(parse.GetValue(teacher)!, parse.GetValue(cases), parse.GetValue(steps), parse.GetValue(seeds), new LossOptions(parse.GetValue(mix), parse.GetValue(temperature)), parse.GetValue(top), parse.GetValue(threads)));
            (string report, string curve) = await experiment.RunAsync(Console.WriteLine, cancellation);
            report += $"\nProcessor time: {Process.GetCurrentProcess().TotalProcessorTime.TotalMinutes:F1} minutes.\n";
            Console.WriteLine(report);
            if (parse.GetValue(results) is { } directory)
            {
                File.WriteAllText(Path.Combine(directory, "distillation.md"), "# Distillation\n\n" + report + "\n![Held-out loss](distillation.svg)\n");
                File.WriteAllText(Path.Combine(directory, "distillation.svg"), curve);
            }
        });
        return command;
    }

    private static void Run(GemmaTokenizer tokenizer, byte[] tokenizerBytes, string output, string? start, int cases, GemmaTrainingOptions options, CancellationToken cancellation)
    {
        Directory.CreateDirectory(output);
        List<TrainingDocument> validation = Documents(tokenizer, Split.HeldOut, 400, options.MaxLength);
        GemmaConfig config = Config(tokenizer.VocabularySize);
        Console.WriteLine($"{config.ParameterCount:N0} parameters");
        TrainingModel? before = start is null ? null : MeanModel.Load(start);
        bool continued = before is not null && before.Config.LayerCount == config.LayerCount;
        foreach ((double until, Emphasis emphasis) in continued ? Continued : Phases)
        {
            int end = (int)Math.Round(until * options.Steps);
            if (Trainer.StepOf(Path.Combine(output, "checkpoint.bin")) >= end)
            {
                continue;
            }

            // Every phase starts from the same weights, as when the command is given again; its checkpoint replaces them.
            TrainingModel model = new(config);
            model.Initialize(options.Seed);
            if (before is not null)
            {
                GrownModel.Fill(before, model);
            }

            Stopwatch watch = Stopwatch.StartNew();
            List<TrainingDocument> documents = Documents(tokenizer, Split.Train, cases, options.MaxLength, emphasis);
            Console.WriteLine($"to step {end:N0}: {documents.Count:N0} cases, {documents.Sum(d => (long)d.Tokens.Length):N0} tokens, {documents.Sum(d => (long)d.TargetCount):N0} trained, longest {documents.Max(d => d.Tokens.Length)}, generated in {watch.Elapsed.TotalSeconds:F0} s");
            new TrainingJob(model, documents, validation, options, output, tokenizerBytes) { StopAfter = end, WholeDocumentSteps = continued ? 0 : (int)(WholeDocuments * options.Steps) }.Run(Console.WriteLine, cancellation);
        }
    }

    internal static List<TrainingDocument> Documents(GemmaTokenizer tokenizer, Split split, int count, int maxLength, Emphasis emphasis = default)
    {
        TrainingDocument[] documents = new TrainingDocument[count];
        Parallel.For(0, count, i => documents[i] = emphasis.Render(tokenizer, i, split));
        return [.. documents.Where(d => d.Tokens.Length <= maxLength)];
    }

    /// <summary>The messages without template, for looking at and for counting words.</summary>
    internal static string PlainText(NanoCase drawn) => string.Join("\n", PlainTurns(drawn));

    private static IEnumerable<string> PlainTurns(NanoCase drawn)
    {
        if (drawn.Options?.Instructions is { } instructions)
        {
            yield return instructions;
        }

        if (drawn.Options?.Tools is { Count: > 0 } tools)
        {
            StringBuilder text = new(ToolMarkup.Own.Introduction.Replace("…", "", StringComparison.Ordinal) + "\n");
            foreach (Microsoft.Extensions.AI.AITool tool in tools)
            {
                text.Append("- ");
                ToolSignatureText.Append(text, (Microsoft.Extensions.AI.AIFunctionDeclaration)tool);
                text.Append('\n');
            }

            yield return text.ToString();
        }

        foreach (Microsoft.Extensions.AI.ChatMessage message in drawn.Messages)
        {
            foreach (Microsoft.Extensions.AI.AIContent content in message.Contents)
            {
                yield return content switch
                {
                    Microsoft.Extensions.AI.TextContent t => t.Text,
                    Microsoft.Extensions.AI.FunctionCallContent call => ChatTemplate.RenderCall(call),
                    Microsoft.Extensions.AI.FunctionResultContent result => ToolMarkup.Own.CallStart + "{\"result\":" + System.Text.Json.JsonSerializer.Serialize(result.Result) + "}",
                    _ => "",
                };
            }
        }
    }

    private static TrainingDocument Render(GemmaTokenizer tokenizer, NanoCase drawn, Practice practice) => practice switch
    {
        Practice.Lists => NanoCorpus.RenderList(tokenizer, drawn),
        Practice.Decisions => NanoCorpus.RenderDecisions(tokenizer, drawn),
        _ => NanoCorpus.Render(tokenizer, drawn),
    };

    /// <summary>The part of a case that is trained.</summary>
    internal enum Practice
    {
        /// <summary>All that the model says.</summary>
        Answers,

        /// <summary>The tokens that decide an answer.</summary>
        Decisions,

        /// <summary>The ends of the lines of a list.</summary>
        Lists,
    }

    /// <summary>Shares of the cases, in percent, that practise one thing instead of being drawn from the mixture.</summary>
    internal readonly record struct Emphasis(int Repeat = 0, int Talk = 0, int Drill = 0, int Long = 0, int System = 0, int Lists = 0, int Refusals = 0)
    {
        public (NanoCase Case, Practice Practice) Draw(int index, Split split)
        {
            int place = index % 100;
            (NanoCase, Practice)? drawn = null;
            Take(Lists, () => (NanoCorpus.List(CorpusSeed, index), Practice.Lists));
            Take(Repeat, () => (NanoCorpus.Draw(CorpusSeed, index, split, Skill.Repeat), Practice.Answers));
            Take(Talk, () => (NanoCorpus.Draw(CorpusSeed, index, split, Skill.Talk), Practice.Answers));
            Take(Drill, () => (NanoCorpus.Drill(CorpusSeed, index), Practice.Decisions));
            Take(Long, () => (NanoCorpus.Long(CorpusSeed, index), Practice.Answers));
            Take(System, () => (NanoCorpus.Draw(CorpusSeed, index, split, Skill.System), Practice.Answers));
            Take(Refusals, () => (NanoCorpus.Draw(CorpusSeed, index, split, index % 3 == 0 ? Skill.NoTool : Skill.Absent), Practice.Answers));
            return drawn ?? (NanoCorpus.Draw(CorpusSeed, index, split), Practice.Answers);

            void Take(int share, Func<(NanoCase, Practice)> draw)
            {
                drawn ??= place >= 0 && place < share ? draw() : null;
                place -= share;
            }
        }

        public TrainingDocument Render(GemmaTokenizer tokenizer, int index, Split split)
        {
            (NanoCase drawn, Practice practice) = Draw(index, split);
            return Commands.Render(tokenizer, drawn, practice);
        }
    }
}
