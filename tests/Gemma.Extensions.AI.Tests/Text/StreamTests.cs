using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Text;

public sealed class TokenStreamTests
{
    [Fact]
    public void StreamingGivesWhatDecodingGivesAndNeverHalfACharacter()
    {
        Random random = new(3);
        for (int round = 0; round < 3000; round++)
        {
            int[] ids = [.. Enumerable.Range(0, random.Next(1, 12)).Select(_ => random.Next(3) == 0 ? random.Next(26, 282) : random.Next(10, 1024))];
            TokenStream stream = new(Tokenizers.Tiny);
            StringBuilder text = new();
            foreach (int id in ids)
            {
                stream.Append(id, text);
                Assert.False(text.Length > 0 && char.IsHighSurrogate(text[^1]));
            }

            stream.Flush(text);
            Assert.Equal(Tokenizers.Tiny.Decode(ids), text.ToString());
            Assert.Equal(DecodeAsSentencePiece(ids), text.ToString());
        }
    }

    [Fact]
    public void ACharacterAppearsWithItsLastByte()
    {
        int[] ids = Tokenizers.Tiny.Encode("🕰", true);
        Assert.Equal(4, ids.Length);
        TokenStream stream = new(Tokenizers.Tiny);
        StringBuilder text = new();
        for (int i = 0; i < 3; i++)
        {
            stream.Append(ids[i], text);
            Assert.Equal(0, text.Length);
            Assert.True(stream.HasPending);
        }

        stream.Append(ids[3], text);
        Assert.Equal("🕰", text.ToString());
    }

    /// <summary>SentencePiece: each run of byte pieces is decoded by itself, one U+FFFD for each byte that belongs to no character.</summary>
    private static string DecodeAsSentencePiece(int[] ids)
    {
        StringBuilder text = new();
        List<byte> run = [];
        foreach (int id in ids)
        {
            if (Tokenizers.Tiny.GetKind(id) == TokenKind.Byte)
            {
                run.Add(Tokenizers.Tiny.GetBytes(id)[0]);
                continue;
            }

            Flush();
            text.Append(Encoding.UTF8.GetString(Tokenizers.Tiny.GetBytes(id)));
        }

        Flush();
        return text.ToString();

        void Flush()
        {
            byte[] bytes = [.. run];
            run.Clear();
            for (int at = 0; at < bytes.Length;)
            {
                int length = Enumerable.Range(1, Math.Min(4, bytes.Length - at)).FirstOrDefault(length => IsCharacter(bytes.AsSpan(at, length)));
                text.Append(length == 0 ? "\uFFFD" : Encoding.UTF8.GetString(bytes, at, length));
                at += Math.Max(1, length);
            }
        }

        static bool IsCharacter(ReadOnlySpan<byte> bytes) =>
            System.Text.Unicode.Utf8.IsValid(bytes) && new UTF32Encoding().GetByteCount(Encoding.UTF8.GetString(bytes)) == 4;
    }
}

public sealed class StopMatcherTests
{
    [Theory]
    [InlineData("Hello STOP world", "STOP", "Hello ", true)]
    [InlineData("Hello STO", "STOP", "Hello STO", false)]
    [InlineData("aaab", "aab", "a", true)]
    [InlineData("ababac", "abac", "ab", true)]
    [InlineData("no", "", "no", false)]
    [InlineData("stop", "STOP", "stop", false)]
    [InlineData("STOP", "STOP", "", true)]
    public void StopsBeforeTheSequence(string text, string stop, string expected, bool stopped)
    {
        for (int size = 1; size <= text.Length; size++)
        {
            AssertStop(text, [stop], size, expected, stopped);
        }
    }

    [Fact]
    public void OfSeveralTheFirstToBeCompleteCounts()
    {
        AssertStop("one two three", ["three", "wo "], 2, "one t", true);
        AssertStop("abc", ["c", "bc"], 1, "a", true);
        AssertStop("xabcd", ["abcd", "bc"], 1, "xa", true);
    }

    [Fact]
    public void AnyTextInAnyPiecesGivesWhatSearchingGives()
    {
        Random random = new(7);
        for (int round = 0; round < 5000; round++)
        {
            string text = Letters(random, 20);
            string[] stops = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => Letters(random, 4))];
            int end = Enumerable.Range(1, text.Length).FirstOrDefault(end => stops.Any(stop => text.AsSpan(0, end).EndsWith(stop)));
            string expected = end == 0 ? text : text[..(end - stops.Where(stop => text.AsSpan(0, end).EndsWith(stop)).Max(stop => stop.Length))];
            AssertStop(text, stops, random.Next(1, 5), expected, end > 0);
        }

        static string Letters(Random random, int most) => string.Concat(Enumerable.Range(0, random.Next(1, most)).Select(_ => (char)('a' + random.Next(2))));
    }

    [Fact]
    public void WhatCannotBelongToASequenceComesOutAtOnce()
    {
        StopMatcher matcher = new(["###"]);
        StringBuilder output = new();
        matcher.Append("a#", output);
        Assert.Equal("a", output.ToString());
        matcher.Append("#b", output);
        Assert.Equal("a##b", output.ToString());
    }

    private static void AssertStop(string text, string[] stops, int size, string expected, bool stopped)
    {
        StopMatcher matcher = new(stops);
        StringBuilder output = new();
        bool result = false;
        for (int at = 0; at < text.Length && !result; at += size)
        {
            result = matcher.Append(new StringBuilder(text[at..Math.Min(text.Length, at + size)]), output);
        }

        if (!result)
        {
            matcher.Flush(output);
        }

        Assert.Equal((expected, stopped), (output.ToString(), result));
    }
}

