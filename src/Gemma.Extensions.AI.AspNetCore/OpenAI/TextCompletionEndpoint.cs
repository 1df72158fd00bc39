using System.Text.Json;
using System.Text.Json.Serialization;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Gemma.Extensions.AI.Chat;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary><c>POST /v1/completions</c>: continues texts or tokens verbatim, without turns.</summary>
internal static class TextCompletionEndpoint
{
    /// <summary>Prompts of one request.</summary>
    private const int MaxPrompts = 128;

    /// <summary>OpenAI's limit of an answer where none is given.</summary>
    private const int DefaultMaxTokens = 16;

    private const int MaxLogProbabilities = 20;

    public static async Task RunAsync(HttpContext http, ServerCore core)
    {
        TextCompletionRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.TextCompletionRequest, core.Options).ConfigureAwait(false);
        ModelChoice choice = core.Models.Resolve(body.Model, ModelPurpose.Chat);
        TextsOrTokens prompts = TextsOrTokens.Read(body.Prompt, "prompt");
        Refuse(body, prompts);
        int n = ChatCompletionOptions.ReadChoices(body.N, core.Options.MaxChoices);
        ChatOptions options = ChatCompletionOptions.ReadSampling(body);
        options.MaxOutputTokens = body.MaxTokens ?? DefaultMaxTokens;
        ChatRequest request = new()
        {
            Model = choice,
            Messages = [],
            Options = options,
            Extras = ChatCompletionOptions.ReadExtras(http, body, body.Logprobs),
            Choices = prompts.Count * n,
            ChoicesPerPrompt = n,
            Source = RawCompletion.Of(choice, number => new RawPrompt(prompts.Texts?[number / n], prompts.Tokens?[number / n])),
        };
        IReadOnlyList<string>? echoed = body.Echo != true ? null : prompts.Texts ?? await DecodeAsync(choice, prompts.Tokens!, http.RequestAborted).ConfigureAwait(false);
        string[] echoes = [.. Enumerable.Range(0, request.Choices).Select(number => echoed?[number / n] ?? "")];
        if (body.Stream == true)
        {
            using EventStream stream = new(http, core.Options);
            TextCompletionWriter writer = new(stream, choice.Name, echoes, n, body.StreamOptions?.IncludeUsage == true);
            await ChatRunner.StreamAsync(core, http, request, stream, writer).ConfigureAwait(false);
            return;
        }

        ChatResponse[] responses = await ChatRunner.AnswerAsync(core, http, request).ConfigureAwait(false);
        TextCompletion answer = new()
        {
            Id = $"cmpl-{Guid.NewGuid():N}",
            Created = DateTimeOffset.UtcNow.ToUnixTimeSeconds(),
            Model = choice.Name,
            Choices = [.. responses.Select((response, i) => Describe(response, i, echoes[i]))],
            Usage = CompletionParts.Usage(responses.Select(static response => response.Usage), n),
        };
        await ApiEndpoint.WriteJsonAsync(http, answer, OpenAIJson.Wire.TextCompletion).ConfigureAwait(false);
    }

    private static async Task<string[]> DecodeAsync(ModelChoice choice, IReadOnlyList<IReadOnlyList<int>> prompts, CancellationToken cancellation)
    {
        TokenAnswer[] decoded = await Task.WhenAll(prompts.Select(tokens => PromptTokens.AskAsync(choice, new TokenQuestion { Tokens = tokens, WantsText = true }, cancellation))).ConfigureAwait(false);
        return [.. decoded.Select(static answer => answer.Text!)];
    }

    private static TextCompletionChoice Describe(ChatResponse response, int index, string echo) => new()
    {
        Index = index,
        Text = echo + CompletionParts.Text(response),
        Logprobs = TextLogProbabilities.Of(response.GetLogProbabilities(), echo.Length),
        FinishReason = CompletionParts.FinishReason(response.FinishReason, hasCalls: false),
    };

    private static void Refuse(TextCompletionRequest body, TextsOrTokens prompts)
    {
        if (body.Suffix is { Length: > 0 })
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'suffix' is not supported: Gemma 2 was not trained to fill in the middle. Leave it out.", "suffix");
        }

        if (body.BestOf is > 1 && body.BestOf != body.N)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'best_of' is not supported beyond 'n'. Ask for 'n' and choose.", "best_of");
        }

        if (body.Echo == true && body.Logprobs is not null)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'echo' together with 'logprobs' is not supported: only tokens that are generated have log probabilities.", "echo");
        }

        if (body.Logprobs is < 0 or > MaxLogProbabilities)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"'logprobs' is {body.Logprobs}, expected 0 to {MaxLogProbabilities}.", "logprobs");
        }

        if (prompts.Count > MaxPrompts)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"'prompt' has {prompts.Count:N0} prompts, expected at most {MaxPrompts}.", "prompt");
        }

        if (prompts.Texts?.Any(string.IsNullOrEmpty) == true)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'prompt' has an empty text.", "prompt");
        }
    }
}

