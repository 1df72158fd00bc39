using System.Text;
using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>Questions about folders of 5 to 20 small documents in Markdown, HTML and PDF, asked of the whole pipeline: ingestion, search, answer, citation.</summary>
internal static class DocumentEvaluation
{
    /// <summary>As the command names it among the skills.</summary>
    public const string Name = "Documents";

    private const int QuestionsOfAFolder = 25, AtOnce = 8;

    private const double Absent = 0.3;

    private static readonly Phrasings s_plain = new("{q}", "(Please tell me|Tell me): {q}", "{q} Thank you.", "I have a question. {q}");

    /// <summary>Asks <paramref name="questions"/> in phrasings of training, and as many in those held out.</summary>
    /// <param name="model">Path or alias.</param>
    /// <param name="questions">A multiple of 25 is asked: at least so many.</param>
    /// <param name="cancellation">Stops it.</param>
    public static async Task<IReadOnlyList<Outcome>> Run(string model, int questions, CancellationToken cancellation)
    {
        List<Outcome> outcomes = new();
        foreach (Split phrasing in new[] { Split.Train, Split.HeldOut })
        {
            for (int folder = 0; folder * QuestionsOfAFolder < questions; folder++)
            {
                outcomes.AddRange(await Folder(model, Lexicon.Of(NanoEvaluation.Seed, folder, Split.HeldOut, phrasing: phrasing), phrasing, cancellation).ConfigureAwait(false));
            }
        }

        return outcomes;
    }

    private static async Task<IReadOnlyList<Outcome>> Folder(string model, Lexicon l, Split phrasing, CancellationToken cancellation)
    {
        Page[] pages = [.. Enumerable.Range(0, l.Random.Next(5, 21)).Select(_ => Documents.Draw(l, Facts.Any(l)))];
        string database = Path.Combine(Path.GetTempPath(), $"nano-{Guid.NewGuid():N}.db");
        ServiceCollection services = new();
        services.AddGemmaRag(model, options => options.DatabasePath = database);
        try
        {
            await using ServiceProvider provider = services.BuildServiceProvider();
            IngestionResult stored = await provider.GetRequiredService<DocumentIngestor>().IngestAsync(pages.Select((page, i) => Source(l, page, i)), cancellationToken: cancellation).ConfigureAwait(false);
            if (stored.Failures.Count > 0)
            {
                throw new InvalidOperationException($"The document {stored.Failures.First().Key} could not be read.", stored.Failures.First().Value);
            }

            DocumentAnswerer answerer = provider.GetRequiredService<DocumentAnswerer>();
            (string Question, string? Answer, int Page)[] asked = [.. Enumerable.Range(0, QuestionsOfAFolder).Select(_ => Draw(l, pages))];
            Outcome[][] outcomes = new Outcome[asked.Length][];
            await Parallel.ForAsync(0, asked.Length, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellation }, async (n, token) =>
                outcomes[n] = Judge(await answerer.AskAsync(asked[n].Question, cancellationToken: token).ConfigureAwait(false), asked[n], phrasing)).ConfigureAwait(false);
            return [.. outcomes.SelectMany(outcome => outcome)];
        }
        finally
        {
            foreach (string file in Directory.GetFiles(Path.GetTempPath(), Path.GetFileName(database) + "*"))
            {
                File.Delete(file);
            }
        }
    }

    /// <summary>
    /// Right is the value with one citation, of the page that says it; where no page does, that nothing was found. Of questions that have an answer it is also told whether the model got to read
    /// the page, and whether the value is right whatever it cites.
    /// </summary>
    internal static Outcome[] Judge(DocumentAnswer answer, (string Question, string? Answer, int Page) asked, Split phrasing)
    {
        string text = $"{asked.Question}\n{string.Join("\n\n", answer.Passages.Select((p, i) => $"[{i + 1}] {p.Chunk.Text}"))}\nexpected: {asked.Answer ?? "(absent)"}";
        if (asked.Answer is null)
        {
            return [Of("documents: absent answers refused", !answer.Found)];
        }

        int mark = answer.Text.LastIndexOf('[');
        bool value = answer.Found && (mark < 0 ? answer.Text : answer.Text[..mark]).Trim() == asked.Answer;
        return
        [
            Of("documents: answer and source right", value && answer.Citations is [{ } only] && only.Chunk.DocumentId == Id(asked.Page)), Of("documents: answer right, whatever is cited", value),
            Of("documents: page with the answer read", answer.Passages.Any(p => p.Chunk.DocumentId == Id(asked.Page))),
        ];

        Outcome Of(string figure, bool right) => new(figure, phrasing, right, text, answer.Text);
    }

    private static (string Question, string? Answer, int Page) Draw(Lexicon l, Page[] pages)
    {
        int page = l.Random.Next(pages.Length);
        Profile about = l.Pick(pages[page].Profiles);
        (Attribute attribute, string value) = l.Pick(about.Facts);
        return l.Chance(Absent)
            ? (about.AskWhatIsNotSaid(l, attribute), null, page)
            : (s_plain.Fill(l, ("q", attribute.Ask(l, about.Subject))), value, page);
    }

    private static string Id(int page) => $"page{page}";

    private static SourceDocument Source(Lexicon l, Page page, int number) => l.Random.Next(3) switch
    {
        0 => SourceDocument.FromText(Id(number), Documents.Html(page), DocumentFormat.Html),
        1 => new SourceDocument(Id(number), DocumentFormat.Pdf, _ => Task.FromResult(Documents.Pdf(page))),
        _ => SourceDocument.FromText(Id(number), Documents.Markdown(page), DocumentFormat.Markdown),
    };
}