public sealed class ToolCallParserTests
{
    [Theory]
    [InlineData("Just text.", "Just text.")]
    [InlineData(" spaces stay \n", " spaces stay \n")]
    [InlineData("""<tool_call>{"name":"f","arguments":{}}</tool_call>""", "f{}")]
    [InlineData("""Wait.   <tool_call>{"name":"f","arguments":{"a":1.50,"b":["x"],"c":null}}</tool_call>""", """Wait.|f{"a":1.50,"b":["x"],"c":null}""")]
    [InlineData("<tool_call> {\"name\" : \"f\", \"arguments\": {} } </tool_call>\n\n<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>\n", "f{}|g{}")]
    [InlineData("""<tool_call>{"name":"f","arguments":{"a":"</tool_call>}\"{"}}</tool_call>tail""", """f{"a":"</tool_call>}\"{"}|tail""")]
    [InlineData("<tool_call>nonsense", "<tool_call>nonsense")]
    [InlineData("a < b <tool_ <<tool_call>", "a < b <tool_ <")]
    [InlineData("""<tool_call>{"name":1,"arguments":{}}</tool_call>.""", """<tool_call>{"name":1,"arguments":{}}</tool_call>.""")]
    [InlineData("""<tool_call>{"name":"f","arguments":{}]</tool_call>""", """<tool_call>{"name":"f","arguments":{}]</tool_call>""")]
    [InlineData("""Then <tool_call>{"name":"f","argum""", "Then")]
    [InlineData("""<tool_call>{"name":"f","arguments":{}}<tool_call>{"name":"g","arguments":{}}</tool_call>""", """<tool_call>{"name":"f","arguments":{}}|g{}""")]
    public void TextAndCallsComeApartWhereverTheTokensBreak(string text, string expected)
    {
        for (int size = 1; size <= text.Length; size++)
        {
            List<AIContent> contents = [];
            ToolCallParser parser = new();
            for (int at = 0; at < text.Length; at += size)
            {
                parser.Append(text.AsSpan(at, Math.Min(size, text.Length - at)), contents);
            }

            parser.Flush(contents);
            Assert.Equal(expected, Show(contents));
            Assert.Equal(contents.OfType<FunctionCallContent>().Count(), parser.CallCount);
            Assert.Equal(parser.CallCount, contents.OfType<FunctionCallContent>().Select(call => call.CallId).Distinct().Count());
        }
    }

    [Fact]
    public void ACallIsReadBackAsItWasWritten()
    {
        FunctionCallContent call = new("1", "f", new Dictionary<string, object?>
        {
            ["text"] = "quotes \" and \\ and \u0001 and 🕰 and </tool_call>", ["number"] = 1e300, ["nested"] = new[] { new Dictionary<string, int> { ["k"] = 1 } },
        });
        List<AIContent> contents = [];
        new ToolCallParser().Append(ChatTemplate.RenderCall(call), contents);
        FunctionCallContent parsed = Assert.IsType<FunctionCallContent>(Assert.Single(contents));
        Assert.Equal(ChatTemplate.RenderCall(call), ChatTemplate.RenderCall(parsed));
        Assert.Equal(call.Arguments!["text"], Assert.IsType<JsonElement>(parsed.Arguments!["text"]).GetString());
    }

    private static string Show(List<AIContent> contents)
    {
        StringBuilder shown = new();
        bool wasText = false;
        foreach (AIContent content in contents)
        {
            if (content is TextContent text)
            {
                shown.Append(shown.Length > 0 && !wasText ? "|" : "").Append(text.Text);
                wasText = true;
            }
            else
            {
                FunctionCallContent call = (FunctionCallContent)content;
                string rendered = ChatTemplate.RenderCall(call).Replace("\\u003c", "<", StringComparison.Ordinal);
                shown.Append(shown.Length > 0 ? "|" : "").Append(call.Name).Append(rendered[rendered.IndexOf(":{", StringComparison.Ordinal)..^"}</tool_call>".Length].TrimStart(':'));
                wasText = false;
            }
        }

        return shown.ToString();
    }
}
