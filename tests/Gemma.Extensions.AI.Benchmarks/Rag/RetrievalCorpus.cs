using Gemma.Extensions.AI.Rag;

namespace Gemma.Extensions.AI.Benchmarks.Rag;

/// <summary>A question and the document that answers it; null where none does.</summary>
/// <param name="Text">The question.</param>
/// <param name="DocumentId">The document that answers it.</param>
/// <param name="IsNear">No document answers it, but it asks about the subject of one.</param>
internal sealed record CorpusQuestion(string Text, string? DocumentId, bool IsNear);

/// <summary>
/// The corpus of corpus.txt: short documents of the project's own writing, two questions each, and questions that no document answers. A document
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
}
