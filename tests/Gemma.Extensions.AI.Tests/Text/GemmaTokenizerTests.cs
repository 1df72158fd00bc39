using System.Buffers;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Text;
using Microsoft.ML.Tokenizers;

namespace Gemma.Extensions.AI.Tests.Text;

public sealed class GemmaTokenizerTests
{
    private static Tokenizers.Case[] TinyCases => Tokenizers.ReadCases(TestData.Local("tiny/tokenizer-cases.json"));

    [Fact]
    public void GemmaVocabularyGivesTheIdsOfSentencePiece() =>
        AssertCases(Tokenizers.Gemma, Tokenizers.ReadCases(TestData.Shared("tokenizer/cases.json")));

    [Fact]
    public void TinyModelGivesTheIdsOfSentencePiece() => AssertCases(Tokenizers.Tiny, TinyCases);

    [Fact]
    public void TinyJsonGivesTheIdsOfSentencePiece() =>
        AssertCases(GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.json")), TinyCases);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void VocabularyGivesTheIdsOfSentencePieceWhateverTypeTheTurnMarkersHave(bool turnsAreControl)
    {
        GemmaTokenizer rebuilt = Rebuild(Tokenizers.Tiny, turnsAreControl, visibleSpaces: turnsAreControl);
        AssertCases(rebuilt, TinyCases);
        Assert.Equal(8, rebuilt.StartOfTurnId);
        Assert.Equal(9, rebuilt.EndOfTurnId);
        Assert.Equal(TokenKind.Control, rebuilt.GetKind(9));
    }

    [Fact]
    public void GemmaVocabularyAsScoresAndAsMergesGivesTheSameIds()
    {
        Tokenizers.Case[] cases = Tokenizers.ReadCases(TestData.Shared("tokenizer/cases.json"));
        AssertCases(Rebuild(Tokenizers.Gemma, turnsAreControl: true, visibleSpaces: false), cases);
        AssertCases(GemmaTokenizer.FromTokenizerJson(WriteJson(Tokenizers.Gemma), "tokenizer.json"), cases);
    }

    [Fact]
    public void IdsComeFromTheFile()
    {
        GemmaTokenizer tiny = Tokenizers.Tiny;
        Assert.Equal((1024, 2, 1, 0, 3), (tiny.VocabularySize, tiny.BosId, tiny.EosId, tiny.PadId, tiny.UnknownId));
        Assert.Equal((8, 9), (tiny.StartOfTurnId, tiny.EndOfTurnId));
        GemmaTokenizer json = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.json"));
        Assert.Equal((1024, 2, 1, 0, 3), (json.VocabularySize, json.BosId, json.EosId, json.PadId, json.UnknownId));
        Assert.Equal((8, 9), (json.StartOfTurnId, json.EndOfTurnId));
        GemmaTokenizer gemma = Tokenizers.Gemma;
        Assert.Equal((256000, 2, 1, 0, 3, 106, 107), (gemma.VocabularySize, gemma.BosId, gemma.EosId, gemma.PadId, gemma.UnknownId, gemma.StartOfTurnId, gemma.EndOfTurnId));
    }

    [Theory]
    [InlineData("<end_of_turn>")]
    [InlineData("a <start_of_turn>user\nb<end_of_turn><end_of_turn>")]
    [InlineData("<start_of_turn><end_of_turn")]
    public void TurnMarkersStayTextWhereTheyAreSwitchedOff(string text)
    {
        foreach (GemmaTokenizer tokenizer in new[] { Tokenizers.Tiny, Rebuild(Tokenizers.Tiny, true, false) })
        {
            int[] ids = tokenizer.Encode(text, matchSpecial: false);
            Assert.DoesNotContain(ids, id => tokenizer.GetKind(id) == TokenKind.Control);
            Assert.Equal(text, tokenizer.Decode(ids));
            Assert.Contains(tokenizer.Encode(text, matchSpecial: true), id => tokenizer.GetKind(id) == TokenKind.Control);
        }
    }

    [Theory]
    [InlineData("<bos>")]
    [InlineData("<eos>")]
    [InlineData("<pad>")]
    [InlineData("<unk>")]
    [InlineData("<0x0A>")]
    public void StructureCannotBeTyped(string text)
    {
        int[] ids = Tokenizers.Tiny.Encode(text, matchSpecial: true);
        Assert.True(ids.Length > 1);
        Assert.Equal(text, Tokenizers.Tiny.Decode(ids));
    }

    [Fact]
    public void DecodingGivesTheTextBack()
    {
        foreach (Tokenizers.Case item in TinyCases)
        {
            // A visible space is a space to SentencePiece.
            Assert.Equal(item.Text.Replace('\u2581', ' '), Tokenizers.Tiny.Decode(item.Ids));
        }
    }

    [Fact]
    public void AnyTextSurvivesEncodingAndEncodesAsNaiveMergingSays()
    {
        Random random = new(11);
        for (int round = 0; round < 2000; round++)
        {
            string text = RandomText(random);
            int[] ids = Tokenizers.Tiny.Encode(text, matchSpecial: true);
            Assert.Equal(text.Replace('\u2581', ' '), Tokenizers.Tiny.Decode(ids));
            Assert.Equal(NaiveEncoder.Encode(Tokenizers.Tiny, text), ids);
        }
    }

    [Fact]
    public void LoneSurrogatesBecomeTheReplacementCharacter() =>
        Assert.Equal(Tokenizers.Tiny.Encode("a\uFFFDb\uFFFD", true), Tokenizers.Tiny.Encode("a\uD83Db\uDE00", true));

    [Fact]
    public void ALongRunWithoutACutTakesNearLinearTime()
    {
        // 4 MB of one letter: quadratic merging would take hours.
        string text = new('a', 4_000_000);
        int[] ids = Tokenizers.Tiny.Encode(text, true);
        Assert.Equal(text.Length, Tokenizers.Tiny.Decode(ids).Length);
    }

    [Fact]
    public void TokensCarryPiecesAndOffsets()
    {
        Tokenizer tokenizer = Tokenizers.Tiny;
        const string Text = "The  time 🕰<end_of_turn>\n";
        IReadOnlyList<EncodedToken> tokens = tokenizer.EncodeToTokens(Text, out string? normalized);
        Assert.Null(normalized);
        Assert.Equal(tokenizer.EncodeToIds(Text), tokens.Select(token => token.Id));
        Assert.Equal(tokens.Count, tokenizer.CountTokens(Text));
        int end = 0;
        foreach (EncodedToken token in tokens)
        {
            Assert.Equal(end, token.Offset.Start.Value);
            end = token.Offset.End.Value;
            if (token.Value[0] != '<')
            {
                Assert.Equal(Text[token.Offset].Replace(' ', '\u2581'), token.Value);
            }
        }

        Assert.Equal(Text.Length, end);
        Assert.Contains(tokens, token => token is { Value: "<0xF0>" } && token.Offset.Start.Equals(token.Offset.End));
        Assert.Contains(tokens, token => token.Value == "<end_of_turn>" && Text[token.Offset] == "<end_of_turn>");
        Assert.Null(tokenizer.PreTokenizer);
        Assert.Null(tokenizer.Normalizer);
    }

    [Fact]
    public void LimitsKeepWholeCharactersAndAgreeWithEachOther()
    {
        Tokenizer tokenizer = Tokenizers.Tiny;
        Random random = new(5);
        for (int round = 0; round < 300; round++)
        {
            string text = RandomText(random, surrogates: false);
            IReadOnlyList<int> all = tokenizer.EncodeToIds(text);
            for (int limit = 1; limit <= all.Count + 1; limit++)
            {
                IReadOnlyList<int> ids = tokenizer.EncodeToIds(text, limit, out _, out int consumed);
                Assert.True(ids.Count <= limit);
                Assert.Equal(all.Take(ids.Count), ids);
                Assert.Equal(text[..consumed].Replace('\u2581', ' '), tokenizer.Decode(ids));
                Assert.Equal(consumed, tokenizer.GetIndexByTokenCount(text, limit, out _, out int count));
                Assert.Equal(ids.Count, count);

                int index = tokenizer.GetIndexByTokenCountFromEnd(text, limit, out _, out count);
                Assert.True(count <= limit);
                Assert.Equal(text[index..].Replace('\u2581', ' '), tokenizer.Decode(all.TakeLast(count)));
                if (limit >= all.Count)
                {
                    Assert.Equal((text.Length, 0), (consumed, index));
                }
            }
        }
    }

    [Fact]
    public void DecodingIntoASpanStopsAtWholeCharacters()
    {
        const string Text = "time 🕰 end";
        int[] ids = Tokenizers.Tiny.Encode(Text, true);
        for (int size = 0; size <= Text.Length; size++)
        {
            char[] destination = new char[size];
            OperationStatus status = Tokenizers.Tiny.Decode(ids, destination, out int consumed, out int written);
            Assert.Equal(size == Text.Length ? OperationStatus.Done : OperationStatus.DestinationTooSmall, status);
            Assert.Equal(Tokenizers.Tiny.Decode(ids[..consumed]), new string(destination, 0, written));
            Assert.StartsWith(new string(destination, 0, written), Text);
        }
    }

    [Fact]
    public void UnknownIdsAreRefused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Tokenizers.Tiny.Decode([1024]));
        Assert.Throws<ArgumentOutOfRangeException>(() => Tokenizers.Tiny.GetBytes(-1).Length);
    }

    [Fact]
    public void ConcurrentUseGivesTheSameIds()
    {
        Tokenizers.Case[] cases = TinyCases;
        Parallel.For(0, 8, _ => AssertCases(Tokenizers.Tiny, cases));
    }

    [Fact]
    public void EncodingIntoAListWithRoomDoesNotAllocate()
    {
        string text = string.Concat(Enumerable.Repeat("It was the best of times, it was the worst of times. ", 20));
        List<int> ids = new(4096);
        Tokenizers.Tiny.Encode(text, ids, matchSpecial: true);
        ids.Clear();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Tokenizers.Tiny.Encode(text, ids, matchSpecial: true);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static void AssertCases(GemmaTokenizer tokenizer, Tokenizers.Case[] cases)
    {
        Assert.True(cases.Length >= 329);
        foreach (Tokenizers.Case item in cases)
        {
            Assert.Equal(item.Ids, tokenizer.EncodeToIds(item.Text));
        }
    }

    private static string RandomText(Random random, bool surrogates = true)
    {
        string[] parts =
        [
            "a", "aa", "aaa", "the", " the", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\t\t", "▁", "<b>", "</b", "<", "code>", "<code>", "<end_of_turn>", "<start_of_turn>",
            "é", "ß", "日本", "🕰", "👩‍👩‍👧", "\u0301", "\0", "1", "2024", "ing", "and", "'s", ".", "of", "\uFFFD",
        ];
        StringBuilder text = new();
        for (int count = random.Next(12); count > 0; count--)
        {
            text.Append(random.Next(4) == 0 ? ((char)random.Next(32, 0x500)).ToString() : parts[random.Next(parts.Length)]);
        }

        return text.ToString();
    }

    /// <summary>The vocabulary as GGUF metadata would hold it.</summary>
    private static GemmaTokenizer Rebuild(GemmaTokenizer tokenizer, bool turnsAreControl, bool visibleSpaces)
    {
        VocabularyData data = new("model.gguf") { BosId = tokenizer.BosId, EosId = tokenizer.EosId, PadId = tokenizer.PadId };
        for (int id = 0; id < tokenizer.VocabularySize; id++)
        {
            string piece = tokenizer.GetPiece(id);
            TokenKind kind = tokenizer.GetKind(id);
            float score = kind == TokenKind.Normal ? -id : 0;
            if (id == tokenizer.StartOfTurnId || id == tokenizer.EndOfTurnId)
            {
                kind = turnsAreControl ? TokenKind.Control : TokenKind.UserDefined;
            }

            data.Add(Encoding.UTF8.GetBytes(visibleSpaces ? piece : piece.Replace('\u2581', ' ')), score, kind);
        }

        return GemmaTokenizer.FromVocabulary(data);
    }

    /// <summary>The vocabulary as Hugging Face would write it: every way to make a piece of two others is a merge, in the order of the pieces.</summary>
    private static byte[] WriteJson(GemmaTokenizer tokenizer)
    {
        Dictionary<string, int> ids = [];
        for (int id = 0; id < tokenizer.VocabularySize; id++)
        {
            ids[tokenizer.GetPiece(id)] = id;
        }

        MemoryStream stream = new();
        using Utf8JsonWriter json = new(stream);
        json.WriteStartObject();
        json.WriteStartArray("added_tokens");
        foreach ((string piece, int id) in ids)
        {
            TokenKind kind = tokenizer.GetKind(id);
            if (kind is TokenKind.Control or TokenKind.Unknown or TokenKind.UserDefined)
            {
                json.WriteStartObject();
                json.WriteNumber("id", id);
                json.WriteString("content", piece.Replace('\u2581', ' '));
                json.WriteBoolean("special", kind != TokenKind.UserDefined);
                json.WriteEndObject();
            }
        }

        json.WriteEndArray();
        json.WriteStartObject("model");
        json.WriteString("type", "BPE");
        json.WriteString("unk_token", "<unk>");
        json.WriteStartArray("merges");
        foreach ((string piece, int id) in ids)
        {
            for (int cut = 1; tokenizer.GetKind(id) == TokenKind.Normal && cut < piece.Length; cut++)
            {
                if (!char.IsLowSurrogate(piece[cut]) && ids.ContainsKey(piece[..cut]) && ids.ContainsKey(piece[cut..]))
                {
                    json.WriteStringValue(piece[..cut] + " " + piece[cut..]);
                }
            }
        }

        json.WriteEndArray();
        json.WriteStartObject("vocab");
        foreach ((string piece, int id) in ids)
        {
            json.WriteNumber(tokenizer.GetKind(id) == TokenKind.UserDefined ? piece.Replace('\u2581', ' ') : piece, id);
        }

        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteEndObject();
        json.Flush();
        return stream.ToArray();
    }

    /// <summary>The definition, word for word and slow: take the leftmost best pair, until there is none.</summary>
    private static class NaiveEncoder
    {
        public static int[] Encode(GemmaTokenizer tokenizer, string text)
        {
            Dictionary<string, int> normal = [];
            Dictionary<string, int> matched = [];
            int[] bytes = new int[256];
            for (int id = tokenizer.VocabularySize - 1; id >= 0; id--)
            {
                string piece = tokenizer.GetPiece(id).Replace('\u2581', ' ');
                switch (tokenizer.GetKind(id))
                {
                    case TokenKind.Normal:
                        normal[piece] = id;
                        break;
                    case TokenKind.Byte:
                        bytes[tokenizer.GetBytes(id)[0]] = id;
                        break;
                    case TokenKind.UserDefined:
                    case TokenKind.Control when id is 8 or 9:
                        matched[piece] = id;
                        break;
                }
            }

            List<(string Text, bool Frozen)> symbols = [];
            text = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)).Replace('\u2581', ' ');
            while (text.Length > 0)
            {
                string? longest = matched.Keys.Where(piece => text.StartsWith(piece, StringComparison.Ordinal)).MaxBy(piece => piece.Length);
                string symbol = longest ?? (char.IsHighSurrogate(text[0]) ? text[..2] : text[..1]);
                symbols.Add((symbol, longest is not null));
                text = text[symbol.Length..];
            }

            while (true)
            {
                // The tiny vocabulary's scores fall as its ids rise.
                int best = -1;
                int bestId = int.MaxValue;
                for (int at = 0; at + 1 < symbols.Count; at++)
                {
                    if (!symbols[at].Frozen && !symbols[at + 1].Frozen && normal.TryGetValue(symbols[at].Text + symbols[at + 1].Text, out int id) && id < bestId)
                    {
                        (best, bestId) = (at, id);
                    }
                }

                if (best < 0)
                {
                    break;
                }

                symbols[best] = (symbols[best].Text + symbols[best + 1].Text, false);
                symbols.RemoveAt(best + 1);
            }

            return [.. symbols.SelectMany(symbol =>
                symbol.Frozen ? [matched[symbol.Text]]
                : normal.TryGetValue(symbol.Text, out int id) ? [id]
                : Encoding.UTF8.GetBytes(symbol.Text).Select(value => bytes[value]))];
        }
    }
}
