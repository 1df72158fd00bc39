using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Training;

/// <summary>
/// Trains a Gemma 2 model on text, distils a larger one into it, or trains an adapter: what <c>gemma train</c> and <c>gemma distill</c> do. Everything that can be
/// refused (memory, disk, vocabularies, data) is refused before the first update.
/// </summary>
/// <param name="options">The run.</param>
/// <exception cref="ArgumentException">A number is out of range.</exception>
/// <example>
/// <code>
/// var trainer = new GemmaTrainer(new() { Model = "student/config.json", Teacher = "gemma-2-2b-it-Q4_K_M.gguf", Data = ["corpus.txt"], Output = "run" });
/// GemmaTrainingResult result = await trainer.RunAsync();
/// using GemmaModel model = GemmaModel.Load(result.Path);
/// </code>
/// </example>
public sealed class GemmaTrainer(GemmaTrainingOptions options)
{
    private readonly GemmaTrainingOptions _options = Checked(options);

    /// <summary>Gets lines for people: what the run needs, its losses now and then, its checkpoints.</summary>
    public Action<string>? Log { get; init; }

    /// <summary>Gets what was left out of the data.</summary>
    public Action<string>? Warn { get; init; }

    /// <summary>Gets the receiver of a report after every update, called on the thread that trains. (<see cref="Progress{T}"/> passes reports on to another thread.)</summary>
    public IProgress<GemmaTrainingProgress>? Progress { get; init; }

    /// <summary>Gets the receiver of a report after every document that the teacher was asked about.</summary>
    public IProgress<GemmaTeacherProgress>? TeacherProgress { get; init; }

    /// <summary>Runs to the end, or goes on from the checkpoint in the output directory, exactly as if it had not been stopped.</summary>
    /// <param name="cancellationToken">Stops the run after the update that is being computed; a checkpoint is written there.</param>
    /// <exception cref="ArgumentException">Vocabularies differ, documents are too long, or there are none.</exception>
    /// <exception cref="GemmaMemoryException">The run or the teacher does not fit into memory.</exception>
    /// <exception cref="GemmaModelFormatException">A model or a checkpoint cannot be read.</exception>
    /// <exception cref="FormatException">A file of the data is not UTF-8, or a line no conversation.</exception>
    /// <exception cref="IOException">The disk has no room.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public Task<GemmaTrainingResult> RunAsync(CancellationToken cancellationToken = default) => Task.Run(() => RunCoreAsync(cancellationToken), CancellationToken.None);

    private async Task<GemmaTrainingResult> RunCoreAsync(CancellationToken cancellationToken)
    {
        string? teacher = _options.Teacher is null ? null : Find(_options.Teacher);
        (TrainedWeights model, ChatFormat format, byte[] tokenizerBytes, IReadOnlyDictionary<string, byte[]?>? beside) = _options.Lora is { } lora ? StartAdapter(lora) : Start(teacher);
        using IDisposable? file = model as IDisposable;
        Directory.CreateDirectory(_options.Output);

        List<TrainingDocument> documents = Read(_options.Data, "training", format, model.Config);
        List<TrainingDocument> validation = _options.Validation.Count > 0 ? Read(_options.Validation, "validation", format, model.Config) : [];
        Log?.Invoke($"{model.Config.ParameterCount:N0} parameters, {(model is LoraModel ? $"{model.Weights.Length:N0} of an adapter, " : "")}{documents.Count:N0} documents, {documents.Sum(d => (long)d.Tokens.Length):N0} tokens, {documents.Sum(d => (long)d.TargetCount):N0} targets");
        ModelConverter.CheckRoom(Path.Combine(_options.Output, TrainingJob.CheckpointName), TrainingJob.FileBytes(model, _options.Output));
        using TeacherCache? cache = teacher is null ? null : await AskAsync(teacher, format.Tokenizer, model.Config, documents, cancellationToken).ConfigureAwait(false);
        TrainingJob job = new(model, cache?.Teach(documents) ?? documents, validation, _options, _options.Output, tokenizerBytes) { Beside = beside, BFloat16 = _options.BFloat16, Progress = Progress };
        double loss = job.Run(line => Log?.Invoke(line), cancellationToken);
        if (model is not LoraModel && format.Template is { } template)
        {
            WholeFile.Write(Path.Combine(_options.Output, model.Kind, "chat_template.jinja"), template);
        }

        return new GemmaTrainingResult(
            Path.GetFullPath(Path.Combine(_options.Output, model.Kind)), Trainer.StepOf(Path.Combine(_options.Output, TrainingJob.CheckpointName)), double.IsNaN(loss) ? null : loss);
    }

