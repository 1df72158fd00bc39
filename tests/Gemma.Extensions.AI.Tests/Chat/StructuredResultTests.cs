using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Answers that were cut, and texts that are kept short.</summary>
public sealed class StructuredResultTests
{
    [Theory]
    [InlineData("{\"Title\":\"A long sto", "/Title")]
    [InlineData("{\"Title\":\"x\",\"Parts\":[{\"Name\":\"a\"},{\"Na", "/Parts/1")]
    [InlineData("{\"Title\":\"x\",\"Parts\":[{\"Name\":\"a\"},{\"Name\":", "/Parts/1/Name")]
    [InlineData("{\"Title\":\"x\",\"Parts\":[", "/Parts/0")]
    [InlineData("{\"Title\":\"x\",\"Parts\":[{\"Name\":\"a\"}", "/Parts/1")]
    [InlineData("{\"a/b~c\":[[1,2],[3", "/a~1b~0c/1/0")]
    [InlineData("{", "")]
    [InlineData("", "")]
    public void AnAnswerThatWasCutSaysWhere(string text, string path)
    {
        Assert.False(Response<Story>(text, ChatFinishReason.Length).TryGetResult(out Story? result, out GemmaAnswerProblem? problem));
        Assert.Null(result);
        Assert.True(problem.IsCut);
        Assert.Equal((path, text.Length), (problem.Path, problem.Length));
        Assert.Contains(path.Length > 0 ? $"at '{path}'" : "at the top", problem.Message, StringComparison.Ordinal);
        Assert.Contains("MaxOutputTokens", problem.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "stop", "has no text")]
    [InlineData("Hello", "stop", "is no JSON at the top")]
    [InlineData("{\"Title\":\"x\",\"Parts\":nothing}", "stop", "is no JSON at '/Parts'")]
    [InlineData("{\"Title\":\"x\"", "stop", "before its JSON does")]
    [InlineData("{\"Title\":1,\"Parts\":[]}", "stop", "cannot be read as Story")]
    public void AnAnswerThatIsNoneSaysWhy(string text, string reason, string expected)
    {
        Assert.False(Response<Story>(text, new ChatFinishReason(reason)).TryGetResult(out _, out GemmaAnswerProblem? problem));
        Assert.False(problem.IsCut);
        Assert.Contains(expected, problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AWholeAnswerHasItsResult()
    {
        Assert.True(Response<Story>("{\"Title\":\"x\",\"Parts\":[{\"Name\":\"a\"}]}", ChatFinishReason.Stop).TryGetResult(out Story? story, out GemmaAnswerProblem? problem));
        Assert.Null(problem);
        Assert.Equal("a", Assert.Single(story.Parts).Name);
    }

    [Fact]
    public async Task TheModelItselfIsCutAndSaysSo()
    {
        using IChatClient client = TinyModel.Client();
        ChatResponse<Story> response = await client.GetResponseAsync<Story>("Hello", new ChatOptions { Temperature = 2, TopK = 0, Seed = 1, MaxOutputTokens = 12 });
        Assert.Equal(ChatFinishReason.Length, response.FinishReason);
        Assert.False(response.TryGetResult(out _, out GemmaAnswerProblem? problem));
        Assert.True(problem.IsCut);
        Assert.Equal(response.Text.Length, problem.Length);
    }

    /// <summary>Random weights end a text by chance only: with a limit, every answer ends, and none has a longer text.</summary>
    [Fact]
    public async Task TextsAreKeptShort()
    {
        using IChatClient client = TinyModel.Client();
        JsonElement schema = JsonElement.Parse("""{"type":"object","properties":{"title":{"type":"string"},"lines":{"type":"array","items":{"type":"string"},"maxItems":3}},"required":["title","lines"],"additionalProperties":false}""");
        for (int seed = 0; seed < 8; seed++)
        {
            ChatResponse response = await client.GetResponseAsync("Hello", new ChatOptions
            {
                ResponseFormat = ChatResponseFormat.ForJsonSchema(schema), Temperature = 2, TopK = 0, TopP = 1, Seed = seed, MaxOutputTokens = 400, RawRepresentationFactory = _ => new GemmaGenerationOptions { MaxStringLength = 10 },
            });
            Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
            JsonElement answer = JsonElement.Parse(response.Text);
            Assert.All(answer.GetProperty("lines").EnumerateArray().Append(answer.GetProperty("title")), text => Assert.InRange(text.GetString()!.EnumerateRunes().Count(), 0, 10));
        }
    }

    [Fact]
    public async Task ALimitOfNothingIsRefused()
    {
        using IChatClient client = TinyModel.Client();
        ArgumentException error = await Assert.ThrowsAnyAsync<ArgumentException>(() => client.GetResponseAsync("Hello", new ChatOptions { ResponseFormat = ChatResponseFormat.Json, RawRepresentationFactory = _ => new GemmaGenerationOptions { MaxStringLength = 0 } }));
        Assert.Contains("MaxStringLength is 0, expected at least 1", error.Message, StringComparison.Ordinal);
    }

    private static ChatResponse<T> Response<T>(string text, ChatFinishReason reason) =>
        new(new ChatResponse(new ChatMessage(ChatRole.Assistant, text)) { FinishReason = reason }, AIJsonUtilities.DefaultOptions);

    private sealed record Part(string Name);

    private sealed record Story(string Title, Part[] Parts);
}
