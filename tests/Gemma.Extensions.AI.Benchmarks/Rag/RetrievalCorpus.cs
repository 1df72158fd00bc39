using Gemma.Extensions.AI.Rag;

namespace Gemma.Extensions.AI.Benchmarks.Rag;

/// <summary>A question and the document that answers it; null where none does.</summary>
/// <param name="Text">The question.</param>
/// <param name="DocumentId">The document that answers it.</param>
/// <param name="IsNear">No document answers it, but it asks about the subject of one.</param>
internal sealed record CorpusQuestion(string Text, string? DocumentId, bool IsNear);

/// <summary>
/// The corpora of corpus.txt (English) and languages.txt (others, the language before the hyphen of each id): short documents of the project's own writing, two questions each, and questions that no document answers. A document
/// is a line "# id | title", paragraphs, and lines "? question"; "none" (other subjects) and "near" (the documents' own) have questions only.
/// </summary>
internal sealed record RetrievalCorpus(IReadOnlyList<SourceDocument> Documents, IReadOnlyList<CorpusQuestion> Questions)
{
    public IEnumerable<CorpusQuestion> Answerable => Questions.Where(q => q.DocumentId is not null);

    public IEnumerable<CorpusQuestion> Unanswerable => Questions.Where(q => q.DocumentId is null);

    public static RetrievalCorpus Load(string path)
    {
        List<SourceDocument> documents = [];
        List<CorpusQuestion> questions = [];
        foreach (string part in ("\n" + File.ReadAllText(path).ReplaceLineEndings("\n")).Split("\n# ", StringSplitOptions.RemoveEmptyEntries))
        {
            string[] lines = part.Split('\n', StringSplitOptions.RemoveEmptyEntries);
            string[] head = lines[0].Split(" | ");
            string? id = head[0] is "none" or "near" ? null : head[0];
            questions.AddRange(lines.Where(l => l.StartsWith("? ", StringComparison.Ordinal)).Select(l => new CorpusQuestion(l[2..], id, head[0] == "near")));
            if (id is not null)
            {
                string body = string.Join("\n\n", lines.Skip(1).Where(l => !l.StartsWith("? ", StringComparison.Ordinal)));
                documents.Add(SourceDocument.FromText(id, $"# {head[1]}\n\n{body}", DocumentFormat.Markdown));
            }
        }

        return new RetrievalCorpus(documents, questions);
    }

    /// <summary>Part of the questions whose document is among the first passages.</summary>
    public async Task<double> RecallAsync(DocumentRetriever retriever, int top)
    {
        int found = 0;
        foreach (CorpusQuestion question in Answerable)
        {
            found += (await retriever.SearchAsync(question.Text, top)).Any(p => p.Chunk.DocumentId == question.DocumentId) ? 1 : 0;
        }

        return found / (double)Answerable.Count();
    }

    /// <summary>Counts by language, all languages, and the questions about other subjects.</summary>
    public async Task<LanguageResult[]> ByLanguageAsync(DocumentRetriever retriever)
    {
        Dictionary<string, LanguageResult> results = [];
        double least = new DocumentAnswererOptions().MinEvidence;
        foreach (CorpusQuestion question in Questions)
        {
            IReadOnlyList<RetrievedPassage> found = await retriever.SearchAsync(question.Text, 5);
            int rank = found.Select((p, i) => p.Chunk.DocumentId == question.DocumentId ? i + 1 : 0).FirstOrDefault(r => r > 0);
            bool answered = found.Any(p => p.Evidence >= least);
            foreach (string language in (ReadOnlySpan<string>)(question.DocumentId is { } id ? [id[..id.IndexOf('-')], "all"] : ["other subjects"]))
            {
                LanguageResult so = results.GetValueOrDefault(language) ?? new LanguageResult(language, 0, 0, 0, 0);
                results[language] = so with { Questions = so.Questions + 1, First = so.First + (rank == 1 ? 1 : 0), Five = so.Five + (rank > 0 ? 1 : 0), Answered = so.Answered + (answered ? 1 : 0) };
            }
        }

        return [.. results.Values];
    }
}

/// <summary>Questions of a language, how many of them find their document first and among five, and how many are not refused for want of evidence.</summary>
internal sealed record LanguageResult(string Language, int Questions, int First, int Five, int Answered);
