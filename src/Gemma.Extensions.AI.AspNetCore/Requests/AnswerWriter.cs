using Gemma.Extensions.AI.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>Base of the writers for APIs with one answer per request: takes updates apart, and keeps finish reason and usage for the end.</summary>
internal abstract class AnswerWriter : IAnswerWriter
{
    /// <summary>The finish reason; null until it is known.</summary>
    protected ChatFinishReason? Finish { get; set; }

    /// <summary>The usage; null until it is known.</summary>
    protected UsageDetails? Usage { get; set; }

    public virtual void Write(ChoiceUpdate piece)
    {
        Finish = piece.Update.FinishReason ?? Finish;
        foreach (AIContent content in piece.Update.Contents)
        {
            Write(content);
        }
    }

    public abstract void Complete();

    public abstract void Fail(ServerError error);

    public virtual void WriteHeartbeat(ResponseStream stream) => stream.WriteHeartbeat();

    protected void Write(AIContent content)
    {
        switch (content)
        {
            case TextContent { Text.Length: > 0 } text:
                WriteText(text.Text);
                break;
            case FunctionCallContent call:
                WriteCall(call);
                break;
            case UsageContent usage:
                Usage = usage.Details;
                break;
        }
    }

    protected abstract void WriteText(string text);

    protected abstract void WriteCall(FunctionCallContent call);
}
