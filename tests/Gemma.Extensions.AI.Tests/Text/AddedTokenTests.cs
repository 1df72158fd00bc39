using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Text;
using Microsoft.ML.Tokenizers;

namespace Gemma.Extensions.AI.Tests.Text;

/// <summary>
/// Tokens that a fine-tune added, found as Hugging Face's tokenizers document it. Expectations are written by hand: a number is a token, a text what the
/// vocabulary without added tokens makes of it. Ids 10 to 20 are runs of line feeds and spaces, which are tokens of every Gemma vocabulary.
/// </summary>
public sealed class AddedTokenTests
{
    private const int End = 1024, Cite = 1025, CiteCite = 1026, Left = 1027, Right = 1028, Both = 1029, Word = 1030, At = 1031, Spaced = 1032, Bracket = 1033, LateLeft = 1034;

    private static readonly AddedToken[] s_tokens =
    [
        new(End, "<|im_end|>", true, TokenMatching.None),
        new(Cite, "[CITE]", false, TokenMatching.None),
        new(CiteCite, "[CITE][CITE]", false, TokenMatching.None),
        new(Left, "<left>", true, TokenMatching.LeftStrip),
        new(Right, "<right>", true, TokenMatching.RightStrip),
        new(Both, "<both>", false, TokenMatching.LeftStrip | TokenMatching.RightStrip),
        new(Word, "cat", false, TokenMatching.SingleWord),
        new(At, "at~", false, TokenMatching.None),
        new(Spaced, "q\u2581z", false, TokenMatching.Normalized),
        new(Bracket, "z]", false, TokenMatching.None),
        new(LateLeft, "<late>", false, TokenMatching.Normalized | TokenMatching.LeftStrip),
    ];

    private static readonly GemmaTokenizer s_tuned = GemmaTokenizer.FromTokenizerJson(WithAdded(s_tokens), "tuned.json");

    private static readonly (string Text, object[] Expected)[] s_cases =
    [
        ("Hello<|im_end|>\n", ["Hello", End, "\n"]),
        ("<|im_end|><|im_end|>", [End, End]),
        ("<|im_end|", ["<|im_end|"]),

        // Of those that begin at the same place the longest; what is left is matched again.
        ("[CITE][CITE][CITE]", [CiteCite, Cite]),
        ("a[CITE] b", ["a", Cite, " b"]),

        // Of those that overlap the one that begins first.
        ("cat~", [Word, "~"]),
        ("bat~", ["b", At]),

        // White space on the left goes with the token, unless it is a token itself.
        ("a <left>b", ["a", Left, "b"]),
        ("a \t<left> b", ["a", Left, " b"]),
        ("a\u00A0\u3000<left>", ["a", Left]),
        ("a  <left>", ["a", 14, Left]),
        ("a   <left>", ["a", 15, Left]),
        (" <left>", [Left]),

        // White space on the right, unless another token begins within it.
        ("<right> a", [Right, "a"]),
        ("<right>\n\ta", [Right, "a"]),
        ("<right>  a", [Right, 14, "a"]),
        ("<right> \n\na", [Right, 10, "a"]),
        ("<right> ", [Right]),
        ("<right> <left>", [Right, Left]),
        ("<right> <|im_end|>", [Right, End]),
        ("a <both> b", ["a", Both, "b"]),
        ("a <both> <both> b", ["a", Both, Both, "b"]),

        // Whole words only. Digits, letters of any script, marks and '_' are of a word, '-' is not.
        ("cat", [Word]),
        ("(cat)-cat", ["(", Word, ")-", Word]),
        ("concatenate cat.", ["concatenate ", Word, "."]),
        ("cat_ cat1 cat\u0301 écat", ["cat_ cat1 cat\u0301 écat"]),
        ("cat日", ["cat日"]),
        (" cat ", [" ", Word, " "]),

        // What is no word by itself hides what begins within it all the same: the search goes on behind it.
        ("xcat~", ["xcat~"]),

        // Normalised ones come second and see spaces as U+2581: what the first pass takes is gone, and a space is no white space to strip.
        ("aq zb", ["a", Spaced, "b"]),
        ("aq\u2581zb", ["a", Spaced, "b"]),
        ("q z]", ["q ", Bracket]),
        ("a <late>", ["a ", LateLeft]),
        ("a\t<late>", ["a", LateLeft]),
    ];

