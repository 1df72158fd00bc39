using System.Text;
using System.Text.Json;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// Reads a Hugging Face tokenizer.json that holds a byte-pair model: vocabulary, merges in order, added tokens. What would make other tokens of a
/// text than Gemma's rules do (another normaliser, a pre-tokenizer, dropout) is refused.
/// </summary>
internal static class TokenizerJsonReader
{
    public static VocabularyData Read(ReadOnlySpan<byte> bytes, string source)
    {
        try
        {
            return Parse(bytes, source);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or FormatException)
        {
            // The parser may quote the rest of the file.
            string reason = exception.Message.Length <= 300 ? exception.Message.TrimEnd('.') : exception.Message[..300] + "…";
            throw new GemmaModelFormatException(TokenizerVocabulary.Bad(source, $"it is not the JSON of a tokenizer ({reason})").Message, exception);
        }
    }

    /// <summary>Reads the object of the model. Its merges are only found: true, with a reader that stands before them.</summary>
    private static bool ReadModel(ref Utf8JsonReader reader, Dictionary<string, int> ids, ref string type, ref string? unknown, ref Utf8JsonReader merges, string source)
    {
        bool hasMerges = false;
        Expect(ref reader, JsonTokenType.StartObject);
        while (NextProperty(ref reader))
        {
            if (reader.ValueTextEquals("type"u8))
            {
                type = ReadString(ref reader);
            }
            else if (reader.ValueTextEquals("unk_token"u8))
            {
                reader.Read();
                unknown = reader.GetString();
            }
            else if (reader.ValueTextEquals("vocab"u8))
            {
                ReadVocabulary(ref reader, ids);
            }
            else if (reader.ValueTextEquals("merges"u8))
            {
                merges = reader;
                hasMerges = true;
                SkipValue(ref reader);
            }
            else
            {
                CheckModel(ref reader, source);
            }
        }

        return hasMerges;
    }

    private static VocabularyData Parse(ReadOnlySpan<byte> bytes, string source)
    {
        Dictionary<string, int> ids = new(StringComparer.Ordinal);
        List<AddedToken> added = [];
        string type = "";
        string? unknown = null;
        Utf8JsonReader merges = default; // they name pieces, so they are read once the vocabulary is known
        bool hasMerges = false;

        Utf8JsonReader reader = new(bytes);
        Expect(ref reader, JsonTokenType.StartObject);
        while (NextProperty(ref reader))
        {
            if (reader.ValueTextEquals("added_tokens"u8))
            {
                ReadAdded(ref reader, added);
            }
            else if (reader.ValueTextEquals("model"u8))
            {
                hasMerges |= ReadModel(ref reader, ids, ref type, ref unknown, ref merges, source);
            }
            else if (reader.ValueTextEquals("normalizer"u8))
            {
                JsonElement normalizer = ReadValue(ref reader);
                if (!KeepsText(normalizer))
                {
                    throw Foreign(source, "normalizer", normalizer);
                }
            }
            else if (reader.ValueTextEquals("pre_tokenizer"u8))
            {
                JsonElement preTokenizer = ReadValue(ref reader);
                if (!KeepsWhole(preTokenizer))
                {
                    throw Foreign(source, "pre_tokenizer", preTokenizer);
                }
            }
            else
            {
                SkipValue(ref reader);
            }
        }

        if (type != "BPE")
        {
            throw TokenizerVocabulary.Bad(source, $"its model type is '{type}', expected 'BPE'");
        }

        Dictionary<int, int> ranks = hasMerges ? ReadMerges(ref merges, ids, source) : [];
        return Build(ids, added, ranks, unknown, source);
    }

