using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Gbnf;
using Gemma.Extensions.AI.Grammar.Regex;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Masks are made for parts of the vocabulary at once; they say of every token what reading its bytes alone says.</summary>
public sealed class MaskWalkTests
{
    // Words of many kinds of characters that continue each other, as in real vocabularies, and pieces that end within a character.
    private static readonly VocabularyTrie s_vocabulary = new(Tokens());

    /// <summary>Kind and text of grammars in which much of the vocabulary is read, with and without counts, beyond ASCII, in strings, names and plain texts.</summary>
    public static TheoryData<string, string> Grammars => new()
    {
        { "regex", "^[a-z]+$" },
        { "regex", "^[a-z]{1,7}$" },
        { "regex", "^[^a-c]{2,9}[x0-9]*$" },
        { "regex", "^([a-f0-9]{2}:)*[a-f0-9]{2}$" },
        { "regex", "^[^é]*日?[^é]{0,3}$" },
        { "regex", "^(?=.{3,12}$)[a-zäöü]+(-[A-Z]+)*$" },
        { "regex", "^(?!.*ab)[^]{1,40}$" },
        { "gbnf", "root ::= [a-z]+ [0-9]* root? | \"(\" [^)]{0,5} \")\"" },
        { "gbnf", "root ::= word (\" \" word){0,4}\nword ::= [a-zé]{1,6}" },
        { "schema", """{"type":"string","pattern":"^[A-Za-z0-9_.-]+$"}""" },
        { "schema", """{"type":"string","pattern":"^[\\w-]{3,11}$"}""" },
        { "schema", """{"type":"string","pattern":"^[^/]+(/[^/]+)*$","maxLength":14}""" },
        { "schema", """{"type":"string","pattern":"^[\\u0400-\\u04ff]*[^\\u4e00-\\u9fff]{2,6}$"}""" },
        { "schema", """{"type":"string","format":"email"}""" },
        { "schema", """{"type":"array","items":{"type":"string","pattern":"^[a-z]+[0-9]?$"},"uniqueItems":true}""" },
        { "schema", """{"type":"object","patternProperties":{"^[a-z]+$":{"type":"integer"},"^[A-Z0-9]{1,5}$":{"type":"boolean"}},"additionalProperties":false}""" },
        { "schema", """{"type":"object","properties":{"name":{"type":"string"},"abc":{"type":"null"},"abd":{"enum":["ab","abc"]}},"patternProperties":{"^ab":{"type":["null","string"]}},"additionalProperties":{"type":"string"}}""" },
        { "schema", """{"type":"object","propertyNames":{"pattern":"^[^a-c]{1,6}$"},"additionalProperties":{"type":"object"}}""" },
        { "any order", """{"type":"object","properties":{"name":{"type":"string"},"abc":{"type":"object"},"id":{"type":"array"}},"required":["id"],"additionalProperties":{"type":"integer"}}""" },
    };

    [Theory]
    [MemberData(nameof(Grammars))]
    public void AMaskSaysOfEachTokenWhatItsBytesSay(string kind, string text)
    {
        CompiledGrammar grammar = Compile(kind, text);
        ulong[] mask = new ulong[s_vocabulary.MaskWords];
        for (int seed = 0; seed < 4; seed++)
        {
            Random random = new(seed);
            ITokenConstraint constraint = grammar.CreateConstraint([0]);
            for (int step = 0; step < 14; step++)
            {
                constraint.TryFillMask(mask);
                int[] allowed = [.. GrammarTestbed.TokensIn(mask).Where(static id => id != 0)];
                for (int id = 1; id < s_vocabulary.Count; id++)
                {
                    Assert.True(GrammarTestbed.IsIn(mask, id) == constraint.IsAllowed(id), $"Mask and bytes disagree on '{Encoding.UTF8.GetString(s_vocabulary.Bytes(id))}' at step {step} of seed {seed}.");
                }

                if (allowed.Length == 0)
                {
                    break;
                }

                // Quotes, brackets and single bytes lead to other states than words do.
                int[] short_ = [.. allowed.Where(id => s_vocabulary.Bytes(id).Length == 1)];
                constraint.Accept(short_.Length > 0 && random.Next(2) == 0 ? short_[random.Next(short_.Length)] : allowed[random.Next(allowed.Length)]);
            }
        }
    }

    /// <summary>What a state reads whole is not walked, also where characters are counted.</summary>
    [Theory]
    [InlineData("regex", "^[a-z]+$", "")]
    [InlineData("regex", "^[a-z]{1,60}$", "")]
    [InlineData("schema", """{"type":"string","pattern":"^[a-z_]{2,80}$"}""", "\"")]
    [InlineData("schema", """{"type":"object","patternProperties":{"^[a-z-]+$":{}},"additionalProperties":false,"minProperties":1}""", "{\"")]
    public void WhatIsReadWholeIsNotWalked(string kind, string text, string before)
    {
        CompiledGrammar grammar = Compile(kind, text);
        ITokenConstraint constraint = grammar.CreateConstraint([0]);
        foreach (byte b in Encoding.UTF8.GetBytes(before + "ab"))
        {
            constraint.Accept(1 + b);
        }

        const long Budget = 10_000_000;
        long left = Budget;
        ulong[] mask = new ulong[s_vocabulary.MaskWords];
        using (GrammarWork.Scope limits = GrammarWork.Within(Budget))
        {
            constraint.TryFillMask(mask);
            left = GrammarWork.Left;
        }

        int words = Enumerable.Range(0, s_vocabulary.Count).Count(id => s_vocabulary.Bytes(id) is { Length: > 1 } bytes && bytes.All(static b => b is >= (byte)'a' and <= (byte)'z'));
        int nodes = s_vocabulary.All.Count;
        Assert.True(words > 4000, $"Only {words} words are there to be read.");
        Assert.InRange(GrammarTestbed.TokensIn(mask).Count(), words, s_vocabulary.Count);
        Assert.True(Budget - left < nodes + (60 * GrammarWork.State), $"{Budget - left:N0} units of work were spent where the vocabulary has {nodes:N0} nodes.");

        // The next state is the first one's, or counts one less: nothing is left to be worked out but the tokens.
        constraint.Accept(1 + 'c');
        using (GrammarWork.Scope limits = GrammarWork.Within(Budget))
        {
            constraint.TryFillMask(mask);
            left = GrammarWork.Left;
        }

        Assert.True(Budget - left < nodes / 2, $"{Budget - left:N0} units of work were spent where the vocabulary has {nodes:N0} nodes.");
    }

