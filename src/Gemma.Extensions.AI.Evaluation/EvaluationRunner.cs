using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Evaluation.Checks;
using Gemma.Extensions.AI.Evaluation.Metrics;
using Gemma.Extensions.AI.Evaluation.Runs;
using Gemma.Extensions.AI.Evaluation.Tasks;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Evaluation;

/// <summary>Options of a run.</summary>
public sealed record EvaluationOptions
{
    /// <summary>Examples in each prompt; null: as many as the task says.</summary>
    public int? FewShot { get; init; }

    /// <summary>Seed by which examples are drawn: with the seed and data of lm-evaluation-harness (1234 unless told otherwise) the examples are its own.</summary>
    public int FewShotSeed { get; init; } = 1234;

    /// <summary>Most rows, from the first; null: all.</summary>
    public int? Limit { get; init; }

    /// <summary>Asks a Gemma model by its chat format, the prompt being what the user says: for models that were tuned for chats. Without it prompts stand as they are, as for base models.</summary>
    public bool AsChat { get; init; }

    /// <summary>Name of the adapter to measure; null: the base model.</summary>
    public string? Adapter { get; init; }

    /// <summary>Rows that are asked at the same time: a Gemma model computes them together.</summary>
    public int AtOnce { get; init; } = 8;

    /// <summary>File for the results of single rows (JSON Lines). A run that was ended goes on from it. Null: none.</summary>
    public string? ItemsPath { get; init; }

    /// <summary>Samples of the bootstrap.</summary>
    public int BootstrapSamples { get; init; } = 1000;

    /// <summary>Seed of the bootstrap.</summary>
    public int Seed { get; init; } = 1234;
}

/// <summary>Progress of a run.</summary>
/// <param name="Done">Rows that are done.</param>
/// <param name="Total">All rows.</param>
public readonly record struct EvaluationProgress(int Done, int Total);

/// <summary>Runs tasks on a model.</summary>
public sealed class EvaluationRunner
{
    private readonly EvaluationOptions _options;
    private readonly IEvaluatedModel _model;

