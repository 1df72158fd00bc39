using System.Globalization;
using System.Linq.Expressions;
using System.Runtime.CompilerServices;
using System.Text;
using Gemma.Extensions.AI.Rag.Answering;
using Microsoft.Extensions.AI;
using Microsoft.ML.Tokenizers;

namespace Gemma.Extensions.AI.Rag;

/// <summary>Options of a <see cref="DocumentAnswerer"/>.</summary>
public sealed class DocumentAnswererOptions
{
    /// <summary>Most passages that the model reads for an answer.</summary>
    public int MaxPassages { get; set; } = 5;

    /// <summary>Most tokens of all passages together; fewer are packed where the model's context is smaller.</summary>
    public int MaxPassageTokens { get; set; } = 2048;

    /// <summary>Most tokens of an answer.</summary>
    public int MaxOutputTokens { get; set; } = 512;

    /// <summary>
    /// Least <see cref="RetrievedPassage.Relevance"/> of passages that are read, where the retriever has a re-ranker; if none has it, the answer is that
    /// the documents don't say. With the nano model, a weak judge, 0.2 refuses 1% of the questions of the project's corpus that have an answer and stops
    /// 26% of those about other subjects; with <see cref="MinEvidence"/> together 4% and 42%.
    /// </summary>
    public double MinRelevance { get; set; } = 0.2;

    /// <summary>
    /// Least <see cref="RetrievedPassage.Evidence"/> of the best passage, in words that it shares with the question; below it the answer is that the
    /// documents don't say and the model is not asked. On the project's corpus 1 refuses 3% of the questions that have an answer and stops 38% of those
    /// about other subjects; what the documents' own subjects leave open no word can tell, only a model that reads. 0 turns the check off, as is right for
    /// questions in another language than the documents, and for embeddings that find what shares no word.
    /// </summary>
    public double MinEvidence { get; set; } = 1;

    /// <summary>
    /// The same for stores that do not tell how often words occur: least part of the question's content words that the best passage holds, 0 to 1.
    /// </summary>
    public double MinTermCoverage { get; set; } = 0.2;

    /// <summary>
    /// Least <see cref="RetrievedPassage.Evidence"/> of a passage that is read, as a part of the best one's, 0 to 1: what shares much less with the question than the best passage
    /// distracts a small model more than it tells. Four times as many passages are searched for then, so that others come in the place of those left out. On the project's corpus the model reads
    /// 2.6 passages instead of five with 0.5, and the answer is among them for 89% of the questions instead of 86% where words and the nano model's vectors search, for 92% as before where words do. 0 reads all that were found, as is right where vectors find what words do not; where a re-ranker judges, its word counts instead.
    /// </summary>
    public double MinRelativeEvidence { get; set; }

    /// <summary>
    /// Compare each citation with the passage that it names. Where that lacks words of the statement, of those that the question does not have, and exactly one other passage that was read
    /// holds them all, the citation is set to that one. No citation is added, and none is changed where the words do not tell.
    /// </summary>
    public bool CheckCitations { get; set; } = true;

    /// <summary>The answer when the documents don't hold one.</summary>
    public string NotFoundText { get; set; } = "That is not in the documents.";

    /// <summary>Options of the chat call, cloned for every question; temperature 0 unless set here.</summary>
    public ChatOptions? ChatOptions { get; set; }
}

/// <summary>An answer with its sources.</summary>
/// <param name="Text">The answer; numbers in brackets are citations.</param>
/// <param name="Found">False: the documents don't hold the answer, and the text says so.</param>
/// <param name="Citations">What the text cites, in order of first use.</param>
/// <param name="Passages">What the model read, by number from 1.</param>
/// <param name="Usage">Tokens used; null where the model was not asked or doesn't say.</param>
public sealed record DocumentAnswer(string Text, bool Found, IReadOnlyList<Citation> Citations, IReadOnlyList<RetrievedPassage> Passages, UsageDetails? Usage)
{
    /// <summary>
    /// The text as content of a message. Each citation is a <see cref="CitationAnnotation"/>: title, document (<see cref="CitationAnnotation.FileId"/>, and
    /// <see cref="CitationAnnotation.Url"/> where its name is one), the passage as snippet, the places of its numbers in the text as regions, and
    /// <c>number</c>, <c>page</c>, <c>line</c> and <c>section</c> as additional properties.
    /// </summary>
    public TextContent ToTextContent() => new(Text) { Annotations = [.. Citations.Select(c => c.ToAnnotation(Text))] };
}

/// <summary>A piece of an answer that is being written.</summary>
/// <param name="Text">The next characters.</param>
/// <param name="Answer">The whole answer, with the last piece only.</param>
public sealed record DocumentAnswerUpdate(string Text, DocumentAnswer? Answer = null);