    /// <summary>A row of an automaton is worked out by classes of bytes: every entry is what the byte leads to on its own.</summary>
    [Theory]
    [InlineData("^[a-z]{2,4}[^a-z日é]*$", "Raw")]
    [InlineData("^[a-z]{2,4}[^a-z日é\"]*$", "JsonString")]
    [InlineData("^(\\u2028|[\\ud83d\\ude00-\\ud83e\\udd00]|\"|\\\\|/|[\\u0000-\\u0010])*$", "JsonString")]
    [InlineData("^[^\\p{L}]*(?!x)\\p{Lu}$", "JsonName")]
    public void RowsHoldWhatEachByteLeadsTo(string pattern, string spelling)
    {
        RegexArena arena = new();
        RegexTerm term = EcmaRegex.Compile(arena, pattern, wholeText: true);
        RegexLexer whole = new(arena, term, Enum.Parse<CharSpelling>(spelling));
        List<int> states = [whole.Start];
        for (int at = 0; at < states.Count && at < 60; at++)
        {
            for (int b = 0; b < 256; b++)
            {
                int next = whole.Next(states[at], (byte)b);
                int alone = whole.Next(whole[states[at]], (byte)b, out (RegexTerm Term, CharDecoder Node) after);
                Assert.Equal(alone, Math.Min(next, 0));
                if (next >= 0)
                {
                    Assert.Equal(after, whole[next]);
                    if (!states.Contains(next))
                    {
                        states.Add(next);
                    }
                }
            }
        }

        Assert.True(states.Count > 3);
    }

    [Fact]
    public void AMaskIsKeptWhole()
    {
        Random random = new(5);
        for (int round = 0; round < 300; round++)
        {
            ulong[] slice = [.. Enumerable.Range(0, 40).Select(_ => (ulong)random.NextInt64(long.MinValue, long.MaxValue))], mask = round % 3 == 0 ? new ulong[40] : (ulong[])slice.Clone();
            for (int changes = random.Next(round % 7 == 0 ? 40 : 6); changes > 0; changes--)
            {
                mask[random.Next(40)] ^= 1UL << random.Next(64);
            }

            TokenMask kept = TokenMask.Of(mask, round % 3 == 0 ? null : slice);
            ulong[] copy = new ulong[40], small = new ulong[17], large = new ulong[50];
            large.AsSpan().Fill(ulong.MaxValue);
            kept.CopyTo(copy);
            kept.CopyTo(small);
            kept.CopyTo(large);
            Assert.Equal(mask, copy);
            Assert.Equal(mask[..17], small);
            Assert.Equal([.. mask, .. new ulong[10]], large);
            int[] tokens = [.. GrammarTestbed.TokensIn(mask)];
            Assert.Equal(tokens, Enumerable.Range(0, 42 * 64).Where(kept.Contains));
            Assert.Equal(tokens.Length == 1, kept.IsSingle(out int first));
            Assert.Equal(tokens.Length == 0 ? -1 : tokens[0], first);
        }
    }

    private static CompiledGrammar Compile(string kind, string text) => kind switch
    {
        "regex" => new(s_vocabulary, new LexerSymbol(GrammarCompiler.RegexLexer(text))),
        "gbnf" => new(s_vocabulary, GbnfCompiler.Compile(text)),
        _ => new(s_vocabulary, new ValueSymbol(JsonSchemaCompiler.Compile(JsonElement.Parse(text), new JsonSchemaOptions { AnyPropertyOrder = kind == "any order" }))),
    };

    private static List<byte[]> Tokens()
    {
        Random random = new(1);
        string[] alphabets = ["etaoinsrhldcumfpg", "abcdefxyz", "ABCXYZ", "0123456789abcdef", "0123456789", "abz-_./:", "éäöüß", "日本中文", "😀🎉", "ЖабвГ", "\"\\,:{}[] ", "ab\"", "a\n\t"];
        HashSet<string> words = [];
        while (words.Count < 9000)
        {
            string alphabet = alphabets[random.Next(2) == 0 ? 0 : random.Next(alphabets.Length)];
            Rune[] runes = [.. alphabet.EnumerateRunes()];
            words.Add((random.Next(5) == 0 ? " " : "") + string.Concat(Enumerable.Range(0, 2 + random.Next(random.Next(2, 12))).Select(_ => runes[random.Next(runes.Length)].ToString())));
        }

        List<byte[]> tokens = [[], .. Enumerable.Range(0, 256).Select(static b => new[] { (byte)b }), .. words.Select(Encoding.UTF8.GetBytes)];
        foreach (string word in words.Where(static w => w.Any(char.IsSurrogate) || w.Any(static c => c > 127)).Take(200))
        {
            byte[] bytes = Encoding.UTF8.GetBytes(word);
            tokens.Add(bytes[..^1]);
            tokens.Add(bytes[1..]);
        }

        return [tokens[0], .. tokens.Skip(1).DistinctBy(Convert.ToHexString)];
    }
}