    /// <summary>Measures a Gemma model. Its file is read once for its hash.</summary>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public EvaluationRunner(GemmaModel model, EvaluationOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        _options = Checked(options);
        _model = new GemmaUnderTest(model, _options.AsChat, _options.Adapter);
    }

    /// <summary>Measures what answers a chat client, in tasks whose answers are written.</summary>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public EvaluationRunner(IChatClient client, EvaluationOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(client);
        _options = Checked(options);
        _model = new ClientUnderTest(client);
    }

    /// <summary>Runs a task.</summary>
    /// <param name="task">The task.</param>
    /// <param name="data">Its data.</param>
    /// <param name="progress">Told after each row.</param>
    /// <param name="cancellationToken">Ends the run. With <see cref="EvaluationOptions.ItemsPath"/> the next one goes on from there.</param>
    /// <exception cref="FormatException">The data or the task is not what it has to be; says where.</exception>
    /// <exception cref="NotSupportedException">The task needs likelihoods, which the client does not tell.</exception>
    /// <exception cref="IOException">A file is missing, or the results on disk are those of another run.</exception>
    public async Task<EvaluationReport> RunAsync(EvaluationTask task, EvaluationData data, IProgress<EvaluationProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(data);
        CompiledTask compiled = new(task);
        int shots = _options.FewShot ?? task.FewShot;
        List<JsonObject> rows = await EvaluationData.ReadAsync(data.FilesOf(task.Split, areExamples: false), cancellationToken).ConfigureAwait(false);
        if (shots > 0 && task.Kind == EvaluationKind.Calls)
        {
            throw new FormatException($"The task '{task.Name}' takes no examples: calls have none.");
        }

        List<JsonObject> pool = shots == 0 ? [] : await ExamplesAsync(task, data, cancellationToken).ConfigureAwait(false);
        int count = Math.Min(rows.Count, _options.Limit ?? rows.Count);
        if (count == 0)
        {
            throw new FormatException($"The data of '{task.Name}' has no rows.");
        }

        rows = rows[..count];
        IReadOnlyList<IReadOnlyList<JsonObject>> examples = FewShotExamples.Of(task, rows, pool, shots, _options.FewShotSeed);
        using ItemLog log = new(_options.ItemsPath, RunKey(task, rows, pool, shots));
        bool[] done = new bool[count];
        log.Items.ForEach(item => done[item.Index] = true);
        int finished = log.Items.Count;
        progress?.Report(new EvaluationProgress(finished, count));
        ParallelOptions parallel = new() { MaxDegreeOfParallelism = _options.AtOnce, CancellationToken = cancellationToken };
        await Parallel.ForEachAsync(Enumerable.Range(0, count).Where(i => !done[i]), parallel, async (i, token) =>
        {
            log.Add(await RunAsync(compiled, i, rows[i], examples[i], token).ConfigureAwait(false));
            progress?.Report(new EvaluationProgress(Interlocked.Increment(ref finished), count));
        }).ConfigureAwait(false);
        return Report(task, shots, [.. log.Items.OrderBy(item => item.Index)]);
    }

    private async Task<EvaluationItem> RunAsync(CompiledTask compiled, int index, JsonObject row, IReadOnlyList<JsonObject> examples, CancellationToken cancellationToken)
    {
        EvaluationTask task = compiled.Task;
        try
        {
            if (task.Kind == EvaluationKind.Perplexity)
            {
                string text = compiled.TextOf(row);
                double sum = await _model.PredictAsync(text, cancellationToken).ConfigureAwait(false);
                return new EvaluationItem(index, null, new Dictionary<string, double>
                {
                    [PerplexityFacts.LogLikelihood] = sum,
                    [PerplexityFacts.Bytes] = Encoding.UTF8.GetByteCount(text),
                    [PerplexityFacts.Words] = text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Length,
                }, null, null, false);
            }

            Question question = compiled.Ask(row, examples, task.TargetDelimiter);
            if (task.Kind == EvaluationKind.Choices)
            {
                int[] right = CompiledTask.Places(question.Answer, question.Choices.Count);
                (double[] scores, bool cut) = await _model.ScoreAsync(question.Contexts, question.Continuations, cancellationToken).ConfigureAwait(false);
                return new EvaluationItem(index, question.Group, task.Metrics.ToDictionary(metric => metric, metric => ChoiceMetrics.Value(metric, scores, question.Choices, right)), scores, null, cut);
            }

            if (task.Kind == EvaluationKind.Calls)
            {
                return await CallAsync(task, index, question, cancellationToken).ConfigureAwait(false);
            }

            (string written, bool truncated) = await _model.WriteAsync(question.Contexts[0], task.Stop, task.MaxTokens, cancellationToken).ConfigureAwait(false);
            return new EvaluationItem(index, question.Group, new Dictionary<string, double>(task.Metrics.Count == 0 ? [] : compiled.Comparison.Values(written, question.Answer)), null, written, truncated);
        }
        catch (Exception e) when (e is FormatException or RegexMatchTimeoutException)
        {
            throw new FormatException($"Row {index} of '{task.Name}': {e.Message}", e);
        }
    }

    private async Task<EvaluationItem> CallAsync(EvaluationTask task, int index, Question question, CancellationToken cancellationToken)
    {
        IReadOnlyList<ExpectedCall> expected = RowCalls.Expected(question.Answer);
        ChatResponse response = await _model.CallAsync(question.Contexts[0], question.Tools, task.MaxTokens, cancellationToken).ConfigureAwait(false);
        FunctionCallContent[] calls = [.. response.Messages.SelectMany(message => message.Contents).OfType<FunctionCallContent>()];
        Dictionary<string, double> values = task.Metrics.ToDictionary(metric => metric, metric =>
            (metric == MetricNames.Functions ? CallMatching.NamesAreRight(expected, calls) : CallMatching.Problem(expected, calls) is null) ? 1.0 : 0);
        return new EvaluationItem(index, question.Group, values, null, calls.Length == 0 ? response.Text : CallMatching.Describe(calls), false);
    }

    private EvaluationReport Report(EvaluationTask task, int shots, IReadOnlyList<EvaluationItem> items)
    {
        ReportBuilder builder = new(task, _options.BootstrapSamples, _options.Seed);
        return new EvaluationReport
        {
            Task = task.Name,
            Model = _model.Facts,
            FewShot = shots,
            FewShotSeed = SeedOf(task, shots),
            Rows = items.Count,
            Truncated = items.Count(item => item.Truncated),
            Metrics = builder.Summarize(items),
            Groups = [.. items.Where(item => item.Group is not null).GroupBy(item => item.Group!, StringComparer.Ordinal).OrderBy(group => group.Key, StringComparer.Ordinal)
                .Select(group => new EvaluationGroup(group.Key, group.Count(), builder.Summarize([.. group])))],
        };
    }

    private static async Task<List<JsonObject>> ExamplesAsync(EvaluationTask task, EvaluationData data, CancellationToken cancellationToken) => task.FewShotSplit is { } split
        ? await EvaluationData.ReadAsync(data.FilesOf(split, areExamples: true), cancellationToken).ConfigureAwait(false)
        : throw new FormatException($"The task '{task.Name}' names no split for examples ('fewShotSplit').");

    /// <summary>Seed of the examples; null where none are drawn.</summary>
    private int? SeedOf(EvaluationTask task, int shots) => shots > 0 && task.FewShotSampling == FewShotSampling.Random ? _options.FewShotSeed : null;

    /// <summary>Hash of everything that a run's results depend on.</summary>
    private string RunKey(EvaluationTask task, IEnumerable<JsonObject> rows, IEnumerable<JsonObject> pool, int shots)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add(task.ToJson());
        Add(JsonSerializer.Serialize(_model.Facts));
        Add(shots.ToString(System.Globalization.CultureInfo.InvariantCulture));
        Add(SeedOf(task, shots)?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "");
        foreach (JsonObject row in rows.Concat(pool))
        {
            Add(row.ToJsonString());
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());

        void Add(string text) => hash.AppendData([.. Encoding.UTF8.GetBytes(text), 0]);
    }

    private static EvaluationOptions Checked(EvaluationOptions? options)
    {
        options ??= new EvaluationOptions();
        ArgumentOutOfRangeException.ThrowIfLessThan(options.FewShot ?? 0, 0, nameof(EvaluationOptions.FewShot));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Limit ?? 1, 1, nameof(EvaluationOptions.Limit));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.AtOnce, 1, nameof(EvaluationOptions.AtOnce));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.BootstrapSamples, 2, nameof(EvaluationOptions.BootstrapSamples));
        return options;
    }
}
