using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary><c>/v1/responses</c> and the paths below it.</summary>
internal sealed class ResponseEndpoint(ResponseStore store)
{
    public async Task CreateAsync(HttpContext http, ServerCore core)
    {
        ResponseRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.ResponseRequest, core.Options).ConfigureAwait(false);
        List<JsonElement> conversation = await ConversationAsync(http, body).ConfigureAwait(false);
        ChatRequest request = ResponseOptions.Read(core, http, body, conversation);
        ResponseBody response = ResponseOptions.Begin(body, request);
        if (body.Background == true)
        {
            RunningResponse background = store.Start(http, response, core.Stopped);
            ResponseBody begun = response.Copy();
            string path = http.Request.Path; // the request is gone when the answer comes
            _ = Task.Run(() => AnswerInBackgroundAsync(core, path, request, background, conversation), CancellationToken.None);
            await ApiEndpoint.WriteJsonAsync(http, begun, OpenAIJson.Wire.ResponseBody).ConfigureAwait(false);
            return;
        }

        using RunningResponse running = store.Start(http, response, http.RequestAborted);
        if (body.Stream == true)
        {
            using EventStream stream = new(http, core.Options);
            await StreamAsync(core, http, request, stream, new ResponseWriter(response, stream), running, conversation).ConfigureAwait(false);
            return;
        }

