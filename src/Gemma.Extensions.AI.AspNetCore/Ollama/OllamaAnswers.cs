using System.Diagnostics;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Gemma.Extensions.AI.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary>Answers of <c>/api/chat</c> and <c>/api/generate</c>, whole and line by line.</summary>
/// <param name="model">Name of the model.</param>
/// <param name="reference">The Gemma model behind it; null for one of another kind.</param>
/// <param name="isChat">Whether the text is in a message, as of a chat.</param>
internal sealed class OllamaAnswers(string model, ModelReference? reference, bool isChat)
{
    private readonly long _started = Stopwatch.GetTimestamp();
    private readonly bool _wasLoaded = reference?.Loaded is not null;
    private long _first;

    /// <summary>Has the model answer.</summary>
    public static async Task AnswerAsync(ServerCore core, HttpContext http, ChatRequest request, bool isChat, bool isStreaming)
    {
        OllamaAnswers answers = new(OllamaNames.Of(request.Model), request.Model.Model.Reference, isChat);
        if (isStreaming)
        {
            using JsonLineStream stream = new(http, core.Options);
            await ChatRunner.StreamAsync(core, http, request, stream, new OllamaAnswerWriter(stream, answers)).ConfigureAwait(false);
            return;
        }

        ChatResponse response = (await ChatRunner.AnswerAsync(core, http, request).ConfigureAwait(false))[0];
        OllamaToolCall[] calls = [.. response.Messages.SelectMany(static message => message.Contents).OfType<FunctionCallContent>().Select(Call)];
        IReadOnlyList<GemmaLogProbabilities> tokens = response.GetLogProbabilities();
        OllamaAnswer whole = answers.Last(response.Text, response.FinishReason, response.Usage, calls) with { Logprobs = tokens.Count > 0 ? TokenLogProbability.From(tokens) : null };
        await ApiEndpoint.WriteJsonAsync(http, whole, OllamaJson.Wire.OllamaAnswer).ConfigureAwait(false);
    }

    /// <summary>Loads a model, or has it unloaded, which requests without a prompt ask for.</summary>
    public static async Task LoadAsync(HttpContext http, Models.ModelChoice model, TimeSpan? keepAlive, bool isChat)
    {
        string reason = "load";
        if (model.Model.Reference is { } reference)
        {
            if (keepAlive == TimeSpan.Zero)
            {
                reason = "unload";
                await (reference.TryUnload() ?? Task.CompletedTask).ConfigureAwait(false);
            }
            else
            {
                (await reference.LeaseAsync(http.RequestAborted).ConfigureAwait(false)).Dispose();
            }
        }

        OllamaAnswer answer = new OllamaAnswers(OllamaNames.Of(model), model.Model.Reference, isChat).Piece("") with { Done = true, DoneReason = reason };
        await ApiEndpoint.WriteJsonAsync(http, answer, OllamaJson.Wire.OllamaAnswer).ConfigureAwait(false);
    }

    /// <summary>A line with a piece of the text, or with calls.</summary>
    public OllamaAnswer Piece(string text, IReadOnlyList<OllamaToolCall>? calls = null) => new()
    {
        Model = model,
        CreatedAt = DateTime.UtcNow,
        Message = isChat ? new() { Content = text, ToolCalls = calls } : null,
        Response = isChat ? null : text,
        Done = false,
    };

    /// <summary>Notes when the first piece came.</summary>
    public void Begin() => _first = _first == 0 ? Stopwatch.GetTimestamp() : _first;

    /// <summary>The last line, or the whole answer.</summary>
    public OllamaAnswer Last(string text, ChatFinishReason? finish, UsageDetails? usage, IReadOnlyList<OllamaToolCall>? calls = null)
    {
        long now = Stopwatch.GetTimestamp();
        long load = _wasLoaded ? 0 : Nanoseconds(reference?.LoadTime ?? TimeSpan.Zero);
        return Piece(text, calls is { Count: > 0 } ? calls : null) with
        {
            Done = true,
            DoneReason = finish == ChatFinishReason.Length ? "length" : "stop",
            TotalDuration = Nanoseconds(Stopwatch.GetElapsedTime(_started, now)),
            LoadDuration = load,
            PromptEvalCount = usage?.InputTokenCount ?? 0,
            PromptEvalDuration = _first == 0 ? null : Math.Max(1, Nanoseconds(Stopwatch.GetElapsedTime(_started, _first)) - load),
            EvalCount = usage?.OutputTokenCount ?? 0,
            EvalDuration = Math.Max(1, _first == 0 ? Nanoseconds(Stopwatch.GetElapsedTime(_started, now)) - load : Nanoseconds(Stopwatch.GetElapsedTime(_first, now))), // clients divide by it
        };
    }

    public static OllamaToolCall Call(FunctionCallContent call, int index) => new()
    {
        Id = call.CallId,
        Function = new() { Index = index, Name = call.Name, Arguments = JsonElement.Parse(FunctionArguments.ToJson(call.Arguments)) },
    };

    public static long Nanoseconds(TimeSpan time) => time.Ticks * TimeSpan.NanosecondsPerTick;
}

/// <summary>Writes the lines of an answer.</summary>
internal sealed class OllamaAnswerWriter(JsonLineStream stream, OllamaAnswers answers) : AnswerWriter
{
    private readonly List<GemmaLogProbabilities> _pending = [];
    private int _calls;

    public override void Write(ChoiceUpdate piece)
    {
        _pending.AddRange(piece.Update.GetLogProbabilities());
        base.Write(piece);
    }

    public override void Complete() => Write(answers.Last("", Finish, Usage));

    public override void Fail(ServerError error) => stream.Write(new OllamaError { Error = error.Message }, OllamaJson.Wire.OllamaError);

    /// <summary>A piece without text, which every client takes.</summary>
    public override void WriteHeartbeat(ResponseStream silent) => stream.Write(answers.Piece(""), OllamaJson.Wire.OllamaAnswer);

    protected override void WriteText(string text) => Write(answers.Piece(text));

    protected override void WriteCall(FunctionCallContent call) => Write(answers.Piece("", [OllamaAnswers.Call(call, _calls++)]));

    private void Write(OllamaAnswer line)
    {
        if (!line.Done)
        {
            answers.Begin();
        }

        stream.Write(_pending.Count > 0 ? line with { Logprobs = TokenLogProbability.From(_pending) } : line, OllamaJson.Wire.OllamaAnswer);
        _pending.Clear();
    }
}
