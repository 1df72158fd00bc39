namespace Gemma.Extensions.AI.Text;

/// <summary>Gemma's SentencePiece vocabulary, exactly.</summary>
public sealed class GemmaTokenizer
{
}
