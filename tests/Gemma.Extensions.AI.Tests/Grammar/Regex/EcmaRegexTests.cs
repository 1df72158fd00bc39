using System.Text;
using Gemma.Extensions.AI.Grammar.Regex;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Assertions of expressions, wherever they stand: what ECMA-262 makes of them.</summary>
public sealed class EcmaRegexTests
{
    public static TheoryData<string, string[], string[]> Searches => new()
    {
        { "(?!^)a?", ["a", "b", "ab", "xyz"], [""] },
        { "(?!^$)[ab]{0,3}", ["a", "ab", "x", "abab"], [""] },
        { "(?!^a)b", ["b", "ab", "ba"], ["a", ""] },
        { "^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$", ["1", "-1.5", "+00.5", ".5", "5.", "0"], ["", "-", "+", ".", "-.", "1.2.3", "a", "1e5"] },
        { "a(?=$)", ["a", "ba"], ["ab", ""] },
        { "a(?!$)", ["ab", "aa"], ["a", "ba", "b"] },
        { "(?:^|,)x(?:,|$)", ["x", "a,x", "x,a", "a,x,b"], ["ax", "xa", "a,xb", ""] },
        { "(?:^a|b$)+", ["a", "ax", "xb", "ab"], ["xa", "bx", ""] },
        { "(^|-)(a|b)(-|$)", ["a", "a-x", "x-b", "x-a-x"], ["xa", "ax", "xax"] },
        { "x*^a", ["a", "ab"], ["xa", "b"] },
        { "a$b*", ["a", "xa"], ["ab", "b"] },
        { "a^b", [], ["ab", "a", "b", "a^b"] },
        { "a$b", [], ["ab", "a", "a$b"] },
        { "^^a$$", ["a"], ["aa", "^a$"] },
        { "(^a)?b", ["ab", "b", "cb"], ["a", ""] },
        { "^(?:a|^b|c$)*$", ["", "a", "b", "c", "ba", "ac", "baac"], ["ab", "ca", "bb", "cc"] },
        { "\\bab\\b", ["ab", "x ab", "ab-", "-ab y"], ["xab", "abx", "ab_", "a b"] },
        { "\\Bb", ["ab", "xb ", "_b"], ["b", " b", "a-b"] },
        { "^\\b", ["a", "a "], ["", " a"] },
        { "\\b$", ["a", " a"], ["", "a "] },
        { "^\\B$", [""], ["a", " "] },
        { "\\b(?:\\w+\\b-?)+$", ["ab", "ab-cd", "a b"], ["", "ab--"] },
        { "(?=\\bfoo\\b).*r", ["foo bar", "x foo r"], ["foobar", "fooer", "bar foo"] },
        { "\\w\\b\\W", ["a-", "ab !"], ["ab", "-a"] },
        { "\\ba|\\Bb", ["a", "ab", " a"], ["b", "xa", " b"] },
        { "^(?:(?!foo).)*$", ["", "fo", "barf", "fofo"], ["foo", "xfoo", "foofoo", "a\nb"] },
        { "^(?:(?=[a-c])\\w)+$", ["a", "abc"], ["d", "ad", ""] },
        { "^(?:a(?!b)|b)*$", ["aa", "ba", "bb", ""], ["ab", "bab"] },
        { "^(?:(?=(?:..)*$)a){2,}$", [], ["a", "aa", "aaa"] },
        { "(?=.*\\d)(?=.*[a-z]$)^.{2,4}$", ["1a", "a1b", "11ab"], ["a1", "1A", "1234a", "a"] },
        { "(?!)", [], ["", "a"] },
        { "(?=)", ["", "a"], [] },
        { "(?:$)*", ["", "a"], [] },
        { "(?:\\b){2}a", ["a", "-a"], ["b", ""] },
        { "^(?:^a{1,2}$|b){1,3}$", ["a", "aa", "b", "bbb"], ["ab", "ba", "bbbb", "aaa", ""] },
        { "[\\b]", ["\b"], ["b"] },
        { "^[\\d-z]$", ["1", "-", "z"], ["a", "y"] },
    };

    [Theory]
    [MemberData(nameof(Searches))]
    public void ASearchFindsWhatTheExpressionSays(string pattern, string[] found, string[] missed)
    {
        RegexArena arena = new();
        RegexTerm rx = EcmaRegex.Compile(arena, pattern);
        Assert.All(found, text => Assert.True(arena.Matches(rx, text), $"/{pattern}/ is in '{text}'."));
        Assert.All(missed, text => Assert.False(arena.Matches(rx, text), $"/{pattern}/ is not in '{text}'."));
        Assert.True(found.Length == 0 || arena.IsLive(rx));
    }

    [Theory]
    [InlineData("(?!^a)[ab]{1,3}", "b ba bab", "a ab aab c abab")]
    [InlineData("(?=^a)[ab]{1,3}", "a ab abb", "b ba")]
    [InlineData("a|^b$", "a b", "ab ba")]
    [InlineData("(?:a\\b-?)+", "a a- a-a", "aa -a")]
    [InlineData("a(?=b)", "", "a ab")]
    [InlineData("(?!.*bb)[ab]+$", "a abab b", "bb abba")]
    public void TheWholeAnswerMatches(string pattern, string accepted, string rejected)
    {
        RegexArena arena = new();
        RegexTerm rx = EcmaRegex.Compile(arena, pattern, wholeText: true);
        Assert.All(accepted.Split(' ', StringSplitOptions.RemoveEmptyEntries), text => Assert.True(arena.Matches(rx, text), text));
        Assert.All(rejected.Split(' '), text => Assert.False(arena.Matches(rx, text), text));
    }

