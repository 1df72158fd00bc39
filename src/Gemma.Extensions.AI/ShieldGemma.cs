using Gemma.Extensions.AI.Guard;
using Gemma.Extensions.AI.Hosting;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

/// <summary>
/// Classifies texts by ShieldGemma (2B, 9B, 27B; any Gemma 2 model can be asked): for each policy the probability that the text violates it, from the logits of Yes and No, as its model card says.
/// Nothing is generated. A text is encoded with control tokens off, so that nothing in it ends the frame, and is computed once for all policies. Safe for concurrent use.
/// </summary>
public sealed class ShieldGemma
{
    private readonly ModelReference _model;
    private readonly ShieldGemmaOptions _options;

    /// <summary>A guard over a loaded model, which stays the caller's to dispose.</summary>
    /// <param name="model">The classifier.</param>
    /// <param name="options">Policies and thresholds; null: the four of ShieldGemma at 0.5.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public ShieldGemma(GemmaModel model, ShieldGemmaOptions? options = null) : this(new ModelReference(model ?? throw new ArgumentNullException(nameof(model))), options)
    {
    }

    /// <summary>A guard over the model behind a client, e.g. one registered by a key; it is loaded with the first text.</summary>
    /// <param name="client">A Gemma client, or middleware around one.</param>
    /// <param name="options">Policies and thresholds; null: the four of ShieldGemma at 0.5.</param>
    /// <exception cref="ArgumentException">An option is out of range, or there is no Gemma model behind the client.</exception>
    public ShieldGemma(IChatClient client, ShieldGemmaOptions? options = null) : this(
        (client ?? throw new ArgumentNullException(nameof(client))).GetService<ModelReference>() ?? throw new ArgumentException("There is no Gemma model behind this client. A guard needs the logits of a ShieldGemma model in this process.", nameof(client)), options)
    {
    }

    private ShieldGemma(ModelReference model, ShieldGemmaOptions? options) => (_model, _options) = (model, (options ?? new ShieldGemmaOptions()).Checked());

    internal ShieldGemmaOptions Options => _options;

    /// <summary>Name of the classifier, known without loading it.</summary>
    internal string ModelId => _model.ModelId;

    /// <summary>Classifies what a user says.</summary>
    /// <exception cref="GemmaContextLengthException">The text is longer than the context.</exception>
    public Task<GuardVerdict> CheckPromptAsync(string prompt, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return CheckAsync(prompt, null, cancellationToken);
    }

    /// <summary>Classifies an answer.</summary>
    /// <param name="prompt">What the user said; may be empty.</param>
    /// <param name="response">The answer, or its beginning.</param>
    /// <param name="cancellationToken">Cancels the computation.</param>
    /// <exception cref="GemmaContextLengthException">Both are longer than the context.</exception>
    public Task<GuardVerdict> CheckResponseAsync(string prompt, string response, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        ArgumentNullException.ThrowIfNull(response);
        return CheckAsync(prompt, response, cancellationToken);
    }

    private async Task<GuardVerdict> CheckAsync(string prompt, string? response, CancellationToken cancellationToken)
    {
        using ModelLease lease = await _model.LeaseAsync(cancellationToken).ConfigureAwait(false);
        GemmaModel model = lease.Model;
        GuardFrame frame = new(model.Tokenizer);
        List<GuardScore> scores = [];

        // One after the other: the first computes the text, and the others find it in the prefix cache.
        foreach (GuardPolicy policy in _options.Policies)
        {
            int[] tokens = frame.Encode(prompt, response, policy);
            if (tokens.Length >= model.ContextLength)
            {
                throw new GemmaContextLengthException(tokens.Length, model.ContextLength);
            }

            GemmaModel.TokenScore[] answers = await model.ScoreTokensAsync(tokens, [frame.Yes, frame.No], _options.Adapter, cancellationToken).ConfigureAwait(false);
            scores.Add(new GuardScore(policy.Name, 1 / (1 + Math.Exp(answers[1].LogProbability - answers[0].LogProbability)), _options.ThresholdOf(policy)));
        }

        return new GuardVerdict(scores);
    }
}
