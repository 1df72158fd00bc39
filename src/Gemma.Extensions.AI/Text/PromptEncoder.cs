using System.Runtime.InteropServices;
using System.Text;

namespace Gemma.Extensions.AI.Text;

/// <summary>A conversation in tokens.</summary>
/// <param name="Tokens">What the model reads.</param>
/// <param name="ContentEnd">The number of tokens up to the end of the last content, where a longer conversation may diverge.</param>
/// <param name="ModelTurns">The model's turns including their end markers; filled if requested.</param>
internal sealed record ChatPrompt(int[] Tokens, int ContentEnd, IReadOnlyList<Range> ModelTurns)
{
    /// <summary>The format that it is written in.</summary>
    public ChatFormat Format { get; init; } = null!;

    /// <summary>The start of the text to be continued; the length of the prompt if there is none, -1 if a token spans the position.</summary>
    public int ReplyStart { get; init; } = Tokens.Length;

    /// <summary>Tokens up to and with the last marker in front of the reply.</summary>
    public int Settled { get; init; }

    /// <summary>The text to be continued, if any.</summary>
    public string Begun { get; init; } = "";
}

/// <summary>
/// Encodes the parts of a prompt as one text, so that tokens are those of the whole, but takes markers only from the format's own parts: what a user types or a tool
/// returns is spelt out. Where the format's markers are no control tokens, content that spells one is cut, so that it has not the same tokens.
/// </summary>
internal sealed class PromptEncoder
{
    /// <summary>Limit of the text between a marker and a reply whose own tokens are looked up.</summary>
    private const int LongestHeader = 256;

    private readonly GemmaTokenizer _tokenizer;
    private readonly MarkerSet _controls;
    private readonly MarkerSet _guarded;
    private readonly bool _strips;

    /// <param name="tokenizer">The vocabulary.</param>
    /// <param name="markers">Markers of the format, whether or not they are control tokens.</param>
    public PromptEncoder(GemmaTokenizer tokenizer, IEnumerable<string> markers)
    {
        _tokenizer = tokenizer;
        _controls = tokenizer.Controls;
        _strips = _controls.Ids.Any(id => (tokenizer.GetMatching(id) & (TokenMatching.LeftStrip | TokenMatching.RightStrip)) != 0);
        _guarded = new MarkerSet(markers.Where(marker => _controls.Find(marker) < 0).Select(marker => (marker, CutOf(marker))));
    }

    /// <summary>A position that splits a marker into two parts with other tokens than the whole.</summary>
    private int CutOf(string marker)
    {
        int[] whole = _tokenizer.Encode(marker, matchSpecial: false);
        return Enumerable.Range(1, Math.Max(1, marker.Length - 1)).FirstOrDefault(
            cut => !whole.AsSpan().SequenceEqual([.. _tokenizer.Encode(marker.AsSpan(0, cut), matchSpecial: false), .. _tokenizer.Encode(marker.AsSpan(cut), matchSpecial: false)]), 1);
    }

    /// <param name="parts">The prompt.</param>
    /// <param name="turns">The turns that the parts speak of.</param>
    /// <param name="end">What the prompt ends with.</param>
    /// <param name="replies">Tokens of replies that the model spelt in its own way.</param>
    /// <param name="contextLength">A prompt that must have more tokens is refused before it is encoded.</param>
    /// <param name="splitsReplies">Whether replies are encoded by themselves, as a model generates them.</param>
    /// <exception cref="GemmaContextLengthException">The prompt is longer than the context.</exception>
    public ChatPrompt Encode(IReadOnlyList<PromptPart> parts, IReadOnlyList<TurnText> turns, PromptEnd end, ReplyTokenCache? replies = null, int contextLength = int.MaxValue, bool splitsReplies = false)
    {
        List<Piece> pieces = Split(parts);
        int least = LeastTokens(pieces);
        if (least >= contextLength)
        {
            throw new GemmaContextLengthException(least, contextLength, isExact: false);
        }

        using ReplyTokenCache.Reader? reader = replies?.Read();
        Run run = new(this, turns, end == PromptEnd.Continue ? turns.Count - 1 : -1, reader, splitsReplies);
        foreach (Piece piece in pieces)
        {
            run.Add(piece);
        }

        return run.Finish();
    }

