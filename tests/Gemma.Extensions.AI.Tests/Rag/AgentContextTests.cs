using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Tests.Server;
using Microsoft.Agents.AI;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>Passages as the context of an agent, found before the model is asked: as the package's README says it.</summary>
public sealed class AgentContextTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task PassagesStandInThePromptBeforeTheModelIsAsked()
    {
        ServiceCollection services = new();
        services.AddGemmaRag(TestData.Local("tiny"), options => options.DatabasePath = _directory.File("rag.db"));
        await using ServiceProvider provider = services.BuildServiceProvider();
        await provider.GetRequiredService<DocumentIngestor>().IngestAsync([SourceDocument.FromText("cats.txt", "Cats sleep all day."), SourceDocument.FromText("dogs.txt", "Dogs guard the yard.")]);
        DocumentRetriever retriever = provider.GetRequiredService<DocumentRetriever>();
        TextSearchProvider passages = new(async (question, cancellation) => (await retriever.SearchAsync(question, 1, cancellationToken: cancellation)).Select(
            passage => new TextSearchProvider.TextSearchResult { SourceName = passage.Chunk.DocumentId, Text = passage.Chunk.Text }));
        ScriptedChatClient model = new(_ => ["Dogs."]);
        ChatClientAgent agent = new(model, new ChatClientAgentOptions { AIContextProviders = [passages] });
        Assert.Equal("Dogs.", (await agent.RunAsync("Who guards the yard?")).Text);
        (IReadOnlyList<ChatMessage> asked, ChatOptions options) = Assert.Single(model.Calls);
        Assert.Contains(asked, message => message.Text.Contains("Dogs guard the yard.", StringComparison.Ordinal) && message.Text.Contains("dogs.txt", StringComparison.Ordinal));
        Assert.DoesNotContain(asked, message => message.Text.Contains("Cats", StringComparison.Ordinal));
        Assert.True(options.Tools is null or { Count: 0 });
    }
}
