using System.Text;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// Writes a vocabulary as a SentencePiece model (tokenizer.model), for a model whose vocabulary came from somewhere else: GGUF metadata or a
/// tokenizer.json. Field numbers as in <see cref="SentencePieceReader"/>.
/// </summary>
internal static class SentencePieceWriter
{
    public static byte[] Write(GemmaTokenizer tokenizer)
    {
        using MemoryStream output = new();
        for (int id = 0; id < tokenizer.VocabularySize; id++)
        {
            using MemoryStream piece = new();
            Bytes(piece, 1, Encoding.UTF8.GetBytes(tokenizer.GetPiece(id) is { Length: > 0 } text ? text : $"[PAD{id}]")); // an id without a token
            Tag(piece, 2, 5);
            piece.Write(BitConverter.GetBytes(tokenizer.GetScore(id)));
            Number(piece, 3, (int)Kind(tokenizer, id));
            Bytes(output, 1, piece.ToArray());
        }

        using MemoryStream trainer = new();
        Number(trainer, 3, 2); // byte-pair encoding
        foreach ((int field, int id) in new[] { (40, tokenizer.UnknownId), (41, tokenizer.BosId), (42, tokenizer.EosId), (43, tokenizer.PadId) })
        {
            Number(trainer, field, id);
        }

        Bytes(output, 2, trainer.ToArray());
        using MemoryStream normalizer = new();
        Bytes(normalizer, 1, "identity"u8.ToArray());
        Number(normalizer, 3, 0);
        Number(normalizer, 4, 0);
        Number(normalizer, 5, 1); // spaces as U+2581
        Bytes(output, 3, normalizer.ToArray());
        return output.ToArray();
    }

    /// <summary>Structural tokens are matched in text, as SentencePiece does for user-defined pieces only; a piece that merges can also produce is a normal piece to it.</summary>
    private static TokenKind Kind(GemmaTokenizer tokenizer, int id) => tokenizer.GetKind(id) switch
    {
        TokenKind.Control when !TokenizerVocabulary.IsSilent(Encoding.UTF8.GetBytes(tokenizer.GetPiece(id))) => TokenKind.UserDefined,
        TokenKind.UserDefined when tokenizer.GetMatching(id).HasFlag(TokenMatching.Merges) => TokenKind.Normal,
        TokenKind kind => kind,
    };

    private static void Tag(MemoryStream stream, int field, int wire) => Varint(stream, (ulong)(field << 3 | wire));

    private static void Number(MemoryStream stream, int field, int value)
    {
        Tag(stream, field, 0);
        Varint(stream, (ulong)value);
    }

    private static void Bytes(MemoryStream stream, int field, byte[] bytes)
    {
        Tag(stream, field, 2);
        Varint(stream, (ulong)bytes.Length);
        stream.Write(bytes);
    }

    private static void Varint(MemoryStream stream, ulong value)
    {
        for (; value >= 128; value >>= 7)
        {
            stream.WriteByte((byte)(value | 128));
        }

        stream.WriteByte((byte)value);
    }
}
