using System.Buffers;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// Gemma's tokenizer, giving the ids that SentencePiece gives: byte-pair merges with byte fallback over text that is not normalised,
/// no space added in front, matched pieces (runs of spaces and newlines, HTML tags, turn markers, tokens that a fine-tune added) taken first, as
/// Hugging Face takes them: the leftmost, of those the longest. No bos is added. Immutable and safe for concurrent use.
/// </summary>
/// <remarks>
/// <see cref="Tokenizer.Decode(IEnumerable{int})"/> is SentencePiece's: bos, eos and padding vanish, bytes that are not UTF-8 become U+FFFD each.
/// Typed control text such as <c>&lt;bos&gt;</c> is text; turn markers match in every method of <see cref="Tokenizer"/> (<c>EncodeToIds</c>, <c>CountTokens</c>…), as they do in
/// SentencePiece: only pass text that you wrote yourself. <see cref="EncodeContent"/> is for text of others, where no marker counts; the chat template encodes message content so.
/// </remarks>
public sealed partial class GemmaTokenizer : Tokenizer
{
    private const string StartOfTurn = "<start_of_turn>";
    private const string EndOfTurn = "<end_of_turn>";

    private static readonly byte[] s_allBytes = [.. Enumerable.Range(0, 256).Select(static value => (byte)value)];

    private readonly TokenizerVocabulary _vocabulary;
    private MarkerSet? _controls;
    private int _longestPiece = -1;

    private GemmaTokenizer(TokenizerVocabulary vocabulary, int bosId, int eosId, int padId)
    {
        _vocabulary = vocabulary;
        BosId = bosId;
        EosId = eosId;
        PadId = padId;
        StartOfTurnId = FindControl(StartOfTurn);
        EndOfTurnId = FindControl(EndOfTurn);
    }

    /// <summary>Ids are 0 to this number - 1. Fine-tuned vocabularies may have gaps: ids without a token, which no model generates.</summary>
    public int VocabularySize => _vocabulary.Count;

    /// <summary>Id of the token that every prompt begins with, -1 if the vocabulary has none.</summary>
    public int BosId { get; }

    /// <summary>Id of the token that ends a document, -1 if the vocabulary has none.</summary>
    public int EosId { get; }

    /// <summary>Id of the padding token, -1 if the vocabulary has none.</summary>
    public int PadId { get; }

    /// <summary>Id of the token for what the vocabulary cannot spell, -1 if it has none.</summary>
    public int UnknownId => _vocabulary.UnknownId;

    /// <summary>Id of <c>&lt;start_of_turn&gt;</c>, -1 if the vocabulary has none.</summary>
    public int StartOfTurnId { get; }

    /// <summary>Id of <c>&lt;end_of_turn&gt;</c>, -1 if the vocabulary has none.</summary>
    public int EndOfTurnId { get; }

    /// <summary>Null: text is encoded as a whole.</summary>
    public override PreTokenizer? PreTokenizer => null;

    /// <summary>Null: text is not normalised.</summary>
    public override Normalizer? Normalizer => null;

    /// <summary>Every control piece by its spelling, bos and eos included.</summary>
    internal MarkerSet Controls => LazyInitializer.EnsureInitialized(
        ref _controls, () => new MarkerSet(Enumerable.Range(0, VocabularySize).Where(id => GetKind(id) == TokenKind.Control).Select(id => (GetPiece(id), id))))!;

    /// <summary>The pieces that are matched in any text.</summary>
    internal IEnumerable<string> UserDefinedPieces => Enumerable.Range(0, VocabularySize).Where(id => GetKind(id) == TokenKind.UserDefined).Select(id => Encoding.UTF8.GetString(GetBytes(id)));

    /// <summary>Limit of bytes of a token; 0 if one token may cover any number of unknown characters.</summary>
    internal int LongestPiece
    {
        get
        {
            if (_longestPiece < 0)
            {
                _longestPiece = !_vocabulary.HasBytes ? 0 : Enumerable.Range(0, VocabularySize).Where(id => GetKind(id) == TokenKind.UserDefined).Select(id => GetBytes(id).Length)
                    .Append(_vocabulary.LongestMergeable).Append(1).Max();
            }

            return _longestPiece;
        }
    }

