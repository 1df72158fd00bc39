using System.CommandLine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma train</c> and <c>gemma distill</c>: next-token training, and training towards a teacher's distribution.</summary>
internal static class TrainCommand
{
    private static readonly Option<string[]> s_data = new("--data") { Description = "Training files: .jsonl with one {\"messages\":[…]} a line, or plain text.", Required = true, AllowMultipleArgumentsPerToken = true };
    private static readonly Option<string[]> s_validation = new("--validation") { Description = "Files to measure on.", AllowMultipleArgumentsPerToken = true };
    private static readonly Option<string> s_output = new("--output", "-o") { Description = "Directory of the run. A run that was stopped continues from its checkpoint there.", Required = true };
    private static readonly Option<int> s_steps = new("--steps") { Description = "Weight updates.", DefaultValueFactory = _ => 1000 };
    private static readonly Option<float> s_rate = new("--learning-rate") { DefaultValueFactory = _ => 1e-3f };
    private static readonly Option<int> s_length = new("--length") { Description = "Tokens of the longest document.", DefaultValueFactory = _ => 256 };
    private static readonly Option<int> s_batch = new("--batch-tokens") { Description = "Tokens of one micro-batch.", DefaultValueFactory = _ => 2048 };
    private static readonly Option<int> s_accumulate = new("--micro-batches") { Description = "Micro-batches of one update.", DefaultValueFactory = _ => 4 };
    private static readonly Option<int> s_every = new("--checkpoint-every") { Description = "Steps between checkpoints and validations.", DefaultValueFactory = _ => 100 };
    private static readonly Option<int> s_seed = new("--seed") { DefaultValueFactory = _ => 1 };
    private static readonly Option<bool> s_replies = new("--model-turns-only") { Description = "In conversations, train on the model's turns only." };

    public static Command Create()
    {
        Option<string> model = new("--model") { Description = "Where to start: a model to train on (any format), or a directory with config.json and tokenizer alone for a new one.", Required = true };
        Command command = Common(new Command("train", "Train a model on text or conversations.\n\nExample:\n  gemma train --model ./student --data corpus.txt --output run --steps 2000"));
        command.Add(model);
        command.SetAction((parsed, cancellation) => Task.Run(() => Run(parsed, parsed.GetRequiredValue(model), null, LossOptions.Label, 0, cancellation), CancellationToken.None));
        return command;
    }

    public static Command CreateDistill()
    {
        Option<string> teacher = new("--teacher") { Description = "The model to learn from, in any format.", Required = true };
        Option<string> student = new("--student") { Description = "Directory with the student's config.json and its tokenizer (the teacher's), or a model to go on from.", Required = true };
        Option<float> temperature = new("--temperature") { Description = "Softens both distributions.", DefaultValueFactory = _ => 1f };
        Option<float> mix = new("--mix") { Description = "Share of the teacher in the loss, 0 to 1; the rest is the label's.", DefaultValueFactory = _ => 0.9f };
        Option<int> top = new("--top-k") { Description = "Logits of the teacher kept for a token; 0: all.", DefaultValueFactory = _ => 64 };
        Command command = Common(new Command("distill", "Train a small model to predict what a larger one does.\n\nExample:\n  gemma distill --teacher ./gemma-2-2b-it --student ./student --data corpus.txt --output run"));
        foreach (Option option in new Option[] { teacher, student, temperature, mix, top })
        {
            command.Add(option);
        }

        command.SetAction((parsed, cancellation) => Task.Run(
            () => Run(parsed, parsed.GetRequiredValue(student), parsed.GetRequiredValue(teacher), new LossOptions(parsed.GetValue(mix), parsed.GetValue(temperature)), parsed.GetValue(top), cancellation),
            CancellationToken.None));
        return command;
    }

    private static Command Common(Command command)
    {
        foreach (Option option in new Option[] { s_data, s_validation, s_output, s_steps, s_rate, s_length, s_batch, s_accumulate, s_every, s_seed, s_replies })
        {
            command.Add(option);
        }

        return command;
    }

