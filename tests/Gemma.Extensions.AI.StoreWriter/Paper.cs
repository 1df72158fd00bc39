using Gemma.Extensions.AI.Rag;

/// <summary>Documents of a version, which the writing process stores and the test checks.</summary>
public static class Paper
{
    /// <summary>Documents of a version.</summary>
    public const int Count = 3;

    public static DocumentIngestorOptions Options => new() { MaxTokens = 64, MinTokens = 8, OverlapTokens = 0, BatchSize = 2 };

    /// <summary>The document's name: the first line of each of its passages, so that a search for it finds all.</summary>
    public static string Name(int document) => $"paper{document}";

    /// <summary>Sentences of a version; versions differ in length.</summary>
    public static int Sentences(int version) => 30 + version * 7 % 11;

    public static SourceDocument[] Make(int version) =>
    [
        .. Enumerable.Range(0, Count).Select(d => SourceDocument.FromText(
            Name(d), string.Join("\n\n", Enumerable.Range(0, Sentences(version)).Select(i => $"Sentence {i} of version{version} says that number {i * 7} comes after number {i}.")))),
    ];
}
