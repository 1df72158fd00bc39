using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Gemma.Extensions.AI.Chat;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary><c>POST /api/chat</c> and <c>POST /api/generate</c>.</summary>
internal static class OllamaChatEndpoints
{
    public static async Task ChatAsync(HttpContext http, ServerCore core)
    {
        OllamaChatRequest body = await RequestBody.ReadAsync(http, OllamaJson.Wire.OllamaChatRequest, core.Options, anyContentType: true).ConfigureAwait(false);
        (ModelChoice model, TimeSpan? keepAlive) = Find(core, body);
        if (body.Messages is not { Count: > 0 })
        {
            await OllamaAnswers.LoadAsync(http, model, keepAlive, isChat: true).ConfigureAwait(false);
            return;
        }

        OllamaOptions options = OllamaOptions.Read(body, core.Unused);
        options.Options.Tools = OllamaMessages.ReadTools(body.Tools);
        ChatRequest request = new() { Model = model, Messages = OllamaMessages.Read(body.Messages), Options = options.Options, Extras = options.Extras };
        await OllamaAnswers.AnswerAsync(core, http, request, isChat: true, isStreaming: body.Stream != false).ConfigureAwait(false);
    }

    public static async Task GenerateAsync(HttpContext http, ServerCore core)
    {
        OllamaGenerateRequest body = await RequestBody.ReadAsync(http, OllamaJson.Wire.OllamaGenerateRequest, core.Options, anyContentType: true).ConfigureAwait(false);
        (ModelChoice model, TimeSpan? keepAlive) = Find(core, body);
        if (string.IsNullOrEmpty(body.Prompt))
        {
            await OllamaAnswers.LoadAsync(http, model, keepAlive, isChat: false).ConfigureAwait(false);
            return;
        }

        Refuse(body);
        OllamaOptions options = OllamaOptions.Read(body, core.Unused);
        ChatRequest request = new()
        {
            Model = model,
            Messages = OllamaMessages.Read(body.System, body.Prompt, body.Images),
            Options = options.Options,
            Extras = options.Extras,
            Source = body.Raw == true ? RawCompletion.Of(model, _ => new RawPrompt(body.Prompt, null)) : null,
        };
        await OllamaAnswers.AnswerAsync(core, http, request, isChat: false, isStreaming: body.Stream != false).ConfigureAwait(false);
    }

    private static (ModelChoice Model, TimeSpan? KeepAlive) Find(ServerCore core, OllamaAnswerRequest body)
    {
        ModelChoice model = OllamaNames.Resolve(core.Models, body.Model, ModelPurpose.Chat);
        TimeSpan? keepAlive = OllamaNames.ReadKeepAlive(body.KeepAlive);
        if (keepAlive is not null && model.Model.Reference is { } reference)
        {
            reference.KeepAlive = keepAlive;
        }

        return (model, keepAlive);
    }

    private static void Refuse(OllamaGenerateRequest body)
    {
        if (!string.IsNullOrEmpty(body.Suffix))
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'suffix' is set, but Gemma 2 was not trained to fill in the middle of a text. Leave it out.", "suffix");
        }

        if (!string.IsNullOrEmpty(body.Template))
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'template' is set, but prompts are written as the model's own template says. Leave it out, or set 'raw' to true and write the whole prompt.", "template");
        }

        if (body.Context is { ValueKind: JsonValueKind.Array } context && context.GetArrayLength() > 0)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'context' is set, but answers here have none to send back. Send the conversation to /api/chat.", "context");
        }

        if (body.Raw == true && (!string.IsNullOrEmpty(body.System) || body.Images is { Count: > 0 }))
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'raw' is true, so the prompt is passed on as it stands and 'system' and 'images' have no place. Write them into the prompt.", "raw");
        }
    }
}
