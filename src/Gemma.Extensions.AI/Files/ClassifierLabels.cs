using System.Globalization;
using System.Text.Json;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Files;

/// <summary>Interpretation of a classifier's scores: transformers' <c>problem_type</c>.</summary>
internal enum ClassifierKind
{
    /// <summary>Numbers as they are.</summary>
    Regression,

    /// <summary>One label is right: softmax.</summary>
    SingleLabel,

    /// <summary>Any number of labels may be right: the logistic function.</summary>
    MultiLabel,
}

/// <summary>Labels and interpretation of a classifier's scores.</summary>
/// <param name="Names">A name for each row of the head.</param>
/// <param name="Kind">How scores are to be read.</param>
/// <param name="PadId">Token that does not count as the last one of a text; -1: none.</param>
internal sealed record ClassifierLabels(IReadOnlyList<string> Names, ClassifierKind Kind, int PadId)
{
    public const string NamesKey = "gemma2.classifier.output_labels";
    public const string ProblemKey = "gemma2.classifier.problem_type";
    public const int MaxLabels = 1 << 16;

    /// <summary>Value of <c>problem_type</c>.</summary>
    public string Problem => Kind switch
    {
        ClassifierKind.Regression => "regression",
        ClassifierKind.MultiLabel => "multi_label_classification",
        _ => "single_label_classification",
    };

    /// <summary>Labels that a config.json states; 0 where it states none, so that the tensor decides.</summary>
    public static int CountOf(JsonFile config)
    {
        int count = config.Find("id2label") is { ValueKind: JsonValueKind.Object } names ? names.EnumerateObject().Count() : config.GetInt32("num_labels") ?? 0;
        return count is >= 0 and <= MaxLabels ? count : throw config.Wrong("num_labels", config.Find("num_labels") ?? config.Root, $"at most {MaxLabels:N0} labels");
    }

    /// <summary>Reads <c>id2label</c>, <c>problem_type</c> and <c>pad_token_id</c>.</summary>
    /// <exception cref="GemmaModelFormatException">They are not of the form that transformers writes.</exception>
    public static ClassifierLabels Read(JsonFile config, int count)
    {
        string[] names = new string[count];
        for (int i = 0; i < count; i++)
        {
            names[i] = $"LABEL_{i}";
        }

        if (config.Find("id2label") is { } labels)
        {
            ReadNames(config, labels, names);
        }

        return new ClassifierLabels(names, KindOf(config.GetString("problem_type"), count, config.Path, "problem_type"), config.GetInt32("pad_token_id") ?? (config.Has("pad_token_id") ? -1 : 0));
    }

    /// <summary>Reads what a conversion wrote; names under llama.cpp's key for them, the problem under one of our own.</summary>
    /// <exception cref="GemmaModelFormatException">The number of names is not that of the scores.</exception>
    public static ClassifierLabels Read(GgufMetadata metadata, int count)
    {
        string[] names = metadata.GetStrings(NamesKey) is { } found
            ? [.. found.Select(System.Text.Encoding.UTF8.GetString)]
            : [.. Enumerable.Range(0, count).Select(i => $"LABEL_{i}")];
        return names.Length == count
            ? new ClassifierLabels(names, KindOf(metadata.GetString(ProblemKey), count, metadata.Source, ProblemKey), metadata.GetInt32("tokenizer.ggml.padding_token_id") ?? -1)
            : throw new GemmaModelFormatException($"'{metadata.Source}' names {names.Length:N0} labels ('{NamesKey}') but '{GemmaTensors.Classifier}' has {count:N0} rows. The file was converted wrongly; convert it again.");
    }

    private static void ReadNames(JsonFile config, JsonElement labels, string[] names)
    {
        bool complete = labels.ValueKind == JsonValueKind.Object;
        HashSet<int> seen = new();
        foreach (JsonProperty label in complete ? labels.EnumerateObject() : default)
        {
            complete &= int.TryParse(label.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int id) && id < names.Length && seen.Add(id) && label.Value.ValueKind is JsonValueKind.String or JsonValueKind.Number;
            if (complete)
            {
                names[id] = label.Value.ToString();
            }
        }

        if (!complete || seen.Count != names.Length)
        {
            throw config.Wrong("id2label", labels, $"a name for each of 0 to {names.Length - 1:N0}");
        }
    }

    /// <summary>As transformers' pipeline reads scores: a single one is a yes or no unless it is stated to be a number.</summary>
    private static ClassifierKind KindOf(string? problem, int count, string source, string field) => problem switch
    {
        "regression" => ClassifierKind.Regression,
        "multi_label_classification" => ClassifierKind.MultiLabel,
        null or "single_label_classification" => count == 1 ? ClassifierKind.MultiLabel : ClassifierKind.SingleLabel,
        _ => throw new GemmaModelFormatException($"'{source}': '{field}' is '{ErrorText.Printable(problem)}', expected 'regression', 'single_label_classification' or 'multi_label_classification'."),
    };
}