/// <summary>Writes the events of a text completion.</summary>
internal sealed class TextCompletionWriter(EventStream stream, string model, string[] echoes, int choicesPerPrompt, bool includeUsage) : IAnswerWriter
{
    private readonly string _id = $"cmpl-{Guid.NewGuid():N}";
    private readonly long _created = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
    private readonly int[] _written = new int[echoes.Length];
    private readonly bool[] _begun = new bool[echoes.Length];
    private readonly ChatFinishReason?[] _finish = new ChatFinishReason?[echoes.Length];
    private readonly UsageDetails?[] _usage = new UsageDetails?[echoes.Length];

    public void Write(ChoiceUpdate piece)
    {
        _finish[piece.Choice] = piece.Update.FinishReason ?? _finish[piece.Choice];
        _usage[piece.Choice] = piece.Update.Contents.OfType<UsageContent>().LastOrDefault()?.Details ?? _usage[piece.Choice];
        Write(piece.Choice, piece.Update.Text, piece.Update.GetLogProbabilities(), finish: null);
    }

    public void Complete()
    {
        for (int i = 0; i < echoes.Length; i++)
        {
            Write(i, "", [], CompletionParts.FinishReason(_finish[i], hasCalls: false));
        }

        if (includeUsage)
        {
            Write([], CompletionParts.Usage(_usage, choicesPerPrompt));
        }

        stream.WriteText("[DONE]"u8);
    }

    public void Fail(ServerError error)
    {
        stream.Write(OpenAIDialect.Body(error), OpenAIJson.Wire.ErrorBody);
        stream.WriteText("[DONE]"u8);
    }

    private void Write(int index, string text, IReadOnlyList<GemmaLogProbabilities> tokens, string? finish)
    {
        text = _begun[index] ? text : echoes[index] + text;
        _begun[index] = true;
        if (text.Length == 0 && tokens.Count == 0 && finish is null)
        {
            return;
        }

        Write([new() { Index = index, Text = text, Logprobs = TextLogProbabilities.Of(tokens, _written[index]), FinishReason = finish }], usage: null);
        _written[index] += text.Length;
    }

    private void Write(IReadOnlyList<TextCompletionChoice> choices, CompletionUsage? usage) =>
        stream.Write(new TextCompletion { Id = _id, Created = _created, Model = model, Choices = choices, Usage = usage }, OpenAIJson.Wire.TextCompletion);
}

/// <summary>The body of <c>POST /v1/completions</c>.</summary>
internal sealed class TextCompletionRequest : CompletionRequest
{
    public JsonElement? Prompt { get; init; }

    public string? Suffix { get; init; }

    public int? BestOf { get; init; }

    public int? Logprobs { get; init; }

    public bool? Echo { get; init; }
}

/// <summary>The answer of <c>POST /v1/completions</c>, and an event of one that is streamed.</summary>
internal sealed class TextCompletion
{
    public required string Id { get; init; }

    public string Object => "text_completion";

    public required long Created { get; init; }

    public required string Model { get; init; }

    public required IReadOnlyList<TextCompletionChoice> Choices { get; init; }

    public CompletionUsage? Usage { get; init; }
}

internal sealed class TextCompletionChoice
{
    public required string Text { get; init; }

    public required int Index { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public TextLogProbabilities? Logprobs { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public string? FinishReason { get; init; }
}

/// <summary>Log probabilities as text completions have them: lists side by side.</summary>
internal sealed class TextLogProbabilities
{
    public required IReadOnlyList<string> Tokens { get; init; }

    public required IReadOnlyList<double> TokenLogprobs { get; init; }

    public required IReadOnlyList<Dictionary<string, double>> TopLogprobs { get; init; }

    /// <summary>Start of each token, in UTF-16 characters of the text.</summary>
    public required IReadOnlyList<int> TextOffset { get; init; }

    public static TextLogProbabilities? Of(IReadOnlyList<GemmaLogProbabilities> tokens, int offset)
    {
        if (tokens.Count == 0)
        {
            return null;
        }

        List<int> offsets = [];
        foreach (GemmaLogProbabilities token in tokens)
        {
            offsets.Add(offset);
            offset += token.Token.Text.Length;
        }

        return new()
        {
            Tokens = [.. tokens.Select(static token => token.Token.Text)],
            TokenLogprobs = [.. tokens.Select(static token => TokenLogProbability.Finite(token.Token.LogProbability))],
            TopLogprobs = [.. tokens.Select(Top)],
            TextOffset = offsets,
        };
    }

    /// <summary>Tokens may be written alike: then the likelier one stands.</summary>
    private static Dictionary<string, double> Top(GemmaLogProbabilities token)
    {
        Dictionary<string, double> top = new(StringComparer.Ordinal);
        foreach (GemmaTokenLogProbability other in token.Top)
        {
            top.TryAdd(other.Text, TokenLogProbability.Finite(other.LogProbability));
        }

        return top;
    }
}