    [Fact]
    public void TokensAreFoundWhereHuggingFaceFindsThem()
    {
        foreach ((string text, object[] expected) in s_cases)
        {
            int[] actual = s_tuned.Encode(text, matchSpecial: true);
            Assert.True(Ids(expected).SequenceEqual(actual), $"{JsonSerializer.Serialize(text)}: {string.Join(' ', actual)}, expected {string.Join(' ', Ids(expected))}");
        }
    }

    [Fact]
    public void SpecialTokensStayTextWhereTheyAreSwitchedOffAndOthersDoNot()
    {
        int[] ids = s_tuned.Encode("a <|im_end|>[CITE]", matchSpecial: false);
        Assert.DoesNotContain(ids, id => s_tuned.GetKind(id) == TokenKind.Control);
        Assert.Equal(Cite, ids[^1]);
        Assert.Equal("a <|im_end|>[CITE]", s_tuned.Decode(ids));
    }

    [Fact]
    public void GeneratedTextHasTheTextOfTokensThatAreNotSpecial()
    {
        Assert.Equal("[CITE]", Encoding.UTF8.GetString(s_tuned.GetBytes(Cite)));
        Assert.True(s_tuned.GetBytes(End).IsEmpty);
        Assert.Equal("q z", Encoding.UTF8.GetString(s_tuned.GetBytes(Spaced)));
    }

    [Fact]
    public void EveryCharacterBelongsToAToken()
    {
        foreach ((string text, _) in s_cases)
        {
            IReadOnlyList<EncodedToken> tokens = s_tuned.EncodeToTokens(text, out _);
            int end = 0;
            foreach (EncodedToken token in tokens)
            {
                Assert.Equal(end, token.Offset.Start.Value);
                end = token.Offset.End.Value;
            }

            Assert.Equal(text.Length, end);
        }
    }

