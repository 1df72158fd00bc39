using System.Buffers;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace Gemma.Extensions.AI.Text;

// From tokens back to text.
public sealed partial class GemmaTokenizer
{
    /// <summary>Decodes tokens as SentencePiece does: see the remarks of the class.</summary>
    /// <param name="ids">Tokens.</param>
    /// <returns>The text.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A token is not in the vocabulary.</exception>
    public override string Decode(IEnumerable<int> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        StringBuilder text = new();
        TokenStream stream = new(this);
        foreach (int id in ids)
        {
            Append(id, ref stream, text);
        }

        stream.Flush(text);
        return text.ToString();
    }

    /// <summary>Decodes as many tokens as fit, whole characters only.</summary>
    /// <param name="ids">Tokens.</param>
    /// <param name="destination">Receives the text.</param>
    /// <param name="idsConsumed">Tokens whose text was written.</param>
    /// <param name="charsWritten">Characters written.</param>
    /// <returns>Done, or DestinationTooSmall.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A token is not in the vocabulary.</exception>
    public override OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
    {
        ArgumentNullException.ThrowIfNull(ids);
        idsConsumed = 0;
        charsWritten = 0;
        StringBuilder text = new();
        TokenStream stream = new(this);
        int read = 0;
        foreach (int id in ids)
        {
            Append(id, ref stream, text);
            read++;
            if (!stream.HasPending)
            {
                if (!TryWrite(text, destination, ref charsWritten))
                {
                    return OperationStatus.DestinationTooSmall;
                }

                idsConsumed = read;
            }
        }

        stream.Flush(text);
        if (!TryWrite(text, destination, ref charsWritten))
        {
            return OperationStatus.DestinationTooSmall;
        }

        idsConsumed = read;
        return OperationStatus.Done;

        static bool TryWrite(StringBuilder text, Span<char> destination, ref int written)
        {
            if (text.Length > destination.Length - written)
            {
                return false;
            }

            text.CopyTo(0, destination[written..], text.Length);
            written += text.Length;
            text.Clear();
            return true;
        }
    }

    /// <summary>Appends a token as SentencePiece decodes it: other than in generated text, turn markers show and unknown is " ⁇ ".</summary>
    private void Append(int id, ref TokenStream stream, StringBuilder text)
    {
        switch (GetKind(id))
        {
            case TokenKind.Control when !TokenizerVocabulary.IsSilent(_vocabulary.GetPiece(id)):
                stream.Flush(text);
                text.Append(Encoding.UTF8.GetString(_vocabulary.GetPiece(id)));
                break;
            case TokenKind.Unknown:
                stream.Flush(text);
                text.Append(" \u2047 ");
                break;
            default:
                stream.Append(id, text);
                break;
        }
    }
}
