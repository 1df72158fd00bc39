using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>Writes the events of a chat completion.</summary>
internal sealed class ChatCompletionWriter(EventStream stream, string model, int choices, bool includeUsage) : IAnswerWriter
{
    private readonly string _id = $"chatcmpl-{Guid.NewGuid():N}";
    private readonly long _created = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
    private readonly ChoiceState[] _choices = [.. Enumerable.Range(0, choices).Select(_ => new ChoiceState())];

    public void Write(ChoiceUpdate piece)
    {
        ChoiceState choice = _choices[piece.Choice];
        ChatResponseUpdate update = piece.Update;
        choice.Finish = update.FinishReason ?? choice.Finish;
        choice.Pending.AddRange(update.GetLogProbabilities());
        Begin(piece.Choice);
        foreach (AIContent content in update.Contents)
        {
            switch (content)
            {
                case TextContent { Text.Length: > 0 } text:
                    Write(piece.Choice, new() { Content = text.Text }, logProbabilities: choice.TakePending());
                    break;
                case FunctionCallContent call:
                    WriteCall(piece.Choice, call);
                    break;
                case UsageContent usage:
                    choice.Usage = usage.Details;
                    break;
            }
        }
    }

    public void Complete()
    {
        for (int i = 0; i < _choices.Length; i++)
        {
            Begin(i);
            Write(i, new(), CompletionParts.FinishReason(_choices[i].Finish, _choices[i].Calls > 0), _choices[i].TakePending());
        }

        if (includeUsage)
        {
            Write([], CompletionParts.Usage(_choices.Select(static choice => choice.Usage)));
        }

        stream.WriteText("[DONE]"u8);
    }

    public void Fail(ServerError error)
    {
        stream.Write(OpenAIDialect.Body(error), OpenAIJson.Wire.ErrorBody);
        stream.WriteText("[DONE]"u8);
    }

    /// <summary>The first event of a choice says whose answer it is.</summary>
    private void Begin(int index)
    {
        if (!_choices[index].HasBegun)
        {
            _choices[index].HasBegun = true;
            Write(index, new() { Role = "assistant", Content = "" });
        }
    }

    /// <summary>A call arrives complete and is written in the pieces that OpenAI's clients assemble: the function first, then the arguments.</summary>
    private void WriteCall(int index, FunctionCallContent content)
    {
        int number = _choices[index].Calls++;
        ToolCall call = CompletionParts.Call(content, number);
        Write(index, new() { ToolCalls = [new() { Index = number, Id = call.Id, Type = call.Type, Function = new() { Name = call.Function.Name, Arguments = "" } }] });
        Write(index, new() { ToolCalls = [new() { Index = number, Function = new() { Arguments = call.Function.Arguments } }] }, logProbabilities: _choices[index].TakePending());
    }

    private void Write(int index, ChunkDelta delta, string? finish = null, ChoiceLogProbabilities? logProbabilities = null) =>
        Write([new() { Index = index, Delta = delta, FinishReason = finish, Logprobs = logProbabilities }], usage: null);

    private void Write(IReadOnlyList<ChunkChoice> pieces, CompletionUsage? usage) => stream.Write(
        new ChatCompletionChunk { Id = _id, Created = _created, Model = model, Choices = pieces, Usage = usage }, OpenAIJson.Wire.ChatCompletionChunk);

    private sealed class ChoiceState
    {
        public bool HasBegun { get; set; }

        public int Calls { get; set; }

        public ChatFinishReason? Finish { get; set; }

        public UsageDetails? Usage { get; set; }

        /// <summary>Tokens that came without text or call, which the next event carries.</summary>
        public List<GemmaLogProbabilities> Pending { get; } = [];

        public ChoiceLogProbabilities? TakePending()
        {
            ChoiceLogProbabilities? taken = CompletionParts.LogProbabilities(Pending);
            Pending.Clear();
            return taken;
        }
    }
}
