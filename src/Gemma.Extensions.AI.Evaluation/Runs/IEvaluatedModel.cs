using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Evaluation.Runs;

/// <summary>The operations that a task needs of a model.</summary>
internal interface IEvaluatedModel
{
    /// <summary>Its identity.</summary>
    EvaluatedModelFacts Facts { get; }

    /// <summary>Natural logarithms of the probabilities of continuations, each behind its context, or all behind the only one.</summary>
    Task<(double[] LogLikelihoods, bool Truncated)> ScoreAsync(IReadOnlyList<string> contexts, IReadOnlyList<string> continuations, CancellationToken cancellationToken);

    /// <summary>Continues a prompt greedily.</summary>
    Task<(string Text, bool Truncated)> WriteAsync(string prompt, IReadOnlyList<string> stop, int maxTokens, CancellationToken cancellationToken);

    /// <summary>Answers a question of a chat greedily, with functions to call.</summary>
    Task<ChatResponse> CallAsync(string prompt, IReadOnlyList<AITool> tools, int maxTokens, CancellationToken cancellationToken);

    /// <summary>Natural logarithm of the probability of a text.</summary>
    Task<double> PredictAsync(string text, CancellationToken cancellationToken);
}
