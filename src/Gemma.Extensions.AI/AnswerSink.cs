using System.Text;
using System.Threading.Channels;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

/// <summary>Turns the tokens of one request into contents for its reader. Written on the engine's thread, read on the caller's.</summary>
internal sealed class AnswerSink(GemmaTokenizer tokenizer, IReadOnlyList<string> stopSequences) : GenerationSink
{
    private readonly Channel<AIContent> _contents = Channel.CreateUnbounded<AIContent>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
    private readonly TaskCompletionSource<GenerationResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly StringBuilder _decoded = new();
    private readonly StringBuilder _released = new();
    private readonly StopMatcher _stops = new(stopSequences);
    private TokenStream _stream = new(tokenizer);
    private bool _stopped;

    /// <summary>The answer as it comes; ends when the request has ended, however it ended.</summary>
    public ChannelReader<AIContent> Contents => _contents.Reader;

    /// <summary>How the request ended. Never faulted.</summary>
    public Task<GenerationResult> Completion => _completion.Task;

    public override bool OnToken(int token)
    {
        _stream.Append(token, _decoded);
        return Match();
    }

    public override void OnCompleted(GenerationResult result)
    {
        if (!_stopped && result.Finish is EngineFinish.Stop or EngineFinish.Length)
        {
            _stream.Flush(_decoded);
            if (Match())
            {
                _stops.Flush(_released);
                Release();
            }
        }

        _contents.Writer.Complete();
        _completion.SetResult(_stopped ? result with { Finish = EngineFinish.Stop } : result);
    }

    /// <summary>Moves what was decoded past the stop sequences. False: one is complete.</summary>
    private bool Match()
    {
        _stopped = _stops.Append(_decoded, _released);
        _decoded.Clear();
        Release();
        return !_stopped;
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
