using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Formats;
using Iced.Intel;
using Xunit;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>The interpreter's instructions on tiles, against values worked out by hand from the definitions in Intel's manual.</summary>
public sealed unsafe class TileInstructionTests
{
    private const float Subnormal = 1e-39f;

    [Fact]
    public void PairsAreSummedApart()
    {
        // 2^24 + 0·0 of the first numbers, 1 + 1 of the second: in one sum each 1 would be lost to 2^24.
        Assert.Equal(16777218f, Dot(0, [(4096, 1), (0, 1)], [(4096, 1), (0, 1)]));

        // The sum of the pairs comes before what stands in the result: 2^24 + 1 rounds to 2^24, and again. With 1 + 1 first it would be 2^24 + 2.
        Assert.Equal(16777216f, Dot(1, [(4096, 1)], [(4096, 1)]));

        // In the order of k: 2^24 + 1 - 2^24 leaves nothing, 2^24 - 2^24 + 1 leaves 1.
        Assert.Equal(0f, Dot(0, [(4096, 0), (1, 0), (-4096, 0)], [(4096, 0), (1, 0), (4096, 0)]));
        Assert.Equal(1f, Dot(0, [(4096, 0), (-4096, 0), (1, 0)], [(4096, 0), (4096, 0), (1, 0)]));
    }

    [Fact]
    public void SumsAreRoundedToNearestEvenAndProductsAreNot()
    {
        Assert.Equal(16777216f, Dot(0, [(4096, 0), (1, 0)], [(4096, 0), (1, 0)]));
        Assert.Equal(16777220f, Dot(0, [(4096, 0), (3, 0)], [(4096, 0), (1, 0)]));
        Assert.Equal(16777220f, Dot(3, [(4096, 0)], [(4096, 0)]));

        // 2^128 alone leaves the range, 2^128 - 2^127 does not.
        float big = MathF.ScaleB(1, 64);
        Assert.Equal(float.PositiveInfinity, Dot(0, [(big, 0)], [(big, 0)]));
        Assert.Equal(MathF.ScaleB(1, 127), Dot(0, [(-big, 0), (big, 0)], [(big / 2, 0), (big, 0)]));
        Assert.Equal(float.NaN, Dot(0, [(float.PositiveInfinity, 1)], [(0, 1)]));
    }

    [Fact]
    public void SubnormalNumbersAreZero()
    {
        Assert.Equal(0f, Dot(0, [(Subnormal, 0)], [(MathF.ScaleB(1, 100), 0)]));
        Assert.Equal(0f, Dot(0, [(1, 0)], [(Subnormal, 0)]));
        Assert.Equal(0f, Dot(Subnormal, [(0, 0)], [(0, 0)]));
        Assert.Equal(0f, Dot(0, [(MathF.ScaleB(1, -64), 0)], [(MathF.ScaleB(1, -63), 0)]));
        Assert.Equal(MathF.ScaleB(1, -126), Dot(0, [(MathF.ScaleB(1, -63), 0)], [(MathF.ScaleB(1, -63), 0)]));

        // 2^-126 - 2^-127 of the first numbers is flushed before the second are added; each sum is.
        float least = MathF.ScaleB(1, -63);
        Assert.Equal(0f, Dot(0, [(least, 0), (-least, 0)], [(least, 0), (least / 2, 0)]));
        Assert.Equal(least * least, Dot(0, [(least, least), (-least, 0)], [(least, least), (least / 2, 0)]));

        // 2^-126 - 3/4·2^-150 is below the smallest normal number, also when it is rounded to 24 bits, though not when it is rounded as subnormal numbers are.
        Assert.Equal(0f, Dot(0, [(least, 0), (-MathF.ScaleB(1.5f, -75), 0)], [(least, 0), (MathF.ScaleB(1, -76), 0)]));
    }


