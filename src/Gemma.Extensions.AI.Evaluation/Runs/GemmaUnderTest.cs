using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Evaluation.Runs;

/// <summary>A Gemma model in this process: prompts as they stand behind bos, as lm-evaluation-harness asks, or as the question of a chat.</summary>
internal sealed class GemmaUnderTest : IEvaluatedModel
{
    private readonly GemmaModel _model;
    private readonly bool _asChat;
    private readonly string? _adapter;

    public GemmaUnderTest(GemmaModel model, bool asChat, string? adapter)
    {
        (_model, _asChat, _adapter) = (model, asChat, adapter);
        Facts = new EvaluatedModelFacts(model.ModelId, FileHash.Of(model.Path), asChat ? model.ChatFormat.Name : "none", model.KernelName, adapter, model.FindAdapter(adapter) is { } weights ? FileHash.Of(weights.Path) : null);
    }

    public EvaluatedModelFacts Facts { get; }

    private int[] Bos => [_model.Tokenizer.BosId];

    public async Task<(double[] LogLikelihoods, bool Truncated)> ScoreAsync(IReadOnlyList<string> contexts, IReadOnlyList<string> continuations, CancellationToken cancellationToken)
    {
        bool truncated = false;
        if (contexts.Count == 1)
        {
            (int[] Prompt, int[] Continuation)[] pairs = [.. continuations.Select(continuation => Encode(contexts[0], continuation, ref truncated))];
            int[] prompt = pairs[0].Prompt;
            if (pairs.All(pair => pair.Prompt.AsSpan().SequenceEqual(prompt)))
            {
                GemmaModel.TokenScore[] scores = await _model.ScoreTokensAsync(prompt, [.. pairs.Select(pair => pair.Continuation)], _adapter, cancellationToken).ConfigureAwait(false);
                return ([.. scores.Select(score => score.LogProbability)], truncated);
            }
        }

        double[] each = new double[continuations.Count];
        for (int i = 0; i < each.Length; i++)
        {
            (int[] prompt, int[] continuation) = Encode(contexts[contexts.Count == 1 ? 0 : i], continuations[i], ref truncated);
            each[i] = (await _model.ScoreTokensAsync(prompt, [continuation], _adapter, cancellationToken).ConfigureAwait(false))[0].LogProbability;
        }

        return (each, truncated);
    }

    public async Task<(string Text, bool Truncated)> WriteAsync(string prompt, IReadOnlyList<string> stop, int maxTokens, CancellationToken cancellationToken)
    {
        ChatOptions options = new() { Temperature = 0, MaxOutputTokens = maxTokens, StopSequences = [.. stop], AdditionalProperties = _adapter is null ? null : new() { ["adapter"] = _adapter } };
        bool truncated = false;
        int[] tokens = Fit(_asChat ? Opened(prompt) : [.. Bos, .. _model.Tokenizer.EncodeContent(prompt)], maxTokens, ref truncated);
        return ((await _model.CompleteAsync(tokens, _asChat ? WithEnd(options) : options, cancellationToken).ConfigureAwait(false)).Text, truncated);
    }

    public async Task<ChatResponse> CallAsync(string prompt, IReadOnlyList<AITool> tools, int maxTokens, CancellationToken cancellationToken)
    {
        if (!_asChat)
        {
            throw new NotSupportedException("The task offers functions, which the model knows in chats only: ask by its chat format (EvaluationOptions.AsChat, --chat).");
        }

        ChatOptions options = new() { Temperature = 0, MaxOutputTokens = maxTokens, Tools = [.. tools], AdditionalProperties = _adapter is null ? null : new() { ["adapter"] = _adapter } };
        using IChatClient client = _model.AsIChatClient();
        return await client.GetResponseAsync(prompt, options, cancellationToken).ConfigureAwait(false);
    }

    public async Task<double> PredictAsync(string text, CancellationToken cancellationToken)
    {
        // As lm-evaluation-harness cuts long texts: every token counts once; behind the first window one token stands before each, before the last as many as fit.
        int[] tokens = [.. _model.Tokenizer.EncodeContent(text)];
        int window = _model.ContextLength;
        double sum = 0;
        for (int start = 0; start < tokens.Length; start += window)
        {
            int end = Math.Min(start + window, tokens.Length);
            int[] before = start == 0 ? Bos : tokens[(end - window - 1)..start];
            sum += (await _model.ScoreTokensAsync(before, [tokens[start..end]], _adapter, cancellationToken).ConfigureAwait(false))[0].LogProbability;
        }

        return sum;
    }

    /// <summary>
    /// Prompt and continuation as lm-evaluation-harness cuts them: white space at the end of the prompt belongs to the continuation, and both are encoded as one text. In a chat the continuation
    /// begins the answer, without the white space before it.
    /// </summary>
    private (int[] Prompt, int[] Continuation) Encode(string context, string continuation, ref bool truncated)
    {
        int[] prompt, tokens;
        if (_asChat)
        {
            prompt = Opened(context);
            tokens = [.. _model.Tokenizer.EncodeContent(continuation.TrimStart())];
        }
        else
        {
            string trimmed = context.TrimEnd();
            continuation = context[trimmed.Length..] + continuation;
            int[] before = [.. _model.Tokenizer.EncodeContent(trimmed)], whole = [.. _model.Tokenizer.EncodeContent(trimmed + continuation)];
            prompt = [.. Bos, .. before];
            tokens = whole.Length > before.Length ? whole[before.Length..] : [.. _model.Tokenizer.EncodeContent(continuation)];
        }

        return tokens.Length > 0 ? (Fit(prompt, tokens.Length, ref truncated), tokens) : throw new FormatException($"A choice is empty: '{continuation}'.");
    }

    /// <summary>A prompt that leaves no room loses tokens behind its first one, as harnesses do.</summary>
    private int[] Fit(int[] prompt, int continuation, ref bool truncated)
    {
        int room = _model.ContextLength - continuation;
        if (prompt.Length <= room)
        {
            return prompt;
        }

        if (room < 2)
        {
            throw new GemmaContextLengthException(prompt.Length + continuation, _model.ContextLength);
        }

        truncated = true;
        return [prompt[0], .. prompt[^(room - 1)..]];
    }

    private int[] Opened(string question) => ChatTemplate.Render(_model.ChatFormat, [new ChatMessage(ChatRole.User, question)]).Tokens;

    /// <summary>Where no token ends a turn of the format, its text does.</summary>
    private ChatOptions WithEnd(ChatOptions options)
    {
        if (_model.ChatFormat is { EndId: < 0, EndMarker: { } marker })
        {
            options.StopSequences!.Add(marker);
        }

        return options;
    }
}
