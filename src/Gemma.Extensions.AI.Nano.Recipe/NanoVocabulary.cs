using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>
/// The vocabulary of gemma2-nano. <c>spm_train</c> learns merges within words from word counts (vocabulary.sh), so a word is cut the same way after a
/// space, a quote or a bracket, and copying it is copying pieces. Then frequent words get a second piece with a leading space; their scores are the
/// lowest, so they never change how a word is cut.
/// </summary>
internal static class NanoVocabulary
{
    private const int Normal = 1, UserDefined = 4;

    /// <summary>Words of the corpus with their counts, as spm_train reads them (tab separated).</summary>
    public static string WordCounts(IEnumerable<string> texts)
    {
        Dictionary<string, int> counts = new(StringComparer.Ordinal);
        foreach (string text in texts)
        {
            foreach (string word in text.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries))
            {
                counts[word] = counts.GetValueOrDefault(word) + 1;
            }
        }

        return string.Concat(counts.OrderByDescending(p => p.Value).ThenBy(p => p.Key, StringComparer.Ordinal).Select(p => $"{p.Key}\t{p.Value}\n"));
    }

    /// <summary>Adds the newline, the space and spaced words to a SentencePiece model trained on bare words.</summary>
    /// <param name="model">Bytes that spm_train wrote.</param>
    /// <param name="wordCounts">What it was trained on.</param>
    /// <param name="size">Pieces of the result.</param>
    public static byte[] Complete(byte[] model, string wordCounts, int size)
    {
        List<(string Piece, float Score, int Type)> pieces = new();
        List<byte[]> rest = new();
        for (int at = 0; at < model.Length;)
        {
            int start = at;
            ulong tag = ReadVarint(model, ref at);
            int length = (int)ReadVarint(model, ref at);
            if (tag >> 3 == 1)
            {
                pieces.Add(ReadPiece(model.AsSpan(at, length)));
            }
            else
            {
                rest.Add(model[start..(at + length)]);
            }

            at += length;
        }

        HashSet<string> known = pieces.Select(p => p.Piece).ToHashSet(StringComparer.Ordinal);
        List<(string, float, int)> added = new();
        float score = Math.Min(0, pieces.Min(p => p.Score)) - 1;
        foreach (string special in (string[])["\n", "\n\n"])
        {
            Add(special, 0, UserDefined);
        }

        Add("▁", score--, Normal);
        foreach (string line in wordCounts.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            // Rare words are left out, and capitals need more: names are to be spelt after a space as they are spelt in a quote.
            string word = line.Split('\t')[0].TrimEnd('.', ',', '?', '!', ':');
            int count = int.Parse(line.Split('\t')[1], CultureInfo.InvariantCulture);
            if (pieces.Count + added.Count < size && word.Length > 0 && word.All(char.IsAsciiLetter) && known.Contains(word)
                && count >= (char.IsAsciiLetterUpper(word[0]) ? 1000 : 120))
            {
                Add("▁" + word, score--, Normal);
            }
        }

        using MemoryStream output = new();
        foreach ((string piece, float value, int type) in pieces.Concat(added))
        {
            WritePiece(output, piece, value, type);
        }

        rest.ForEach(field => output.Write(field));
        return output.ToArray();

        void Add(string piece, float value, int type)
        {
            if (known.Add(piece))
            {
                added.Add((piece, value, type));
            }
        }
    }

    private static (string, float, int) ReadPiece(ReadOnlySpan<byte> message)
    {
        string piece = "";
        float score = 0;
        int type = Normal;
        byte[] bytes = message.ToArray();
        for (int at = 0; at < bytes.Length;)
        {
            switch (ReadVarint(bytes, ref at))
            {
                case 10:
                    int length = (int)ReadVarint(bytes, ref at);
                    piece = Encoding.UTF8.GetString(bytes, at, length);
                    at += length;
                    break;
                case 21:
                    score = BinaryPrimitives.ReadSingleLittleEndian(bytes.AsSpan(at));
                    at += 4;
                    break;
                case 24:
                    type = (int)ReadVarint(bytes, ref at);
                    break;
                case ulong other:
                    throw new InvalidDataException(string.Create(CultureInfo.InvariantCulture, $"A piece has the unknown field {other >> 3}."));
            }
        }

        return (piece, score, type);
    }

    private static void WritePiece(Stream output, string piece, float score, int type)
    {
        using MemoryStream message = new();
        byte[] text = Encoding.UTF8.GetBytes(piece);
        message.WriteByte(10);
        WriteVarint(message, (ulong)text.Length);
        message.Write(text);
        message.WriteByte(21);
        message.Write(BitConverter.GetBytes(score));
        message.WriteByte(24);
        WriteVarint(message, (ulong)type);
        output.WriteByte(10);
        WriteVarint(output, (ulong)message.Length);
        message.WriteTo(output);
    }

    private static ulong ReadVarint(byte[] bytes, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte next = bytes[at++];
            value |= (ulong)(next & 127) << shift;
            if (next < 128)
            {
                return value;
            }
        }
    }

    private static void WriteVarint(Stream stream, ulong value)
    {
        for (; value >= 128; value >>= 7)
        {
            stream.WriteByte((byte)(value | 128));
        }

        stream.WriteByte((byte)value);
    }
}
