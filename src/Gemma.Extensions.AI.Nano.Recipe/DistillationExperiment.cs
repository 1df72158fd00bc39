using System.Diagnostics;
using System.Globalization;
using System.Text;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>
/// Does a teacher help? The same small student learns the same cases in the same order from the same start, once from the labels alone and once from
/// a teacher (gemma2-nano, or any model of its vocabulary) as well, and both are measured on held-out cases.
/// </summary>
/// <param name="tokenizer">Vocabulary of teacher and student.</param>
/// <param name="tokenizerBytes">Its SentencePiece model.</param>
/// <param name="output">Directory of the runs; one that was stopped continues.</param>
/// <param name="settings">What is compared.</param>
internal sealed class DistillationExperiment(GemmaTokenizer tokenizer, byte[] tokenizerBytes, string output, DistillationExperiment.Settings settings)
{
    private readonly List<TrainingDocument> _validation = Commands.Documents(tokenizer, Split.HeldOut, settings.HeldOutCases, MaxLength);

    private const int MaxLength = 512;

    /// <summary>0.6 million parameters: a quarter of the teacher's, in four layers.</summary>
    public static GemmaConfig Student(int vocabularySize) => Commands.Config(vocabularySize) with { HiddenSize = 96, FeedForwardSize = 256, LayerCount = 4, HeadCount = 3, KvHeadCount = 1 };

    /// <summary>Runs everything that is not there yet and returns the report.</summary>
    public async Task<(string Report, string Curve)> RunAsync(Action<string> report, CancellationToken cancellation)
    {
        System.IO.Directory.CreateDirectory(output);
        List<TrainingDocument> documents = Commands.Documents(tokenizer, Split.Train, settings.Cases, MaxLength);
        Stopwatch watch = Stopwatch.StartNew();
        using ModelFile file = ModelFile.Open(ModelAliases.Find(settings.Teacher, out string? problem) ?? throw new GemmaModelFormatException(problem!));
        using TeacherCache cache = await AskAsync(file, documents, report, cancellation).ConfigureAwait(false);
        report($"teacher asked in {watch.Elapsed.TotalSeconds:F0} s");
        double teacher = Measure(ModelDirectory.Load(file));
        report($"held-out perplexity of the teacher {Math.Exp(teacher):F3}");
        List<TrainingDocument> taught = cache.Teach(documents);
        for (int seed = 1; seed <= settings.Seeds; seed++)
        {
            Train(Directory("scratch", seed), documents, LossOptions.Label, seed, report, cancellation);
            Train(Directory("distilled", seed), taught, settings.Loss, seed, report, cancellation);
        }

        return (Table(documents, teacher, file.Config.ParameterCount), Curve());
    }

    private string Directory(string kind, int seed) => Path.Combine(output, $"{kind}-{seed}");

    private async Task<TeacherCache> AskAsync(ModelFile file, List<TrainingDocument> documents, Action<string> report, CancellationToken cancellation)
    {
        string path = Path.Combine(output, "teacher.bin");
        byte[] key = TeacherCache.KeyOf(file, documents);
        if (!File.Exists(path))
        {
            using GemmaModel teacher = GemmaModel.Load(settings.Teacher, new GemmaOptions { ContextLength = MaxLength, Threads = settings.Threads, PrefixCache = false });
            await TeacherCache.WriteAsync(path, teacher.Engine, teacher.Config.VocabularySize, key, documents, settings.Top,
                new SynchronousProgress<int>(done => { if (done % 500 == 0) report($"teacher: {done:N0} of {documents.Count:N0} cases"); }), cancellation).ConfigureAwait(false);
        }

        return TeacherCache.Open(path, file.Config.VocabularySize, key, documents, settings.Top);
    }

    private GemmaTrainingOptions Options(LossOptions loss, int seed) => new(settings.Steps)
    {
        Seed = seed, Loss = loss, Threads = settings.Threads, LearningRate = 4e-3f, WarmupSteps = settings.Steps / 10,
        MicroBatchTokens = 1024, MicroBatches = 2, MaxLength = MaxLength, AverageDecay = 0.98f, CheckpointEvery = Math.Max(1, settings.Steps / 10),
    };

    private void Train(string directory, List<TrainingDocument> documents, LossOptions loss, int seed, Action<string> report, CancellationToken cancellation)
    {
        TrainingModel model = new(Student(tokenizer.VocabularySize));
        model.Initialize(seed);
        string name = Path.GetFileName(directory);
        double nll = new TrainingJob(model, documents, _validation, Options(loss, seed), directory, tokenizerBytes).Run(_ => { }, cancellation);
        report($"{name}: held-out perplexity {Math.Exp(nll):F3}");
    }

