using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Gbnf;
using Gemma.Extensions.AI.Grammar.Regex;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Random grammars and random weights, judged by a direct evaluator and by .NET's regular expressions.</summary>
public sealed class GrammarPropertyTests
{
    [Fact]
    public void TwoThousandRandomSchemasGiveOnlyValidDocuments()
    {
        int compiled = 0, documents = 0, refused = 0;
        for (int seed = 0; compiled < 2000; seed++)
        {
            Random random = new(seed);
            string schema = new RandomSchema(random).Next();
            CompiledGrammar grammar;
            try
            {
                grammar = GrammarTestbed.Schema(schema, new JsonSchemaOptions { AnyPropertyOrder = random.Next(2) == 0, AllowWhitespace = random.Next(4) > 0 });
            }
            catch (Exception e) when (e is NotSupportedException or ArgumentException)
            {
                refused++;
                continue;
            }

            compiled++;
            if (GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), random, 150, checkMasks: seed % 10 == 0) is not { } text)
            {
                continue; // Cut off, as by MaxOutputTokens.
            }

            documents++;
            using JsonDocument document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 512, AllowDuplicateProperties = false });
            bool valid = SchemaOracle.IsValid(JsonElement.Parse(schema), document.RootElement);
            Assert.True(valid, $"Seed {seed}: the schema {schema} gave {text}, which does not validate.");
        }

        Assert.True(documents > 1000, $"Only {documents} of {compiled} texts ended.");
        Assert.True(refused < 1500, $"{refused} schemas were refused.");
    }

    [Fact]
    public void RandomExpressionsAgreeWithDotNetRegex()
    {
        Random random = new(3);
        int matches = 0, checks = 0;
        for (int i = 0; i < 900; i++)
        {
            string pattern = RandomSchema.Pattern(random, 3);
            RegexArena arena = new();
            RegexTerm search = EcmaRegex.Compile(arena, pattern), whole = EcmaRegex.Compile(arena, pattern, wholeText: true);
            System.Text.RegularExpressions.Regex search2 = new(pattern, RegexOptions.ECMAScript), whole2 = new($"^(?:{pattern})$(?!\n)", RegexOptions.ECMAScript);
            for (int k = 0; k < 20; k++)
            {
                string text = string.Concat(Enumerable.Range(0, random.Next(7)).Select(_ => "abc1-"[random.Next(5)]));
                bool expected = search2.IsMatch(text);
                Assert.True(expected == arena.Matches(search, text), $"/{pattern}/ on '{text}' should be {expected}.");
                Assert.True(whole2.IsMatch(text) == arena.Matches(whole, text), $"/{pattern}/ on all of '{text}' should be {!arena.Matches(whole, text)}.");
                matches += expected ? 1 : 0;
                checks++;
            }
        }

        Assert.InRange(matches, checks / 20, checks * 19 / 20);
    }

    /// <summary>Limits of length from several schemas meet, with and without an expression between them.</summary>
    [Fact]
    public void LimitsOfLengthAreTheNarrowestOfAll()
    {
        (int Min, int Max)[] limits = [.. Enumerable.Range(0, 4).SelectMany(static min => Enumerable.Range(min, 4 - min).Append(-1).Select(max => (min, max)))];
        foreach ((int min1, int max1) in limits)
        {
            foreach ((int min2, int max2) in limits)
            {
                foreach (string pattern in (string[])["^(?!b)", "^(?=.*a)", "^[ab]*$", ""])
                {
                    RegexArena arena = new();
                    RegexTerm term = arena.And([arena.Repeat(arena.AnyChar, min1, max1), EcmaRegex.Compile(arena, pattern), arena.Repeat(arena.AnyChar, min2, max2)]);
                    foreach (string text in (string[])["", "a", "b", "aa", "ab", "ba", "aab", "bab", "aaaa"])
                    {
                        bool expected = text.Length >= min1 && text.Length >= min2 && (max1 < 0 || text.Length <= max1) && (max2 < 0 || text.Length <= max2) && System.Text.RegularExpressions.Regex.IsMatch(text, pattern);
                        Assert.True(arena.Matches(term, text) == expected, $"'{text}' of {min1} to {max1} and {min2} to {max2} characters and /{pattern}/ should be {expected}.");
                    }
                }
            }
        }
    }

    [Fact]
    public void RandomTextsOfAnExpressionMatchIt()
    {
        Random random = new(5);
        foreach (string pattern in (string[])["[a-c]+\\d{2}(x|y)?", "(ab|a)*c", "[^a]{1,5}", "\\p{Lu}\\w*", "é+日?", "a{3,}|b"])
        {
            CompiledGrammar grammar = new(GrammarTestbed.Vocabulary, new LexerSymbol(GrammarCompiler.RegexLexer(pattern)));
            int ended = 0;
            for (int i = 0; i < 30; i++)
            {
                if (GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), random, 40) is { } text && !text.Any(char.IsSurrogate)) // .NET counts halves of characters.
                {
                    ended++;
                    Assert.Matches(new System.Text.RegularExpressions.Regex($"^(?:{pattern})$(?!\n)"), text);
                }
            }

            Assert.True(ended > 5, pattern);
        }
    }

    [Fact]
    public void RecursiveGbnfGivesBalancedTexts()
    {
        const string Arithmetic = """
            # Sums of products, with comments and continuation lines.
            root ::= expr "\n"
            expr ::= term (("+" | "-")
                term)*
            term ::= factor ("*" factor)*
            factor ::= [1-9] [0-9]{0,3} | "(" expr ")"
            """;
        CompiledGrammar grammar = new(GrammarTestbed.Vocabulary, GbnfCompiler.Compile(Arithmetic));
        Assert.True(GrammarTestbed.Accepts(grammar, "12+(3*4-5)*9999\n"));
        Assert.False(GrammarTestbed.Accepts(grammar, "12+(3*4-5*9\n"));
        Assert.False(GrammarTestbed.Accepts(grammar, "12345\n"));
        Random random = new(11);
        int ended = 0;
        for (int i = 0; i < 200; i++)
        {
            if (GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), random, 200) is { } text)
            {
                ended++;
                Assert.EndsWith("\n", text);
                Assert.Equal(text.Count(c => c == '('), text.Count(c => c == ')'));
            }
        }

        Assert.True(ended > 50);
    }
}
