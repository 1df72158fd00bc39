using System.Text.Json;
using Gemma.Extensions.AI.Benchmarks.Types;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Tokens that a grammar forces are appended without the model; the text is what the model alone would have given under the masks.</summary>
public sealed class JumpForwardTests
{
    private static readonly GemmaTokenizer s_tokenizer = Text.Tokenizers.Tiny;

    public static TheoryData<string> Schemas =>
    [
        """{"type":"object","properties":{"temperature":{"type":"integer"},"condition":{"enum":["sunny","snowing"]},"certain":{"type":"boolean"}},"required":["temperature","condition","certain"],"additionalProperties":false}""",
        """{"type":"array","items":{"const":"a rather long constant text that leaves no choice"},"minItems":2,"maxItems":2}""",
        """{"type":"string","pattern":"^[0-9]{4}-[0-9]{2}-[0-9]{2}T00:00:00\\.000Z$"}""",
    ];

    [Theory]
    [MemberData(nameof(Schemas))]
    public void GreedyTextIsTheSame(string schema) =>
        AssertSame(() => Constraints.Create(s_tokenizer, new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse(schema)) }, [s_tokenizer.EndOfTurnId])!);

    [Fact]
    public void GreedyCallsAreTheSame()
    {
        AIFunctionDeclaration tool = AIFunctionFactory.CreateDeclaration("get_weather_of_a_city", "Weather.", JsonElement.Parse("""{"type":"object","properties":{"unit":{"enum":["celsius","fahrenheit"]}},"required":["unit"]}"""));
        AssertSame(() => Constraints.Create(
            s_tokenizer, new ChatOptions { Tools = [tool], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false }, [s_tokenizer.EndOfTurnId])!);
    }

    private static void AssertSame(Func<ITokenConstraint> create)
    {
        using TinyEngine tiny = new(TinyEngine.Exact with { SpeculativeTokens = 0, PrefixCache = false });
        int forced = 0, tokens = 0;
        for (int seed = 0; seed < 6; seed++)
        {
            int[] prompt = TinyEngine.Prompt(seed, 20);
            Watched plain = new(create(), jump: false), jumping = new(create(), jump: true);
            Generation expected = tiny.Start(prompt, 100, plain, [s_tokenizer.EndOfTurnId]);
            Assert.Null(expected.Result.Error);
            long before = tiny.Engine.Steps;
            Generation actual = tiny.Start(prompt, 100, jumping, [s_tokenizer.EndOfTurnId]);
            Assert.Null(actual.Result.Error);
            Assert.Equal(expected.Tokens, actual.Tokens);
            Assert.Equal(expected.Result.Finish, actual.Result.Finish);

            // What is forced behind the last token that fits is counted too.
            int spared = jumping.Forced - (actual.Result.Finish == EngineFinish.Length ? 31 : 0);
            Assert.True(tiny.Engine.Steps - before <= actual.Tokens.Length + 2 - spared, $"{tiny.Engine.Steps - before} steps for {actual.Tokens.Length} tokens, {jumping.Forced} of them forced");
            (forced, tokens) = (forced + jumping.Forced, tokens + actual.Tokens.Length);
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{forced} of {tokens} tokens were forced");
        Assert.True(forced > 0, "Nothing was forced, so nothing was shown.");
    }

    /// <summary>Counts the tokens that were forced, or forces none.</summary>
    private sealed class Watched(ITokenConstraint inner, bool jump) : ITokenConstraint
    {
        public int Forced { get; private set; }

        public bool TryFillMask(Span<ulong> mask) => inner.TryFillMask(mask);

        public bool IsAllowed(int token) => inner.IsAllowed(token);

        public void Accept(int token) => inner.Accept(token);

        public int GetForcedTokens(Span<int> tokens, ref long budget)
        {
            int count = jump ? inner.GetForcedTokens(tokens, ref budget) : 0;
            Forced += count;
            return count;
        }

        public ITokenConstraint Clone() => new Watched(inner.Clone(), jump);
    }
}
