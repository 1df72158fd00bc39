using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// SentencePiece's byte-pair encoding: matched pieces first, then the pair with the highest score merges, the leftmost of equals, until none is left;
/// characters without a piece become bytes. Text is cut where no piece can span the cut, which keeps the queue short without changing the result.
/// One instance is used by one thread; <see cref="Rent"/> reuses the scratch memory.
/// </summary>
internal sealed class BpeEncoder
{
    private const int KeptScratch = 1 << 20;

    [ThreadStatic]
    private static BpeEncoder? s_spare;

    private byte[] _text = new byte[1024];
    private Symbol[] _symbols = new Symbol[64];
    private Merge[] _queue = new Merge[128];
    private int _queued;
    private bool _previousUnknown;
    private bool _matchSpecial;
    private long _enough;

    private TokenizerVocabulary _vocabulary = null!;
    private List<int> _ids = null!;
    private List<int>? _lengths;

    /// <summary>U+2581, which stands for a space in the files.</summary>
    public static ReadOnlySpan<byte> VisibleSpace => "\u2581"u8;

    public static BpeEncoder Rent()
    {
        BpeEncoder encoder = s_spare ?? new BpeEncoder();
        s_spare = null;
        return encoder;
    }

    public void Return()
    {
        _ids = null!;
        _lengths = null;
        if (_text.Length <= KeptScratch && _symbols.Length <= KeptScratch && _queue.Length <= KeptScratch)
        {
            s_spare = this;
        }
    }

    /// <param name="vocabulary">The pieces.</param>
    /// <param name="text">Lone surrogates become U+FFFD.</param>
    /// <param name="matchSpecial">Whether control pieces that text can spell (turn markers) are matched; otherwise they are text.</param>
    /// <param name="ids">Receives the tokens.</param>
    /// <param name="lengths">Receives the UTF-16 length that each token covers; all bytes of a character but the last cover 0. Null where not needed.</param>
    /// <param name="maxTokens">Stops once there are at least this many new tokens.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)] // good from the first call: a command line encodes once
    public void Encode(TokenizerVocabulary vocabulary, ReadOnlySpan<char> text, bool matchSpecial, List<int> ids, List<int>? lengths, int maxTokens)
    {
        _vocabulary = vocabulary;
        _ids = ids;
        _lengths = lengths;
        _previousUnknown = false;
        _matchSpecial = matchSpecial;
        _enough = (long)ids.Count + maxTokens;
        Match(Normalize(text), vocabulary.Matched, vocabulary.MatchedNormalized);
    }

    /// <summary>
    /// Extracts matched tokens from a text, leftmost longest first; the text between them is passed on to the tokens that are matched in
    /// normalised text, then to the merges. As Hugging Face's tokenizers do it: a token that must be a whole word and is not hides what overlaps
    /// it, and white space that a token takes goes to the token that begins there, if one does.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Match(ReadOnlySpan<byte> text, PieceTrie trie, PieceTrie? next)
    {
        bool isNormalized = ReferenceEquals(trie, _vocabulary.MatchedNormalized);
        int done = 0, space = 0; // encoded up to the first; white space up to the second belongs to the last token
        int at = 0;
        while (at < text.Length)
        {
            if (!trie.Begins(text[at]) || trie.Match(text[at..], _matchSpecial, _vocabulary, out int id) is not (> 0 and int length))
            {
                at++;
                continue;
            }

            TokenMatching matching = _vocabulary.GetMatching(id);
            int end = at + length, start = at;
            if (!matching.HasFlag(TokenMatching.SingleWord) || !TextClass.IsWithinWord(text, at, end))
            {
                done = TakeSpace(text, done, Math.Min(space, at));
                if (matching.HasFlag(TokenMatching.LeftStrip))
                {
                    start = Math.Max(done, TextClass.SpaceBefore(text, at, isNormalized));
                }

                Rest(text[done..start], next);
                if (_ids.Count >= _enough)
                {
                    return;
                }

                Emit(id, text[start..end]);
                done = end;
                space = matching.HasFlag(TokenMatching.RightStrip) ? TextClass.SpaceAfter(text, end, isNormalized) : end;
            }

            at = end;
        }

        Rest(text[TakeSpace(text, done, space)..], next);
    }