    private double Measure(TrainingModel model)
    {
        GemmaTrainingOptions options = new(steps: 1) { MicroBatches = 1, MicroBatchTokens = 1024, MaxLength = MaxLength, Threads = settings.Threads };
        LossSums sums = new Trainer(model, new DocumentSet(_validation, 1), options).Validate(_validation);
        return sums.Loss / sums.Targets;
    }

    private string Table(List<TrainingDocument> documents, double teacher, long parameters)
    {
        GemmaConfig student = Student(tokenizer.VocabularySize);
        double[][] final = Perplexities(rows => rows[^1][7]), best = Perplexities(rows => rows.Min(row => row[7]));
        long seen = (long)Rows("scratch", 1)[^1][1];
        StringBuilder text = new();
        text.AppendLine(CultureInfo.InvariantCulture, $"""
            Student: {student.ParameterCount:N0} parameters ({student.LayerCount} layers, hidden {student.HiddenSize}, feed-forward {student.FeedForwardSize}, {student.HeadCount} query heads over {student.KvHeadCount}).
            Teacher: {Path.GetFileName(settings.Teacher)}, {parameters:N0} parameters, held-out perplexity {Math.Exp(teacher):F3}; {settings.Top} logits a target,
            {settings.Loss.Mix:P0} of the loss, temperature {settings.Loss.Temperature}. {documents.Count:N0} training cases of {documents.Sum(d => (long)d.Tokens.Length):N0} tokens ({documents.Sum(d => (long)d.TargetCount):N0} targets),
            {settings.Steps:N0} updates over {seen:N0} tokens. Perplexity of the model's turns of {_validation.Count} held-out cases ({_validation.Sum(d => d.TargetCount):N0} targets), at the end and at the best of ten measurements.

            | seed | from scratch | distilled | ratio | from scratch, at its best | distilled, at its best | ratio |
            |---|---|---|---|---|---|---|
            """);
        for (int seed = 0; seed < settings.Seeds; seed++)
        {
            Row($"{seed + 1}", final[0][seed], final[1][seed], best[0][seed], best[1][seed]);
        }

        Row("mean", final[0].Average(), final[1].Average(), best[0].Average(), best[1].Average());
        return text.ToString();

        void Row(string seed, double scratch, double distilled, double scratchBest, double distilledBest) => text.AppendLine(
            CultureInfo.InvariantCulture, $"| {seed} | {scratch:F3} | {distilled:F3} | {distilled / scratch:F3} | {scratchBest:F3} | {distilledBest:F3} | {distilledBest / scratchBest:F3} |");
    }

    private double[][] Perplexities(Func<double[][], double> pick) =>
        [.. new[] { "scratch", "distilled" }.Select(kind => Enumerable.Range(1, settings.Seeds).Select(seed => Math.Exp(pick(Rows(kind, seed)))).ToArray())];

    private string Curve() => LossCurve.Draw("Held-out loss of a small student, with and without a teacher", "step", "mean negative log likelihood",
        [.. Enumerable.Range(1, settings.Seeds).SelectMany(seed => new[] { ("scratch", "from scratch"), ("distilled", "distilled") }.Select(kind =>
            ($"{kind.Item2}, seed {seed}", (IReadOnlyList<(double, double)>)[.. Rows(kind.Item1, seed).Select(row => (row[0], row[7]))])))]);

    private double[][] Rows(string kind, int seed) =>
        [.. File.ReadLines(Path.Combine(Directory(kind, seed), "loss.csv")).Skip(1).Select(line => line.Split(',').Select(v => double.Parse(v, CultureInfo.InvariantCulture)).ToArray())];

    /// <summary>Parameters of the comparison.</summary>
    /// <param name="Teacher">Path or alias of the teacher.</param>
    /// <param name="Cases">Training cases.</param>
    /// <param name="Steps">Updates of one run.</param>
    /// <param name="Seeds">Runs of each kind.</param>
    /// <param name="Loss">Share and temperature of the teacher.</param>
    /// <param name="Top">Logits of the teacher kept for a target.</param>
    /// <param name="Threads">Threads that compute.</param>
    /// <param name="HeldOutCases">Cases that are measured on.</param>
    internal sealed record Settings(string Teacher, int Cases, int Steps, int Seeds, LossOptions Loss, int Top, int Threads, int HeldOutCases = 200);
}
