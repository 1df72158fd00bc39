namespace Gemma.Extensions.AI.AspNetCore;

/// <summary>Says how well documents answer a question, for <c>POST /v1/rerank</c>. <c>GemmaReranker.ScoreAsync</c> of the package Gemma.Extensions.AI.Rag is one.</summary>
/// <param name="query">The question.</param>
/// <param name="documents">The documents, at least one.</param>
/// <param name="cancellationToken">Cancelled when the client is gone.</param>
/// <returns>A score for each document in their order; more is better.</returns>
public delegate Task<IReadOnlyList<double>> GemmaRerank(string query, IReadOnlyList<string> documents, CancellationToken cancellationToken);