    [Fact]
    public void AnyTextGivesTheTokensOfTheAlgorithmThatHuggingFaceDescribes()
    {
        string[] parts =
        [
            "<|im_end|>", "[CITE]", "[CITE", "<left>", "<right>", "<both>", "cat", "at~", "q z", "z]", "<late>", " ", " ", "  ", "   ", "\n", "\n\n", "\t", "\t\t", "\u00A0", "a", "é", "日", "_", "1", "<b>", "the",
        ];
        Random random = new(3);
        for (int round = 0; round < 5000; round++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(10)).Select(_ => parts[random.Next(parts.Length)]));
            int[] actual = s_tuned.Encode(text, matchSpecial: true);
            Assert.True(Described.Encode(text).SequenceEqual(actual), $"{JsonSerializer.Serialize(text)}: {string.Join(' ', actual)}, expected {string.Join(' ', Described.Encode(text))}");
        }
    }

    [Fact]
    public void RenamedTokensKeepTheirIds()
    {
        // In the list alone, as some tools do it; the vocabulary still has the old name.
        GemmaTokenizer renamed = GemmaTokenizer.FromTokenizerJson(WithAdded([new(6, "<|im_start|>", true, TokenMatching.None), new(7, "<think>", false, TokenMatching.None)], replace: true), "t");
        Assert.Equal([6, 7], renamed.Encode("<|im_start|><think>", matchSpecial: true));
        Assert.DoesNotContain(6, renamed.Encode("<unused0>", matchSpecial: true));
        Assert.Equal(TokenKind.Control, renamed.GetKind(6));
        Assert.Equal(1024, renamed.VocabularySize);
    }

    [Fact]
    public void IdsMayBeLeftOut()
    {
        GemmaTokenizer tokenizer = GemmaTokenizer.FromTokenizerJson(WithAdded([new(1030, "[X]", false, TokenMatching.None)]), "t");
        Assert.Equal(1031, tokenizer.VocabularySize);
        Assert.Equal([1030], tokenizer.Encode("[X]", matchSpecial: true));
        Assert.Equal("[X]", tokenizer.Decode([1024, 1029, 1030]));
        Assert.Equal("", tokenizer.GetPiece(1027));
        GemmaModelFormatException error = Assert.Throws<GemmaModelFormatException>(() => GemmaTokenizer.FromTokenizerJson(WithAdded([new(1_000_000, "[X]", false, TokenMatching.None)]), "t"));
        Assert.Contains("1,000,000", error.Message);
    }

    /// <summary>A piece of the vocabulary that no merge makes is no token of any text, unlike one that is added.</summary>
    [Fact]
    public void PiecesWithoutAMergeAreNotMade()
    {
        JsonNode json = Tiny();
        json["model"]!["vocab"]!["zqzq"] = 1024;
        GemmaTokenizer tokenizer = GemmaTokenizer.FromTokenizerJson(Encoding.UTF8.GetBytes(json.ToJsonString()), "t");
        Assert.Equal(Tokenizers.Tiny.Encode("a zqzq", true), tokenizer.Encode("a zqzq", true));
        Assert.Equal(TokenKind.Normal, tokenizer.GetKind(1024));
        Assert.Equal("zqzq", tokenizer.Decode([1024]));
    }

    /// <summary>A word of the vocabulary that is made a token of its own is still made by merges where it is part of another word.</summary>
    [Fact]
    public void WordsOfTheVocabularyMayBeAdded()
    {
        int he = Enumerable.Range(0, 1024).Single(id => Tokenizers.Tiny.GetPiece(id) == "he");
        GemmaTokenizer tokenizer = GemmaTokenizer.FromTokenizerJson(WithAdded([new(he, "he", false, TokenMatching.SingleWord)]), "t");
        Assert.Equal([.. Tokenizers.Tiny.Encode("in ", true), he, .. Tokenizers.Tiny.Encode(".", true)], tokenizer.Encode("in he.", true));
        Assert.Equal(Tokenizers.Tiny.Encode(" theres shed", true), tokenizer.Encode(" theres shed", true));
    }

    [Theory]
    [InlineData("normalizer", """{"type":"Lowercase"}""")]
    [InlineData("normalizer", """{"type":"Sequence","normalizers":[{"type":"Replace","pattern":{"String":" "},"content":"▁"},{"type":"NFKC"}]}""")]
    [InlineData("normalizer", """{"type":"Prepend","prepend":"▁"}""")]
    [InlineData("pre_tokenizer", """{"type":"Whitespace"}""")]
    [InlineData("pre_tokenizer", """{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}""")]
    [InlineData("model.dropout", "0.1")]
    [InlineData("model.ignore_merges", "true")]
    [InlineData("model.end_of_word_suffix", "\"</w>\"")]
    public void WhatWouldSplitTextDifferentlyIsRefused(string where, string value)
    {
        JsonNode json = Tiny();
        string[] path = where.Split('.');
        (path.Length == 1 ? json : json[path[0]]!)[path[^1]] = JsonNode.Parse(value);
        GemmaModelFormatException error = Assert.Throws<GemmaModelFormatException>(() => GemmaTokenizer.FromTokenizerJson(Encoding.UTF8.GetBytes(json.ToJsonString()), "t.json"));
        Assert.Contains(path[^1], error.Message);
    }

    [Theory]
    [InlineData("null", """{"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":false}""")]
    [InlineData("""{"type":"Sequence","normalizers":[{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}""", "null")]
    [InlineData("null", """{"type":"Metaspace","replacement":"▁","prepend_scheme":"never","split":false}""")]
    public void WhatGemmaAndItsToolsWriteIsNot(string normalizer, string preTokenizer)
    {
        JsonNode json = Tiny();
        json["normalizer"] = JsonNode.Parse(normalizer);
        json["pre_tokenizer"] = JsonNode.Parse(preTokenizer);
        Assert.Equal(Tokenizers.Tiny.Encode("The  sea é", true), GemmaTokenizer.FromTokenizerJson(Encoding.UTF8.GetBytes(json.ToJsonString()), "t.json").Encode("The  sea é", true));
    }

    private static int[] Ids(IEnumerable<object> expected) => [.. expected.SelectMany(part => part is int id ? [id] : Tokenizers.Tiny.Encode((string)part, matchSpecial: true))];

    private static JsonNode Tiny() => JsonNode.Parse(File.ReadAllBytes(TestData.Local("tiny/tokenizer.json")))!;

    /// <summary>The tiny tokenizer.json with further tokens.</summary>
    /// <param name="tokens">The tokens.</param>
    /// <param name="replace">Whether they take the place of entries with their ids.</param>
    internal static byte[] WithAdded(IEnumerable<AddedToken> tokens, bool replace = false)
    {
        JsonNode json = Tiny();
        JsonArray list = (JsonArray)json["added_tokens"]!;
        foreach (AddedToken token in tokens)
        {
            if (replace)
            {
                list.Remove(list.First(entry => (int)entry!["id"]! == token.Id));
            }

            list.Add(new JsonObject
            {
                ["id"] = token.Id, ["content"] = token.Content.Replace('\u2581', ' '), ["special"] = token.IsSpecial,
                ["lstrip"] = token.Matching.HasFlag(TokenMatching.LeftStrip), ["rstrip"] = token.Matching.HasFlag(TokenMatching.RightStrip),
                ["normalized"] = token.Matching.HasFlag(TokenMatching.Normalized), ["single_word"] = token.Matching.HasFlag(TokenMatching.SingleWord),
            });
        }

        return Encoding.UTF8.GetBytes(json.ToJsonString());
    }

    /// <summary>
    /// The two passes as their documentation words them, on strings: find all leftmost-longest matches that do not overlap, then drop and widen them one by
    /// one; what lies between matches goes to the second pass.
    /// </summary>
    private static class Described
    {
        private static readonly AddedToken[] s_own =
            [.. Enumerable.Range(0, 1024).Where(id => Tokenizers.Tiny.GetKind(id) == TokenKind.UserDefined || id is 8 or 9).Select(id => new AddedToken(id, Tokenizers.Tiny.GetPiece(id), false, TokenMatching.None))];

        public static int[] Encode(string text) => [.. Pass(text, normalized: false)];

        private static IEnumerable<int> Pass(string text, bool normalized)
        {
            AddedToken[] tokens = [.. s_own.Concat(s_tokens).Where(token => token.Matching.HasFlag(TokenMatching.Normalized) == normalized)];
            string Content(AddedToken token) => normalized ? token.Content : token.Content.Replace('\u2581', ' ');
            if (normalized)
            {
                text = text.Replace(' ', '\u2581');
            }

            List<int> ids = [];
            int startOffset = 0;
            for (int at = 0; at < text.Length;)
            {
                AddedToken[] here = [.. tokens.Where(token => text.AsSpan(at).StartsWith(Content(token), StringComparison.Ordinal)).OrderByDescending(token => Content(token).Length)];
                if (here.Length == 0)
                {
                    at++;
                    continue;
                }

                int start = at, stop = at + Content(here[0]).Length;
                at = stop;
                TokenMatching matching = here[0].Matching;
                if (matching.HasFlag(TokenMatching.SingleWord) && ((start > 0 && IsWord(text[start - 1])) || (stop < text.Length && IsWord(text[stop]))))
                {
                    continue;
                }

                if (matching.HasFlag(TokenMatching.LeftStrip))
                {
                    start = Math.Max(text[..start].TrimEnd().Length, startOffset);
                }

                if (matching.HasFlag(TokenMatching.RightStrip))
                {
                    stop = text.Length - text[stop..].TrimStart().Length;
                }

                if (startOffset < start)
                {
                    ids.AddRange(Rest(text[startOffset..start], normalized));
                }

                ids.Add(here[0].Id);
                startOffset = stop;
            }

            if (startOffset != text.Length)
            {
                ids.AddRange(Rest(text[startOffset..], normalized));
            }

            return ids;
        }

        private static IEnumerable<int> Rest(string text, bool normalized) => normalized ? Tokenizers.Tiny.Encode(text, matchSpecial: true) : Pass(text, normalized: true);

        private static bool IsWord(char c) => c == '_' || char.IsLetterOrDigit(c) || char.GetUnicodeCategory(c) is UnicodeCategory.NonSpacingMark;
    }
}