    /// <summary>Reads <c>tokenizer.model</c> or <c>tokenizer.json</c>, told apart by content.</summary>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="GemmaModelFormatException">The file does not hold a usable Gemma vocabulary.</exception>
    public static GemmaTokenizer FromFile(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        byte[] bytes = File.ReadAllBytes(path);
        return bytes.AsSpan().TrimStart(" \t\r\n"u8) is [(byte)'{', ..] && !path.EndsWith(".model", StringComparison.OrdinalIgnoreCase)
            ? FromTokenizerJson(bytes, path)
            : FromSentencePiece(bytes, path);
    }

    /// <summary>Reads a SentencePiece model (<c>tokenizer.model</c>, protocol buffers).</summary>
    /// <param name="bytes">The whole file.</param>
    /// <param name="source">Where the bytes come from, for messages.</param>
    /// <exception cref="GemmaModelFormatException">The bytes are not a usable Gemma vocabulary; the message says what, where, and what to do.</exception>
    public static GemmaTokenizer FromSentencePiece(ReadOnlySpan<byte> bytes, string source)
    {
        ArgumentException.ThrowIfNullOrEmpty(source);
        return FromVocabulary(SentencePieceReader.Read(bytes, source));
    }

    /// <summary>Reads a Hugging Face <c>tokenizer.json</c> that holds a byte-pair model.</summary>
    /// <param name="bytes">The whole file, UTF-8.</param>
    /// <param name="source">Where the bytes come from, for messages.</param>
    /// <exception cref="GemmaModelFormatException">The bytes are not a usable Gemma vocabulary; the message says what, where, and what to do.</exception>
    public static GemmaTokenizer FromTokenizerJson(ReadOnlySpan<byte> bytes, string source)
    {
        ArgumentException.ThrowIfNullOrEmpty(source);
        return FromVocabulary(TokenizerJsonReader.Read(bytes, source));
    }

    /// <summary>Builds the tokenizer from a vocabulary. Turn markers come out as Control, whatever type the file gives them.</summary>
    /// <exception cref="GemmaModelFormatException">The vocabulary is not usable.</exception>
    internal static GemmaTokenizer FromVocabulary(VocabularyData data)
    {
        (int bosId, int eosId, int padId) = (data.BosId, data.EosId, data.PadId);
        for (int id = 0; id < data.Count; id++)
        {
            ReadOnlySpan<byte> piece = data.Pieces[id];
            if (piece.Length is < 5 or > 15 || piece[0] != '<' || data.Kinds[id] is TokenKind.Byte or TokenKind.Unknown or TokenKind.Unused)
            {
                continue;
            }

            if (IsTurnMarker(piece))
            {
                data.MakeControl(id);
            }

            Name(ref bosId, piece, "<bos>"u8, id);
            Name(ref eosId, piece, "<eos>"u8, id);
            Name(ref padId, piece, "<pad>"u8, id);
        }

        foreach ((int id, string name) in new[] { (bosId, "bos"), (eosId, "eos"), (padId, "padding") })
        {
            if (id < -1 || id >= data.Count)
            {
                throw TokenizerVocabulary.Bad(data.Source, $"its {name} token is {id:N0}, but it has {data.Count:N0} pieces");
            }

            if (id >= 0)
            {
                data.MakeControl(id);
            }
        }

        foreach (int id in data.StopIds)
        {
            if ((uint)id < (uint)data.Count && data.Pieces[id] is [(byte)'<', .., (byte)'>'])
            {
                data.MakeControl(id);
            }
        }

        return new GemmaTokenizer(new TokenizerVocabulary(data), bosId, eosId, padId);

        static void Name(ref int known, ReadOnlySpan<byte> piece, ReadOnlySpan<byte> name, int id)
        {
            if (known < 0 && piece.SequenceEqual(name))
            {
                known = id;
            }
        }
    }

