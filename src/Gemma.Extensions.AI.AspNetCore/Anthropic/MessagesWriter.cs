using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Anthropic;

/// <summary>Writes the events of a message.</summary>
internal sealed class MessagesWriter(EventStream stream, string model) : AnswerWriter
{
    private static readonly JsonElement s_noInput = JsonElement.Parse("{}");

    private readonly string _id = Message.NewId();
    private string? _stopSequence;
    private bool _hasBegun;
    private bool _isInText;
    private bool _hasCalls;
    private int _index; // of the block that is open, or comes next

    public override void Write(ChoiceUpdate piece)
    {
        _stopSequence = Message.StopSequenceOf(piece.Update.AdditionalProperties) ?? _stopSequence;
        base.Write(piece);
    }

    public override void Complete()
    {
        Begin();
        EndText();
        string? stop = _hasCalls ? null : _stopSequence;
        string reason = Message.Reason(Finish, _hasCalls, stop);
        MessageDelta end = new() { Delta = new() { StopReason = reason, StopSequence = reason == "stop_sequence" ? stop : null }, Usage = MessageUsage.Of(Usage) };
        stream.Write("message_delta"u8, end, AnthropicJson.Wire.MessageDelta);
        stream.Write("message_stop"u8, new BareEvent { Type = "message_stop" }, AnthropicJson.Wire.BareEvent);
    }

    public override void Fail(ServerError error) => stream.Write("error"u8, AnthropicDialect.Body(error), AnthropicJson.Wire.AnthropicError);

    /// <summary>Anthropic has an event for that; clients expect the beginning of the message before it.</summary>
    public override void WriteHeartbeat(ResponseStream silent)
    {
        Begin();
        stream.Write("ping"u8, new BareEvent { Type = "ping" }, AnthropicJson.Wire.BareEvent);
    }

    protected override void WriteText(string text)
    {
        Begin();
        if (!_isInText)
        {
            _isInText = true;
            stream.Write("content_block_start"u8, new BlockStart { Index = _index, ContentBlock = ContentBlock.OfText("") }, AnthropicJson.Wire.BlockStart);
        }

        stream.Write("content_block_delta"u8, new BlockDelta { Index = _index, Delta = new() { Type = "text_delta", Text = text } }, AnthropicJson.Wire.BlockDelta);
    }

    protected override void WriteCall(FunctionCallContent call)
    {
        Begin();
        EndText();
        _hasCalls = true;
        stream.Write("content_block_start"u8, new BlockStart { Index = _index, ContentBlock = ContentBlock.Of(call, s_noInput) }, AnthropicJson.Wire.BlockStart);
        stream.Write("content_block_delta"u8, new BlockDelta { Index = _index, Delta = new() { Type = "input_json_delta", PartialJson = FunctionArguments.ToJson(call.Arguments) } }, AnthropicJson.Wire.BlockDelta);
        EndBlock();
    }

    /// <summary>The number of tokens read is known, and reported, at the end.</summary>
    private void Begin()
    {
        if (!_hasBegun)
        {
            _hasBegun = true;
            stream.Write("message_start"u8, new MessageStart { Message = new() { Id = _id, Model = model, Content = [], StopReason = null, Usage = MessageUsage.Of(null) } }, AnthropicJson.Wire.MessageStart);
        }
    }

    private void EndText()
    {
        if (_isInText)
        {
            _isInText = false;
            EndBlock();
        }
    }

    private void EndBlock() => stream.Write("content_block_stop"u8, new BlockStop { Index = _index++ }, AnthropicJson.Wire.BlockStop);
}
