using System.Text;
using System.Threading.Channels;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>A piece of an answer.</summary>
/// <param name="Content">The piece; of the last one, the usage.</param>
/// <param name="LogProbabilities">The tokens that are new with it, where their log probabilities were asked for.</param>
/// <param name="Tokens">The tokens that are new with it, where they were asked for.</param>
/// <param name="IsKnown">The reader has it already, from another engine.</param>
/// <param name="End">How the answer ended; set for the last piece.</param>
internal readonly record struct AnswerPart(AIContent Content, IReadOnlyList<GemmaLogProbabilities>? LogProbabilities, int[]? Tokens = null, bool IsKnown = false, AnswerEnd? End = null);

/// <summary>The end of an answer.</summary>
/// <param name="Finish">Why.</param>
/// <param name="StopSequence">The stop sequence of the caller's that ended it; null where none did.</param>
/// <param name="LogProbabilities">All tokens of the answer that this engine generated; null where nobody asked for log probabilities.</param>
internal sealed record AnswerEnd(ChatFinishReason Finish, string? StopSequence, IReadOnlyList<GemmaLogProbabilities>? LogProbabilities);

/// <summary>The part of an answer that the reader has from another engine.</summary>
/// <param name="Tokens">Its tokens, up to those of the last part that the reader has.</param>
/// <param name="Parts">The parts that the reader has.</param>
internal sealed record KnownAnswer(int[] Tokens, int Parts)
{
    /// <summary>
    /// The tokens that are taken over. The last one is generated again: it shows whether both engines compute the same, and an answer that ended with it ends as it would have.
    /// </summary>
    public int[] Replayed => Tokens.Length == 0 ? [] : Tokens[..^1];
}

/// <summary>An answer that another engine began cannot go on here: this one would have answered otherwise.</summary>
internal sealed class AnswerDivergedException(string message, Exception? innerException = null) : GemmaException(message, innerException);

/// <summary>
/// Turns the tokens of one request into contents for its reader: characters once they are whole, calls once they are complete, text up to a stop
/// sequence. Written on the engine's thread, read on the caller's.
/// </summary>
internal sealed class AnswerSink(GemmaTokenizer tokenizer, IReadOnlyList<string> stopSequences, bool mayCall, bool textIsFree, ToolMarkup? markup = null, bool keepsTokens = false) : GenerationSink
{
    private readonly Channel<AnswerPart> _parts = Channel.CreateUnbounded<AnswerPart>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
    private readonly TaskCompletionSource<GenerationResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly StringBuilder _decoded = new();
    private readonly StringBuilder _released = new();
    private readonly StopMatcher _stops = new(stopSequences);
    private readonly ToolCallParser? _calls = mayCall ? new ToolCallParser(textIsFree, markup) : null;
    private readonly List<AIContent> _parsed = [];
    private readonly List<int> _tokens = [];
    private TokenStream _stream = new(tokenizer);
    private List<GemmaLogProbabilities>? _logProbabilities;
    private List<int>? _starts; // of the same tokens: characters before them
    private int _reported; // of the same tokens: how many went out with a part
    private int _passed; // of all tokens, where they are to go out: how many did
    private int _known; // parts still to come that the reader has
    private (int Place, int Token) _expected = (-1, 0); // the last token that the reader has
    private int _decodedLength;
    private int _releasedLength;
    private bool _stopped;

    /// <summary>The answer as it comes; ends when the request has ended, however it ended.</summary>
    public ChannelReader<AnswerPart> Parts => _parts.Reader;

    /// <summary>Completes with the outcome of the request; never faults.</summary>
    public Task<GenerationResult> Completion => _completion.Task;

    /// <summary>True if the answer calls a tool. Valid after <see cref="Completion"/>.</summary>
    public bool HasCalls { get; private set; }

    /// <summary>The tokens of the answer; null where a stop sequence cut it. To be read after <see cref="Completion"/>.</summary>
    public int[]? Tokens => _stopped ? null : [.. _tokens];

