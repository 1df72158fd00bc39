using Gemma.Extensions.AI.Rag;

WebApplicationBuilder builder = WebApplication.CreateBuilder(args);
builder.Services.AddGemmaRag(); // model and database are those of appsettings.json
builder.Services.AddHealthChecks().AddGemma();
builder.Services.AddHostedService<Reader>();

WebApplication app = builder.Build();
app.MapHealthChecks("/health");

// POST /ask {"question": "How long is the warranty of the pump?"}
app.MapPost("/ask", async (Question asked, DocumentAnswerer answerer, CancellationToken cancellationToken) =>
{
    if (string.IsNullOrWhiteSpace(asked.Text))
    {
        return Results.BadRequest("The question is empty.");
    }

    DocumentAnswer answer = await answerer.AskAsync(asked.Text, cancellationToken: cancellationToken);
    return Results.Ok(new { answer = answer.Text, sources = answer.Citations.Select(citation => citation.ToString()) });
});

app.Run();

/// <summary>The body of a question.</summary>
internal sealed record Question([property: System.Text.Json.Serialization.JsonPropertyName("question")] string? Text);

/// <summary>Reads the folder of documents when the service starts; what has not changed is not read again.</summary>
internal sealed class Reader(DocumentIngestor ingestor, IConfiguration configuration, IHostEnvironment environment, ILogger<Reader> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        string folder = Path.Combine(environment.ContentRootPath, configuration["Documents"] ?? "documents");
        IngestionResult result = await ingestor.IngestAsync(SourceDocument.FromFolder(folder), cancellationToken: stoppingToken);
        logger.LogInformation("{Stored} documents read, {Unchanged} unchanged, {Removed} removed", result.Stored, result.Unchanged, result.Removed);
    }
}
