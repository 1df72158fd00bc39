using System.Text;
using Gemma.Extensions.AI.Quantization;
using Gemma.Extensions.AI.Tests.Files;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Quantization;

/// <summary>Importance matrices of the time before GGUF held them.</summary>
public sealed class LegacyImatrixTests : IDisposable
{
    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    [Fact]
    public void TheyAreRead()
    {
        // Mean squares 4 and 9, kept times 3 evaluations; the second without evaluations, as they are.
        ImportanceMatrix matrix = Read(Bytes(("blk.0.attn_q.weight", 3, [12, 27]), ("blk.0.ffn_down.weight", 0, [5, 6, 7])));
        Assert.Equal(["blk.0.attn_q.weight", "blk.0.ffn_down.weight"], matrix.Names);
        Assert.Equal([4f, 9f], matrix.For("blk.0.attn_q.weight")!);
        Assert.Equal([5f, 6f, 7f], matrix.For("blk.0.ffn_down.weight")!);

        // What follows the matrices, the number of chunks and the name of the text, is not in every file.
        Assert.Equal([4f, 9f], Read([.. Bytes(("blk.0.attn_q.weight", 3, [12, 27])), 10, 0, 0, 0, 3, 0, 0, 0, .. "a.t"u8]).For("blk.0.attn_q.weight")!);
    }

    [Fact]
    public void DamagedOnesAreNamedAsWhatTheyAre()
    {
        byte[] valid = Bytes(("blk.0.attn_q.weight", 3, [12, 27]), ("blk.0.ffn_down.weight", 2, [5, 6, 7]));
        Assert.Contains("imatrix.dat", Assert.Throws<GemmaModelFormatException>(() => Read(valid[..^3])).Message);
        Assert.Contains("not finite", Assert.Throws<GemmaModelFormatException>(() => Read(Bytes(("w", 1, [float.NaN])))).Message);
        Random random = new(8);
        int accepted = 0;
        const int Count = 3000;
        for (int i = 0; i < Count; i++)
        {
            try
            {
                Assert.NotEmpty(Read(Mutation.Apply(valid, valid.Length, random)).Names);
                accepted++;
            }
            catch (GemmaModelFormatException)
            {
            }
        }

        Assert.InRange(accepted, 1, Count - 1);
    }

    private ImportanceMatrix Read(byte[] bytes)
    {
        File.WriteAllBytes(_temp.File("imatrix.dat"), bytes);
        return ImportanceMatrix.Load(_temp.File("imatrix.dat"));
    }

    private static byte[] Bytes(params (string Name, int Calls, float[] Sums)[] matrices)
    {
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        writer.Write(matrices.Length);
        foreach ((string name, int calls, float[] sums) in matrices)
        {
            writer.Write(name.Length);
            writer.Write(Encoding.ASCII.GetBytes(name));
            writer.Write(calls);
            writer.Write(sums.Length);
            Array.ForEach(sums, writer.Write);
        }

        return stream.ToArray();
    }
}