    [Fact]
    public void TheVectorFormIsTheSame()
    {
        Random random = new(1);
        uint* a = stackalloc uint[16], b = stackalloc uint[16 * 16];
        float* rows = stackalloc float[32], columns = stackalloc float[32 * 16];
        Span<uint> column = stackalloc uint[16];
        for (int run = 0; run < 2000; run++)
        {
            int pairs = random.Next(1, 17), spread = random.Next(1, 120);
            float[] sums = [.. Enumerable.Range(0, 16).Select(_ => Number())];
            new Span<uint>(a, 16).Clear();
            for (int i = 0; i < 16 * 17; i++)
            {
                (i < 16 ? ref a[i] : ref b[i - 16]) = Bits(Number()) | (uint)Bits(Number()) << 16;
            }

            for (int k = 0; k < pairs; k++)
            {
                BFloatTile.Expand(a + k, 1, rows + 2 * k);
                BFloatTile.Expand(b + 16 * k, 16, columns + 32 * k);
            }

            Vector512<float> actual = BFloatTile.Add(Vector512.Create(sums), rows, columns, pairs);
            for (int n = 0; n < 16; n++)
            {
                for (int k = 0; k < pairs; k++)
                {
                    column[k] = b[16 * k + n];
                }

                float expected = BFloatTile.Add(sums[n], new ReadOnlySpan<uint>(a, pairs), column[..pairs]);
                Assert.True(BitConverter.SingleToInt32Bits(expected) == BitConverter.SingleToInt32Bits(actual[n]), $"{expected} {actual[n]}");
            }

            float Number() => MathF.ScaleB(2 * random.NextSingle() - 1, random.Next(-spread, spread / 2) / 2);
        }
    }

    /// <summary>Every element of a whole tile, and of one of other shapes, finds its row and its column.</summary>
    [Theory]
    [InlineData(16, 16, 16)]
    [InlineData(1, 1, 1)]
    [InlineData(5, 3, 7)]
    public void RowsAndColumnsFindEachOther(int rows, int columns, int pairs)
    {
        float[] a = [.. Enumerable.Range(0, rows * pairs * 2).Select(i => (float)(i % 13 - 6))];
        float[] b = [.. Enumerable.Range(0, pairs * columns * 2).Select(i => (float)(i % 11 - 5))];
        float[] c = [.. Enumerable.Range(0, rows * columns).Select(i => (float)i)];
        float[] actual = MemoryMarshal.Cast<byte, float>(Run(code => code.tdpbf16ps(tmm0, tmm1, tmm2), Bytes(c), Pairs(a), Pairs(b), rows, columns, pairs)).ToArray();
        for (int m = 0; m < rows; m++)
        {
            for (int n = 0; n < columns; n++)
            {
                float expected = c[m * columns + n];
                for (int k = 0; k < pairs; k++)
                {
                    expected += a[2 * (m * pairs + k)] * b[2 * (k * columns + n)] + a[2 * (m * pairs + k) + 1] * b[2 * (k * columns + n) + 1];
                }

                Assert.Equal(expected, actual[m * columns + n]);
            }
        }
    }

    /// <summary>0xFF is -1 or 255, 0x80 is -128 or 128: 10 + a·(2, 0x80, 1, 0) for a = (0xFF, 3, 0x80, 0x7F), and the other way round.</summary>
    [Fact]
    public void BytesAreSignedOrNot()
    {
        byte[] a = [0xFF, 3, 0x80, 0x7F], b = [2, 0x80, 1, 0];
        Assert.Equal(10 - 2 - 3 * 128 - 128, Whole(code => code.tdpbssd(tmm0, tmm1, tmm2)));
        Assert.Equal(10 - 2 + 3 * 128 - 128, Whole(code => code.tdpbsud(tmm0, tmm1, tmm2)));
        Assert.Equal(10 + 2 * 255 - 3 * 128 + 128, Whole(code => code.tdpbusd(tmm0, tmm1, tmm2)));
        Assert.Equal(10 + 2 * 255 + 3 * 128 + 128, Whole(code => code.tdpbuud(tmm0, tmm1, tmm2)));

        int Whole(Action<Assembler> product) => BitConverter.ToInt32(Run(product, BitConverter.GetBytes(10), a, b, 1, 1, 1));
    }

