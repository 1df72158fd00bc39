using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Gemma.Extensions.AI.Chat;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary><c>/tokenize</c>, <c>/detokenize</c> and <c>/apply-template</c>, with the members that llama.cpp's and vLLM's servers have.</summary>
internal static class TokenEndpoints
{
    public static async Task TokenizeAsync(HttpContext http, ServerCore core)
    {
        TokenizeRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.TokenizeRequest, core.Options).ConfigureAwait(false);
        TokenQuestion question = body.Messages is not null ? ConversationOf(body)
            : TextOf(body.Content ?? body.Prompt ?? throw new ServerErrorException(ErrorKind.InvalidRequest, "'content' is missing, expected a text ('prompt' and 'messages' will do, too).", "content"), body);
        TokenAnswer answer = await AskAsync(http, core, body.Model, question with { WantsPieces = body.WithPieces == true }).ConfigureAwait(false);
        await ApiEndpoint.WriteJsonAsync(http, new TokenList
        {
            Tokens = answer.Pieces is null ? answer.Tokens : null,
            Pieces = answer.Pieces is null ? null : [.. answer.Tokens.Zip(answer.Pieces, static (id, piece) => new TokenPiece { Id = id, Piece = piece })],
            Count = answer.Tokens.Length,
            MaxModelLen = answer.ContextLength,
        }, OpenAIJson.Wire.TokenList).ConfigureAwait(false);
    }

    public static async Task DetokenizeAsync(HttpContext http, ServerCore core)
    {
        DetokenizeRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.DetokenizeRequest, core.Options).ConfigureAwait(false);
        int[] ids = body.Tokens ?? throw new ServerErrorException(ErrorKind.InvalidRequest, "'tokens' is missing, expected the ids of tokens.", "tokens");
        string text = (await AskAsync(http, core, body.Model, new TokenQuestion { Tokens = ids, WantsText = true }).ConfigureAwait(false)).Text!;
        await ApiEndpoint.WriteJsonAsync(http, new PromptText { Content = text, Prompt = text }, OpenAIJson.Wire.PromptText).ConfigureAwait(false);
    }

    public static async Task ApplyTemplateAsync(HttpContext http, ServerCore core)
    {
        TokenizeRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.TokenizeRequest, core.Options).ConfigureAwait(false);
        TokenAnswer answer = await AskAsync(http, core, body.Model, ConversationOf(body) with { WantsText = true }).ConfigureAwait(false);
        await ApiEndpoint.WriteJsonAsync(http, new PromptText { Prompt = answer.Text! }, OpenAIJson.Wire.PromptText).ConfigureAwait(false);
    }

    private static Task<TokenAnswer> AskAsync(HttpContext http, ServerCore core, string? model, TokenQuestion question) =>
        PromptTokens.AskAsync(core.Models.Resolve(model, ModelPurpose.Chat), question, http.RequestAborted);

    private static TokenQuestion ConversationOf(TokenizeRequest body) =>
        new() { Messages = ChatMessages.Read(body.Messages), Options = new ChatOptions { Tools = ToolChoices.Read(body.Tools, null).Tools } };

    /// <summary>Typed markers are letters unless the request says that they count, as in a prompt that was put together.</summary>
    private static TokenQuestion TextOf(string text, TokenizeRequest body) =>
        new() { Text = text, AddsBos = body.AddSpecial ?? body.AddSpecialTokens ?? body.Prompt is not null, ReadsMarkers = body.ParseSpecial ?? true };
}

/// <summary>The body of <c>POST /tokenize</c> and <c>/apply-template</c>.</summary>
internal sealed class TokenizeRequest
{
    public string? Model { get; init; }

    /// <summary>llama.cpp's name.</summary>
    public string? Content { get; init; }

    /// <summary>vLLM's name, which also adds bos unless told otherwise.</summary>
    public string? Prompt { get; init; }

    public List<RequestMessage?>? Messages { get; init; }

    public List<RequestTool?>? Tools { get; init; }

    public bool? AddSpecial { get; init; }

    public bool? AddSpecialTokens { get; init; }

    public bool? ParseSpecial { get; init; }

    public bool? WithPieces { get; init; }
}

internal sealed class DetokenizeRequest
{
    public string? Model { get; init; }

    public int[]? Tokens { get; init; }
}

internal sealed class TokenList
{
    public IReadOnlyList<int>? Tokens { get; init; }

    public IReadOnlyList<TokenPiece>? Pieces { get; init; }

    public required int Count { get; init; }

    public required int MaxModelLen { get; init; }
}

internal sealed class TokenPiece
{
    public required int Id { get; init; }

    public required string Piece { get; init; }
}

internal sealed class PromptText
{
    public string? Content { get; init; }

    public required string Prompt { get; init; }
}
