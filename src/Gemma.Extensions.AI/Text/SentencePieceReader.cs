using System.Buffers.Binary;
using System.Text;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// Reads a SentencePiece model (sentencepiece_model.proto: pieces = 1 {piece = 1, score = 2, type = 3}, trainer_spec = 2 {model_type = 3,
/// bos_id = 41, eos_id = 42, pad_id = 43}, normalizer_spec = 3 {precompiled_charsmap = 2, add_dummy_prefix = 3, remove_extra_whitespaces = 4}).
/// </summary>
internal static class SentencePieceReader
{
    private const int BytePairModel = 2;

    public static VocabularyData Read(ReadOnlySpan<byte> bytes, string source)
    {
        VocabularyData data = new(source);
        ReadOnlySpan<byte> trainer = default;
        ReadOnlySpan<byte> normalizer = default;

        ProtobufReader reader = new(bytes, 0, source);
        while (reader.TryReadField(out int field, out int wire))
        {
            switch (field)
            {
                case 1:
                    ReadPiece(reader.ReadMessage(wire), data);
                    break;
                case 2:
                    trainer = reader.ReadMessage(wire).Bytes;
                    break;
                case 3:
                    normalizer = reader.ReadMessage(wire).Bytes;
                    break;
                default:
                    reader.Skip(wire);
                    break;
            }
        }

        if (data.Count == 0)
        {
            throw TokenizerVocabulary.Bad(source, "no SentencePiece pieces were found in it");
        }

        CheckNormalizer(normalizer, source);
        (data.BosId, data.EosId, data.PadId) = ReadTrainer(trainer, source);
        return data;
    }

    private static void ReadPiece(ProtobufReader reader, VocabularyData data)
    {
        if (data.Count == TokenizerVocabulary.MaxPieces)
        {
            throw TokenizerVocabulary.Bad(data.Source, $"it has more than {TokenizerVocabulary.MaxPieces:N0} pieces");
        }

        byte[]? piece = null;
        float score = 0;
        ulong kind = (ulong)TokenKind.Normal;
        while (reader.TryReadField(out int field, out int wire))
        {
            switch (field)
            {
                case 1:
                    piece = reader.ReadMessage(wire).Bytes.ToArray();
                    break;
                case 2:
                    score = reader.ReadFloat(wire);
                    break;
                case 3:
                    kind = reader.ReadVarint(wire);
                    break;
                default:
                    reader.Skip(wire);
                    break;
            }
        }

        if (piece is null or [] || kind is < (ulong)TokenKind.Normal or > (ulong)TokenKind.Byte)
        {
            throw TokenizerVocabulary.Bad(data.Source, $"piece {data.Count:N0} is '{(piece is null ? "" : Encoding.UTF8.GetString(piece))}' of type {kind}, expected text and a type from 1 to 6");
        }

        data.Add(piece, score, (TokenKind)kind);
    }

    /// <summary>Gemma's text is not normalised; a model that asks for it would get other ids than SentencePiece gives.</summary>
    private static void CheckNormalizer(ReadOnlySpan<byte> bytes, string source)
    {
        int charsMap = 0;
        ulong dummyPrefix = 1;
        ulong removeSpaces = 1;
        ProtobufReader reader = new(bytes, 0, source);
        while (reader.TryReadField(out int field, out int wire))
        {
            switch (field)
            {
                case 2:
                    charsMap = reader.ReadMessage(wire).Bytes.Length;
                    break;
                case 3:
                    dummyPrefix = reader.ReadVarint(wire);
                    break;
                case 4:
                    removeSpaces = reader.ReadVarint(wire);
                    break;
                default:
                    reader.Skip(wire);
                    break;
            }
        }

        if (charsMap != 0 || dummyPrefix != 0 || removeSpaces != 0)
        {
            throw TokenizerVocabulary.Bad(source, "it normalises text (a character map, a prefixed space or collapsed spaces), which Gemma's vocabulary does not");
        }
    }

    private static (int Bos, int Eos, int Pad) ReadTrainer(ReadOnlySpan<byte> bytes, string source)
    {
        ulong model = 1;
        (int bos, int eos, int pad) = (1, 2, -1);
        ProtobufReader reader = new(bytes, 0, source);
        while (reader.TryReadField(out int field, out int wire))
        {
            switch (field)
            {
                case 3:
                    model = reader.ReadVarint(wire);
                    break;
                case 41:
                    bos = (int)reader.ReadVarint(wire);
                    break;
                case 42:
                    eos = (int)reader.ReadVarint(wire);
                    break;
                case 43:
                    pad = (int)reader.ReadVarint(wire);
                    break;
                default:
                    reader.Skip(wire);
                    break;
            }
        }

        return model == BytePairModel
            ? (bos, eos, pad)
            : throw TokenizerVocabulary.Bad(source, $"its model type is {model}, expected {BytePairModel} (byte-pair encoding)");
    }

    /// <summary>The little of protocol buffers that is needed, over untrusted bytes.</summary>
    private ref struct ProtobufReader(ReadOnlySpan<byte> bytes, long origin, string source)
    {
        private int _at;

        public ReadOnlySpan<byte> Bytes { get; } = bytes;

        public bool TryReadField(out int field, out int wire)
        {
            if (_at == Bytes.Length)
            {
                (field, wire) = (0, 0);
                return false;
            }

            ulong tag = ReadVarint(0);
            (field, wire) = ((int)Math.Min(tag >> 3, int.MaxValue), (int)(tag & 7));
            return true;
        }

        public ulong ReadVarint(int wire)
        {
            Expect(wire, 0, "a number");
            ulong value = 0;
            for (int shift = 0; shift < 64; shift += 7)
            {
                if (_at == Bytes.Length)
                {
                    throw Cut();
                }

                byte next = Bytes[_at++];
                value |= (ulong)(next & 0x7F) << shift;
                if (next < 0x80)
                {
                    return value;
                }
            }

            throw TokenizerVocabulary.Bad(source, $"the number before offset {origin + _at:N0} has more than ten bytes");
        }

        public float ReadFloat(int wire)
        {
            Expect(wire, 5, "a float");
            return BinaryPrimitives.ReadSingleLittleEndian(Take(4));
        }

        public ProtobufReader ReadMessage(int wire)
        {
            Expect(wire, 2, "a message");
            ulong length = ReadVarint(0);
            long start = origin + _at;
            return new ProtobufReader(Take(length), start, source);
        }

        public void Skip(int wire)
        {
            switch (wire)
            {
                case 0:
                    ReadVarint(0);
                    break;
                case 1:
                    Take(8);
                    break;
                case 2:
                    Take(ReadVarint(0));
                    break;
                case 5:
                    Take(4);
                    break;
                default:
                    throw TokenizerVocabulary.Bad(source, $"there is no protocol buffer field at offset {origin + _at:N0} (wire type {wire}): this is not a SentencePiece model");
            }
        }

        private readonly void Expect(int wire, int expected, string what)
        {
            if (wire != expected)
            {
                throw TokenizerVocabulary.Bad(source, $"at offset {origin + _at:N0} there is wire type {wire}, expected {what}: this is not a SentencePiece model");
            }
        }

        private ReadOnlySpan<byte> Take(ulong count)
        {
            if (count > (ulong)(Bytes.Length - _at))
            {
                throw Cut();
            }

            ReadOnlySpan<byte> taken = Bytes.Slice(_at, (int)count);
            _at += (int)count;
            return taken;
        }

        private readonly GemmaModelFormatException Cut() =>
            TokenizerVocabulary.Bad(source, $"it ends in the middle of a field near offset {origin + _at:N0}");
    }
}