    [Fact]
    public void WhatAProcessorWouldRefuseFails()
    {
        byte[] word = new byte[4];
        Assert.ThrowsAny<Exception>(() => Run(code => code.tdpbf16ps(tmm0, tmm1, tmm1), word, word, word, 1, 1, 1)); // one tile twice
        Assert.ThrowsAny<Exception>(() => Run(code => code.tdpbf16ps(tmm0, tmm1, tmm3), word, word, word, 1, 1, 1)); // no such tile
        Assert.ThrowsAny<Exception>(() => Run(code => code.tdpbf16ps(tmm1, tmm2, tmm0), new byte[24], new byte[16], new byte[48], 2, 3, 4)); // shapes
        Assert.ThrowsAny<Exception>(() => Run(_ => { }, word, word, word, 1, 1, 1, palette: 2));
        Assert.ThrowsAny<Exception>(() => Run(_ => { }, word, word, word, 17, 1, 1)); // too many rows
        Assert.ThrowsAny<Exception>(() => Run(code => code.tilerelease(), word, word, word, 1, 1, 1)); // stored after the release
        Assert.ThrowsAny<Exception>(() => Run(code => code.ret(), word, word, word, 1, 1, 1)); // returned with tiles
        Assert.Equal(word, Run(code => code.tilezero(tmm0), BitConverter.GetBytes(7), word, word, 1, 1, 1));
    }

    private static float Dot(float sum, (float First, float Second)[] a, (float First, float Second)[] b)
    {
        byte[] result = Run(
            code => code.tdpbf16ps(tmm0, tmm1, tmm2), BitConverter.GetBytes(sum), Pairs([.. a.SelectMany(pair => (float[])[pair.First, pair.Second])]),
            Pairs([.. b.SelectMany(pair => (float[])[pair.First, pair.Second])]), 1, 1, a.Length);
        return BitConverter.ToSingle(result);
    }

    /// <summary>Runs an instruction on tmm0 [rows, columns] of dwords, tmm1 [rows, depth] and tmm2 [depth, columns]. Returns tmm0.</summary>
    private static byte[] Run(Action<Assembler> instruction, byte[] c, byte[] a, byte[] b, int rows, int columns, int depth, byte palette = 1)
    {
        Assembler code = new(64);
        code.ldtilecfg(__[rdi]);
        code.mov(rax, 4 * columns);
        code.mov(rcx, 4 * depth);
        code.lea(rdx, __[rdi + 64]);
        code.tileloadd(tmm0, __[rdx + rax]);
        code.lea(r8, __[rdi + (64 + c.Length)]);
        code.tileloadd(tmm1, __[r8 + rcx]);
        code.tileloadd(tmm2, __[r8 + rax + a.Length]);
        instruction(code);
        code.tilestored(__[rdx + rax], tmm0);
        code.tilerelease();
        code.ret();
        byte[] memory = [.. new byte[64], .. c, .. a, .. b];
        memory[0] = palette;
        (int Bytes, int Rows)[] shapes = [(4 * columns, rows), (4 * depth, rows), (4 * columns, depth)];
        for (int tile = 0; tile < 3; tile++)
        {
            BitConverter.TryWriteBytes(memory.AsSpan(16 + 2 * tile), (ushort)shapes[tile].Bytes);
            memory[48 + tile] = (byte)shapes[tile].Rows;
        }

        fixed (byte* start = memory)
        {
            new MachineInterpreter(GemmAssembler.Code(code), windows: false).Run(start, new MachineInterpreter.Span(start, memory.Length, writable: true));
        }

        return memory[64..(64 + c.Length)];
    }

    private static ushort Bits(float value) => HalfBits.BFloat16FromSingle(value);

    private static byte[] Pairs(float[] values) => [.. values.SelectMany(value => BitConverter.GetBytes(Truncated(value)))];

    private static ushort Truncated(float value) => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);

    private static byte[] Bytes(float[] values) => [.. values.SelectMany(BitConverter.GetBytes)];
}
