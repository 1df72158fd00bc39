using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Gemma.Extensions.AI.Evaluation;

/// <summary>Identity of an evaluated model.</summary>
/// <param name="Model">Its name.</param>
/// <param name="Sha256">Hash of its file; of a directory the hash of the lines that <c>sha256sum</c> prints for its files, by name. Null: it does not run here.</param>
/// <param name="ChatFormat">How it was asked: the chat format, <c>none</c> where prompts stood as they are, <c>client</c> where a client decides.</param>
/// <param name="Kernel">Backend and tier that computed, e.g. <c>cpu/avx2</c>.</param>
/// <param name="Adapter">The adapter, where one was used.</param>
/// <param name="AdapterSha256">Hash of the adapter's file or directory.</param>
public sealed record EvaluatedModelFacts(string Model, string? Sha256, string ChatFormat, string? Kernel, string? Adapter = null, string? AdapterSha256 = null)
{
    private string OwnName => Adapter is null ? Model : $"{Model} + {Adapter}";

    private string?[] Details => [Short(Sha256), Short(AdapterSha256), $"chat format {ChatFormat}", Kernel];

    /// <summary>A name for each model: its own, and behind it what tells it from others of that name.</summary>
    internal static IReadOnlyDictionary<EvaluatedModelFacts, string> Names(IEnumerable<EvaluationReport> reports)
    {
        EvaluatedModelFacts[] models = [.. reports.Select(report => report.Model).Distinct()];
        return models.ToDictionary(model => model, model =>
        {
            EvaluatedModelFacts[] same = [.. models.Where(other => other.OwnName == model.OwnName)];
            string?[] told = [.. model.Details.Where((detail, i) => same.Any(other => other.Details[i] != detail))];
            return told.Length == 0 ? model.OwnName : $"{model.OwnName} ({string.Join(", ", told.Select(detail => detail ?? "unknown"))})";
        });
    }

    private static string? Short(string? hash) => hash is { Length: > 8 } ? hash[..8] : hash;
}

/// <summary>A value with its uncertainty.</summary>
/// <param name="Metric">Name of the metric, with the way in which answers were taken where there are several.</param>
/// <param name="Value">The value.</param>
/// <param name="StandardError">Its standard error, by bootstrap over the rows.</param>
public sealed record EvaluationMetricValue(string Metric, double Value, double StandardError);

/// <summary>Values of some of the rows.</summary>
/// <param name="Group">What these rows have in common.</param>
/// <param name="Rows">How many they are.</param>
/// <param name="Metrics">Their values.</param>
public sealed record EvaluationGroup(string Group, int Rows, IReadOnlyList<EvaluationMetricValue> Metrics);

/// <summary>The result of one row.</summary>
/// <param name="Index">The row's place in the data, from 0.</param>
/// <param name="Group">What it is listed under.</param>
/// <param name="Values">Its metrics, and what they are made of.</param>
/// <param name="LogLikelihoods">Natural logarithms of the probabilities of the choices.</param>
/// <param name="Text">What the model wrote.</param>
/// <param name="Truncated">Whether the prompt was longer than the context, so that its beginning was left out.</param>
public sealed record EvaluationItem(int Index, string? Group, IReadOnlyDictionary<string, double> Values, IReadOnlyList<double>? LogLikelihoods, string? Text, bool Truncated);

/// <summary>The results of one model in one task.</summary>
public sealed record EvaluationReport
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals, // a perplexity by word of texts without words
        RespectNullableAnnotations = true,
    };

    /// <summary>Name of the task.</summary>
    public required string Task { get; init; }

    /// <summary>The model.</summary>
    public required EvaluatedModelFacts Model { get; init; }

    /// <summary>Examples in each prompt.</summary>
    public required int FewShot { get; init; }

    /// <summary>Seed by which they were drawn; null where none were drawn.</summary>
    public int? FewShotSeed { get; init; }

    /// <summary>Rows that were measured.</summary>
    public required int Rows { get; init; }

    /// <summary>Rows whose prompt was longer than the context: their results are not comparable.</summary>
    public required int Truncated { get; init; }

    /// <summary>The values.</summary>
    public required IReadOnlyList<EvaluationMetricValue> Metrics { get; init; }

    /// <summary>The values of each group, where the task lists them.</summary>
    public required IReadOnlyList<EvaluationGroup> Groups { get; init; }

    /// <summary>A report that was written as JSON.</summary>
    /// <exception cref="FormatException">The text is not a report.</exception>
    public static EvaluationReport Parse(string json)
    {
        ArgumentNullException.ThrowIfNull(json);
        try
        {
            return JsonSerializer.Deserialize<EvaluationReport>(json, s_json) ?? throw new FormatException("The report is null.");
        }
        catch (JsonException e)
        {
            throw new FormatException($"This is no report: {e.Message}", e);
        }
    }

    /// <summary>The report as JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, s_json);

    /// <summary>Reports side by side, as a table in Markdown: a line for each task and metric, a column for each model.</summary>
    public static string Table(IEnumerable<EvaluationReport> reports)
    {
        ArgumentNullException.ThrowIfNull(reports);
        EvaluationReport[] all = [.. reports];
        IReadOnlyDictionary<EvaluatedModelFacts, string> models = EvaluatedModelFacts.Names(all);
        StringBuilder table = new();
        table.Append("| task | shots | rows | metric | ").AppendJoin(" | ", models.Values).Append(" |\n|---|---|---|---|").Insert(table.Length, "---|", models.Count).Append('\n');
        foreach (IGrouping<(string Task, string Shots, int Rows), EvaluationReport> task in all.GroupBy(report => (report.Task, Shots(report), report.Rows)))
        {
            foreach (string metric in task.SelectMany(report => report.Metrics).Select(value => value.Metric).Distinct(StringComparer.Ordinal))
            {
                IEnumerable<string> cells = models.Keys.Select(model => task.FirstOrDefault(report => report.Model == model)?.Metrics.FirstOrDefault(value => value.Metric == metric) is { } found
                    ? string.Create(CultureInfo.InvariantCulture, $"{found.Value:F4} ± {found.StandardError:F4}") : "");
                table.Append(CultureInfo.InvariantCulture, $"| {task.Key.Task} | {task.Key.Shots} | {task.Key.Rows} | {metric} | ").AppendJoin(" | ", cells).Append(" |\n");
            }
        }

        return table.ToString();

        // Examples of another seed make another measurement.
        string Shots(EvaluationReport report) => report.FewShot.ToString(CultureInfo.InvariantCulture)
            + (all.Any(other => other.Task == report.Task && other.FewShot == report.FewShot && other.FewShotSeed != report.FewShotSeed) ? $" (seed {report.FewShotSeed?.ToString(CultureInfo.InvariantCulture) ?? "unknown"})" : "");
    }
}