    /// <summary>Expressions full of assertions say of every short text what .NET's backtracking says.</summary>
    [Fact]
    public void AssertionsAgreeWithBacktrackingOnAllShortTexts()
    {
        string[] atoms = ["a", "b", "-", "[ab]", "[^a]", "\\w", "\\W", ".", "^", "$", "\\b", "\\B", "(?=a)", "(?!a)", "(?!^)", "(?=$)", "(?:)"];
        List<string> texts = [""];
        for (int i = 0, end = 1; i < 3; i++, end = texts.Count)
        {
            texts.AddRange(texts[..end].Where(t => t.Length == i).SelectMany(static t => (string[])[t + "a", t + "b", t + "-"]).ToArray());
        }

        Random random = new(17);
        int found = 0, checks = 0;
        for (int i = 0; i < 1_000; i++)
        {
            string pattern = Next(3);
            RegexArena arena = new();
            RegexTerm search = EcmaRegex.Compile(arena, pattern), whole = EcmaRegex.Compile(arena, pattern, wholeText: true);
            System.Text.RegularExpressions.Regex search2 = new(pattern), whole2 = new($"^(?:{pattern})$");
            foreach (string text in texts)
            {
                bool expected = search2.IsMatch(text);
                Assert.True(expected == arena.Matches(search, text), $"/{pattern}/ on '{text}' should be {expected}.");
                Assert.True(whole2.IsMatch(text) == arena.Matches(whole, text), $"/{pattern}/ on all of '{text}' should be {!arena.Matches(whole, text)}.");
                (found, checks) = (found + (expected ? 1 : 0), checks + 1);
            }
        }

        Assert.InRange(found, checks / 5, checks * 4 / 5);

        string Next(int depth) => depth == 0 || random.Next(5) == 0 ? atoms[random.Next(atoms.Length)] : random.Next(9) switch
        {
            0 => $"(?:{Next(depth - 1)}|{Next(depth - 1)})",
            1 => $"(?:{Next(depth - 1)})*",
            2 => $"(?:{Next(depth - 1)}){{1,2}}",
            3 => $"(?:{Next(depth - 1)})?{Next(depth - 1)}",
            4 => $"(?={Next(depth - 1)})",
            5 => $"(?!{Next(depth - 1)})",
            6 => $"(?:{Next(depth - 1)})+",
            _ => Next(depth - 1) + Next(depth - 1),
        };
    }

    [Theory]
    [InlineData("(a)\\1", "back-references")]
    [InlineData("(?<n>a)\\k<n>", "back-references")]
    [InlineData("(?<=a)b", "look-behind")]
    [InlineData("(?<!a)b", "look-behind")]
    [InlineData("a++", "possessive")]
    [InlineData("(?i:a)", "flags")]
    [InlineData("\\Aa", "ECMA-262")]
    [InlineData("\\01", "octal")]
    [InlineData("\\p{Foo}", "property")]
    public void WhatNoAutomatonCanDecideIsRefused(string pattern, string what) => Assert.Contains(what, Assert.Throws<NotSupportedException>(() => EcmaRegex.Compile(new RegexArena(), pattern)).Message);

    [Theory]
    [InlineData("^*")]
    [InlineData("\\b+")]
    [InlineData("a**")]
    [InlineData("a{2}{3}")]
    [InlineData("{2}")]
    [InlineData("\\u{ 41}")]
    [InlineData("(?=a")]
    public void WhatIsNoExpressionIsMalformed(string pattern) => Assert.Throws<FormatException>(() => EcmaRegex.Compile(new RegexArena(), pattern));

    /// <summary>A text that a random walk makes under the expression is one that .NET finds it in.</summary>
    [Theory]
    [InlineData("^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$")]
    [InlineData("^(?:(?!ab).)*$")]
    [InlineData("\\b[ab]+\\b-\\B")]
    [InlineData("(?:^|-)a(?=-|$)")]
    public void RandomAnswersMatch(string pattern)
    {
        CompiledGrammar grammar = GrammarTestbed.Schema(new System.Text.Json.Nodes.JsonObject { ["type"] = "string", ["pattern"] = pattern, ["maxLength"] = 12 }.ToJsonString());
        int ended = 0;
        for (int seed = 0; seed < 25; seed++)
        {
            if (GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), new Random(seed), 60) is { } text && System.Text.Json.JsonElement.Parse(text).GetString() is { } value && value.IsNormalized(NormalizationForm.FormC) && value.All(char.IsAscii))
            {
                ended++;
                Assert.Matches(new System.Text.RegularExpressions.Regex(pattern, System.Text.RegularExpressions.RegexOptions.ECMAScript), value);
            }
        }

        Assert.True(ended > 0, pattern);
    }
}
