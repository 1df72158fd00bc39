using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary><c>POST /v1/chat/completions</c>.</summary>
internal static class ChatCompletionEndpoint
{
    public static async Task RunAsync(HttpContext http, ServerCore core)
    {
        ChatCompletionRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.ChatCompletionRequest, core.Options).ConfigureAwait(false);
        ChatRequest request = ChatCompletionOptions.Read(core, http, body);
        if (body.Stream == true)
        {
            using EventStream stream = new(http, core.Options);
            ChatCompletionWriter writer = new(stream, request.Model.Name, request.Choices, body.StreamOptions?.IncludeUsage == true);
            await ChatRunner.StreamAsync(core, http, request, stream, writer).ConfigureAwait(false);
            return;
        }

        ChatResponse[] responses = await ChatRunner.AnswerAsync(core, http, request).ConfigureAwait(false);
        await ApiEndpoint.WriteJsonAsync(http, Describe(responses, request.Model.Name), OpenAIJson.Wire.ChatCompletion).ConfigureAwait(false);
    }

    private static ChatCompletion Describe(ChatResponse[] responses, string model) => new()
    {
        Id = $"chatcmpl-{Guid.NewGuid():N}",
        Created = DateTimeOffset.UtcNow.ToUnixTimeSeconds(),
        Model = model,
        Choices = [.. responses.Select(Choice)],
        Usage = CompletionParts.Usage(responses.Select(static response => response.Usage)),
    };

    private static CompletionChoice Choice(ChatResponse response, int index)
    {
        ToolCall[] calls = [.. response.Messages.SelectMany(static message => message.Contents).OfType<FunctionCallContent>().Select(static call => CompletionParts.Call(call))];
        return new()
        {
            Index = index,
            Message = new() { Content = CompletionParts.Text(response) ?? (calls.Length > 0 ? null : ""), ToolCalls = calls.Length > 0 ? calls : null },
            Logprobs = CompletionParts.LogProbabilities(response.GetLogProbabilities()),
            FinishReason = CompletionParts.FinishReason(response.FinishReason, calls.Length > 0),
        };
    }
}