    /// <summary>Extends the last token over white space.</summary>
    private int TakeSpace(ReadOnlySpan<byte> text, int from, int to)
    {
        if (to <= from)
        {
            return from;
        }

        if (_lengths is { } lengths)
        {
            lengths[^1] += CharLength(text[from..to]);
        }

        return to;
    }

    private void Rest(ReadOnlySpan<byte> text, PieceTrie? normalized)
    {
        if (normalized is not null && !text.IsEmpty)
        {
            Match(text, normalized, null);
        }
        else
        {
            Cut(text);
        }
    }

    /// <summary>Cuts a text where no piece could span the cut, and encodes the parts.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Cut(ReadOnlySpan<byte> text)
    {
        TokenizerVocabulary vocabulary = _vocabulary;
        int start = 0;
        uint previous = 0;
        for (int at = 0; at < text.Length && _ids.Count < _enough;)
        {
            uint character = Decode(text, at, out int length);
            if (at > start && !vocabulary.MayJoin(previous, character))
            {
                Merges(text[start..at]);
                start = at;
            }

            previous = character;
            at += length;
        }

        if (_ids.Count < _enough)
        {
            Merges(text[start..]);
        }
    }

    /// <summary>The text in UTF-8 with visible spaces made plain.</summary>
    private ReadOnlySpan<byte> Normalize(ReadOnlySpan<char> text)
    {
        int size = Encoding.UTF8.GetMaxByteCount(text.Length);
        if (_text.Length < size && _text.Length < (size = Encoding.UTF8.GetByteCount(text)))
        {
            _text = new byte[size];
        }

        int length = Encoding.UTF8.GetBytes(text, _text);
        Span<byte> bytes = _text.AsSpan(0, length);
        int end = bytes.IndexOf(VisibleSpace);
        if (end < 0)
        {
            return bytes;
        }

        for (int at = end; at < length; end++)
        {
            if (bytes[at..].StartsWith(VisibleSpace))
            {
                bytes[end] = (byte)' ';
                at += VisibleSpace.Length;
            }
            else
            {
                bytes[end] = bytes[at++];
            }
        }

        return bytes[..end];
    }

    /// <summary>The character at a position of valid UTF-8.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Decode(ReadOnlySpan<byte> bytes, int at, out int length)
    {
        uint first = bytes[at];
        if (first < 0x80)
        {
            length = 1;
            return first;
        }

        Rune.DecodeFromUtf8(bytes[at..], out Rune rune, out length);
        return (uint)rune.Value;
    }

    /// <summary>Encodes a stretch of text without matched tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Merges(ReadOnlySpan<byte> text)
    {
        if (text.IsEmpty)
        {
            return;
        }

        if (_symbols.Length < text.Length)
        {
            _symbols = new Symbol[Math.Max(text.Length, 2 * _symbols.Length)];
        }

        int count = Split(text);
        Symbol[] symbols = _symbols;
        _queued = 0;
        for (int right = 1; right < count; right++)
        {
            Consider(text, right - 1);
        }

        while (TryDequeue(out Merge merge))
        {
            int left = merge.Left;
            ref Symbol kept = ref symbols[left];
            int right = kept.Next;
            if (kept.Length == 0 || right < 0 || kept.Length + symbols[right].Length != merge.Length)
            {
                continue; // one of the two has merged with another since
            }

            kept.Length = merge.Length;
            kept.Id = merge.Id;
            kept.Next = symbols[right].Next;
            symbols[right].Length = 0;
            if (kept.Next >= 0)
            {
                symbols[kept.Next].Previous = left;
                Consider(text, left);
            }

            if (kept.Previous >= 0)
            {
                Consider(text, kept.Previous);
            }
        }

        for (int at = 0; at >= 0; at = symbols[at].Next)
        {
            EmitSymbol(symbols[at].Id, text.Slice(symbols[at].Start, symbols[at].Length));
        }
    }

