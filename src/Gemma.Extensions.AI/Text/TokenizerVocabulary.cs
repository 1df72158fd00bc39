using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// The pieces of a vocabulary and the tables that encoding needs. Immutable, shared by all threads.
/// Inside, SentencePiece's visible space (U+2581) is a plain space: normalised text never holds both, and the bytes of a piece are then its text.
/// </summary>
internal sealed class TokenizerVocabulary
{
    /// <summary>The longest piece accepted, in bytes. Gemma's longest has 93; the bound keeps a hostile vocabulary from making encoding quadratic.</summary>
    public const int MaxPieceBytes = 1024;

    public const int MaxPieces = 1 << 22;

    private readonly byte[] _bytes;
    private readonly int[] _offsets; // [count + 1], into _bytes
    private readonly TokenKind[] _kinds;
    private readonly uint[] _mergeKeys; // smaller merges first
    private readonly ulong[] _table; // open addressing: hash in the upper half, id + 1 in the lower; Normal pieces only
    private readonly int[] _byteIds = new int[256];
    private readonly int[] _asciiIds = new int[128]; // Normal pieces of one ASCII character
    private readonly ulong[] _asciiPairs = new ulong[128 * 128 / 64]; // characters that are adjacent in some piece
    private readonly ulong[] _otherPairs; // the same for other characters, hashed
    private readonly TokenMatching[]? _matching; // by id; null if every token is matched wherever its text occurs

    /// <exception cref="GemmaModelFormatException">The vocabulary is not usable.</exception>
    public TokenizerVocabulary(VocabularyData data)
    {
        string source = data.Source;
        int count = data.Count;
        if (count is 0 or > MaxPieces)
        {
            throw Bad(source, $"it has {count:N0} pieces, expected 1 to {MaxPieces:N0}");
        }

        _kinds = [.. data.Kinds];
        if (data.Matching.Count > 0)
        {
            _matching = new TokenMatching[count];
            foreach ((int id, TokenMatching matching) in data.Matching)
            {
                _matching[id] = matching;
            }
        }

        _offsets = new int[count + 1];
        _mergeKeys = new uint[count];
        _bytes = Concatenate(data.Pieces, source);
        Array.Fill(_byteIds, -1);
        Array.Fill(_asciiIds, -1);

        _table = new ulong[(int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, 2 * count))];
        _otherPairs = new ulong[Math.Max(64, (int)BitOperations.RoundUpToPowerOf2((uint)(8L * count / 64)))];
        for (int id = 0; id < count; id++)
        {
            Add(id, data.Scores[id], source);
        }

