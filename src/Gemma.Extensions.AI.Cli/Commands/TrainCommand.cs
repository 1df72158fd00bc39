using System.CommandLine;
using System.Globalization;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;
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
    private static readonly Option<float> s_clip = new("--clip-norm") { Description = "Largest norm of the gradient; 0: no clipping.", DefaultValueFactory = _ => 1f };
    private static readonly Option<int> s_warmup = new("--warmup") { Description = "Steps over which the learning rate rises; a cosine follows.", DefaultValueFactory = _ => 100 };
    private static readonly Option<bool> s_half = new("--bf16") { Description = "Write the model as bfloat16 instead of float32." };
    private static readonly Option<int?> s_threads = CommonOptions.Threads();
    private static readonly Option<int?> s_lora = new("--lora") { Description = "Train a low-rank adapter of this rank instead of the weights, which stay as they are, in any format; it is saved as PEFT does.", HelpName = "rank" };
    private static readonly Option<float?> s_alpha = new("--alpha") { Description = "The adapter's update is alpha/rank times its factors. Default: twice the rank." };
    private static readonly Option<string[]> s_targets = new("--targets") { Description = $"Projections that the adapter changes: some of {string.Join(", ", LoraOptions.AllTargets)}. Default: all.", AllowMultipleArgumentsPerToken = true };
    private static readonly Option<bool> s_replies = new("--model-turns-only") { Description = "In conversations, train on the model's turns only." };

    public static Command Create()
    {
        Option<string> model = new("--model") { Description = "Where to start: a model to train on (any format), or a directory with config.json and tokenizer alone for a new one.", HelpName = "path", Required = true };
        Command command = Common(new Command("train", "Train a model on text or conversations.\n\nExample:\n  gemma train --model ./student --data corpus.txt --output run --steps 2000\n  gemma train --model gemma-2-2b-it-Q8_0.gguf --lora 8 --data chats.jsonl --batch-tokens 256 --output run"));
        command.Add(model);
        command.SetAction((parsed, cancellation) => Task.Run(() => RunAsync(parsed, parsed.GetRequiredValue(model), null, LossOptions.Label, 0, cancellation), CancellationToken.None));
        return command;
    }

    public static Command CreateDistill()
    {
        Option<string> teacher = new("--teacher") { Description = "The model to learn from, in any format; it runs as it is, quantised or not.", HelpName = "path", Required = true };
        Option<string> student = new("--student") { Description = "The student's config.json, or a directory that holds it, for a new model with the teacher's vocabulary; or a model to go on from.", HelpName = "path", Required = true };
        Option<float> temperature = new("--temperature") { Description = "Softens both distributions.", DefaultValueFactory = _ => 1f };
        Option<float> mix = new("--mix") { Description = "Share of the teacher in the loss, 0 to 1; the rest is the label's.", DefaultValueFactory = _ => 0.9f };
        Option<int> top = new("--top-k") { Description = "Logits of the teacher kept for a token; 0: all.", DefaultValueFactory = _ => 64 };
        Command command = Common(new Command("distill", "Train a small model to predict what a larger one does. The teacher's answers are kept in the output directory, and asked for once.\n\nExample:\n  gemma distill --teacher gemma-2-2b-it-Q4_K_M.gguf --student student/config.json --data corpus.txt --output run"));
        foreach (Option option in new Option[] { teacher, student, temperature, mix, top })
        {
            command.Add(option);
        }

        command.SetAction((parsed, cancellation) => Task.Run(
            () => RunAsync(parsed, parsed.GetRequiredValue(student), parsed.GetRequiredValue(teacher), new LossOptions(parsed.GetValue(mix), parsed.GetValue(temperature)), parsed.GetValue(top), cancellation),
            CancellationToken.None));
        return command;
    }

    private static Command Common(Command command)
    {
        foreach (Option option in new Option[] { s_data, s_validation, s_output, s_steps, s_rate, s_length, s_batch, s_accumulate, s_every, s_seed, s_clip, s_warmup, s_half, s_threads, s_replies, s_lora, s_alpha, s_targets })
        {
            command.Add(option);
        }

        return command;
    }

    private static async Task RunAsync(ParseResult parsed, string start, string? teacher, LossOptions loss, int top, CancellationToken cancellation)
    {
        CliInvocation host = parsed.Host();
        TrainingOptions options = ReadOptions(parsed, loss);
        teacher = teacher is null ? null : Find(teacher);
        string output = parsed.GetRequiredValue(s_output);
        (TrainedWeights model, GemmaTokenizer tokenizer, byte[] tokenizerBytes) = ReadLora(parsed) is { } lora ? StartAdapter(host, start, lora, options, output) : Start(host, start, options, teacher);
        using var file = model as IDisposable;
        Directory.CreateDirectory(output);
        List<TrainingDocument> documents = Read(parsed.GetRequiredValue(s_data), "--data");
        List<TrainingDocument> validation = parsed.GetValue(s_validation) is { Length: > 0 } files ? Read(files, "--validation") : [];
        host.Output.WriteLine($"{model.Config.ParameterCount:N0} parameters, {(model is LoraModel ? $"{model.Weights.Length:N0} of an adapter, " : "")}{documents.Count:N0} documents, {documents.Sum(d => (long)d.Tokens.Length):N0} tokens, {documents.Sum(d => (long)d.TargetCount):N0} targets");
        using TeacherCache? cache = teacher is null ? null : await Teach(host, teacher, tokenizer, model.Config, documents, top, options, Path.Combine(output, "teacher.bin"), cancellation);
        double nll = new TrainingJob(model, cache?.Teach(documents) ?? documents, validation, options, output, tokenizerBytes) { BFloat16 = parsed.GetValue(s_half) }.Run(host.Output.WriteLine, cancellation);
        string measured = double.IsNaN(nll) ? "" : string.Create(CultureInfo.InvariantCulture, $", validation perplexity {Math.Exp(nll):F4}");
        host.Output.WriteLine($"{Path.GetFullPath(Path.Combine(output, model.Kind))}: after {options.Steps:N0} steps{measured}");

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

    private static TrainingOptions ReadOptions(ParseResult parsed, LossOptions loss)
    {
        if (loss.Mix is not (>= 0 and <= 1) || !(loss.Temperature > 0))
        {
            throw new ArgumentException($"--mix is {loss.Mix} and --temperature {loss.Temperature}; expected 0 to 1, and more than 0.");
        }

        foreach ((Option<int> option, int least) in new[] { (s_steps, 1), (s_length, 2), (s_batch, 2), (s_accumulate, 1), (s_every, 1), (s_warmup, 0) })
        {
            if (parsed.GetValue(option) < least)
            {
                throw new ArgumentException($"{option.Name} is {parsed.GetValue(option)}, expected at least {least}.");
            }
        }

        return new TrainingOptions
        {
            Steps = parsed.GetValue(s_steps),
            LearningRate = parsed.GetValue(s_rate),
            MaxLength = parsed.GetValue(s_length),
            MicroBatchTokens = parsed.GetValue(s_batch),
            MicroBatches = parsed.GetValue(s_accumulate),
            CheckpointEvery = parsed.GetValue(s_every),
            WarmupSteps = parsed.GetValue(s_warmup),
            ClipNorm = parsed.GetValue(s_clip),
            Seed = parsed.GetValue(s_seed),
            Threads = parsed.GetValue(s_threads) ?? Environment.ProcessorCount,
            Loss = loss,
        };
    }

    private static LoraOptions? ReadLora(ParseResult parsed)
    {
        if (parsed.GetValue(s_lora) is not { } rank)
        {
            return parsed.GetValue(s_alpha) is null && parsed.GetValue(s_targets) is null or []
                ? null
                : throw new ArgumentException("--alpha and --targets describe an adapter; give its rank with --lora.");
        }

        var options = new LoraOptions(rank, parsed.GetValue(s_alpha) ?? 2 * rank, parsed.GetValue(s_targets) is { Length: > 0 } targets ? targets : LoraOptions.AllTargets);
        options.Validate();
        return options;
    }

    /// <summary>An adapter over a model that stays in its file.</summary>
    private static (TrainedWeights Model, GemmaTokenizer Tokenizer, byte[] TokenizerBytes) StartAdapter(CliInvocation host, string path, LoraOptions lora, TrainingOptions options, string output)
    {
        ModelFile file = ModelFile.Open(Find(path));
        try
        {
            CheckMemory(host, file.Config, options, LoraModel.ParameterCount(file.Config, lora), LoraModel.BaseBytes(file.Config));
            var model = new LoraModel(file, lora, options.Seed);
            model.CheckResumed(Path.Combine(output, model.Kind));
            return (model, file.CreateTokenizer(), []);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>A model with weights goes on from them; a bare config.json starts at random, with the tokenizer beside it or the teacher's.</summary>
    private static (TrainedWeights Model, GemmaTokenizer Tokenizer, byte[] TokenizerBytes) Start(CliInvocation host, string path, TrainingOptions options, string? teacher)
    {
        string config = Directory.Exists(path) ? Path.Combine(path, "config.json") : path;
        if (!File.Exists(config) || !config.EndsWith(".json", StringComparison.OrdinalIgnoreCase) || Directory.EnumerateFiles(Path.GetDirectoryName(Path.GetFullPath(config))!, "*.safetensors").Any())
        {
            using ModelFile file = ModelFile.Open(Find(path));
            CheckMemory(host, file.Config, options);
            GemmaTokenizer own = file.CreateTokenizer();
            return (ModelDirectory.Load(file), own, TokenizerBytes(file.Path, own));
        }

        using JsonFile json = JsonFile.Open(config);
        GemmaConfig numbers = HuggingFaceConfig.Read(json);
        CheckMemory(host, numbers, options);
        var fresh = new TrainingModel(numbers);
        fresh.Initialize(options.Seed);
        string directory = Path.GetDirectoryName(Path.GetFullPath(config))!;
        bool hasTokenizer = File.Exists(Path.Combine(directory, "tokenizer.model")) || File.Exists(Path.Combine(directory, "tokenizer.json"));
        if (!hasTokenizer && teacher is null)
        {
            throw new GemmaModelFormatException($"'{config}' has neither tokenizer.model nor tokenizer.json beside it. Put the vocabulary of the model there.");
        }

        using ModelFile? source = hasTokenizer ? null : ModelFile.Open(teacher!, checkScales: false);
        GemmaTokenizer tokenizer = source?.CreateTokenizer() ?? TokenizerFiles.Open(directory);
        return tokenizer.VocabularySize <= fresh.Config.VocabularySize
            ? (fresh, tokenizer, TokenizerBytes(source?.Path ?? directory, tokenizer))
            : throw new GemmaModelFormatException($"'{config}' has a vocab_size of {fresh.Config.VocabularySize:N0}, but the vocabulary has {tokenizer.VocabularySize:N0} tokens. Set vocab_size to that.");
    }

    /// <summary>The vocabulary as the checkpoint has it, or written anew where it came from a GGUF file or a tokenizer.json.</summary>
    private static byte[] TokenizerBytes(string model, GemmaTokenizer tokenizer) =>
        Path.Combine(model, "tokenizer.model") is var path && File.Exists(path) ? File.ReadAllBytes(path) : SentencePieceWriter.Write(tokenizer);

    /// <summary>States what training takes, and refuses what is not there before anything is computed.</summary>
    private static void CheckMemory(CliInvocation host, GemmaConfig config, TrainingOptions options, long? trained = null, long frozenBytes = 0)
    {
        long needed = Trainer.Bytes(config, options, trained) + frozenBytes, available = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (needed > available)
        {
            throw new GemmaMemoryException(
                $"Training {trained ?? config.ParameterCount:N0} parameters in {options.MicroBatches:N0} micro-batches of {options.MicroBatchTokens:N0} tokens on {options.Threads:N0} threads needs {needed / 1e9:F1} GB; {available / 1e9:F1} GB are available. Lower --batch-tokens, --micro-batches or --threads, or train a smaller model{(trained is null ? ", or an adapter (--lora)" : "")}.",
                needed, available);
        }

        host.Output.WriteLine($"training takes {needed / 1e6:N0} MB of memory");
    }

    private static async Task<TeacherCache> Teach(
        CliInvocation host, string path, GemmaTokenizer tokenizer, GemmaConfig student, List<TrainingDocument> documents, int top, TrainingOptions options, string cache, CancellationToken cancellation)
    {
        byte[] key;
        MemoryAdvice advice;
        int vocabulary, longest = documents.Max(document => document.Tokens.Length);
        using (ModelFile file = ModelFile.Open(path))
        {
            vocabulary = file.Config.VocabularySize;
            advice = MemoryAdvice.For(file.Config, file.Tensors.Values.Sum(tensor => tensor.ByteLength), longest, KvType.F16);
            advice.ThrowIfTooLarge(path, file.Config);
            CheckTeacher(file, tokenizer, student, longest);
            key = TeacherCache.KeyOf(file, documents);
        }

        int k = top == 0 ? vocabulary : Math.Min(top, vocabulary);
        if (!File.Exists(cache))
        {
            using GemmaModel teacher = GemmaModel.Load(path, new GemmaOptions { ContextLength = longest, Threads = options.Threads, PrefixCache = false });
            long bytes = TeacherCache.Bytes(documents.Sum(d => (long)d.TargetCount), k, vocabulary);
            host.Output.WriteLine($"teacher {teacher.ModelId} {advice.Describe()}; its answers take {bytes / 1e6:N1} MB of '{cache}'");
            using var line = new ProgressLine(host);
            await TeacherCache.WriteAsync(cache, teacher.Engine, vocabulary, key, documents, k, done => line.Show("asking the teacher", done, documents.Count), cancellation);
        }

        return TeacherCache.Open(cache, vocabulary, key, documents, k);
    }

    /// <summary>A distribution over other tokens would teach nonsense.</summary>
    private static void CheckTeacher(ModelFile teacher, GemmaTokenizer tokenizer, GemmaConfig student, int longest)
    {
        GemmaTokenizer own = teacher.CreateTokenizer();
        int different = own.VocabularySize == tokenizer.VocabularySize ? Enumerable.Range(0, own.VocabularySize).FirstOrDefault(id => own.GetPiece(id) != tokenizer.GetPiece(id), -1) : 0;
        if (different >= 0)
        {
            throw new ArgumentException(own.VocabularySize != tokenizer.VocabularySize
                ? $"The teacher has {own.VocabularySize:N0} tokens and the student {tokenizer.VocabularySize:N0}. Give the student the teacher's vocabulary."
                : $"Token {different:N0} is '{own.GetPiece(different)}' to the teacher and '{tokenizer.GetPiece(different)}' to the student. Give the student the teacher's vocabulary.");
        }

        if (teacher.Config.VocabularySize != student.VocabularySize)
        {
            throw new ArgumentException($"The teacher's vocab_size is {teacher.Config.VocabularySize:N0} and the student's {student.VocabularySize:N0}. Give the student the teacher's.");
        }

        if (longest > teacher.Config.ContextLength)
        {
            throw new ArgumentException($"A document has {longest:N0} tokens, but the teacher '{teacher.Name}' was trained for {teacher.Config.ContextLength:N0}. Lower --length.");
        }
    }

    private static string Find(string path) => ModelAliases.Find(path, out string? problem) ?? throw new GemmaModelFormatException(problem!);
}