    /// <summary>The stop sequence that ended the answer; null where none did. To be read after <see cref="Completion"/>.</summary>
    public string? StopSequence => _stops.Found;

    /// <summary>Every token of the answer; null where nobody asked for log probabilities. To be read after <see cref="Completion"/>.</summary>
    public IReadOnlyList<GemmaLogProbabilities>? LogProbabilities => _logProbabilities;

    /// <summary>The tokens that went out with no part. To be read after <see cref="Completion"/>.</summary>
    public IReadOnlyList<GemmaLogProbabilities>? RemainingLogProbabilities() => TakeLogProbabilities();

    public override void OnLogProbabilities(in TokenLogProbabilities values)
    {
        (_logProbabilities ??= []).Add(new GemmaLogProbabilities(Name(values.Token, values.LogProbability), [.. values.Top.Select(top => Name(top.Token, top.LogProbability))]));
        (_starts ??= []).Add(_decodedLength);

        GemmaTokenLogProbability Name(int token, double logProbability) => new(token, tokenizer.GetBytes(token).ToArray(), logProbability);
    }

    /// <summary>Goes on behind what the reader has of the answer.</summary>
    public void Resume(KnownAnswer known)
    {
        _known = known.Parts;
        Array.ForEach(known.Replayed, token => OnToken(token));
        _expected = known.Tokens.Length == 0 ? _expected : (known.Tokens.Length - 1, known.Tokens[^1]);
    }

    public override bool OnToken(int token)
    {
        if (_tokens.Count == _expected.Place && token != _expected.Token)
        {
            throw new AnswerDivergedException($"Token {_expected.Place:N0} of the answer is {token} here, but was {_expected.Token} where the answer began: the two nodes do not compute the same. Use one model file, version and instruction set on all nodes.");
        }

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
            result = result with { Finish = EngineFinish.Failed, Error = exception }; // or the reader would wait forever
        }

        _parts.Writer.Complete();
        _completion.SetResult(_stopped ? result with { Finish = EngineFinish.Stop } : result);
    }

    /// <summary>Moves on what was decoded. Stop sequences are looked for in text only: what a call holds cannot end it.</summary>
    private void Pass(bool last)
    {
        _decodedLength += _decoded.Length;
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
                Write(content);
                HasCalls = true;
            }
        }

        _parsed.Clear();
    }

    private void Release()
    {
        if (_released.Length > 0)
        {
            _releasedLength += _released.Length;
            TextContent text = new(_released.ToString());
            _released.Clear();
            DropBehindStop();
            Write(text);
        }
        else
        {
            DropBehindStop();
        }
    }

    /// <summary>Tokens that begin behind the place where a stop sequence cut the answer are no part of it.</summary>
    private void DropBehindStop()
    {
        if (_stopped && _logProbabilities is not null)
        {
            int kept = _starts!.FindIndex(start => start >= _releasedLength) is >= 0 and int first ? Math.Max(first, _reported) : _starts.Count;
            _logProbabilities.RemoveRange(kept, _logProbabilities.Count - kept);
            _starts.RemoveRange(kept, _starts.Count - kept);
        }
    }

    private void Write(AIContent content)
    {
        int[]? tokens = keepsTokens ? [.. _tokens.Skip(_passed)] : null;
        _passed = _tokens.Count;
        _parts.Writer.TryWrite(new AnswerPart(content, TakeLogProbabilities(), tokens, IsKnown: _known > 0));
        _known -= _known > 0 ? 1 : 0;
    }

    private GemmaLogProbabilities[]? TakeLogProbabilities()
    {
        if (_logProbabilities is null)
        {
            return null;
        }

        GemmaLogProbabilities[] taken = [.. _logProbabilities.Skip(_reported)];
        _reported = _logProbabilities.Count;
        return taken;
    }
}