    private static VocabularyData Build(Dictionary<string, int> ids, List<AddedToken> added, Dictionary<int, int> ranks, string? unknown, string source)
    {
        // Checked before anything is allocated by the ids.
        int count = ids.Count;
        foreach ((string piece, int id) in ids)
        {
            if (id < 0 || id >= (long)ids.Count + VocabularyData.MaxGap)
            {
                throw TokenizerVocabulary.Bad(source, $"the token '{piece}' has id {id:N0} among {ids.Count:N0} tokens");
            }

            count = Math.Max(count, id + 1);
        }

        string?[] names = new string?[count];
        foreach ((string piece, int id) in ids)
        {
            names[id] = names[id] is null ? piece : throw TokenizerVocabulary.Bad(source, $"the tokens '{names[id]}' and '{piece}' have the same id {id:N0}");
        }

        VocabularyData data = new(source);
        for (int id = 0; id < count; id++)
        {
            string piece = names[id] ?? "";
            bool hasRank = ranks.TryGetValue(id, out int rank);
            TokenKind kind = names[id] is null ? TokenKind.Unused : piece == unknown ? TokenKind.Unknown : IsByte(piece) ? TokenKind.Byte : TokenKind.Normal;
            data.Add(Encoding.UTF8.GetBytes(piece), hasRank ? -rank : 0, kind);
            if (kind == TokenKind.Normal && !hasRank && !IsOneCharacter(piece))
            {
                data.Matching[id] = TokenMatching.NeverMerges;
            }
        }

        foreach (AddedToken token in added)
        {
            if (ids.TryGetValue(token.Content, out int known) && known != token.Id)
            {
                throw TokenizerVocabulary.Bad(source, $"the added token '{token.Content}' has id {token.Id:N0}, but the vocabulary gives it {known:N0}");
            }

            data.Put(token);
        }

        return data;
    }

    private static bool IsOneCharacter(string piece) => piece.Length == (piece.Length > 1 && char.IsSurrogatePair(piece, 0) ? 2 : 1);

    /// <summary>True if the normalizer does nothing but replace spaces by U+2581.</summary>
    private static bool KeepsText(JsonElement normalizer) => normalizer.ValueKind == JsonValueKind.Null || TypeOf(normalizer) switch
    {
        "Sequence" => normalizer.TryGetProperty("normalizers", out JsonElement parts) && parts.ValueKind == JsonValueKind.Array && parts.EnumerateArray().All(KeepsText),
        "Replace" => IsSpace(normalizer) && normalizer.TryGetProperty("content", out JsonElement content) && content.ValueEquals("\u2581"),
        _ => false,
    };

    /// <summary>True if the pre-tokenizer does not split a text whose spaces are U+2581.</summary>
    private static bool KeepsWhole(JsonElement preTokenizer) => preTokenizer.ValueKind == JsonValueKind.Null || TypeOf(preTokenizer) switch
    {
        "Sequence" => preTokenizer.TryGetProperty("pretokenizers", out JsonElement parts) && parts.ValueKind == JsonValueKind.Array && parts.EnumerateArray().All(KeepsWhole),
        "Split" => IsSpace(preTokenizer),
        "Metaspace" => !AddedToken.Flag(preTokenizer, "split", true) && preTokenizer.TryGetProperty("prepend_scheme", out JsonElement scheme) && scheme.ValueEquals("never"),
        _ => false,
    };

    private static string? TypeOf(JsonElement part) =>
        part.ValueKind == JsonValueKind.Object && part.TryGetProperty("type", out JsonElement type) && type.ValueKind == JsonValueKind.String ? type.GetString() : null;

    private static bool IsSpace(JsonElement part) => part.TryGetProperty("pattern", out JsonElement pattern) && pattern.ValueKind == JsonValueKind.Object
        && pattern.TryGetProperty("String", out JsonElement text) && text.ValueKind == JsonValueKind.String && text.ValueEquals(" ");

    private static GemmaModelFormatException Foreign(string source, string what, JsonElement found)
    {
        string text = found.GetRawText();
        return TokenizerVocabulary.Bad(source, $"its {what} is {(text.Length <= 200 ? text : text[..200] + "…")}, which Gemma's vocabulary does not have: a text would get other tokens");
    }

    /// <summary>Refuses settings that change how text is split; all others are ignored.</summary>
    private static void CheckModel(ref Utf8JsonReader reader, string source)
    {
        string name = reader.GetString()!;
        reader.Read();
        bool isDefault = name switch
        {
            "dropout" => reader.TokenType == JsonTokenType.Null || (reader.TokenType == JsonTokenType.Number && reader.GetDouble() == 0),
            "continuing_subword_prefix" or "end_of_word_suffix" => reader.TokenType == JsonTokenType.Null || (reader.TokenType == JsonTokenType.String && reader.ValueTextEquals(""u8)),
            "ignore_merges" => reader.TokenType is JsonTokenType.False or JsonTokenType.Null,
            _ => true,
        };
        if (!isDefault)
        {
            throw TokenizerVocabulary.Bad(source, $"its model sets '{name}', which Gemma's does not: a text would get other tokens");
        }

        reader.Skip();
    }

