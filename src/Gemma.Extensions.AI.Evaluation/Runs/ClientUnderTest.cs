using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Evaluation.Runs;

/// <summary>Any chat client: it writes answers, but tells no likelihoods.</summary>
internal sealed class ClientUnderTest(IChatClient client) : IEvaluatedModel
{
    public EvaluatedModelFacts Facts { get; } = new(client.GetService<ChatClientMetadata>()?.DefaultModelId ?? client.GetType().Name, null, "client", null, null);

    public Task<(double[] LogLikelihoods, bool Truncated)> ScoreAsync(IReadOnlyList<string> contexts, IReadOnlyList<string> continuations, CancellationToken cancellationToken) => throw NoLikelihoods();

    public Task<double> PredictAsync(string text, CancellationToken cancellationToken) => throw NoLikelihoods();

    public async Task<(string Text, bool Truncated)> WriteAsync(string prompt, IReadOnlyList<string> stop, int maxTokens, CancellationToken cancellationToken)
    {
        ChatResponse response = await client.GetResponseAsync(prompt, new ChatOptions { Temperature = 0, MaxOutputTokens = maxTokens, StopSequences = [.. stop] }, cancellationToken).ConfigureAwait(false);
        string text = response.Text;

        // Not every service knows stop sequences.
        int end = stop.Select(part => text.IndexOf(part, StringComparison.Ordinal)).Where(at => at >= 0).DefaultIfEmpty(text.Length).Min();
        return (text[..end], false);
    }

    public Task<ChatResponse> CallAsync(string prompt, IReadOnlyList<AITool> tools, int maxTokens, CancellationToken cancellationToken) =>
        client.GetResponseAsync(prompt, new ChatOptions { Temperature = 0, MaxOutputTokens = maxTokens, Tools = [.. tools] }, cancellationToken);

    private NotSupportedException NoLikelihoods() => new(
        $"The task needs likelihoods, which the chat client of '{Facts.Model}' does not tell. Run it on a GemmaModel, or choose a task whose answers are written.");
}