    /// <summary>Markers of the turns of Gemma and of ChatML, which SentencePiece files hold as text and some fine-tunes as tokens that are not special.</summary>
    private static bool IsTurnMarker(ReadOnlySpan<byte> piece) =>
        piece.SequenceEqual("<start_of_turn>"u8) || piece.SequenceEqual("<end_of_turn>"u8) || piece.SequenceEqual("<|im_start|>"u8) || piece.SequenceEqual("<|im_end|>"u8);

    /// <summary>
    /// The tokens of text that users wrote or a tool returned: what looks like a turn marker or another control token in it is spelt in letters, whereas
    /// <see cref="Tokenizer.EncodeToIds(string, bool, bool)"/> takes it for the token. No bos is added. For putting prompts together by hand.
    /// </summary>
    /// <param name="text">Lone surrogates become U+FFFD.</param>
    /// <returns>Token ids.</returns>
    public IReadOnlyList<int> EncodeContent(ReadOnlySpan<char> text) => Encode(text, matchSpecial: false);

    /// <summary>The single token of a marker, -1 if it takes several.</summary>
    internal int FindMarker(string marker)
    {
        if (Controls.Find(marker) is var control and >= 0)
        {
            return control;
        }

        byte[] bytes = Encoding.UTF8.GetBytes(marker);
        return Enumerable.Range(0, VocabularySize).FirstOrDefault(id => GetKind(id) == TokenKind.UserDefined && GetBytes(id).SequenceEqual(bytes), -1);
    }

    /// <summary>Appends the tokens of a text.</summary>
    /// <param name="text">Lone surrogates become U+FFFD.</param>
    /// <param name="ids">Receives the tokens.</param>
    /// <param name="matchSpecial">Whether turn markers and other control pieces (but <c>&lt;bos&gt;</c>, <c>&lt;eos&gt;</c>, <c>&lt;pad&gt;</c>) are matched; otherwise they are text.</param>
    internal void Encode(ReadOnlySpan<char> text, List<int> ids, bool matchSpecial) => Encode(text, matchSpecial, ids, null, int.MaxValue);

    /// <summary>The tokens of a text.</summary>
    internal int[] Encode(ReadOnlySpan<char> text, bool matchSpecial)
    {
        List<int> ids = [];
        Encode(text, ids, matchSpecial);
        return [.. ids];
    }