        UnknownId = Array.IndexOf(_kinds, TokenKind.Unknown);
        HasBytes = Array.TrueForAll(_byteIds, static id => id >= 0);
        if (!HasBytes && UnknownId < 0)
        {
            throw Bad(source, "it has neither all 256 byte pieces ('<0x00>' to '<0xFF>') nor an unknown piece, so some text has no tokens");
        }
    }

    public int Count => _kinds.Length;

    /// <summary>The unknown piece, or -1.</summary>
    public int UnknownId { get; }

    /// <summary>True if characters without a piece are encoded as bytes; otherwise they become the unknown token.</summary>
    public bool HasBytes { get; }

    /// <summary>Length in bytes of the longest piece that merges can produce.</summary>
    public int LongestMergeable { get; private set; }

    /// <summary>Tokens matched in the text before normalization.</summary>
    public PieceTrie Matched { get; } = new();

    /// <summary>Tokens matched in the text left over by those; null if there are none.</summary>
    public PieceTrie? MatchedNormalized { get; private set; }

    public TokenMatching GetMatching(int id) => _matching is null ? TokenMatching.None : _matching[id];

    /// <summary>True for control pieces that are never matched in text and vanish in decoding: those that SentencePiece itself puts around a text.</summary>
    public static bool IsSilent(ReadOnlySpan<byte> piece) => piece.SequenceEqual("<bos>"u8) || piece.SequenceEqual("<eos>"u8) || piece.SequenceEqual("<pad>"u8);

    public TokenKind GetKind(int id) => _kinds[id];

    /// <summary>UTF-8 of the piece, U+2581 as a space; for byte pieces the spelling "&lt;0x0A&gt;".</summary>
    public ReadOnlySpan<byte> GetPiece(int id) => _bytes.AsSpan(_offsets[id], _offsets[id + 1] - _offsets[id]);

    /// <summary>Orders merges: the smaller goes first.</summary>
    public uint GetMergeKey(int id) => _mergeKeys[id];

    /// <summary>The score that the file gave the piece.</summary>
    public float GetScore(int id) => BitConverter.UInt32BitsToSingle((_mergeKeys[id] & 0x8000_0000) != 0 ? _mergeKeys[id] : ~_mergeKeys[id] & 0x7FFF_FFFF);

    public int GetByteId(byte value) => _byteIds[value];

    /// <summary>The normal piece of one ASCII character, or -1.</summary>
    public int GetAsciiId(byte character) => _asciiIds[character];

    /// <summary>The normal piece with these bytes, or -1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Find(ReadOnlySpan<byte> piece)
    {
        if (piece.Length > LongestMergeable)
        {
            return -1;
        }

        ulong[] table = _table;
        uint hash = Hash(piece);
        uint mask = (uint)table.Length - 1;
        for (uint slot = hash & mask; ; slot = (slot + 1) & mask)
        {
            ulong entry = table[slot];
            if (entry == 0)
            {
                return -1;
            }

            if ((uint)(entry >> 32) == hash)
            {
                int id = (int)(uint)entry - 1;
                if (GetPiece(id).SequenceEqual(piece))
                {
                    return id;
                }
            }
        }
    }

    /// <summary>False where no piece holds the two characters side by side, so that no merge can cross between them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool MayJoin(uint left, uint right)
    {
        if ((left | right) < 128)
        {
            uint bit = (left << 7) | right;
            return ((_asciiPairs[bit >> 6] >> (int)(bit & 63)) & 1) != 0;
        }

        uint other = HashPair(left, right);
        return ((_otherPairs[other >> 6] >> (int)(other & 63)) & 1) != 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private byte[] Concatenate(IReadOnlyList<byte[]> pieces, string source)
    {
        long total = 0;
        for (int id = 0; id < pieces.Count; id++)
        {
            int length = pieces[id].Length;
            if (length > MaxPieceBytes)
            {
                throw Bad(source, $"piece {id:N0} has {length:N0} bytes, expected at most {MaxPieceBytes:N0}");
            }

            total += length;
        }

        if (total > int.MaxValue / 2)
        {
            throw Bad(source, $"its pieces have {total:N0} bytes together");
        }

        byte[] bytes = new byte[total];
        int end = 0;
        for (int id = 0; id < pieces.Count; id++)
        {
            ReadOnlySpan<byte> piece = pieces[id];
            _offsets[id] = end;
            while (piece.IndexOf(BpeEncoder.VisibleSpace) is int at and >= 0)
            {
                piece[..at].CopyTo(bytes.AsSpan(end));
                end += at;
                bytes[end++] = (byte)' ';
                piece = piece[(at + BpeEncoder.VisibleSpace.Length)..];
            }

            piece.CopyTo(bytes.AsSpan(end));
            end += piece.Length;
        }

        _offsets[pieces.Count] = end;
        return bytes;
    }

    private void Add(int id, float score, string source)
    {
        if (!float.IsFinite(score))
        {
            throw Bad(source, $"the score of piece {id:N0} is {score}");
        }

        uint bits = BitConverter.SingleToUInt32Bits(score + 0f); // + 0 turns -0 into 0
        _mergeKeys[id] = (bits & 0x8000_0000) != 0 ? bits : ~bits & 0x7FFF_FFFF; // descending score
        ReadOnlySpan<byte> piece = GetPiece(id);
        switch (_kinds[id])
        {
            case TokenKind.Normal when piece.IsEmpty:
                _kinds[id] = TokenKind.Unused;
                break;
            case TokenKind.Normal:
                CheckText(id, piece, source);
                if (!GetMatching(id).HasFlag(TokenMatching.NeverMerges))
                {
                    AddNormal(id, piece);
                }

                break;
            case TokenKind.UserDefined:
            case TokenKind.Control when !IsSilent(piece):
                AddMatched(id, piece);
                break;
            case TokenKind.Byte:
                _byteIds[ParseByte(piece, id, source)] = id;
                break;
            case TokenKind.Unknown:
            case TokenKind.Control:
            case TokenKind.Unused:
                break;
            default:
                throw Bad(source, $"piece {id:N0} has the type {(int)_kinds[id]}, expected 1 to 6");
        }
    }

    private void AddMatched(int id, ReadOnlySpan<byte> piece)
    {
        TokenMatching matching = GetMatching(id);
        if (piece.IsEmpty || !Utf8.IsValid(piece))
        {
            return; // no text holds it
        }

        (matching.HasFlag(TokenMatching.Normalized) ? MatchedNormalized ??= new PieceTrie() : Matched).Add(piece, id);
        if (matching.HasFlag(TokenMatching.Merges) && _kinds[id] == TokenKind.UserDefined)
        {
            AddNormal(id, piece);
        }
    }

    private static void CheckText(int id, ReadOnlySpan<byte> piece, string source)
    {
        if (!Utf8.IsValid(piece))
        {
            throw Bad(source, $"piece {id:N0} is not valid UTF-8");
        }
    }

    /// <param name="id">Token that merges produce.</param>
    /// <param name="piece">Its text, valid UTF-8.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void AddNormal(int id, ReadOnlySpan<byte> piece)
    {
        uint previous = 0;
        for (int at = 0; at < piece.Length;)
        {
            Rune.DecodeFromUtf8(piece[at..], out Rune rune, out int length);
            if (at > 0)
            {
                AllowJoin(previous, (uint)rune.Value);
            }
            else if (length == piece.Length && rune.IsAscii && _asciiIds[rune.Value] < 0)
            {
                _asciiIds[rune.Value] = id;
            }

            previous = (uint)rune.Value;
            at += length;
        }

        LongestMergeable = Math.Max(LongestMergeable, piece.Length);
        uint hash = Hash(piece);
        uint mask = (uint)_table.Length - 1;
        uint slot = hash & mask;
        while (_table[slot] != 0)
        {
            // Of equal pieces the first counts.
            if ((uint)(_table[slot] >> 32) == hash && GetPiece((int)(uint)_table[slot] - 1).SequenceEqual(piece))
            {
                return;
            }

            slot = (slot + 1) & mask;
        }

        _table[slot] = ((ulong)hash << 32) | (uint)(id + 1);
    }

    private void AllowJoin(uint left, uint right)
    {
        if ((left | right) < 128)
        {
            uint bit = (left << 7) | right;
            _asciiPairs[bit >> 6] |= 1UL << (int)(bit & 63);
        }
        else
        {
            uint bit = HashPair(left, right);
            _otherPairs[bit >> 6] |= 1UL << (int)(bit & 63);
        }
    }

    private static byte ParseByte(ReadOnlySpan<byte> piece, int id, string source)
    {
        if (piece.Length == 6 && piece.StartsWith("<0x"u8) && piece[5] == '>'
            && Hex(piece[3]) is int high and >= 0 && Hex(piece[4]) is int low and >= 0)
        {
            return (byte)((high << 4) | low);
        }

        throw Bad(source, $"byte piece {id:N0} is '{Encoding.UTF8.GetString(piece)}', expected '<0x00>' to '<0xFF>'");

        static int Hex(byte digit) => char.IsAsciiHexDigit((char)digit) ? Convert.ToInt32(((char)digit).ToString(), 16) : -1;
    }

    public static byte ByteOf(ReadOnlySpan<byte> piece) => ParseByte(piece, 0, "");

    private uint HashPair(uint left, uint right) => (((left * 0x9E37_79B1) ^ (right * 0x85EB_CA77)) * 0xC2B2_AE3D) >> (32 - BitOperations.Log2((uint)_otherPairs.Length) - 6);

    /// <summary>Short keys, at most a few words: multiply and fold. Collisions only cost a comparison.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Hash(ReadOnlySpan<byte> key)
    {
        ref byte data = ref MemoryMarshal.GetReference(key);
        ulong hash = (ulong)key.Length * 0x9E37_79B9_7F4A_7C15;
        int at = 0;
        for (; at + 8 <= key.Length; at += 8)
        {
            hash = Mix(hash ^ Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref data, at)));
        }

        int rest = key.Length - at;
        if (rest > 0)
        {
            ulong tail = 0;
            if ((rest & 4) != 0)
            {
                tail = Unsafe.ReadUnaligned<uint>(ref Unsafe.Add(ref data, at));
                at += 4;
            }

            if ((rest & 2) != 0)
            {
                tail = (tail << 16) | Unsafe.ReadUnaligned<ushort>(ref Unsafe.Add(ref data, at));
                at += 2;
            }

            if ((rest & 1) != 0)
            {
                tail = (tail << 8) | Unsafe.Add(ref data, at);
            }

            hash = Mix(hash ^ tail);
        }

        return (uint)(hash >> 32);

        static ulong Mix(ulong value)
        {
            value *= 0x9FB2_1C65_1E98_DF25;
            return value ^ (value >> 29);
        }
    }

    public static GemmaModelFormatException Bad(string source, string what) =>
        new($"'{source}' does not hold a usable Gemma vocabulary: {what}. The file is damaged or belongs to another model; download it again.");
}
