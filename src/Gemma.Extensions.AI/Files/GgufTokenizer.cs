using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>The vocabulary in GGUF metadata.</summary>
internal static class GgufTokenizer
{
    private const string Prefix = "tokenizer.ggml.";

    /// <summary>
    /// Matching rules of tokens that are not simply matched wherever their text occurs. GGUF has no key for them; the value is JSON, a list of objects
    /// by id as in a tokenizer.json's <c>added_tokens</c>.
    /// </summary>
    private const string MatchingKey = "gemma_extensions_ai.token_matching";

    private static readonly (TokenMatching Flag, string Name)[] s_flags =
    [
        (TokenMatching.LeftStrip, "lstrip"), (TokenMatching.RightStrip, "rstrip"), (TokenMatching.Normalized, "normalized"), (TokenMatching.SingleWord, "single_word"),
        (TokenMatching.Merges, "merges"), (TokenMatching.NeverMerges, "never_merges"),
    ];

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

        VocabularyData data = new(metadata.Source) { BosId = Id(metadata, "bos"), EosId = Id(metadata, "eos"), PadId = Id(metadata, "padding"), StopIds = EndTokens.Read(metadata) };
        for (int i = 0; i < types.Length; i++)
        {
            data.Add(pieces[i], scores[i], types[i] is >= (int)TokenKind.Normal and <= (int)TokenKind.Byte
                ? (TokenKind)types[i]
                : throw new GemmaModelFormatException($"'{metadata.Source}': token {i:N0} has the type {types[i]:N0}, expected 1 to 6. The file is damaged; download or convert it again."));
        }

        ReadMatching(metadata, data);
        return GemmaTokenizer.FromVocabulary(data);
    }

    /// <summary>Writes the vocabulary as llama.cpp's converter does. Ids without a token, up to the rows of the embedding, get a name and the type that says so.</summary>
    public static void Write(GgufWriter writer, GemmaTokenizer tokenizer, int rows)
    {
        byte[][] pieces = new byte[rows][];
        float[] scores = new float[rows];
        int[] kinds = new int[rows];
        for (int id = 0; id < rows; id++)
        {
            TokenKind kind = id < tokenizer.VocabularySize ? tokenizer.GetKind(id) : TokenKind.Unused;
            string piece = id < tokenizer.VocabularySize ? tokenizer.GetPiece(id) : "";
            pieces[id] = Encoding.UTF8.GetBytes(piece.Length > 0 ? piece : $"[PAD{id}]");
            scores[id] = piece.Length > 0 ? tokenizer.GetScore(id) : -10000;
            kinds[id] = (int)kind;
        }

        writer.Set(Prefix + "model", "llama");
        writer.Set(Prefix + "pre", "default");
        writer.Set(Prefix + "tokens", pieces);
        writer.Set(Prefix + "scores", scores);
        writer.Set(Prefix + "token_type", kinds);
        foreach ((string name, int id) in new[] { ("bos", tokenizer.BosId), ("unknown", tokenizer.UnknownId), ("padding", tokenizer.PadId) })
        {
            if (id >= 0)
            {
                writer.Set($"{Prefix}{name}_token_id", (uint)id);
            }
        }

        JsonArray matching = [.. Enumerable.Range(0, tokenizer.VocabularySize).Where(id => tokenizer.GetMatching(id) != 0).Select(id => Describe(id, tokenizer.GetMatching(id)))];
        if (matching.Count > 0)
        {
            writer.Set(MatchingKey, matching.ToJsonString());
        }
    }

    private static JsonNode Describe(int id, TokenMatching matching)
    {
        JsonObject token = new() { ["id"] = id };
        foreach ((TokenMatching flag, string name) in s_flags)
        {
            if (matching.HasFlag(flag))
            {
                token[name] = true;
            }
        }

        return token;
    }

    private static void ReadMatching(GgufMetadata metadata, VocabularyData data)
    {
        if (metadata.GetString(MatchingKey) is not { } text)
        {
            return;
        }

        try
        {
            using JsonDocument list = JsonDocument.Parse(text);
            foreach (JsonElement token in list.RootElement.EnumerateArray())
            {
                int id = token.GetProperty("id").GetInt32();
                if ((uint)id >= (uint)data.Count)
                {
                    throw new FormatException($"there is no token {id:N0}");
                }

                foreach ((TokenMatching flag, string name) in s_flags)
                {
                    data.Matching[id] = data.Matching.GetValueOrDefault(id) | (AddedToken.Flag(token, name, false) ? flag : 0);
                }
            }
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException or KeyNotFoundException)
        {
            throw new GemmaModelFormatException($"'{metadata.Source}': '{MatchingKey}' does not say how tokens are matched: {ErrorText.Printable(e.Message)} The file is damaged; convert it again.", e);
        }
    }

    private static int Id(GgufMetadata metadata, string name) => metadata.GetInt32($"{Prefix}{name}_token_id") ?? -1;

    private static GemmaModelFormatException Missing(GgufMetadata metadata, string what) =>
        new($"'{metadata.Source}' has no '{Prefix}{what}'. Its vocabulary is incomplete; download or convert the model again.");
}
