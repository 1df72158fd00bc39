using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Training;

/// <summary>The training loop: micro-batches spread over threads, one update, now and then a checkpoint.</summary>
internal sealed class Trainer
{
    private readonly TrainedWeights _model;
    private readonly GemmaTrainingOptions _options;
    private readonly DocumentSet _data;
    private readonly FloatBuffer[] _gradients;
    private readonly System.Collections.Concurrent.ConcurrentBag<GemmaBackprop> _workers = [];

    private const string DataSetting = "training data", StartSetting = "weights to start from (this run goes on from its checkpoint)";

    private const int Magic = 0x31_4B_43_47; // GCK1

    /// <param name="model">Weights to train, in place.</param>
    /// <param name="data">Documents.</param>
    /// <param name="options">The run.</param>
    public Trainer(TrainedWeights model, DocumentSet data, GemmaTrainingOptions options)
    {
        _model = model;
        _data = data;
        _options = options;
        Optimizer = new AdamW(model, options);
        Settings = new(options.Describe()) { [DataSetting] = data.Describe(), [StartSetting] = Describe(model.Weights) };
        _gradients = [.. Enumerable.Range(0, options.MicroBatches).Select(_ => new FloatBuffer(model.Weights.Length))];
        for (int i = 0; i < options.ThreadCount; i++)
        {
            _workers.Add(new GemmaBackprop(model, Math.Max(options.MicroBatchTokens, options.MaxLength), options.MaxLength));
        }
    }

    public AdamW Optimizer { get; }

    /// <summary>Updates done.</summary>
    public int Step { get; private set; }

    /// <summary>Train on every token of the documents, whatever they mark as trained.</summary>
    public bool WholeDocuments { get; set; }

    /// <summary>Settings of the run by name, kept in its checkpoints so that a resumed run can report changes.</summary>
    public Dictionary<string, string> Settings { get; }

    private FloatBuffer[] State => [_model.Weights, Optimizer.First, Optimizer.Second, Optimizer.Average];

    /// <summary>Runs up to a step or until cancelled. <paramref name="checkpoint"/> is called every so many steps and at the end.</summary>
    public void Run(int until, IProgress<GemmaTrainingProgress>? progress = null, Action? checkpoint = null, CancellationToken cancellationToken = default)
    {
        Stopwatch watch = Stopwatch.StartNew();
        long tokens = 0;
        int first = Step;
        while (Step < until && !cancellationToken.IsCancellationRequested)
        {
            (LossSums sums, int count, float norm) = Update();
            tokens += count;
            double seconds = watch.Elapsed.TotalSeconds;
            progress?.Report(new GemmaTrainingProgress(Step, _options.Steps, count, _data.TokensTaken, sums.Loss / sums.Targets, (double)sums.Correct / sums.Targets,
                _options.LearningRateAt(Step - 1), norm, tokens / seconds, TimeSpan.FromSeconds(seconds / (Step - first) * (_options.Steps - Step))));
            if (Step % _options.CheckpointEvery == 0 || Step == until)
            {
                checkpoint?.Invoke();
            }
        }
    }

    private (LossSums Sums, int Tokens, float Norm) Update()
    {
        PackedBatch[] batches = [.. Enumerable.Range(0, _options.MicroBatches).Select(_ => Next())];
        int targets = batches.Sum(batch => batch.TargetRows.Length);
        LossSums[] sums = new LossSums[batches.Length];
        InParallel(batches.Length, (worker, i) =>
        {
            _gradients[i].Span.Clear();
            sums[i] = worker.Accumulate(batches[i], _options.Loss, 1f / Math.Max(1, targets), _gradients[i]);
        });
        float norm = Optimizer.Step(_gradients, Step);
        Step++;
        return (sums.Aggregate((a, b) => a + b), batches.Sum(batch => batch.Tokens.Length), norm);
    }

    private PackedBatch Next()
    {
        List<TrainingDocument> documents = _data.Take(_options.MicroBatchTokens);
        return new PackedBatch(WholeDocuments ? [.. documents.Select(document => document with { Trained = null })] : documents);
    }

    /// <summary>Bytes that training a model of this shape takes: weights, moments, average, gradients, what is copied to be saved, workers, and a teacher's answers as they are read.</summary>
    /// <param name="config">The model.</param>
    /// <param name="options">The run.</param>
    /// <param name="trained">Trained parameters; null: all.</param>
    /// <param name="teacherLogits">Logits that a teacher's cache keeps for a token; 0: no teacher.</param>
    public static long Bytes(Model.GemmaConfig config, GemmaTrainingOptions options, long? trained = null, int teacherLogits = 0) =>
        4L * (trained ?? config.ParameterCount) * (5 + options.MicroBatches)
        + options.ThreadCount * (GemmaBackprop.WorkerBytes(config, Math.Max(options.MicroBatchTokens, options.MaxLength), options.MaxLength)
            + TeacherCache.ReadingBytes(GemmaBackprop.HeadRows(config), teacherLogits, config.VocabularySize));

    /// <summary>Loss over documents with the averaged weights. Between updates only.</summary>
    public LossSums Validate(IReadOnlyList<TrainingDocument> documents)
    {
        List<PackedBatch> set = new();
        List<TrainingDocument> pending = new();
        int length = 0;
        foreach (TrainingDocument document in documents)
        {
            if (pending.Count > 0 && length + document.Tokens.Length > _options.MicroBatchTokens)
            {
                set.Add(new PackedBatch(pending));
                pending = [];
                length = 0;
            }

            pending.Add(document);
            length += document.Tokens.Length;
        }

        set.Add(new PackedBatch(pending));
        LossSums[] sums = new LossSums[set.Count];
        WithAverage(() => InParallel(set.Count, (worker, i) => sums[i] = worker.Evaluate(set[i], LossOptions.Label)));
        return sums.Aggregate((a, b) => a + b);
    }

