using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

public sealed partial class GemmaModel
{
    /// <summary>
    /// Continues a text as it stands, without turns or a chat template: for base models, and for models with a prompt format of their own.
    /// </summary>
    /// <param name="prompt">
    /// The text; bos is added where it does not begin with it. Turn markers and other control tokens in it count as such, so never pass what users wrote unchecked.
    /// </param>
    /// <param name="options">
    /// As for a chat: sampling, limits, stop sequences, <see cref="ChatOptions.ResponseFormat"/>, and a <see cref="GemmaGenerationOptions"/> from
    /// <see cref="ChatOptions.RawRepresentationFactory"/>, which is called with null. Tools and instructions are refused: nothing tells the model of them.
    /// </param>
    /// <param name="cancellationToken">Ends the generation.</param>
    /// <returns>The continuation, without the prompt.</returns>
    /// <exception cref="ArgumentException">The prompt is empty, or an option is out of range.</exception>
    /// <exception cref="GemmaContextLengthException">The prompt leaves no room in the context.</exception>
    /// <exception cref="GemmaOverloadedException">Too many requests wait already.</exception>
    /// <exception cref="NotSupportedException">The options hold tools or instructions.</exception>
    public Task<ChatResponse> CompleteAsync(string prompt, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        Complete(prompt, options, isStreaming: false, cancellationToken).ToChatResponseAsync(cancellationToken);

    /// <inheritdoc cref="CompleteAsync(string, ChatOptions, CancellationToken)" path="//summary | //returns | //exception | //remarks"/>
    /// <param name="promptTokens">Token ids, taken as they are: begin them with <see cref="GemmaTokenizer.BosId"/>, as every model expects.</param>
    /// <param name="options">As for a chat, without tools and instructions.</param>
    /// <param name="cancellationToken">Ends the generation.</param>
    public Task<ChatResponse> CompleteAsync(IReadOnlyList<int> promptTokens, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        Complete(promptTokens, options, isStreaming: false, cancellationToken).ToChatResponseAsync(cancellationToken);

    /// <inheritdoc cref="CompleteAsync(string, ChatOptions, CancellationToken)"/>
    public IAsyncEnumerable<ChatResponseUpdate> CompleteStreamingAsync(string prompt, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        Complete(prompt, options, isStreaming: true, cancellationToken);

    /// <inheritdoc cref="CompleteAsync(IReadOnlyList{int}, ChatOptions, CancellationToken)"/>
    public IAsyncEnumerable<ChatResponseUpdate> CompleteStreamingAsync(IReadOnlyList<int> promptTokens, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        Complete(promptTokens, options, isStreaming: true, cancellationToken);

    private IAsyncEnumerable<ChatResponseUpdate> Complete(string prompt, ChatOptions? options, bool isStreaming, CancellationToken cancellationToken)
    {
        return Complete(RawPrompt(prompt), options, isStreaming, cancellationToken);
    }

    private IAsyncEnumerable<ChatResponseUpdate> Complete(IReadOnlyList<int> promptTokens, ChatOptions? options, bool isStreaming, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(promptTokens);
        return CompleteAsync([.. promptTokens], options?.Clone(), isStreaming, cancellationToken);
    }

    private async IAsyncEnumerable<ChatResponseUpdate> CompleteAsync(int[] promptTokens, ChatOptions? options, bool isStreaming, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        GemmaGenerationOptions? raw = options?.RawRepresentationFactory?.Invoke(null!) as GemmaGenerationOptions;
        ChatTurn turn = await ChatTurn.ContinueAsync(this, promptTokens, options, raw, cancellationToken).ConfigureAwait(false);
        await foreach (ChatResponseUpdate update in AnswerStream.RunAsync(this, turn, isStreaming, cancellationToken).ConfigureAwait(false))
        {
            yield return update;
        }
    }

    /// <summary>Bos and the tokens of a text whose control tokens count.</summary>
    /// <exception cref="ArgumentException">The text is empty.</exception>
    internal int[] RawPrompt(string prompt)
    {
        ArgumentException.ThrowIfNullOrEmpty(prompt);
        List<int> tokens = [Tokenizer.BosId];
        string bos = Tokenizer.GetPiece(Tokenizer.BosId);
        Tokenizer.Encode(prompt.StartsWith(bos, StringComparison.Ordinal) ? prompt[bos.Length..] : prompt, tokens, matchSpecial: true);
        return [.. tokens];
    }
}
