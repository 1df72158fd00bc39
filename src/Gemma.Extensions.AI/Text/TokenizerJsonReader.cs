using System.Text;
using System.Text.Json;

namespace Gemma.Extensions.AI.Text;

/// <summary>Reads a Hugging Face tokenizer.json that holds a byte-pair model: vocabulary, merges in order, added tokens.</summary>
internal static class TokenizerJsonReader
{
    public static GemmaTokenizer Read(ReadOnlySpan<byte> bytes, string source)
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

    private static GemmaTokenizer Parse(ReadOnlySpan<byte> bytes, string source)
    {
        Dictionary<string, int> ids = new(StringComparer.Ordinal);
        List<Added> added = [];
        string type = "";
        string? unknown = null;
        Utf8JsonReader merges = default; // they name pieces, so they are read once the vocabulary is known
        bool hasMerges = false;

        var reader = new Utf8JsonReader(bytes);
        Expect(ref reader, JsonTokenType.StartObject);
        while (NextProperty(ref reader))
        {
            if (reader.ValueTextEquals("added_tokens"u8))
            {
                ReadAdded(ref reader, added);
            }
            else if (reader.ValueTextEquals("model"u8))
            {
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
                        SkipValue(ref reader);
                    }
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

    private static GemmaTokenizer Build(Dictionary<string, int> ids, List<Added> added, Dictionary<int, int> ranks, string? unknown, string source)
    {
        foreach (Added token in added)
        {
            if (ids.TryGetValue(token.Content, out int known) ? known != token.Id : !ids.TryAdd(token.Content, token.Id))
            {
                throw TokenizerVocabulary.Bad(source, $"the added token '{token.Content}' has id {token.Id:N0}, but the vocabulary gives it {known:N0}");
            }
        }

        // Ids are dense in every Gemma vocabulary; checked before anything is allocated by them.
        int count = ids.Count;
        byte[]?[] pieces = new byte[]?[count];
        float[] scores = new float[count];
        TokenKind[] kinds = new TokenKind[count];
        foreach ((string piece, int id) in ids)
        {
            if ((uint)id >= (uint)count || pieces[id] is not null)
            {
                throw TokenizerVocabulary.Bad(source, $"the token '{piece}' has id {id:N0}, expected each of 0 to {count - 1:N0} once");
            }

            pieces[id] = Encoding.UTF8.GetBytes(piece);
            scores[id] = ranks.TryGetValue(id, out int rank) ? -rank : 0;
            kinds[id] = piece == unknown ? TokenKind.Unknown : IsByte(piece) ? TokenKind.Byte : TokenKind.Normal;
        }

        foreach (Added token in added)
        {
            if (kinds[token.Id] != TokenKind.Unknown)
            {
                kinds[token.Id] = token.IsSpecial ? TokenKind.Control : TokenKind.UserDefined;
            }
        }

        return GemmaTokenizer.FromVocabulary(pieces!, scores, kinds, -1, -1, -1, source);
    }

    private static bool IsByte(string piece) =>
        piece.Length == 6 && piece.StartsWith("<0x", StringComparison.Ordinal) && piece[5] == '>' && char.IsAsciiHexDigit(piece[3]) && char.IsAsciiHexDigit(piece[4]);

    private static void ReadVocabulary(ref Utf8JsonReader reader, Dictionary<string, int> ids)
    {
        Expect(ref reader, JsonTokenType.StartObject);
        while (NextProperty(ref reader))
        {
            string piece = Spell(reader.GetString()!);
            reader.Read();
            ids[piece] = reader.GetInt32();
        }
    }

    private static void ReadAdded(ref Utf8JsonReader reader, List<Added> added)
    {
        Expect(ref reader, JsonTokenType.StartArray);
        while (reader.Read() && reader.TokenType == JsonTokenType.StartObject)
        {
            var token = new Added("", -1, false);
            while (NextProperty(ref reader))
            {
                if (reader.ValueTextEquals("id"u8))
                {
                    reader.Read();
                    token = token with { Id = reader.GetInt32() };
                }
                else if (reader.ValueTextEquals("content"u8))
                {
                    token = token with { Content = Spell(ReadString(ref reader)) };
                }
                else if (reader.ValueTextEquals("special"u8))
                {
                    reader.Read();
                    token = token with { IsSpecial = reader.GetBoolean() };
                }
                else
                {
                    SkipValue(ref reader);
                }
            }

            added.Add(token);
        }

        Require(reader, JsonTokenType.EndArray);
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

    /// <summary>Some files spell a space in added tokens as a space, others as U+2581: one spelling for both.</summary>
    private static string Spell(string piece) => piece.Replace(' ', '\u2581');

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

    private readonly record struct Added(string Content, int Id, bool IsSpecial);
}
