using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Tests.Text;

/// <summary>What reading a large tokenizer.json takes: Gemma's has 256,000 tokens, 580,000 merges and 34 MB.</summary>
public sealed class TokenizerLoadTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ReadingAllocatesAFewTimesTheFile(bool pairs)
    {
        byte[] small = Generate(300, pairs), large = Generate(30_000, pairs);
        GemmaTokenizer.FromTokenizerJson(small, "warm");
        long before = GC.GetAllocatedBytesForCurrentThread();
        GemmaTokenizer tokenizer = GemmaTokenizer.FromTokenizerJson(large, "test");
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(30_000, tokenizer.VocabularySize);
        Assert.InRange(allocated / (double)large.Length, 0.1, 8);
        Assert.Equal("abcabd", tokenizer.Decode(tokenizer.Encode("abcabd", matchSpecial: false)));
    }

    /// <summary>Letters, bytes, and pieces that merge two of those before; each piece has further merges, as in Gemma's file.</summary>
    /// <param name="count">Tokens.</param>
    /// <param name="pairs">Whether merges are pairs, as newer files have them, or texts with a space in between.</param>
    private static byte[] Generate(int count, bool pairs)
    {
        Random random = new(7);
        List<string> pieces = ["<pad>", "<eos>", "<bos>", "<unk>", .. Enumerable.Range(0, 256).Select(static i => $"<0x{i:X2}>"), .. Enumerable.Range('a', 26).Select(static c => ((char)c).ToString())];
        HashSet<string> known = [.. pieces];
        List<(string, string)> merges = [];
        while (pieces.Count < count)
        {
            string left = pieces[random.Next(260, pieces.Count)], right = pieces[random.Next(260, pieces.Count)];
            if (left.Length + right.Length <= 12 && known.Add(left + right))
            {
                string piece = left + right;
                pieces.Add(piece);
                merges.AddRange(Enumerable.Range(1, piece.Length - 1).Where(i => known.Contains(piece[..i]) && known.Contains(piece[i..])).Select(i => (piece[..i], piece[i..])));
            }
        }

        return JsonSerializer.SerializeToUtf8Bytes(new
        {
            added_tokens = Array.Empty<object>(),
            model = new
            {
                type = "BPE", unk_token = "<unk>", byte_fallback = true, vocab = pieces.Select(static (piece, id) => (piece, id)).ToDictionary(static entry => entry.piece, static entry => entry.id),
                merges = merges.Select(merge => pairs ? (object)new[] { merge.Item1, merge.Item2 } : merge.Item1 + " " + merge.Item2),
            },
        }, new JsonSerializerOptions { WriteIndented = true });
    }
}
