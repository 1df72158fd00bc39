using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;
using InHalves = Gemma.Extensions.AI.Backends.Cpu.InHalves;
using InQuarters = Gemma.Extensions.AI.Backends.Cpu.InQuarters;

namespace Gemma.Extensions.AI.Tests.Backends;

public sealed unsafe class TileFormatTests
{
    [Theory]
    [InlineData("portable")]
    [InlineData("avx2")]
    [InlineData("avx512")]
    [InlineData("neon")]
    [InlineData("quarters")]
    public void UnpackedTilesHoldTheDecodedWeights(string isa)
    {
        Assert.SkipWhen(isa == "avx2" && !Avx2.IsSupported, "no AVX2");
        Assert.SkipWhen(isa == "neon" && !AdvSimd.Arm64.IsSupported, "no NEON");
        Assert.SkipWhen(isa == "avx512" && !Avx512BW.IsSupported, "no AVX-512");
        TileFormats table = isa switch { "neon" => TileFormats.Create(KernelSet.Of<NeonDotIsa>()), "avx2" => TileFormats.Create(KernelSet.Of<Avx2Isa>()), "avx512" => TileFormats.Create(KernelSet.Of<Avx512Isa>()), "quarters" => TileFormats.Create(InQuarters.KernelSets.Create<InQuarters.PortableIsa>()), _ => TileFormats.Create(KernelSet.Of<PortableIsa>()) };
        using RandomTensors random = new(5);
        foreach (BlockFormat format in BlockFormat.All)
        {
            CheckFormat(table.Get(format.Type), random.Create(format.Type, TileFormat.Rows, 512));
        }
    }

    /// <summary>The same sums, bit by bit, in registers of 512, 256 and 128 bits.</summary>
    [Fact]
    public void ProductsOfFloatsDoNotDependOnTheWidthOfRegisters()
    {
        Random random = new(3);
        float[] weights = [.. Enumerable.Range(0, 40 * TileFormat.Rows).Select(_ => random.NextSingle() - 0.5f)], activations = [.. Enumerable.Range(0, 4 * 40).Select(_ => random.NextSingle() - 0.5f)];
        float[] wide = new float[5 * TileFormat.Rows], halves = new float[wide.Length], quarters = new float[wide.Length];
        fixed (float* w = weights, a = activations, x = wide, y = halves, z = quarters)
        {
            TileArgs args = new() { Weights = (byte*)w, Activations = (byte*)a, Steps = 40, WeightStride = TileFormat.Rows, ActivationStride = 40, ActivationStep = 1, OutputStride = TileFormat.Rows * sizeof(float) };
            args.Output = x;
            VectorTile.FloatsFour(&args, 0);
            args.Output = y;
            InHalves.VectorTile.FloatsFour(&args, 0);
            args.Output = z;
            InQuarters.VectorTile.FloatsFour(&args, 0);
            args.Output = x + 4 * TileFormat.Rows;
            VectorTile.FloatsOne(&args, 0);
            args.Output = y + 4 * TileFormat.Rows;
            InHalves.VectorTile.FloatsOne(&args, 0);
            args.Output = z + 4 * TileFormat.Rows;
            InQuarters.VectorTile.FloatsOne(&args, 0);
        }

        Assert.All(wide.Zip(wide[(4 * TileFormat.Rows)..]), pair => Assert.Equal(pair.First, pair.Second)); // the first row alone
        Assert.All(Enumerable.Range(0, TileFormat.Rows), row => Assert.Equal(Enumerable.Range(0, 40).Sum(k => (double)weights[k * TileFormat.Rows + row] * activations[k]), wide[row], 1e-4));
        Assert.Equal(wide, halves);
        Assert.Equal(wide, quarters);
    }

    [Fact]
    public void EveryWeightFormatHasTiles()
    {
        TileFormats table = TileFormats.Create(KernelSet.Of<PortableIsa>());
        string[] missing = [.. BlockFormat.All.Where(format => table.Find(format.Type) is null).Select(format => format.Name)];
        Assert.True(
            missing.Length == 0,
            $"No tiles for {string.Join(", ", missing)}: each needs a file in Backends/Cpu/Formats and its line in {nameof(KernelSets)}.{nameof(KernelSets.Create)}. Until then it is multiplied row by row with its scalar decoder.");
    }

    /// <summary>What micro-kernels take for granted.</summary>
    [Fact]
    public void RowsOfTheTableAreWhatKernelsExpect()
    {
        TileFormats table = TileFormats.Create(KernelSet.Of<PortableIsa>());
        Assert.All(BlockFormat.All, format =>
        {
            TileFormat tiles = table.Get(format.Type);
            Assert.Equal(format.IsFloat, tiles.Layout == TileLayout.Float32);
            Assert.True(tiles.BlockElements % format.BlockElements == 0 && tiles.GemvColumns % tiles.BlockElements == 0);
            if (tiles.Layout == TileLayout.Int8x4)
            {
                Assert.True(tiles.Group is 16 or 32, $"groups of {tiles.Group} columns");
                Assert.InRange(tiles.MaxByte, 1, 255);
                Assert.False(tiles.HasMinimum && tiles.Offset != 0, "a format has minima or a zero point");
                Assert.Equal(0, tiles.BlockElements % 32);
            }
        });
    }

    [Fact]
    public void ATypeWithoutTilesIsNamed() =>
        Assert.Contains("99 has no row in TileFormats", Assert.Throws<NotSupportedException>(() => TileFormats.Create(KernelSet.Of<PortableIsa>()).Get((TensorType)99)).Message, StringComparison.Ordinal);

    private static void CheckFormat(TileFormat format, TensorView tensor)
    {
        const int Columns = 512;
        float[] expected = RandomTensors.Decode(tensor);
        byte* tile = (byte*)NativeMemory.AlignedAlloc(Columns * TileFormat.Rows * sizeof(float), 64);
        float* scales = (float*)NativeMemory.AlignedAlloc(Columns / 16 * 2 * TileFormat.Rows * sizeof(float), 64);
        for (int half = 0; half < 2; half++)
        {
            format.UnpackRows(tensor.Data + 16 * half * tensor.RowBytes, tensor.RowBytes, Columns, tile + 64 * half, scales + 16 * half);
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
