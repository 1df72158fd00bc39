using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Gemma.Extensions.AI.Rag.Answering;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Rag;

/// <summary>
/// Re-ranks by asking the chat model whether a passage answers the question and comparing its Yes with its No. Some passages draw a Yes whatever is
/// asked, so that what the model says of a passage without a question is taken off. That is asked once a passage and kept.
/// </summary>
/// <remarks>It takes a model that can judge: instruction-tuned, 2B or more. The nano model was not trained to, see the results of the retrieval benchmark.</remarks>
/// <param name="model">The model, shared with the chat client.</param>
public sealed class GemmaReranker(GemmaModel model) : IPassageReranker
{
    private const string NoQuestion = "What is it?";

    /// <summary>Passages whose answer without a question is kept: 16 bytes of hash and 8 of answer each.</summary>
    private const int MaxKept = 100_000;

    private static readonly string[] s_answers = ["Yes", "No"];

    private readonly GemmaModel _model = model ?? throw new ArgumentNullException(nameof(model));
    private readonly ConcurrentDictionary<UInt128, double> _priors = new();

    /// <inheritdoc/>
    public async Task<IReadOnlyList<double>> ScoreAsync(string question, IReadOnlyList<string> passages, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(question);
        ArgumentNullException.ThrowIfNull(passages);
        if (passages.Count == 0)
        {
            return [];
        }

        // The passages are computed side by side; the question comes first, so that all of them share it.
        double[] said = await Task.WhenAll(passages.Select(passage => AskAsync(question, passage, cancellationToken))).ConfigureAwait(false);
        double[] priors = await Task.WhenAll(passages.Select(passage => PriorAsync(passage, cancellationToken))).ConfigureAwait(false);

        // Only how passages differ is taken off: what the model says on average stays, so that a No to all of them stays one.
        double average = priors.Average();
        return [.. said.Zip(priors, (yes, prior) => 1 / (1 + Math.Exp(-(yes - prior + average))))];
    }

    /// <summary>Log-odds of Yes against No, by their first tokens.</summary>
    private async Task<double> AskAsync(string question, string passage, CancellationToken cancellationToken)
    {
        IReadOnlyList<GemmaScore> scores = await _model.ScoreAsync(
            [new ChatMessage(ChatRole.User, PassageFrame.RenderJudgement(question, passage))], s_answers, cancellationToken: cancellationToken).ConfigureAwait(false);
        return scores[0].Logit - scores[1].Logit;
    }

    private async Task<double> PriorAsync(string passage, CancellationToken cancellationToken)
    {
        UInt128 key = BitConverter.ToUInt128(SHA256.HashData(MemoryMarshal.AsBytes(passage.AsSpan())));
        if (!_priors.TryGetValue(key, out double prior))
        {
            prior = await AskAsync(NoQuestion, passage, cancellationToken).ConfigureAwait(false);
            if (_priors.Count >= MaxKept)
            {
                _priors.Clear();
            }

            _priors[key] = prior;
        }

        return prior;
    }
}
