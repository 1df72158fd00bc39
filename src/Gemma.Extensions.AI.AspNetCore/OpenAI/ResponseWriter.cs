using System.Text;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>Puts the output of a response together, and writes its events where it is streamed.</summary>
internal sealed class ResponseWriter(ResponseBody response, EventStream? stream) : AnswerWriter
{
    private readonly List<ResponseItem> _output = [];
    private readonly StringBuilder _text = new();
    private readonly List<GemmaLogProbabilities> _logProbabilities = [];
    private List<GemmaLogProbabilities> _pending = [];
    private string? _message;
    private int _sequence;
    private bool _begun;

    public override void Write(ChoiceUpdate piece)
    {
        _pending.AddRange(piece.Update.GetLogProbabilities());
        Begin();
        base.Write(piece);
    }

    /// <summary>A whole answer.</summary>
    public void Write(ChatResponse answer)
    {
        _pending.AddRange(answer.GetLogProbabilities());
        Finish = answer.FinishReason;
        Usage = answer.Usage;
        answer.Messages.SelectMany(static message => message.Contents).ToList().ForEach(Write);
    }

    public override void Complete()
    {
        Begin();
        EndMessage();
        bool isCut = Finish == ChatFinishReason.Length || Finish == ChatFinishReason.ContentFilter;
        response.IncompleteDetails = isCut ? new() { Reason = Finish == ChatFinishReason.Length ? "max_output_tokens" : "content_filter" } : null;
        End(isCut ? "incomplete" : "completed");
    }

    public override void Fail(ServerError error)
    {
        Begin();
        EndMessage();
        response.Error = new() { Code = error.Code ?? "server_error", Message = error.Message };
        Send("error", number => new() { Type = "error", SequenceNumber = number, Code = error.Code ?? "server_error", Message = error.Message, Param = error.Parameter });
        End("failed");
    }

    /// <summary>Ends a response that was cancelled on request.</summary>
    public void Cancel()
    {
        Begin();
        EndMessage();
        End("cancelled");
    }

    /// <summary>Sends the event of the end that the response has come to, which clients may act on at once.</summary>
    public void SendEnd() => SendResponse(response.Status == "cancelled" ? "response.incomplete" : $"response.{response.Status}"); // OpenAI has no event of its own for it

    protected override void WriteText(string text)
    {
        if (_message is null)
        {
            string id = _message = $"msg_{Guid.NewGuid():N}";
            Send("response.output_item.added", number => new()
            {
                Type = "response.output_item.added", SequenceNumber = number, OutputIndex = _output.Count, Item = Message(id, "in_progress", []),
            });
            Send("response.content_part.added", number => new()
            {
                Type = "response.content_part.added", SequenceNumber = number, ItemId = id, OutputIndex = _output.Count, ContentIndex = 0, Part = new() { Text = "" },
            });
        }

        _text.Append(text);
        IReadOnlyList<TokenLogProbability> tokens = TakePending();
        Send("response.output_text.delta", number => new()
        {
            Type = "response.output_text.delta", SequenceNumber = number, ItemId = _message, OutputIndex = _output.Count, ContentIndex = 0, Delta = text, Logprobs = tokens,
        });
    }

    protected override void WriteCall(FunctionCallContent call)
    {
        EndMessage();
        _pending.Clear(); // tokens of calls are not reported by this API
        int index = _output.Count;
        string id = $"fc_{Guid.NewGuid():N}";
        string arguments = FunctionArguments.ToJson(call.Arguments);
        ResponseItem item = Call("completed", arguments);
        _output.Add(item);
        Send("response.output_item.added", number => new() { Type = "response.output_item.added", SequenceNumber = number, OutputIndex = index, Item = Call("in_progress", "") });
        Send("response.function_call_arguments.delta", number => new()
        {
            Type = "response.function_call_arguments.delta", SequenceNumber = number, ItemId = id, OutputIndex = index, Delta = arguments,
        });
        Send("response.function_call_arguments.done", number => new()
        {
            Type = "response.function_call_arguments.done", SequenceNumber = number, ItemId = id, OutputIndex = index, Name = call.Name, Arguments = arguments,
        });
        Send("response.output_item.done", number => new() { Type = "response.output_item.done", SequenceNumber = number, OutputIndex = index, Item = item });

        ResponseItem Call(string status, string said) => new() { Id = id, Type = "function_call", Status = status, CallId = call.CallId, Name = call.Name, Arguments = said };
    }

    private void Begin()
    {
        if (!_begun)
        {
            _begun = true;
            SendResponse("response.created");
            SendResponse("response.in_progress");
        }
    }

    private void EndMessage()
    {
        if (_message is not { } id)
        {
            return;
        }

        _message = null;
        TakePending(); // those of the end of the text, which came with no text
        ResponsePart part = new() { Text = _text.ToString(), Logprobs = CompletionParts.LogProbabilities(_logProbabilities)?.Content ?? [] };
        ResponseItem item = Message(id, Finish == ChatFinishReason.Length ? "incomplete" : "completed", [part]);
        int index = _output.Count;
        _text.Clear();
        _logProbabilities.Clear();
        _output.Add(item);
        Send("response.output_text.done", number => new()
        {
            Type = "response.output_text.done", SequenceNumber = number, ItemId = id, OutputIndex = index, ContentIndex = 0, Text = part.Text, Logprobs = part.Logprobs,
        });
        Send("response.content_part.done", number => new() { Type = "response.content_part.done", SequenceNumber = number, ItemId = id, OutputIndex = index, ContentIndex = 0, Part = part });
        Send("response.output_item.done", number => new() { Type = "response.output_item.done", SequenceNumber = number, OutputIndex = index, Item = item });
    }

    private void End(string status)
    {
        CompletionUsage usage = CompletionParts.Usage([Usage]);
        response.Output = [.. _output];
        response.Usage = new()
        {
            InputTokens = usage.PromptTokens,
            InputTokensDetails = new() { CachedTokens = usage.PromptTokensDetails.CachedTokens },
            OutputTokens = usage.CompletionTokens,
            OutputTokensDetails = new() { ReasoningTokens = usage.CompletionTokensDetails.ReasoningTokens },
            TotalTokens = usage.TotalTokens,
        };
        response.Status = status; // the last, since others may be looking
    }

    private IReadOnlyList<TokenLogProbability> TakePending()
    {
        List<GemmaLogProbabilities> taken = _pending;
        _pending = [];
        _logProbabilities.AddRange(taken);
        return CompletionParts.LogProbabilities(taken)?.Content ?? [];
    }

    private void SendResponse(string type) => Send(type, number => new() { Type = type, SequenceNumber = number, Response = response });

    private void Send(string type, Func<int, ResponseEvent> make)
    {
        if (stream is not null)
        {
            stream.Write(Encoding.ASCII.GetBytes(type), make(_sequence++), OpenAIJson.Wire.ResponseEvent);
        }
    }

    private static ResponseItem Message(string id, string status, IReadOnlyList<ResponsePart> content) => new() { Id = id, Type = "message", Status = status, Role = "assistant", Content = content };
}