    /// <summary>Runs an action while the model holds the averaged weights.</summary>
    public void WithAverage(Action action)
    {
        Swap(_model.Weights.Span, Optimizer.Average.Span);
        try
        {
            action();
        }
        finally
        {
            Swap(_model.Weights.Span, Optimizer.Average.Span);
        }

        static void Swap(Span<float> a, Span<float> b)
        {
            for (int i = 0; i < a.Length; i++)
            {
                (a[i], b[i]) = (b[i], a[i]);
            }
        }
    }

    /// <summary>Writes everything that an exact continuation needs; an interrupted write leaves the previous checkpoint in place.</summary>
    /// <exception cref="IOException">The file cannot be written; the message of a full disk says what to do.</exception>
    public void Save(string path) => WholeFile.Write(path, stream =>
    {
        using BinaryWriter writer = new(stream, System.Text.Encoding.UTF8, leaveOpen: true);
        writer.Write(Magic);
        writer.Write(_model.Weights.Length);
        writer.Write(Step);
        writer.Write(_data.Epoch);
        writer.Write(_data.Position);
        foreach (FloatBuffer vector in State)
        {
            vector.ForBytes(bytes => writer.Write(bytes));
        }

        writer.Write(_data.TokensTaken);
        writer.Write(Settings.Count);
        foreach ((string name, string value) in Settings)
        {
            writer.Write(name);
            writer.Write(value);
        }
    });

    /// <summary>Updates done when a checkpoint was written; 0 where there is none.</summary>
    public static int StepOf(string path)
    {
        if (!File.Exists(path))
        {
            return 0;
        }

        using BinaryReader reader = new(File.OpenRead(path));
        return reader.BaseStream.Length > 12 && reader.ReadInt32() == Magic && reader.ReadInt32() > 0 ? reader.ReadInt32() : 0;
    }

    /// <summary>
    /// Continues where <see cref="Save"/> was called: exactly, if nothing was changed. Other settings take effect from here on; other documents are
    /// begun anew, in the order of a new epoch. Returns what changed, a line each; nothing for a checkpoint that was written before it held settings.
    /// </summary>
    /// <exception cref="GemmaModelFormatException">The file is no checkpoint of a model of this shape.</exception>
    public IReadOnlyList<string> Load(string path)
    {
        using BinaryReader reader = new(File.OpenRead(path));
        long expected = 4L * 5 + 16L * _model.Weights.Length;
        if (reader.BaseStream.Length < expected || reader.ReadInt32() != Magic || reader.ReadInt32() != _model.Weights.Length)
        {
            throw new GemmaModelFormatException(
                $"'{path}' ({reader.BaseStream.Length:N0} bytes) is not a checkpoint of a model with {_model.Weights.Length:N0} weights ({expected:N0} bytes and the settings of the run). Delete it to start afresh, or resume with the configuration that wrote it.");
        }

        Step = reader.ReadInt32();
        (int epoch, int position) = (reader.ReadInt32(), reader.ReadInt32());
        foreach (FloatBuffer vector in State)
        {
            vector.ForBytes(reader.BaseStream.ReadExactly);
        }

        (long? tokens, Dictionary<string, string> saved) = ReadSettings(reader, path);
        bool otherData = saved.TryGetValue(DataSetting, out string? data) && data != Settings[DataSetting];
        _data.Seek(otherData ? epoch + 1 : epoch, otherData ? 0 : position, tokens);
        return [.. Settings.Where(now => saved.TryGetValue(now.Key, out string? was) && was != now.Value).Select(now => $"{now.Key} was {saved[now.Key]}, is now {now.Value}")];
    }

    private static (long? Tokens, Dictionary<string, string> Settings) ReadSettings(BinaryReader reader, string path)
    {
        Dictionary<string, string> settings = new();
        if (reader.BaseStream.Position == reader.BaseStream.Length)
        {
            return (null, settings);
        }

        try
        {
            long tokens = reader.ReadInt64();
            for (int count = reader.ReadInt32(); count > 0; count--)
            {
                settings[reader.ReadString()] = reader.ReadString();
            }

            return (tokens, settings);
        }
        catch (Exception exception) when (exception is IOException or FormatException or ArgumentException)
        {
            throw new GemmaModelFormatException($"The settings at the end of checkpoint '{path}' are damaged: {exception.Message} Delete it to start afresh, or put a copy in its place.", exception);
        }
    }

    /// <summary>The first bytes of a SHA-256.</summary>
    private static string Describe(FloatBuffer weights)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        weights.ForBytes(bytes => hash.AppendData(bytes));
        return Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 4));
    }

    private void InParallel(int count, Action<GemmaBackprop, int> action)
    {
        try
        {
            Parallel.For(0, count, new ParallelOptions { MaxDegreeOfParallelism = _options.ThreadCount }, i =>
            {
                if (!_workers.TryTake(out GemmaBackprop? worker))
                {
                    throw new InvalidOperationException("More micro-batches run at once than there are workers.");
                }

                try
                {
                    action(worker, i);
                }
                finally
                {
                    _workers.Add(worker);
                }
            });
        }
        catch (AggregateException exception)
        {
            ExceptionDispatchInfo.Throw(exception.InnerExceptions[0]); // a file that cannot be read fails every worker alike
        }
    }
}
