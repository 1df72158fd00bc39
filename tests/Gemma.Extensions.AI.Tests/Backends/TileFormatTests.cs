using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

public sealed unsafe class TileFormatTests
{
    [Theory]
    [InlineData("portable")]
    [InlineData("avx2")]
    [InlineData("avx512")]
    [InlineData("neon")]
    public void UnpackedTilesHoldTheDecodedWeights(string isa)
    {
        Assert.SkipWhen(isa == "avx2" && !Avx2.IsSupported, "no AVX2");
        Assert.SkipWhen(isa == "neon" && !AdvSimd.Arm64.IsSupported, "no NEON");
        Assert.SkipWhen(isa == "avx512" && !Avx512BW.IsSupported, "no AVX-512");
        TileFormat[] table = isa switch { "neon" => TileFormat.Table<NeonDotIsa>(), "avx2" => TileFormat.Table<Avx2Isa>(), "avx512" => TileFormat.Table<Avx512Isa>(), _ => TileFormat.Table<PortableIsa>() };
        using var random = new RandomTensors(5);
        foreach (BlockFormat format in BlockFormat.All)
        {
            CheckFormat(table[(int)format.Type], random.Create(format.Type, TileFormat.Rows, 512));
        }
    }

    private static void CheckFormat(TileFormat format, TensorView tensor)
    {
        const int Columns = 512;
        float[] expected = RandomTensors.Decode(tensor);
        byte* tile = (byte*)NativeMemory.AlignedAlloc(Columns * TileFormat.Rows * sizeof(float), 64);
        float* scales = (float*)NativeMemory.AlignedAlloc(Columns / 16 * 2 * TileFormat.Rows * sizeof(float), 64);
        for (int half = 0; half < 2; half++)
        {
            format.Unpack(tensor.Data + 16 * half * tensor.RowBytes, tensor.RowBytes, Columns, tile + 64 * half, scales + 16 * half);
        }

        for (int row = 0; row < TileFormat.Rows; row++)
        {
            for (int k = 0; k < Columns; k++)
            {
                float reference = expected[row * Columns + k];
                if (format.Layout == TileLayout.Float32)
                {
                    Assert.Equal(reference, ((float*)tile)[k * TileFormat.Rows + row]);
                    continue;
                }

                int q = tile[k / 4 * 4 * TileFormat.Rows + 4 * row + k % 4];
                Assert.InRange(q, 0, format.MaxByte);
                float* group = scales + k / format.Group * format.ScaleStride;
                float minimum = format.HasMinimum ? group[TileFormat.Rows + row] : 0;
                float product = group[row] * (q - format.Offset);

                // Decoders may multiply in another order: three roundings.
                Assert.True(Math.Abs(product - minimum - reference) <= 3e-7f * (Math.Abs(product) + Math.Abs(minimum)), $"{format.Type} [{row}, {k}]: {product - minimum}, expected {reference}");
            }
        }

        NativeMemory.AlignedFree(tile);
        NativeMemory.AlignedFree(scales);
    }
}