    private List<Piece> Split(IReadOnlyList<PromptPart> parts)
    {
        List<Piece> pieces = [];
        foreach ((string text, int turn) in parts)
        {
            bool own = turn == PromptPart.Own;
            MarkerSet markers = own ? _controls : _guarded;
            if (turn >= 0)
            {
                pieces.Add(new(PieceKind.Turn, Text: text.AsMemory(), Turn: turn));
            }

            int done = 0;
            for (int at = 0; markers.Next(text, ref at, out int length, out int id);)
            {
                // A marker that content spells is cut in two.
                int cut = own ? at : at + id;
                pieces.Add(new(PieceKind.Text, Text: text.AsMemory(done, cut - done), Turn: turn));
                pieces.Add(own ? new(PieceKind.Token, id) : new(PieceKind.Cut, Turn: turn));
                at = done = own ? at + length : cut;
            }

            pieces.Add(new(PieceKind.Text, Text: text.AsMemory(done), Turn: turn));
        }

        return pieces;
    }

    /// <summary>A lower bound on the number of tokens: every marker is one, and none is longer than the longest piece.</summary>
    private int LeastTokens(List<Piece> pieces)
    {
        int longest = _strips ? 0 : _tokenizer.LongestPiece;
        long tokens = 0;
        long characters = 0;
        foreach (Piece piece in pieces)
        {
            if (piece.Kind == PieceKind.Text)
            {
                characters += piece.Text.Length;
            }
            else if (piece.Kind == PieceKind.Token)
            {
                tokens += 1 + Spelt();
                characters = 0;
            }
        }

        return (int)Math.Min(tokens + Spelt(), int.MaxValue);

        // White space beside a marker that absorbs it is not a token.
        long Spelt() => characters == 0 || _strips ? 0 : longest == 0 ? 1 : (characters + longest - 1) / longest;
    }

    /// <summary>A marker, a text, the beginning of a turn's content, or a place where no token may span.</summary>
    private readonly record struct Piece(PieceKind Kind, int Id = -1, ReadOnlyMemory<char> Text = default, int Turn = PromptPart.Own);

    private enum PieceKind
    {
        Token,
        Text,
        Turn,
        Cut,
    }

    /// <summary>One encoding.</summary>
    private sealed class Run(PromptEncoder encoder, IReadOnlyList<TurnText> turns, int openTurn, ReplyTokenCache.Reader? reader, bool splitsReplies)
    {
        private readonly List<int> _ids = [];
        private readonly StringBuilder _text = new();
        private readonly List<Range> _modelTurns = [];
        private int _settled; // ids up to and with the last marker
        private int _contentEnd = -1;
        private bool _inContent;
        private bool _dropsSpace; // a marker takes the white space behind it
        private int _skipped = PromptPart.Own; // the turn whose tokens are known
        private int _modelStart = -1;
        private string? _header; // text between the last marker and the turn that is left open
        private int _openSettled;

        public void Add(Piece piece)
        {
            if (piece.Kind == PieceKind.Turn)
            {
                Begin(piece);
            }
            else if (piece.Turn >= 0 && piece.Turn == _skipped)
            {
                return;
            }
            else if (piece.Kind == PieceKind.Text)
            {
                ReadOnlySpan<char> text = _dropsSpace ? piece.Text.Span.TrimStart() : piece.Text.Span;
                _dropsSpace &= text.IsEmpty;
                _text.Append(text);
            }
            else if (piece.Kind == PieceKind.Cut)
            {
                Flush();
            }
            else
            {
                AddMarker(piece.Id);
            }
        }

        public ChatPrompt Finish()
        {
            int replyStart = -1;
            if (_header is not null)
            {
                // The continued text begins at a token only where the whole is spelt as its parts are.
                int[] header = encoder._tokenizer.Encode(_header, matchSpecial: false);
                Flush();
                bool clean = CollectionsMarshal.AsSpan(_ids)[_openSettled..].StartsWith(header)
                    && encoder._tokenizer.Encode(turns[openTurn].Text, matchSpecial: false).AsSpan().SequenceEqual(CollectionsMarshal.AsSpan(_ids)[(_openSettled + header.Length)..]);
                replyStart = clean ? _openSettled + header.Length : -1;
            }

            Flush();
            return new ChatPrompt([.. _ids], _contentEnd >= 0 && !_inContent ? _contentEnd : _ids.Count, _modelTurns)
            {
                ReplyStart = openTurn >= 0 ? replyStart : _ids.Count,
                Settled = openTurn >= 0 ? _openSettled : _settled,
                Begun = openTurn >= 0 ? turns[openTurn].Text : "",
            };
        }

