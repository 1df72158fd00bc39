using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.DependencyInjection;

// A folder of documents in, questions answered in the terminal with their sources:
//   dotnet run -- FOLDER [MODEL] [QUESTION]
// MODEL is a GGUF file, a Hugging Face directory or 'nano'. Without a question, questions are read from the terminal.
if (args.Length is 0 or > 3 || !Directory.Exists(args[0]))
{
    Console.Error.WriteLine("Usage: Rag FOLDER [MODEL] [QUESTION], where FOLDER exists");
    return 1;
}

// Passages, words and vectors live in one file; a second run only reads what has changed. Vectors belong to their model, so each has its own collection.
ServiceCollection services = new();
services.AddGemmaRag(
    args.Length > 1 ? args[1] : Environment.GetEnvironmentVariable("GEMMA_MODEL") ?? "nano",
    options => options.DatabasePath = Path.Combine(args[0], ".rag.db"));
await using ServiceProvider provider = services.BuildServiceProvider();

IngestionResult result = await provider.GetRequiredService<DocumentIngestor>().IngestAsync(SourceDocument.FromFolder(args[0]), progress: new ProgressLines());
Console.WriteLine($"{result.Stored} documents read, {result.Unchanged} unchanged, {result.Removed} removed.");

DocumentAnswerer answerer = provider.GetRequiredService<DocumentAnswerer>();
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
