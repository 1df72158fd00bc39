using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Numbers without limits: what doubles tell apart, and every integer of 64 bits.</summary>
public sealed class FreeNumberTests
{
    [Theory]
    [InlineData("0", true)]
    [InlineData("12345678901234567", true)]
    [InlineData("123456789012345678", true)]
    [InlineData("9223372036854775807", true)]
    [InlineData("9223372036854775808", false)]
    [InlineData("9999999999999999999", false)]
    [InlineData("12345678901234567890", false)]
    [InlineData("0123456789012345678", false)]
    [InlineData("123456789012345678.5", false)]
    [InlineData("12345678901234567.5", true)]
    [InlineData("123456789012345678e1", false)]
    [InlineData("1.7e279", true)]
    public void IntegersOfALongAreNumbers(string text, bool isAllowed)
    {
        foreach (string schema in (string[])["true", """{"type":"number"}""", """{"type":["number","null"]}"""])
        {
            CompiledGrammar grammar = GrammarTestbed.Schema(schema);
            Assert.Equal(isAllowed, GrammarTestbed.Accepts(grammar, text));
            Assert.Equal(isAllowed || text == "9223372036854775808", GrammarTestbed.Accepts(grammar, "-" + text));
            Assert.Equal(isAllowed, GrammarTestbed.Accepts(GrammarTestbed.Schema("""{"items":{}}"""), $"[{text},{text}]"));
        }

        CompiledGrammar positive = GrammarTestbed.Schema("""{"type":"number","minimum":0}""");
        Assert.Equal(isAllowed, GrammarTestbed.Accepts(positive, text));
        Assert.False(GrammarTestbed.Accepts(positive, "-" + text) && text != "0");
    }
}