/// <summary>Answers questions from documents with citations, and says so where the documents don't hold the answer. Safe for concurrent use.</summary>
public sealed class DocumentAnswerer
{
    /// <summary>A re-ranker that is so sure needs no shared words: the question may be put in others.</summary>
    private const double Sure = 0.9;

    /// <summary>Passages that are searched for in place of one that is read, where those far below the best are left out.</summary>
    private const int Candidates = 4;

    private readonly DocumentRetriever _retriever;
    private readonly IChatClient _chat;
    private readonly Tokenizer _tokenizer;
    private readonly DocumentAnswererOptions _options;

    /// <summary>Prepares answers.</summary>
    /// <param name="retriever">Finds passages.</param>
    /// <param name="chat">Writes the answer.</param>
    /// <param name="tokenizer">The chat model's tokenizer.</param>
    /// <param name="options">How questions are answered.</param>
    public DocumentAnswerer(DocumentRetriever retriever, IChatClient chat, Tokenizer tokenizer, DocumentAnswererOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(retriever);
        ArgumentNullException.ThrowIfNull(chat);
        ArgumentNullException.ThrowIfNull(tokenizer);
        _options = options ?? new DocumentAnswererOptions();
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.MaxPassages, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.MaxOutputTokens, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.MinRelativeEvidence, 0, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(_options.MinRelativeEvidence, 1, nameof(options));
        ArgumentException.ThrowIfNullOrWhiteSpace(_options.NotFoundText, nameof(options));
        _retriever = retriever;
        _chat = chat;
        _tokenizer = tokenizer;
    }

    /// <summary>Answers a question.</summary>
    /// <param name="question">The question.</param>
    /// <param name="filter">Restricts the passages.</param>
    /// <param name="cancellationToken">Cancels the answer.</param>
    public async Task<DocumentAnswer> AskAsync(string question, Expression<Func<DocumentChunk, bool>>? filter = null, CancellationToken cancellationToken = default)
    {
        DocumentAnswer? answer = null;
        await foreach (DocumentAnswerUpdate update in AskStreamingAsync(question, filter, cancellationToken).ConfigureAwait(false))
        {
            answer = update.Answer ?? answer;
        }

        return answer!;
    }

    /// <summary>Answers a question as it is written. The last update carries the whole answer.</summary>
    /// <param name="question">The question.</param>
    /// <param name="filter">Restricts the passages.</param>
    /// <param name="cancellationToken">Cancels the answer.</param>
    /// <exception cref="GemmaRagException">Passages were found, but not even one fits into the model's context beside the question.</exception>
    public async IAsyncEnumerable<DocumentAnswerUpdate> AskStreamingAsync(
        string question, Expression<Func<DocumentChunk, bool>>? filter = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(question);
        int top = _options.MinRelativeEvidence > 0 && !_retriever.HasReranker ? (int)Math.Min(Candidates * (long)_options.MaxPassages, int.MaxValue) : _options.MaxPassages;
        IReadOnlyList<RetrievedPassage> found = await _retriever.SearchAsync(question, top, filter, cancellationToken).ConfigureAwait(false);
        List<RetrievedPassage> passages = Pack(question, Relevant(found).Take(_options.MaxPassages));
        if (passages.Count == 0)
        {
            yield return new DocumentAnswerUpdate(_options.NotFoundText, new DocumentAnswer(_options.NotFoundText, false, [], [], null));
            yield break;
        }

        CitationFilter filterText = new(passages.Count, _options.CheckCitations ? new CitationCheck(question, passages.Select(p => p.Chunk.Text)).Check : null);
        StringBuilder text = new();
        UsageDetails? usage = null;
        await foreach (ChatResponseUpdate update in _chat.GetStreamingResponseAsync(Prompt(question, passages), ChatOptions(passages.Count), cancellationToken).ConfigureAwait(false))
        {
            foreach (UsageContent content in update.Contents.OfType<UsageContent>())
            {
                (usage ??= new UsageDetails()).Add(content.Details);
            }

            if (filterText.Push(update.Text) is { Length: > 0 } piece)
            {
                text.Append(piece);
                yield return new DocumentAnswerUpdate(piece);
            }
        }

        string rest = filterText.Flush();
        string whole = text.Append(rest).ToString().Trim();
        bool answered = whole.Length > 0 && !whole.StartsWith(_options.NotFoundText.TrimEnd('.'), StringComparison.OrdinalIgnoreCase);
        Citation[] citations = answered ? [.. filterText.Cited.Select(n => new Citation(n, passages[n - 1].Chunk))] : [];
        if (whole.Length == 0)
        {
            rest = whole = _options.NotFoundText;
        }

        yield return new DocumentAnswerUpdate(rest, new DocumentAnswer(whole, answered, citations, passages, usage));
    }

