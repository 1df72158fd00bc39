using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;

namespace Gemma.Extensions.AI.Benchmarks.Rag;

/// <summary>Retrieval quality on the project's corpus with any model, and what the prefix cache saves on a second question.</summary>
internal static class RetrievalBenchmark
{
    public static Command Create()
    {
        Option<string> model = new("--model") { Description = "GGUF file, Hugging Face directory or alias.", DefaultValueFactory = _ => "nano" };
        Option<string> corpus = new("--corpus") { Description = "Documents and questions.", DefaultValueFactory = _ => "tests/Gemma.Extensions.AI.Benchmarks/Rag/corpus.txt" };
        Option<int> rerank = new("--rerank-depth") { Description = "Passages that the model judges for a question; 0 leaves re-ranking out.", DefaultValueFactory = _ => 10 };
        Option<bool> bge = new("--bge") { Description = "Embed as bge-multilingual-gemma2 wants it." };
        Command command = new("retrieval", "Recall of words, vectors, both fused, and re-ranked.") { model, corpus, rerank, bge };
        command.SetAction((parse, cancellation) => RunAsync(
            parse.GetValue(model)!, parse.GetValue(corpus)!, parse.GetValue(rerank), parse.GetValue(bge), cancellation));
        return command;
    }

    private static async Task RunAsync(string path, string corpusPath, int rerankDepth, bool bge, CancellationToken cancellation)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        RetrievalCorpus corpus = RetrievalCorpus.Load(corpusPath);
        using GemmaModel model = GemmaModel.Load(path);
        string directory = Directory.CreateTempSubdirectory("gemma-retrieval-").FullName;
        try
        {
            Console.WriteLine($"Model {model.ModelId}; {corpus.Documents.Count} documents, {corpus.Answerable.Count()} questions with and {corpus.Unanswerable.Count()} without an answer in them.");
            Console.WriteLine();
            Console.WriteLine("| | recall@1 | recall@5 | MRR@10 | ms a question |");
            Console.WriteLine("|---|---|---|---|---|");
            bool words = false;
            foreach ((string name, GemmaEmbeddingOptions options) in Embedders(bge))
            {
                await MeasureAsync(corpus, model, Path.Combine(directory, $"{name}.db"), name, options, !words, rerankDepth, cancellation);
                words = true;
            }

            await ReadAsync(corpus, model, Path.Combine(directory, "read.db"), cancellation);
            await RefusalAsync(corpus, model, Path.Combine(directory, "words.db"), cancellation);
            await SecondQuestionAsync(corpus, model, Path.Combine(directory, "answers.db"), cancellation);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static IEnumerable<(string Name, GemmaEmbeddingOptions Options)> Embedders(bool bge) => bge
        ? [("bge", GemmaEmbeddingOptions.BgeMultilingualGemma2())]
        : [("mean", new GemmaEmbeddingOptions { Truncate = true }), ("last token", new GemmaEmbeddingOptions { Pooling = GemmaEmbeddingPooling.LastToken, Truncate = true })];

    private static async Task MeasureAsync(
        RetrievalCorpus corpus, GemmaModel model, string database, string name, GemmaEmbeddingOptions options, bool words, int rerankDepth, CancellationToken cancellation)
    {
        using SqliteVectorStore store = new(database);
        IEmbeddingGenerator<string, Embedding<float>> embeddings = model.AsIEmbeddingGenerator(options);
        int dimensions = ((EmbeddingGeneratorMetadata)embeddings.GetService(typeof(EmbeddingGeneratorMetadata))!).DefaultModelDimensions!.Value;
        VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("corpus", DocumentChunk.CreateDefinition(dimensions));
        await new DocumentIngestor(collection, model.Tokenizer, embeddings).IngestAsync(corpus.Documents, cancellationToken: cancellation);
        if (words)
        {
            await RowAsync("BM25", new DocumentRetrieverOptions { Mode = RetrievalMode.Keywords });
        }

        await RowAsync($"vectors ({name})", new DocumentRetrieverOptions { Mode = RetrievalMode.Vectors });
        foreach (double weight in (double[])[1, 0.5, 0.25])
        {
            await RowAsync($"fused ({name}, weight {weight})", new DocumentRetrieverOptions { VectorWeight = weight });
        }

        if (rerankDepth > 0 && words)
        {
            GemmaReranker reranker = new(model);
            foreach (double weight in (double[])[0, 1, 2, 4])
            {
                await RowAsync($"BM25, {rerankDepth} re-ranked, rank weight {weight}", new DocumentRetrieverOptions { Mode = RetrievalMode.Keywords, Reranker = reranker, RerankDepth = rerankDepth, RankWeight = weight });
            }

            await RowAsync($"fused (weight 0.25), {rerankDepth} re-ranked, rank weight 2", new DocumentRetrieverOptions { VectorWeight = 0.25, Reranker = reranker, RerankDepth = rerankDepth });
        }

        async Task RowAsync(string label, DocumentRetrieverOptions retrieval)
        {
            DocumentRetriever retriever = new(collection, embeddings, retrieval);
            int first = 0, five = 0, count = 0;
            double reciprocal = 0;
            Stopwatch clock = Stopwatch.StartNew();
            foreach (CorpusQuestion question in corpus.Answerable)
            {
                IReadOnlyList<RetrievedPassage> found = await retriever.SearchAsync(question.Text, 10, cancellationToken: cancellation);
                int rank = found.Select((p, i) => p.Chunk.DocumentId == question.DocumentId ? i + 1 : 0).FirstOrDefault(r => r > 0);
                first += rank == 1 ? 1 : 0;
                five += rank is >= 1 and <= 5 ? 1 : 0;
                reciprocal += rank > 0 ? 1.0 / rank : 0;
                count++;
            }

            Console.WriteLine($"| {label} | {first / (double)count:0.000} | {five / (double)count:0.000} | {reciprocal / count:0.000} | {clock.Elapsed.TotalMilliseconds / count:0.0} |");
        }
    }

    /// <summary>How often the passage with the answer is among those that the model reads, and how many it reads, by <see cref="DocumentAnswererOptions.MinRelativeEvidence"/>.</summary>
    private static async Task ReadAsync(RetrievalCorpus corpus, GemmaModel model, string database, CancellationToken cancellation)
    {
        const int Most = 5, Found = 4 * Most; // as DocumentAnswerer
        using SqliteVectorStore store = new(database);
        IEmbeddingGenerator<string, Embedding<float>> embeddings = model.AsIEmbeddingGenerator(new GemmaEmbeddingOptions { Truncate = true });
        int dimensions = ((EmbeddingGeneratorMetadata)embeddings.GetService(typeof(EmbeddingGeneratorMetadata))!).DefaultModelDimensions!.Value;
        VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("corpus", DocumentChunk.CreateDefinition(dimensions));
        await new DocumentIngestor(collection, model.Tokenizer, embeddings).IngestAsync(corpus.Documents, cancellationToken: cancellation);
        Console.WriteLine();
        Console.WriteLine("| MinRelativeEvidence | words: answer among those read | passages read | fused (weight 0.25): answer among those read | passages read |");
        Console.WriteLine("|---|---|---|---|---|");
        List<(string? Answer, IReadOnlyList<RetrievedPassage> Passages)>[] searches = [[], []];
        foreach ((int i, DocumentRetrieverOptions retrieval) in ((DocumentRetrieverOptions[])[new() { Mode = RetrievalMode.Keywords }, new() { VectorWeight = 0.25 }]).Index())
        {
            DocumentRetriever retriever = new(collection, embeddings, retrieval);
            foreach (CorpusQuestion question in corpus.Answerable)
            {
                searches[i].Add((question.DocumentId, await retriever.SearchAsync(question.Text, Found, cancellationToken: cancellation)));
            }
        }

        foreach (double least in (double[])[0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
        {
            IEnumerable<string> cells = searches.SelectMany(search =>
            {
                (string? Answer, RetrievedPassage[] Read)[] all = [.. search.Select(s => (s.Answer, (least == 0 ? s.Passages : s.Passages.Where(p => p.Evidence >= least * s.Passages.Max(best => best.Evidence))).Take(Most).ToArray()))];
                return (string[])[$"{all.Count(a => a.Read.Any(p => p.Chunk.DocumentId == a.Answer)) / (double)all.Length:0.000}", $"{all.Average(a => a.Read.Length):0.0}"];
            });
            Console.WriteLine($"| {least} | {string.Join(" | ", cells)} |");
        }
    }

    /// <summary>What the thresholds of the answerer let through and stop, without and with the answers that the model then writes.</summary>
    private static async Task RefusalAsync(RetrievalCorpus corpus, GemmaModel model, string database, CancellationToken cancellation)
    {
        using SqliteVectorStore store = new(database);
        VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("corpus", DocumentChunk.CreateDefinition(null));
        await new DocumentIngestor(collection, model.Tokenizer).IngestAsync(corpus.Documents, cancellationToken: cancellation);
        DocumentRetrieverOptions judged = new() { Reranker = new GemmaReranker(model), RerankDepth = 5 };
        DocumentRetriever retriever = new(collection, options: judged);
        List<(CorpusQuestion Question, double Evidence, double Relevance)> scored = [];
        foreach (CorpusQuestion question in corpus.Questions)
        {
            IReadOnlyList<RetrievedPassage> found = await retriever.SearchAsync(question.Text, 5, cancellationToken: cancellation);
            scored.Add((question, found.Select(p => p.Evidence!.Value).DefaultIfEmpty(0).Max(), found.Select(p => p.Relevance!.Value).DefaultIfEmpty(0).Max()));
        }

        Console.WriteLine();
        Console.WriteLine("| threshold | answerable refused | other subjects answered | near subjects answered |");
        Console.WriteLine("|---|---|---|---|");
        foreach (double least in (double[])[0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4])
        {
            Rates($"MinEvidence {least}", scored.Select(s => (s.Question, s.Evidence >= least)));
        }

        foreach (double least in (double[])[0.1, 0.2, 0.3, 0.5])
        {
            Rates($"MinRelevance {least}", scored.Select(s => (s.Question, s.Relevance >= least)));
        }

        DocumentAnswererOptions defaults = new();
        Rates($"MinEvidence {defaults.MinEvidence} and MinRelevance {defaults.MinRelevance}", scored.Select(s => (s.Question, s.Evidence >= defaults.MinEvidence && s.Relevance >= defaults.MinRelevance)));
        DocumentAnswererOptions open = new() { MinEvidence = 0, MinRelevance = 0 };
        foreach ((string name, DocumentRetriever source, DocumentAnswererOptions options) in (IEnumerable<(string, DocumentRetriever, DocumentAnswererOptions)>)
            [("answered, no thresholds", new(collection), open), ("answered, words", new(collection), defaults), ("answered, words and re-ranker", retriever, defaults)])
        {
            options.MaxPassages = 4;
            options.MaxOutputTokens = 32;
            DocumentAnswerer answerer = new(source, model.AsIChatClient(), model.Tokenizer, options);
            bool[] answered = new bool[corpus.Questions.Count];
            await Parallel.ForEachAsync(corpus.Questions.Index(), new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = cancellation }, async (q, c) =>
                answered[q.Index] = (await answerer.AskAsync(q.Item.Text, cancellationToken: c)).Found);
            Rates(name, corpus.Questions.Zip(answered));
        }

        static void Rates(string name, IEnumerable<(CorpusQuestion Question, bool Answered)> results)
        {
            (CorpusQuestion Question, bool Answered)[] all = [.. results];
            double Share(Func<CorpusQuestion, bool> of, bool answered) => all.Count(r => of(r.Question) && r.Answered == answered) / (double)all.Count(r => of(r.Question));
            Console.WriteLine($"| {name} | {Share(q => q.DocumentId is not null, false):0.000} | {Share(q => q.DocumentId is null && !q.IsNear, true):0.000} | {Share(q => q.IsNear, true):0.000} |");
        }
    }

    /// <summary>Asks twice about one document: the second prompt shares all but the question with the first.</summary>
    private static async Task SecondQuestionAsync(RetrievalCorpus corpus, GemmaModel model, string database, CancellationToken cancellation)
    {
        using SqliteVectorStore store = new(database);
        VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("corpus", DocumentChunk.CreateDefinition(null));

        // One document of all texts about animals and plants, long enough for several passages.
        string[] ids = ["falcon", "seals", "eels", "mushrooms", "ticks", "bees-swarm", "bees-honey", "chickens", "slugs", "compost"];
        List<string> parts = [];
        foreach (SourceDocument document in corpus.Documents.Where(d => ids.Contains(d.Id)))
        {
            parts.Add(System.Text.Encoding.UTF8.GetString(await document.ReadAsync(cancellation)));
        }

        await new DocumentIngestor(collection, model.Tokenizer).IngestAsync([SourceDocument.FromText("nature.md", string.Join("\n\n", parts), DocumentFormat.Markdown)], cancellationToken: cancellation);
        DocumentAnswerer answerer = new(
            new DocumentRetriever(collection), model.AsIChatClient(), model.Tokenizer, new DocumentAnswererOptions { MaxPassages = 20, MaxPassageTokens = Math.Min(3000, model.ContextLength / 2), MaxOutputTokens = 32, MinEvidence = 0 });
        Console.WriteLine();
        Console.WriteLine("| question about one document | prompt tokens | of these cached | ms to first token |");
        Console.WriteLine("|---|---|---|---|");
        // The words of the first question bring all passages; so do those of the second.
        foreach (string question in (string[])["Do bees, hens, slugs, seals, eels, falcons, ticks and mushrooms like compost?", "Do slugs, ticks, falcons, eels, hens, seals, bees and mushrooms hate compost?"])
        {
            Stopwatch clock = Stopwatch.StartNew();
            double firstToken = 0;
            DocumentAnswer? answer = null;
            await foreach (DocumentAnswerUpdate update in answerer.AskStreamingAsync(question, cancellationToken: cancellation))
            {
                firstToken = firstToken == 0 ? clock.Elapsed.TotalMilliseconds : firstToken;
                answer = update.Answer ?? answer;
            }

            Console.WriteLine($"| {question} | {answer!.Usage?.InputTokenCount} | {answer.Usage?.CachedInputTokenCount} | {firstToken:0} |");
        }
    }
}
