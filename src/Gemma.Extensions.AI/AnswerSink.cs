using System.Text;
using System.Threading.Channels;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

/// <summary>
/// Turns the tokens of one request into contents for its reader: characters once they are whole, calls once they are complete, text up to a stop
/// sequence. Written on the engine's thread, read on the caller's.
/// </summary>
internal sealed class AnswerSink(GemmaTokenizer tokenizer, IReadOnlyList<string> stopSequences, bool mayCall, bool textIsFree) : GenerationSink
{
    private readonly Channel<AIContent> _contents = Channel.CreateUnbounded<AIContent>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
    private readonly TaskCompletionSource<GenerationResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly StringBuilder _decoded = new();
    private readonly StringBuilder _released = new();
    private readonly StopMatcher _stops = new(stopSequences);
    private readonly ToolCallParser? _calls = mayCall ? new ToolCallParser(textIsFree) : null;
    private readonly List<AIContent> _parsed = [];
    private readonly List<int> _tokens = [];
    private TokenStream _stream = new(tokenizer);
    private bool _stopped;

    /// <summary>The answer as it comes; ends when the request has ended, however it ended.</summary>
    public ChannelReader<AIContent> Contents => _contents.Reader;

    /// <summary>How the request ended. Never faulted.</summary>
    public Task<GenerationResult> Completion => _completion.Task;

    /// <summary>Whether the answer calls a tool. To be read after <see cref="Completion"/>.</summary>
    public bool HasCalls { get; private set; }

    /// <summary>The tokens of the answer; null where a stop sequence cut it. To be read after <see cref="Completion"/>.</summary>
    public int[]? Tokens => _stopped ? null : [.. _tokens];

    public override bool OnToken(int token)
    {
        _tokens.Add(token);
        _stream.Append(token, _decoded);
        Pass(last: false);
        return !_stopped;
    }

    public override void OnCompleted(GenerationResult result)
    {
        try
        {
            if (!_stopped && result.Finish is EngineFinish.Stop or EngineFinish.Length)
            {
                _stream.Flush(_decoded);
                Pass(last: true);
            }
        }
        catch (Exception exception)
        {
            result = result with { Finish = EngineFinish.Failed, Error = exception }; // whoever waits for the end must not wait for ever
        }

        _contents.Writer.Complete();
        _completion.SetResult(_stopped ? result with { Finish = EngineFinish.Stop } : result);
    }

    /// <summary>Moves on what was decoded. Stop sequences are looked for in text only: what a call holds cannot end it.</summary>
    private void Pass(bool last)
    {
        if (_calls is null)
        {
            _stopped = _stops.Append(_decoded, _released);
        }
        else
        {
            Parse(last);
        }

        _decoded.Clear();
        if (last && !_stopped)
        {
            _stops.Flush(_released);
        }

        Release();
    }

    private void Parse(bool last)
    {
        foreach (ReadOnlyMemory<char> chunk in _decoded.GetChunks())
        {
            _calls!.Append(chunk.Span, _parsed);
        }

        if (last)
        {
            _calls!.Flush(_parsed);
        }

        foreach (AIContent content in _parsed)
        {
            if (content is TextContent text)
            {
                _stopped = _stops.Append(text.Text, _released);
                if (_stopped)
                {
                    break;
                }
            }
            else
            {
                // Text cannot go on behind a call, so nothing more of a stop sequence can come.
                _stops.Flush(_released);
                Release();
                _contents.Writer.TryWrite(content);
                HasCalls = true;
            }
        }

        _parsed.Clear();
    }

    private void Release()
    {
        if (_released.Length > 0)
        {
            _contents.Writer.TryWrite(new TextContent(_released.ToString()));
            _released.Clear();
        }
    }
}
