using System.CommandLine;
using System.Globalization;
using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.VectorData;
using Microsoft.ML.Tokenizers;

namespace Gemma.Extensions.AI.Benchmarks.Rag;

/// <summary>Search by words in languages other than English: recall, and whether what is found reaches the model. No model is needed, only a tokenizer to cut by.</summary>
internal static class LanguagesBenchmark
{
    public static Command Create()
    {
        Option<string> model = new("--model") { Description = "Directory or GGUF file whose tokenizer cuts the passages.", DefaultValueFactory = _ => "nano" };
        Option<string> corpus = new("--corpus") { Description = "Documents and questions.", DefaultValueFactory = _ => "tests/Gemma.Extensions.AI.Benchmarks/Rag/languages.txt" };
        Option<string> words = new("--tokenizer") { Description = "FTS5 tokenizer of the full text.", DefaultValueFactory = _ => new SqliteVectorStoreOptions().FullTextTokenizer };
        Command command = new("languages", "Recall by words in Chinese, Japanese, Korean, Thai and others.") { model, corpus, words };
        command.SetAction(async (parse, _) =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            using GemmaModel loaded = GemmaModel.Load(parse.GetValue(model)!);
            await RunAsync(RetrievalCorpus.Load(parse.GetValue(corpus)!), loaded.Tokenizer, parse.GetValue(words)!);
        });
        return command;
    }

    private static async Task RunAsync(RetrievalCorpus corpus, Tokenizer tokenizer, string fullText)
    {
        string directory = Directory.CreateTempSubdirectory("gemma-languages-").FullName;
        try
        {
            using SqliteVectorStore store = new(Path.Combine(directory, "words.db"), new SqliteVectorStoreOptions { FullTextTokenizer = fullText });
            VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("corpus", DocumentChunk.CreateDefinition(null));
            await new DocumentIngestor(collection, tokenizer).IngestAsync(corpus.Documents);
            LanguageResult[] results = await corpus.ByLanguageAsync(new DocumentRetriever(collection));
            Console.WriteLine($"{corpus.Documents.Count} documents, full text by '{fullText}'.");
            Console.WriteLine();
            Console.WriteLine("| language | questions | recall@1 | recall@5 | reaches the model |");
            Console.WriteLine("|---|---|---|---|---|");
            foreach (LanguageResult result in results)
            {
                Console.WriteLine($"| {result.Language} | {result.Questions} | {result.First / (double)result.Questions:0.000} | {result.Five / (double)result.Questions:0.000} | {result.Answered / (double)result.Questions:0.000} |");
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }
}