    private static bool IsByte(string piece) =>
        piece.Length == 6 && piece.StartsWith("<0x", StringComparison.Ordinal) && piece[5] == '>' && char.IsAsciiHexDigit(piece[3]) && char.IsAsciiHexDigit(piece[4]);

    private static void ReadVocabulary(ref Utf8JsonReader reader, Dictionary<string, int> ids)
    {
        Expect(ref reader, JsonTokenType.StartObject);
        while (NextProperty(ref reader))
        {
            string piece = AddedToken.Spell(reader.GetString()!);
            reader.Read();
            ids[piece] = reader.GetInt32();
        }
    }

    private static void ReadAdded(ref Utf8JsonReader reader, List<AddedToken> added)
    {
        Expect(ref reader, JsonTokenType.StartArray);
        while (reader.Read() && reader.TokenType == JsonTokenType.StartObject)
        {
            added.Add(AddedToken.Read(JsonElement.ParseValue(ref reader), null, normalizedUnlessSpecial: false));
        }

        Require(reader, JsonTokenType.EndArray);
    }

    private static JsonElement ReadValue(ref Utf8JsonReader reader)
    {
        reader.Read();
        return JsonElement.ParseValue(ref reader);
    }

    /// <summary>
    /// Reads merges, as pairs or as "left right". A piece takes the rank of the first merge that makes it: SentencePiece orders by the score of
    /// the piece, and the merges were listed in that order.
    /// </summary>
    private static Dictionary<int, int> ReadMerges(ref Utf8JsonReader reader, Dictionary<string, int> ids, string source)
    {
        Dictionary<int, int> ranks = [];
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup = ids.GetAlternateLookup<ReadOnlySpan<char>>();
        Span<char> joined = stackalloc char[2 * TokenizerVocabulary.MaxPieceBytes];
        Expect(ref reader, JsonTokenType.StartArray);
        for (int rank = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; rank++)
        {
            int length;
            if (reader.TokenType == JsonTokenType.StartArray)
            {
                reader.Read();
                length = Copy(ref reader, joined, source);
                reader.Read();
                length += Copy(ref reader, joined[length..], source);
                Expect(ref reader, JsonTokenType.EndArray);
            }
            else
            {
                length = Copy(ref reader, joined, source);
                int space = joined[..length].IndexOf(' ');
                if (space < 0)
                {
                    throw TokenizerVocabulary.Bad(source, $"merge {rank:N0} is '{joined[..length]}', expected two pieces");
                }

                joined[(space + 1)..length].CopyTo(joined[space..]);
                length--;
            }

            if (!lookup.TryGetValue(joined[..length], out int id))
            {
                throw TokenizerVocabulary.Bad(source, $"merge {rank:N0} gives '{joined[..length]}', which is not in the vocabulary");
            }

            ranks.TryAdd(id, rank);
        }

        return ranks;
    }

    private static int Copy(ref Utf8JsonReader reader, scoped Span<char> destination, string source)
    {
        Require(reader, JsonTokenType.String);
        return reader.ValueSpan.Length <= Math.Min(TokenizerVocabulary.MaxPieceBytes, destination.Length)
            ? reader.CopyString(destination)
            : throw TokenizerVocabulary.Bad(source, $"a merge has {reader.ValueSpan.Length:N0} bytes");
    }

    private static string ReadString(ref Utf8JsonReader reader)
    {
        Expect(ref reader, JsonTokenType.String);
        return reader.GetString()!;
    }

    private static bool NextProperty(ref Utf8JsonReader reader) => reader.Read() && reader.TokenType == JsonTokenType.PropertyName;

    private static void SkipValue(ref Utf8JsonReader reader)
    {
        reader.Read();
        reader.Skip();
    }

    private static void Expect(ref Utf8JsonReader reader, JsonTokenType type)
    {
        reader.Read();
        Require(reader, type);
    }

    private static void Require(in Utf8JsonReader reader, JsonTokenType type)
    {
        if (reader.TokenType != type)
        {
            throw new FormatException($"{reader.TokenType} at byte {reader.TokenStartIndex:N0}, expected {type}");
        }
    }
}
