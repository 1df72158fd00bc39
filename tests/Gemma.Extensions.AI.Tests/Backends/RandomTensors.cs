using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>Tensors of random, valid blocks in native memory with a guard page's worth of nothing behind them: kernels may not read past the end.</summary>
internal sealed unsafe class RandomTensors(int seed) : IDisposable
{
    private readonly Random _random = new(seed);
    private readonly List<nint> _memory = [];

    public TensorView Create(TensorType type, int rows, int columns)
    {
        BlockFormat format = BlockFormat.Get(type);
        long bytes = format.ByteLength((long)rows * columns);
        byte* data = (byte*)NativeMemory.Alloc((nuint)bytes);
        _memory.Add((nint)data);
        _random.NextBytes(new Span<byte>(data, (int)bytes));
        for (byte* block = data; block < data + bytes; block += format.BlockBytes)
        {
            foreach (int offset in type == TensorType.F16 ? [0] : format.ScaleOffsets)
            {
                *(Half*)(block + offset) = (Half)((_random.NextSingle() - 0.5f) * (_random.Next(4) == 0 ? 1e-4f : 0.1f));
            }

            if (type == TensorType.IQ1_M)
            {
                // The float16 scale lies in the upper quarters of four words.
                ushort scale = BitConverter.HalfToUInt16Bits((Half)((_random.NextSingle() - 0.5f) * 0.1f));
                for (int i = 0; i < 4; i++)
                {
                    ref ushort word = ref ((ushort*)(block + 48))[i];
                    word = (ushort)((word & 0x0FFF) | (scale >> (4 * i) & 0xF) << 12);
                }
            }
            else if (type == TensorType.MXFP4)
            {
                *block = (byte)(_random.Next(8) == 0 ? _random.Next(3) : _random.Next(115, 125));
            }
            else if (type == TensorType.F32)
            {
                *(float*)block = _random.NextSingle() - 0.5f;
            }
            else if (type == TensorType.BF16)
            {
                *(ushort*)block = (ushort)(BitConverter.SingleToUInt32Bits(_random.NextSingle() - 0.5f) >> 16);
            }
        }

        return new TensorView($"random.{type}", format, [rows, columns], data, bytes, "random");
    }

    public void Fill(Span<float> values, float scale = 1)
    {
        foreach (ref float value in values)
        {
            value = (_random.NextSingle() + _random.NextSingle() + _random.NextSingle() - 1.5f) * scale;
        }
    }

    public void Fill(Matrix matrix, int row, float scale = 1)
    {
        var values = new float[matrix.Columns];
        Fill(values, scale);
        matrix.Write(row, values);
    }

    public static float[] Decode(TensorView tensor)
    {
        var result = new float[tensor.ElementCount];
        for (int row = 0; row < tensor.Rows; row++)
        {
            tensor.DecodeRow(row, result.AsSpan(row * (int)tensor.Columns));
        }

        return result;
    }

    public void Dispose() => _memory.ForEach(memory => NativeMemory.Free((void*)memory));
}

internal static class MatrixRows
{
    /// <summary>One row as the host sees it.</summary>
    public static Span<float> Row(this Matrix matrix, int row) => matrix.Read(row, 1);
}
