using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.Cli.Documents;

/// <summary>A folder of documents, or one document, and what answers from it. Passages are kept in the user's cache, so that only what changed is read again.</summary>
internal sealed class DocumentLibrary : IAsyncDisposable
{
    private readonly string _path;
    private readonly ServiceProvider _services;

    private DocumentLibrary(string path, ServiceProvider services) => (_path, _services) = (path, services);

    public DocumentAnswerer Answerer => _services.GetRequiredService<DocumentAnswerer>();

    /// <param name="model">Embeds passages and writes answers; it stays the caller's.</param>
    /// <param name="path">A folder, or a file.</param>
    /// <param name="index">The file of passages; null: in the user's cache.</param>
    /// <param name="chat">Options of the answers.</param>
    /// <exception cref="ArgumentException">There is nothing at the path.</exception>
    public static DocumentLibrary Open(GemmaModel model, string path, string? index, ChatOptions? chat = null)
    {
        if (!Path.Exists(path))
        {
            throw new ArgumentException($"There is no folder or document '{path}' (looked for '{Path.GetFullPath(path)}').");
        }

        string database = Path.GetFullPath(index ?? UserCache.IndexOf(path));
        Directory.CreateDirectory(Path.GetDirectoryName(database)!);
        ServiceCollection services = new();
        services.AddSingleton(model.AsIChatClient());
        services.AddSingleton(model.AsIEmbeddingGenerator());
        services.AddGemmaRag(configure: options =>
        {
            options.DatabasePath = database;
            options.Answering.ChatOptions = chat;
        });
        return new DocumentLibrary(path, services.BuildServiceProvider());
    }

    /// <summary>Reads what is new or has changed, and forgets what is gone.</summary>
    /// <param name="progress">Told of each document, with their number.</param>
    /// <param name="cancellationToken">Stops between documents.</param>
    /// <exception cref="ArgumentException">The folder holds nothing that can be read.</exception>
    public async Task<IngestionResult> UpdateAsync(Action<IngestionProgress, int>? progress, CancellationToken cancellationToken)
    {
        SourceDocument[] documents = Directory.Exists(_path) ? [.. SourceDocument.FromFolder(_path)]
            : SourceDocument.FromFile(_path, Path.GetFileName(_path)) is { } document ? [document] : [];
        if (documents.Length == 0)
        {
            throw new ArgumentException($"'{_path}' {(Directory.Exists(_path) ? "holds" : "is")} no document that can be read: text, Markdown, HTML or PDF.");
        }

        IProgress<IngestionProgress>? told = progress is null ? null : new SynchronousProgress<IngestionProgress>(update => progress(update, documents.Length));
        return await _services.GetRequiredService<DocumentIngestor>().IngestAsync(documents, progress: told, cancellationToken: cancellationToken);
    }

    public ValueTask DisposeAsync() => _services.DisposeAsync();
}
