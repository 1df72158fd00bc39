using System.Text;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Grammar.Tokens;

/// <summary>
/// Free text until the call marker appears, however it is split over tokens; from there the call is enforced. The text may end while no call has begun.
/// </summary>
internal sealed class ToolCallConstraint : ITokenConstraint
{
    private readonly byte[] _marker;
    private readonly CompiledGrammar _afterMarker;
    private readonly IReadOnlyList<int> _endTokens;
    private readonly int[][] _forbidden; // by bytes of the marker that were read
    private int _matched;
    private GrammarConstraint? _call;

    /// <param name="markup">The markers around a call.</param>
    /// <param name="afterMarker">The grammar of the text after the first marker.</param>
    /// <param name="endTokens">Tokens that end the reply.</param>
    public ToolCallConstraint(ToolMarkup markup, CompiledGrammar afterMarker, IReadOnlyList<int> endTokens)
    {
        (_marker, _afterMarker, _endTokens) = (Encoding.UTF8.GetBytes(markup.CallStart), afterMarker, endTokens);
        _forbidden = afterMarker.ForbiddenCompletions ??= Forbidden();
    }

    private ToolCallConstraint(ToolCallConstraint from)
    {
        (_marker, _afterMarker, _endTokens, _forbidden, _matched) = (from._marker, from._afterMarker, from._endTokens, from._forbidden, from._matched);
        _call = (GrammarConstraint?)from._call?.Clone();
    }

    public Action? WhenPrepared { get; set; }

    public bool TryPrepare(ref long budget) => _call?.TryPrepare(ref budget) ?? true;

    public void Stop() => _call?.Stop();

    public bool TryFillMask(Span<ulong> mask)
    {
        if (_call is not null)
        {
            return _call.TryFillMask(mask);
        }

        int[] forbidden = _forbidden[_matched];
        if (forbidden.Length == 0)
        {
            return false;
        }

        mask.Fill(ulong.MaxValue);
        foreach (int token in forbidden)
        {
            mask[token >> 6] &= ~(1UL << token);
        }

        return true;
    }

    public bool IsAllowed(int token) => _call?.IsAllowed(token) ?? !_forbidden[_matched].Contains(token);

    public void Accept(int token)
    {
        if (_call is not null)
        {
            _call.Accept(token);
            return;
        }

        byte[] bytes = _afterMarker.Vocabulary.Bytes(token);
        int end = Complete(bytes, ref _matched);
        if (end >= 0)
        {
            _call = new GrammarConstraint(_afterMarker, _endTokens) { WhenPrepared = WhenPrepared };
            _call.Begin(bytes.AsMemory(end));
        }
    }

    public int GetForcedTokens(Span<int> tokens, ref long budget) => _call?.GetForcedTokens(tokens, ref budget) ?? 0;

    public ITokenConstraint Clone() => new ToolCallConstraint(this);

    /// <summary>Reads on; where the marker is complete, the position after it, else -1.</summary>
    private int Complete(ReadOnlySpan<byte> bytes, ref int matched)
    {
        for (int i = 0; i < bytes.Length; i++)
        {
            // The marker's first byte does not occur in it again, so a mismatch can only start anew.
            matched = bytes[i] == _marker[matched] ? matched + 1 : bytes[i] == _marker[0] ? 1 : 0;
            if (matched == _marker.Length)
            {
                matched = 0;
                return i + 1;
            }
        }

        return -1;
    }

    /// <summary>By bytes of the marker that were read: tokens that complete it and go on with what no call begins with.</summary>
    private int[][] Forbidden()
    {
        GrammarConstraint call = new(_afterMarker, _endTokens);
        VocabularyTrie vocabulary = _afterMarker.Vocabulary;
        int[] candidates = [.. Enumerable.Range(0, vocabulary.Count).Where(token => vocabulary.Bytes(token).AsSpan(..^Math.Min(1, vocabulary.Bytes(token).Length)).Contains(_marker[^1]))];
        int[][] forbidden = new int[_marker.Length][];
        for (int matched = 0; matched < forbidden.Length; matched++)
        {
            forbidden[matched] = [.. candidates.Where(token =>
            {
                byte[] bytes = vocabulary.Bytes(token);
                int state = matched, end = Complete(bytes, ref state);
                return end >= 0 && end < bytes.Length && !call.IsAllowed(bytes.AsSpan(end));
            })];
        }

        return forbidden;
    }
}
