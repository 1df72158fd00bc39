using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Threading.Channels;
using Gemma.Extensions.AI.AspNetCore.Http;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>An API's writer of streamed answers.</summary>
internal interface IAnswerWriter
{
    /// <summary>Writes the new part.</summary>
    void Write(ChoiceUpdate update);

    /// <summary>Writes how the answers ended.</summary>
    void Complete();

    /// <summary>Writes an error where the answer has begun already, and ends it.</summary>
    void Fail(ServerError error);

    /// <summary>Called behind the last piece, or the error, and before it is sent: what a client may ask for once it has the end must be there.</summary>
    Task EndAsync() => Task.CompletedTask;

    /// <summary>Writes what says that the answer still comes, where the API has something of its own for that.</summary>
    void WriteHeartbeat(ResponseStream stream) => stream.WriteHeartbeat();
}

/// <summary>Has the model answer a request, at once or piece by piece.</summary>
internal static partial class ChatRunner
{
    /// <summary>JSON without a schema is an object to every API, and any value to the abstractions.</summary>
    private static readonly ChatResponseFormat s_anyObject = ChatResponseFormat.ForJsonSchema(JsonElement.Parse("""{"type":"object","additionalProperties":true}"""));

    /// <summary>The whole answers, one a choice.</summary>
    public static Task<ChatResponse[]> AnswerAsync(ServerCore core, HttpContext http, ChatRequest request)
    {
        request.Extras.Caller ??= Caller.Of(http);
        return AnswerAsync(core, http.Request.Path, request, http.RequestAborted);
    }

    /// <summary>The same for a request that outlives its connection; it says itself whom it is for.</summary>
    public static async Task<ChatResponse[]> AnswerAsync(ServerCore core, string path, ChatRequest request, CancellationToken cancellation)
    {
        RequestLog log = new(core.Logger, path, request.Model.Name);
        Task<ChatResponse>[] answers = [.. Enumerable.Range(0, request.Choices).Select(AnswerAsync)];
        ChatResponse[] responses = await Task.WhenAll(answers).ConfigureAwait(false);
        log.Add(responses.Select(response => response.Usage));
        log.Write();
        return responses;

        Task<ChatResponse> AnswerAsync(int choice)
        {
            ChatOptions options = OptionsOf(core, request, choice);
            return request.Source is { } source
                ? source(choice, options, cancellation).ToChatResponseAsync(cancellation)
                : request.Model.Model.Chat!.GetResponseAsync(request.Messages, options, cancellation);
        }
    }

    /// <summary>
    /// Writes answers as they come. What is ready is written together; before a wait it is sent. Silence is filled with heartbeats, before the first piece too, since reading a long prompt takes
    /// its time; an error that comes before anything was sent is thrown, one that comes later is written into the stream.
    /// </summary>
    /// <param name="core">The server.</param>
    /// <param name="http">The request as it came.</param>
    /// <param name="request">What it asks for.</param>
    /// <param name="stream">Where the answer is written.</param>
    /// <param name="writer">How it is written.</param>
    /// <param name="unwanted">Ends the answer for another reason than that the client is gone.</param>
    public static async Task StreamAsync(ServerCore core, HttpContext http, ChatRequest request, ResponseStream stream, IAnswerWriter writer, CancellationToken unwanted = default)
    {
        request.Extras.Caller ??= Caller.Of(http);
        RequestLog log = new(core.Logger, http.Request.Path, request.Model.Name);
        CancellationTokenSource ended = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, unwanted);
        await using (UpdateReader updates = new(UpdatesAsync(core, request, ended.Token), ended, stream, writer))
        {
            try
            {
                while (await updates.ReadAsync().ConfigureAwait(false))
                {
                    log.Add(updates.Current.Update);
                    writer.Write(updates.Current);
                }

                writer.Complete();
            }
            catch (Exception exception) when (stream.HasStarted && !http.RequestAborted.IsCancellationRequested)
            {
                writer.Fail(ApiEndpoint.ErrorOf(exception, core.Logger, http.Request.Path));
            }
        }

        await writer.EndAsync().ConfigureAwait(false);
        await stream.FlushAsync().ConfigureAwait(false);
        log.Write();
    }

    private static async IAsyncEnumerable<ChoiceUpdate> UpdatesAsync(ServerCore core, ChatRequest request, [EnumeratorCancellation] CancellationToken cancellation)
    {
        if (request.Choices == 1)
        {
            await foreach (ChatResponseUpdate update in Source(0).ConfigureAwait(false))
            {
                yield return new(0, update);
            }

            yield break;
        }

        Channel<ChoiceUpdate> channel = Channel.CreateBounded<ChoiceUpdate>(new BoundedChannelOptions(16 * request.Choices) { SingleReader = true });
        Task all = Task.WhenAll(Enumerable.Range(0, request.Choices).Select(PassOnAsync));
        _ = all.ContinueWith(done => channel.Writer.TryComplete(done.Exception?.GetBaseException()), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        try
        {
            await foreach (ChoiceUpdate update in channel.Reader.ReadAllAsync(cancellation).ConfigureAwait(false))
            {
                yield return update;
            }
        }
        finally
        {
            await all.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // its exception has been read
        }

        async Task PassOnAsync(int choice)
        {
            try
            {
                await foreach (ChatResponseUpdate update in Source(choice).ConfigureAwait(false))
                {
                    await channel.Writer.WriteAsync(new(choice, update), cancellation).ConfigureAwait(false);
                }
            }
            catch (Exception exception)
            {
                channel.Writer.TryComplete(exception); // one that fails fails the request
                throw;
            }
        }

        IAsyncEnumerable<ChatResponseUpdate> Source(int choice)
        {
            ChatOptions options = OptionsOf(core, request, choice);
            return request.Source is { } source ? source(choice, options, cancellation) : request.Model.Model.Chat!.GetStreamingResponseAsync(request.Messages, options, cancellation);
        }
    }

    /// <summary>The options of one answer: each draws by a seed of its own, and Gemma's own options go where they are understood.</summary>
    private static ChatOptions OptionsOf(ServerCore core, ChatRequest request, int choice)
    {
        ChatOptions options = request.Options.Clone();
        options.Seed = options.Seed is { } seed ? unchecked(seed + (choice % (request.ChoicesPerPrompt ?? request.Choices))) : null;
        GemmaGenerationOptions extras = request.Extras;
        extras.Adapter = request.Model.Adapter;
        extras.Timeout ??= core.Options.RequestTimeout;
        if (!request.Model.Model.TakesGemmaOptions)
        {
            core.Foreign.Apply(request.Model, options, extras);
        }
        else
        {
            options.RawRepresentationFactory = _ => extras;
            options.ResponseFormat = options.ResponseFormat is ChatResponseFormatJson { Schema: null } ? s_anyObject : options.ResponseFormat;
        }

        return options;
    }
}