    /// <summary>The bytes that a token contributes to generated text: a byte piece its byte; control and unknown pieces and ids without a token none.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    internal ReadOnlySpan<byte> GetBytes(int id) => GetKind(id) switch
    {
        TokenKind.Control or TokenKind.Unknown or TokenKind.Unused => [],
        TokenKind.Byte => s_allBytes.AsSpan(TokenizerVocabulary.ByteOf(_vocabulary.GetPiece(id)), 1),
        _ => _vocabulary.GetPiece(id),
    };

    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    internal TokenKind GetKind(int id)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(id);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(id, _vocabulary.Count);
        return _vocabulary.GetKind(id);
    }

    /// <summary>The matching rule of the token.</summary>
    internal TokenMatching GetMatching(int id) => _vocabulary.GetMatching(id);

    /// <summary>The score that the file gave a token; the pair with the highest merges first.</summary>
    internal float GetScore(int id) => _vocabulary.GetScore(id);

    /// <summary>The piece as the vocabulary spells it, with U+2581 for a space.</summary>
    internal string GetPiece(int id)
    {
        TokenKind kind = GetKind(id);
        string piece = Encoding.UTF8.GetString(_vocabulary.GetPiece(id));
        return kind is TokenKind.Byte or TokenKind.Control ? piece : piece.Replace(' ', '\u2581');
    }

    /// <inheritdoc/>
    protected override EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        ReadOnlySpan<char> source = text ?? textSpan;
        (List<int> ids, List<int> lengths) = EncodeWithLengths(source, settings.MaxTokenCount);
        int count = CountWithin(ids, lengths, settings.MaxTokenCount, out int consumed);
        EncodedToken[] tokens = new EncodedToken[count];
        int start = 0;
        for (int index = 0; index < count; index++)
        {
            int end = start + lengths[index];
            tokens[index] = new EncodedToken(ids[index], GetPiece(ids[index]), new Range(start, end));
            start = end;
        }

        return new EncodeResults<EncodedToken> { Tokens = tokens, CharsConsumed = consumed };
    }

    /// <summary>
    /// The tokens of a text, as SentencePiece gives them: turn markers in it become control tokens, which end turns. For text that users wrote
    /// use <see cref="EncodeContent"/>.
    /// </summary>
    /// <inheritdoc/>
    protected override EncodeResults<int> EncodeToIds(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        ReadOnlySpan<char> source = text ?? textSpan;
        if (settings.MaxTokenCount == int.MaxValue)
        {
            List<int> all = [];
            Encode(source, all, matchSpecial: true);
            return new EncodeResults<int> { Tokens = all, CharsConsumed = source.Length };
        }

        (List<int> ids, List<int> lengths) = EncodeWithLengths(source, settings.MaxTokenCount);
        int count = CountWithin(ids, lengths, settings.MaxTokenCount, out int consumed);
        return new EncodeResults<int> { Tokens = ids[..count], CharsConsumed = consumed };
    }

    /// <inheritdoc/>
    protected override int CountTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings) =>
        EncodeToIds(text, textSpan, settings).Tokens.Count;

    /// <inheritdoc/>
    protected override int GetIndexByTokenCount(
        string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings, bool fromEnd, out string? normalizedText, out int tokenCount)
    {
        normalizedText = null;
        ReadOnlySpan<char> source = text ?? textSpan;
        (List<int> ids, List<int> lengths) = EncodeWithLengths(source, fromEnd ? int.MaxValue : settings.MaxTokenCount);
        if (!fromEnd)
        {
            tokenCount = CountWithin(ids, lengths, settings.MaxTokenCount, out int consumed);
            return consumed;
        }

        // From the end: a character spelt in bytes, whose length its last byte carries, counts whole or not at all.
        int index = source.Length;
        int position = source.Length;
        tokenCount = 0;
        for (int taken = 1; taken <= ids.Count && taken <= settings.MaxTokenCount; taken++)
        {
            position -= lengths[^taken];
            if (taken == ids.Count || lengths[^(taken + 1)] > 0)
            {
                tokenCount = taken;
                index = position;
            }
        }

        return index;
    }

    private (List<int> Ids, List<int> Lengths) EncodeWithLengths(ReadOnlySpan<char> text, int maxTokens)
    {
        List<int> ids = [];
        List<int> lengths = [];
        if (maxTokens > 0)
        {
            Encode(text, matchSpecial: true, ids, lengths, maxTokens);
        }

        return (ids, lengths);
    }

    private void Encode(ReadOnlySpan<char> text, bool matchSpecial, List<int> ids, List<int>? lengths, int maxTokens)
    {
        BpeEncoder encoder = BpeEncoder.Rent();
        encoder.Encode(_vocabulary, text, matchSpecial, ids, lengths, maxTokens);
        encoder.Return();
    }

    /// <summary>The number of leading tokens that fit, without splitting a character encoded as bytes, and the characters that they cover.</summary>
    private static int CountWithin(List<int> ids, List<int> lengths, int maxTokens, out int chars)
    {
        int count = 0;
        int position = 0;
        chars = 0;
        for (int index = 0; index < ids.Count && index < maxTokens; index++)
        {
            position += lengths[index];
            if (lengths[index] > 0)
            {
                count = index + 1;
                chars = position;
            }
        }

        return count;
    }

    /// <summary>The control token of a name, -1 if the vocabulary has none.</summary>
    private int FindControl(string piece)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(piece);
        for (int id = 0; id < _vocabulary.Count; id++)
        {
            if (_vocabulary.GetKind(id) == TokenKind.Control && _vocabulary.GetPiece(id).SequenceEqual(bytes))
            {
                return id;
            }
        }

        return -1;
    }
}
