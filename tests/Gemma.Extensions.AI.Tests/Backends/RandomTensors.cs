using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>
/// Tensors of random, valid blocks in native memory. On Linux they end where a page ends that must not be read: a kernel that reads past the end stops the process.
/// </summary>
internal sealed unsafe partial class RandomTensors(int seed) : IDisposable
{
    private readonly Random _random = new(seed);
    private readonly List<(nint Start, nuint Bytes)> _memory = [];

    public TensorView Create(TensorType type, int rows, int columns)
    {
        BlockFormat format = BlockFormat.Get(type);
        long bytes = format.ByteLength((long)rows * columns);
        byte* data = Allocate((nuint)bytes);
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
        float[] values = new float[matrix.Columns];
        Fill(values, scale);
        matrix.Write(row, values);
    }

    public static float[] Decode(TensorView tensor)
    {
        float[] result = new float[tensor.ElementCount];
        for (int row = 0; row < tensor.Rows; row++)
        {
            tensor.DecodeRow(row, result.AsSpan(row * (int)tensor.Columns));
        }

        return result;
    }

    public void Dispose()
    {
        foreach ((nint start, nuint bytes) in _memory)
        {
            if (bytes > 0)
            {
                Assert.Equal(0, MemoryUnmap(start, bytes));
            }
            else
            {
                NativeMemory.Free((void*)start);
            }
        }
    }

    private byte* Allocate(nuint bytes)
    {
        if (!OperatingSystem.IsLinux())
        {
            void* memory = NativeMemory.Alloc(bytes);
            _memory.Add(((nint)memory, 0));
            return (byte*)memory;
        }

        nuint page = (nuint)Environment.SystemPageSize, whole = (bytes + page - 1) / page * page;
        const int Read = 1, Write = 2, Private = 2, Anonymous = 0x20;
        nint start = MemoryMap(0, whole + page, Read | Write, Private | Anonymous, -1, 0);
        Assert.NotEqual(-1, start);
        Assert.Equal(0, MemoryProtect(start + (nint)whole, page, 0));
        _memory.Add((start, whole + page));
        return (byte*)start + (whole - bytes);
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial nint MemoryMap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int MemoryProtect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int MemoryUnmap(nint address, nuint length);
}

internal static class MatrixRows
{
    /// <summary>One row as the host sees it.</summary>
    public static Span<float> Row(this Matrix matrix, int row) => matrix.Read(row, 1);
}
