namespace Gemma.Extensions.AI.Evaluation.Metrics;

/// <summary>Names of the metrics.</summary>
internal static class MetricNames
{
    public const string Accuracy = "acc", AccuracyByCharacter = "acc_norm", AccuracyByByte = "acc_bytes";
    public const string ExactMatch = "exact_match", F1 = "f1", DropExactMatch = "drop_em", DropF1 = "drop_f1", Mathematics = "math";
    public const string CitationPrecision = "citation_precision", CitationRecall = "citation_recall", Refusal = "refusal";
    public const string Calls = "calls", Functions = "functions";
    public const string BytePerplexity = "byte_perplexity", BitsPerByte = "bits_per_byte", WordPerplexity = "word_perplexity";

    public static IReadOnlyList<string> Of(EvaluationKind kind) => kind switch
    {
        EvaluationKind.Choices => [Accuracy, AccuracyByCharacter, AccuracyByByte],
        EvaluationKind.Generate => [ExactMatch, F1, DropExactMatch, DropF1, Mathematics, CitationPrecision, CitationRecall, Refusal],
        EvaluationKind.Calls => [Calls, Functions],
        _ => [BytePerplexity, BitsPerByte, WordPerplexity],
    };
}
