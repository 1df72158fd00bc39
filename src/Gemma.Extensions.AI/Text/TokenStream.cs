using System.Buffers;
using System.Text;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// Turns tokens into text as they come. A character whose bytes are spread over several tokens appears once it is whole; a byte that
/// belongs to no character becomes U+FFFD, one for each byte as SentencePiece does. A mutable value: keep it in a field, pass it by reference.
/// </summary>
internal struct TokenStream(GemmaTokenizer tokenizer)
{
    private uint _pending; // bytes of an unfinished character, the first lowest
    private int _pendingCount;

    /// <summary>True if the last tokens left a character unfinished.</summary>
    public readonly bool HasPending => _pendingCount > 0;

    /// <summary>Appends what the token completes.</summary>
    public void Append(int token, StringBuilder text)
    {
        ReadOnlySpan<byte> bytes = tokenizer.GetBytes(token);
        if (tokenizer.GetKind(token) == TokenKind.Byte)
        {
            _pending |= (uint)bytes[0] << (8 * _pendingCount++);
            Drain(text, last: false);
            return;
        }

        // Only runs of byte pieces spell characters together: pieces are whole characters.
        Flush(text);
        Span<char> chars = stackalloc char[TokenizerVocabulary.MaxPieceBytes];
        text.Append(chars[..Encoding.UTF8.GetChars(bytes, chars)]);
    }

    /// <summary>Appends the rest at the end of the text.</summary>
    public void Flush(StringBuilder text) => Drain(text, last: true);

    private void Drain(StringBuilder text, bool last)
    {
        Span<byte> bytes = stackalloc byte[4];
        Span<char> chars = stackalloc char[2];
        while (_pendingCount > 0)
        {
            BitConverter.TryWriteBytes(bytes, _pending);
            OperationStatus status = Rune.DecodeFromUtf8(bytes[.._pendingCount], out Rune rune, out int length);
            if (status == OperationStatus.NeedMoreData && !last)
            {
                return;
            }

            if (status != OperationStatus.Done)
            {
                rune = Rune.ReplacementChar;
                length = 1;
            }

            text.Append(chars[..rune.EncodeToUtf16(chars)]);
            _pending = length == 4 ? 0 : _pending >> (8 * length);
            _pendingCount -= length;
        }
    }
}
