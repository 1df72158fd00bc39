using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Engine;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>An answer goes on behind what a reader has of it, wherever it was interrupted, as if it never had been.</summary>
public class ResumedAnswerTests
{
    private static readonly AIFunctionDeclaration s_pick = AIFunctionFactory.CreateDeclaration(
        "pick", "Picks.", System.Text.Json.JsonElement.Parse("""{"type":"object","properties":{"color":{"enum":["red","green"]},"count":{"type":"integer","minimum":0,"maximum":99}},"required":["color","count"]}"""));

    public static TheoryData<string, ChatOptions> Answers { get; } = new()
    {
        { "greedy", new ChatOptions { Temperature = 0, MaxOutputTokens = 40 } },
        { "seeded", new ChatOptions { Temperature = 1.5f, TopP = 0.95f, TopK = 0, Seed = 12, MaxOutputTokens = 60 } },
        { "penalties", new ChatOptions { Temperature = 1.2f, Seed = 3, FrequencyPenalty = 0.7f, PresencePenalty = 0.3f, MaxOutputTokens = 40, AdditionalProperties = new() { ["repetition_penalty"] = 1.2 } } },
        { "schema", new ChatOptions { Temperature = 2, TopK = 0, TopP = 1, Seed = 5, MaxOutputTokens = 200, ResponseFormat = ChatResponseFormat.ForJsonSchema(System.Text.Json.JsonElement.Parse("""{"type":"object","properties":{"colour":{"enum":["red","green"]},"names":{"type":"array","items":{"type":"string","maxLength":5},"minItems":2,"maxItems":3}},"required":["colour","names"]}""")) } },
        { "calls", new ChatOptions { Temperature = 2, TopK = 0, TopP = 1, Seed = 7, MaxOutputTokens = 200, Tools = [s_pick], ToolMode = ChatToolMode.RequireAny } },
        { "stop", new ChatOptions { Temperature = 1.5f, TopK = 0, Seed = 21, MaxOutputTokens = 120, StopSequences = ["e", "th", " of the"] } },
        { "chances", new ChatOptions { Temperature = 0, MaxOutputTokens = 24, RawRepresentationFactory = _ => new GemmaGenerationOptions { TopLogProbabilities = 2 } } },
    };

    [Theory]
    [MemberData(nameof(Answers))]
    public async Task AnAnswerGoesOnBehindEveryPart(string name, ChatOptions options)
    {
        List<AnswerPart> whole = await PartsAsync(await TurnAsync(options));
        Assert.True(whole.Count >= 2, name);
        for (int known = 0; known < whole.Count; known++)
        {
            KnownAnswer begun = new([.. whole.Take(known).SelectMany(part => part.Tokens!)], known);
            List<AnswerPart> rest = await PartsAsync(await TurnAsync(options) with { Known = begun });
            Assert.Equal(whole.Skip(known).Select(Show), rest.Select(Show));
        }
    }

    [Fact]
    public async Task ATokenThatWouldNotHaveComeHereEndsTheAnswerWithAReason()
    {
        ChatOptions options = new() { Temperature = 0, MaxOutputTokens = 20 };
        int[] tokens = [.. (await PartsAsync(await TurnAsync(options))).SelectMany(part => part.Tokens ?? [])];
        KnownAnswer other = new([.. tokens[..5], tokens[5] == 900 ? 901 : 900], 1);
        AnswerDivergedException e = await Assert.ThrowsAsync<AnswerDivergedException>(async () => await PartsAsync(await TurnAsync(options) with { Known = other }));
        Assert.Contains("Token 5", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TokensThatTheGrammarForbidsEndTheAnswerWithAReason()
    {
        ChatOptions options = new() { MaxOutputTokens = 20, RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = "[0-9]{8}" } };
        int letter = TinyModel.Model.Tokenizer.EncodeToIds("x")[^1];
        await Assert.ThrowsAsync<AnswerDivergedException>(async () => await PartsAsync(await TurnAsync(options) with { Known = new KnownAnswer([letter, letter], 1) }));
    }

    [Fact]
    public async Task MoreTokensThanWereAskedForAreRefused()
    {
        ChatOptions options = new() { MaxOutputTokens = 3 };
        await Assert.ThrowsAsync<ArgumentException>(async () => await PartsAsync(await TurnAsync(options) with { Known = new KnownAnswer([300, 301, 302, 303, 304, 305], 1) }));
    }

    [Fact]
    public void TokensOfTheAnswerAreComputedAsGeneratedOnes()
    {
        Sequence sequence = new(new GenerationRequest { Prompt = [1, 2, 3], Generated = [4, 5], Sink = new CompletionSink(), MaxOutputTokens = 9 }, 100, 1000, 32, 0, 1, hasPromptKernels: true);
        Assert.Equal([true, true, true, false, false, false], Enumerable.Range(0, 6).Select(sequence.Blocks.Kinds.IsPrompt));
        Assert.Equal((5, 2, 12), (sequence.Count, sequence.GeneratedCount, sequence.MaxTokens));
    }

    [Fact]
    public async Task WarmBlocksAreKnownByTheHashesOfAPrompt()
    {
        GemmaEngine engine = TinyModel.Model.Engine;
        int[] prompt = [2, .. Enumerable.Range(0, 3 * engine.BlockTokens).Select(i => 400 + (i * 7 % 300))];
        await engine.EvaluateAsync(prompt, NoRows.Instance);
        ulong[] hashes = PrefixTree.HashBlocks(prompt, engine.BlockTokens, adapter: 0);
        ulong[] warm = await engine.WarmBlocksAsync(int.MaxValue);
        Assert.Equal(3, hashes.Length);
        Assert.All(hashes, hash => Assert.Contains(hash, warm));
        Assert.DoesNotContain(PrefixTree.HashBlocks(prompt, engine.BlockTokens, adapter: 1)[0], warm);
        Assert.Equal(2, (await engine.WarmBlocksAsync(2)).Length);
    }

    private static async Task<ChatTurn> TurnAsync(ChatOptions options) =>
        await ChatTurn.CreateAsync(TinyModel.Model, [new ChatMessage(ChatRole.User, "Tell me of the sea.")], options, options.RawRepresentationFactory?.Invoke(null!) as GemmaGenerationOptions);

    private static async Task<List<AnswerPart>> PartsAsync(ChatTurn turn)
    {
        List<AnswerPart> parts = [];
        await foreach (AnswerPart part in AnswerStream.PartsAsync(TinyModel.Model, turn, isStreaming: true, keepsTokens: true, CancellationToken.None))
        {
            parts.Add(part);
        }

        return parts;
    }

    private static string Show(AnswerPart part) => part.Content switch
    {
        TextContent text => $"{text.Text} {string.Join(' ', part.Tokens!)} {Chances(part)}",
        FunctionCallContent call => $"{call.Name} {string.Join(' ', call.Arguments!)} {string.Join(' ', part.Tokens!)}",
        UsageContent usage => $"{part.End!.Finish} {part.End.StopSequence} {usage.Details.InputTokenCount} {usage.Details.OutputTokenCount} {Chances(part)}",
        _ => "?",
    };

    private static string Chances(AnswerPart part) => string.Join(' ', (part.LogProbabilities ?? []).Select(place => $"{place.Token.TokenId}:{place.Token.LogProbability:R}"));
}