    /// <summary>Search and judge decide together: the words must say something, or a re-ranker be sure, and no re-ranker may say no.</summary>
    private IEnumerable<RetrievedPassage> Relevant(IReadOnlyList<RetrievedPassage> found)
    {
        double least = _options.MinRelativeEvidence * found.Max(p => p.Evidence) ?? 0;
        return found.Any(p => p.Relevance >= Sure || (p.Evidence is { } evidence ? evidence >= _options.MinEvidence : p.TermCoverage >= _options.MinTermCoverage))
            ? found.Where(p => p.Relevance is null ? p.Evidence is null || p.Evidence >= least : p.Relevance >= _options.MinRelevance)
            : [];
    }

    /// <summary>
    /// The best passages that fit, in the order of their documents: two questions that find the same passages share their prompt up to the
    /// question, so that the second reads it from the prefix cache.
    /// </summary>
    private List<RetrievedPassage> Pack(string question, IEnumerable<RetrievedPassage> relevant)
    {
        int context = (_chat.GetService(typeof(GemmaModel)) as GemmaModel)?.ContextLength ?? int.MaxValue;

        // The turn markers of the template and the words around the passages take some 32 tokens.
        int room = context - OutputTokens(context) - _tokenizer.CountTokens(Instruction(_options.NotFoundText)) - _tokenizer.CountTokens(question) - 32;
        int budget = Math.Min(_options.MaxPassageTokens, room);
        bool any = false;
        List<RetrievedPassage> packed = [];
        foreach (RetrievedPassage passage in relevant)
        {
            any = true;

            // Number, brackets and blank line around a passage.
            int tokens = _tokenizer.CountTokens(PassageFrame.Escape(passage.Chunk.Text)) + 6;
            if (tokens <= budget)
            {
                packed.Add(passage);
                budget -= tokens;
            }
        }

        if (any && room <= 0)
        {
            throw new GemmaRagException(
                $"The question takes {_tokenizer.CountTokens(question):N0} tokens and the instruction {_tokenizer.CountTokens(Instruction(_options.NotFoundText)):N0}, which leaves no room for passages in a context of {context:N0}, of which {OutputTokens(context):N0} are kept for the answer. Ask a shorter question, or use a model with a longer context.");
        }

        if (any && packed.Count == 0)
        {
            throw new GemmaRagException(
                $"No passage that was found fits into {budget:N0} tokens (context {context:N0}, MaxPassageTokens {_options.MaxPassageTokens:N0}). Ingest with a smaller DocumentIngestorOptions.MaxTokens, or use a model with a longer context.");
        }

        return [.. packed.OrderBy(p => p.Chunk.DocumentId, StringComparer.Ordinal).ThenBy(p => p.Chunk.Ordinal)];
    }

    /// <summary>An answer may take a quarter of a small context, so that passages have the rest.</summary>
    private int OutputTokens(int context) => Math.Min(_options.MaxOutputTokens, context / 4);

    /// <summary>Instruction of the model.</summary>
    /// <param name="notFound">Its answer where the passages do not hold one.</param>
    internal static string Instruction(string notFound) =>
        "Answer the question from the numbered passages only. After each statement, cite the passage it comes from with its number in brackets, like [1]. " +
        $"If the passages do not hold the answer, reply exactly: {notFound}";

    private ChatMessage[] Prompt(string question, List<RetrievedPassage> passages) =>
        [new ChatMessage(ChatRole.System, Instruction(_options.NotFoundText)), new ChatMessage(ChatRole.User, PassageFrame.Render(question.Trim(), passages.Select(p => p.Chunk.Text)))];

    private ChatOptions ChatOptions(int passages)
    {
        ChatOptions options = _options.ChatOptions?.Clone() ?? new ChatOptions();
        options.Temperature ??= 0;
        if (_chat.GetService(typeof(GemmaModel)) is not GemmaModel model)
        {
            options.MaxOutputTokens ??= _options.MaxOutputTokens;
            return options;
        }

        options.MaxOutputTokens ??= OutputTokens(model.ContextLength);
        if (options.ResponseFormat is null or ChatResponseFormatText && options.Tools is not { Count: > 0 })
        {
            Func<IChatClient, object?>? inner = options.RawRepresentationFactory;
            options.RawRepresentationFactory = client =>
            {
                GemmaGenerationOptions raw = inner?.Invoke(client) as GemmaGenerationOptions ?? new GemmaGenerationOptions();
                raw.Regex ??= CitationRegex(passages);
                return raw;
            };
        }

        return options;
    }

    /// <summary>Text in which a bracket can only be the citation of a passage that exists.</summary>
    internal static string CitationRegex(int passages) =>
        $@"([^\[]|\[({string.Join('|', Enumerable.Range(1, passages).Select(n => n.ToString(CultureInfo.InvariantCulture)))})\])*";
}