        private void Begin(Piece piece)
        {
            (_inContent, _skipped) = (true, PromptPart.Own);
            TurnText turn = turns[piece.Turn];
            if (turn.Role != TurnRole.Model)
            {
                return;
            }

            if (piece.Turn == openTurn)
            {
                _header ??= _text.ToString();
                _openSettled = _settled;
            }
            else if (reader is not null && _text.Length <= LongestHeader && piece.Text.Span.SequenceEqual(turn.Text) && TryRespell(turn.Text))
            {
                _skipped = piece.Turn;
            }

            if (splitsReplies)
            {
                Flush();
                _modelStart = _modelStart < 0 ? _ids.Count : _modelStart;
            }
        }

        /// <summary>Adds the model's turn in the tokens that the model generated, if they are known.</summary>
        private bool TryRespell(string text)
        {
            if (!reader!.HasReplies)
            {
                return false;
            }

            int before = _ids.Count;
            encoder._tokenizer.Encode(_text.ToString(), _ids, matchSpecial: false); // with it, the tokens are the prompt that the turn answered
            if (reader.Find(CollectionsMarshal.AsSpan(_ids), _settled, text) is { } spelt)
            {
                _text.Clear();
                _ids.AddRange(spelt);
                return true;
            }

            _ids.RemoveRange(before, _ids.Count - before);
            return false;
        }

        private void AddMarker(int id)
        {
            TokenMatching matching = encoder._tokenizer.GetMatching(id);
            while ((matching & TokenMatching.LeftStrip) != 0 && _text.Length > 0 && char.IsWhiteSpace(_text[^1]))
            {
                _text.Length--;
            }

            _dropsSpace = (matching & TokenMatching.RightStrip) != 0;
            Flush();
            if (_inContent)
            {
                (_contentEnd, _inContent) = (_ids.Count, false);
            }

            _ids.Add(id);
            _settled = _ids.Count;
            if (_modelStart >= 0)
            {
                _modelTurns.Add(_modelStart.._ids.Count);
                _modelStart = -1;
            }
        }

        private void Flush()
        {
            if (_text.Length > 0)
            {
                encoder._tokenizer.Encode(_text.ToString(), _ids, matchSpecial: false);
                _text.Clear();
            }
        }
    }
}

/// <summary>Finds markers in text, the longest first.</summary>
internal sealed class MarkerSet
{
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
    private readonly Dictionary<char, string[]> _byFirst;
    private readonly System.Buffers.SearchValues<char> _first;

    public MarkerSet(IEnumerable<(string Text, int Id)> markers)
    {
        foreach ((string text, int id) in markers)
        {
            if (text.Length > 0)
            {
                _ids.TryAdd(text, id);
            }
        }

        _byFirst = _ids.Keys.GroupBy(static text => text[0]).ToDictionary(static group => group.Key, static group => group.OrderByDescending(static text => text.Length).ToArray());
        _first = System.Buffers.SearchValues.Create([.. _byFirst.Keys]);
    }

    public IEnumerable<int> Ids => _ids.Values;

    /// <summary>The id of a marker, -1 where there is none.</summary>
    public int Find(string marker) => _ids.GetValueOrDefault(marker, -1);

    /// <summary>Goes on to the next marker at or behind a place.</summary>
    public bool Next(string text, ref int at, out int length, out int id)
    {
        while (at < text.Length && text.AsSpan(at).IndexOfAny(_first) is var skip and >= 0)
        {
            at += skip;
            foreach (string marker in _byFirst[text[at]])
            {
                if (string.CompareOrdinal(text, at, marker, 0, marker.Length) == 0)
                {
                    (length, id) = (marker.Length, _ids[marker]);
                    return true;
                }
            }

            at++;
        }

        (length, id) = (0, -1);
        return false;
    }
}
