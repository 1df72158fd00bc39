using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Gemma.Extensions.AI.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary><c>/tokenize</c>, <c>/detokenize</c> and <c>/apply-template</c>, with the members that llama.cpp's and vLLM's servers have.</summary>
internal static class TokenEndpoints
{
    public static async Task TokenizeAsync(HttpContext http, ServerCore core)
    {
        TokenizeRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.TokenizeRequest, core.Options).ConfigureAwait(false);
        using ModelLease lease = await LeaseAsync(core, body.Model, http).ConfigureAwait(false);
        GemmaModel model = lease.Model;
        IReadOnlyList<int> tokens = body.Messages is not null ? PromptTokens.Render(model, ChatMessages.Read(body.Messages), ToolsOf(body))
            : Tokenize(model, body.Content ?? body.Prompt ?? throw new ServerErrorException(ErrorKind.InvalidRequest, "'content' is missing, expected a text ('prompt' and 'messages' will do, too).", "content"), body);
        await ApiEndpoint.WriteJsonAsync(http, new TokenList
        {
            Tokens = body.WithPieces == true ? null : tokens,
            Pieces = body.WithPieces == true ? [.. tokens.Select(id => new TokenPiece { Id = id, Piece = model.Tokenizer.GetPiece(id) })] : null,
            Count = tokens.Count,
            MaxModelLen = model.ContextLength,
        }, OpenAIJson.Wire.TokenList).ConfigureAwait(false);
    }

    public static async Task DetokenizeAsync(HttpContext http, ServerCore core)
    {
        DetokenizeRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.DetokenizeRequest, core.Options).ConfigureAwait(false);
        using ModelLease lease = await LeaseAsync(core, body.Model, http).ConfigureAwait(false);
        GemmaModel model = lease.Model;
        int[] ids = body.Tokens ?? throw new ServerErrorException(ErrorKind.InvalidRequest, "'tokens' is missing, expected the ids of tokens.", "tokens");
        PromptTokens.Check(model, ids, "tokens");
        string text = model.Tokenizer.Decode(ids);
        await ApiEndpoint.WriteJsonAsync(http, new PromptText { Content = text, Prompt = text }, OpenAIJson.Wire.PromptText).ConfigureAwait(false);
    }

    public static async Task ApplyTemplateAsync(HttpContext http, ServerCore core)
    {
        TokenizeRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.TokenizeRequest, core.Options).ConfigureAwait(false);
        using ModelLease lease = await LeaseAsync(core, body.Model, http).ConfigureAwait(false);
        GemmaModel model = lease.Model;
        IReadOnlyList<int> tokens = PromptTokens.Render(model, ChatMessages.Read(body.Messages), ToolsOf(body)); // bos is first, and decoding leaves it out
        await ApiEndpoint.WriteJsonAsync(http, new PromptText { Prompt = model.Tokenizer.GetPiece(tokens[0]) + model.Tokenizer.Decode(tokens.Skip(1)) }, OpenAIJson.Wire.PromptText).ConfigureAwait(false);
    }

    private static ValueTask<ModelLease> LeaseAsync(ServerCore core, string? name, HttpContext http) =>
        RawCompletion.ReferenceOf(core.Models.Resolve(name, ModelPurpose.Chat)).LeaseAsync(http.RequestAborted);

    private static ChatOptions ToolsOf(TokenizeRequest body) => new() { Tools = ToolChoices.Read(body.Tools, null).Tools };

    /// <summary>Typed markers are letters unless the request says that they count, as in a prompt that was put together.</summary>
    private static List<int> Tokenize(GemmaModel model, string text, TokenizeRequest body)
    {
        List<int> tokens = [];
        if (body.AddSpecial ?? body.AddSpecialTokens ?? body.Prompt is not null)
        {
            tokens.Add(model.Tokenizer.BosId);
        }

        model.Tokenizer.Encode(text, tokens, matchSpecial: body.ParseSpecial ?? true);
        return tokens;
    }
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