    /// <summary>Makes a symbol of each character.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private int Split(ReadOnlySpan<byte> text)
    {
        int count = 0;
        for (int at = 0; at < text.Length; count++)
        {
            byte first = text[at];
            int length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
            int id = length == 1 ? _vocabulary.GetAsciiId(first) : _vocabulary.Find(text.Slice(at, length));
            _symbols[count] = new Symbol { Start = at, Length = length, Id = id, Previous = count - 1, Next = count + 1 };
            at += length;
        }

        _symbols[count - 1].Next = -1;
        return count;
    }

    /// <summary>Queues the merge of a symbol with the next one, if there is such a piece.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Consider(ReadOnlySpan<byte> text, int left)
    {
        ref Symbol first = ref _symbols[left];
        int length = first.Length + _symbols[first.Next].Length;
        int id = _vocabulary.Find(text.Slice(first.Start, length));
        if (id >= 0)
        {
            // Ordered by score, then from the left.
            Enqueue(new Merge(((ulong)_vocabulary.GetMergeKey(id) << 32) | (uint)left, length, id));
        }
    }

    private void EmitSymbol(int id, ReadOnlySpan<byte> text)
    {
        if (id >= 0)
        {
            Emit(id, text);
        }
        else if (_vocabulary.HasBytes)
        {
            // A lone space keeps the spelling that the files use.
            ReadOnlySpan<byte> spelling = text.SequenceEqual(" "u8) ? VisibleSpace : text;
            foreach (byte value in spelling)
            {
                _ids.Add(_vocabulary.GetByteId(value));
                _lengths?.Add(0);
            }

            if (_lengths is { } lengths)
            {
                lengths[^1] = CharLength(text);
            }
        }
        else if (_previousUnknown)
        {
            // Neighbouring unknown characters are one token.
            if (_lengths is { } lengths)
            {
                lengths[^1] += CharLength(text);
            }
        }
        else
        {
            Emit(_vocabulary.UnknownId, text);
            _previousUnknown = true;
        }
    }

    private void Emit(int id, ReadOnlySpan<byte> text)
    {
        _ids.Add(id);
        _lengths?.Add(CharLength(text));
        _previousUnknown = false;
    }

    private static int CharLength(ReadOnlySpan<byte> text) => Encoding.UTF8.GetCharCount(text);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Enqueue(Merge merge)
    {
        if (_queued == _queue.Length)
        {
            Array.Resize(ref _queue, 2 * _queue.Length);
        }

        Merge[] queue = _queue;
        int at = _queued++;
        while (at > 0)
        {
            int parent = (at - 1) >> 1;
            if (queue[parent].Order <= merge.Order)
            {
                break;
            }

            queue[at] = queue[parent];
            at = parent;
        }

        queue[at] = merge;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private bool TryDequeue(out Merge merge)
    {
        if (_queued == 0)
        {
            merge = default;
            return false;
        }

        Merge[] queue = _queue;
        merge = queue[0];
        Merge last = queue[--_queued];
        int at = 0;
        while (2 * at + 1 < _queued)
        {
            int child = 2 * at + 1;
            if (child + 1 < _queued && queue[child + 1].Order < queue[child].Order)
            {
                child++;
            }

            if (last.Order <= queue[child].Order)
            {
                break;
            }

            queue[at] = queue[child];
            at = child;
        }

        queue[at] = last;
        return true;
    }

    private struct Symbol
    {
        public int Start;
        public int Length; // 0: merged into the symbol before it
        public int Id; // -1: has no piece
        public int Previous;
        public int Next;
    }

    private readonly record struct Merge(ulong Order, int Length, int Id)
    {
        public int Left => (int)(uint)Order;
    }
}
