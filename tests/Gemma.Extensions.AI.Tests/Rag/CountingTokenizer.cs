using Microsoft.ML.Tokenizers;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>A token a character; counts the characters that it is given.</summary>
internal sealed class CountingTokenizer : Tokenizer
{
    private int _calls;

    public long Read { get; private set; }

    public Action<int>? Asked { get; set; }

    protected override EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        ReadOnlySpan<char> given = text ?? textSpan;
        Read += given.Length;
        Asked?.Invoke(++_calls);
        int count = Math.Min(given.Length, settings.MaxTokenCount);
        return new EncodeResults<EncodedToken>
        {
            Tokens = [.. Enumerable.Range(0, count).Select(i => new EncodedToken(0, "x", new Range(i, i + 1)))],
            CharsConsumed = count,
        };
    }

    public override string Decode(IEnumerable<int> ids) => "";

    public override System.Buffers.OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
    {
        idsConsumed = charsWritten = 0;
        return System.Buffers.OperationStatus.Done;
    }
}
