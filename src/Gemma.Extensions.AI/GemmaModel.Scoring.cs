using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

/// <summary>Likelihood of a continuation.</summary>
/// <param name="Continuation">The text that was scored.</param>
/// <param name="LogProbability">Natural logarithm of the probability that the model writes exactly this after the prompt: the sum over its tokens.</param>
/// <param name="Probability">Its share among the continuations that were scored together; these sum to 1.</param>
/// <param name="Logit">Logit of its first token, after the final soft cap.</param>
/// <param name="Tokens">Its number of tokens.</param>
public sealed record GemmaScore(string Continuation, double LogProbability, double Probability, float Logit, int Tokens);

public sealed partial class GemmaModel
{
    /// <summary>
    /// Scores how the model would go on after a conversation: classification by Yes and No, choosing among labels. Generates nothing. Where every
    /// continuation is one token, that is one pass over the prompt; longer ones share the prompt's computation.
    /// </summary>
    /// <param name="messages">The conversation; the model's turn comes next, or goes on where the last message is its.</param>
    /// <param name="continuations">Beginnings of the model's answer to compare, at least one.</param>
    /// <param name="adapter">Name of the adapter to compute with; null: the base model.</param>
    /// <param name="cancellationToken">Cancels the computation.</param>
    /// <returns>A score for each continuation, in the order given.</returns>
    /// <exception cref="ArgumentException">There is no continuation, or one is empty; or there is no such adapter.</exception>
    /// <exception cref="GemmaContextLengthException">Prompt and continuation are longer than the context.</exception>
    public Task<IReadOnlyList<GemmaScore>> ScoreAsync(IEnumerable<ChatMessage> messages, IReadOnlyList<string> continuations, string? adapter = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        return ScoreAsync(ChatTemplate.Render(ChatFormat, messages).Tokens, continuations, adapter, cancellationToken);
    }

    /// <inheritdoc cref="ScoreAsync(IEnumerable{ChatMessage}, IReadOnlyList{string}, string, CancellationToken)" path="//summary | //returns | //exception | //remarks"/>
    /// <param name="prompt">Text that the model goes on from, without a chat template; bos is added where the text does not begin with it. Turn markers in it count as such: never pass what users wrote unchecked.</param>
    /// <param name="continuations">Texts to compare, at least one.</param>
    /// <param name="adapter">Name of the adapter to compute with; null: the base model.</param>
    /// <param name="cancellationToken">Cancels the computation.</param>
    public Task<IReadOnlyList<GemmaScore>> ScoreAsync(string prompt, IReadOnlyList<string> continuations, string? adapter = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return ScoreAsync(RawPrompt(prompt), continuations, adapter, cancellationToken);
    }

    /// <inheritdoc cref="ScoreAsync(IEnumerable{ChatMessage}, IReadOnlyList{string}, string, CancellationToken)" path="//summary | //returns | //exception | //remarks"/>
    /// <param name="promptTokens">Token ids, taken as they are: begin them with <see cref="GemmaTokenizer.BosId"/>, as every model expects.</param>
    /// <param name="continuations">Texts to compare, at least one.</param>
    /// <param name="adapter">Name of the adapter to compute with; null: the base model.</param>
    /// <param name="cancellationToken">Cancels the computation.</param>
    public Task<IReadOnlyList<GemmaScore>> ScoreAsync(IReadOnlyList<int> promptTokens, IReadOnlyList<string> continuations, string? adapter = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(promptTokens);
        return promptTokens.Count > 0 ? ScoreAsync([.. promptTokens], continuations, adapter, cancellationToken)
            : throw new ArgumentException("The prompt has no tokens. Pass at least bos, GemmaTokenizer.BosId.", nameof(promptTokens));
    }

    /// <summary>Scores continuations that are encoded already, each of at least one token, after a prompt of at least one.</summary>
    internal async Task<TokenScore[]> ScoreTokensAsync(int[] prompt, IReadOnlyList<int[]> continuations, string? adapter, CancellationToken cancellationToken)
    {
        LoraWeights? weights = FindAdapter(adapter);

        // Every continuation begins after the same prompt: its last position is computed once and gives all first tokens.
        ScoreReader first = new(prompt.Length - 1, [.. continuations.Select(tokens => tokens[0])]);
        await Engine.EvaluateAsync(prompt, first, cancellationToken, weights).ConfigureAwait(false);
        double[] rest = await EngineCalls.RunAsync(continuations, async (tokens, token) =>
        {
            if (tokens.Length == 1)
            {
                return 0;
            }

            // The logits at a token say what comes after it, so the last token is not needed as input.
            SequenceReader reader = new(prompt.Length, tokens);
            await Engine.EvaluateAsync([.. prompt, .. tokens[..^1]], reader, token, weights).ConfigureAwait(false);
            return reader.LogProbability;
        }, cancellationToken).ConfigureAwait(false);
        return [.. rest.Select((sum, i) => new TokenScore(first.LogProbabilities[i] + sum, first.Logits[i]))];
    }

    private async Task<IReadOnlyList<GemmaScore>> ScoreAsync(int[] prompt, IReadOnlyList<string> continuations, string? adapter, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(continuations);
        int[][] tokens = [.. continuations.Select(c => string.IsNullOrEmpty(c) ? throw new ArgumentException("A continuation is empty.", nameof(continuations)) : Tokenizer.Encode(c, matchSpecial: false))];
        if (tokens.Length == 0)
        {
            throw new ArgumentException("There is no continuation to score. Pass at least one.", nameof(continuations));
        }

        TokenScore[] scores = await ScoreTokensAsync(prompt, tokens, adapter, cancellationToken).ConfigureAwait(false);
        double best = scores.Max(score => score.LogProbability);
        double total = scores.Sum(score => Math.Exp(score.LogProbability - best));
        return [.. continuations.Select((c, i) => new GemmaScore(c, scores[i].LogProbability, Math.Exp(scores[i].LogProbability - best) / total, scores[i].Logit, tokens[i].Length))];
    }

    /// <summary>Log probability of a continuation, and the logit of its first token.</summary>
    internal readonly record struct TokenScore(double LogProbability, float Logit);

    /// <summary>Reads some tokens' logits at one position.</summary>
    private sealed class ScoreReader(int position, int[] tokens) : RowReader
    {
        public float[] Logits { get; } = new float[tokens.Length];

        public double[] LogProbabilities { get; } = new double[tokens.Length];

        public override int FirstPosition => position;

        public override bool WantsHidden => false;

        public override void OnRow(int position, ReadOnlySpan<float> values)
        {
            double total = TokenLogProbabilities.LogSumExp(values);
            for (int i = 0; i < tokens.Length; i++)
            {
                Logits[i] = values[tokens[i]];
                LogProbabilities[i] = Logits[i] - total;
            }
        }
    }

    /// <summary>Sums the log probabilities of a continuation's tokens after the first.</summary>
    private sealed class SequenceReader(int start, int[] tokens) : RowReader
    {
        public double LogProbability { get; private set; }

        public override int FirstPosition => start;

        public override bool WantsHidden => false;

        public override void OnRow(int position, ReadOnlySpan<float> values) => LogProbability += values[tokens[position - start + 1]] - TokenLogProbabilities.LogSumExp(values);
    }
}