    private static void Run(ParseResult parsed, string start, string? teacher, LossOptions loss, int top, CancellationToken cancellation)
    {
        CliInvocation host = parsed.Host();
        if (loss.Mix is < 0 or > 1 || loss.Temperature <= 0)
        {
            throw new ArgumentException($"--mix is {loss.Mix} and --temperature {loss.Temperature}; expected 0 to 1, and more than 0.");
        }

        var options = new TrainingOptions
        {
            Steps = parsed.GetValue(s_steps),
            LearningRate = parsed.GetValue(s_rate),
            MaxLength = parsed.GetValue(s_length),
            MicroBatchTokens = parsed.GetValue(s_batch),
            MicroBatches = parsed.GetValue(s_accumulate),
            CheckpointEvery = parsed.GetValue(s_every),
            Seed = parsed.GetValue(s_seed),
            Loss = loss,
        };
        (TrainingModel model, GemmaTokenizer tokenizer, byte[] tokenizerBytes) = Start(start, options.Seed);
        string output = parsed.GetRequiredValue(s_output);
        Directory.CreateDirectory(output);
        List<TrainingDocument> documents = Read(parsed.GetRequiredValue(s_data), "--data");
        List<TrainingDocument> validation = parsed.GetValue(s_validation) is { Length: > 0 } files ? Read(files, "--validation") : [];
        if (teacher is not null)
        {
            documents = Teach(host, teacher, tokenizer, documents, top, options, Path.Combine(output, "teacher.bin"), cancellation);
        }

        long memory = 4L * model.Weights.Length * (4 + options.MicroBatches)
            + options.Threads * GemmaBackprop.WorkerBytes(model.Config, Math.Max(options.MicroBatchTokens, options.MaxLength), options.MaxLength);
        host.Output.WriteLine($"{model.Config.ParameterCount:N0} parameters, {documents.Count:N0} documents, {documents.Sum(d => (long)d.TargetCount):N0} targets, {memory / 1e6:N0} MB of buffers");
        new TrainingJob(model, documents, validation, options, output, tokenizerBytes).Run(host.Output.WriteLine, cancellation);

        List<TrainingDocument> Read(string[] paths, string option)
        {
            List<TrainingDocument> read = TrainingData.Read(paths, tokenizer, options.MaxLength, parsed.GetValue(s_replies), out int tooLong);
            if (tooLong > 0)
            {
                host.Error.WriteLine($"gemma: warning: {tooLong:N0} conversations of {option} are longer than {options.MaxLength:N0} tokens and are left out; raise --length.");
            }

            return read.Count > 0 ? read : throw new ArgumentException($"The files of {option} hold no document to train on.");
        }
    }

    /// <summary>A model with weights goes on from them; a bare config.json starts at random.</summary>
    private static (TrainingModel Model, GemmaTokenizer Tokenizer, byte[] TokenizerBytes) Start(string path, int seed)
    {
        string config = Path.Combine(path, "config.json"), vocabulary = Path.Combine(path, "tokenizer.model");
        if (File.Exists(config) && Directory.GetFiles(path, "*.safetensors").Length == 0)
        {
            byte[] bytes = File.Exists(vocabulary) ? File.ReadAllBytes(vocabulary) : throw new GemmaModelFormatException($"'{path}' has a config.json but no tokenizer.model. Put the vocabulary of the model beside it.");
            var fresh = new TrainingModel(HuggingFaceConfig.Read(JsonFile.Open(config)));
            fresh.Initialize(seed);
            return (fresh, GemmaTokenizer.FromSentencePiece(bytes, vocabulary), bytes);
        }

        using ModelFile file = Open(path);
        return (ModelDirectory.Load(file), file.CreateTokenizer(), File.Exists(vocabulary) ? File.ReadAllBytes(vocabulary) : []);
    }

    private static List<TrainingDocument> Teach(
        CliInvocation host, string path, GemmaTokenizer tokenizer, List<TrainingDocument> documents, int top, TrainingOptions options, string cache, CancellationToken cancellation)
    {
        if (!File.Exists(cache))
        {
            using ModelFile file = Open(path);
            if (file.Config.VocabularySize != tokenizer.VocabularySize)
            {
                throw new ArgumentException($"The teacher has {file.Config.VocabularySize:N0} tokens and the student {tokenizer.VocabularySize:N0}. Give the student the teacher's vocabulary.");
            }

            TrainingModel teacher = Distillation.LoadTeacher(file, options.MaxLength, options.MaxLength);
            using var line = new ProgressLine(host);
            Distillation.WriteCache(cache, teacher, documents, top == 0 ? int.MaxValue : top, options.MaxLength, options.MaxLength,
                done => line.Show("asking the teacher", done, documents.Count), cancellation);
        }

        return Distillation.ReadCache(cache, documents);
    }

    private static ModelFile Open(string path) => ModelFile.Open(ModelAliases.Find(path, out string? problem) ?? throw new GemmaModelFormatException(problem!));
}
