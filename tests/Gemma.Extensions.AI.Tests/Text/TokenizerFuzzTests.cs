using System.Text;
using Gemma.Extensions.AI.Benchmarks;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Tests.Text;

/// <summary>Damaged tokenizer files are refused with the documented exception, or read; nothing else happens.</summary>
public sealed class TokenizerFuzzTests
{
    [Fact]
    public void MutatedSentencePieceModelsAreReadOrRefused() =>
        Fuzz(TestData.Local("tiny/tokenizer.model"), 40_000, bytes => GemmaTokenizer.FromSentencePiece(bytes, "fuzz.model"));

    [Fact]
    public void MutatedTokenizerJsonIsReadOrRefused() =>
        Fuzz(TestData.Local("tiny/tokenizer.json"), 15_000, bytes => GemmaTokenizer.FromTokenizerJson(bytes, "fuzz.json"));

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("[]")]
    [InlineData("\n\u0003abc")]
    [InlineData("""{"model":{"type":"WordPiece","vocab":{}}}""")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"<unk>":0,"a":2147483647},"unk_token":"<unk>"}}""")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"<unk>":0,"a":-1},"unk_token":"<unk>"}}""")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"<unk>":0,"a":0},"unk_token":"<unk>"}}""")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"<unk>":0},"unk_token":"<unk>","merges":["a b"]}}""")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"<unk>":0},"unk_token":"<unk>","merges":["ab"]}}""")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0}}}""")]
    [InlineData("""{"added_tokens":[{"id":70000,"content":"<bos>","special":true}],"model":{"type":"BPE","vocab":{"<unk>":0},"unk_token":"<unk>"}}""")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"\ud800":0}}}""")]
    public void FilesThatAreNoVocabularyAreRefusedWithWhatWasFound(string content)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(content);
        GemmaModelFormatException model = Assert.Throws<GemmaModelFormatException>(() => GemmaTokenizer.FromSentencePiece(bytes, "some.model"));
        Assert.Contains("'some.model'", model.Message);
        GemmaModelFormatException json = Assert.Throws<GemmaModelFormatException>(() => GemmaTokenizer.FromTokenizerJson(bytes, "some.json"));
        Assert.Contains("'some.json'", json.Message);
    }

    [Fact]
    public void AModelThatNormalisesIsRefused()
    {
        byte[] model = File.ReadAllBytes(TestData.Local("tiny/tokenizer.model"));
        // A second normalizer_spec {add_dummy_prefix: true}, which takes the place of the first.
        byte[] changed = [.. model, 0x1A, 2, 0x18, 1];
        Assert.Contains("normalises", Assert.Throws<GemmaModelFormatException>(() => GemmaTokenizer.FromSentencePiece(changed, "t")).Message);
    }

    [Fact]
    public void AVocabularyWithBadNumbersIsRefused()
    {
        byte[][] pieces = [.. Enumerable.Range(0, 256).Select(value => Encoding.ASCII.GetBytes($"<0x{value:X2}>")), "a"u8.ToArray()];
        TokenKind[] kinds = [.. Enumerable.Repeat(TokenKind.Byte, 256), TokenKind.Normal];
        float[] scores = new float[257];
        Assert.Equal([256, 256], Build(pieces, scores, kinds).Encode("aa", true));
        Refused(() => Build(pieces, [.. scores[..256], float.NaN], kinds));
        Refused(() => Build([], [], []));
        Refused(() => Build(pieces, scores, kinds, 257));
        Refused(() => Build(pieces, scores, [.. kinds[..256], (TokenKind)9]));
        Refused(() => Build([.. pieces[..256], [0xFF]], scores, kinds));
        Refused(() => Build([.. pieces[..256], new byte[2000]], scores, kinds));
        Refused(() => Build(pieces, scores, [.. Enumerable.Repeat(TokenKind.Byte, 257)]));

        static void Refused(Action action) => Assert.Throws<GemmaModelFormatException>(action);

        static GemmaTokenizer Build(byte[][] pieces, float[] scores, TokenKind[] kinds, int bos = -1)
        {
            VocabularyData data = new("v") { BosId = bos };
            for (int id = 0; id < pieces.Length; id++)
            {
                data.Add(pieces[id], scores[id], kinds[id]);
            }

            return GemmaTokenizer.FromVocabulary(data);
        }
    }

    private static void Fuzz(string path, int mutations, Func<byte[], GemmaTokenizer> read)
    {
        byte[] original = File.ReadAllBytes(path);
        Random random = new(17);
        int accepted = 0;
        int refused = 0;
        for (int i = 0; i < mutations; i++)
        {
            byte[] mutated = Mutate(original, random);
            double start = ProcessorTime.Microseconds();
            try
            {
                GemmaTokenizer tokenizer = read(mutated);
                accepted++;
                if (accepted % 16 == 0)
                {
                    // What was accepted works.
                    int[] ids = tokenizer.Encode("Hello <b>wörld</b>\n\n  🕰<end_of_turn>", matchSpecial: true);
                    Assert.All(ids, id => Assert.InRange(id, 0, tokenizer.VocabularySize - 1));
                    tokenizer.Decode(ids);
                }
            }
            catch (GemmaModelFormatException)
            {
                refused++;
            }

            Assert.InRange(ProcessorTime.Microseconds() - start, 0, 20e6);
        }

        Assert.Equal(mutations, accepted + refused);
        Assert.True(refused > mutations / 10 && accepted > 0, $"{accepted} accepted, {refused} refused: the mutations do not reach the checks.");
    }

    private static byte[] Mutate(byte[] original, Random random)
    {
        List<byte> bytes = [.. original];
        for (int change = random.Next(1, 4); change > 0 && bytes.Count > 0; change--)
        {
            int at = random.Next(3) == 0 ? random.Next(Math.Min(200, bytes.Count)) : random.Next(bytes.Count);
            switch (random.Next(5))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = random.Next(3) switch { 0 => 0, 1 => 0xFF, _ => (byte)random.Next(256) };
                    break;
                case 2:
                    bytes.RemoveRange(at, Math.Min(bytes.Count - at, random.Next(1, 20)));
                    break;
                case 3:
                    bytes.InsertRange(at, bytes.GetRange(at, Math.Min(bytes.Count - at, random.Next(1, 40))));
                    break;
                default:
                    bytes.RemoveRange(at, random.Next(4) == 0 ? bytes.Count - at : 0);
                    break;
            }
        }

        return [.. bytes];
    }
}
