using System.Diagnostics;
using System.Globalization;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Training;

/// <summary>A run in a directory: it continues from its checkpoint, says what it was given differently then, logs its losses, and leaves the model, with the averaged weights, as a Hugging Face directory, or the adapter as PEFT's.</summary>
/// <param name="model">Weights to train.</param>
/// <param name="documents">What to train on.</param>
/// <param name="validation">What to measure on; may be empty.</param>
/// <param name="options">The run.</param>
/// <param name="directory">Gets checkpoint.bin, loss.csv, loss.svg and model/ or adapter/.</param>
/// <param name="tokenizer">Bytes of the SentencePiece model that goes with the weights; may be empty.</param>
internal sealed class TrainingJob(
    TrainedWeights model, IReadOnlyList<TrainingDocument> documents, IReadOnlyList<TrainingDocument> validation, GemmaTrainingOptions options, string directory, byte[] tokenizer)
{
    /// <summary>In the directory of a run.</summary>
    public const string CheckpointName = "checkpoint.bin";

    private const string Columns = "step,tokens,loss,accuracy,rate,norm,tokens_per_second,validation_loss,validation_accuracy";

    /// <summary>Steps at the start that train on every token of the documents, whatever they mark as trained.</summary>
    public int WholeDocumentSteps { get; init; }

    /// <summary>Stop after this step, before the end of the run: another job continues with other documents. Null: run to the end.</summary>
    public int? StopAfter { get; init; }

    /// <summary>Called after every update.</summary>
    public IProgress<GemmaTrainingProgress>? Progress { get; init; }

    /// <summary>The tokenizer's files, from <see cref="TokenizerFiles.ReadBeside"/>; null: they are in the output directory already.</summary>
    public IReadOnlyDictionary<string, byte[]?>? Beside { get; init; }

    /// <summary>Write the model as bfloat16 instead of float32.</summary>
    public bool BFloat16 { get; init; }

    /// <summary>Bytes that a run still needs on disk: weights, both moments and the average in a checkpoint, the model, and each checkpoint beside the one that it replaces.</summary>
    public static long FileBytes(TrainedWeights model, string directory) => model.Weights.Length * (File.Exists(Path.Combine(directory, CheckpointName)) ? 16L : 16 + 4 + 16);

    /// <summary>
    /// Runs to the end, or to <see cref="StopAfter"/>, reporting lines of text. Returns the validation loss of the averaged weights, NaN without validation data.
    /// </summary>
    /// <exception cref="OperationCanceledException">Cancelled; a checkpoint was written at the step reached.</exception>
    public double Run(Action<string> report, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(directory);
        string checkpoint = Path.Combine(directory, CheckpointName), log = Path.Combine(directory, "loss.csv");
        Trainer trainer = Start(checkpoint, log, report);
        double validationLoss = double.NaN;
        GemmaTrainingProgress? last = null;
        Stopwatch sinceLine = Stopwatch.StartNew(); // ten steps of a large model take minutes
        int end = Math.Min(StopAfter ?? options.Steps, options.Steps);
        SynchronousProgress<GemmaTrainingProgress> progress = new(Report);
        if (trainer.Step < WholeDocumentSteps)
        {
            trainer.WholeDocuments = true;
            trainer.Run(Math.Min(WholeDocumentSteps, end), progress, Save, cancellationToken);
        }

        trainer.WholeDocuments = false;
        trainer.Run(end, progress, Save, cancellationToken);
        if (trainer.Step < end)
        {
            trainer.Save(checkpoint);
            report($"stopped after step {trainer.Step:N0}; the same command continues there");
            cancellationToken.ThrowIfCancellationRequested();
        }

        if (last is null)
        {
            // All steps were done before: the model is written once more, in the format that is asked for now.
            Export(trainer);
            return Validate(trainer).Loss;
        }

        return validationLoss;

        void Report(GemmaTrainingProgress update)
        {
            last = update;
            Progress?.Report(update);
            if (update.Step % 10 == 0 || update.Step == update.Steps || sinceLine.Elapsed.TotalSeconds >= 10)
            {
                sinceLine.Restart();
                report(Line(update));
            }
        }

        void Save()
        {
            (validationLoss, double accuracy) = Validate(trainer);
            Export(trainer);
            string line = string.Create(CultureInfo.InvariantCulture,
                $"{last!.Step},{last.AllTokens},{last.Loss:F5},{last.Accuracy:F5},{last.LearningRate:E3},{last.GradientNorm:F3},{last.TokensPerSecond:F0},{validationLoss:F5},{accuracy:F5}");
            Append(log, line);
            WholeFile.Write(Path.Combine(directory, "loss.svg"), Curve(log, options.Loss.Mix > 0));

            // Last: whatever a kill leaves behind is written again from the checkpoint before.
            trainer.Save(checkpoint);
            string measured = validation.Count == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $", validation perplexity {Math.Exp(validationLoss):F3}, accuracy {accuracy:P1}");
            report($"checkpoint after step {last.Step:N0}: saved{measured}");
        }
    }

    private static string Line(GemmaTrainingProgress update) => string.Create(CultureInfo.InvariantCulture,
        $"step {update.Step}/{update.Steps} loss {update.Loss:F4} accuracy {update.Accuracy:P1} norm {update.GradientNorm:F2} {update.TokensPerSecond:F0} tokens/s, {(int)update.TimeLeft.TotalHours:00}:{update.TimeLeft:mm\\:ss} left");

    /// <summary>The trainer at the step of the checkpoint, where there is one, and a log that ends there.</summary>
    private Trainer Start(string checkpoint, string log, Action<string> report)
    {
        Trainer trainer = new(model, new DocumentSet(documents, options.Seed), options);
        trainer.Settings["number of updates on whole documents"] = WholeDocumentSteps.ToString(CultureInfo.InvariantCulture);
        if (!File.Exists(checkpoint))
        {
            WholeFile.Write(log, Columns + "\n");
            return trainer;
        }

        IReadOnlyList<string> changes = trainer.Load(checkpoint);
        Truncate(log, trainer.Step);
        report($"continuing after step {trainer.Step:N0}");
        foreach (string change in changes)
        {
            report($"changed: {change}");
        }

        return trainer;
    }

    private void Export(Trainer trainer) => trainer.WithAverage(() => model.Save(Path.Combine(directory, model.Kind), BFloat16, tokenizer, Beside));

    private (double Loss, double Accuracy) Validate(Trainer trainer)
    {
        if (validation.Count == 0)
        {
            return (double.NaN, double.NaN);
        }

        LossSums sums = trainer.Validate(validation);
        return (sums.Loss / sums.Targets, (double)sums.Correct / sums.Targets);
    }

    /// <summary>Forgets what a killed run logged after its last checkpoint, and lines that it did not finish.</summary>
    private static void Truncate(string log, int step)
    {
        string[] lines = File.Exists(log) ? File.ReadAllLines(log) : [];
        int columns = Columns.Split(',').Length;
        WholeFile.Write(log, string.Concat(lines.Skip(1).Where(line =>
            line.Split(',') is { } fields && fields.Length == columns && int.TryParse(fields[0], CultureInfo.InvariantCulture, out int at) && at <= step).Prepend(Columns).Select(line => line + "\n")));
    }

    private static void Append(string log, string line)
    {
        try
        {
            File.AppendAllText(log, line + "\n");
        }
        catch (IOException e) when (DiskFull.Is(e))
        {
            throw DiskFull.At(log, e);
        }
    }

    private static string Curve(string log, bool teacher)
    {
        double[][] rows = [.. File.ReadLines(log).Skip(1).Select(line => line.Split(',').Select(v => double.Parse(v, CultureInfo.InvariantCulture)).ToArray())];
        List<(string, IReadOnlyList<(double, double)>)> series = new() { (teacher ? "training, with teacher" : "training", [.. rows.Select(r => (r[0], r[2]))]) };
        if (rows.Any(r => double.IsFinite(r[7])))
        {
            series.Add(("validation", [.. rows.Where(r => double.IsFinite(r[7])).Select(r => (r[0], r[7]))]));
        }

        return LossCurve.Draw("Loss", "step", teacher ? "mean loss; of validation: negative log likelihood" : "mean negative log likelihood", series);
    }
}