    private static GemmaTrainingOptions Checked(GemmaTrainingOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate(name => name);
        return options;
    }

    private List<TrainingDocument> Read(IReadOnlyList<string> paths, string kind, ChatFormat format, GemmaConfig model)
    {
        List<TrainingDocument> read = TrainingData.Read(paths, format, _options.MaxLength, _options.ModelTurnsOnly, out int tooLong);
        if (tooLong > 0)
        {
            Warn?.Invoke($"{tooLong:N0} conversations of the {kind} data are longer than {_options.MaxLength:N0} tokens and are left out; raise the length to take them in.");
        }

        if (read.Sum(document => (long)document.TargetCount) == 0)
        {
            throw new ArgumentException($"The {kind} data ({string.Join(", ", paths)}) holds no token to train on.");
        }

        int longest = read.Max(document => document.Tokens.Length);
        return longest <= model.ContextLength
            ? read
            : throw new ArgumentException($"A document of the {kind} data has {longest:N0} tokens, but the context of the model to train is {model.ContextLength:N0}. Lower the length.");
    }

    /// <summary>An adapter over a model that stays in its file.</summary>
    private (TrainedWeights Model, ChatFormat Format, byte[] TokenizerBytes, IReadOnlyDictionary<string, byte[]?>? Beside) StartAdapter(LoraOptions lora)
    {
        ModelFile file = ModelFile.Open(Find(_options.Model));
        try
        {
            file.Warnings.ForEach(warning => Warn?.Invoke(warning));
            CheckMemory(file.Config, LoraModel.ParameterCount(file.Config, lora), LoraModel.BaseBytes(file.Config));
            LoraModel model = new(file, lora, _options.Seed);
            model.CheckResumed(Path.Combine(_options.Output, model.Kind));
            return (model, FormatOf(file, file.CreateTokenizer()), [], null);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>A model with weights goes on from them; a bare config.json starts at random, with the tokenizer beside it or the teacher's.</summary>
    private (TrainedWeights Model, ChatFormat Format, byte[] TokenizerBytes, IReadOnlyDictionary<string, byte[]?>? Beside) Start(string? teacher)
    {
        string path = _options.Model, config = Directory.Exists(path) ? Path.Combine(path, "config.json") : path;
        if (!File.Exists(config) || !config.EndsWith(".json", StringComparison.OrdinalIgnoreCase) || Directory.EnumerateFiles(Path.GetDirectoryName(Path.GetFullPath(config))!, "*.safetensors").Any())
        {
            using ModelFile file = ModelFile.Open(Find(path));
            file.Warnings.ForEach(warning => Warn?.Invoke(warning));
            CheckMemory(file.Config);
            GemmaTokenizer own = file.CreateTokenizer();
            TrainingModel loaded = ModelDirectory.Load(file);
            return (loaded, FormatOf(file, own), TokenizerBytes(file.Path, own), BesideOf(file.Path, file, own, loaded.Kind));
        }

        using JsonFile json = JsonFile.Open(config);
        GemmaConfig numbers = HuggingFaceConfig.Read(json);
        CheckMemory(numbers);
        TrainingModel fresh = new(numbers);
        fresh.Initialize(_options.Seed);
        string directory = Path.GetDirectoryName(Path.GetFullPath(config))!;
        bool hasTokenizer = File.Exists(Path.Combine(directory, TokenizerFiles.ModelName)) || File.Exists(Path.Combine(directory, TokenizerFiles.JsonName));
        if (!hasTokenizer && teacher is null)
        {
            throw new GemmaModelFormatException($"'{config}' has neither tokenizer.model nor tokenizer.json beside it. Put the vocabulary of the model there.");
        }

        using ModelFile? source = hasTokenizer ? null : ModelFile.Open(teacher!, checkScales: false);
        GemmaTokenizer tokenizer = source?.CreateTokenizer() ?? TokenizerFiles.Open(directory);
        return tokenizer.VocabularySize <= fresh.Config.VocabularySize
            ? (fresh, source is null ? ChatFormats.Resolve(tokenizer, CheckpointTemplate.Read(directory)) : FormatOf(source, tokenizer), TokenizerBytes(source?.Path ?? directory, tokenizer), BesideOf(source?.Path ?? directory, source, tokenizer, fresh.Kind))
            : throw new GemmaModelFormatException($"'{config}' has a vocab_size of {fresh.Config.VocabularySize:N0}, but the vocabulary has {tokenizer.VocabularySize:N0} tokens. Set vocab_size to that.");
    }

    /// <summary>The checkpoint's own format: what is trained is what the model is asked for later.</summary>
    private static ChatFormat FormatOf(ModelFile file, GemmaTokenizer tokenizer) => ChatFormats.Resolve(tokenizer, file.ReadChatTemplate());

    /// <summary>The vocabulary as the checkpoint has it, or written anew where it came from a GGUF file or a tokenizer.json.</summary>
    private static byte[] TokenizerBytes(string model, GemmaTokenizer tokenizer) =>
        Path.Combine(model, TokenizerFiles.ModelName) is var path && File.Exists(path) ? File.ReadAllBytes(path) : SentencePieceWriter.Write(tokenizer);

    /// <summary>The other files of the tokenizer, and the end of replies: the checkpoint's files, or their equivalents made from a GGUF file.</summary>
    private IReadOnlyDictionary<string, byte[]?>? BesideOf(string path, ModelFile? file, GemmaTokenizer tokenizer, string kind)
    {
        Dictionary<string, byte[]?>? beside = TokenizerFiles.ReadBeside(path, Path.Combine(_options.Output, kind));
        foreach ((string name, byte[] bytes) in beside is not null && file is not null && !Directory.Exists(path) ? TokenizerFiles.WriteBeside(file, tokenizer) : [])
        {
            beside![name] = bytes;
        }

        return beside;
    }

    /// <summary>States what training takes, and refuses what is not there before anything is computed.</summary>
    private void CheckMemory(GemmaConfig config, long? trained = null, long frozenBytes = 0)
    {
        // Unlike the engine's, the buffers of training lie on the managed heap, which may have a limit of its own (in containers three quarters of theirs).
        long available = Math.Min(MachineMemory.Read().LimitBytes, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes);
        long needed = Trainer.Bytes(config, _options, trained, _options.KeptLogits(config.VocabularySize)) + frozenBytes;
        if (needed > available)
        {
            throw new GemmaMemoryException(
                $"Training {trained ?? config.ParameterCount:N0} parameters in {_options.MicroBatches:N0} micro-batches of {_options.MicroBatchTokens:N0} tokens on {_options.ThreadCount:N0} threads needs {needed / 1e9:F1} GB; {available / 1e9:F1} GB are available. Take fewer or smaller micro-batches, fewer threads, or a smaller model{(trained is null ? ", or train an adapter" : "")}.",
                needed, available);
        }

        Log?.Invoke($"training takes {needed / 1e6:N0} MB of memory");
    }

    private async Task<TeacherCache> AskAsync(string path, GemmaTokenizer tokenizer, GemmaConfig student, List<TrainingDocument> documents, CancellationToken cancellationToken)
    {
        string cache = Path.Combine(_options.Output, "teacher.bin");
        byte[] key;
        MemoryAdvice advice;
        int vocabulary, longest = documents.Max(document => document.Tokens.Length);
        using (ModelFile file = ModelFile.Open(path, checkScales: false)) // whether it fits is known without reading its weights; loading it checks them
        {
            vocabulary = file.Config.VocabularySize;
            advice = MemoryAdvice.For(file.Config, file.Tensors.Values.Sum(tensor => tensor.ByteLength), longest, GemmaKvCacheType.F16);
            advice.ThrowIfTooLarge(path, file.Config);
            CheckTeacher(file, tokenizer, student, longest);
            key = TeacherCache.KeyOf(file, documents);
        }

        int k = _options.KeptLogits(vocabulary);
        if (!File.Exists(cache))
        {
            long bytes = TeacherCache.Bytes(documents.Sum(d => (long)d.TargetCount), k, vocabulary);
            ModelConverter.CheckRoom(cache, bytes - (new FileInfo(cache + ".part") is { Exists: true } partial ? partial.Length : 0));
            using GemmaModel teacher = GemmaModel.Load(path, new GemmaOptions { ContextLength = longest, Threads = _options.Threads, PrefixCache = false });
            Log?.Invoke($"teacher {teacher.ModelId} {advice.Describe()}; its answers take {bytes / 1e6:N1} MB of '{cache}'");
            await TeacherCache.WriteAsync(cache, teacher.Engine, vocabulary, key, documents, k, new SynchronousProgress<int>(done => TeacherProgress?.Report(new GemmaTeacherProgress(done, documents.Count))), cancellationToken).ConfigureAwait(false);
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
            throw new ArgumentException($"A document has {longest:N0} tokens, but the teacher '{teacher.Name}' was trained for {teacher.Config.ContextLength:N0}. Lower the length.");
        }
    }

    private static string Find(string path) => ModelAliases.Find(path, out string? problem) ?? throw new GemmaModelFormatException(problem!);
}