        ResponseWriter writer = new(response, stream: null);
        await AnswerAsync(core, http.Request.Path, request, writer, running).ConfigureAwait(false);
        await SaveAsync(running, conversation).ConfigureAwait(false);
        await ApiEndpoint.WriteJsonAsync(http, response, OpenAIJson.Wire.ResponseBody).ConfigureAwait(false);
    }

    public async Task GetAsync(HttpContext http, ServerCore core)
    {
        if (http.Request.Query["stream"] == "true")
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'stream' is not supported here: a response is streamed as it is created. Ask for its status until it is done.", "stream");
        }

        string id = Id(http);
        ResponseBody response = store.FindRunning(http, id)?.Response ?? (await store.GetAsync(http, id).ConfigureAwait(false)).Response;
        await ApiEndpoint.WriteJsonAsync(http, response, OpenAIJson.Wire.ResponseBody).ConfigureAwait(false);
    }

    public async Task DeleteAsync(HttpContext http, ServerCore core)
    {
        string id = (await store.GetAsync(http, Id(http)).ConfigureAwait(false)).Response.Id;
        await store.RemoveAsync(http, id).ConfigureAwait(false);
        await ApiEndpoint.WriteJsonAsync(http, new DeletedResponse { Id = id }, OpenAIJson.Wire.DeletedResponse).ConfigureAwait(false);
    }

    public async Task ListInputAsync(HttpContext http, ServerCore core)
    {
        StoredResponse stored = await store.GetAsync(http, Id(http)).ConfigureAwait(false);
        await ApiEndpoint.WriteJsonAsync(http, new InputItemList { Data = stored.Input }, OpenAIJson.Wire.InputItemList).ConfigureAwait(false);
    }

    public async Task CancelAsync(HttpContext http, ServerCore core)
    {
        string id = Id(http);
        ResponseBody response = store.FindRunning(http, id) is { } running ? await running.CancelAsync().ConfigureAwait(false)
            : (await store.GetAsync(http, id).ConfigureAwait(false)).Response; // it has ended, as requested
        await ApiEndpoint.WriteJsonAsync(http, response, OpenAIJson.Wire.ResponseBody).ConfigureAwait(false);
    }

    public async Task CountTokensAsync(HttpContext http, ServerCore core)
    {
        ResponseRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.ResponseRequest, core.Options).ConfigureAwait(false);
        ChatRequest request = ResponseOptions.Read(core, http, body, await ConversationAsync(http, body).ConfigureAwait(false));
        InputTokenCount count = new() { InputTokens = await PromptTokens.CountAsync(request, http.RequestAborted).ConfigureAwait(false) };
        await ApiEndpoint.WriteJsonAsync(http, count, OpenAIJson.Wire.InputTokenCount).ConfigureAwait(false);
    }

    /// <summary>The items before the request's own, and these.</summary>
    private async Task<List<JsonElement>> ConversationAsync(HttpContext http, ResponseRequest body)
    {
        List<JsonElement> items = [];
        if (body.PreviousResponseId is { Length: > 0 } previous)
        {
            StoredResponse stored = await store.GetAsync(http, previous, "previous_response_id").ConfigureAwait(false);
            items.AddRange(stored.Input);
            items.AddRange(stored.Response.Output.Select(static item => JsonSerializer.SerializeToElement(item, OpenAIJson.Wire.ResponseItem)));
        }

        items.AddRange(ResponseItems.ReadInput(body.Input));
        return items;
    }

    private async Task StreamAsync(
        ServerCore core, HttpContext http, ChatRequest request, EventStream stream, ResponseWriter writer, RunningResponse running, List<JsonElement> conversation)
    {
        try
        {
            CancellableWriter cancellable = new(writer, running, () => EndAsync(core, http.Request.Path, writer, running, conversation));
            await ChatRunner.StreamAsync(core, http, request, stream, cancellable, running.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (running.WasCancelled && !http.RequestAborted.IsCancellationRequested)
        {
            writer.Cancel(); // before its first piece
            await EndAsync(core, http.Request.Path, writer, running, conversation).ConfigureAwait(false);
            await stream.FlushAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Saves a streamed response, and then tells of its end, since a client may follow it at once. One that cannot be kept fails, as without a stream.</summary>
    private async Task EndAsync(ServerCore core, string path, ResponseWriter writer, RunningResponse running, List<JsonElement> conversation)
    {
        try
        {
            await SaveAsync(running, conversation).ConfigureAwait(false);
        }
        catch (Exception exception)
        {
            writer.Fail(ApiEndpoint.ErrorOf(exception, core.Logger, path));
        }

        writer.SendEnd();
    }

    private static async Task AnswerAsync(ServerCore core, string path, ChatRequest request, ResponseWriter writer, RunningResponse running)
    {
        try
        {
            ChatResponse[] answers = await ChatRunner.AnswerAsync(core, path, request, running.Token).ConfigureAwait(false);
            writer.Write(answers[0]);
            writer.Complete();
        }
        catch (OperationCanceledException) when (running.WasCancelled)
        {
            writer.Cancel();
        }
    }

    private async Task AnswerInBackgroundAsync(ServerCore core, string path, ChatRequest request, RunningResponse running, List<JsonElement> conversation)
    {
        using (running)
        {
            ResponseWriter writer = new(running.Response, stream: null);
            try
            {
                await AnswerAsync(core, path, request, writer, running).ConfigureAwait(false);
            }
            catch (Exception exception)
            {
                writer.Fail(ApiEndpoint.ErrorOf(exception, core.Logger, path));
            }

            try
            {
                await SaveAsync(running, conversation).ConfigureAwait(false);
            }
            catch (Exception exception)
            {
                ApiEndpoint.ErrorOf(exception, core.Logger, path); // no client is waiting for it
            }
        }
    }

    private Task SaveAsync(RunningResponse running, List<JsonElement> conversation) =>
        running.Response.Store ? store.SaveAsync(running.Key, new StoredResponse { Response = running.Response, Input = conversation }) : Task.CompletedTask;

    private static string Id(HttpContext http) => (string)http.Request.RouteValues["id"]!;

    /// <summary>A response that is cancelled by its id ends as such, and not as an error.</summary>
    private sealed class CancellableWriter(ResponseWriter writer, RunningResponse running, Func<Task> end) : IAnswerWriter
    {
        public void Write(ChoiceUpdate update) => writer.Write(update);

        public void Complete() => writer.Complete();

        public Task EndAsync() => end();

        public void Fail(ServerError error)
        {
            if (running.WasCancelled)
            {
                writer.Cancel();
            }
            else
            {
                writer.Fail(error);
            }
        }
    }
}
