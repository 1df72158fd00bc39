using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Rag.Answering;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

public sealed class AnsweringTests : IDisposable
{
    private static readonly GemmaTokenizer s_tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
    private readonly TempDirectory _directory = new();
    private SqliteVectorStore? _store;

    public void Dispose()
    {
        _store?.Dispose();
        _directory.Dispose();
    }

    private async Task<DocumentRetriever> RetrieverAsync(DocumentRetrieverOptions? options = null)
    {
        _store = new SqliteVectorStore(_directory.File("rag.db"));
        VectorStoreCollection<Guid, DocumentChunk> collection = _store.GetCollection<Guid, DocumentChunk>("d", DocumentChunk.CreateDefinition(null));
        await new DocumentIngestor(collection, s_tokenizer).IngestAsync(
        [
            SourceDocument.FromText("boiler.md", "# Boiler\n\n## Pressure\n\nThe boiler pressure must stay between one and two bar.\n", DocumentFormat.Markdown),
            SourceDocument.FromText("attic.txt", "The attic window sticks when the boiler room is damp."),
            SourceDocument.FromText("cellar.txt", "The cellar pump starts by itself."),
        ]);
        return new DocumentRetriever(collection, null, options);
    }

    [Fact]
    public async Task CitationsResolveToDocumentAndPlace()
    {
        ScriptedClient chat = new("Between one and two bar [2]. The window sticks [1][9] in damp [2, 1].");
        DocumentAnswerer answerer = new(await RetrieverAsync(), chat, s_tokenizer);
        DocumentAnswer answer = await answerer.AskAsync("What boiler pressure is right?");
        Assert.True(answer.Found);
        Assert.Equal("Between one and two bar [2]. The window sticks [1] in damp [2][1].", answer.Text);
        Assert.Equal(["[2] boiler.md, line 5, Boiler > Pressure", "[1] attic.txt, line 1"], answer.Citations.Select(c => c.ToString()));
        Assert.Equal(7, answer.Usage!.InputTokenCount);

        // The same as content of a message.
        TextContent content = answer.ToTextContent();
        Assert.Equal(answer.Text, content.Text);
        CitationAnnotation[] annotations = [.. content.Annotations!.Cast<CitationAnnotation>()];
        Assert.Equal([("Boiler", "boiler.md", 2), ("attic", "attic.txt", 1)], annotations.Select(a => (a.Title!, a.FileId!, (int)a.AdditionalProperties!["number"]!)));
        Assert.Equal(("Boiler > Pressure", 5), (annotations[0].AdditionalProperties!["section"], annotations[0].AdditionalProperties!["line"]));
        Assert.Equal(answer.Citations[1].Chunk.Text, annotations[1].Snippet);
        Assert.All(annotations, a => Assert.Equal(2, a.AnnotatedRegions!.Count));
        Assert.All(
            annotations.SelectMany(a => a.AnnotatedRegions!.Cast<TextSpanAnnotatedRegion>().Select(r => (a, content.Text[r.StartIndex!.Value..r.EndIndex!.Value]))),
            x => Assert.Equal($"[{x.a.AdditionalProperties!["number"]}]", x.Item2));

        // Passages stand in the order of their documents, the question last: equal passages are an equal prefix.
        string prompt = chat.Prompts.Single()[1].Text;
        Assert.Matches(@"^Passages:\n\n\[1\] attic\n.*\n\n\[2\] Boiler > Pressure\n(.|\n)*Question: What boiler pressure is right\?$", prompt);
        Assert.Equal(0, chat.Options!.Temperature);
    }

