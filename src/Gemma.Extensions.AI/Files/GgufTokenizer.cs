using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>Builds the tokenizer from the vocabulary in GGUF metadata.</summary>
internal static class GgufTokenizer
{
    private const string Prefix = "tokenizer.ggml.";

    /// <exception cref="GemmaModelFormatException">The file carries no vocabulary, or not a SentencePiece one.</exception>
    public static GemmaTokenizer Create(GgufMetadata metadata)
    {
        string? model = metadata.GetString(Prefix + "model");
        if (model != "llama")
        {
            throw new GemmaModelFormatException(model is null
                ? $"'{metadata.Source}' carries no vocabulary ('{Prefix}model' is missing). Download or convert the model again, with its tokenizer."
                : $"'{metadata.Source}' has a vocabulary of kind '{model}', expected 'llama' (SentencePiece), which Gemma 2 uses. The file was converted wrongly; download or convert it again.");
        }

        byte[][] pieces = metadata.GetStrings(Prefix + "tokens") ?? throw Missing(metadata, "tokens");
        float[] scores = metadata.GetSingles(Prefix + "scores") ?? throw Missing(metadata, "scores");
        int[] types = metadata.GetInt32s(Prefix + "token_type") ?? throw Missing(metadata, "token_type");
        if (scores.Length != pieces.Length || types.Length != pieces.Length)
        {
            throw new GemmaModelFormatException($"'{metadata.Source}' has {pieces.Length:N0} tokens, {scores.Length:N0} scores and {types.Length:N0} token types, expected as many of each. The file is damaged; download or convert it again.");
        }

        var kinds = new TokenKind[types.Length];
        for (int i = 0; i < kinds.Length; i++)
        {
            kinds[i] = types[i] is >= (int)TokenKind.Normal and <= (int)TokenKind.Byte
                ? (TokenKind)types[i]
                : throw new GemmaModelFormatException($"'{metadata.Source}': token {i:N0} has the type {types[i]:N0}, expected 1 to 6. The file is damaged; download or convert it again.");
        }

        return GemmaTokenizer.FromVocabulary(pieces, scores, kinds, Id(metadata, "bos"), Id(metadata, "eos"), Id(metadata, "padding"), metadata.Source);
    }

    private static int Id(GgufMetadata metadata, string name) => metadata.GetInt32($"{Prefix}{name}_token_id") ?? -1;

    private static GemmaModelFormatException Missing(GgufMetadata metadata, string what) =>
        new($"'{metadata.Source}' has no '{Prefix}{what}'. Its vocabulary is incomplete; download or convert the model again.");
}
