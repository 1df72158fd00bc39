using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Anthropic;

/// <summary><c>POST /v1/messages</c> and <c>POST /v1/messages/count_tokens</c>.</summary>
internal static class MessagesEndpoint
{
    /// <summary>The header with the request's id that Anthropic's clients show in errors.</summary>
    private const string RequestId = "request-id";

    public static async Task AnswerAsync(HttpContext http, ServerCore core)
    {
        http.Response.Headers[RequestId] = $"req_{Guid.NewGuid():N}";
        MessagesRequest body = await RequestBody.ReadAsync(http, AnthropicJson.Wire.MessagesRequest, core.Options).ConfigureAwait(false);
        if (body.MaxTokens is null)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "max_tokens: Field required", "max_tokens");
        }

        ChatRequest request = MessagesReader.Read(core, http, body);
        if (body.Stream == true)
        {
            using EventStream stream = new(http, core.Options);
            await ChatRunner.StreamAsync(core, http, request, stream, new MessagesWriter(stream, request.Model.Name)).ConfigureAwait(false);
            return;
        }

        ChatResponse response = (await ChatRunner.AnswerAsync(core, http, request).ConfigureAwait(false))[0];
        await ApiEndpoint.WriteJsonAsync(http, Describe(response, request.Model.Name), AnthropicJson.Wire.Message).ConfigureAwait(false);
    }

    public static async Task CountAsync(HttpContext http, ServerCore core)
    {
        MessagesRequest body = await RequestBody.ReadAsync(http, AnthropicJson.Wire.MessagesRequest, core.Options).ConfigureAwait(false);
        int tokens = await PromptTokens.CountAsync(MessagesReader.Read(core, http, body), http.RequestAborted).ConfigureAwait(false);
        await ApiEndpoint.WriteJsonAsync(http, new TokenCount { InputTokens = tokens }, AnthropicJson.Wire.TokenCount).ConfigureAwait(false);
    }

    private static Message Describe(ChatResponse response, string model)
    {
        FunctionCallContent[] calls = [.. response.Messages.SelectMany(static message => message.Contents).OfType<FunctionCallContent>()];
        string? stop = response.Messages.Select(static message => Message.StopSequenceOf(message.AdditionalProperties)).OfType<string>().LastOrDefault();
        string reason = Message.Reason(response.FinishReason, calls.Length > 0, stop);
        return new()
        {
            Id = Message.NewId(),
            Model = model,
            Content = [.. response.Text is { Length: > 0 } text ? [ContentBlock.OfText(text)] : Array.Empty<ContentBlock>(), .. calls.Select(ContentBlock.Of)],
            StopReason = reason,
            StopSequence = reason == "stop_sequence" ? stop : null,
            Usage = MessageUsage.Of(response.Usage),
        };
    }
}