    [Fact]
    public async Task NothingRelevantIsSaidWithoutAskingTheModel()
    {
        ScriptedClient chat = new("Paris [1].");
        DocumentAnswerer answerer = new(await RetrieverAsync(), chat, s_tokenizer);
        DocumentAnswer answer = await answerer.AskAsync("What is the capital of France?");
        Assert.False(answer.Found);
        Assert.Equal("That is not in the documents.", answer.Text);
        Assert.Empty(answer.Citations);
        Assert.Empty(chat.Prompts);

        // A shared word is not enough when a judge says that the passage doesn't answer.
        DocumentAnswerer judged = new(await RetrieverAsync(new DocumentRetrieverOptions { Reranker = new Judge("cellar") }), chat, s_tokenizer);
        Assert.False((await judged.AskAsync("Who made the boiler?")).Found);
        Assert.True((await judged.AskAsync("Does the cellar pump start alone?")).Found);
        Assert.DoesNotContain("boiler", chat.Prompts.Single()[1].Text, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task BeforeAnythingWasIngestedItIsNotInTheDocuments()
    {
        _store = new SqliteVectorStore(_directory.File("new.db"));
        ScriptedClient chat = new("Paris [1].");
        DocumentAnswerer answerer = new(new DocumentRetriever(_store.GetCollection<Guid, DocumentChunk>("d", DocumentChunk.CreateDefinition(null))), chat, s_tokenizer);
        DocumentAnswer answer = await answerer.AskAsync("What boiler pressure is right?");
        Assert.Equal((false, "That is not in the documents."), (answer.Found, answer.Text));
        Assert.Empty(chat.Prompts);
    }

    [Fact]
    public async Task TheModelsOwnRefusalIsRecognised()
    {
        DocumentAnswerer answerer = new(await RetrieverAsync(), new ScriptedClient("That is not in the documents."), s_tokenizer);
        DocumentAnswer answer = await answerer.AskAsync("Which colour has the boiler?");
        Assert.False(answer.Found);
        Assert.Empty(answer.Citations);
    }

    [Fact]
    public async Task PassagesKeepToTheBudget()
    {
        ScriptedClient chat = new("Yes [1].");
        DocumentAnswerer answerer = new(await RetrieverAsync(), chat, s_tokenizer, new DocumentAnswererOptions { MaxPassageTokens = 60 });
        DocumentAnswer answer = await answerer.AskAsync("boiler pressure bar cellar pump attic window");
        Assert.NotEmpty(answer.Passages);
        Assert.True(answer.Passages.Count < 3);
        Assert.True(answer.Passages.Sum(p => p.Chunk.TokenCount) <= 60);
    }

    [Fact]
    public async Task AQuestionWithoutRoomForPassagesIsRefusedWithNumbers()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Threads = 1, ContextLength = 256 });
        DocumentAnswerer answerer = new(await RetrieverAsync(), model.AsIChatClient(), model.Tokenizer);
        string question = "boiler pressure " + string.Join(' ', Enumerable.Repeat("please", 200));
        GemmaRagException error = await Assert.ThrowsAsync<GemmaRagException>(() => answerer.AskAsync(question));
        Assert.Contains($"The question takes {model.Tokenizer.CountTokens(question)} tokens", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a [1] b", "a [1] b")]
    [InlineData("[4] no [0] such [12]", " no  such ")]
    [InlineData("an array[i] and [] and [x", "an array[i] and [] and [x")]
    [InlineData("[[2]]", "[[2]]")]
    [InlineData("[1, 9, 3]", "[1][3]")]
    [InlineData("open [1", "open [1")]
    [InlineData("[99999999999999999999]!", "!")]
    public void CitationsOfNothingAreDroppedHoweverTheTextArrives(string text, string expected)
    {
        foreach (int size in (ReadOnlySpan<int>)[1, 2, 3, 100])
        {
            CitationFilter filter = new(3);
            string shown = string.Concat(text.Chunk(size).Select(c => filter.Push(new string(c)))) + filter.Flush();
            Assert.Equal(expected, shown);
            Assert.All(filter.Cited, n => Assert.InRange(n, 1, 3));
        }
    }

    /// <summary>A citation is set to the passage that holds the words of its statement where the words tell, and stays where they do not.</summary>
    [Theory]
    [InlineData("24 months [2]", "24 months [1]")] // the passage beside it
    [InlineData("24 months [1]", "24 months [1]")]
    [InlineData("The warranty is 24 months. [3]", "The warranty is 24 months. [1]")] // behind the full stop
    [InlineData("It lasts 24 months, says the maker [2].", "It lasts 24 months, says the maker [1].")] // what no passage holds tells nothing
    [InlineData("Steel from Oslo for 24 months [2].", "Steel from Oslo for 24 months [1].")] // only the numbers tell: no passage holds all
    [InlineData("It is made of steel [1] and of wood [2].", "It is made of steel [2] and of wood [3].")] // every statement by itself
    [InlineData("Oslo [2]", "Oslo [2]")] // two passages hold it: nothing tells which
    [InlineData("Oslo [3]", "Oslo [3]")] // the same, and the cited one holds it not
    [InlineData("The warranty [2]", "The warranty [2]")] // only words of the question
    [InlineData("Forty years [2]", "Forty years [2]")] // in no passage
    [InlineData("36 euros [1]", "36 euros [2]")] // both words stand in the first, but not beside each other
    [InlineData("24 months [2, 3]", "24 months [2][3]")] // more than one is not a slip
    [InlineData("24 months [9][2]", "24 months [1]")] // what was dropped leaves its statement to the next
    [InlineData("24 months [1][2]", "24 months [1][2]")] // nothing stands between
    [InlineData("Wood. 24 months [3]", "Wood. 24 months [1]")] // a sentence before has nothing to say
    public void ACitationThatLacksTheWordsOfItsStatementIsSetToThePassageThatHoldsThem(string text, string expected)
    {
        string[] passages =
        [
            "Pump\nThe warranty of the pump is 24 months. It was made in Oslo for 99 euros and weighs 36 kilos.", "Hose\nThe warranty of the hose is 12 months. It costs 36 euros, is made of steel and comes from Oslo.",
            "Barrel\nThe barrel is made of wood.",
        ];
        CitationCheck check = new("How long is the warranty of the pump?", passages);
        foreach (int size in (ReadOnlySpan<int>)[1, 2, 3, 100])
        {
            CitationFilter filter = new(passages.Length, check.Check);
            Assert.Equal(expected, string.Concat(text.Chunk(size).Select(c => filter.Push(new string(c)))) + filter.Flush());
            Assert.Equal(expected.Split('[').Skip(1).Select(part => part[0] - '0').Distinct(), filter.Cited);
        }
    }

    /// <summary>The same in a script without spaces between words.</summary>
    [Fact]
    public void CitationsAreCheckedInAnyScript()
    {
        CitationCheck check = new("水泵的保修期是多久？", ["软管\n软管的保修期是十二个月。", "水泵\n水泵的保修期是二十四个月。"]);
        Assert.Equal(2, check.Check("二十四个月", 1));
        Assert.Equal(1, check.Check("十二个月", 1));
        Assert.Equal(2, check.Check("软管是十二个月。水泵的保修期是二十四个月。", 1));
    }

    /// <summary>The answerer sets its citations right, and leaves them to the model where it is told to.</summary>
    [Theory]
    [InlineData(true, "boiler.md")]
    [InlineData(false, "attic.txt")]
    public async Task AnswersCiteThePassageThatTheyWereReadIn(bool check, string document)
    {
        ScriptedClient chat = new("One and two bar [1].");
        DocumentAnswerer answerer = new(await RetrieverAsync(), chat, s_tokenizer, new DocumentAnswererOptions { CheckCitations = check });
        DocumentAnswer answer = await answerer.AskAsync("What boiler pressure is right?");
        Assert.Equal(document, answer.Citations.Single().Chunk.DocumentId);
        Assert.Equal(check ? "One and two bar [2]." : "One and two bar [1].", answer.Text);
    }

    /// <summary>Passages that share much less with the question than the best one are not read, nor are they where nothing is asked for.</summary>
    [Fact]
    public async Task PassagesFarBelowTheBestAreNotReadWhereThatIsAskedFor()
    {
        DocumentRetriever retriever = await RetrieverAsync();
        IReadOnlyList<RetrievedPassage> found = await retriever.SearchAsync("What boiler pressure is right?");
        Assert.Equal(["boiler.md", "attic.txt"], found.Select(p => p.Chunk.DocumentId));
        double share = found[1].Evidence!.Value / found[0].Evidence!.Value;
        Assert.InRange(share, 0.05, 0.95);
        Assert.Equal(2, await ReadAsync(0));
        Assert.Equal(2, await ReadAsync(share - 0.01));
        Assert.Equal(1, await ReadAsync(share + 0.01));
        Assert.Equal(1, await ReadAsync(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DocumentAnswerer(retriever, new ScriptedClient(""), s_tokenizer, new DocumentAnswererOptions { MinRelativeEvidence = 1.01 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DocumentAnswerer(retriever, new ScriptedClient(""), s_tokenizer, new DocumentAnswererOptions { MinRelativeEvidence = -0.01 }));

        async Task<int> ReadAsync(double least) =>
            (await new DocumentAnswerer(retriever, new ScriptedClient("Two bar [1]."), s_tokenizer, new DocumentAnswererOptions { MinRelativeEvidence = least }).AskAsync("What boiler pressure is right?")).Passages.Count;
    }

    /// <summary>
    /// The whole way on a real, if senseless, model: embedded, found, re-ranked, answered. Its logits are bent towards opening brackets, which the
    /// grammar turns into citations of the two passages.
    /// </summary>
    [Fact]
    public async Task AModelCannotCiteWhatIsNotThere()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Threads = 1 });
        IEmbeddingGenerator<string, Embedding<float>> embeddings = model.AsIEmbeddingGenerator();
        _store = new SqliteVectorStore(_directory.File("model.db"));
        VectorStoreCollection<Guid, DocumentChunk> collection = _store.GetCollection<Guid, DocumentChunk>(
            "d", DocumentChunk.CreateDefinition(embeddings.GetRequiredService<EmbeddingGeneratorMetadata>().DefaultModelDimensions));
        await new DocumentIngestor(collection, model.Tokenizer, embeddings).IngestAsync([SourceDocument.FromText("a", "Cats sleep."), SourceDocument.FromText("b", "Cats purr.")]);
        DocumentRetriever retriever = new(collection, embeddings, new DocumentRetrieverOptions { Reranker = new GemmaReranker(model) });
        Assert.All(await retriever.SearchAsync("Do cats sleep?"), p => Assert.InRange(p.Relevance!.Value, 1e-9, 1 - 1e-9));

        int bracket = model.Tokenizer.Encode("[", matchSpecial: false).Single();
        int nine = model.Tokenizer.Encode("9", matchSpecial: false).Single();
        RecordingClient chat = new(model.AsIChatClient());
        DocumentAnswerer answerer = new(retriever, chat, model.Tokenizer, new DocumentAnswererOptions
        {
            MinRelevance = 0,
            MaxOutputTokens = 40,
            ChatOptions = new ChatOptions
            {
                RawRepresentationFactory = _ => new GemmaGenerationOptions { LogitBias = new Dictionary<int, float> { [bracket] = 40, [nine] = 30 }, Temperature = 0 },
            },
        });
        DocumentAnswer answer = await answerer.AskAsync("Do cats sleep?");
        Assert.Contains('[', chat.Text);
        Assert.DoesNotContain("[[", chat.Text, StringComparison.Ordinal);
        Assert.Matches($@"^{DocumentAnswerer.CitationRegex(2)}(\[\d*)?$", chat.Text);
        Assert.NotEmpty(answer.Citations);
        Assert.All(answer.Citations, c => Assert.InRange(c.Number, 1, 2));
    }

    private sealed class RecordingClient(IChatClient inner) : DelegatingChatClient(inner)
    {
        public string Text { get; private set; } = "";

        public override async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
            IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            await foreach (ChatResponseUpdate update in base.GetStreamingResponseAsync(messages, options, cancellationToken))
            {
                Text += update.Text;
                yield return update;
            }
        }
    }

    private sealed class Judge(string word) : IPassageReranker
    {
        public Task<IReadOnlyList<double>> ScoreAsync(string question, IReadOnlyList<string> passages, CancellationToken cancellationToken = default) =>
            Task.FromResult<IReadOnlyList<double>>([.. passages.Select(p => p.Contains(word, StringComparison.OrdinalIgnoreCase) ? 0.9 : 0.1)]);
    }

    /// <summary>Says its line, a few characters at a time.</summary>
    private sealed class ScriptedClient(string line) : IChatClient
    {
        public List<List<ChatMessage>> Prompts { get; } = [];

        public ChatOptions? Options { get; private set; }

        public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
            IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            Prompts.Add([.. messages]);
            Options = options;
            foreach (char[] piece in line.Chunk(3))
            {
                await Task.Yield();
                yield return new ChatResponseUpdate(ChatRole.Assistant, new string(piece));
            }

            yield return new ChatResponseUpdate(ChatRole.Assistant, [new UsageContent(new UsageDetails { InputTokenCount = 7 })]);
        }

        public async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
            await GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken);

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }
    }
}
