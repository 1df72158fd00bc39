using Gemma.Extensions.AI;
using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;

// A folder of documents in, questions answered in the terminal with their sources:
//   dotnet run -- FOLDER [MODEL] [QUESTION]
// MODEL is a GGUF file, a Hugging Face directory or 'nano'. Without a question, questions are read from the terminal.
if (args.Length is 0 or > 3)
{
    Console.Error.WriteLine("Usage: Rag FOLDER [MODEL] [QUESTION]");
    return 1;
}

using GemmaModel model = GemmaModel.Load(args.Length > 1 ? args[1] : Environment.GetEnvironmentVariable("GEMMA_MODEL") ?? "nano");
IChatClient chat = model.AsIChatClient();
IEmbeddingGenerator<string, Embedding<float>> embeddings = model.AsIEmbeddingGenerator();

// Passages, words and vectors live in one file; a second run only reads what has changed. Vectors belong to their model, so each has its own collection.
using SqliteVectorStore store = new(Path.Combine(args[0], ".rag.db"));
int dimensions = embeddings.GetRequiredService<EmbeddingGeneratorMetadata>().DefaultModelDimensions!.Value;
VectorStoreCollection<string, DocumentChunk> passages = store.GetCollection<string, DocumentChunk>($"passages of {model.ModelId}", DocumentChunk.CreateDefinition(dimensions));

DocumentIngestor ingestor = new(passages, model.Tokenizer, embeddings);
IngestionResult result = await ingestor.IngestAsync(SourceDocument.FromFolder(args[0]), progress: new ProgressLines());
Console.WriteLine($"{result.Stored} documents read, {result.Unchanged} unchanged, {result.Removed} removed.");

// A chat model is a weak embedder, so a rank by its vectors weighs a quarter of a rank by words.
DocumentRetriever retriever = new(passages, embeddings, new DocumentRetrieverOptions { VectorWeight = 0.25 });
DocumentAnswerer answerer = new(retriever, chat, model.Tokenizer);
if (args.Length == 3)
{
    await AnswerAsync(args[2]);
    return 0;
}

while (true)
{
    Console.Write("\n> ");
    if (Console.ReadLine() is not { } question)
    {
        return 0;
    }

    if (!string.IsNullOrWhiteSpace(question))
    {
        await AnswerAsync(question);
    }
}

async Task AnswerAsync(string question)
{
    await foreach (DocumentAnswerUpdate update in answerer.AskStreamingAsync(question))
    {
        Console.Write(update.Text);
        if (update.Answer is { } answer)
        {
            Console.WriteLine();
            foreach (Citation citation in answer.Citations)
            {
                Console.WriteLine($"  {citation}");
            }
        }
    }
}

internal sealed class ProgressLines : IProgress<IngestionProgress>
{
    public void Report(IngestionProgress value)
    {
        if (value.Action is IngestionAction.Stored or IngestionAction.Failed)
        {
            Console.WriteLine($"{value.Action}: {value.DocumentId} {(value.Error is null ? $"({value.Passages} passages)" : value.Error.Message)}");
        }
    }
}
